"""The bodies the API takes. Pydantic, because it names every bad field at once and costs microseconds."""

from __future__ import annotations

from datetime import MAXYEAR, MINYEAR, datetime
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    StringConstraints,
    Tag,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from apps.preferences import localtime
from apps.users import normalise
from apps.users.schemas import ExternalId, UserInput
from project.api import field_errors
from project.fields import Time
from project.ids import MAX_ATTEMPT_NUMBER
from project.queues import CHANNELS, PRIORITIES

MAX_TARGETS = 1_000
MAX_BULK = 1_000
MAX_BULK_TARGETS = 10_000  # of all rows: they are one transaction, and one answer

Errors = list[dict[str, str]]
Priority = Literal[PRIORITIES]  # type: ignore[valid-type]

Title = Annotated[str, StringConstraints(max_length=500), AfterValidator(normalise.text)]
Body = Annotated[str, StringConstraints(max_length=100_000)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(normalise.text)]

Key = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(normalise.text)]


def _local_time(value: str) -> str:
    try:
        asked = localtime.parse_local(value)
    except ValueError as error:
        raise PydanticCustomError("local_time", str(error)) from None
    if isinstance(asked, datetime) and not MINYEAR < asked.year < MAXYEAR:  # elsewhere it is another year
        raise PydanticCustomError("local_time", "There is no such time.")
    return value


LocalTime = Annotated[str, StringConstraints(max_length=localtime.LENGTH), AfterValidator(_local_time)]


def _kind(value: Any) -> str | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return "~id"
    if isinstance(value, str):
        return "~external_id"
    return "~user" if isinstance(value, dict | UserInput) else None


# An integer is our user id, a string an external_id, an object a user to upsert. Tags in "~" are not shown.
Target = Annotated[
    Annotated[int, Tag("~id"), Field(ge=1, le=2**63 - 1)]
    | Annotated[ExternalId, Tag("~external_id")]
    | Annotated[UserInput, Tag("~user")],
    Discriminator(
        _kind,
        custom_error_type="target",
        custom_error_message="A user id (integer), an external_id (string) or a user (object).",
    ),
]


def _list_or_all(value: Any) -> str | None:
    if isinstance(value, list):
        return "~list"
    return "~all" if value == "all" else None


_A_LIST_OR_ALL = Discriminator(
    _list_or_all,
    custom_error_type="channels",
    custom_error_message=f"A list of channels ({', '.join(CHANNELS)}), or all.",
)
Channel = Annotated[
    str, Field(json_schema_extra={"enum": list(CHANNELS)})
]  # an unknown one is told in checks
Channels = Annotated[
    Annotated[list[Channel], Tag("~list"), Field(min_length=1)] | Annotated[Literal["all"], Tag("~all")],
    _A_LIST_OR_ALL,
]


class RelatedObject(BaseModel):
    """What the notification is about, in the caller's own system."""

    model_config = ConfigDict(extra="forbid")

    type: Name
    id: ExternalId


_EXAMPLES: list[JsonValue] = [
    {"title": "Hello", "body": "Test", "targets": [1], "channels": ["in_app", "email"]},
    {
        "template": "order-shipped",
        "payload": {"order": "A-17"},
        "targets": [1, "customer-42", {"external_id": "customer-43", "email": "ada@example.com"}],
        "priority": "high",
        "scheduled_at": "2027-01-31T09:00:00+01:00",
        "expires_at": "2027-02-01T09:00:00+01:00",
        "related_object": {"type": "order", "id": "A-17"},
        "metadata": {"campaign": "winter"},
    },
]


class NotificationInput(BaseModel):
    """One notification: its own words (`title`, `body`) or a `template` with its `payload`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": _EXAMPLES})

    title: Title = ""
    body: Body = ""
    type: Name | None = Field(
        default=None, description="What people can opt out of. Left out: the template's, or none."
    )
    template: Name | None = Field(default=None, description="Name of a template; instead of title and body.")
    payload: dict[str, Any] = Field(default_factory=dict, description="Values for the template.")
    targets: list[Target] = Field(
        min_length=1,
        max_length=MAX_TARGETS,
        description="User ids (integers), external_ids (strings) or users to upsert (objects).",
    )
    channels: Channels = Field(
        default="all",
        description="`all`: every channel the person has an address for. Left out: the type's, or all.",
    )
    priority: Priority = "normal"
    scheduled_at: Time | None = Field(default=None, description="Not before this time.")
    local_time: LocalTime | None = Field(
        default=None,
        description="Not before this time where each person is: 09:00 (the next), or 2027-01-31T09:00.",
    )
    expires_at: Time | None = Field(default=None, description="Not after this time: it would be of no use.")
    dedupe_key: Key | None = Field(
        default=None,
        description="The event: each person is told of it once within its type's window, whoever tells.",
    )
    collapse_key: Key | None = Field(
        default=None,
        description="Of those with the same one that wait for a person the newest goes out, alone.",
    )
    max_attempts: int | None = Field(
        default=None, strict=True, ge=1, le=MAX_ATTEMPT_NUMBER, description="Calls per target."
    )
    related_object: RelatedObject | None = None
    metadata: dict[str, Any] = Field(default_factory=dict, description="Kept and returned, never sent.")


class Draft(NotificationInput):
    """What is right in a request that is wrong elsewhere. A bad target or channel is None, in its place."""

    targets: list[Target | None] = []  # type: ignore[assignment]
    channels: list[str | None] | Literal["all"] = "all"  # type: ignore[assignment]


class Reading(NamedTuple):
    """A request as far as it can be read, and what is wrong with its shape."""

    request: NotificationInput
    errors: Errors
    wrong: frozenset[str]  # fields nothing can be said about


_NOTHING_WRONG: frozenset[str] = frozenset()


def read(body: object) -> Reading:
    """The body as a request; if its shape is wrong, the rest of it, so that the rest can be judged too."""
    try:
        return Reading(NotificationInput.model_validate(body), [], _NOTHING_WRONG)
    except ValidationError as error:
        return _rest(body, error)


def _rest(body: object, error: ValidationError) -> Reading:
    if not isinstance(body, dict):
        return Reading(Draft(), field_errors(error), frozenset(NotificationInput.model_fields))
    wrong, places = _blame(error)
    right = {name: value for name, value in body.items() if name not in wrong}
    for name, bad in places.items():
        if name in right:
            right[name] = [None if index in bad else value for index, value in enumerate(right[name])]
    return Reading(Draft.model_validate(right), field_errors(error), wrong)


def _blame(error: ValidationError) -> tuple[frozenset[str], dict[str, set[int]]]:
    """The fields that are wrong as a whole; of lists that are wrong in places, the places."""
    wrong: set[str] = set()
    places: dict[str, set[int]] = {"targets": set(), "channels": set()}
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        name = str(item["loc"][0])
        index = next((step for step in item["loc"] if isinstance(step, int)), None)
        if name in places and index is not None:
            places[name].add(index)
        else:
            wrong.add(name)
    return frozenset(wrong), places
