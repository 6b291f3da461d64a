"""The admin's forms: the same rules as the API's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm

from apps.users import normalise
from apps.users.models import ApiKey, Scope, User

_RULES: dict[str, Callable[[str], str]] = {
    "external_id": normalise.text,
    "name": normalise.text,
    "email": normalise.email,
    "phone": normalise.phone,
    "timezone": normalise.timezone,
    "language": normalise.language,
}


class _Normalised(forms.BaseForm):
    def clean(self) -> dict[str, Any]:
        """Each field in its one spelling."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        for field, rule in _RULES.items():
            if value := cleaned.get(field):
                try:
                    cleaned[field] = rule(value)
                except ValueError as error:
                    self.add_error(field, str(error))
        return cleaned


class UserForm(_Normalised, UserChangeForm):  # type: ignore[type-arg]
    """A person as they are."""

    class Meta:
        model = User
        fields = "__all__"


class UserAddForm(_Normalised, AdminUserCreationForm):
    """A new person. Most have no login, so no password is asked for unless one is wanted."""

    class Meta:
        model = User
        fields = [*_RULES, "organization", "login"]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["usable_password"].initial = "false"


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    """A key's scopes, to be ticked."""

    scopes = forms.MultipleChoiceField(choices=Scope.choices, widget=forms.CheckboxSelectMultiple)

    class Meta:
        model = ApiKey
        fields = ["client", "scopes"]
