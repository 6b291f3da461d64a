"""What people do with the items of their inbox: read, archive, snooze, press a button.

Each change is one transaction under the lock of the person's inbox, however many items it is about, and
changes only what it makes a difference to: to repeat one is harmless.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from apps.notifications import inbox, inbox_numbers
from apps.notifications.inbox_numbers import COME_BACK, IN_INBOX, NOTHING, Counts
from project import db


class Kind(StrEnum):
    """What can be done with items."""

    READ = "read"
    UNREAD = "unread"
    SEEN = "seen"
    ARCHIVE = "archive"
    UNARCHIVE = "unarchive"
    SNOOZE = "snooze"
    UNSNOOZE = "unsnooze"


# What simpler systems call some of them.
OTHER_NAMES = {"mark_read": Kind.READ, "mark_unread": Kind.UNREAD, "mark_seen": Kind.SEEN}


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is to be done with which items: `ids` (of their targets), or all that came up to a number.

    until: when snoozed items come back. Exactly one of `ids` and `up_to` is given.
    """

    kind: Kind
    ids: Sequence[UUID] | None = None
    up_to: int | None = None
    until: datetime | None = None


class Done(NamedTuple):
    """How many items a change made a difference to, and how the inbox stands after it."""

    changed: int
    counts: Counts


class UnknownItems(Exception):
    """Ids that no item of this person has."""

    def __init__(self, ids: Sequence[UUID]) -> None:
        super().__init__(f"{len(ids)} unknown")
        self.ids = ids


class SequenceAhead(Exception):
    """A number that was not given out yet. `head`: the last that was."""

    def __init__(self, head: int) -> None:
        super().__init__(f"the inbox ends at {head}")
        self.head = head


class AlreadyActed(Exception):
    """Another button of the item was pressed before."""

    def __init__(self, action: str) -> None:
        super().__init__(action)
        self.action = action


class NoSuchAction(Exception):
    """The item has no such button."""


_NUMBERED = "change = was.number"
_SET = {  # what it makes a difference to, and what it does
    Kind.READ: (
        "i.read_at IS NULL",
        f"read_at = carillon_now(), seen_at = coalesce(i.seen_at, carillon_now()), {_NUMBERED}",
    ),
    Kind.UNREAD: ("i.read_at IS NOT NULL", f"read_at = NULL, {_NUMBERED}"),
    Kind.SEEN: ("i.seen_at IS NULL", f"seen_at = carillon_now(), {_NUMBERED}"),
    Kind.ARCHIVE: (
        "i.archived_at IS NULL",
        f"archived_at = carillon_now(), snoozed_until = NULL, {_NUMBERED}",
    ),
    Kind.UNARCHIVE: ("i.archived_at IS NOT NULL", f"archived_at = NULL, {_NUMBERED}"),
    Kind.SNOOZE: (
        "i.snoozed_until IS DISTINCT FROM %(until)s",
        f"snoozed_until = %(until)s, archived_at = NULL, {_NUMBERED}",
    ),
    Kind.UNSNOOZE: ("i.snoozed_until IS NOT NULL", COME_BACK),
}
# "All" are those that a person sees: in the inbox, or in the list that they are taken out of.
_AMONG = {Kind.UNARCHIVE: "i.recalled_at IS NULL", Kind.UNSNOOZE: "i.recalled_at IS NULL"}
# `+ 0`: found by their ids alone. On a table that was empty when this was prepared the planner would read the
# person's whole inbox.
_BY_ID = "i.user_id + 0 = %(user)s AND i.target_id = ANY(%(ids)b::uuid[]) AND i.recalled_at IS NULL"
_UP_TO = "i.user_id = %(user)s AND i.sequence <= %(up_to)s"
_STATEMENTS = {
    kind: (
        inbox_numbers.statement(chosen=_BY_ID, changed=difference, set=set),
        inbox_numbers.statement(
            chosen=f"{_UP_TO} AND {_AMONG.get(kind, IN_INBOX)}", changed=difference, set=set
        ),
    )
    for kind, (difference, set) in _SET.items()
}


def change(user_id: int, wanted: Change) -> Done:
    """Do it, commit, tell the socket servers. Raises UnknownItems and SequenceAhead: nothing is changed."""
    with db.one_transaction():
        before = inbox_numbers.lock([user_id]).get(user_id, NOTHING)
        by_id, up_to = _STATEMENTS[wanted.kind]
        parameters: dict[str, Any] = {"user": user_id, "until": wanted.until}
        if wanted.ids is not None:
            _check_known(user_id, wanted.ids)
            moved = inbox_numbers.apply(by_id, parameters | {"ids": list(wanted.ids)})
        else:
            _check_given_out(wanted.up_to or 0, before)
            moved = inbox_numbers.apply(up_to, parameters | {"up_to": wanted.up_to})
    return _done(moved, before)


def _done(moved: list[inbox_numbers.Moved], before: Counts) -> Done:
    if not moved:
        return Done(0, before)
    (one,) = moved
    inbox.hint({one.user_id: one.head})
    return Done(one.items, one.counts)


def _check_given_out(number: int, counts: Counts) -> None:
    if number > counts.head:
        raise SequenceAhead(counts.head)


_UNKNOWN = """
SELECT g.id FROM unnest(%b::uuid[]) AS g(id)
WHERE (SELECT i.user_id FROM notifications_inboxitem i WHERE i.target_id = g.id) IS DISTINCT FROM %s
"""


def _check_known(user_id: int, ids: Sequence[UUID]) -> None:
    """What was recalled is known: who reads it a moment later has done nothing wrong."""
    if unknown := [id for (id,) in db.rows(_UNKNOWN, [list(ids), user_id])]:
        raise UnknownItems(unknown)


_ITEM = """
SELECT actions, action FROM notifications_inboxitem
WHERE target_id = %s AND user_id = %s AND recalled_at IS NULL
"""
_ACT = inbox_numbers.statement(
    chosen=_BY_ID,
    changed="i.acted_at IS NULL",
    set=f"""action = %(action)s, acted_at = carillon_now(), read_at = coalesce(i.read_at, carillon_now()),
            seen_at = coalesce(i.seen_at, carillon_now()), {_NUMBERED}""",
)


def act(user_id: int, id: UUID, action: str) -> Done:
    """Press a button of an item, which is read with it. Again the same one: nothing changes.

    Raises UnknownItems (also if it was recalled), NoSuchAction, AlreadyActed.
    """
    with db.one_transaction():
        before = inbox_numbers.lock([user_id]).get(user_id, NOTHING)
        _check_action(user_id, id, action)
        moved = inbox_numbers.apply(_ACT, {"user": user_id, "ids": [id], "action": action})
    return _done(moved, before)


def _check_action(user_id: int, id: UUID, action: str) -> None:
    found = db.rows(_ITEM, [id, user_id])
    if not found:
        raise UnknownItems([id])
    ((actions, pressed),) = found
    if action not in {one["id"] for one in orjson.loads(actions or "[]")}:
        raise NoSuchAction
    if pressed and pressed != action:
        raise AlreadyActed(pressed)


_RECOUNT = f"""
UPDATE notifications_inboxstate s SET unread = counted.unread, unseen = counted.unseen
FROM unnest(%b::bigint[]) AS g(user_id) CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE i.read_at IS NULL) AS unread,
           count(*) FILTER (WHERE i.seen_at IS NULL) AS unseen
    FROM notifications_inboxitem i WHERE i.user_id = g.user_id AND {IN_INBOX}
) counted
WHERE s.user_id = g.user_id AND (s.unread, s.unseen) IS DISTINCT FROM (counted.unread, counted.unseen)
"""


def recount(user_ids: Sequence[int]) -> int:
    """Count these people's items anew; how many counts were wrong. Only what wrote here before counts were
    kept makes them so."""
    with db.one_transaction():
        inbox_numbers.lock(user_ids)
        return db.execute(_RECOUNT, [list(user_ids)])
