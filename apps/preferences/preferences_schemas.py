"""What the API takes and answers about preferences."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SkipValidation,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from apps.preferences import choosing
from apps.preferences.choosing import Errors, Types
from apps.preferences.own import NOTHING, Own
from apps.preferences.rules import Rules, Window
from apps.preferences.store import window_of
from apps.preferences.windows import DAYS, ever_open
from apps.users.schemas import Language, Timezone, left_out_is_not_null
from project.api import field_error, field_errors
from project.fields import Time
from project.queues import CHANNELS

MAX_WINDOWS = 20
MAX_PER_HOUR = 1_000

Day = Literal[DAYS]  # type: ignore[valid-type]


def _of_day(value: str) -> str:
    try:
        if len(value) == 5 and value.isascii():
            time.fromisoformat(value)
            return value
    except ValueError:
        pass
    raise PydanticCustomError("time_of_day", "Send HH:MM, from 00:00 to 23:59.")


def _each_once(days: list[str]) -> list[str]:
    return [day for day in DAYS if day in days]


def _to_come(value: datetime, info: ValidationInfo) -> datetime:
    if info.context and value <= info.context["now"]:
        raise PydanticCustomError("past", "This time is past.")
    return value


Clock = Annotated[
    str, AfterValidator(_of_day), WithJsonSchema({"type": "string", "pattern": r"^([01]\d|2[0-3]):[0-5]\d$"})
]
HowInput = Literal["on", "off", "daily", "weekly"] | bool | None
_By = {"propertyNames": {"enum": [*CHANNELS, choosing.ALL]}}


class WindowInput(BaseModel):
    """A part of each week, by the clock on the person's wall.

    One that does not end after it starts ends on the next day; an end at 00:00 is the end of the day.
    """

    model_config = ConfigDict(extra="forbid")

    days: Annotated[list[Day], Field(min_length=1, max_length=len(DAYS)), AfterValidator(_each_once)] = Field(
        description="On which it begins."
    )
    start: Clock
    end: Clock


class DigestInput(BaseModel):
    """When digests come, by the clock on the person's wall. null: as the defaults have it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=left_out_is_not_null)

    daily_at: Clock | None = None
    weekly_day: Day | None = None
    weekly_at: Clock | None = None


Windows = Annotated[list[WindowInput], Field(max_length=MAX_WINDOWS)]
_EXAMPLES: list[JsonValue] = [
    {"channels": {"sms": "off"}, "types": {"status_update": "daily"}},
    {"types": {"status_update": {"email": "off", "push": "on"}}, "paused_until": "2101-01-31T09:00:00+01:00"},
    {
        "timezone": "Europe/Berlin",
        "language": "de",
        "hours": [{"days": ["mon", "tue"], "start": "09:00", "end": "18:00"}],
        "quiet": [{"days": list(DAYS), "start": "22:00", "end": "07:00"}],
        "digest": {"daily_at": "08:00", "weekly_day": "mon", "weekly_at": "08:00"},
        "cap_per_hour": 10,
    },
]


def _published(schema: dict[str, Any]) -> None:
    left_out_is_not_null(schema)
    schema["examples"] = _EXAMPLES


class PreferencesInput(BaseModel):
    """What a person wants. null: as the defaults have it.

    Language and time zone are known of the person, and not chosen: left out they stay, also with PUT.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra=_published)

    language: Language = None
    timezone: Timezone = None
    # These two are judged by `choosing`, which knows the types there are.
    channels: Annotated[
        SkipValidation[dict[str, HowInput] | None],
        Field(description="By channel; `all`: everything.", json_schema_extra=_By),
    ] = None
    types: Annotated[
        SkipValidation[dict[str, HowInput | dict[str, HowInput]] | None],
        Field(description="By type: of the whole type, in place of what was said of it, or by channel."),
    ] = None
    hours: Windows | None = Field(None, description="Messages come within any of these. []: at any time.")
    quiet: Windows | None = Field(None, description="Messages do not come within these. []: none.")
    digest: DigestInput | None = None
    cap_per_hour: Annotated[int, Field(strict=True, ge=1, le=MAX_PER_HOUR)] | None = Field(
        None, description="Messages by one channel in an hour."
    )
    paused_until: Annotated[Time, AfterValidator(_to_come)] | None = Field(
        None, description="Everything is off until then, in place of what is chosen for `all` channels."
    )


class Asked(NamedTuple):
    """What a body asks for."""

    language: str | None  # None: stays
    timezone: str | None
    own: Own


def read(
    body: object, before: Own, *, types: Types, defaults: Rules, now: datetime, replace: bool
) -> tuple[Asked, Errors]:
    """What a body makes of what a person had, and everything that is wrong with it.

    types: those of the person's organization. defaults: what holds where the person says nothing. replace:
    what the body leaves out returns to the defaults; else it stays.
    """
    given, errors = _shape(body, now)
    document = body if isinstance(body, dict) else {}
    choices, wrong = choosing.applied(document, before.choices, types, replace=replace)
    if replace or "paused_until" in given.model_fields_set:
        choosing.pause(choices, given.paused_until)
    when = _when(given, NOTHING if replace else before.when)
    errors += [*wrong, *_two_ways(document, given), *_never_open(given, when, defaults)]
    sent = {name: getattr(given, name) for name in ("language", "timezone") if name in given.model_fields_set}
    return Asked(sent.get("language"), sent.get("timezone"), Own(choices, when)), errors


def _shape(body: object, now: datetime) -> tuple[PreferencesInput, Errors]:
    """The body as far as it can be read, and what is wrong with its shape."""
    context = {"now": now}
    try:
        return PreferencesInput.model_validate(body, context=context), []
    except ValidationError as error:
        wrong = {item["loc"][0] for item in error.errors(include_url=False) if item["loc"]}
        right = (
            {name: value for name, value in body.items() if name not in wrong}
            if isinstance(body, dict)
            else {}
        )
        return PreferencesInput.model_validate(right, context=context), field_errors(error)


def _when(given: PreferencesInput, before: Mapping[str, Any]) -> dict[str, Any]:
    said = given.model_dump(include={"hours", "quiet", "cap_per_hour"} & given.model_fields_set)
    if "digest" in given.model_fields_set:
        digest = given.digest or DigestInput.model_validate(dict.fromkeys(DigestInput.model_fields))
        said |= {name: _KEPT[name](value) for name, value in digest.model_dump(exclude_unset=True).items()}
    return {**before, **said}


def _time(text: str | None) -> time | None:
    return None if text is None else time.fromisoformat(text)


def _day(text: str | None) -> int | None:
    return None if text is None else DAYS.index(text)


_KEPT = {"daily_at": _time, "weekly_day": _day, "weekly_at": _time}


def _two_ways(document: Mapping[str, Any], given: PreferencesInput) -> Errors:
    channels = document.get("channels")
    if given.paused_until and isinstance(channels, dict) and channels.get(choosing.ALL) is not None:
        return [field_error("paused_until", "conflict", "Send it or channels.all, not both.")]
    return []


def _never_open(given: PreferencesInput, when: Mapping[str, Any], defaults: Rules) -> Errors:
    """What the person does not say counts as the defaults have it; these alone are not the person's fault."""
    sent = [name for name in ("quiet", "hours") if name in given.model_fields_set]
    hours, quiet = when["hours"], when["quiet"]
    if not sent or (hours is None and quiet is None):
        return []
    if ever_open(_windows(hours, defaults.hours), _windows(quiet, defaults.quiet)):
        return []
    named = next((name for name in sent if when[name] is not None), sent[0])
    return [field_error(named, "never_open", "With these hours and quiet times no message could ever come.")]


def _windows(own: list[dict[str, Any]] | None, default: tuple[Window, ...]) -> tuple[Window, ...]:
    return default if own is None else tuple(window_of(one) for one in own)
