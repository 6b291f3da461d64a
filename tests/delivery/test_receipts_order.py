"""Receipts come in any order, twice, and before or after the settle of their attempt: all ends the same."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import combinations, count, permutations
from typing import Any
from uuid import UUID

import pytest

from apps.delivery import claims, receipts
from apps.delivery.settling import Ended, settle
from apps.integrations.contract import (
    Accepted,
    Outcome,
    PermanentFailure,
    ReceiptEvent,
    ReceiptKind,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.notifications.models import NotificationTarget
from apps.notifications.statuses import Status
from project import clock, db, ids
from tests.support import rows
from tests.support.database import move_clock
from tests.support.rows import LANE

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rung")]

SETTLE = "settle"
# Name -> kind, number of the attempt, seconds before now that it happened at.
REPORTS: dict[str, tuple[ReceiptKind, int, int]] = {
    "accepted": (ReceiptKind.ACCEPTED, 1, 60),
    "delivered": (ReceiptKind.DELIVERED, 1, 50),
    "bounced": (ReceiptKind.BOUNCED, 1, 40),
    "opened": (ReceiptKind.OPENED, 1, 30),
    "opened again": (ReceiptKind.OPENED, 1, 20),
    "complained": (ReceiptKind.COMPLAINED, 1, 10),
    "2 accepted": (ReceiptKind.ACCEPTED, 2, 9),
    "2 delivered": (ReceiptKind.DELIVERED, 2, 8),
    "2 bounced": (ReceiptKind.BOUNCED, 2, 7),
}
ARRIVED = {ReceiptKind.DELIVERED, ReceiptKind.OPENED, ReceiptKind.COMPLAINED}
OUTCOMES: list[Outcome] = [
    Accepted("x"),
    TemporaryFailure("busy"),
    PermanentFailure("refused"),
    UnknownOutcome("timeout"),
]
AFTER = {
    Accepted: Status.SENT,
    TemporaryFailure: Status.RETRYING,
    PermanentFailure: Status.FAILED,
    UnknownOutcome: Status.UNKNOWN,
}
_event_ids = count()
Way = tuple[str, ...]


def ways(names: Sequence[str], most: int) -> list[Way]:
    """Every order of every choice of these with a settle: up to so many events."""
    return [
        order
        for size in range(most)
        for chosen in combinations(names, size)
        for order in permutations((SETTLE, *chosen))
    ]


def report(target: UUID, name: str) -> ReceiptEvent:
    kind, number, seconds = REPORTS[name]
    return ReceiptEvent(
        event_id=str(next(_event_ids)),
        kind=kind,
        target=target,
        attempt=ids.attempt_id(target, number),
        code=name,
        occurred_at=clock.now() - timedelta(seconds=seconds),
    )


class Play:
    """A target in the air for each way; what happens to all of them at once is one batch."""

    def __init__(self, played: Sequence[Way], outcome: Outcome, *, earlier: int, allowed: int) -> None:
        note = rows.notification(kept=True)
        made = rows.targets(note, Status.QUEUED, len(played), attempts=earlier, attempts_allowed=allowed)
        self.ways = dict(zip(made, played, strict=True))
        self.outcome = outcome
        claim = claims.take(LANE, "scripted", len(played))
        assert claim is not None and len(claim.targets) == len(played)
        self.claim = claim
        self.claimed = {target.id: target for target in claim.targets}

    def steps(self) -> None:
        for step in range(max(map(len, self.ways.values()))):
            self.happen({id: way[step] for id, way in self.ways.items() if step < len(way)})

    def together(self, *, settled_first: bool) -> None:
        if settled_first:
            self.happen(dict.fromkeys(self.ways, SETTLE))
        self.tell([(id, name) for id, way in self.ways.items() for name in way if name != SETTLE])
        if not settled_first:
            self.happen(dict.fromkeys(self.ways, SETTLE))

    def happen(self, events: dict[UUID, str]) -> None:
        settled = [id for id, name in events.items() if name == SETTLE]
        self.tell([(id, name) for id, name in events.items() if name != SETTLE])
        if settled:
            ended = [Ended(self.claimed[id], self.outcome, self.claim.taken_at) for id in settled]
            with db.one_transaction():
                settle(self.claim, ended)

    def tell(self, told: list[tuple[UUID, str]]) -> None:
        assert receipts.store("scripted", [report(*one) for one in told]) == len(told)
        assert receipts.apply(100_000) == len(told)

    def rows(self) -> dict[UUID, dict[str, Any]]:
        return {row["id"]: row for row in NotificationTarget.objects.filter(id__in=self.ways).values()}

    def assert_ended_as_told(self, *, latest: int) -> None:
        now, found = clock.now(), self.rows()
        for id, way in self.ways.items():
            wanted = expected(way, self.outcome, latest, now)
            assert {name: found[id][name] for name in wanted} == wanted, way
        rows.assert_books_balance()
        rows.assert_shapes_hold()


def expected(way: Way, outcome: Outcome, latest: int, now: Any) -> dict[str, Any]:
    """What must be, whatever the order."""
    names = [name for name in way if name != SETTLE]
    told = [REPORTS[name] for name in names]
    times = {
        kind: min((now - timedelta(seconds=ago) for k, number, ago in told if k is kind), default=None)
        for kind in ReceiptKind
    }
    bounces = {
        REPORTS[name][2]: name
        for name in names
        if REPORTS[name][0] is ReceiptKind.BOUNCED and REPORTS[name][1] >= latest
    }
    if any(kind in ARRIVED for kind, *_ in told):
        status = Status.DELIVERED
    elif bounces:
        status = Status.FAILED
    elif any(kind is ReceiptKind.ACCEPTED for kind, *_ in told):
        status = Status.SENT
    else:
        status = AFTER[type(outcome)]
    proven = status in {Status.DELIVERED, Status.SENT} or bool(bounces)
    return {
        "status": status.value,
        "attempts": latest,
        "sent_at": now if proven else None,
        "delivered_at": now if status is Status.DELIVERED else None,
        "bounced_at": now - timedelta(seconds=max(bounces)) if bounces else None,
        "opened_at": times[ReceiptKind.OPENED],
        "complained_at": times[ReceiptKind.COMPLAINED],
        "clicked_at": None,
    } | ({"reason": bounces[max(bounces)]} if status is Status.FAILED and bounces else {})


ONE = ways(["accepted", "delivered", "bounced", "opened"], 5)
TWO = ways(["accepted", "bounced", "2 accepted", "2 bounced", "2 delivered"], 4)
TIMES = ways(["bounced", "opened", "opened again", "complained"], 4)


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_every_order_of_up_to_five_events_ends_the_same(outcome: Outcome) -> None:
    play = Play(ONE, outcome, earlier=0, allowed=6)
    play.steps()
    play.assert_ended_as_told(latest=1)


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_so_it_does_when_everything_is_reported_twice_under_other_ids(outcome: Outcome) -> None:
    play = Play(ways(["accepted", "delivered", "bounced"], 4), outcome, earlier=0, allowed=6)
    play.steps()
    once = play.rows()
    play.tell([(id, name) for id, way in play.ways.items() for name in way if name != SETTLE])
    assert play.rows() == once


@pytest.mark.parametrize("settled_first", [True, False])
@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_so_it_does_when_all_that_is_told_is_one_batch(outcome: Outcome, settled_first: bool) -> None:
    play = Play(TIMES, outcome, earlier=0, allowed=6)
    play.together(settled_first=settled_first)
    play.assert_ended_as_told(latest=1)


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_so_it_does_when_there_are_receipts_of_an_earlier_attempt(outcome: Outcome) -> None:
    play = Play(TWO, outcome, earlier=1, allowed=6)
    play.steps()
    play.assert_ended_as_told(latest=2)


def test_so_it_does_when_the_attempt_was_the_last_and_the_target_is_dead(monkeypatch) -> None:
    monkeypatch.setitem(AFTER, TemporaryFailure, Status.DEAD)
    play = Play(ONE, TemporaryFailure("busy"), earlier=0, allowed=1)
    play.steps()
    play.assert_ended_as_told(latest=1)


def test_the_attempt_ends_accepted_whether_the_receipt_or_the_timeout_comes_first() -> None:
    played = ways(["accepted", "delivered", "bounced", "opened"], 3)
    play = Play(played, UnknownOutcome("timeout"), earlier=0, allowed=6)
    play.steps()
    for id, way in play.ways.items():
        (attempt,) = rows.attempts([id])
        known = way != (SETTLE,)
        assert attempt["outcome"] == ("accepted" if known else "unknown"), way
        assert attempt["code"] == ("" if known else "timeout")
        assert attempt["unknown_at"] == clock.now()


def test_a_time_reported_later_is_of_no_consequence_an_earlier_one_is() -> None:
    play = Play([(SETTLE,)], Accepted("x"), earlier=0, allowed=6)
    (target,) = play.ways
    play.tell([(target, "opened again")])
    second = rows.row(target)["opened_at"]
    move_clock(5)
    play.tell([(target, "opened again")])
    assert rows.row(target)["opened_at"] == second
    play.tell([(target, "opened")])
    assert rows.row(target)["opened_at"] < second
