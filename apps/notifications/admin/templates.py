"""Of the pages of templates those that need notifications: publishing, with its impact, and tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse

from apps.content import listing, payloads, versioning
from apps.content.admin import pages
from apps.content.admin.templates import TemplateAdmin, author
from apps.content.models import NotificationTemplate, TemplateVersion
from apps.content.versioning import Refused
from apps.notifications import intake, planning, template_checks
from apps.users import people, places
from apps.users.people import Person
from project import clock, db, queues

_LOOKED_AT = 100  # notifications whose payloads a draft is tried with before it is published
_SHOWN = 20  # of those it would not do for
_MISSING = {
    "email": "You have no e-mail address.",
    "sms": "You have no phone number.",
}


class TestForm(pages.PayloadForm):
    """What to send to oneself, by which of one's channels."""

    channels = forms.MultipleChoiceField(widget=forms.CheckboxSelectMultiple)

    def __init__(self, channels: list[str], *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.fields["channels"].choices = [(one, one) for one in channels]  # type: ignore[attr-defined]


@admin.register(NotificationTemplate)
class NotificationTemplateAdmin(TemplateAdmin):
    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        name = "content_notificationtemplate"
        return [
            path("<int:id>/publish/", wrap(self.publish_view), name=f"{name}_publish"),
            path("<int:id>/test/", wrap(self.test_view), name=f"{name}_test"),
            *super().get_urls(),
        ]

    # --- Publishing --------------------------------------------------------------------------------------

    def publish_view(self, request: HttpRequest, id: int) -> HttpResponse:
        """GET shows what publishing the draft would change, and POST publishes it."""
        template = self.to_change(request, id)
        draft = listing.version_of(template, "draft")
        if draft is None:
            messages.info(request, "There is no draft to publish.")
            return HttpResponseRedirect(self.url("change", template.pk))
        if request.method == "POST":
            return self._publish(request, template, draft)
        current = listing.version_of(template, "current")
        return self.page(
            request,
            "notifications/admin/publish",
            f"Publish v{draft.number}",
            template,
            draft=draft,
            changes=pages.changes(current, draft) if current else [],
            current=current,
            **self._impact(request, draft),
        )

    def _publish(
        self, request: HttpRequest, template: NotificationTemplate, draft: TemplateVersion
    ) -> HttpResponse:
        if request.POST.get("version") != str(draft.number):
            messages.error(request, "The draft is another one than was shown. Nothing was published.")
        else:
            self._made_current(request, template, draft)
        return HttpResponseRedirect(self.url("change", template.pk))

    def _made_current(
        self, request: HttpRequest, template: NotificationTemplate, draft: TemplateVersion
    ) -> None:
        try:
            versioning.publish(template, by=author(request))
        except Refused as refused:
            faults = "; ".join(f"{fault.path}: {fault.detail}" for fault in refused.faults)
            messages.error(request, f"{refused.detail} {faults}")
        else:
            self.log_change(request, template, f"Published v{draft.number}")
            messages.success(request, f"v{draft.number} is published: new notifications get it.")

    def _impact(self, request: HttpRequest, draft: TemplateVersion) -> dict[str, Any]:
        """Of the template's organization; of the system's template of the organization of who looks."""
        organization_id = draft.template.organization_id or _organization_id(request)
        found = template_checks.impact(draft, organization_id=organization_id, last=_LOOKED_AT)
        return {"impact": found, "faulty": found.faulty[:_SHOWN], "most": _LOOKED_AT}

    # --- A test ------------------------------------------------------------------------------------------

    def test_view(self, request: HttpRequest, id: int) -> HttpResponse:
        """POST sends a version to whoever is logged in, as a notification; GET asks what and by what."""
        template = self.to_change(request, id)
        version = self.asked(request, template, "version")
        person = _oneself(request)
        reached, missing = _reach(person, version)
        given = request.POST if request.method == "POST" else None
        initial = {"payload": pages.payload_text(version), "channels": reached}
        form = TestForm(reached, given, initial=initial)
        if form.is_valid() and _is_taken(form, version):
            return self._send(request, version, person, form.cleaned_data)
        return self.page(
            request,
            "notifications/admin/template_test",
            "Send me a test",
            template,
            version=version,
            form=form,
            reached=reached,
            missing=missing,
        )

    def _send(
        self, request: HttpRequest, version: TemplateVersion, person: Person, wanted: Mapping[str, Any]
    ) -> HttpResponse:
        order = template_checks.order_of_test(
            version,
            wanted["payload"],
            wanted["channels"],
            organization_id=_organization_id(request),
            client_id=None,
        )
        with db.one_transaction():
            (accepted,) = intake.accept([(order, [person])], clock.now())
        queues.ring(*accepted.lanes)
        self.log_change(request, version.template, f"Sent a test of v{version.number}")
        messages.success(request, "The test is on its way to you. This page tells what became of it.")
        return HttpResponseRedirect(reverse("admin:notifications_notification_change", args=[accepted.id]))


def _organization_id(request: HttpRequest) -> int:
    organization_id = author(request).organization_id
    assert organization_id is not None  # to the type checker a foreign key with a default may be empty
    return organization_id


def _oneself(request: HttpRequest) -> Person:
    (person,) = people.find(_organization_id(request), ids=[author(request).pk])
    return person


def _reach(person: Person, version: TemplateVersion) -> tuple[list[str], list[str]]:
    """The version's channels by which the person is reached, and why not by the others."""
    found = places.places([person.id], version.content)
    reached = [one for one in version.content if planning.addresses_of(one, person, found)]
    others = [one for one in version.content if one not in reached]
    return reached, [_MISSING.get(one, f"You have no device or endpoint for {one}.") for one in others]


def _is_taken(form: TestForm, version: TemplateVersion) -> bool:
    """Whether the schema takes the payload; says so in the form if not."""
    for fault in payloads.told(version, form.cleaned_data["payload"]):
        form.add_error("payload", f"{fault['field']}: {fault['detail']}")
    return not form.errors
