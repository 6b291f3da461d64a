"""Templates: written by people other than programmers, so mistakes are told with their line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson
from django import forms
from django.contrib import admin
from django.contrib.postgres.forms import SimpleArrayField
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.defaultfilters import pluralize
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.content import rendering
from apps.content.models import NotificationTemplate
from apps.content.segments import measure
from project.admin import BaseAdmin
from project.queues import CHANNELS

SAMPLE_RECIPIENT = {
    "external_id": "customer-1",
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "phone": "+4930123456",
    "language": "en",
    "timezone": "Europe/Berlin",
}


class TemplateForm(forms.ModelForm):  # type: ignore[type-arg]
    """A template; its sources are parsed by the model."""

    channel = forms.ChoiceField(choices=[(channel, channel) for channel in CHANNELS])
    variables = SimpleArrayField(
        forms.CharField(max_length=100),
        required=False,
        widget=forms.TextInput(attrs={"class": "vLargeTextField", "size": 80}),
        help_text="Names the payload must have, with commas between; a request without one is refused.",
    )

    class Meta:
        model = NotificationTemplate
        fields = "__all__"
        labels = {"html": "HTML"}
        help_texts = {"subject": "Subject of an e-mail, title of any other message; an SMS has none."}
        widgets = {
            "subject": forms.TextInput(attrs={"class": "vLargeTextField", "size": 80}),
            "body": forms.Textarea(attrs={"class": "vLargeTextField source", "rows": 12}),
            "html": forms.Textarea(attrs={"class": "vLargeTextField source", "rows": 12}),
        }

    def clean_variables(self) -> list[str]:
        """Each once."""
        return list(dict.fromkeys(self.cleaned_data["variables"]))


class SampleForm(forms.Form):
    """The payload a preview is rendered with."""

    payload = forms.CharField(
        max_length=5_000,  # it goes by the address
        label="Sample payload",
        widget=forms.Textarea(attrs={"rows": 8, "class": "vLargeTextField source"}),
    )

    def clean_payload(self) -> dict[str, Any]:
        """The object, parsed as the API does it."""
        try:
            payload = orjson.loads(self.cleaned_data["payload"])
        except orjson.JSONDecodeError as error:
            raise forms.ValidationError(f"This is not JSON: {error}") from None
        if not isinstance(payload, dict):
            raise forms.ValidationError("The payload is an object: {…}.")
        return payload


@admin.register(NotificationTemplate)
class NotificationTemplateAdmin(BaseAdmin):
    deletable = True  # a notification carries the texts it was accepted with
    form = TemplateForm
    change_form_template = "content/admin/template_form.html"
    add_form_template = "content/admin/template_form.html"
    list_display = ["name", "channel", "variable_names", "preview_link"]
    list_filter = []
    search_fields = ["name__startswith"]
    search_help_text = "The beginning of a name."
    autocomplete_fields = ["organization"]
    readonly_fields = ["created_at"]
    fieldsets = [
        (None, {"fields": ["name", "channel", "subject", "body", "html", "track", "variables"]}),
        ("Record", {"fields": ["organization", "created_at"], "classes": ["collapse"]}),
    ]

    @admin.display(description="variables")
    def variable_names(self, template: NotificationTemplate) -> str:
        return ", ".join(template.variables) or "–"

    @admin.display(description="")
    def preview_link(self, template: NotificationTemplate) -> SafeString:
        url = reverse("admin:content_notificationtemplate_preview", args=[template.pk])
        return format_html('<a href="{}">Preview</a>', url)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changes = super().get_changelist_instance(request)
        if not changes.query:
            changes.full_result_count = changes.result_count  # no "results" where nobody searched
        return changes

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.preview_view)
        name = "content_notificationtemplate_preview"
        return [path("<int:id>/preview/", view, name=name), *super().get_urls()]

    def preview_view(self, request: HttpRequest, id: int) -> HttpResponse:
        """The template's parts, rendered with a sample; GET only, and nothing is written or sent."""
        template = self.get_object(request, str(id))
        if template is None:
            raise Http404
        if not self.has_view_permission(request, template):
            raise PermissionDenied
        asked = {"payload": request.GET.get("payload") or _sample(template)}
        form = SampleForm(asked)
        payload = form.cleaned_data["payload"] if form.is_valid() else None
        context = {
            **self.admin_site.each_context(request),
            "title": "Preview",
            "subtitle": str(template),
            "opts": self.opts,
            "template": template,
            "form": form,
            "recipient": json.dumps(SAMPLE_RECIPIENT, indent=2),
            "parts": [] if payload is None else parts(template, payload),
            "missing": [] if payload is None else [n for n in template.variables if n not in payload],
            "undeclared": sorted(undeclared(template)),
        }
        return TemplateResponse(request, "content/admin/preview.html", context)


def _sample(template: NotificationTemplate) -> str:
    """A payload that has every name the template needs, each as its own value."""
    return json.dumps({name: name for name in template.variables}, indent=2, ensure_ascii=False)


def parts(template: NotificationTemplate, payload: Mapping[str, Any]) -> list[dict[str, str]]:
    """The parts that are not empty, each with its `text` or the `error` that its rendering ended with.

    That of an SMS has its `size`.
    """
    context = {**payload, "recipient": SAMPLE_RECIPIENT}
    found = []
    for name, source in template.parts().items():
        if source:
            part = {"name": name, "source": source} | _rendered(source, context, html=name == "html")
            if template.channel == "sms" and name == "body" and "text" in part:
                part["size"] = _size(part["text"])
            found.append(part)
    return found


def _size(text: str) -> str:
    encoding, _, segments = measure(text)
    return f"{encoding}, {len(text)} character{pluralize(len(text))}, {segments} segment{pluralize(segments)}"


def _rendered(source: str, context: dict[str, Any], *, html: bool) -> dict[str, str]:
    try:
        return {"text": rendering.render(source, context, html=html)}
    except rendering.RenderingError as error:
        return {"error": str(error)}


_KNOWN = {"recipient", "now", "today"}


def undeclared(template: NotificationTemplate) -> set[str]:
    """Names the sources use and `variables` does not ask for: empty where the payload lacks them."""
    used = {name for source in template.parts().values() for name in rendering.names_used(source)}
    return used - set(template.variables) - _KNOWN
