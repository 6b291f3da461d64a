"""Caps: exact in sliding windows, however many charge at once; and in the rows no more than they need."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from apps.delivery import sweeper
from apps.notifications import caps
from apps.notifications.caps import DAY, HOUR, Over, Use
from apps.notifications.models import CapUse
from project import clock, db
from tests.support.database import (
    Prepared,
    capture,
    in_threads,
    move_clock,
    other_connection,
    until,
    waits_for_a_lock,
)

ADA = 7
_names = count()
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE, INSTANT = timedelta(minutes=1), timedelta(microseconds=1)


def use(user: int = ADA, channel: str = "sms", type: str = "news", **limits: int) -> Use:
    """A message with these caps: hour, type_hour, type_day."""
    return Use(user, channel, type, limits.get("hour"), limits.get("type_hour"), limits.get("type_day"))


# --- Whether it fits, pure -------------------------------------------------------------------------------


def minutes_ago(*minutes: float) -> list[datetime]:
    return sorted(NOW - minute * MINUTE for minute in minutes)


ALL, NEWS = (ADA, "sms", ""), (ADA, "sms", "news")


def both(of_all: float, of_news: float) -> caps.Times:
    return {ALL: minutes_ago(of_all), NEWS: minutes_ago(of_news)}


@pytest.mark.parametrize(
    ("asked", "times", "expected"),
    [
        (use(hour=1), {}, None),
        (use(hour=1), {ALL: minutes_ago(60)}, None),  # as it leaves the window
        (use(hour=1), {ALL: minutes_ago(59)}, Over("per_hour", 1, NOW + MINUTE)),
        (use(hour=2), {ALL: minutes_ago(59)}, None),
        (use(hour=2), {ALL: minutes_ago(59, 10)}, Over("per_hour", 2, NOW + MINUTE)),
        (use(hour=1), {ALL: minutes_ago(59, 10)}, Over("per_hour", 1, NOW + 50 * MINUTE)),  # it was lowered
        (use(hour=1), {NEWS: minutes_ago(1)}, None),  # another cap's
        (use(type_hour=1), {ALL: minutes_ago(1)}, None),
        (use(type_hour=1), {NEWS: minutes_ago(20)}, Over("type_per_hour", 1, NOW + 40 * MINUTE)),
        (use(type_day=1), {NEWS: minutes_ago(90)}, Over("type_per_day", 1, NOW + DAY - 90 * MINUTE)),
        (use(type_day=1), {NEWS: minutes_ago(24 * 60)}, None),
        # of several the last to let go
        (use(hour=1, type_hour=1), both(1, 9), Over("per_hour", 1, NOW + 59 * MINUTE)),
        (use(hour=1, type_day=1), both(1, 9), Over("type_per_day", 1, NOW + DAY - 9 * MINUTE)),
        (use(hour=1, type_day=1), both(99, 9), Over("type_per_day", 1, NOW + DAY - 9 * MINUTE)),
        (use(hour=1), {ALL: minutes_ago(-1)}, Over("per_hour", 1, NOW + 61 * MINUTE)),  # who began later
        (use(hour=0), {}, Over("per_hour", 0, NOW + HOUR)),
        (use(), {ALL: minutes_ago(1), NEWS: minutes_ago(1)}, None),
    ],
)  # fmt: skip
def test_whether_it_fits(asked: Use, times: caps.Times, expected: Over | None) -> None:
    results, changed = caps.fit([asked], times, NOW)
    assert results == [expected]
    assert bool(changed) == (expected is None and asked != use())


def test_what_fits_is_charged_in_each_row_of_its_caps_and_in_no_other() -> None:
    _, changed = caps.fit([use(hour=5, type_day=5)], {ALL: minutes_ago(3)}, NOW)
    assert changed == {ALL: [*minutes_ago(3), NOW], NEWS: [NOW]}
    assert caps.fit([use(hour=5)], {}, NOW)[1].keys() == {ALL}
    assert caps.fit([use(type_hour=5)], {}, NOW)[1].keys() == {NEWS}


def test_without_a_type_it_is_counted_once() -> None:
    assert caps.fit([use(type="", hour=5, type_hour=5)], {}, NOW)[1] == {ALL: [NOW]}


def test_those_of_one_call_count_for_each_other_in_their_order() -> None:
    asked = [use(hour=2), use(channel="email", hour=2), use(hour=2), use(hour=2), use(8, hour=2)]
    results, changed = caps.fit(asked, {}, NOW)
    assert results == [None, None, None, Over("per_hour", 2, NOW + HOUR), None]
    assert changed[ALL] == [NOW, NOW]


def test_what_does_not_fit_is_charged_nowhere() -> None:
    asked = [use(hour=9, type_hour=1), use(type="other", hour=1)]
    results, changed = caps.fit(asked, {NEWS: minutes_ago(5)}, NOW)
    assert results[0] is not None and results[1] is None
    assert changed == {ALL: [NOW]}


def test_a_time_is_put_into_its_place_and_what_nobody_asks_about_is_dropped() -> None:
    times = {NEWS: minutes_ago(25 * 60, 24 * 60, 23 * 60, -1)}
    _, changed = caps.fit([use(type_day=10)], times, NOW)
    assert changed == {NEWS: minutes_ago(23 * 60, 0, -1)}
    _, changed = caps.fit([use(type_hour=2)], times, NOW)
    assert changed == {NEWS: minutes_ago(0, -1)}


def test_a_cap_above_a_thousand_counts_as_a_thousand() -> None:
    results, changed = caps.fit([use(hour=30_000)] * 1_001, {}, NOW)
    assert results[999] is None and results[1_000] == Over("per_hour", 1_000, NOW + HOUR)
    assert len(changed[ALL]) == caps.MOST == 1_000


class Model:
    """All that was ever charged, counted from the beginning each time."""

    def __init__(self) -> None:
        self.charged: list[tuple[str, datetime]] = []

    def full(self, one: Use, at: datetime) -> set[str]:
        def used(window: timedelta, *types: str) -> int:
            return sum(
                1 for type, then in self.charged if then > at - window and (not types or type in types)
            )

        asked = {
            "per_hour": (one.per_hour, HOUR, ()),
            "type_per_hour": (one.type_per_hour, HOUR, (one.type,)),
            "type_per_day": (one.type_per_day, DAY, (one.type,)),
        }
        return {
            name
            for name, (limit, window, types) in asked.items()
            if limit is not None and used(window, *types) >= limit
        }


LIMITS = st.none() | st.integers(1, 4)
CONFIGS = st.fixed_dictionaries(
    {"hour": st.integers(1, 5), "types": st.dictionaries(st.sampled_from("abc"), st.tuples(LIMITS, LIMITS))}
)
STEPS = st.lists(
    st.tuples(st.integers(-3, 400), st.lists(st.sampled_from("abc"), min_size=1, max_size=4)), max_size=40
)


@given(config=CONFIGS, steps=STEPS)
def test_it_decides_as_if_everything_were_remembered(
    config: dict[str, Any], steps: list[tuple[int, list[str]]]
) -> None:
    model, times, now = Model(), {}, NOW
    for minutes, types in steps:
        now += minutes * MINUTE  # sometimes back: by who began earlier and came later
        uses = [Use(ADA, "sms", t, config["hour"], *config["types"].get(t, (None, None))) for t in types]
        results, changed = caps.fit(uses, times, now)
        for one, over in zip(uses, results, strict=True):
            full = model.full(one, now)
            assert (over.cap in full) if over else not full
            if over:
                assert not model.full(one, over.again_at)
                assert over.cap in model.full(one, over.again_at - INSTANT)
                assert over.again_at > now
            else:
                model.charged.append((one.type, now))
        times |= changed
        for (_, _, type), kept in times.items():
            limits = [limit for limit in config["types"].get(type, ()) if limit] or [config["hour"]]
            assert kept == sorted(kept) and len(kept) <= max(limits)


# --- Charging --------------------------------------------------------------------------------------------


def kept() -> dict[tuple[int, str, str], int]:
    """How many times each row has."""
    rows = CapUse.objects.values_list("user_id", "channel", "type", "times")
    return {(user, channel, type): len(times) for user, channel, type, times in rows}


@pytest.mark.django_db
def test_charges_are_kept_from_call_to_call() -> None:
    asked = use(hour=2, type_day=3)
    assert caps.charge([asked]) == [None]
    assert kept() == {ALL: 1, NEWS: 1}
    assert caps.charge([asked, asked]) == [None, Over("per_hour", 2, clock.now() + HOUR)]
    assert kept() == {ALL: 2, NEWS: 2}
    move_clock(3_601)
    assert caps.charge([asked]) == [None]
    (over,) = caps.charge([asked])
    assert over == Over("type_per_day", 3, clock.now() + DAY - timedelta(seconds=3_601))
    assert kept() == {ALL: 2, NEWS: 3}
    row = CapUse.objects.get(type="news")
    assert row.times == sorted(row.times) and row.times[-1] == row.updated_at == clock.now()


@pytest.mark.django_db
def test_the_cap_of_a_refused_one_is_not_used_up() -> None:
    caps.charge([use(type_hour=1)])
    assert caps.charge([use(hour=1, type_hour=1), use(type="other", hour=1)])[1] is None
    assert kept() == {ALL: 1, NEWS: 1}


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, 4, 500])
def test_any_number_is_two_statements_and_one_if_nothing_fits(count: int) -> None:
    asked = [use(user, hour=1, type_day=1) for user in range(count)]
    with capture() as statements:
        assert caps.charge(asked) == [None] * count
    assert len(statements) == 2 and len(kept()) == 2 * count
    with capture() as statements:
        assert None not in caps.charge(asked)
    assert len(statements) == 1


@pytest.mark.django_db
def test_what_has_no_cap_costs_nothing_and_leaves_no_row() -> None:
    with capture() as statements:
        assert caps.charge([]) == []
        assert caps.charge([use(), use(8)]) == [None, None]
    assert statements == []
    assert caps.charge([use(), use(8, hour=1)]) == [None, None]
    assert kept().keys() == {(8, "sms", "")}


@pytest.mark.django_db(transaction=True)
def test_of_twenty_at_once_exactly_five_fit_into_a_cap_of_five() -> None:
    def charge(number: int) -> bool:
        with db.one_transaction():
            return caps.charge([use(hour=5, type_day=9)]) == [None]

    assert sorted(in_threads(20, charge)) == [False] * 15 + [True] * 5
    assert kept() == {ALL: 5, NEWS: 5}


@pytest.mark.django_db(transaction=True)
def test_many_with_the_same_rows_in_any_order_never_wait_in_a_circle() -> None:
    people = [(user, type) for user in (1, 2, 3) for type in ("Z", "a", "é")]

    def charge(number: int) -> int:
        order = people[number % 9 :] + people[: number % 9]
        with db.one_transaction():
            found = caps.charge([use(user, type=type, type_hour=8) for user, type in order])
        return found.count(None)

    assert sum(in_threads(10, charge)) == 8 * len(people)
    assert set(kept().values()) == {8}


INSERT = "INSERT INTO notifications_capuse (user_id, channel, type, times) VALUES (%s, 'sms', %s, '{}')"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("turn", [1, -1])
def test_rows_are_locked_in_one_order_whatever_order_they_are_asked_in(turn: int) -> None:
    """Who waits for the first must not have locked another yet: two of them would deadlock."""
    order = [(1, "Z"), (1, "a"), (1, "é"), (2, "Z")][::turn]
    pids: list[int] = []

    def charge() -> None:
        pids.append(db.rows("SELECT pg_backend_pid()")[0][0])
        caps.charge([use(user, type=type, type_hour=1) for user, type in order])
        connection.close()

    with other_connection() as holder, other_connection() as prober:
        holder.execute(INSERT, [1, "Z"])
        thread = threading.Thread(target=charge)
        thread.start()
        until(lambda: pids and waits_for_a_lock(prober, pids[0]))
        prober.execute("SET lock_timeout = '1s'")
        for row in sorted(order)[1:]:
            prober.execute(INSERT, row)  # fails if the thread has written it
        prober.rollback()
        holder.rollback()
    thread.join(10)
    assert set(kept().values()) == {1} and len(kept()) == len(order)


# --- Forgetting ------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_rows_are_forgotten_when_no_cap_counts_them_any_more() -> None:
    caps.charge([use(1, hour=1), use(2, hour=1), use(3, hour=1)])
    move_clock(24.9 * 3_600)
    assert caps.forget_old(10) == 0
    caps.charge([use(3, hour=1)])
    move_clock(25.1 * 3_600)
    assert [caps.forget_old(1) for _ in range(3)] == [1, 1, 0]
    assert {user for user, *_ in kept()} == {3}


@pytest.mark.usefixtures("rung")
@pytest.mark.django_db(transaction=True)
def test_the_sweeper_forgets_them() -> None:
    caps.charge([use(hour=1)])
    sweeper.sweep()
    assert kept()
    move_clock(26 * 3_600)
    sweeper.sweep()
    assert not kept()


# --- Plans -----------------------------------------------------------------------------------------------

PRIMARY = "notifications_capuse_pkey"
_FILL = """
INSERT INTO notifications_capuse (user_id, channel, type, times, updated_at)
SELECT n, 'sms', '', ARRAY[now()], now() FROM generate_series(1, 5000) n
"""


@pytest.mark.django_db
@pytest.mark.parametrize("full", [False, True])
def test_every_statement_goes_by_its_index(full: bool) -> None:
    if full:
        db.execute(_FILL)
        db.execute("ANALYZE notifications_capuse")
    rows = [(user, "sms", "") for user in range(10)]
    given, values = caps._ROWS.given(rows)
    (insert, source) = Prepared(f"caps_{next(_names)}", caps._LOCK.format(given=given), values).nodes()
    assert (insert["Conflict Arbiter Indexes"], source["Node Type"]) == ([PRIMARY], "Function Scan")
    given, values = caps._TIMES.given([(*row, "{}") for row in rows])
    for sql, parameters, indexes in (
        (caps._WRITE.format(given=given), values, {PRIMARY}),
        (caps._FORGET, [1_000], {PRIMARY, "cap_use_age"}),
    ):
        nodes = Prepared(f"caps_{next(_names)}", sql, parameters).nodes()
        found = [node for node in nodes if "Index Name" in node]
        assert {node["Index Name"] for node in found} == indexes
        assert all("Index Cond" in node for node in found)
        assert "Seq Scan" not in {node["Node Type"] for node in nodes}
