"""What is asked of an inbox, over HTTP and by the socket, and what its API answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from apps.notifications.inbox_changes import Change, Kind
from apps.notifications.schemas import Name
from project import clock
from project.fields import Time
from project.paging import NoFilters, PageInfo

MAX_IDS = 400  # so many fit into a message of the socket: 16 KiB
LONGEST_SNOOZE = timedelta(days=366)


def _within_limits(until: datetime, info: ValidationInfo) -> datetime:
    now: datetime = (info.context or {})["now"]
    if until <= now:
        raise PydanticCustomError("past", "This time is past.")
    if until > now + LONGEST_SNOOZE:
        raise PydanticCustomError("out_of_range", f"At most {LONGEST_SNOOZE.days} days from now.")
    return until


class ChangeInput(BaseModel):
    """Which items a change is about: some by their ids, or all that came up to a number. One of the two."""

    model_config = ConfigDict(extra="forbid")

    up_to: int | None = Field(
        default=None,
        strict=True,
        ge=0,
        description="All in the inbox that came with a `sequence` up to this; of `unarchive` and `unsnooze`"
        " all in the archive, or snoozed. Instead of `ids`.",
    )
    ids: list[UUID] | None = Field(
        default=None, min_length=1, max_length=MAX_IDS, validate_default=True, description="Their ids."
    )

    @field_validator("ids")
    @classmethod
    def _one_of_both(cls, ids: list[UUID] | None, info: ValidationInfo) -> list[UUID] | None:
        if "up_to" not in info.data:  # it is wrong, and told
            return ids
        if ids is None and info.data["up_to"] is None:
            raise PydanticCustomError("required", "Send ids or up_to.")
        if ids is not None and info.data["up_to"] is not None:
            raise PydanticCustomError("conflict", "Send ids or up_to, not both.")
        return ids

    def change(self, kind: Kind) -> Change:
        """As the inbox does it."""
        return Change(kind=kind, **self.model_dump())


class SnoozeItemInput(BaseModel):
    """Until when an item is snoozed."""

    model_config = ConfigDict(extra="forbid")

    until: Annotated[Time, AfterValidator(_within_limits)] = Field(
        description=f"When it comes back as a new one: to come, in {LONGEST_SNOOZE.days} days at most."
    )


class SnoozeInput(SnoozeItemInput, ChangeInput):
    """Which items are snoozed, some by their ids or all that came up to a number, and until when."""


def change_of(kind: Kind, data: Mapping[str, Any]) -> Change:
    """The change that is asked for: `ids` or `up_to`, and `until` of a snooze alone.

    Raises pydantic.ValidationError for everything else. Of a snooze it asks the database for the time.
    """
    if kind is Kind.SNOOZE:
        return SnoozeInput.model_validate(data, context={"now": clock.now()}).change(kind)
    return ChangeInput.model_validate(data).change(kind)


class InboxFilters(NoFilters):
    """Which items are listed. Without any of them: what is neither archived nor snoozed."""

    unread: bool | None = None
    archived: bool = False
    snoozed: bool = False
    type: Name | None = None
    since: int = Field(default=0, ge=0, lt=2**63)

    @field_validator("snoozed")
    @classmethod
    def _not_both(cls, snoozed: bool, info: ValidationInfo) -> bool:
        if snoozed and info.data.get("archived"):
            raise PydanticCustomError("conflict", "Nothing is both archived and snoozed.")
        return snoozed


class InboxAction(BaseModel):
    """A button of an item."""

    id: str
    label: str
    link: str


class InboxItemOutput(BaseModel):
    """An item of the inbox, as in the socket's frames."""

    sequence: int = Field(description="The number it came with: its place in the list.")
    id: UUID = Field(description="The target's.")
    notification_id: UUID
    type: str = Field(description="Slug; empty: none.")
    title: str
    body: str
    link: str = Field(description="Where it leads: an address, or a path of yours; empty: nowhere.")
    avatar: str = Field(description="A picture of who it is from: an address, or a path; empty: none.")
    actions: list[InboxAction] = Field(description="Its buttons.")
    created_at: datetime
    seen_at: datetime | None
    read_at: datetime | None
    archived_at: datetime | None
    snoozed_until: datetime | None
    action: str | None = Field(description="The id of the button that was pressed.")
    acted_at: datetime | None


class InboxCounts(BaseModel):
    """How many items are unread and unseen, neither archived nor snoozed, as of the number `head`."""

    head: int
    unread: int
    unseen: int


class InboxCountsOutput(InboxCounts):
    """How many items are unread and unseen, neither archived nor snoozed, as of the number `head`.

    `unread_count` and `unseen_count` are other names of `unread` and `unseen`.
    """

    unread_count: int
    unseen_count: int


class InboxPage(BaseModel):
    """A page of the inbox. `counts` were read before its items: from `counts.head` on a socket goes on."""

    items: list[InboxItemOutput]
    page_info: PageInfo
    counts: InboxCounts


class ChangedOutput(BaseModel):
    """To how many items it made a difference, and how the inbox stands after it."""

    changed: int
    counts: InboxCounts


class ItemChangedOutput(ChangedOutput):
    """Whether it made a difference (1 or 0), how the inbox stands after it, and the item as it is now."""

    item: InboxItemOutput
