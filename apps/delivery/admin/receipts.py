"""Receipts: the list, one of them as it came, and what the page of a notification shows of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.delivery.models import Receipt
from apps.notifications.admin import detail, words
from apps.notifications.admin.readonly import ReadOnlyAdmin

LATEST = 20  # receipts of a target on its notification's page

_OF_TARGETS = """
SELECT r.* FROM unnest(%s::uuid[]) t(id) CROSS JOIN LATERAL (
    SELECT id, target_id, provider, kind, code, coalesce(occurred_at, received_at) AS at, received_at, applied
    FROM delivery_receipt WHERE target_id = t.id ORDER BY target_id DESC, id DESC LIMIT %s
) r
ORDER BY r.id
"""


def of_targets(targets: Sequence[UUID]) -> Iterable[Any]:
    """The latest receipts of these targets, oldest first."""
    return Receipt.objects.raw(_OF_TARGETS, [list(targets), LATEST])


detail.receipts_of.append(of_targets)


@admin.register(Receipt)
class ReceiptAdmin(ReadOnlyAdmin):
    list_display = ["received", "provider", "kind", "target", "masked", "code", "did"]
    list_display_links = ["received"]
    search_fields = ["target_id"]  # shows the box; what it does is below
    search_help_text = "The whole id of a target"
    sortable_by = []
    readonly_fields = [
        "provider", "event_id", "kind", "target_id", "attempt_id", "provider_message_id", "address", "code",
        "address_is_dead", "occurred_at", "received_at", "due_at", "applied", "report",
    ]  # fmt: skip
    fields = [*readonly_fields]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Receipt]:
        return super().get_queryset(request).defer("raw")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Receipt], search_term: str
    ) -> tuple[QuerySet[Receipt], bool]:
        if not search_term.strip():
            return queryset, False
        try:
            return queryset.filter(target_id=UUID(search_term.strip())), False
        except ValueError:
            return queryset.none(), False

    @admin.display(description="received")
    def received(self, receipt: Receipt) -> str:
        return words.moment(receipt.received_at)

    @admin.display(description="target")
    def target(self, receipt: Receipt) -> str:
        return words.short(receipt.target_id) if receipt.target_id else "–"

    @admin.display(description="address")
    def masked(self, receipt: Receipt) -> str:
        return words.masked(receipt.address) or "–"

    @admin.display(description="what it did")
    def did(self, receipt: Receipt) -> str:
        return receipt.applied or "waits"

    @admin.display(description="as it came")
    def report(self, receipt: Receipt) -> str:
        return bytes(receipt.raw).decode(errors="replace")
