"""The forms of a provider's pages: the row, where each secret has a field, and the test message."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError

from apps.delivery import accounts, checking
from apps.delivery.accounts import Argument
from apps.delivery.models import Provider
from apps.delivery.routing import Mode

LONGEST_SECRET = 20_000  # characters; a service account's JSON has some 2,400
LONGEST_ADDRESS = 2_048  # characters; a browser's subscription has some 400
_PREFIX = "secret_"  # begins the names of these fields: an option may be called like a field of the row


class SecretInput(forms.Textarea):
    """Several lines, since keys have them; shows a reference to the environment, and never a secret."""

    def __init__(self) -> None:
        super().__init__(
            {"rows": 1, "cols": 60, "class": "secret", "autocomplete": "off", "spellcheck": "false"}
        )

    def format_value(self, value: Any) -> str | None:
        return value if isinstance(value, str) and accounts.is_reference(value) else None


class OptionsField(forms.JSONField):
    """An object, one argument a line."""

    def prepare_value(self, value: Any) -> Any:
        return (
            json.dumps(value, indent=2, ensure_ascii=False)
            if isinstance(value, dict)
            else super().prepare_value(value)
        )


class ProviderForm(forms.ModelForm):  # type: ignore[type-arg]
    """A provider of one adapter; `form_of` adds its secrets."""

    adapter: ClassVar[str]
    arguments: ClassVar[dict[str, Argument]]
    options = OptionsField(
        required=False,
        widget=forms.Textarea({"rows": 8, "cols": 60, "class": "source", "spellcheck": "false"}),
    )
    remove = forms.MultipleChoiceField(
        required=False, widget=forms.CheckboxSelectMultiple, help_text="Secrets it is to be without."
    )

    class Meta:
        model = Provider
        fields = [
            "name", "is_active", "options", "weight", "serves", "cost",
            "per_second", "per_minute", "per_hour", "per_day",
        ]  # fmt: skip
        widgets = {
            "serves": forms.TextInput(attrs={"class": "vTextField", "placeholder": "DE, AT, +49"}),
        }
        help_texts = {"is_active": "Only an inactive one can be deleted."}

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.instance.adapter = self.adapter
        kept: dict[str, str] = self.instance.credentials
        for name in self.secrets():
            field = self.fields[_PREFIX + name]
            field.initial = kept[name] if accounts.is_reference(kept.get(name, "")) else None
            field.help_text = _help(self.arguments[name], kept.get(name))
        names = removable(self.adapter, kept)
        removing: Any = self.fields["remove"]
        removing.choices = [(name, name) for name in names]
        if not names:
            del self.fields["remove"]
        if self.instance.pk is None:
            self.initial["options"] = {
                one.name: "" for one in self.arguments.values() if one.is_needed and not one.is_secret
            }

    @classmethod
    def secrets(cls) -> list[str]:
        """The names of its secrets."""
        return [one.name for one in cls.arguments.values() if one.is_secret]

    def clean_options(self) -> Any:
        """Nothing entered is none."""
        given = self.cleaned_data["options"]
        return {} if given is None else given

    def clean(self) -> dict[str, Any]:
        """The credentials: what is kept, what was entered, without what is to be removed."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        removed = cleaned.get("remove", [])
        credentials = {name: kept for name, kept in self.instance.credentials.items() if name not in removed}
        for name in self.secrets():
            entered = str(cleaned.get(_PREFIX + name) or "").replace("\r\n", "\n")
            if entered and entered != credentials.get(name):
                try:
                    credentials[name] = accounts.keep(entered)
                except ValidationError as error:
                    self.add_error(_PREFIX + name, error)
        self._credentials = credentials
        return cleaned

    def _post_clean(self) -> None:
        """As Django's own forms check what a model cannot: the whole row, once it is otherwise right."""
        super()._post_clean()  # type: ignore[misc]  # it is there, and no part of the stubs
        if self.errors:
            return
        self.instance.credentials = self._credentials
        try:
            accounts.check(self.instance)
        except ValidationError as error:
            for name, texts in error.message_dict.items():
                field = _PREFIX + name if _PREFIX + name in self.fields else name
                self.add_error(field if field in self.fields else NON_FIELD_ERRORS, texts)


def form_of(adapter: str) -> type[ProviderForm]:
    """The form of this adapter's providers."""
    arguments = accounts.arguments(adapter)
    secrets = {
        _PREFIX + one.name: forms.CharField(
            label=one.name, required=False, max_length=LONGEST_SECRET, widget=SecretInput
        )
        for one in arguments.values()
        if one.is_secret
    }
    return type("ProviderForm", (ProviderForm,), {"adapter": adapter, "arguments": arguments, **secrets})


def secret_fields(adapter: str) -> list[str]:
    """The names of the form's fields that take secrets."""
    return [_PREFIX + one.name for one in accounts.arguments(adapter).values() if one.is_secret]


def removable(adapter: str, credentials: Mapping[str, str]) -> list[str]:
    """Of these secrets, those that the adapter can be without."""
    known = accounts.arguments(adapter)
    return [name for name in credentials if name not in known or not known[name].is_needed]


def _help(argument: Argument, kept: str | None) -> str:
    now = kept_words(kept) if kept else "not set"
    what = "Needed" if argument.is_needed else "For receipts" if argument.for_receipts else "Optional"
    return f"{what}; {now}. Enter env:NAME, or the secret itself, which is not shown again. Empty keeps it."


def kept_words(kept: str) -> str:
    """What may be told of a secret."""
    return kept if accounts.is_reference(kept) else "set"


class CheckForm(forms.Form):
    """Where the test message goes. Signing secrets are an endpoint's own, so only where it has any."""

    address = forms.CharField(max_length=LONGEST_ADDRESS, widget=forms.TextInput(attrs={"size": 60}))
    secret = forms.CharField(
        label="Signing secret",
        max_length=LONGEST_SECRET,
        widget=SecretInput,
        help_text="The endpoint's own, such as whsec_…; it is not kept.",
    )

    def __init__(self, channel: str, *args: Any) -> None:
        super().__init__(*args)
        self._rule = checking.RULES.get(channel)
        if channel != "webhook":
            del self.fields["secret"]

    def clean_address(self) -> str:
        """In its one spelling."""
        address: str = self.cleaned_data["address"]
        try:
            return self._rule(address) if self._rule else address
        except ValueError as error:
            raise ValidationError(str(error)) from None


class SteeringForm(forms.Form):
    """What is to be done with which providers."""

    ACTIONS: ClassVar = {"pin": Mode.PINNED, "drain": Mode.DRAINED, "resume": Mode.NORMAL, "close": None}

    action = forms.ChoiceField(choices=[(name, name) for name in ACTIONS])
    ids = forms.CharField(max_length=2_000)

    def clean_ids(self) -> list[int]:
        """Of the rows."""
        parts = self.cleaned_data["ids"].split(",")
        if not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in parts):
            raise ValidationError("These are not ids of providers.")
        return [int(part) for part in parts]
