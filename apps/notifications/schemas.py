"""The bodies the API takes. Pydantic, because it names every bad field at once and costs microseconds."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from apps.users import normalise
from apps.users.schemas import ExternalId, UserInput
from project.ids import MAX_ATTEMPT_NUMBER
from project.queues import CHANNELS, PRIORITIES

MAX_TARGETS = 1_000
MAX_BULK = 1_000

Title = Annotated[str, StringConstraints(max_length=500), AfterValidator(normalise.text)]
Body = Annotated[str, StringConstraints(max_length=100_000)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(normalise.text)]


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


class RelatedObject(BaseModel):
    """What the notification is about, in the caller's own system."""

    model_config = ConfigDict(extra="forbid")

    type: Name
    id: ExternalId


class NotificationInput(BaseModel):
    """One notification: its own words (`title`, `body`) or a `template` with its `payload`."""

    model_config = ConfigDict(extra="forbid")

    title: Title = ""
    body: Body = ""
    template: Name | None = Field(None, description="Name of a template; instead of title and body.")
    payload: dict[str, Any] = Field(default_factory=dict, description="Values for the template.")
    targets: list[Target] = Field(
        min_length=1,
        max_length=MAX_TARGETS,
        description="User ids (integers), external_ids (strings) or users to upsert (objects).",
    )
    channels: list[Literal[CHANNELS]] | Literal["all"] = Field(  # type: ignore[valid-type]
        "all", description="`all`: every channel the person has an address for."
    )
    priority: Literal[PRIORITIES] = "normal"  # type: ignore[valid-type]
    scheduled_at: AwareDatetime | None = Field(None, description="Not before this time.")
    expires_at: AwareDatetime | None = Field(None, description="Not after this time: it would be of no use.")
    max_attempts: int | None = Field(None, ge=1, le=MAX_ATTEMPT_NUMBER, description="Calls per target.")
    related_object: RelatedObject | None = None
    metadata: dict[str, Any] = Field(default_factory=dict, description="Kept and returned, never sent.")

    @model_validator(mode="after")
    def _says_something(self) -> NotificationInput:
        if self.template is None and not (self.title or self.body):
            raise PydanticCustomError("required", "Give a title, a body or a template.")
        if self.template is not None and (self.title or self.body):
            raise PydanticCustomError("invalid", "Give either a template or title and body.")
        if isinstance(self.channels, list) and not self.channels:
            raise PydanticCustomError("too_few", "Name at least one channel, or say all.")
        return self


def times_wrong(request: NotificationInput, now: datetime) -> dict[str, str]:
    """What is wrong with the request's times, by field, seen from Postgres's clock."""
    if request.expires_at is not None:
        if request.expires_at <= now:
            return {"expires_at": "This time is past."}
        if request.scheduled_at is not None and request.expires_at <= request.scheduled_at:
            return {"expires_at": "It would expire before it is scheduled."}
    return {}
