"""When schedules occur: rules as python-dateutil reads them, clocks that change, and hostile rules."""

# ruff: noqa: DTZ001  (wall times)

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from apps.notifications import recurrence, rrule
from apps.notifications.recurrence import FIRST_ON_EARTH, Cron, Occurrence, Recurrence, TooOften

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
ZONES = [  # an hour, in both hemispheres; half an hour; two hours; at midnight; a whole day once; never
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Antarctica/Troll", "America/Santiago",
    "Asia/Beirut", "Pacific/Apia", "Africa/Casablanca", "Asia/Kolkata", "UTC",
]  # fmt: skip
START = datetime(2026, 1, 1, 9, 0)  # a Thursday


def rule(text: str, start: datetime = START, zone: Any = UTC) -> Any:
    read = rrule.read(text, start, zone) if "FREQ" in text.upper() else Cron.read(text, start)
    recurrence.check_distance(read)
    return read


def of(text: str, start: datetime = START, zone: Any = UTC, **options: Any) -> Recurrence:
    return Recurrence(rule=rule(text, start, zone), zone=zone, **options)


def first(count: int, text: str, start: datetime = START, **options: Any) -> list[str]:
    """The first wall times from the start on."""
    walls = of(text, start, **options).occurrences(start - timedelta(days=400))
    return [wall.strftime("%Y-%m-%d %H:%M:%S").removesuffix(":00") for wall in islice(walls, count)]


# --- Rules -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FREQ=DAILY", ["2026-01-01 09:00", "2026-01-02 09:00", "2026-01-03 09:00"]),
        ("RRULE:FREQ=DAILY;INTERVAL=2", ["2026-01-01 09:00", "2026-01-03 09:00", "2026-01-05 09:00"]),
        ("freq=weekly", ["2026-01-01 09:00", "2026-01-08 09:00", "2026-01-15 09:00"]),
        ("FREQ=WEEKLY;BYDAY=MO,FR;BYHOUR=8,20", ["2026-01-02 08:00", "2026-01-02 20:00", "2026-01-05 08:00"]),
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", ["2026-01-30 09:00", "2026-02-27 09:00"]),
        ("FREQ=WEEKLY;BYDAY=WE,TH;BYSETPOS=1", ["2026-01-07 09:00", "2026-01-14 09:00"]),
        ("FREQ=MONTHLY;BYDAY=1MO,-1FR", ["2026-01-05 09:00", "2026-01-30 09:00", "2026-02-02 09:00"]),
        ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", ["2026-02-13 09:00", "2026-03-13 09:00", "2026-11-13 09:00"]),
        ("FREQ=MONTHLY;BYMONTHDAY=-1", ["2026-01-31 09:00", "2026-02-28 09:00", "2026-03-31 09:00"]),
        ("FREQ=MONTHLY;BYMONTHDAY=31", ["2026-01-31 09:00", "2026-03-31 09:00", "2026-05-31 09:00"]),
        ("FREQ=YEARLY", ["2026-01-01 09:00", "2027-01-01 09:00"]),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", ["2028-02-29 09:00", "2032-02-29 09:00"]),
        ("FREQ=YEARLY;BYMONTH=11;BYDAY=4TH", ["2026-11-26 09:00", "2027-11-25 09:00"]),
        ("FREQ=YEARLY;BYDAY=-1SU", ["2026-12-27 09:00", "2027-12-26 09:00"]),
        ("FREQ=YEARLY;BYYEARDAY=1,-1", ["2026-01-01 09:00", "2026-12-31 09:00", "2027-01-01 09:00"]),
        ("FREQ=HOURLY;INTERVAL=7", ["2026-01-01 09:00", "2026-01-01 16:00", "2026-01-01 23:00"]),
        ("FREQ=MINUTELY;INTERVAL=5", ["2026-01-01 09:00", "2026-01-01 09:05", "2026-01-01 09:10"]),
        ("FREQ=DAILY;BYHOUR=0;BYMINUTE=30;BYSECOND=15", ["2026-01-02 00:30:15", "2026-01-03 00:30:15"]),
        ("FREQ=DAILY;COUNT=2", ["2026-01-01 09:00", "2026-01-02 09:00"]),
        ("FREQ=DAILY;UNTIL=20260102", ["2026-01-01 09:00", "2026-01-02 09:00"]),
        ("FREQ=DAILY;UNTIL=20260102T090000", ["2026-01-01 09:00", "2026-01-02 09:00"]),
        ("FREQ=DAILY;UNTIL=20260102T085959", ["2026-01-01 09:00"]),
        (
            "FREQ=YEARLY;INTERVAL=4;UNTIL=20400101",
            ["2026-01-01 09:00", "2030-01-01 09:00", "2034-01-01 09:00"],
        ),
        ("30 6 * * 1-5", ["2026-01-02 06:30", "2026-01-05 06:30", "2026-01-06 06:30"]),
        ("*/15 9 * * *", ["2026-01-01 09:00", "2026-01-01 09:15", "2026-01-01 09:30"]),
        ("0 0 1 * *", ["2026-02-01 00:00", "2026-03-01 00:00"]),
        ("0 0 L * *", ["2026-01-31 00:00", "2026-02-28 00:00"]),
        ("0 12 13 * FRI", ["2026-01-02 12:00", "2026-01-09 12:00", "2026-01-13 12:00"]),
    ],
)
def test_the_first_occurrences(text: str, expected: list[str]) -> None:
    count = len(expected) + (1 if "COUNT" in text or "UNTIL" in text else 0)
    assert first(count, text) == expected


def test_an_end_is_included_and_a_start_is_not_preceded() -> None:
    assert first(9, "FREQ=DAILY", end=START + timedelta(days=1)) == ["2026-01-01 09:00", "2026-01-02 09:00"]
    assert first(1, "0 9 * * *", START + timedelta(seconds=1)) == ["2026-01-02 09:00"]
    assert of("FREQ=DAILY").next(START) == START + timedelta(days=1)
    assert of("FREQ=DAILY", end=START).next(START) is None


def test_dates_and_times_are_excluded_and_count_all_the_same() -> None:
    excluded = frozenset({"2026-01-02", "2026-01-03T20:00:00", "2026-01-04T09:00:01"})
    assert first(9, "FREQ=DAILY;BYHOUR=9,20;COUNT=7", excluded=excluded) == [
        "2026-01-01 09:00", "2026-01-01 20:00", "2026-01-03 09:00", "2026-01-04 09:00",
    ]  # fmt: skip


def test_an_end_in_utc_is_taken_to_the_zone() -> None:
    found = first(9, "FREQ=DAILY;UNTIL=20260102T075959Z", zone=BERLIN)
    assert found == ["2026-01-01 09:00"]
    assert len(first(9, "FREQ=DAILY;UNTIL=20260102T080000Z", zone=BERLIN)) == 2


@st.composite
def rules(draw: st.DrawFn) -> str:
    """What python-dateutil and the RFC understand alike."""
    frequency = draw(st.sampled_from(["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY"]))
    most = {"YEARLY": 3, "MONTHLY": 20, "MINUTELY": 3000}.get(frequency, 40)
    parts = [f"FREQ={frequency}", f"INTERVAL={draw(st.integers(5 if frequency == 'MINUTELY' else 1, most))}"]

    def numbers(name: str, least: int, most: int, chance: int = 4) -> None:
        if draw(st.integers(1, chance)) == 1:
            found = draw(st.lists(st.integers(least, most).filter(bool), min_size=1, max_size=4))
            parts.append(f"{name}={','.join(map(str, found))}")

    numbers("BYMONTH", 1, 12)
    if frequency != "WEEKLY":
        numbers("BYMONTHDAY", -31, 31)
    if frequency in ("YEARLY", "HOURLY", "MINUTELY"):
        numbers("BYYEARDAY", -366, 366, 8)
    if draw(st.booleans()):
        nth = st.sampled_from(["", "1", "-1", "2", "+3"] if frequency in ("YEARLY", "MONTHLY") else [""])
        before = draw(nth)  # the same for all: python-dateutil wants both at once of MO,1FR
        days = draw(st.lists(st.sampled_from(["MO", "TU", "WE", "TH", "FR", "SA", "SU"]), min_size=1))
        parts.append("BYDAY=" + ",".join(before + day for day in days))
    numbers("BYHOUR", 1, 23)
    if frequency not in ("HOURLY", "MINUTELY"):
        numbers("BYMINUTE", 1, 59)
        # Of a week it begins in the middle of, python-dateutil takes what is left for the whole.
        if frequency != "WEEKLY" and any(part.startswith("BY") for part in parts):
            numbers("BYSETPOS", -5, 5)
    parts.append(f"WKST={draw(st.sampled_from(['MO', 'SU', 'TH']))}")
    return ";".join(parts)


def plain(text: str, start: datetime, end: datetime) -> list[datetime]:
    """As python-dateutil has them; none where it finds out that there can be none."""
    until = f"{text};UNTIL={end.strftime('%Y%m%dT%H%M%S')}"
    try:
        return list(rrulestr(until, dtstart=start))
    except ValueError as error:
        assert "empty" in str(error)
        return []


_SOON = st.datetimes(datetime(2024, 1, 1), datetime(2028, 12, 31)).map(lambda at: at.replace(microsecond=0))


@settings(max_examples=60)
@given(rules(), _SOON, st.floats(0, 1))
def test_rules_are_read_as_python_dateutil_reads_them(text: str, start: datetime, part: float) -> None:
    """From the start, and from anywhere behind it: the rule is not walked from its start there."""
    mine = rrule.read(text, start, UTC)
    days = 40 if text.startswith(("FREQ=HOURLY", "FREQ=MINUTELY")) else 500
    end = start + timedelta(days=days)
    beyond = next(mine.walls(end), None)
    assume(beyond is not None and beyond < end + timedelta(days=1000))  # it looks on as far as 9999 for one
    expected = plain(text, start, end)
    assert list(takewhile(lambda wall: wall <= end, mine.walls(datetime(2020, 1, 1)))) == expected
    after = (start + timedelta(days=days * part)).replace(microsecond=0)
    found = list(takewhile(lambda wall: wall <= end, mine.walls(after)))
    assert found == [wall for wall in expected if wall > after]


@settings(max_examples=60)
@given(rules(), _SOON, st.integers(1, 30), st.integers(0, 350))
def test_they_are_counted_from_the_start(text: str, start: datetime, count: int, days: int) -> None:
    every = list(islice(rrule.read(text, start, UTC).walls(datetime(2020, 1, 1)), count))
    end = start + timedelta(days=3650)
    counted = rrule.read(f"{text};COUNT={count}", start, UTC)
    assert list(counted.walls(datetime(2020, 1, 1))) == every
    after = start + timedelta(days=days)
    found = takewhile(lambda wall: wall <= end, counted.walls(after))
    assert list(found) == [wall for wall in every if after < wall <= end]


# --- Clocks that change ----------------------------------------------------------------------------------


def utc(*walls: str) -> list[datetime]:
    return [datetime.fromisoformat(f"{wall}Z") for wall in walls]


@pytest.mark.parametrize(
    ("text", "zone", "after", "expected"),
    [
        # The clock goes from 02:00 to 03:00: what does not exist is an hour later, by the new clock.
        ("FREQ=DAILY;BYHOUR=2;BYMINUTE=30", BERLIN, "2026-03-27T12:00",
         ["2026-03-28T01:30", "2026-03-29T01:30", "2026-03-30T00:30"]),
        ("30 2 * * *", NEW_YORK, "2026-03-07T12:00", ["2026-03-08T07:30", "2026-03-09T06:30"]),
        # 02:30 and 03:30 are one occurrence there.
        ("FREQ=HOURLY;BYMINUTE=30", BERLIN, "2026-03-28T23:45",
         ["2026-03-29T00:30", "2026-03-29T01:30", "2026-03-29T02:30"]),
        # 02:45 is after 03:00 there, and both are.
        ("FREQ=DAILY;BYHOUR=2,3;BYMINUTE=0,45", BERLIN, "2026-03-28T23:00",
         ["2026-03-29T01:00", "2026-03-29T01:45", "2026-03-30T00:00", "2026-03-30T00:45"]),
        # From 03:00 back to 02:00: the first 02:30, and no second one.
        ("FREQ=DAILY;BYHOUR=2;BYMINUTE=30", BERLIN, "2026-10-24T12:00",
         ["2026-10-25T00:30", "2026-10-26T01:30"]),
        ("0 * * * *", BERLIN, "2026-10-24T22:30",
         ["2026-10-24T23:00", "2026-10-25T00:00", "2026-10-25T02:00"]),
        # A day that never was: 30 December 2011 in Samoa is the 31st.
        ("FREQ=DAILY;BYHOUR=9;BYMINUTE=0", ZoneInfo("Pacific/Apia"), "2011-12-28T20:00",
         ["2011-12-29T19:00", "2011-12-30T19:00", "2011-12-31T19:00"]),
        # Where each is: made when the first on Earth get there.
        ("FREQ=DAILY;BYHOUR=9", FIRST_ON_EARTH, "2026-05-01T00:00", ["2026-05-01T19:00", "2026-05-02T19:00"]),
    ],
)  # fmt: skip
def test_where_the_clock_changes(text: str, zone: Any, after: str, expected: list[str]) -> None:
    found = of(text, datetime(2010, 1, 1), zone).since(*utc(after))
    assert [one.at for one in islice(found, len(expected))] == utc(*expected)


_TEXTS = [
    "FREQ=MINUTELY;INTERVAL=5", "FREQ=MINUTELY;INTERVAL=7", "FREQ=HOURLY;BYMINUTE=15,45", "FREQ=DAILY",
    "FREQ=DAILY;BYHOUR=0,1,2,3;BYMINUTE=0,30", "*/30 * * * *", "0 0 * * *", "45 1-3 * * *",
]  # fmt: skip


@settings(max_examples=40)
@given(
    st.sampled_from(_TEXTS),
    st.sampled_from(ZONES),
    st.datetimes(datetime(2011, 12, 1), datetime(2012, 12, 1)),
)
def test_nothing_is_lost_or_doubled_by_a_clock(text: str, name: str, begun: datetime) -> None:
    """Whoever goes on from the occurrence before gets what one who never stopped gets."""
    zone, start = ZoneInfo(name), begun.replace(microsecond=0)
    what = of(text, start, zone)
    from_start = start.replace(tzinfo=zone).astimezone(UTC) - timedelta(days=2)
    end = from_start + timedelta(days=30 if "DAILY" in text or "0 0" in text else 3)
    in_one_go = [one.at for one in takewhile(lambda one: one.at <= end, what.since(from_start))]
    assert in_one_go and all(earlier < later for earlier, later in pairwise(in_one_go))
    walls = takewhile(
        lambda wall: wall <= end.replace(tzinfo=None) - timedelta(days=2), what.rule.walls(start)
    )
    moments = {wall.replace(tzinfo=zone).astimezone(UTC) for wall in walls}
    assert {at for at in moments if at <= end} <= set(in_one_go)
    assert list(step_by_step(what, from_start, end)) == in_one_go


def step_by_step(what: Recurrence, at: datetime, end: datetime) -> Iterator[datetime]:
    while (following := next(what.since(at), None)) is not None and following.at <= end:
        at = following.at
        yield at


@settings(max_examples=40)
@given(st.sampled_from(ZONES), st.integers(0, 366 * 48), st.integers(1, 300))
def test_going_on_from_any_moment(name: str, half_hours: int, steps: int) -> None:
    """Also from within a gap's hour or the one that comes twice."""
    zone = ZoneInfo(name)
    what = of("FREQ=MINUTELY;INTERVAL=10", datetime(2011, 1, 1), zone)
    at = datetime(2011, 3, 1, tzinfo=UTC) + timedelta(minutes=30 * half_hours)
    every = [one.at for one in islice(what.since(at - timedelta(days=2)), 600)]
    expected = [one for one in every if one > at][:steps]
    assert [one.at for one in islice(what.since(at), steps)][: len(expected)] == expected


def test_the_wall_time_of_an_occurrence_is_as_the_rule_says_it() -> None:
    (gap,) = islice(of("30 2 * * *", START, BERLIN).since(*utc("2026-03-28T12:00")), 1)
    assert gap == Occurrence(*utc("2026-03-29T01:30"), datetime(2026, 3, 29, 2, 30))


# --- What is refused, and how fast -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "FREQ=SECONDLY", "FREQ=FORTNIGHTLY", "FREQ=", "FREQ", "FREQ=DAILY;", "FREQ=DAILY;;COUNT=1",
        "FREQ=DAILY;FREQ=WEEKLY", "FREQ=DAILY;COUNT=0", "FREQ=DAILY;COUNT=-1", "FREQ=DAILY;COUNT=1001",
        "FREQ=DAILY;INTERVAL=0", "FREQ=DAILY;INTERVAL=99999999999999999999", "FREQ=DAILY;INTERVAL=1,2",
        "FREQ=YEARLY;INTERVAL=11", "FREQ=DAILY;COUNT=1;UNTIL=20270101", "FREQ=DAILY;UNTIL=20271301",
        "FREQ=DAILY;UNTIL=tomorrow", "FREQ=DAILY;UNTIL=00000101", "FREQ=DAILY;BYEASTER=0",
        "FREQ=YEARLY;BYWEEKNO=1", "FREQ=DAILY;BYHOUR=24", "FREQ=DAILY;BYHOUR=-1", "FREQ=DAILY;BYSECOND=60",
        "FREQ=MONTHLY;BYMONTHDAY=0", "FREQ=MONTHLY;BYMONTHDAY=32", "FREQ=WEEKLY;BYMONTHDAY=1",
        "FREQ=DAILY;BYYEARDAY=1", "FREQ=DAILY;BYDAY=1MO", "FREQ=MONTHLY;BYDAY=0MO", "FREQ=MONTHLY;BYDAY=54MO",
        "FREQ=DAILY;BYDAY=", "FREQ=DAILY;BYDAY=XX", "FREQ=DAILY;BYDAY=MO,", "FREQ=DAILY;BYDAY=٣MO",
        "FREQ=DAILY;BYSETPOS=1", "FREQ=HOURLY;BYDAY=MO;BYSETPOS=1", "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=367",
        "FREQ=DAILY;WKST=XX", "FREQ=DAILY;BYHOUR=٣", "FREQ=DAILY\nFREQ=DAILY", "FREQ=DAILY;X-A=1",
        "DTSTART:20260101T000000\nRRULE:FREQ=DAILY", "FREQ=DAILY;BYHOUR=" + ",".join(["1"] * 600),
        "", "* * * *", "0 0 30 2 *", "0 0 31 4,6 *", "60 * * * *", "0 0 * * * *", "@daily", "a b c d e",
        "0 0 * * MON#6", "1/0 * * * *", "0 0 * * 1L/2", "0 0 LW/2,x * *", "0 " * 400,
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError) as found:
        rule(text)
    assert not isinstance(found.value, TooOften) and str(found.value)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("FREQ=MINUTELY", False),
        ("FREQ=MINUTELY;INTERVAL=4", False),
        ("FREQ=MINUTELY;INTERVAL=5;BYSECOND=0,30", False),
        ("FREQ=MINUTELY;BYMINUTE=0", False),
        ("FREQ=HOURLY;BYMINUTE=0,4", False),
        ("FREQ=HOURLY;BYMINUTE=1,57", False),
        ("FREQ=DAILY;BYSECOND=0,1", False),
        ("FREQ=DAILY;BYHOUR=0,23;BYMINUTE=1,57", False),
        ("* * * * *", False),
        ("*/4 * * * *", False),
        ("0,58 * * * *", False),
        ("0,58 0,23 * * *", False),
        ("FREQ=MINUTELY;INTERVAL=5", True),
        ("FREQ=HOURLY;BYMINUTE=0,5,55", True),
        ("FREQ=DAILY;BYHOUR=3,5;BYMINUTE=1,57", True),
        ("*/5 * * * *", True),
        ("0,58 3,5 * * *", True),
    ],
)
def test_no_more_often_than_every_five_minutes(text: str, allowed: bool) -> None:
    if allowed:
        rule(text)
    else:
        with pytest.raises(TooOften):
            rule(text)


HOSTILE = [
    "FREQ=MINUTELY;INTERVAL=5;BYMONTH=2;BYMONTHDAY=30", "FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30",
    "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=-30", "FREQ=YEARLY;BYMONTH=4;BYMONTHDAY=31",
    "FREQ=MONTHLY;BYMONTHDAY=30;BYMONTH=2;COUNT=1000", "FREQ=MINUTELY;INTERVAL=10;BYMINUTE=2",
    "FREQ=HOURLY;INTERVAL=24;BYHOUR=3", "FREQ=YEARLY;BYDAY=MO;BYSETPOS=366",
    "FREQ=DAILY;BYDAY=MO;BYSETPOS=-2", "FREQ=YEARLY;BYYEARDAY=366;BYMONTH=1",
    "FREQ=YEARLY;BYDAY=53MO;BYMONTH=1", "FREQ=DAILY;UNTIL=20251231", "FREQ=DAILY;UNTIL=00010101",
    "FREQ=MINUTELY;INTERVAL=5256000;BYMONTH=2", "FREQ=MINUTELY;INTERVAL=7;BYYEARDAY=366;BYMONTH=3",
    "FREQ=YEARLY;INTERVAL=10;BYMONTH=2;BYMONTHDAY=29", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29;BYDAY=WE",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_a_rule_without_an_occurrence_is_found_out_soon(text: str) -> None:
    started = time.process_time()
    what = of(text, datetime(2026, 1, 1, 9, 1))
    assert what.next(datetime(2026, 1, 2, 9, 1)) is None
    assert time.process_time() - started < 2  # python-dateutil takes up to minutes for these


@pytest.mark.parametrize(
    "text", ["FREQ=MINUTELY;INTERVAL=5", "FREQ=YEARLY;BYDAY=MO;BYHOUR=1,2,3", "*/5 * * * *"]
)
def test_a_rule_of_many_years_goes_on_as_fast_as_a_new_one(text: str) -> None:
    what = of(text, datetime(2000, 1, 1))
    started = time.process_time()
    for day in range(20):
        assert what.next(datetime(2150, 1, 1) + timedelta(days=day))
    assert time.process_time() - started < 2


@given(st.text(max_size=60) | st.text("FREQ=DAILY;BYMONTHSUCOW0123456789,+-:", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (lambda: rrule.read(text, START, UTC), lambda: Cron.read(text, START)):
        try:
            what = Recurrence(rule=read(), zone=UTC)
        except ValueError:
            continue
        what.next(START)


@given(st.lists(st.text("0123456789*/,-#LWMONTUEFRI", min_size=1, max_size=8), min_size=5, max_size=5))
def test_any_cron_line_is_read_or_refused(fields: list[str]) -> None:
    test_any_text_is_read_or_refused.hypothesis.inner_test(" ".join(fields))
