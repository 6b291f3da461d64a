"""What the API takes and answers about types and templates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    StringConstraints,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from apps.content.models import Category, Overflow
from apps.users import normalise
from apps.users.schemas import UserRef
from project.api import FieldError
from project.queues import CHANNELS

SLUG_LENGTH = 100
MAX_CAP = 1_000
MAX_DEDUPE = 2_592_000  # seconds: thirty days


class AnyObject(RootModel[dict[str, Any]]):
    """Any JSON object."""


def _nothing_has_a_default(schema: dict[str, Any]) -> None:
    """Of a PATCH: what is left out stays as it is."""
    for field in schema["properties"].values():
        field.pop("default", None)


Slug = Annotated[
    str,
    StringConstraints(pattern=r"^[-a-zA-Z0-9_]+$", max_length=SLUG_LENGTH),
    Field(description="Letters, digits, hyphens and underscores.", examples=["order-shipped"]),
]
Language = Annotated[
    str, Field(max_length=35, description="A BCP 47 tag."), AfterValidator(normalise.language)
]
Channel = Literal[CHANNELS]  # type: ignore[valid-type]


def _distinct(value: list[str]) -> list[str]:
    if len(set(value)) < len(value):
        raise PydanticCustomError("distinct", "Each channel once.")
    return value


Channels = Annotated[list[Channel], AfterValidator(_distinct)]


def _may_overflow(value: Overflow, info: ValidationInfo) -> Overflow:
    if value is Overflow.DIGEST and info.data.get("critical"):
        raise PydanticCustomError("overflow", "What is critical cannot wait for a digest.")
    return value


def _may_fall_back(value: list[str], info: ValidationInfo) -> list[str]:
    if not value and info.data.get("overflow") is Overflow.FALLBACK:
        raise PydanticCustomError("fallback", "The overflow “fallback” needs channels to fall back to.")
    return value


def _may_be_critical(value: bool, info: ValidationInfo) -> bool:
    if value and info.data.get("category") is Category.MARKETING:
        raise PydanticCustomError("critical", "Marketing is never critical: consent and legal hours apply.")
    return value


Cap = Annotated[int, Field(strict=True, ge=1, le=MAX_CAP)]


class TypeFields(BaseModel):
    """All of a type but its slug."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(normalise.text)] = (
        Field(description="As people read it when they choose.")
    )
    description: Annotated[str, StringConstraints(max_length=500)] = ""
    category: Category = Field(description="Of marketing, legal hours and consent apply.")
    channels: Channels = Field(
        default=[], description="By which it goes if the request names none. Empty: all the person has."
    )
    critical: Annotated[bool, Field(strict=True), AfterValidator(_may_be_critical)] = Field(
        default=False, description="Goes out whatever people have chosen; only suppressions stop it."
    )
    dedupe_window: Annotated[int, Field(strict=True, ge=0, le=MAX_DEDUPE)] = Field(
        default=86_400, description="Seconds in which the same dedupe_key is the same event."
    )
    cap_per_hour: Cap | None = Field(default=None, description="To one person by one channel. Null: no cap.")
    cap_per_day: Cap | None = Field(default=None, description="To one person by one channel. Null: no cap.")
    overflow: Annotated[Overflow, AfterValidator(_may_overflow)] = Field(
        default=Overflow.SKIP, description="What becomes of a message that is one too many."
    )
    fallback: Annotated[Channels, AfterValidator(_may_fall_back)] = Field(
        default=[],
        validate_default=True,
        description="Channels to try in this order: for what is one too many, and whom no other reaches.",
    )


class TypeChanges(TypeFields):
    """What is to change of a type."""

    model_config = ConfigDict(json_schema_extra=_nothing_has_a_default)


class TypeInput(TypeFields):
    """A type: what people can opt out of, and what a template belongs to."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"slug": "order-status", "name": "Your orders", "category": "immediate", "cap_per_hour": 5}
            ]
        }
    )

    slug: Slug


class TypeOutput(BaseModel):
    """A type. `system`: every organization has it, and an administrator changes it."""

    slug: str
    system: bool
    name: str
    description: str
    category: str
    channels: Sequence[str]
    critical: bool
    dedupe_window: int
    cap_per_hour: int | None
    cap_per_day: int | None
    overflow: str
    fallback: Sequence[str]
    created_at: datetime


class TemplateFields(BaseModel):
    """What can be changed of a template beside its wording."""

    model_config = ConfigDict(extra="forbid")

    type: Annotated[str, StringConstraints(max_length=SLUG_LENGTH)] = Field(
        default="", description="Slug of its type: what people can opt out of. Empty: of none."
    )
    default_language: Language = Field(
        default=normalise.DEFAULT_LANGUAGE,
        description="For people in whose language there is no text. Fixed by the first publication.",
    )


class TemplateChanges(TemplateFields):
    """What is to change of a template."""

    model_config = ConfigDict(json_schema_extra=_nothing_has_a_default)


class TemplateInput(TemplateFields):
    """A template, which has no wording yet."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"slug": "order-shipped", "type": "order-status", "default_language": "en"}]
        }
    )

    slug: Slug


class TemplateOutput(BaseModel):
    """A template. `system`: every organization has it; a draft saved under its slug is your own.

    `current` and `draft` are numbers of versions: of the one that new notifications get, and of the one being
    written. `uses`: notifications of all its versions, counted some minutes late; null of the system's.
    """

    slug: str
    system: bool
    type: str
    default_language: str
    current: int | None
    draft: int | None
    uses: int | None
    last_used_at: datetime | None
    created_at: datetime


class DraftInput(BaseModel):
    """A whole wording.

    `content` is channel → language → part → Liquid. The parts: subject, body, html (e-mail), link, avatar and
    actions (push and in-app; actions is a list of {id, label, link}).
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "content": {
                        "email": {
                            "en": {
                                "subject": "Order {{ order }} has left",
                                "body": "Hello {{ recipient.name }}, order {{ order }} has left.",
                            }
                        }
                    },
                    "schema": {
                        "type": "object",
                        "required": ["order"],
                        "properties": {"order": {"type": "string"}},
                    },
                    "example": {"order": "A-17"},
                    "note": "first wording",
                }
            ]
        },
    )

    content: dict[str, dict[str, dict[str, Any]]]
    payload_schema: dict[str, Any] = Field(
        default_factory=dict, alias="schema", description="JSON Schema (2020-12) of the payload."
    )
    example: dict[str, Any] = Field(
        default_factory=dict, description="A payload for previews, which the schema takes."
    )
    defaults: dict[str, Any] = Field(
        default_factory=dict, description="Values for what a payload leaves out."
    )
    track: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="E-mail: count opens and clicks."
    )
    note: Annotated[str, StringConstraints(max_length=500)] = Field(
        default="", description="What changed, for those who look later."
    )


class VersionSummary(BaseModel):
    """A version, without its wording. `published_at` null: the draft.

    `created_by` and `published_by` are ids of people; null of what an API key did. `uses`: as of templates.
    """

    number: int
    current: bool
    note: str
    created_at: datetime
    created_by: int | None
    published_at: datetime | None
    published_by: int | None
    uses: int | None
    last_used_at: datetime | None


class VersionOutput(VersionSummary):
    """A version in full.

    `undeclared`: names its texts use which neither its schema nor its defaults know; they are empty where a
    payload lacks them.
    """

    content: dict[str, dict[str, dict[str, Any]]]
    payload_schema: dict[str, Any] = Field(alias="schema")
    example: dict[str, Any]
    defaults: dict[str, Any]
    track: bool
    undeclared: list[str]


VersionNumber = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
Which = VersionNumber | Literal["draft", "current"]


def _which(value: str) -> int | str:
    if value in ("draft", "current"):
        return value
    if not (value.isascii() and value.isdecimal() and len(value) < 10):
        raise PydanticCustomError("version", "A number, or draft, or current.")
    return int(value)


class CompareQuery(BaseModel):
    """Which two versions."""

    model_config = ConfigDict(extra="forbid")

    before: Annotated[str, AfterValidator(_which)] = Field(alias="from")
    after: Annotated[str, AfterValidator(_which)] = Field(alias="to")


class RollbackInput(BaseModel):
    """The version to go back to."""

    model_config = ConfigDict(extra="forbid")

    version: VersionNumber = Field(description="The number of a published version.")


class OfVersion(BaseModel):
    """A version of the template."""

    model_config = ConfigDict(extra="forbid")

    version: Which = Field(default="current", description="A number, or `draft`, or `current`.")


class PreviewInput(OfVersion):
    """What to render, and for whom."""

    payload: dict[str, Any] | None = Field(default=None, description="Left out: the version's example.")
    user: UserRef | None = Field(
        default=None, description="An id (integer) or an external_id (string). Left out: a sample person."
    )


class ActionPreview(BaseModel):
    """A button of a push or in-app message."""

    id: str
    label: str
    link: str


class WordsPreview(BaseModel):
    """One channel in one language: its words, or the `error` that its rendering ended with."""

    channel: str
    language: str
    subject: str
    text: str
    html: str
    link: str
    actions: list[ActionPreview]
    avatar: str = Field(description="The address of a picture of who it is from; empty: none.")
    error: str | None


class TemplatePreview(BaseModel):
    """A version in every channel and language.

    `faults`: what the schema finds wrong with the payload; sending it would be refused.
    """

    version: int
    faults: list[FieldError]
    words: list[WordsPreview]


class DifferenceOutput(BaseModel):
    """One text that is not the same. Null: there is none on this side."""

    path: str
    before: str | None
    after: str | None


class ComparisonOutput(BaseModel):
    """What changed between two versions."""

    before: int
    after: int
    differences: list[DifferenceOutput]
