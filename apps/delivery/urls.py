from __future__ import annotations

from django.urls import path

from apps.delivery.api import ReceiptsView
from apps.delivery.web_push_api import WebPushKeyView

urlpatterns = [
    path("receipts/<str:provider>/", ReceiptsView.as_view(), name="receipts"),
    path("devices/web-push-key/", WebPushKeyView.as_view(), name="web_push_key"),
]
