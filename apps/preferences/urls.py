from __future__ import annotations

from django.urls import path

from apps.preferences.api import SuppressionsView, SuppressionView
from apps.preferences.preferences_api import OwnPreferencesView, PreferencesOfView

urlpatterns = [
    path("preferences/", OwnPreferencesView.as_view()),
    path("users/<path:external_id>/preferences/", PreferencesOfView.as_view()),
    path("suppressions/", SuppressionsView.as_view()),
    path("suppressions/<int:id>/", SuppressionView.as_view()),
]
