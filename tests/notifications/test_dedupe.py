"""Marks of events: one of two who announce the same wins, and nobody waits in a circle."""

from __future__ import annotations

import threading
from itertools import count
from uuid import UUID

import psycopg
import pytest
from django.db import connection, transaction

from apps.delivery import sweeper
from apps.notifications import dedupe
from apps.notifications.dedupe import Event, Mark
from apps.notifications.models import DedupeMark
from project import clock, db, ids
from tests.support.database import (
    Prepared,
    capture,
    in_threads,
    move_clock,
    other_connection,
    until,
    waits_for_a_lock,
)

pytestmark = pytest.mark.django_db
ADA, TYPE, KEY = 7, "order_shipped", "order-17"
ONE, TWO = ids.uuid7(), ids.uuid7()
DAY = 86_400
_names = count()


def mark(
    notification: UUID = ONE, *, user: int = ADA, type: str = TYPE, key: str = KEY, window: int = DAY
) -> Mark:
    return Mark(user, type, key, notification, window)


def kept() -> dict[Event, UUID]:
    """The notification by event."""
    rows = DedupeMark.objects.values_list("user_id", "type", "key", "notification_id")
    return {(user_id, type, key): notification for user_id, type, key, notification in rows}


# --- Taking ----------------------------------------------------------------------------------------------


def test_the_first_is_new_and_the_second_is_not() -> None:
    assert dedupe.take([mark(ONE)]) == set()
    assert dedupe.take([mark(TWO)]) == {(ADA, TYPE, KEY)}
    assert kept() == {(ADA, TYPE, KEY): ONE}


def test_person_type_and_key_each_make_another_event() -> None:
    marks = [
        mark(),
        mark(user=8),
        mark(type="other"),
        mark(type=""),
        mark(key="order-18"),
        mark(key="Order-17"),
    ]
    assert dedupe.take(marks) == set()
    assert len(kept()) == len(marks)
    assert dedupe.take([mark(TWO, user=8), mark(TWO, user=9)]) == {(8, TYPE, KEY)}
    assert kept()[9, TYPE, KEY] == TWO and kept()[8, TYPE, KEY] == ONE


@pytest.mark.parametrize(("seconds", "duplicate"), [(0, True), (59, True), (61, False)])
def test_a_mark_holds_for_its_window(seconds: float, duplicate: bool) -> None:
    dedupe.take([mark(ONE, window=60)])
    move_clock(seconds)
    assert bool(dedupe.take([mark(TWO, window=60)])) is duplicate
    assert kept() == {(ADA, TYPE, KEY): ONE if duplicate else TWO}


def test_a_mark_that_is_over_begins_anew_and_a_duplicate_prolongs_nothing() -> None:
    def left() -> float:
        return round((DedupeMark.objects.get().until - clock.now()).total_seconds())

    dedupe.take([mark(ONE, window=60)])
    move_clock(30)
    dedupe.take([mark(TWO, window=1_000)])
    assert left() == 30
    move_clock(60)
    assert dedupe.take([mark(TWO, window=1_000)]) == set()
    assert left() == 1_000


def test_of_the_same_event_twice_in_one_call_the_first_wins() -> None:
    marks = [mark(ONE), mark(TWO), mark(TWO, user=8)]
    assert dedupe.take(marks) == set()
    assert kept() == {(ADA, TYPE, KEY): ONE, (8, TYPE, KEY): TWO}
    firsts = dedupe.firsts(marks)
    assert {event: one.notification_id for event, one in firsts.items()} == kept()
    assert dedupe.take(marks) == kept().keys()


@pytest.mark.parametrize("count", [1, 4, 5, 1_000])
def test_any_number_is_one_statement(count: int) -> None:
    with capture() as statements:
        assert dedupe.take([mark(key=str(n)) for n in range(count)]) == set()
    assert len(statements) == 1 and len(kept()) == count


def test_no_marks_are_no_statement() -> None:
    with capture() as statements:
        assert dedupe.take([]) == set()
    assert statements == []


# --- Forgetting ------------------------------------------------------------------------------------------


def test_a_forgotten_notification_may_be_announced_again() -> None:
    dedupe.take([mark(ONE), mark(ONE, user=8), mark(TWO, key="other")])
    assert dedupe.forget(ONE) == 2
    assert kept() == {(ADA, TYPE, "other"): TWO}
    assert dedupe.forget(ONE) == 0
    assert dedupe.take([mark(TWO)]) == set()


def test_what_is_over_is_forgotten_and_nothing_else() -> None:
    dedupe.take([mark(key=str(window), window=window) for window in (10, 20, 100)])
    assert dedupe.forget_over(10) == 0
    move_clock(50)
    assert [dedupe.forget_over(1) for _ in range(3)] == [1, 1, 0]
    assert kept().keys() == {(ADA, TYPE, "100")}


@pytest.mark.usefixtures("rung")
@pytest.mark.django_db(transaction=True)
def test_the_sweeper_forgets_them() -> None:
    dedupe.take([mark(window=10), mark(key="later", window=1_000)])
    move_clock(100)
    sweeper.sweep()
    assert kept().keys() == {(ADA, TYPE, "later")}


# --- At once ---------------------------------------------------------------------------------------------


def announce(notification: UUID, *marks: Mark) -> set[Event]:
    with db.one_transaction():
        return dedupe.take(marks or [mark(notification)])


@pytest.mark.django_db(transaction=True)
def test_of_many_at_the_same_time_exactly_one_wins() -> None:
    found = in_threads(10, lambda number: announce(ids.uuid7()))
    assert sorted(map(len, found)) == [0] + [1] * 9


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("commits", [True, False])
def test_the_second_waits_for_what_becomes_of_the_first(commits: bool) -> None:
    pids: list[int] = []
    found: list[set[Event]] = []

    def second() -> None:
        pids.append(db.rows("SELECT pg_backend_pid()")[0][0])
        found.append(announce(TWO))
        connection.close()

    thread = threading.Thread(target=second)
    with other_connection() as observer, transaction.atomic():
        assert dedupe.take([mark(ONE)]) == set()
        thread.start()
        until(lambda: pids and waits_for_a_lock(observer, pids[0]))
        assert found == []
        transaction.set_rollback(not commits)
    thread.join(10)
    assert found == ([{(ADA, TYPE, KEY)}] if commits else [set()])
    assert kept() == {(ADA, TYPE, KEY): ONE if commits else TWO}


INSERT = """
INSERT INTO notifications_dedupemark (user_id, type, key, notification_id, until)
VALUES (7, 'order_shipped', %s, gen_random_uuid(), now() + interval '1 day')
"""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("order", ["abcZé", "éZcba"])
def test_marks_are_written_in_one_order_whatever_order_they_came_in(order: str) -> None:
    """Who waits for the first must not have written another yet: two of them would deadlock."""
    pids: list[int] = []

    def write() -> None:
        pids.append(db.rows("SELECT pg_backend_pid()")[0][0])
        announce(ONE, *(mark(key=key) for key in order))
        connection.close()

    with other_connection() as holder, other_connection() as prober:
        holder.execute(INSERT, ["Z"])  # the first by its bytes
        thread = threading.Thread(target=write)
        thread.start()
        until(lambda: pids and waits_for_a_lock(prober, pids[0]))
        prober.execute("SET lock_timeout = '1s'")
        for key in "abcé":
            prober.execute(INSERT, [key])  # fails if the thread has written it
        prober.rollback()
        holder.rollback()
    thread.join(10)
    assert {key for _, _, key in kept()} == set(order)


@pytest.mark.django_db(transaction=True)
def test_forgetting_locks_in_the_order_of_taking() -> None:
    dedupe.take([mark(key=key) for key in "bZ"])
    pids: list[int] = []
    lock = "SELECT 1 FROM notifications_dedupemark WHERE key = %s FOR UPDATE"

    def forget() -> None:
        pids.append(db.rows("SELECT pg_backend_pid()")[0][0])
        dedupe.forget(ONE)
        connection.close()

    with other_connection() as holder, other_connection() as prober:
        prober.autocommit = True
        holder.execute(lock, ["Z"])
        thread = threading.Thread(target=forget)
        thread.start()
        until(lambda: pids and bool(_waiting(prober, pids[0])))
        prober.execute(f"{lock} NOWAIT", ["b"])  # fails if the thread has locked it
        holder.rollback()
    thread.join(10)
    assert kept() == {}


def _waiting(prober: psycopg.Connection[tuple[int]], pid: int) -> list[tuple[int]]:
    sql = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
    return prober.execute(sql, [pid]).fetchall()


# --- Plans -----------------------------------------------------------------------------------------------

_FILL = """
INSERT INTO notifications_dedupemark (user_id, type, key, notification_id, until)
SELECT n, 't', n::text, gen_random_uuid(), now() + interval '1 hour' FROM generate_series(1, 5000) n
"""


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("sql", "values", "indexes"),
    [
        (dedupe._FORGET, [ONE], {"dedupe_mark_of_notification"}),
        (dedupe._FORGET_OVER, [1_000], {"dedupe_mark_over", "notifications_dedupemark_pkey"}),
    ],
)
def test_forgetting_goes_by_its_indexes(
    sql: str, values: list[object], indexes: set[str], full: bool
) -> None:
    if full:
        db.execute(_FILL)
        db.execute("ANALYZE notifications_dedupemark")
    nodes = Prepared(f"dedupe_{next(_names)}", sql, values).nodes()
    found = [node for node in nodes if "Index Name" in node]
    assert {node["Index Name"] for node in found} == indexes and all("Index Cond" in node for node in found)
    assert "Seq Scan" not in {node["Node Type"] for node in nodes}


def test_taking_asks_only_the_key() -> None:
    given, values = dedupe._COLUMNS.given([mark(key=str(n)) for n in range(10)])
    nodes = Prepared(f"dedupe_{next(_names)}", dedupe._TAKE.format(given=given), values).nodes()
    assert [node["Node Type"] for node in nodes] == ["ModifyTable", "Function Scan"]
    assert nodes[0]["Conflict Arbiter Indexes"] == ["notifications_dedupemark_pkey"]
