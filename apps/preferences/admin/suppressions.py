"""Suppressed addresses: looked up, entered by hand, and removed. A fact is not edited."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.preferences.addresses import SUPPRESSIBLE, normalised
from apps.preferences.models import Suppression
from apps.preferences.suppression import Cause
from project import clock
from project.admin import BaseAdmin


class SuppressionForm(forms.ModelForm):  # type: ignore[type-arg]
    """An address entered by hand, in the spelling under which it would be written to."""

    channel = forms.ChoiceField(choices=[(channel, channel) for channel in SUPPRESSIBLE])

    class Meta:
        model = Suppression
        fields = ["channel", "address", "organization", "until", "note"]
        widgets = {"note": forms.Textarea(attrs={"rows": 3})}

    def clean(self) -> dict[str, Any]:
        """The address normalised by its channel's rule."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        channel, address = cleaned.get("channel"), cleaned.get("address")
        if channel and address:
            try:
                cleaned["address"] = normalised(channel, address)
            except ValueError as error:
                self.add_error("address", str(error))
        return cleaned

    def clean_until(self) -> datetime | None:
        """A time to come."""
        until: datetime | None = self.cleaned_data["until"]
        if until and until <= clock.now():
            raise forms.ValidationError("This time is past.")
        return until


@admin.register(Suppression)
class SuppressionAdmin(BaseAdmin):
    deletable = True  # lifted is deleted
    form = SuppressionForm
    list_display = ["address", "channel", "cause_words", "organization_words", "who", "since", "until"]
    list_filter = []  # each would read the whole table
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

    @admin.display(description="who")
    def who(self, row: Suppression) -> str:
        """A person of ours, a service, or nobody: it was learned of a provider."""
        if row.created_by or row.client:
            return str(row.created_by or row.client)
        return "–"

    @admin.display(description="since")
    def since(self, row: Suppression) -> datetime:
        return row.created_at

    def get_queryset(self, request: HttpRequest) -> QuerySet[Suppression]:
        return super().get_queryset(request).select_related("organization", "created_by", "client")

    def get_fields(self, request: HttpRequest, obj: Suppression | None = None) -> Any:
        entered = ["channel", "address", "organization", "until", "note"]
        return [*entered, "cause_words", "who", "since"] if obj else entered

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Suppression, form: Any, change: bool) -> None:
        obj.cause = Cause.MANUAL
        obj.created_by = request.user
        super().save_model(request, obj, form, change)
