from __future__ import annotations

from django.urls import path

from apps.delivery.api import ReceiptsView

urlpatterns = [path("receipts/<str:provider>/", ReceiptsView.as_view(), name="receipts")]
