"""Claims: who works on what until when. Taken, started, finished; and swept when their worker is gone."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings

from apps.notifications import transitions
from apps.notifications.transitions import Claimed, Due
from project import db

_START_OF_LANE = (0, UUID(int=0))
WATERMARK_SECONDS = 3.0


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
# Lane -> (key of the last row claimed, when to forget it). Claimed rows leave dead entries at the front of
# the index until they are vacuumed, which a transaction held open elsewhere can prevent for long.
_watermarks: dict[str, tuple[tuple[int, UUID], float]] = {}

_INSERT = """
INSERT INTO delivery_claim (id, lane, provider, worker, target_ids, lease_until)
VALUES (%s, %s, %s, %s, %b::uuid[], carillon_now() + make_interval(secs => %s))
RETURNING created_at
"""


def take(lane: str, provider: str, limit: int) -> Claim | None:
    """Claim up to `limit` due targets of the lane in one transaction; None if there are none."""
    claim_id = _ids.next()
    with db.one_transaction():
        targets = due_rows(Due(lane, limit), lambda due: transitions.claim(due, claim_id))
        if not targets:
            return None
        ids = [target.id for target in targets]
        ((taken_at,),) = db.rows(
            _INSERT, [claim_id, lane, provider, worker_name(), ids, settings.CLAIM_LEASE]
        )
    return Claim(
        id=claim_id,
        lane=lane,
        provider=provider,
        worker=worker_name(),
        targets=targets,
        full=len(targets) >= limit,
        taken_at=taken_at,
    )


def due_rows(due: Due, read: Callable[[Due], list[Claimed]]) -> list[Claimed]:
    """Read due rows past the lane's watermark; from its start again when that yields too few."""
    after, until = _watermarks.get(due.lane, (_START_OF_LANE, 0.0))
    if until < time.monotonic():
        after = _START_OF_LANE
    found = read(Due(due.lane, due.limit, after))
    if len(found) < due.limit and after != _START_OF_LANE:
        known = {row.id for row in found}  # rows that were only locked are found again
        found += [row for row in read(Due(due.lane, due.limit - len(found))) if row.id not in known]
    _remember(due, found, after)
    return found


def _remember(due: Due, found: list[Claimed], after: tuple[int, UUID]) -> None:
    if len(found) < due.limit:
        _watermarks.pop(due.lane, None)
        return
    oldest = sorted((row.due, row.id) for row in found)[: due.oldest]
    _, until = _watermarks.get(due.lane, (None, 0.0))
    if after == _START_OF_LANE:
        until = time.monotonic() + WATERMARK_SECONDS
    _watermarks[due.lane] = (oldest[-1], until)


# The last check before a call: the claim is still ours, and each target still to be sent.
_START = """
WITH started AS (
    UPDATE delivery_claim
    SET call_started_at = carillon_now(), lease_until = carillon_now() + make_interval(secs => %s)
    WHERE id = %s AND lease_until > carillon_now()
    RETURNING id, call_started_at
)
SELECT started.call_started_at, ARRAY(
    SELECT g.id FROM unnest(%b::uuid[]) AS g(id) WHERE NOT EXISTS (
        SELECT 1 FROM notifications_notificationtarget t
        WHERE t.id = g.id AND t.claim_id = started.id AND t.status = 'sending'
          AND (t.expires_at IS NULL OR t.expires_at > carillon_now())))
FROM started
"""


def start(claim: Claim, ids: Collection[UUID]) -> tuple[datetime, set[UUID]] | None:
    """Commit that these are about to leave, and renew the lease. When that was, and which must stay.

    None: the claim is no longer ours, so nothing may leave.
    """
    found = db.rows(_START, [settings.CLAIM_LEASE, claim.id, sorted(ids)])
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
