"""Cancelling: what of a notification has not been sent is stopped, and each target says what became of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from apps.notifications import transitions
from apps.notifications.statuses import OPEN, Status
from apps.notifications.transitions import Moved
from project import db

AT_ONCE = 1_000  # targets in one transaction
MOST_TOLD = 1_000  # targets in the answer; the counts are of all


class CancelResult(StrEnum):
    """What a cancellation found of a target."""

    CANCELLED = "cancelled"  # will not be sent
    IN_FLIGHT = "in_flight"  # a call may be under way; it is not repeated
    IN_FLIGHT_UNKNOWN = "in_flight_unknown"  # may have been sent; cancelled, so its repeat is stopped
    TOO_LATE = "too_late"  # sent or delivered
    ALREADY = "already"  # ended otherwise before


class Told(NamedTuple):
    """One target after the cancellation."""

    id: UUID
    user: int
    channel: str
    status: str  # of `Status`
    result: CancelResult


@dataclass(slots=True)
class Cancellation:
    """What was done. `unplanned`: people taken out of the planning of a big audience by this call."""

    id: UUID
    cancelled_at: datetime  # when this was first asked for
    unplanned: int
    counts: Counter[CancelResult] = field(default_factory=Counter)
    targets: list[Told] = field(default_factory=list)  # the first `MOST_TOLD`


def cancel(id: UUID) -> Cancellation:
    """Cancel what can be cancelled of the notification, which must exist; `AT_ONCE` targets in a transaction.

    Not to be called inside a transaction. When it returns nothing is planned any more, nothing queued is
    sent, and no call is repeated. A repeat is harmless, and answers for what it finds.
    """
    done = _stop_planning(id)
    last = UUID(int=0)
    while told := _cancel_some(id, last):
        last = told[-1].id
        done.counts.update(one.result for one in told)
        done.targets += told[: MOST_TOLD - len(done.targets)]
    return done


_MARK = """
UPDATE notifications_notification SET cancelled_at = coalesce(cancelled_at, carillon_now())
WHERE id = %s RETURNING cancelled_at
"""
# Waits for a chunk that is being planned right now: its targets are there afterwards.
_UNPLAN = """
DELETE FROM notifications_audiencechunk WHERE notification_id = %s RETURNING cardinality(user_ids)
"""


def _stop_planning(id: UUID) -> Cancellation:
    """Two at once wait for each other at the first statement."""
    with db.one_transaction():
        ((cancelled_at,),) = db.rows(_MARK, [id])
        unplanned = sum(people for (people,) in db.rows(_UNPLAN, [id]))
    return Cancellation(id, cancelled_at, unplanned)


_PAGE = """
SELECT id, user_id, channel, status FROM notifications_notificationtarget
WHERE notification_id = %s AND id > %s ORDER BY id LIMIT %s
"""
_LOCK = """
SELECT id, status FROM notifications_notificationtarget WHERE id = ANY(%b::uuid[]) ORDER BY id FOR UPDATE
"""
_ASK = """
UPDATE notifications_notificationtarget SET cancel_asked_at = coalesce(cancel_asked_at, carillon_now())
WHERE id = ANY(%b::uuid[])
"""


def _cancel_some(notification_id: UUID, after: UUID) -> list[Told]:
    """The next targets. The open ones are locked first: none moves between what is done and what is told."""
    with db.one_transaction():
        page = db.rows(_PAGE, [notification_id, after, AT_ONCE])
        stands: dict[UUID, str] = {id: status for id, *_, status in page}
        waiting = [id for id, status in stands.items() if status in OPEN]
        if waiting:
            stands |= dict(db.rows(_LOCK, [waiting]))
        sending = [id for id, status in stands.items() if status == Status.SENDING]
        if sending:
            db.execute(_ASK, [sending])
        moved = {move.id: move for move in transitions.cancel(waiting)} if waiting else {}
    return [_told(id, user_id, channel, stands[id], moved.get(id)) for id, user_id, channel, _ in page]


_RESULTS = {
    Status.SENDING: CancelResult.IN_FLIGHT,
    Status.SENT: CancelResult.TOO_LATE,
    Status.DELIVERED: CancelResult.TOO_LATE,
}


def _told(id: UUID, user_id: int, channel: str, status: str, moved: Moved | None) -> Told:
    """status: where it stood under the lock, or settled before."""
    if moved is None:
        result = _RESULTS.get(Status(status), CancelResult.ALREADY)
        return Told(id, user_id, channel, status, result)
    unknown = moved.old == Status.UNKNOWN
    result = CancelResult.IN_FLIGHT_UNKNOWN if unknown else CancelResult.CANCELLED
    return Told(id, user_id, channel, moved.new, result)
