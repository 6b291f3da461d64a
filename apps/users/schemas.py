"""What the API takes and answers about people."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from django.conf import settings
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidatorFunctionWrapHandler, WrapValidator

from apps.users import normalise
from project.api import FieldError

MAX_USERS = settings.MAX_TARGETS  # in one request
EXTERNAL_ID_LENGTH = 200
_BIGINT = 2**63 - 1


def _cleared(empty: str, clean: Callable[[str], str]) -> WrapValidator:
    """null and "" stand for `empty`; everything else is cleaned."""

    def validate(value: object, handler: ValidatorFunctionWrapHandler) -> str:
        return empty if value is None or value == "" else clean(handler(value))

    return WrapValidator(validate)


def _about(description: str, maximum: int, *, example: str) -> Any:
    return Field(max_length=maximum, description=description, examples=[example])


Name = Annotated[
    str | None,
    _about('"" or null clears it.', 200, example="Ada Lovelace"),
    _cleared("", normalise.text),
]
Email = Annotated[
    str | None,
    _about('"" or null clears it.', normalise.EMAIL_LENGTH, example="ada@example.com"),
    _cleared("", normalise.email),
]
Phone = Annotated[
    str | None,
    _about('With + and country; kept as E.164. "" or null clears it.', 40, example="+4930123456"),
    _cleared("", normalise.phone),
]
Timezone = Annotated[
    str | None,
    _about("An IANA name. null means UTC.", 64, example="Europe/Berlin"),
    _cleared(normalise.DEFAULT_TIMEZONE, normalise.timezone),
]
Language = Annotated[
    str | None,
    _about("A BCP 47 tag. null means en.", 35, example="pt-BR"),
    _cleared(normalise.DEFAULT_LANGUAGE, normalise.language),
]
ExternalId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=EXTERNAL_ID_LENGTH,
        description="The person's id in your own system.",
        examples=["customer-42"],
    ),
    AfterValidator(normalise.text),
]


def left_out_is_not_null(schema: dict[str, Any]) -> None:
    """The models' None marks what was left out; published as the default it would say null does the same."""
    for field in schema["properties"].values():
        field.pop("default", None)


class UserFields(BaseModel):
    """What there is to say about a person. A field that is left out keeps its value."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=left_out_is_not_null)

    name: Name = None
    email: Email = None
    phone: Phone = None
    timezone: Timezone = None
    language: Language = None


class UserInput(UserFields):
    """A person by their id in the caller's own system."""

    external_id: ExternalId

    def given(self) -> dict[str, str]:
        """The fields that were sent, as they are to be kept."""
        return {field: getattr(self, field) for field in self.model_fields_set if field != "external_id"}


class UserOutput(BaseModel):
    """A person as Carillon knows them."""

    id: int
    external_id: str
    name: str
    email: str
    phone: str
    timezone: str
    language: str
    created_at: datetime
    updated_at: datetime


class UsersInput(BaseModel):
    """Many people at once. Each row is judged on its own."""

    model_config = ConfigDict(extra="forbid")

    users: Annotated[list[Any], Field(min_length=1, max_length=MAX_USERS)]


class UserResult(BaseModel):
    """What became of one row."""

    index: int
    status: Literal["ok", "error"]
    user: UserOutput | None = None
    errors: list[FieldError] | None = None


class UsersOutput(BaseModel):
    """One result for each row, in their order."""

    results: list[UserResult]


UserId = Annotated[int, Field(ge=1, le=_BIGINT)]
UserRef = Annotated[int, Field(strict=True, ge=1, le=_BIGINT)] | ExternalId  # our id, or the caller's own


class TokenInput(BaseModel):
    """For whom a token is, and for how long."""

    model_config = ConfigDict(extra="forbid")

    user: UserRef
    expires_in: Annotated[
        int,
        Field(strict=True, ge=1, le=settings.USER_TOKEN_SECONDS, description="Seconds."),
    ] = settings.USER_TOKEN_SECONDS


class TokenOutput(BaseModel):
    """A token, which is not shown again."""

    token: str
    expires_at: datetime
    user: UserOutput
