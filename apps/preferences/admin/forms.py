"""The forms of preferences: the same rules as the API's, and a mistake is told with its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import forms

from apps.preferences.choosing import Types, channels_said, types_said
from apps.preferences.models import Choice, How, PreferenceDefaults, PreferencesOfPerson
from apps.preferences.own import FIELDS, NOTHING, Own, read
from apps.preferences.preferences_schemas import MAX_PER_HOUR
from apps.preferences.preferences_schemas import read as read_body
from apps.preferences.preferences_shown import digest_said
from apps.preferences.rules import NO_RULES, Chosen, Rules
from apps.preferences.store import defaults_of, types_of
from apps.preferences.windows import DAYS
from project import clock
from project.queues import CHANNELS

_DIGEST = ("daily_at", "weekly_day", "weekly_at")
_WINDOW = '{"days": ["mon", "tue"], "start": "09:00", "end": "18:00"}'


class JsonField(forms.CharField):
    """A document; empty is None. What is in it is judged by the form."""

    def __init__(self, *, rows: int, help_text: str) -> None:
        widget = forms.Textarea({"rows": rows, "cols": 80, "class": "source", "spellcheck": "false"})
        super().__init__(required=False, max_length=20_000, widget=widget, help_text=help_text)

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        try:
            return json.loads(text) if text else None
        except (json.JSONDecodeError, RecursionError) as error:
            raise forms.ValidationError(f"This is not JSON: {error}") from None

    def run_validators(self, value: Any) -> None:
        """Those of a text are not for a document."""

    def prepare_value(self, value: Any) -> Any:
        """A window or a choice a line."""
        if isinstance(value, list) and value:
            return "[\n" + ",\n".join(f"  {json.dumps(one)}" for one in value) + "\n]"
        if isinstance(value, dict | list):
            return json.dumps(value, indent=2) if value else json.dumps(value)
        return value


def _at(help_text: str) -> forms.CharField:
    return forms.CharField(required=False, max_length=5, help_text=help_text)


class _WhenForm(forms.ModelForm):  # type: ignore[type-arg]
    """When and how often. What is empty is as the level below has it."""

    hours = JsonField(
        rows=6,
        help_text=f"Messages come within any of these. [{_WINDOW}], []: at any time. Empty: the default.",
    )
    quiet = JsonField(rows=6, help_text="Messages do not come within these. []: none. Empty: the default.")
    daily_at = _at("HH:MM, when the daily digest comes.")
    weekly_day = forms.ChoiceField(required=False, choices=[("", "–"), *((day, day) for day in DAYS)])
    weekly_at = _at("HH:MM, when the weekly digest comes.")
    cap_per_hour = forms.IntegerField(
        required=False, help_text=f"Messages by one channel in an hour, 1 to {MAX_PER_HOUR}."
    )

    def fill(self, when: Mapping[str, Any]) -> None:
        """Show what is kept."""
        self.initial.update({name: when[name] for name in FIELDS}, **digest_said(when))

    def judge(self, before: Own, said: Mapping[str, Any], *, types: Types, defaults: Rules) -> Own:
        """What the form asks for, by the API's rules. said: beside when and how often."""
        values = self.cleaned_data
        body = {name: values.get(name) for name in FIELDS if name not in _DIGEST}
        body["digest"] = {name: values.get(name) or None for name in _DIGEST}
        now = clock.now()
        asked, errors = read_body(
            {**body, **said}, before, types=types, defaults=defaults, now=now, replace=True
        )
        for error in errors:
            field = error["field"].removeprefix("digest.").partition(".")[0].partition("[")[0]
            self.add_error(field, f"{error['field']}: {error['detail']}")
        return asked.own


class DefaultsForm(_WhenForm):
    """The defaults of an organization, or the system's."""

    channels = JsonField(rows=4, help_text='By channel, such as {"sms": "off", "email": "daily"}.')
    types = JsonField(
        rows=8, help_text='By type, such as {"news": "weekly", "status_update": {"sms": "off"}}.'
    )

    class Meta:
        model = PreferenceDefaults
        fields = ["organization"]
        help_texts = {"organization": "Leave it empty for the system's, which hold below everybody's."}

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        if self.instance.pk:
            held, types = _flat(self.instance.choices), types_of(self.instance.organization_id)
            self.fill({name: getattr(self.instance, name) for name in FIELDS})
            self.initial.update(channels=channels_said(held), types=types_said(held, types))

    def clean(self) -> dict[str, Any]:
        """Everything as it is kept."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        chosen = self.instance.organization if self.instance.pk else cleaned.get("organization")
        organization_id = chosen.pk if chosen else None
        after = self.judge(
            Own({}, NOTHING),
            {name: cleaned.get(name) for name in ("channels", "types")},
            types=types_of(organization_id),
            defaults=defaults_of(None) if organization_id else NO_RULES,
        )
        self.instance.choices = _nested(after.choices)
        return {**cleaned, **after.when}


def _flat(choices: Mapping[str, Mapping[str, str]]) -> dict[tuple[str, str], Chosen]:
    return {(type, channel): Chosen(how) for type, said in choices.items() for channel, how in said.items()}


def _nested(choices: Mapping[tuple[str, str], Chosen]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for (type, channel), one in sorted(choices.items()):
        found.setdefault(type, {})[channel] = one.how
    return found


class PersonForm(_WhenForm):
    """A person's own hours, digests and cap. Their choices are rows below."""

    class Meta:
        model = PreferencesOfPerson
        fields: list[str] = []

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.before = read(self.instance.pk)
        self.after = self.before
        self.fill(self.before.when)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        defaults = defaults_of(self.instance.organization_id)
        self.after = self.judge(self.before, {}, types={}, defaults=defaults)
        return cleaned


class ChoiceForm(forms.ModelForm):  # type: ignore[type-arg]
    """One choice of a person."""

    types: Types = {}  # of the person's organization
    type = forms.ChoiceField(required=False)
    channel = forms.ChoiceField(
        required=False, choices=[("", "every channel"), *((one, one) for one in CHANNELS)]
    )
    how = forms.ChoiceField(choices=How.choices)

    class Meta:
        model = Choice
        fields = ["type", "channel", "how", "until", "reason"]
        widgets = {"reason": forms.TextInput(attrs={"size": 40})}

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        slugs = sorted({*self.types, self.instance.type} - {""})
        field: Any = self.fields["type"]
        field.choices = [("", "every type"), *((slug, slug) for slug in slugs)]

    def clean_until(self) -> datetime | None:
        """A time to come."""
        until: datetime | None = self.cleaned_data["until"]
        if until and "until" in self.changed_data and until <= clock.now():
            raise forms.ValidationError("This time is past.")
        return until

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        type = self.types.get(cleaned.get("type", ""))
        if type and type.critical and cleaned.get("how") != How.ON:
            self.add_error("how", f"{type.slug} is critical: it cannot be turned off or collected.")
        return cleaned
