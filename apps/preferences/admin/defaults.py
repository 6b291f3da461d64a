"""Defaults: what holds for people who have not chosen."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.preferences.admin.forms import DefaultsForm
from apps.preferences.models import PreferenceDefaults
from project import clock
from project.admin import BaseAdmin

WHEN = [
    ("When messages come", {"fields": ["hours", "quiet", "cap_per_hour"]}),
    ("When digests come", {"fields": ["daily_at", "weekly_day", "weekly_at"]}),
]


@admin.register(PreferenceDefaults)
class PreferenceDefaultsAdmin(BaseAdmin):
    """They hold from the next message on; what is held already keeps its time, and is decided anew then."""

    deletable = True  # an organization without has the system's
    deleted_together = False
    form = DefaultsForm
    change_form_template = add_form_template = "preferences/admin/form.html"
    list_display = ["__str__", "cap_per_hour", "updated_at"]
    list_filter = []
    sortable_by = []
    autocomplete_fields = ["organization"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[PreferenceDefaults]:
        return super().get_queryset(request).select_related("organization")

    def get_fieldsets(self, request: HttpRequest, obj: PreferenceDefaults | None = None) -> Any:
        may = self.has_change_permission(request, obj) if obj else True
        choices = ["channels", "types"] if may else ["choices"]
        return [
            (None, {"fields": ["organization"]}),
            ("What", {"fields": choices}),
            *WHEN,
            *([("Record", {"fields": ["updated_at"]})] if obj else []),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: PreferenceDefaults | None = None) -> list[str]:
        return ["organization", "updated_at"] if obj else []

    def save_model(self, request: HttpRequest, obj: PreferenceDefaults, form: Any, change: bool) -> None:
        obj.updated_at = clock.now()
        super().save_model(request, obj, form, change)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The system's stay: they can be emptied."""
        return super().has_delete_permission(request, obj) and not (obj and obj.organization_id is None)
