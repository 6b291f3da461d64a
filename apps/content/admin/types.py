"""Types: what people can opt out of."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.postgres.forms import SimpleArrayField
from django.http import HttpRequest
from pydantic import ValidationError

from apps.content import listing
from apps.content.models import Category, NotificationType, Overflow
from apps.content.schemas import TypeInput
from project.admin import BaseAdmin
from project.api import field_errors
from project.queues import CHANNELS


class _ChannelsField(SimpleArrayField):
    """Channels in an order, with commas between them."""

    def __init__(self, help_text: str) -> None:
        names = f"{help_text} With commas between; there are {', '.join(CHANNELS)}."
        super().__init__(forms.CharField(), required=False, help_text=names)


class TypeForm(forms.ModelForm):  # type: ignore[type-arg]
    """A type, by the rules of the API."""

    category = forms.ChoiceField(choices=Category.choices)
    overflow = forms.ChoiceField(choices=Overflow.choices, initial=Overflow.SKIP)
    channels = _ChannelsField("By which it goes if the request names none; empty: by all the person has.")
    fallback = _ChannelsField("To try in this order: for what is one too many, and whom no other reaches.")

    class Meta:
        model = NotificationType
        fields = "__all__"

    def clean(self) -> dict[str, Any]:
        """Every mistake at its field."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        given = {name: cleaned[name] for name in TypeInput.model_fields if name in cleaned}
        if self.instance.pk:
            given["slug"] = self.instance.slug
        try:
            TypeInput.model_validate(given)
        except ValidationError as error:
            for one in field_errors(error):
                name = one["field"].partition("[")[0]
                if name in self.fields and name not in self.errors:
                    self.add_error(name, one["detail"])
        return cleaned


@admin.register(NotificationType)
class NotificationTypeAdmin(BaseAdmin):
    deletable = True
    deleted_together = False
    form = TypeForm
    list_display = [
        "slug",
        "name",
        "category",
        "organization_words",
        "critical",
        "cap_per_hour",
        "cap_per_day",
    ]
    list_filter = []
    list_select_related = ["organization"]
    search_fields = ["slug__startswith"]
    search_help_text = "The beginning of a slug."
    autocomplete_fields = ["organization"]
    fieldsets = [
        (None, {"fields": ["slug", "name", "description", "category", "channels", "critical"]}),
        ("How much", {"fields": ["dedupe_window", "cap_per_hour", "cap_per_day", "overflow", "fallback"]}),
        ("Record", {"fields": ["organization", "created_at"], "classes": ["collapse"]}),
    ]

    @admin.display(description="organization")
    def organization_words(self, row: NotificationType) -> str:
        return str(row.organization) if row.organization else "every organization"

    def get_readonly_fields(self, request: HttpRequest, obj: NotificationType | None = None) -> list[str]:
        """Choices and templates refer to it by its slug, within an organization."""
        return ["slug", "organization", "created_at"] if obj else ["created_at"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Not while a template would be left without a type."""
        return super().has_delete_permission(request, obj) and not (obj and listing.uses_type(obj))
