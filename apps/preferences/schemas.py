"""What the API takes and answers about suppressed addresses."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from apps.preferences.addresses import SUPPRESSIBLE, normalised
from apps.preferences.models import NOTE_LENGTH, Suppression
from apps.preferences.suppression import Cause
from project.fields import Time
from project.paging import NoFilters

Channel = Literal[SUPPRESSIBLE]  # type: ignore[valid-type]


def _spelt(value: str, info: ValidationInfo) -> str:
    """By the rule of its channel; of a channel that is wrong itself nothing can be said."""
    return normalised(info.data["channel"], value) if "channel" in info.data else value


def _to_come(value: datetime, info: ValidationInfo) -> datetime:
    if info.context and value <= info.context["now"]:
        raise PydanticCustomError("past", "This time is past.")
    return value


class SuppressionInput(BaseModel):
    """An address to which nothing may be sent by this channel."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"channel": "email", "address": "ada@example.com", "note": "asked for it by telephone"},
                {"channel": "sms", "address": "+4930123456", "until": "2101-01-31T09:00:00+01:00"},
            ]
        },
    )

    channel: Channel
    address: Annotated[
        str,
        Field(max_length=320, description="In any spelling; kept in the one it is written to."),
        AfterValidator(_spelt),
    ]
    until: Annotated[Time, AfterValidator(_to_come)] | None = Field(
        default=None, description="From then on it holds no longer. Left out: for good."
    )
    note: Annotated[str, StringConstraints(max_length=NOTE_LENGTH)] = Field(
        default="", description="Why, for whoever looks later."
    )


class SuppressionOutput(BaseModel):
    """An address to which nothing is sent by this channel.

    `everywhere`: it holds for every organization, and an API key cannot lift it. `until` null: for good.
    `client`: the service that entered it. `note` and `client` are of your organization's own only.
    """

    id: int
    channel: str
    address: str
    cause: Cause
    everywhere: bool
    since: datetime
    until: datetime | None
    note: str
    client: int | None


def representation(row: Suppression) -> dict[str, Any]:
    """`SuppressionOutput`."""
    everywhere = row.organization_id is None
    return {
        "id": row.pk,
        "channel": row.channel,
        "address": row.address,
        "cause": row.cause,
        "everywhere": everywhere,
        "since": row.created_at,
        "until": row.until,
        "note": "" if everywhere else row.note,
        "client": None if everywhere else row.client_id,
    }


def _with_plus(value: object) -> object:
    """A phone number's + that was not escaped in the query arrives as a space."""
    return f"+{value[1:]}" if isinstance(value, str) and value.startswith(" ") else value


def _spellings(value: str, info: ValidationInfo) -> str:
    """Some channel must have such an address: a misspelt one would be answered with an empty list."""
    channel = info.data.get("channel")
    if not spellings(value, channel):
        raise PydanticCustomError("bad_address", "This is not an address of any channel that was asked for.")
    return value


class SuppressionFilters(NoFilters):
    """Of the list of suppressions."""

    channel: Channel | None = None
    address: Annotated[str, BeforeValidator(_with_plus), AfterValidator(_spellings)] | None = None
    cause: Cause | None = None


def spellings(address: str, channel: str | None = None) -> set[str]:
    """The address as this channel keeps it, or as each that can have it does."""
    found = set()
    for one in (channel,) if channel else SUPPRESSIBLE:
        try:
            found.add(normalised(one, address))
        except ValueError:
            continue
    return found
