"""Dead letters: what nobody retries without a person, and the page on which the person decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString

from apps.notifications.admin import words
from apps.notifications.admin.readonly import ReadOnlyAdmin
from apps.notifications.because import label
from apps.notifications.dead_letters import MOST_AT_ONCE, redrive
from apps.notifications.models import DeadLetter
from apps.notifications.statuses import Reason
from apps.users.models import User
from project import db
from project.ids import MAX_ATTEMPT_NUMBER


class OpenFilter(SimpleListFilter):
    """The open ones unless others are asked for."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [("resolved", "Resolved"), ("all", "All")]

    def choices(self, changelist: Any) -> Any:
        first, *others = super().choices(changelist)
        return [{**first, "display": "Open"}, *others]

    def queryset(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> QuerySet[DeadLetter]:
        if self.value() == "all":
            return queryset
        return queryset.filter(resolved_at__isnull=self.value() != "resolved")


class RedriveForm(forms.Form):
    """Which targets, and how many more attempts each gets."""

    targets = forms.CharField(widget=forms.HiddenInput)
    more_attempts = forms.IntegerField(min_value=1, max_value=MAX_ATTEMPT_NUMBER)
    next = forms.CharField(widget=forms.HiddenInput, required=False)

    def clean_targets(self) -> list[UUID]:
        try:
            ids = [UUID(text) for text in self.cleaned_data["targets"].split()]
        except ValueError:
            raise forms.ValidationError("These are not ids of targets.") from None
        if len(ids) > MOST_AT_ONCE:
            raise forms.ValidationError(f"At most {MOST_AT_ONCE:,} at once.")
        return ids


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    change_list_template = "notifications/admin/list.html"
    list_display = [
        "target_id_short", "notification", "channel", "address", "reason_words", "attempts", "since",
    ]  # fmt: skip
    list_display_links = None
    list_filter = [OpenFilter]
    list_select_related = ["target", "resolved_by"]
    sortable_by = []
    actions = ["ask_to_redrive"]

    def get_list_display(self, request: HttpRequest) -> Any:
        """How they were resolved only where some are."""
        return [*self.list_display, *(["resolved"] if OpenFilter.parameter_name in request.GET else [])]

    @admin.display(description="target")
    def target_id_short(self, letter: DeadLetter) -> SafeString:
        return format_html('<code title="{0}">{1}</code>', letter.target_id, words.short(letter.target_id))

    @admin.display(description="notification")
    def notification(self, letter: DeadLetter) -> SafeString:
        id = letter.target.notification_id
        url = reverse("admin:notifications_notification_change", args=[id])
        status = letter.target.status  # leads to this target among many
        return format_html('<a href="{}?status={}"><code>{}</code></a>', url, status, words.short(id))

    @admin.display(description="channel")
    def channel(self, letter: DeadLetter) -> str:
        return str(letter.target.channel)

    @admin.display(description="address")
    def address(self, letter: DeadLetter) -> str:
        return words.masked(letter.target.address) or "–"

    @admin.display(description="reason")
    def reason_words(self, letter: DeadLetter) -> str:
        return label(letter.reason)

    @admin.display(description="attempts")
    def attempts(self, letter: DeadLetter) -> str:
        return f"{letter.target.attempts} of {letter.target.attempts_allowed}"

    @admin.display(description="since")
    def since(self, letter: DeadLetter) -> str:
        return words.moment(letter.created_at)

    @admin.display(description="resolved")
    def resolved(self, letter: DeadLetter) -> str:
        if letter.resolved_at is None:
            return "–"
        return f"{letter.resolution} by {letter.resolved_by}" if letter.resolved_by_id else letter.resolution

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        """A dead letter has no page of its own: that of its notification tells everything."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        letter = self.get_object(request, object_id)
        if letter is None:
            raise Http404
        return HttpResponseRedirect(
            reverse("admin:notifications_notification_change", args=[letter.target.notification_id])
        )

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.redrive_view)
        return [path("redrive/", view, name="notifications_deadletter_redrive"), *super().get_urls()]

    @admin.action(description="Re-drive…", permissions=["redrive"])
    def ask_to_redrive(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> HttpResponse:
        ids = list(letters.order_by("pk").values_list("target_id", flat=True)[:MOST_AT_ONCE])
        return self._ask(request, ids, request.get_full_path())

    def redrive_view(self, request: HttpRequest) -> HttpResponse:
        """GET asks whether to re-drive the `targets`; POST does it."""
        if not self.has_redrive_permission(request):
            raise PermissionDenied
        form = RedriveForm(request.POST if request.method == "POST" else request.GET.dict() | _ENOUGH)
        if not form.is_valid():
            wrong = " ".join(str(error) for errors in form.errors.values() for error in errors)
            messages.error(request, f"Nothing was re-driven. {wrong}")
            return HttpResponseRedirect(reverse("admin:notifications_deadletter_changelist"))
        back = _safe(request, form.cleaned_data["next"])
        if request.method != "POST":
            return self._ask(request, form.cleaned_data["targets"], back)
        done = redrive(
            form.cleaned_data["targets"],
            by=cast(User, request.user),
            more_attempts=form.cleaned_data["more_attempts"],
        )
        messages.add_message(request, messages.SUCCESS if done.ids else messages.WARNING, str(done))
        return HttpResponseRedirect(back)

    def _ask(self, request: HttpRequest, ids: Sequence[UUID], back: str) -> HttpResponse:
        asked = [_Asked(*row) for row in db.rows(_ABOUT, [sorted(ids)])]
        form = RedriveForm(
            initial={
                "targets": " ".join(str(one.id) for one in asked),
                "more_attempts": settings.MAX_ATTEMPTS,
                "next": back,
            }
        )
        context = {
            **self.admin_site.each_context(request),
            "title": "Re-drive",
            "opts": self.opts,
            "form": form,
            "back": back,
            "asked": asked,
            "movable": sum(one.movable for one in asked),
            "doubtful": sum(one.doubtful for one in asked),
            "late": sum(one.late for one in asked),
        }
        return TemplateResponse(request, "notifications/admin/redrive.html", context)


_ENOUGH = {"more_attempts": "1"}


def _safe(request: HttpRequest, url: str) -> str:
    """Where to go afterwards: only within this admin."""
    if url.startswith("/") and url_has_allowed_host_and_scheme(url, {request.get_host()}):
        return url
    return reverse("admin:notifications_deadletter_changelist")


# Whether any call for it may have arrived although nobody saw its end.
_ABOUT = """
SELECT t.id, t.channel, t.address, t.status, t.reason, t.attempts, t.attempts_allowed,
       coalesce(t.expires_at <= carillon_now(), false),
       EXISTS (
           SELECT 1 FROM notifications_deliveryattempt a
           WHERE a.id > t.id AND a.id <= overlay(t.id::text placing 'ff' from 35)::uuid
             AND a.outcome = 'unknown'
       )
FROM unnest(%s::uuid[]) g(id) JOIN notifications_notificationtarget t ON t.id = g.id ORDER BY t.id
"""


class _Asked:
    """One target on the page that asks."""

    def __init__(self, *row: Any) -> None:
        self.id, self.channel, address, self.status, code, attempts, allowed, self.late, unknown = row
        self.short = words.short(self.id)
        self.address = words.masked(address) or "–"
        self.tone = words.tone(self.status)
        self.reason = label(code)
        self.attempts = f"{attempts} of {allowed}"
        self.movable = self.status in ("failed", "dead") and attempts < MAX_ATTEMPT_NUMBER
        self.doubtful = self.movable and (unknown or code == Reason.UNKNOWN_OUTCOME)
