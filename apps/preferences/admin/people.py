"""What one person has chosen, and what comes of it, on a page of its own."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from apps.preferences import own
from apps.preferences.admin.defaults import WHEN
from apps.preferences.admin.forms import ChoiceForm, PersonForm
from apps.preferences.choices import Wanted
from apps.preferences.choosing import in_effect
from apps.preferences.models import Choice, PreferencesOfPerson
from apps.preferences.store import rules_of, types_of
from apps.users import people
from apps.users.admin import PeopleAdmin
from project.queues import CHANNELS


class ChoiceInline(admin.TabularInline):  # type: ignore[type-arg]
    """Choices with who made them, until when they hold, and why."""

    model = Choice
    form = ChoiceForm
    extra = 0
    ordering = ["type", "channel"]
    fields = ["type", "channel", "how", "until", "reason", "source", "created_at"]
    readonly_fields = ["source", "created_at"]

    def get_formset(self, request: HttpRequest, obj: Any = None, **named: Any) -> Any:
        """With the types there are for this person."""
        types = types_of(obj.organization_id) if obj else {}
        form = type("ChoiceForm", (ChoiceForm,), {"types": types})
        return super().get_formset(request, obj, **{**named, "form": form})


@admin.register(PreferencesOfPerson)
class PreferencesOfPersonAdmin(PeopleAdmin):
    """A person is neither made nor deleted here."""

    form = PersonForm
    change_form_template = "preferences/admin/form.html"
    list_display = ["id", "external_id", "name", "language", "timezone"]
    list_display_links = ["id", "external_id"]
    sortable_by = []
    readonly_fields = ["language", "timezone", "effect"]
    inlines = [ChoiceInline]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        mine = WHEN if self.has_change_permission(request, obj) else []
        return [
            (None, {"fields": ["language", "timezone"]}),
            *mine,
            ("In effect", {"fields": ["effect"], "classes": ["collapse"]}),
        ]

    @admin.display(description="what holds")
    def effect(self, person: PreferencesOfPerson) -> SafeString:
        """A line for each type, a column for each channel: how, and by whose choice."""
        organization_id = person.organization_id
        assert organization_id is not None  # to the type checker a foreign key with a default may be empty
        rules = rules_of({person.pk: organization_id}).of(person.pk)
        cells = [
            (slug, *(_words(in_effect(one, channel, rules.choices)) for channel in CHANNELS))
            for slug, one in sorted(types_of(organization_id).items())
        ]
        row = "<tr><td>" + "</td><td>".join(["{}"] * (len(CHANNELS) + 1)) + "</td></tr>"
        head = format_html_join("", "<th>{}</th>", [("",), *((channel,) for channel in CHANNELS)])
        return format_html("<table><tr>{}</tr>{}</table>", head, format_html_join("", row, cells))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """The person's own row stays as it is; nobody else changes their preferences meanwhile."""
        people.lock(obj.pk)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """All of it is one change, of which is told once."""
        (formset,) = formsets
        formset.save(commit=False)  # for the admin's own record of what changed
        when = form.after.when if form.after.when != form.before.when else None
        own.write(form.instance.pk, _wanted(formset), when, source="admin")


def _words(chosen: Any) -> str:
    until = f", until {chosen.until:%Y-%m-%d %H:%M} UTC" if chosen.until else ""
    return f"{chosen.how} ({chosen.level}{until})"


def _wanted(formset: Any) -> list[Wanted]:
    """What is gone first: a choice may take the place of another."""
    changed = [one for one in formset.forms if one.has_changed() or one in formset.deleted_forms]
    gone = [Wanted(one.initial["type"], one.initial["channel"], None) for one in changed if one.instance.pk]
    kept = [one.cleaned_data for one in changed if one not in formset.deleted_forms]
    said = [(one["type"], one["channel"], one["how"], one["until"], one["reason"]) for one in kept]
    return [*gone, *(Wanted(*one) for one in said)]
