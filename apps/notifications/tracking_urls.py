from __future__ import annotations

from django.urls import path

from apps.notifications import tracking_views

urlpatterns = [
    path("c/<path:token>", tracking_views.click),  # with whatever was put behind it: ours to refuse
    path("o/<str:token>.gif", tracking_views.pixel),
]
