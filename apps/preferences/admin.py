"""Suppressed addresses: looked up, entered by hand, and removed. A fact is not edited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from apps.preferences.models import Suppression
from apps.preferences.suppression import Cause
from apps.users import normalise
from project.admin import BaseAdmin

# What is suppressed is an address at a provider: in-app has none.
_RULES: dict[str, Callable[[str], str]] = {"email": normalise.email, "sms": normalise.phone}


class SuppressionForm(forms.ModelForm):  # type: ignore[type-arg]
    """An address entered by hand, in the spelling under which it would be written to."""

    channel = forms.ChoiceField(choices=[(channel, channel) for channel in _RULES])

    class Meta:
        model = Suppression
        fields = ["channel", "address", "organization"]

    def clean(self) -> dict[str, Any]:
        """The address normalised by its channel's rule."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        rule, address = _RULES.get(cleaned.get("channel", "")), cleaned.get("address")
        if rule and address:
            try:
                cleaned["address"] = rule(address)
            except ValueError as error:
                self.add_error("address", str(error))
        return cleaned


@admin.register(Suppression)
class SuppressionAdmin(BaseAdmin):
    deletable = True  # lifted is deleted
    form = SuppressionForm
    list_display = ["address", "channel", "cause_words", "organization_words", "created_at"]
    list_filter = []  # each would read the whole table
    list_select_related = ["organization"]
    sortable_by = []
    search_fields = ["address__startswith"]
    search_help_text = "The beginning of an address, as it is listed."
    autocomplete_fields = ["organization"]

    @admin.display(description="cause")
    def cause_words(self, row: Suppression) -> str:
        return Cause(row.cause).label if row.cause in Cause.values else row.cause

    @admin.display(description="organization")
    def organization_words(self, row: Suppression) -> str:
        return str(row.organization) if row.organization else "every organization"

    def get_fields(self, request: HttpRequest, obj: Suppression | None = None) -> Any:
        entered = ["channel", "address", "organization"]
        return [*entered, "cause_words", "created_at"] if obj else entered

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Suppression, form: Any, change: bool) -> None:
        obj.cause = Cause.MANUAL
        super().save_model(request, obj, form, change)
