"""Cancelling: what of a notification has not been sent is stopped, and each target says what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from apps.notifications import dedupe, inbox, transitions
from apps.notifications.statuses import OPEN, Reason, Status
from apps.notifications.transitions import Moved
from project import db

AT_ONCE = 1_000  # targets in one transaction
MOST_TOLD = 1_000  # targets in the answer; the counts are of all


class CancelResult(StrEnum):
    """What a cancellation found of a target."""

    CANCELLED = "cancelled"  # had not left, and will not
    REMOVED_FROM_DIGEST = "removed_from_digest"  # had waited for a digest, and will not be in it
    RECALLED = "recalled"  # has disappeared from the inbox, now or before
    IN_FLIGHT = "in_flight"  # on its way; not repeated, unless others leave with it
    IN_FLIGHT_UNKNOWN = "in_flight_unknown"  # may have been sent; cancelled, so its repeat is stopped
    ALREADY_SENT = "already_sent"  # sent or delivered
    ENDED = "ended"  # ended otherwise before


class Told(NamedTuple):
    """One target after the cancellation."""

    id: UUID
    user: int
    channel: str
    status: str  # of `Status`
    result: CancelResult


class UnknownTargets(Exception):
    """Some of the targets to cancel are not of the notification: `ids`. Nothing was done."""

    def __init__(self, ids: Collection[UUID]) -> None:
        super().__init__(f"{len(ids)} unknown targets")
        self.ids = ids


@dataclass(slots=True)
class Cancellation:
    """What was done. `unplanned`: people taken out of the planning of a big audience by this call."""

    id: UUID
    cancelled_at: datetime | None  # when all of it was first asked for, UTC; None: it never was
    unplanned: int = 0
    counts: Counter[CancelResult] = field(default_factory=Counter)
    targets: list[Told] = field(default_factory=list)  # the first `MOST_TOLD`

    def add(self, told: list[Told]) -> None:
        self.counts.update(one.result for one in told)
        self.targets += told[: MOST_TOLD - len(self.targets)]


def cancel(id: UUID) -> Cancellation:
    """Cancel what can be cancelled of the notification, which must exist; `AT_ONCE` targets in a transaction.

    Not to be called inside a transaction. When it returns nothing is planned any more, nothing queued is
    sent, no call is repeated, and the events it told of may be told anew. A repeat is harmless, and answers
    for what it finds.
    """
    done = _stop_planning(id)
    last = UUID(int=0)
    while page := _stands(_PAGE, [id, last, AT_ONCE]):
        last = page[-1].id
        done.add(_cancel_some(id, page))
    return done


def cancel_targets(id: UUID, targets: Collection[UUID]) -> Cancellation:
    """As `cancel`, of only these targets of the notification, `AT_ONCE` at most, in one transaction.

    The others are sent and planned as before. Raises UnknownTargets.
    """
    page = _stands(_THESE, [id, list(targets)])
    if unknown := set(targets) - {one.id for one in page}:
        raise UnknownTargets(unknown)
    ((cancelled_at,),) = db.rows(_SINCE, [id])
    done = Cancellation(id, cancelled_at)
    done.add(_cancel_some(id, page))
    return done


_SINCE = "SELECT cancelled_at FROM notifications_notification WHERE id = %s"
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
        dedupe.forget(id)  # last, so that no chunk leaves marks: a corrected message is no duplicate
    return Cancellation(id, cancelled_at, unplanned)


class _Stand(NamedTuple):
    """Where a target stands."""

    id: UUID
    user_id: int
    channel: str
    status: str
    reason: str
    recalled_at: datetime | None
    merged_into: UUID | None

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def is_in_inbox(self) -> bool:
        return self.channel == "in_app" and self.status == Status.DELIVERED and self.recalled_at is None

    @property
    def may_change(self) -> bool:
        return self.is_open or self.is_in_inbox


_TARGET = "notifications_notificationtarget"
_COLUMNS = ", ".join(_Stand._fields)
_PAGE = f"SELECT {_COLUMNS} FROM {_TARGET} WHERE notification_id = %s AND id > %s ORDER BY id LIMIT %s"
_THESE = f"SELECT {_COLUMNS} FROM {_TARGET} WHERE notification_id = %s AND id = ANY(%b::uuid[]) ORDER BY id"
_LOCK = f"SELECT {_COLUMNS} FROM {_TARGET} WHERE id = ANY(%b::uuid[]) ORDER BY id FOR UPDATE"
_ASK = f"""
UPDATE {_TARGET} SET cancel_asked_at = coalesce(cancel_asked_at, carillon_now())
WHERE id = ANY(%b::uuid[])
"""
# One probe per target: left to itself the planner may read all that ever was merged. Whoever merges targets
# holds the lock of the one that goes out in their place, as we do here.
_CARRIERS = f"""
SELECT g.id FROM unnest(%b::uuid[]) AS g(id) CROSS JOIN LATERAL (
    SELECT 1 FROM {_TARGET} m
    WHERE m.merged_into = g.id AND m.merged_into IS NOT NULL AND m.reason = 'merged'
      AND m.notification_id <> %s LIMIT 1
) other
"""


def _stands(sql: str, parameters: db.Parameters) -> list[_Stand]:
    return [_Stand(*row) for row in db.rows(sql, parameters)]


def _cancel_some(notification_id: UUID, page: list[_Stand]) -> list[Told]:
    """Stop these targets, which may have moved since they were read; what of them was settled stands."""
    with db.one_transaction():
        told, heads = _stop(notification_id, _locked(page))
    inbox.hint(heads)
    return told


def _locked(page: list[_Stand]) -> list[_Stand]:
    """Where they stand; what may still change is locked: none moves between what is done and what is told."""
    may_change = [one.id for one in page if one.may_change]
    locked = {one.id: one for one in _stands(_LOCK, [may_change])} if may_change else {}
    return [locked.get(one.id, one) for one in page]


def _stop(notification_id: UUID, stands: list[_Stand]) -> tuple[list[Told], dict[int, int]]:
    """Each by what it is: called back from the inbox, asked not to be repeated, cancelled, or left; and the
    new heads of the inboxes that were recalled from."""
    carriers = _carriers(notification_id, stands)
    ours = [one for one in stands if one.id not in carriers]
    if sending := [one.id for one in ours if one.status == Status.SENDING]:
        db.execute(_ASK, [sending])
    there = [one.id for one in ours if one.is_in_inbox]
    gone, heads = inbox.recall(there) if there else (set(), {})
    waiting = [one.id for one in ours if one.is_open]
    moved = {move.id: move for move in transitions.cancel(waiting)} if waiting else {}
    in_place = _in_place_of(stands)
    return [_told(one, moved.get(one.id), in_place.get(one.id, one), gone) for one in stands], heads


def _carriers(notification_id: UUID, stands: list[_Stand]) -> set[UUID]:
    """Those that targets of other notifications were merged into: theirs are not cancelled with it."""
    may_change = [one.id for one in stands if one.may_change]
    if not may_change:
        return set()
    return {id for (id,) in db.rows(_CARRIERS, [may_change, notification_id])}


_WHERE = f"SELECT {_COLUMNS} FROM {_TARGET} WHERE id = ANY(%b::uuid[])"


def _in_place_of(stands: list[_Stand]) -> dict[UUID, _Stand]:
    """Of each that was merged into another, that one."""
    merged = {one.id: one.merged_into for one in stands if one.merged_into}
    if not merged:
        return {}
    carriers = {one.id: one for one in _stands(_WHERE, [list(set(merged.values()))])}
    return {id: carriers[carrier] for id, carrier in merged.items() if carrier in carriers}


def _told(one: _Stand, moved: Moved | None, in_place: _Stand, gone: set[UUID]) -> Told:
    """in_place: the target that went out in the place of this one, or itself. gone: recalled just now."""
    if moved is not None:
        return Told(one.id, one.user_id, one.channel, moved.new, _result_of_move(one))
    recalled = in_place.recalled_at is not None or in_place.id in gone
    result = CancelResult.RECALLED if recalled else _result_of_status(Status(in_place.status))
    return Told(one.id, one.user_id, one.channel, one.status, result)


def _result_of_move(before: _Stand) -> CancelResult:
    if before.status == Status.UNKNOWN:
        return CancelResult.IN_FLIGHT_UNKNOWN
    in_digest = before.status == Status.HELD and before.reason in (Reason.DIGEST, Reason.COLLECTED)
    return CancelResult.REMOVED_FROM_DIGEST if in_digest else CancelResult.CANCELLED


def _result_of_status(status: Status) -> CancelResult:
    if status in (Status.SENT, Status.DELIVERED):
        return CancelResult.ALREADY_SENT
    return CancelResult.IN_FLIGHT if status in OPEN else CancelResult.ENDED
