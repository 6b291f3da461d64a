"""Claims: who works on what until when. Taken, started, finished; and swept when their worker is gone."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from django.conf import settings

from apps.notifications import transitions
from apps.notifications.due import NO_MARKS, Due, Marks
from apps.notifications.statuses import Reason, Status
from apps.notifications.transitions import Claimed, Settled
from apps.preferences import suppression
from project import clock, db

MARKS_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Targets that are ours until the lease runs out."""

    id: int
    lane: str
    provider: str
    worker: str
    targets: list[Claimed]
    full: bool  # there is more in the lane
    taken_at: datetime  # Postgres time, UTC
    dropped: int = 0  # claimed too, but not to be sent any more: settled at once
    _monotonic: float = field(default_factory=time.monotonic)

    @property
    def channel(self) -> str:
        return self.lane.split(".", maxsplit=1)[0]

    @property
    def now(self) -> datetime:
        """Postgres time, told by this process's monotonic clock since the claim."""
        return self.taken_at + timedelta(seconds=time.monotonic() - self._monotonic)


def worker_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"[:100]


_NEXT_IDS = "SELECT nextval('delivery_claim_id_seq') FROM generate_series(1, 50)"


class _Ids:
    """Claim ids from the sequence, fifty at a time. Gaps are fine: they only must never repeat."""

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._pid = 0

    def next(self) -> int:
        if not self._ids or self._pid != os.getpid():
            self._ids = [row[0] for row in db.rows(_NEXT_IDS)][::-1]
            self._pid = os.getpid()
        return self._ids.pop()


_ids = _Ids()
# Lane -> (how far it has been taken, when to forget that): what was only locked, or committed late, is found
# again then.
_marks: dict[str, tuple[Marks, float]] = {}

_INSERT = """
INSERT INTO delivery_claim (id, lane, provider, worker, target_ids, lease_until)
VALUES (%s, %s, %s, %s, %b::uuid[], carillon_now() + make_interval(secs => %s))
RETURNING created_at
"""


def take(lane: str, provider: str, limit: int) -> Claim | None:
    """Claim up to `limit` due targets of the lane in one transaction; None if there are none.

    What must not be sent any more is dropped; if nothing is left, the claim is empty and not kept.
    """
    claim_id = _ids.next()
    with db.one_transaction():
        found = due_rows(Due(lane, limit), lambda due: transitions.claim(due, claim_id))
        if not found:
            return None
        targets = _without_dropped(claim_id, lane.partition(".")[0], found)
        taken_at = _keep(claim_id, lane, provider, targets) if targets else clock.now()
    return Claim(
        id=claim_id,
        lane=lane,
        provider=provider,
        worker=worker_name(),
        targets=targets,
        full=len(found) >= limit,
        taken_at=taken_at,
        dropped=len(found) - len(targets),
    )


def _keep(claim_id: int, lane: str, provider: str, targets: list[Claimed]) -> datetime:
    ids = [target.id for target in targets]
    values = [claim_id, lane, provider, worker_name(), ids, settings.CLAIM_LEASE]
    ((taken_at,),) = db.rows(_INSERT, values)
    return cast(datetime, taken_at)


def _without_dropped(claim_id: int, channel: str, targets: list[Claimed]) -> list[Claimed]:
    """Settle what was suppressed, cancelled or expired since it was planned; the others."""
    suppressed = suppression.among({(channel, target.address) for target in targets})
    if not suppressed and not any(target.moot for target in targets):
        return targets
    ends = {target.id: _end(target, channel, suppressed) for target in targets}
    transitions.settle(claim_id, [end for end in ends.values() if end])
    return [target for target in targets if not ends[target.id]]


_REASONS = {Status.EXPIRED: Reason.EXPIRES_AT, Status.CANCELLED: Reason.CANCELLED}


def _end(target: Claimed, channel: str, suppressed: suppression.Found) -> Settled | None:
    """How a target ends that must not be sent, else None."""
    if target.moot:
        status = Status(target.moot)
        return Settled(target.id, status, _REASONS[status].value, None, target.attempts)
    if suppression.holds(suppressed, target.organization_id, channel, target.address):
        return Settled(target.id, Status.SKIPPED, Reason.SUPPRESSED.value, None, target.attempts)
    return None


def due_rows(due: Due, read: Callable[[Due], list[Claimed]]) -> list[Claimed]:
    """Read due rows past the lane's marks; without them again when that yields too few."""
    marks, until = _marks.get(due.lane, (NO_MARKS, 0.0))
    if until < time.monotonic():
        marks, until = NO_MARKS, time.monotonic() + MARKS_SECONDS
    found = read(Due(due.lane, due.limit, marks))
    if len(found) < due.limit and marks != NO_MARKS:
        known = {row.id for row in found}  # rows that were only locked are found again
        found += [row for row in read(Due(due.lane, due.limit - len(found))) if row.id not in known]
    if len(found) < due.limit:
        _marks.pop(due.lane, None)
    else:
        _marks[due.lane] = (due.marks_past((row.due, row.id) for row in found), until)
    return found


# The last check before a call: the claim is still ours, and each target still to be sent. It is looked for
# where the claim has put it: a row that was written to since is not there any more, and stays. OFFSET 0 is
# one probe of the index per target, as in `suppression.among`.
_START = """
WITH started AS (
    UPDATE delivery_claim
    SET call_started_at = carillon_now(), lease_until = carillon_now() + make_interval(secs => %s)
    WHERE id = %s AND lease_until > carillon_now()
    RETURNING id, call_started_at
)
SELECT started.call_started_at, ARRAY(
    SELECT g.id FROM unnest(%b::uuid[], %s::tid[]) AS g(id, place) WHERE NOT EXISTS (
        SELECT 1 FROM notifications_notificationtarget t
        WHERE t.ctid = g.place AND t.id = g.id AND t.claim_id = started.id AND t.status = 'sending'
          AND (t.expires_at IS NULL OR t.expires_at > carillon_now()) AND t.cancel_asked_at IS NULL
          AND NOT EXISTS (
              SELECT 1 FROM preferences_suppression s
              WHERE s.address = t.address AND s.channel = t.channel
                AND (s.organization_id IS NULL OR s.organization_id = t.organization_id)
              OFFSET 0)))
FROM started
"""


def start(claim: Claim, ids: Collection[UUID]) -> tuple[datetime, set[UUID]] | None:
    """Commit that these are about to leave, and renew the lease. When that was, and which must stay.

    None: the claim is no longer ours, so nothing may leave.
    """
    wanted = set(ids)
    leaving = [target for target in claim.targets if target.id in wanted]
    values = [[target.id for target in leaving], [target.place for target in leaving]]
    found = db.rows(_START, [settings.CLAIM_LEASE, claim.id, *values])
    return (found[0][0], set(found[0][1])) if found else None


_GRACE = """
UPDATE delivery_claim
SET target_ids = %b::uuid[], lease_until = NULL, grace_until = carillon_now() + make_interval(secs => %s)
WHERE id = %s AND grace_until IS NULL
"""


def close(claim_id: int, unknown: Iterable[UUID]) -> None:
    """The claim's work is done: what ended unknown begins its grace, and without any the claim is gone.

    A grace that has begun goes on: another one has closed the claim, or we did and were not told.
    """
    left = sorted(unknown)
    if left:
        db.execute(_GRACE, [left, settings.UNKNOWN_GRACE, claim_id])
    else:
        db.execute("DELETE FROM delivery_claim WHERE id = %s AND grace_until IS NULL", [claim_id])


def forget(claim_id: int) -> None:
    """The claim's grace is over and its unknown outcomes are judged."""
    db.execute("DELETE FROM delivery_claim WHERE id = %s", [claim_id])
