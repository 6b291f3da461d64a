from __future__ import annotations

from django.urls import path

from apps.websocket.stream_api import StreamView

urlpatterns = [path("inbox/stream/", StreamView.as_view())]
