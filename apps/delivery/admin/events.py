"""What happened to providers, and who did it: read-only."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.delivery.models import ProviderEvent
from apps.notifications.admin import words
from apps.notifications.admin.readonly import ReadOnlyAdmin


@admin.register(ProviderEvent)
class ProviderEventAdmin(ReadOnlyAdmin):
    list_display = ["at", "provider", "kind", "detail", "by"]
    list_display_links = None
    list_select_related = ["user"]
    search_fields = ["provider"]  # shows the box; what it does is below
    search_help_text = "The whole name of a provider"
    sortable_by = []

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ProviderEvent], search_term: str
    ) -> tuple[QuerySet[ProviderEvent], bool]:
        name = search_term.strip()
        return (queryset.filter(provider=name) if name else queryset), False

    @admin.display(description="at (UTC)")
    def at(self, event: ProviderEvent) -> str:
        return words.moment(event.created_at)

    @admin.display(description="by")
    def by(self, event: ProviderEvent) -> str:
        return str(event.user) if event.user else "–"
