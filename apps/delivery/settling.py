"""Settling: how each attempt of a claim ended, written down with its consequences in one transaction."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import count
from typing import NamedTuple, TypeVar
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection

from apps.delivery import addresses, receipts, retry
from apps.delivery.claims import Claim
from apps.delivery.providers import policy_of
from apps.integrations.contract import (
    Accepted,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.notifications import transitions
from apps.notifications.statuses import AttemptOutcome, Status
from apps.notifications.transitions import Claimed, Settled
from project import alive, db, ids

logger = logging.getLogger(__name__)
T = TypeVar("T")

_OUTCOMES: dict[type[Outcome], AttemptOutcome] = {
    Accepted: AttemptOutcome.ACCEPTED,
    TemporaryFailure: AttemptOutcome.TEMPORARY,
    PermanentFailure: AttemptOutcome.PERMANENT,
    UnknownOutcome: AttemptOutcome.UNKNOWN,
}


class Ended(NamedTuple):
    """One attempt and its outcome. `seen` is false when its worker died: nobody saw the end.

    cost: what the provider takes for the message, if that is known.
    """

    target: Claimed
    outcome: Outcome
    started_at: datetime
    seen: bool = True
    cost: Decimal | None = None

    @property
    def number(self) -> int:
        return self.target.attempts + 1


# An attempt that was written off as unknown is corrected by a worker that was only slow.
_RECORD = """
INSERT INTO notifications_deliveryattempt AS a
    (id, target_id, number, provider, route, worker, started_at, finished_at, outcome, unknown_at, code,
     provider_message_id, cost, answer)
SELECT id, target_id, number, %s, %s, %s, started_at, CASE WHEN seen THEN carillon_now() END,
       outcome, CASE WHEN outcome = 'unknown' THEN carillon_now() END, code, message_id,
       CASE WHEN outcome = 'accepted' THEN cost END, answer
FROM unnest(%b::uuid[], %b::uuid[], %b::smallint[], %b::timestamptz[], %b::boolean[], %b::text[], %b::text[],
            %b::text[], %b::numeric[], %b::text[])
     AS g(id, target_id, number, started_at, seen, outcome, code, message_id, cost, answer)
ON CONFLICT (id) DO UPDATE
SET outcome = excluded.outcome, code = excluded.code, finished_at = excluded.finished_at,
    provider_message_id = excluded.provider_message_id, cost = excluded.cost, answer = excluded.answer
WHERE a.outcome = 'unknown' AND excluded.outcome <> 'unknown'
"""


def settle(claim: Claim, ended: Sequence[Ended], *, given_up: Sequence[Settled] = ()) -> set[UUID]:
    """Write down how these attempts ended; `given_up` ended without one. The ids that ended unknown.

    Inside the caller's transaction: attempts, targets, dead letters, summaries, suppressions. The attempt is
    recorded even where the target has moved on, and a proof of acceptance moves it whatever has become of it.
    """
    decide = _decider(claim)
    results = [decide(one) for one in ended]
    if ended:
        _record(claim, ended)
    stayed = transitions.settle(claim.id, [*results, *given_up])
    late = [result.id for result in results if result.status is Status.SENT and result.id in stayed]
    if late:
        transitions.prove(accepted=late)
    unknown = {result.id: result.attempts for result in results if result.status is Status.UNKNOWN}
    if unknown:  # a receipt may have come before: of a call that timed out it usually has
        receipts.clear_unknown([ids.attempt_id(id, number) for id, number in unknown.items()])
    refusals = ((one.target, one.outcome) for one in ended if isinstance(one.outcome, PermanentFailure))
    addresses.refused(claim.channel, refusals)
    return set(unknown)


def _decider(claim: Claim) -> Callable[[Ended], Settled]:
    """What becomes of one target, asked of `retry.decide` with all it depends on."""
    policy, now = policy_of(claim.channel), claim.now

    def decide(one: Ended) -> Settled:
        target = one.target
        if isinstance(one.outcome, Accepted):
            return Settled(target.id, Status.SENT, "", None, one.number)
        standing = retry.Standing(
            attempts=one.number,
            allowed=target.attempts_allowed,
            expires_at=target.expires_at,
            now=now,
            chance=random.random(),  # noqa: S311  (jitter)
            providers=claim.providers,
            spare=target.id in claim.spare,
        )
        decision = retry.decide(one.outcome, standing, policy)
        return Settled(target.id, decision.status, db.text(decision.reason, 60), decision.at, one.number)

    return decide


def _record(claim: Claim, ended: Sequence[Ended]) -> None:
    ordered = sorted(ended, key=lambda one: one.target.id)
    outcomes = [one.outcome for one in ordered]
    db.execute(
        _RECORD,
        [
            claim.provider,
            claim.route,
            claim.worker,
            [ids.attempt_id(one.target.id, one.number) for one in ordered],
            [one.target.id for one in ordered],
            [one.number for one in ordered],
            [one.started_at for one in ordered],
            [one.seen for one in ordered],
            [_OUTCOMES[type(outcome)].value for outcome in outcomes],
            [db.text(getattr(outcome, "code", ""), 60) for outcome in outcomes],
            [db.text(getattr(outcome, "provider_message_id", ""), 200) for outcome in outcomes],
            [one.cost for one in ordered],
            [db.text(getattr(outcome, "answer", ""), 500) for outcome in outcomes],
        ],
    )


def until_committed(write: Callable[[], T]) -> T:
    """Run a transaction until it commits: the database may be restarting, or chose us in a deadlock.

    What the provider answered is known only here, so there is nothing better to do than to insist, and not
    to be taken for stuck meanwhile.
    """
    with alive.holding_on():
        for attempt in count():
            try:
                return write()
            except (OperationalError, InterfaceError) as error:
                logger.warning("settle not committed yet", extra={"error": type(error).__name__})
                connection.close()
                time.sleep(min(2.0, 0.05 * 2 ** min(attempt, 10)))
    raise AssertionError("count() has no end")
