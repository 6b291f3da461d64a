"""Whether a person was told of this event before. Two services that announce it at the same time: one wins.

An event is a person, a type and the caller's `dedupe_key`. Its mark holds for the type's window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from project import db

Event = tuple[int, str, str]  # user_id, type, key


class Mark(NamedTuple):
    """That this notification tells a person of an event. type: a slug. window: seconds."""

    user_id: int
    type: str
    key: str
    notification_id: UUID
    window: int


# The second to insert a mark waits for the first: to commit, and finds it; or to roll back, and wins.
_TAKE = """
INSERT INTO notifications_dedupemark AS m (user_id, type, key, notification_id, until)
SELECT user_id, type, key, notification_id, carillon_now() + make_interval(secs => seconds) FROM {given}
ON CONFLICT (user_id, type, key) DO UPDATE
SET (notification_id, until) = (excluded.notification_id, excluded.until)
WHERE m.until <= carillon_now()
RETURNING user_id, type, key
"""
_COLUMNS = db.Columns(
    (
        ("user_id", "bigint"),
        ("type", "text"),
        ("key", "text"),
        ("notification_id", "uuid"),
        ("seconds", "integer"),
    )
)


def take(marks: Sequence[Mark]) -> set[Event]:
    """Write those that are new, or whose earlier mark is over; the events of all others: they are duplicates.

    In the caller's transaction, one statement for any number, none for none. An event that several
    notifications of one call tell of is the first one's, and is not among the duplicates on its account:
    ask `firsts`.
    """
    if not marks:
        return set()
    new = firsts(marks)
    given, values = _COLUMNS.given([new[event] for event in sorted(new)])  # so that two never deadlock
    taken = {(user_id, type, key) for user_id, type, key in db.rows(_TAKE.format(given=given), values)}
    return new.keys() - taken


def firsts(marks: Sequence[Mark]) -> dict[Event, Mark]:
    """By event the first of its marks, whose notification tells of it; the others repeat it."""
    return {mark[:3]: mark for mark in reversed(marks)}


# Locked in the order in which `take` writes.
_FORGET = """
WITH mine AS MATERIALIZED (
    SELECT ctid FROM notifications_dedupemark WHERE notification_id = %s
    ORDER BY user_id, type COLLATE "C", key COLLATE "C" FOR UPDATE
)
DELETE FROM notifications_dedupemark m USING mine WHERE m.ctid = mine.ctid
"""


def forget(notification_id: UUID) -> int:
    """Drop the marks of a notification, say of one cancelled, in the caller's transaction; how many."""
    return db.execute(_FORGET, [notification_id])


_FORGET_OVER = """
DELETE FROM notifications_dedupemark WHERE (user_id, type, key) IN (
    SELECT user_id, type, key FROM notifications_dedupemark
    WHERE until <= carillon_now() ORDER BY until LIMIT %s FOR UPDATE SKIP LOCKED
)
"""


def forget_over(limit: int) -> int:
    """Drop marks that hold no longer; how many."""
    return db.execute(_FORGET_OVER, [limit])
