"""What the API takes and answers about schedules."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import PydanticCustomError

from apps.notifications.recurrence import CRON_LENGTH
from apps.notifications.rrule import LENGTH
from apps.notifications.schedule_models import Missed, RunStatus
from apps.notifications.schemas import Errors, Name, NotificationInput
from apps.users import normalise
from project.api import FieldError, field_errors

RECIPIENT = "recipient"  # a time zone: each person's own
MAX_EXCLUDED = 500
_YEARS = range(2000, 2200)  # what can be reckoned with in any zone
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_WALL = re.compile(_DATE.pattern + r"T\d\d:\d\d(:\d\d)?", re.ASCII)


def _timezone(value: str) -> str:
    return value if value == RECIPIENT else normalise.timezone(value)


def _wall(value: str) -> str:
    """With its seconds."""
    try:
        wall = datetime.fromisoformat(value) if _WALL.fullmatch(value) else None
    except ValueError:
        wall = None
    if wall is None or wall.year not in _YEARS:
        text = "Send a local time without an offset, such as 2027-01-31T09:00:00, of the years 2000 to 2199."
        raise PydanticCustomError("wall", text)
    return wall.isoformat()


def _date_or_wall(value: str) -> str:
    if not _DATE.fullmatch(value):
        return _wall(value)
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise PydanticCustomError("date", "There is no such date.") from None


Wall = Annotated[str, Field(max_length=40), AfterValidator(_wall)]
Excluded = Annotated[str, Field(max_length=40), AfterValidator(_date_or_wall)]

_EXAMPLES: list[JsonValue] = [
    {
        "name": "Weekly report",
        "notification": {"title": "Your week", "body": "It is ready.", "targets": ["customer-42"]},
        "rrule": "FREQ=WEEKLY;BYDAY=MO;BYHOUR=9;BYMINUTE=0;BYSECOND=0",
        "timezone": "Europe/Berlin",
        "excluded": ["2100-12-27"],
    },
    {
        "name": "Good morning",
        "notification": {"title": "Good morning", "targets": ["customer-42"], "channels": ["push"]},
        "cron": "0 8 * * MON-FRI",
        "timezone": "recipient",
        "missed": "skip",
    },
]


class SchedulePatch(BaseModel):
    """What changes of a schedule; the rest stays. A `cron` replaces an `rrule`, and the other way round."""

    model_config = ConfigDict(extra="forbid")

    name: Name = Field("", description="For people.")
    notification: dict[str, Any] = Field(default_factory=dict)
    rrule: str | None = Field(None, max_length=LENGTH, description="RFC 5545; this or `cron`.")
    cron: str | None = Field(None, max_length=CRON_LENGTH, description="Five fields; this or `rrule`.")
    timezone: Annotated[str, Field(max_length=64), AfterValidator(_timezone)] = Field(
        "", description="IANA name, or `recipient`: where each person is."
    )
    starts_at: Wall | None = Field(None, description="Local time; none before it. Left out: now.")
    ends_at: Wall | None = Field(None, description="Local time; none after it.")
    excluded: list[Excluded] = Field(
        default_factory=list, max_length=MAX_EXCLUDED, description="Local dates, and exact local times."
    )
    missed: Literal[tuple(Missed.values)] = Field(  # type: ignore[valid-type]
        Missed.ONCE.value, description="What becomes of what was missed while nothing ran."
    )
    paused: bool = Field(False, strict=True, description="Occurrences of the pause are not made up for.")


def _without_defaults(schema: dict[str, Any]) -> None:
    """What is left out of a change stays as it is."""
    for field in schema["properties"].values():
        field.pop("default", None)


class SchedulePatchBody(SchedulePatch):
    """What changes of a schedule; the rest stays. A `cron` replaces an `rrule`, and the other way round."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_without_defaults)

    notification: NotificationInput = Field(  # type: ignore[assignment]
        None, description="Without `scheduled_at` and `local_time`."
    )


class ScheduleBody(SchedulePatch):
    """A notification that is made again and again."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": _EXAMPLES})

    name: Name = Field(description="For people.")
    notification: NotificationInput = Field(  # type: ignore[assignment]
        description="Without `scheduled_at` and `local_time`."
    )
    timezone: str = Field(description="IANA name, or `recipient`: where each person is.")


class ScheduleReading(NamedTuple):
    """What was sent as far as it can be read, and what is wrong with its shape."""

    given: dict[str, Any]
    errors: Errors
    wrong: frozenset[str]  # fields nothing can be said about


def read(body: dict[str, Any]) -> ScheduleReading:
    """The fields that were sent and are right; the rest can be judged with them."""
    try:
        sent = SchedulePatch.model_validate(body)
        return ScheduleReading(sent.model_dump(include=sent.model_fields_set), [], frozenset())
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        wrong = frozenset(str(item["loc"][0]) for item in found)
        right = SchedulePatch.model_validate({name: body[name] for name in body.keys() - wrong})
        return ScheduleReading(right.model_dump(include=right.model_fields_set), field_errors(error), wrong)


class OccurrenceOutput(BaseModel):
    """An occurrence to come: local time, and when that is. With `recipient`: where it is reached first."""

    wall: str
    at: datetime


class ScheduleOutput(BaseModel):
    """A schedule. `next` are up to five occurrences; none: it is paused, or has ended.

    `last_at` is the latest occurrence that was made or failed; `client` is the service that gave the
    notification.
    """

    id: UUID
    name: str
    notification: dict[str, Any]
    rrule: str | None
    cron: str | None
    timezone: str
    starts_at: str
    ends_at: str | None
    excluded: list[str]
    missed: Missed
    paused: bool
    paused_at: datetime | None
    next: list[OccurrenceOutput]
    last_at: datetime | None
    created_at: datetime
    client: int


class RunOutput(BaseModel):
    """What became of an occurrence: `notification` of one `made`, `errors` of one `failed`."""

    occurrence: datetime
    wall: str
    status: RunStatus
    notification: UUID | None
    errors: list[FieldError] | None
    created_at: datetime
