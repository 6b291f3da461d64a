"""Notifications: the list, and one page that tells the whole story of one."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from apps.notifications import representations
from apps.notifications.admin import searching, words
from apps.notifications.admin.detail import detail
from apps.notifications.admin.readonly import ReadOnlyAdmin
from apps.notifications.models import Notification


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    change_list_template = "notifications/admin/list.html"
    list_display = [
        "short_id", "says", "standing", "recipients", "priority", "channel_names", "accepted",
    ]  # fmt: skip
    list_filter = [searching.AcceptedFilter, searching.PriorityFilter, searching.ChannelFilter]
    search_fields = ["pk"]  # shows the box; what it does is below
    search_help_text = searching.HELP
    sortable_by = []

    def get_queryset(self, request: HttpRequest) -> QuerySet[Notification]:
        return super().get_queryset(request).defer("body", "content", "payload", "metadata")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Notification], search_term: str
    ) -> tuple[QuerySet[Notification], bool]:
        if search_term.strip():
            queryset = queryset.filter(pk__in=searching.ids_matching(search_term.replace("\0", "")))
        return queryset, False

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The page's rows with where they stand: two statements at most for all of them."""
        changes = super().get_changelist_instance(request)
        changes.result_list = list(changes.result_list)
        if not changes.query:
            changes.full_result_count = changes.result_count  # no "results" where nobody searched
        summaries = representations.summaries(changes.result_list)
        for row in changes.result_list:
            row.counts = words.counts(summaries[row.pk])
        return changes

    @admin.display(description="id", ordering="-pk")
    def short_id(self, row: Notification) -> SafeString:
        return format_html('<code title="{}">{}</code>', row.pk, words.short(row.pk))

    @admin.display(description="title or template")
    def says(self, row: Notification) -> str | SafeString:
        if row.template:
            return format_html("<i>{}</i>", row.template)
        return row.title[:80] or "–"

    @admin.display(description="channels")
    def channel_names(self, row: Notification) -> str:
        return "all" if row.all_channels else ", ".join(row.channels)

    @admin.display(description="recipients")
    def recipients(self, row: Notification) -> str:
        return f"{row.recipient_count:,}"

    @admin.display(description="accepted")
    def accepted(self, row: Notification) -> str:
        return words.moment(row.created_at)

    @admin.display(description="where it stands")
    def standing(self, row: Any) -> SafeString:
        badges = ((tone, f"{number:,}", name) for name, number, tone in row.counts)
        return format_html_join(" ", '<span class="tone {}">{} {}</span>', badges) or SafeString("–")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The page of one notification."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        row = _find(object_id)
        if row is None:
            raise Http404
        context = {
            **self.admin_site.each_context(request),
            "title": f"Notification {words.short(row.pk)}",
            "short": words.short(row.pk),
            "opts": self.opts,
            "detail": detail(row, request.GET.dict()),
            "data": _data(row),
            "may_redrive": self.has_redrive_permission(request),
        }
        return TemplateResponse(request, "notifications/admin/notification.html", context)


def _find(text: str) -> Notification | None:
    try:
        return Notification.objects.select_related("organization", "client").filter(pk=UUID(text)).first()
    except ValueError:
        return None


def _data(row: Notification) -> list[tuple[str, str]]:
    """What it carries that is not a line of text, as JSON, where there is any."""
    parts = (("Payload", row.payload), ("Metadata", row.metadata), ("Template, as accepted", row.content))
    return [(name, json.dumps(value, indent=2, ensure_ascii=False)) for name, value in parts if value]
