from __future__ import annotations

from django.urls import path

from apps.preferences.api import SuppressionsView, SuppressionView

urlpatterns = [
    path("suppressions/", SuppressionsView.as_view()),
    path("suppressions/<int:id>/", SuppressionView.as_view()),
]
