"""Cancelling against the engine: whoever is first wins, and the answer is what happened."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import pytest

from apps.delivery import claims, engine
from apps.delivery.models import Claim
from apps.integrations.contract import Accepted, Message, Outcome, Outcomes, TemporaryFailure, UnknownOutcome
from apps.notifications import cancelling, inbox
from apps.notifications.cancelling import Cancellation, CancelResult
from apps.notifications.models import InboxItem
from apps.notifications.statuses import Status
from project import queues
from tests.support import rows
from tests.support.adapters import Scripted, accepting, answering
from tests.support.database import in_threads
from tests.support.rows import LANE


@pytest.fixture(autouse=True)
def no_bells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "ring_now", lambda lane: True)
    monkeypatch.setattr(inbox, "hint", lambda heads: None)


def told(done: Cancellation) -> dict[UUID, CancelResult]:
    return {one.id: one.result for one in done.targets}


@pytest.mark.django_db
def test_what_is_cancelled_before_the_last_check_is_never_sent(adapter, before_start) -> None:
    scripted = adapter(accepting)
    note = rows.notification(kept=True)
    (id,) = rows.targets(note)
    answers: list[Cancellation] = []
    before_start(lambda: answers.append(cancelling.cancel(note.pk)))
    assert engine.work(LANE) == 1
    assert told(answers[0]) == {id: CancelResult.IN_FLIGHT}  # it was claimed: nobody could tell
    assert rows.statuses([id]) == ["queued"]
    engine.work(LANE)
    assert rows.statuses([id]) == ["cancelled"]
    assert scripted.sent == [] and rows.attempts([id]) == [] and not Claim.objects.exists()
    rows.assert_books_balance()


@pytest.mark.django_db
def test_what_was_cancelled_is_not_claimed(adapter) -> None:
    scripted = adapter(accepting)
    note = rows.notification(kept=True)
    (id,) = rows.targets(note)
    cancelling.cancel(note.pk)
    assert engine.work(LANE) == 0
    assert rows.statuses([id]) == ["cancelled"] and scripted.sent == []


class During:
    """An adapter's script that stands still in the call until somebody has cancelled."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self.called, self.cancelled = threading.Event(), threading.Event()

    async def __call__(self, messages: Sequence[Message]) -> AsyncIterator[Outcomes]:
        self.called.set()
        assert await asyncio.to_thread(self.cancelled.wait, 10)
        yield [(message, self._outcome) for message in messages]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("outcome", "before", "after"),
    [
        (Accepted("x"), "sent", "sent"),
        (TemporaryFailure("busy", 3600.0), "retrying", "cancelled"),
        (UnknownOutcome("timeout"), "unknown", "unknown"),
    ],
)
def test_a_call_under_way_ends_as_it_ends_and_is_not_repeated(
    outcome: Outcome, before: str, after: str, adapter
) -> None:
    during = During(outcome)
    scripted = adapter(during)
    note = rows.notification(kept=True)
    (id,) = rows.targets(note)
    answers: list[Cancellation] = []

    def work(number: int) -> None:
        if number:
            assert during.called.wait(10)
            answers.append(cancelling.cancel(note.pk))
            during.cancelled.set()
        else:
            engine.work(LANE)

    in_threads(2, work)
    assert told(answers[0]) == {id: CancelResult.IN_FLIGHT}
    assert rows.statuses([id]) == [before]
    engine.work(LANE)
    assert rows.statuses([id]) == [after]
    assert len(scripted.sent) == len(rows.attempts([id])) == 1
    rows.assert_books_balance()
    rows.assert_shapes_hold()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", range(3))
def test_a_race_of_engines_and_cancellers_ends_as_it_was_told(seed: int, adapter, monkeypatch) -> None:
    """Some calls fail for a while, so without the cancellation they would be repeated at once."""
    monkeypatch.setattr(cancelling, "AT_ONCE", 40)
    note = rows.notification(kept=True)
    ids = rows.targets(note, Status.QUEUED, 400)
    scripted: Scripted = adapter(
        answering(lambda m: TemporaryFailure("busy", 0.001) if m.target.bytes[14] % 3 else Accepted("x")),
        batch_size=17,
    )
    answers: list[Cancellation] = []

    def work(number: int) -> None:
        if number == 0:
            for _ in range(2 + seed * 3):
                engine.work(LANE)
            answers.append(cancelling.cancel(note.pk))
        elif number == 1:
            answers.append(cancelling.cancel(note.pk))
        while engine.work(LANE):
            pass

    in_threads(4, work)
    claims._marks.clear()
    while engine.work(LANE):
        pass
    calls = Counter(message.target for message in scripted.sent)
    status = dict(zip(ids, rows.statuses(ids), strict=True))
    assert max(calls.values(), default=0) <= 1  # no failed call is repeated
    assert set(status.values()) <= {"sent", "cancelled"}
    for answer in answers:
        results = told(answer)
        assert results.keys() == set(ids) and answer.counts.total() == 400
        for id, result in results.items():
            if result in (CancelResult.CANCELLED, CancelResult.ALREADY):
                assert status[id] == "cancelled"
            if result is CancelResult.TOO_LATE:
                assert status[id] == "sent"
    rows.assert_books_balance()
    rows.assert_shapes_hold()
    assert not Claim.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_in_app_is_in_the_inbox_or_cancelled_never_both() -> None:
    lane = "in_app.normal"
    note = rows.notification(kept=True)
    ids = rows.targets(note, Status.QUEUED, 200, channel="in_app", lane=lane, user_id=7)
    answers: list[Cancellation] = []

    def work(number: int) -> None:
        if number:
            answers.append(cancelling.cancel(note.pk))
        while engine.work(lane):
            pass

    in_threads(2, work)
    there = set(InboxItem.objects.values_list("target_id", flat=True))
    results = told(answers[0])
    assert there == {id for id in ids if results[id] is CancelResult.TOO_LATE}
    assert set(ids) - there == {id for id in ids if results[id] is CancelResult.CANCELLED}
    rows.assert_books_balance()
