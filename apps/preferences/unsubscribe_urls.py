from __future__ import annotations

from django.urls import path

from apps.preferences import unsubscribe_views

urlpatterns = [
    path("<path:token>", unsubscribe_views.unsubscribe),  # with whatever was put behind it: ours to refuse
]
