"""Claims: who works on what until when. Taken, started, finished; and swept when their worker is gone."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from django.conf import settings

from apps.delivery.routing import BUSY, DOWN, NOWHERE, Choice, Routed
from apps.notifications import transitions
from apps.notifications.due import NO_MARKS, Due, Marks
from apps.notifications.statuses import Reason, Status
from apps.notifications.transitions import Claimed, Settled
from apps.notifications.unwanted import unwanted
from apps.preferences import suppression
from project import clock, db, ids

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
    route: str = ""  # why this provider
    providers: int = 1  # of the channel: so many attempts are one round
    spare: frozenset[UUID] = (
        frozenset()
    )  # targets that another provider could take at once, if this one fails
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
_ONLY = Choice("", "the only one")
# Lane -> (how far it has been taken, when to forget that): what was only locked, or committed late, is found
# again then.
_marks: dict[str, tuple[Marks, float]] = {}

_INSERT = """
INSERT INTO delivery_claim (id, lane, provider, route, worker, target_ids, lease_until)
VALUES (%s, %s, %s, %s, %s, %b::uuid[], carillon_now() + make_interval(secs => %s))
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
        targets = _without_dropped(claim_id, lane, found, suppressed=_suppressed(lane, found))
        taken_at = _keep(claim_id, lane, _ONLY._replace(name=provider), targets) if targets else clock.now()
    return Claim(
        id=claim_id,
        lane=lane,
        provider=provider,
        worker=worker_name(),
        targets=targets,
        full=len(found) >= limit,
        taken_at=taken_at,
        dropped=len(found) - len(targets),
        route=_ONLY.reason,
    )


def _keep(claim_id: int, lane: str, choice: Choice, targets: Sequence[Claimed]) -> datetime:
    target_ids = [target.id for target in targets]
    values = [claim_id, lane, choice.name, choice.reason, worker_name(), target_ids, settings.CLAIM_LEASE]
    ((taken_at,),) = db.rows(_INSERT, values)
    return cast(datetime, taken_at)


def _suppressed(lane: str, targets: Iterable[Claimed]) -> suppression.Found:
    channel = lane.partition(".")[0]
    return suppression.among({(channel, target.address) for target in targets})


def _without_dropped(
    claim_id: int, lane: str, targets: list[Claimed], *, suppressed: suppression.Found
) -> list[Claimed]:
    """Settle what was suppressed, switched off, cancelled or expired since it was planned; the others."""
    if not suppressed and not any(target.moot for target in targets):
        return targets
    ends = {target.id: _end(target, lane.partition(".")[0], suppressed) for target in targets}
    transitions.settle(claim_id, [end for end in ends.values() if end])
    return [target for target in targets if not ends[target.id]]


# --- Of several providers ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Batch:
    """What one bell took: a claim for each provider, and whether there is more in the lane."""

    claims: list[Claim]
    full: bool
    count: int  # also of what was dropped or postponed


Route = Callable[[str, Collection[str]], Routed]  # of an address, and the providers that had the message


def take_routed(lane: str, limit: int, route: Route, *, providers: int, pause: float) -> Batch:
    """Claim up to `limit` due targets of the lane, each for the provider it is routed to, in one transaction.

    providers: of the channel, which makes a round. pause: seconds until what can go nowhere now is due again.
    """
    with db.one_transaction():
        found = due_rows(Due(lane, limit), transitions.lock_due)
        suppressed = _suppressed(lane, found)
        routed = _routed(lane, found, route, providers, suppressed=suppressed)
        waiting = [(choice, targets) for choice, targets in routed.items() if choice in (BUSY, DOWN)]
        for choice, targets in waiting:
            transitions.postpone([target for target, _ in targets], seconds=pause, reason=choice.reason)
            del routed[choice]
        claims = _claimed(lane, routed, providers, suppressed=suppressed) if routed else []
    return Batch(claims, len(found) >= limit, len(found))


_Groups = dict[Choice, list[tuple[Claimed, bool]]]


def _routed(
    lane: str, found: list[Claimed], route: Route, providers: int, *, suppressed: suppression.Found
) -> _Groups:
    """What must not be sent any more goes nowhere: one claim drops it all, its summaries locked in order."""
    channel = lane.partition(".")[0]
    had = _had(found, providers) if any(target.attempts for target in found) else {}
    groups: _Groups = {}
    for target in found:
        dropped = _end(target, channel, suppressed)
        choice, spare = Routed(NOWHERE) if dropped else route(target.address, had.get(target.id, ()))
        groups.setdefault(choice, []).append((target, spare))
    return groups


_HAD = "SELECT target_id, provider FROM notifications_deliveryattempt WHERE id = ANY(%b::uuid[])"


def _had(found: Iterable[Claimed], providers: int) -> dict[UUID, set[str]]:
    """The providers that had each of these since it last waited: an attempt for each makes a round."""
    attempts = [
        ids.attempt_id(target.id, target.attempts - n)
        for target in found
        for n in range(target.attempts % providers)
    ]
    had: dict[UUID, set[str]] = {}
    for target_id, provider in db.rows(_HAD, [attempts]) if attempts else ():
        had.setdefault(target_id, set()).add(provider)
    return had


def _claimed(lane: str, groups: _Groups, providers: int, *, suppressed: suppression.Found) -> list[Claim]:
    numbered = {choice: _ids.next() for choice in groups}
    pairs = [(target, numbered[choice]) for choice, group in groups.items() for target, _ in group]
    placed = {target.id: target for target in transitions.claim_each(pairs)}
    claims = []
    for choice, group in groups.items():
        taken = [placed[target.id] for target, _ in group if target.id in placed]
        if choice == NOWHERE:
            taken = _without_dropped(numbered[choice], lane, taken, suppressed=suppressed)
        spare = frozenset(target.id for target, spare in group if spare)
        if taken:
            claims.append(
                Claim(
                    id=numbered[choice],
                    lane=lane,
                    provider=choice.name,
                    worker=worker_name(),
                    targets=taken,
                    full=False,
                    taken_at=_keep(numbered[choice], lane, choice, taken),
                    route=choice.reason,
                    providers=providers,
                    spare=spare,
                )
            )
    return claims


_REASONS = {
    Status.CANCELLED: Reason.CANCELLED,
    Status.EXPIRED: Reason.EXPIRES_AT,
    Status.SKIPPED: Reason.OPTED_OUT,
}


def moot(target: Claimed) -> tuple[Status, Reason] | None:
    """What a target has to become that nobody waits for any more, and why; else None."""
    status = Status(target.moot) if target.moot else None
    return (status, _REASONS[status]) if status else None


def _end(target: Claimed, channel: str, suppressed: suppression.Found) -> Settled | None:
    """How a target ends that must not be sent, else None."""
    if ended := moot(target):
        status, reason = ended
        return Settled(target.id, status, reason.value, None, target.attempts)
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
_START = f"""
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
          AND NOT {unwanted("t")}
          AND NOT EXISTS (
              SELECT 1 FROM preferences_suppression s
              WHERE s.address = t.address AND s.channel = t.channel
                AND (s.until IS NULL OR s.until > carillon_now())
                AND (s.organization_id IS NULL OR s.organization_id = t.organization_id)
              OFFSET 0)))
FROM started
"""


def start(claim: Claim, leaving: Collection[UUID]) -> tuple[datetime, set[UUID]] | None:
    """Commit that these are about to leave, and renew the lease. When that was, and which must stay.

    None: the claim is no longer ours, so nothing may leave.
    """
    wanted = set(leaving)
    targets = [target for target in claim.targets if target.id in wanted]
    values = [[target.id for target in targets], [target.place for target in targets]]
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
