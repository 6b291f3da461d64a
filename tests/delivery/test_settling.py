"""A settle is insisted on until it commits, and commits once: whatever the database does meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import IntegrityError, OperationalError, connection

from apps.delivery import engine, settling, sweeper
from apps.delivery.models import Claim
from apps.integrations.contract import Accepted, Message, Outcomes, TemporaryFailure, UnknownOutcome
from apps.notifications import transitions
from apps.notifications.models import NotificationSummary
from apps.notifications.statuses import Status
from project import db
from tests.support import rows
from tests.support.adapters import by_target
from tests.support.database import move_clock, other_connection
from tests.support.rows import LANE


@pytest.fixture
def batch(adapter: Callable[..., Any], transactional_db: None) -> list[Any]:
    """Three queued targets whose messages will be accepted, postponed, and nobody knows."""
    targets = rows.targets(rows.notification(kept=True), Status.QUEUED, 3)
    outcomes = (Accepted("id"), TemporaryFailure("busy"), UnknownOutcome("timeout"))
    adapter(by_target(dict(zip(targets, outcomes, strict=True))))
    return targets


def assert_settled_once(targets: list[Any]) -> None:
    assert rows.statuses(targets) == ["sent", "retrying", "unknown"]
    assert [rows.row(target)["attempts"] for target in targets] == [1, 1, 1]
    assert [attempt["number"] for attempt in rows.attempts(targets)] == [1, 1, 1]
    assert NotificationSummary.objects.get().sent == 1
    assert Claim.objects.get().target_ids == [targets[2]]
    rows.assert_books_balance()
    rows.assert_shapes_hold()
    move_clock(10_000)
    sweeper.judge_unknown(10)
    assert rows.statuses(targets) == ["sent", "retrying", "dead"]


def kill_own_connection() -> None:
    ((pid,),) = db.rows("SELECT pg_backend_pid()")
    with other_connection() as other:
        other.execute("SELECT pg_terminate_backend(%s)", [pid])
        while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]).fetchall():
            other.rollback()


def once(act: Callable[[], None]) -> Callable[[], None]:
    left = [act]
    return lambda: left.pop()() if left else None


@pytest.mark.parametrize("moment", ["before", "between", "after"])
def test_a_connection_cut_in_the_middle_of_a_settle_is_survived(moment: str, batch, monkeypatch) -> None:
    cut = once(kill_own_connection)
    real_settle, real_close = engine.settle, engine.claims.close

    def settle(*arguments: Any, **named: Any) -> Any:
        if moment == "before":
            cut()
        return real_settle(*arguments, **named)

    def close(*arguments: Any) -> None:
        if moment == "between":
            cut()
        real_close(*arguments)
        if moment == "after":
            cut()

    monkeypatch.setattr(engine, "settle", settle)
    monkeypatch.setattr(engine.claims, "close", close)
    engine.work(LANE)
    assert_settled_once(batch)


def test_a_commit_whose_answer_was_lost_is_not_repeated(batch, monkeypatch) -> None:
    real = engine._End._write
    lost = []

    def write(*arguments: Any) -> Any:
        result = real(*arguments)
        if not lost:
            lost.append(True)
            raise OperationalError("server closed the connection unexpectedly")
        return result

    monkeypatch.setattr(engine._End, "_write", write)
    engine.work(LANE)
    assert lost
    assert_settled_once(batch)


def test_an_unknown_outcome_whose_commit_was_not_told_keeps_its_grace(
    adapter, transactional_db, monkeypatch
) -> None:
    """It is settled with the first outcomes, and the claim is closed with the last."""
    targets = rows.targets(rows.notification(kept=True), Status.QUEUED, 2)
    real = engine._End._write
    lost: list[bool] = []

    async def unknown_first(messages: Sequence[Message]) -> AsyncIterator[Outcomes]:
        first, second = sorted(messages, key=lambda message: message.target)
        yield [(first, UnknownOutcome("timeout"))]
        await asyncio.sleep(engine.GATHER_SECONDS * 3)
        yield [(second, Accepted())]

    def write(*arguments: Any) -> Any:
        result = real(*arguments)
        if not lost:
            lost.append(True)
            raise OperationalError("server closed the connection unexpectedly")
        return result

    monkeypatch.setattr(engine._End, "_write", write)
    adapter(unknown_first)
    engine.work(LANE)
    assert rows.statuses(targets) == ["unknown", "sent"]
    assert Claim.objects.get().target_ids == targets[:1]


@pytest.fixture
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(settling.time, "sleep", slept.append)
    return slept


def failing(times: int, error: type[Exception]) -> Callable[[], str]:
    left: Iterator[None] = iter([None] * times)

    def write() -> str:
        for _ in left:
            raise error
        return "written"

    return write


@pytest.mark.django_db(transaction=True)
def test_insisting_goes_on_for_as_long_as_the_database_is_away(no_sleep) -> None:
    assert settling.until_committed(failing(2000, OperationalError)) == "written"
    assert len(no_sleep) == 2000 and max(no_sleep) == 2.0 and no_sleep[0] < 0.1


@pytest.mark.django_db(transaction=True)
def test_an_error_that_repeating_does_not_mend_is_raised(no_sleep) -> None:
    with pytest.raises(IntegrityError):
        settling.until_committed(failing(1, IntegrityError))
    assert no_sleep == []


@pytest.mark.django_db(transaction=True)
def test_the_victim_of_a_deadlock_tries_again(no_sleep) -> None:
    """Who waits first should be who finds out and gives way; a busy server may choose the other one."""
    first, second = rows.targets(rows.notification(), Status.SENDING, 2)
    for _ in range(5):
        tries = deadlock(first, second)
        if tries > 1:
            break
    assert tries == 2


def deadlock(first: UUID, second: UUID) -> int:
    """Write in a deadlock with another connection; how many tries it took."""
    lock = "SELECT 1 FROM notifications_notificationtarget WHERE id = %s FOR UPDATE"
    blocked = "SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    locked = threading.Event()
    tries: list[int] = []

    def other() -> None:
        with suppress(psycopg.errors.DeadlockDetected), other_connection() as mine:
            mine.execute(lock, [second])
            locked.set()
            while not mine.execute(blocked).fetchall():
                pass
            mine.execute(lock, [first])

    def write() -> None:
        with db.one_transaction():
            tries.append(1)
            db.execute(lock, [first])
            locked.wait(10)
            db.execute(lock, [second])

    thread = threading.Thread(target=other)
    thread.start()
    settling.until_committed(write)
    thread.join(10)
    return len(tries)


@pytest.mark.django_db(transaction=True)
def test_settles_of_overlapping_notifications_do_not_deadlock() -> None:
    """Each settle touches both summaries; the order they are locked in does not depend on the batch."""
    from tests.support.database import in_threads

    notes = [rows.notification(kept=True) for _ in range(2)]
    claims_ = range(1, 5)
    ids = {
        claim: [rows.targets(note, Status.SENDING, 1, claim_id=claim)[0] for _ in range(20) for note in notes]
        for claim in claims_
    }

    def settle(number: int) -> int:
        claim = claims_[number]
        mine = ids[claim] if number % 2 else ids[claim][::-1]
        stayed = set()
        for start in range(0, len(mine), 4):
            chunk = [transitions.Settled(id, Status.SENT, "", None, 1) for id in mine[start : start + 4]]
            with db.one_transaction():
                stayed |= transitions.settle(claim, chunk)
        return len(stayed)

    assert in_threads(4, settle) == [0] * 4
    rows.assert_books_balance()


def test_a_killed_connection_is_really_gone(transactional_db) -> None:
    kill_own_connection()
    with pytest.raises(OperationalError) as raised:
        db.rows("SELECT 1")
    assert isinstance(raised.value.__cause__, psycopg.OperationalError)
    connection.close()
