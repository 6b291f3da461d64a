"""The admin's pages of providers, what happened to them, and receipts."""

from __future__ import annotations

from apps.delivery.admin.events import ProviderEventAdmin
from apps.delivery.admin.providers import ProviderAdmin
from apps.delivery.admin.receipts import ReceiptAdmin

__all__ = ["ProviderAdmin", "ProviderEventAdmin", "ReceiptAdmin"]
