"""Schedules: what recurs, when next, what became of the latest occurrences; pausing and resuming."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from apps.notifications import schedules
from apps.notifications.admin import words
from apps.notifications.admin.readonly import ReadOnlyAdmin
from apps.notifications.schedule_models import RunStatus, Schedule, ScheduleRun

LATEST = 20  # runs shown
_TONES = {RunStatus.MADE: "good", RunStatus.FAILED: "bad", RunStatus.MISSED: "warn"}


@admin.register(Schedule)
class ScheduleAdmin(ReadOnlyAdmin):
    change_list_template = "notifications/admin/list.html"
    change_form_template = "notifications/admin/schedule.html"
    list_display = ["name", "rule", "timezone", "standing", "next_time", "last_time", "organization"]
    list_select_related = ["organization"]
    search_fields = ["name"]
    search_help_text = "The beginning of a word of its name"
    sortable_by = []
    actions = ["pause", "resume"]
    readonly_fields = [
        "id", "name", "organization", "client", "rule", "timezone", "starts_at", "ends_at", "excluded",
        "missed", "standing", "next_five", "last_time", "latest_runs", "body", "created_at",
    ]  # fmt: skip
    fields = [*readonly_fields]

    def has_pause_permission(self, request: HttpRequest) -> bool:
        """Whether this person may pause and resume."""
        return request.user.has_perm("notifications.pause_schedule")

    @admin.action(description="Pause", permissions=["pause"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        count = schedules.pause([row.pk for row in queryset], paused=True)
        self.message_user(request, f"Paused: {count}.", messages.SUCCESS)

    @admin.action(description="Resume, from now on", permissions=["pause"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        count = schedules.pause([row.pk for row in queryset], paused=False)
        self.message_user(request, f"Resumed: {count}.", messages.SUCCESS)

    @admin.display(description="rule")
    def rule(self, row: Schedule) -> SafeString:
        return format_html("<code>{}</code>", row.cron or row.rrule)

    @admin.display(description="state")
    def standing(self, row: Schedule) -> SafeString:
        tone, text = ("good", "runs") if row.next_at else ("quiet", "has ended")
        if row.paused_at:
            tone, text = "warn", f"paused since {words.moment(row.paused_at)}"
        return format_html('<span class="tone {}">{}</span>', tone, text)

    @admin.display(description="next (UTC)")
    def next_time(self, row: Schedule) -> str:
        return words.moment(row.next_at)

    @admin.display(description="last (UTC)")
    def last_time(self, row: Schedule) -> str:
        return words.moment(row.last_at)

    @admin.display(description="next five")
    def next_five(self, row: Schedule) -> SafeString | str:
        lines = ((words.moment(one.at), one.wall) for one in schedules.coming(row))
        return format_html_join("", "<div>{} UTC <span class='quiet-text'>{}</span></div>", lines) or "–"

    @admin.display(description="latest runs")
    def latest_runs(self, row: Schedule) -> SafeString | str:
        runs = row.runs.order_by("-occurrence")[:LATEST]
        return format_html_join("", "<div>{} UTC {} {}</div>", map(_run, runs)) or "–"

    @admin.display(description="notification")
    def body(self, row: Schedule) -> SafeString:
        text = json.dumps(row.notification, indent=2, ensure_ascii=False)
        return format_html('<pre class="data">{}</pre>', text[:20_000])


def _run(run: ScheduleRun) -> tuple[Any, ...]:
    """When, how it ended, and what it made or what was wrong."""
    badge = format_html('<span class="tone {}">{}</span>', _TONES[RunStatus(run.status)], run.status)
    what: SafeString | str = "; ".join(f"{error['field']}: {error['code']}" for error in run.errors or ())
    if run.notification_id:
        url = reverse("admin:notifications_notification_change", args=[run.notification_id])
        what = format_html('<a href="{}"><code>{}</code></a>', url, words.short(run.notification_id))
    return words.moment(run.occurrence), badge, what
