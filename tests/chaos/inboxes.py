"""The inboxes of a run: how they are in the end, each step that led there, and what clients had of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from apps.notifications.inbox_numbers import Counts


class Item(NamedTuple):
    """What can change of an item, in the database and in a client alike."""

    sequence: int
    seen_at: datetime | None = None
    read_at: datetime | None = None
    archived_at: datetime | None = None
    snoozed_until: datetime | None = None
    action: str | None = None
    acted_at: datetime | None = None

    @classmethod
    def of_json(cls, item: Mapping[str, Any]) -> Item:
        """Of the API's or a frame's."""
        times = (item[name] for name in cls._fields)
        return cls(*(_moment(name, value) for name, value in zip(cls._fields, times, strict=True)))

    @property
    def in_inbox(self) -> bool:
        return self.archived_at is None and self.snoozed_until is None


def _moment(name: str, value: Any) -> Any:
    is_time = name.endswith(("_at", "_until")) and value is not None
    return datetime.fromisoformat(value) if is_time else value


class Step(NamedTuple):
    """An item, as it was from this number of its person on."""

    number: int
    target: UUID
    item: Item
    recalled: bool = False


class Done(NamedTuple):
    """A change that was acknowledged, by an ack or a 2xx: what was asked for, and what was answered.

    kind: a `Kind`, or "act" with `action`. head: where the inbox stood after it.
    """

    user: int
    kind: str
    changed: int
    head: int
    ids: tuple[UUID, ...] | None = None
    up_to: int | None = None
    until: datetime | None = None
    action: str = ""


class Listened(NamedTuple):
    """What one client had in the end, and what it had been sent until then."""

    user: int
    items: dict[UUID, Item]
    by_rest: dict[UUID, Item]  # its person's, of all three lists
    counts: Counts
    connections: list[list[int]]  # the numbers of their events, as they came
    shown: list[tuple[int, UUID]]  # notifications: the number each came with, and the target
    wrong: list[str]  # frames that made no sense
    done: list[Done]


@dataclass(kw_only=True)
class Inboxes:
    """Of everybody, by the person's id."""

    items: dict[int, dict[UUID, Item]] = field(default_factory=dict)  # without recalled ones
    standings: dict[int, Counts] = field(default_factory=dict)
    steps: dict[int, list[Step]] = field(default_factory=dict)  # in the order of their numbers


_ITEM = "sequence, seen_at, read_at, archived_at, snoozed_until, nullif(action, ''), acted_at"
_ITEMS = f"SELECT user_id, target_id, {_ITEM} FROM notifications_inboxitem WHERE recalled_at IS NULL"
_STANDINGS = "SELECT user_id, head, unread, unseen FROM notifications_inboxstate"
_STEPS = f"SELECT user_id, number, target_id, recalled, {_ITEM} FROM chaos_inbox ORDER BY user_id, number"


def read(connection: psycopg.Connection[Any]) -> Inboxes:
    """All of them, in the caller's transaction."""
    found = Inboxes()
    for user, target, *item in connection.execute(_ITEMS):
        found.items.setdefault(user, {})[target] = Item(*item)
    for user, *counts in connection.execute(_STANDINGS):
        found.standings[user] = Counts(*counts)
    for user, number, target, recalled, *item in connection.execute(_STEPS):
        found.steps.setdefault(user, []).append(Step(number, target, Item(*item), recalled))
    return found
