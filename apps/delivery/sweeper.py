"""The sweeper: finds by the clock what no bell tells of. Every step is safe to run twice at once.

Driven by beat's ticks through the control lane, or by `manage.py sweep` as a process of its own.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from django.db import InterfaceError, OperationalError

from apps.delivery import claims, receipts
from apps.delivery.claims import Claim
from apps.delivery.providers import policy_of
from apps.delivery.retry import Decision, Standing, after_unknown
from apps.delivery.settling import Ended, settle
from apps.integrations.contract import UnknownOutcome
from apps.notifications import caps, dedupe, holds, idempotency, inbox, schedules, transitions, usage
from apps.notifications.statuses import Status
from apps.notifications.transitions import Claimed
from apps.preferences import suppression
from project import db, queues

logger = logging.getLogger(__name__)

_AT_ONCE = 1_000  # rows in one transaction
_CLAIMS_AT_ONCE = 1  # a transaction each: two would lock the second's targets after the first's summaries
_ROWS_A_SWEEP = 20_000
_CLAIMS_A_SWEEP = 400
_SCHEDULES_A_SWEEP = 400  # a transaction each: they may have a thousand targets


def sweep() -> None:
    """Once over everything: holds, snoozes, schedules, expiry, leases, graces, what is too old; then the
    bells of what is due."""
    for step, at_once, most in (
        (holds.release_due, _AT_ONCE, _ROWS_A_SWEEP),
        (inbox.return_snoozed, _AT_ONCE, _ROWS_A_SWEEP),
        (schedules.make_due, 1, _SCHEDULES_A_SWEEP),
        (expire_overdue, _AT_ONCE, _ROWS_A_SWEEP),
        (rescue_leases, _CLAIMS_AT_ONCE, _CLAIMS_A_SWEEP),
        (judge_unknown, _CLAIMS_AT_ONCE, _CLAIMS_A_SWEEP),
        (idempotency.forget_old, _AT_ONCE, _ROWS_A_SWEEP),
        (receipts.forget_old, _AT_ONCE, _ROWS_A_SWEEP),
        (suppression.forget_over, _AT_ONCE, _ROWS_A_SWEEP),
        (dedupe.forget_over, _AT_ONCE, _ROWS_A_SWEEP),
        (caps.forget_old, _AT_ONCE, _ROWS_A_SWEEP),
        (usage.count_uses, _AT_ONCE, _ROWS_A_SWEEP),
    ):
        try:
            _until_nothing_left(step, at_once, most)
        except (OperationalError, InterfaceError):
            raise  # the database is away, or chose us in a deadlock: next time
        except Exception:  # one row nobody foresaw must not stop the other steps for ever
            logger.exception("sweep step failed", extra={"step": step.__name__})
    queues.ring(*due_lanes())


def _until_nothing_left(step: Callable[[int], int], at_once: int, most: int) -> None:
    for _ in range(most // at_once):
        if step(at_once) < at_once:
            return


_OVERDUE = """
SELECT id FROM notifications_notificationtarget
WHERE expires_at <= carillon_now() AND next_attempt_at IS NOT NULL ORDER BY expires_at, id LIMIT %s
"""


def expire_overdue(limit: int) -> int:
    """queued, retrying → expired, where no worker came in time."""
    late = [row[0] for row in db.rows(_OVERDUE, [limit])]
    if late:
        with db.one_transaction():
            transitions.expire(late)
    return len(late)


_LEASES_OUT = """
SELECT id, lane, provider, route, worker, target_ids, call_started_at, carillon_now() FROM delivery_claim
WHERE lease_until < carillon_now() ORDER BY lease_until LIMIT %s FOR UPDATE SKIP LOCKED
"""

_OF_CLAIM = """
SELECT t.id, t.notification_id, t.user_id, t.address, t.attempts, t.attempts_allowed, t.expires_at, 0,
       t.organization_id
FROM unnest(%b::uuid[]) AS g(id) JOIN notifications_notificationtarget t ON t.id = g.id
WHERE t.claim_id = %s AND t.status = %s ORDER BY t.id
"""


def rescue_leases(limit: int) -> int:
    """Claims whose worker is gone: back to queued if no call had started, else unknown."""
    with db.one_transaction():
        found = db.rows(_LEASES_OUT, [limit])
        for id, lane, provider, route, worker, target_ids, started_at, now in found:
            claim = Claim(
                id=id,
                lane=lane,
                provider=provider,
                route=route,
                worker=worker,
                targets=_targets(target_ids, id, Status.SENDING),
                full=False,
                taken_at=now,
            )
            _rescue(claim, target_ids, started_at)
    return len(found)


def _rescue(claim: Claim, target_ids: list[UUID], started_at: datetime | None) -> None:
    logger.warning(
        "lease ran out", extra={"claim": claim.id, "worker": claim.worker, "count": len(claim.targets)}
    )
    if started_at is None:
        transitions.give_back([target.id for target in claim.targets], claim.id)
        claims.close(claim.id, ())
        return
    lost = UnknownOutcome("worker_lost")
    settle(claim, [Ended(target, lost, started_at, seen=False) for target in claim.targets])
    unknown = _targets(target_ids, claim.id, Status.UNKNOWN)
    claims.close(claim.id, [target.id for target in unknown])


def _targets(ids: list[UUID], claim_id: int, status: Status) -> list[Claimed]:
    return [Claimed(*row) for row in db.rows(_OF_CLAIM, [sorted(ids), claim_id, status.value])]


_GRACES_OVER = """
SELECT id, lane, target_ids, carillon_now() FROM delivery_claim
WHERE grace_until < carillon_now() ORDER BY grace_until LIMIT %s FOR UPDATE SKIP LOCKED
"""


def judge_unknown(limit: int) -> int:
    """Unknown outcomes no receipt has cleared: the channel's policy repeats them, or a person decides."""
    with db.one_transaction():
        found = db.rows(_GRACES_OVER, [limit])
        for id, lane, target_ids, now in found:
            _judge(lane, _targets(target_ids, id, Status.UNKNOWN), now)
            claims.forget(id)
    return len(found)


def _judge(lane: str, targets: list[Claimed], now: datetime) -> None:
    channel, _, urgency = lane.partition(".")
    chance = random.random()  # noqa: S311  (jitter; the same for all: those who decide alike move together)
    moves: dict[Decision, list[UUID]] = {}
    for target in targets:
        standing = Standing(
            attempts=target.attempts,
            allowed=target.attempts_allowed,
            expires_at=target.expires_at,
            now=now,
            chance=chance,
        )
        decision = after_unknown(standing, policy_of(channel), critical=urgency == "critical")
        moves.setdefault(decision, []).append(target.id)
    for decision, ids in moves.items():
        if decision.at is not None:
            transitions.repeat_unknown(ids, at=decision.at, reason=decision.reason)
        else:
            transitions.bury_unknown(ids, reason=decision.reason)


# LIMIT 1 is one probe per lane; EXISTS may become one pass over everything that is due.
_DUE_LANES = """
SELECT l.lane FROM unnest(%b::text[]) AS l(lane) CROSS JOIN LATERAL (
    SELECT 1 FROM notifications_notificationtarget t
    WHERE t.lane = l.lane AND t.next_attempt_at <= carillon_now() LIMIT 1
) due
UNION ALL SELECT %s WHERE EXISTS (SELECT 1 FROM notifications_audiencechunk)
UNION ALL SELECT %s WHERE EXISTS (SELECT 1 FROM delivery_receipt WHERE due_at <= carillon_now())
"""


def due_lanes() -> list[str]:
    """The lanes in which there is something to do now."""
    lanes = [list(queues.DELIVERY_LANES), queues.PLANNING, queues.RECEIPTS]
    return [row[0] for row in db.rows(_DUE_LANES, lanes)]
