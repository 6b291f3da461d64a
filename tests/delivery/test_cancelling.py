"""Cancelling against the engine: whoever is first wins, and the answer is what happened."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from apps.delivery import claims, engine
from apps.delivery.models import Claim
from apps.integrations.contract import Accepted, Message, Outcome, Outcomes, TemporaryFailure, UnknownOutcome
from apps.notifications import cancelling, inbox
from apps.notifications.cancelling import Cancellation, CancelResult
from apps.notifications.models import Notification
from apps.notifications.statuses import Status
from project import db, queues
from tests.support import inboxes, rows
from tests.support.adapters import Scripted, accepting, answering
from tests.support.database import in_threads, other_connection, until, waits_for_a_lock
from tests.support.rows import LANE


@pytest.fixture(autouse=True)
def no_bells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "ring_now", lambda lane: True)


@pytest.fixture(autouse=True)
def hinted(monkeypatch: pytest.MonkeyPatch) -> list[dict[int, int]]:
    """The heads the socket servers are told, when no transaction is open any more."""
    found: list[dict[int, int]] = []

    def hint(heads: dict[int, int]) -> None:
        assert not connection.in_atomic_block or not heads
        found.append(heads)

    monkeypatch.setattr(inbox, "hint", hint)
    return found


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
            if result in (CancelResult.CANCELLED, CancelResult.ENDED):
                assert status[id] == "cancelled"
            if result is CancelResult.ALREADY_SENT:
                assert status[id] == "sent"
    rows.assert_books_balance()
    rows.assert_shapes_hold()
    assert not Claim.objects.exists()


IN_APP = "in_app.normal"


def queued_in_app(note: Notification, count: int = 1) -> list[UUID]:
    return rows.targets(note, Status.QUEUED, count, channel="in_app", lane=IN_APP, user_id=7)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", range(3))
def test_in_app_is_in_no_inbox_afterwards_whoever_was_first(
    seed: int, hinted: list[dict[int, int]], settings, monkeypatch
) -> None:
    """Delivered before, meanwhile or never: what was told to be cancelled was not, and nothing stays."""
    settings.BULK_BATCH = 20
    monkeypatch.setattr(cancelling, "AT_ONCE", 30)
    note = rows.notification(kept=True)
    ids = queued_in_app(note, 200)
    answers: list[Cancellation] = []

    def work(number: int) -> None:
        if number < 2:
            for _ in range(seed * 2):
                engine.work(IN_APP)
            answers.append(cancelling.cancel(note.pk))
        while engine.work(IN_APP):
            pass

    in_threads(4, work)
    there = {id for id in ids if rows.row(id)["delivered_at"]}
    assert inboxes.there(7) == []
    for answer in answers:
        results = told(answer)
        assert {id for id in ids if results[id] is CancelResult.RECALLED} == there
        others = {results[id] for id in set(ids) - there}
        assert others <= {CancelResult.CANCELLED, CancelResult.ENDED}
    assert sum(answer.counts["cancelled"] for answer in answers) == len(ids) - len(there)
    assert all((rows.row(id)["recalled_at"] is not None) == (id in there) for id in ids)
    # Each came once and was recalled once, whoever did it, and the last of it was told.
    assert inboxes.counts(7) == (2 * len(there), 0, 0)
    assert max((heads.get(7, 0) for heads in hinted), default=0) == 2 * len(there)
    if there:
        inboxes.assert_books_balance()
    rows.assert_books_balance()
    rows.assert_shapes_hold()


@pytest.mark.django_db(transaction=True)
def test_in_app_that_is_being_delivered_is_waited_for_and_recalled(monkeypatch) -> None:
    """The cancellation has read it as queued; the delivery holds its lock and then commits."""
    note = rows.notification(kept=True)
    (id,) = queued_in_app(note)
    real = inbox.add
    pids: list[int] = []
    holding = threading.Event()
    answers: list[Cancellation] = []

    def add(items: Sequence[tuple[UUID, int, UUID, str, str]]) -> dict[int, int]:
        heads = real(items)
        holding.set()
        with other_connection() as observer:
            until(lambda: pids and waits_for_a_lock(observer, pids[0]))
        return heads

    def work(number: int) -> None:
        if number:
            assert holding.wait(10)
            pids.append(db.rows("SELECT pg_backend_pid()")[0][0])
            answers.append(cancelling.cancel(note.pk))
        else:
            engine.work(IN_APP)

    monkeypatch.setattr(inbox, "add", add)
    in_threads(2, work)
    assert told(answers[0]) == {id: CancelResult.RECALLED}
    assert rows.statuses([id]) == ["delivered"] and inboxes.there(7) == []
    assert inboxes.counts(7) == (2, 0, 0)
    rows.assert_books_balance()


@pytest.fixture
def after_the_page(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Do this when a cancellation has read a page, and not locked anything yet."""

    def arrange(act: Callable[[], object]) -> None:
        real = cancelling._cancel_some

        def late(id: UUID, page: list[Any]) -> list[cancelling.Told]:
            in_threads(1, lambda _: act())
            return real(id, page)

        monkeypatch.setattr(cancelling, "_cancel_some", late)

    return arrange


@pytest.mark.django_db(transaction=True)
def test_what_is_delivered_in_app_after_the_page_was_read_is_recalled(after_the_page) -> None:
    note = rows.notification(kept=True)
    (id,) = queued_in_app(note)
    after_the_page(lambda: engine.work(IN_APP))
    assert told(cancelling.cancel(note.pk)) == {id: CancelResult.RECALLED}
    assert inboxes.there(7) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("some", [False, True])
def test_what_is_claimed_after_the_page_was_read_is_in_flight(some: bool, after_the_page, adapter) -> None:
    adapter(accepting)
    note = rows.notification(kept=True)
    (id,) = rows.targets(note)
    after_the_page(lambda: claims.take(LANE, "scripted", 10))
    done = cancelling.cancel_targets(note.pk, [id]) if some else cancelling.cancel(note.pk)
    assert told(done) == {id: CancelResult.IN_FLIGHT}
    assert rows.row(id)["cancel_asked_at"] is not None


@pytest.mark.django_db(transaction=True)
def test_what_is_sent_after_the_page_was_read_was_sent(after_the_page, adapter) -> None:
    adapter(accepting)
    note = rows.notification(kept=True)
    (id,) = rows.targets(note)
    after_the_page(lambda: engine.work(LANE))
    assert told(cancelling.cancel(note.pk)) == {id: CancelResult.ALREADY_SENT}


@pytest.mark.django_db(transaction=True)
def test_what_others_are_merged_into_after_the_page_was_read_is_left_to_them(after_the_page) -> None:
    note, other = rows.notification(kept=True), rows.notification()
    (carrier,) = rows.targets(note)
    after_the_page(
        lambda: rows.targets(other, Status.SKIPPED, reason="merged", merged_into=carrier, user_id=7)
    )
    assert told(cancelling.cancel(note.pk)) == {carrier: CancelResult.IN_FLIGHT}
    assert rows.statuses([carrier]) == ["queued"]


@pytest.mark.django_db(transaction=True)
def test_a_recall_that_does_not_commit_is_told_to_nobody(hinted: list[dict[int, int]], monkeypatch) -> None:
    note = rows.notification(kept=True)
    (id,) = queued_in_app(note)
    engine.work(IN_APP)

    def crash(*told: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cancelling, "_told", crash)
    with pytest.raises(KeyboardInterrupt):
        cancelling.cancel(note.pk)
    assert hinted == [{7: 1}] and rows.row(id)["recalled_at"] is None  # the delivery's
    assert inboxes.there(7) == [id] and inboxes.counts(7) == (1, 1, 1)
