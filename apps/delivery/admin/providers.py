"""Providers: the list, their pages, and what operators do with them."""

from __future__ import annotations

import inspect
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from apps.delivery import accounts, checking, overview, steering, watch
from apps.delivery.admin import forms
from apps.delivery.health import Event, Kind
from apps.delivery.models import Provider, ProviderEvent, ProviderHealth
from apps.delivery.providers import CannotBuild
from apps.delivery.routing import Mode
from apps.integrations import registry
from apps.notifications.statuses import AttemptOutcome
from project import clock
from project.admin import BaseAdmin

LATEST = 50  # events on a provider's page
_LIST = "admin:delivery_provider_changelist"
_PAGE = "admin:delivery_provider_change"
_LEVELS = {AttemptOutcome.ACCEPTED: messages.SUCCESS, AttemptOutcome.UNKNOWN: messages.WARNING}


@admin.register(Provider)
class ProviderAdmin(BaseAdmin):
    deleted_together = False
    deletable = True
    ordering = ["channel", "name"]
    list_display = ["name", "adapter", "channel", "is_active", "mode", "share", "breaker", "limits", "last"]
    list_filter = []
    sortable_by = []
    search_fields = ["name__startswith"]
    search_help_text = "The beginning of a name."
    actions = ["ask_to_pin", "ask_to_drain", "ask_to_resume", "ask_to_close"]
    change_list_template = "delivery/admin/providers.html"
    add_form_template = change_form_template = "delivery/admin/provider.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        return overview.with_standing(super().get_queryset(request))

    @admin.display(description="weight")
    def share(self, row: Any) -> str:
        return overview.share(row)

    @admin.display(description="breaker")
    def breaker(self, row: Any) -> str:
        return overview.breaker(row.health, row.at)

    @admin.display(description="limits")
    def limits(self, row: Provider) -> str:
        return overview.limits(row)

    @admin.display(description="last event (UTC)")
    def last(self, row: Any) -> str:
        return overview.last_event(row)

    # --- One of them -------------------------------------------------------------------------------------

    def get_form(
        self, request: HttpRequest, obj: Provider | None = None, change: bool = False, **named: Any
    ) -> Any:
        return super().get_form(request, obj, change, form=forms.form_of(_adapter(request, obj)), **named)

    def get_fieldsets(self, request: HttpRequest, obj: Provider | None = None) -> Any:
        adapter = _adapter(request, obj)
        secrets: list[Any] = forms.secret_fields(adapter)
        if obj and forms.removable(adapter, obj.credentials):
            secrets.append("remove")
        if obj and not self.has_change_permission(request, obj):
            secrets = ["secrets"]
        return [
            (None, {"fields": ["name", "adapter", "is_active"]}),
            ("Its arguments", {"fields": ["options", *secrets], "description": _about(adapter)}),
            ("What it gets", {"fields": ["weight", "serves", "cost"]}),
            ("Limits", {"fields": [("per_second", "per_minute", "per_hour", "per_day")]}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Provider | None = None) -> list[str]:
        """Attempts, events and the receipts' address have the name; secrets are those of the adapter."""
        return ["name", "adapter", "secrets"] if obj else ["adapter"]

    @admin.display(description="secrets")
    def secrets(self, row: Provider) -> str:
        return ", ".join(f"{name}: {forms.kept_words(kept)}" for name, kept in row.credentials.items()) or "–"

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Which adapter comes first: its arguments are the form's fields."""
        if request.GET.get("adapter") in registry.ADAPTERS:
            return super().add_view(request, form_url, extra_context)
        if not self.has_add_permission(request):
            raise PermissionDenied
        return self._page(request, "adapters", "Add a provider", adapters=sorted(registry.ADAPTERS))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Beside the form: how it is doing, and what happened to it."""
        row = self.get_object(request, object_id) if self.has_view_permission(request) else None
        more = self._standing(request, row) if row else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **more})

    def _standing(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        events = ProviderEvent.objects.filter(provider=row.name).select_related("user").order_by("-pk")
        return {
            "row": row,
            "breaker": overview.breaker(row.health, row.at),
            "share": overview.share(row),
            "events": events[:LATEST],
            "may_steer": self.has_change_permission(request, row),
            "may_check": self.has_check_permission(request),
        }

    def save_model(self, request: HttpRequest, obj: Provider, form: Any, change: bool) -> None:
        obj.updated_at = clock.now()
        super().save_model(request, obj, form, change)
        steering.wake(obj.channel)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What is active has to be switched off first."""
        return super().has_delete_permission(request, obj) and not (obj and obj.is_active)

    def delete_model(self, request: HttpRequest, obj: Provider) -> None:
        """With its health, which would be that of the next one of this name. Its events and attempts stay."""
        ProviderHealth.objects.filter(provider=obj.name).delete()
        super().delete_model(request, obj)
        steering.wake(obj.channel)

    # --- Steering ----------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("steer/", wrap(self.steer_view), name="delivery_provider_steer"),
            path("<int:id>/check/", wrap(self.check_view), name="delivery_provider_check"),
            *super().get_urls(),
        ]

    @admin.action(description="Pin…", permissions=["change"])
    def ask_to_pin(self, request: HttpRequest, rows: QuerySet[Provider]) -> HttpResponse:
        return _ask("pin", rows)

    @admin.action(description="Drain…", permissions=["change"])
    def ask_to_drain(self, request: HttpRequest, rows: QuerySet[Provider]) -> HttpResponse:
        return _ask("drain", rows)

    @admin.action(description="Resume…", permissions=["change"])
    def ask_to_resume(self, request: HttpRequest, rows: QuerySet[Provider]) -> HttpResponse:
        return _ask("resume", rows)

    @admin.action(description="Close the breaker…", permissions=["change"])
    def ask_to_close(self, request: HttpRequest, rows: QuerySet[Provider]) -> HttpResponse:
        return _ask("close", rows)

    def steer_view(self, request: HttpRequest) -> HttpResponse:
        """GET asks whether to do the `action` to these `ids`; POST does it."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        form = forms.SteeringForm(request.POST if request.method == "POST" else request.GET)
        rows = (
            list(self.get_queryset(request).filter(pk__in=form.cleaned_data["ids"]))
            if form.is_valid()
            else []
        )
        if not rows:
            messages.error(request, "Nothing was done: there are no such providers.")
            return HttpResponseRedirect(reverse(_LIST))
        action = form.cleaned_data["action"]
        if request.method == "POST":
            return self._steer(request, action, rows)
        ids = ",".join(str(row.pk) for row in rows)
        alone = _left_alone(rows) if action == "drain" else []
        return self._page(request, "steer", _TITLES[action], action=action, rows=rows, ids=ids, alone=alone)

    def _steer(self, request: HttpRequest, action: str, rows: list[Any]) -> HttpResponse:
        mode = forms.SteeringForm.ACTIONS[action]
        for row in rows:
            user_id = request.user.pk
            done = (
                steering.set_mode(row, mode, user_id=user_id)
                if mode
                else steering.close_breaker(row, user_id=user_id)
            )
            told = _DONE[action] if done else "nothing to do"
            messages.add_message(request, messages.SUCCESS if done else messages.INFO, f"{row.name}: {told}.")
        back = reverse(_PAGE, args=[rows[0].pk]) if len(rows) == 1 else reverse(_LIST)
        return HttpResponseRedirect(back)

    # --- A test message ----------------------------------------------------------------------------------

    def has_check_permission(self, request: HttpRequest) -> bool:
        """Whether this person may send test messages."""
        return request.user.has_perm("delivery.check_provider")

    def check_view(self, request: HttpRequest, id: int) -> HttpResponse:
        """POST sends one message to the `address`, and tells how that ended."""
        if not self.has_check_permission(request):
            raise PermissionDenied
        row = Provider.objects.filter(pk=id).first()
        if row is None:
            raise Http404
        form = forms.CheckForm(row.channel, request.POST if request.method == "POST" else None)
        if form.is_valid():
            self._check(request, row, form.cleaned_data)
            return HttpResponseRedirect(request.path)
        return self._page(request, "check", "Send a test message", row=row, form=form)

    def _check(self, request: HttpRequest, row: Provider, wanted: dict[str, str]) -> None:
        secret = wanted.get("secret")
        try:
            told = checking.send(row, wanted["address"], secrets=(secret,) if secret else ())
        except CannotBuild as error:
            messages.error(request, f"Nothing was sent. {error}")
            return
        watch.record(row.name, Event(Kind.CHECKED, told.detail), user_id=request.user.pk)
        messages.add_message(request, _LEVELS.get(told.outcome, messages.ERROR), told.words)

    def _page(self, request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
        whole = {**self.admin_site.each_context(request), "title": title, "opts": self.opts, **context}
        return TemplateResponse(request, f"delivery/admin/{template}.html", whole)


_TITLES = {
    "pin": "Pin",
    "drain": "Drain",
    "resume": "Resume",
    "close": "Close the breaker",
}
_DONE = {
    "pin": "pinned",
    "drain": "drained",
    "resume": "resumed",
    "close": "its breaker is closed, and its share whole again",
}


def _left_alone(rows: list[Any]) -> list[str]:
    """The channels of which none could send without these."""
    channels = {row.channel for row in rows}
    others = Provider.objects.exclude(pk__in=[row.pk for row in rows]).exclude(mode=Mode.DRAINED)
    return sorted(channels - set(others.filter(is_active=True).values_list("channel", flat=True)))


def _ask(action: str, rows: QuerySet[Provider]) -> HttpResponse:
    ids = ",".join(str(id) for id in rows.values_list("pk", flat=True))
    return HttpResponseRedirect(f"{reverse('admin:delivery_provider_steer')}?action={action}&ids={ids}")


def _adapter(request: HttpRequest, obj: Provider | None) -> str:
    return obj.adapter if obj else request.GET.get("adapter", "")


def _about(adapter: str) -> SafeString:
    """What the options are: the constructor's arguments, and what its class says of them."""
    options = [str(one) for one in accounts.arguments(adapter).values() if not one.is_secret]
    told = inspect.getdoc(registry.adapter_class(adapter)) if adapter in registry.ADAPTERS else ""
    paragraphs = format_html_join(
        "", "<p>{}</p>", ((_with_code(text),) for text in (told or "").split("\n\n"))
    )
    return format_html("{}<p>Options, as JSON: {}</p>", paragraphs, ", ".join(options) or "none")


def _with_code(text: str) -> SafeString:
    """What stands between backticks in a docstring, as code."""
    parts = enumerate(text.split("`"))
    return format_html_join(
        "", "{}", ((format_html("<code>{}</code>", part) if n % 2 else part,) for n, part in parts)
    )
