"""Wall times and instants: by table where the clocks do strange things, and by property in every zone."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.preferences import localtime
from tests.preferences.clocks import ZONES, moments, moves, offset, zones

BERLIN, HOWE, APIA = "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia"
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# --- Wall times --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "wall", "instant", "shown"),
    [
        (BERLIN, "2026-01-15T09:00", "2026-01-15T08:00", "2026-01-15T09:00"),
        (BERLIN, "2026-03-29T01:59:59", "2026-03-29T00:59:59", "2026-03-29T01:59:59"),
        (BERLIN, "2026-03-29T02:00", "2026-03-29T01:00", "2026-03-29T03:00"),  # left out: an hour later
        (BERLIN, "2026-03-29T02:30", "2026-03-29T01:30", "2026-03-29T03:30"),
        (BERLIN, "2026-03-29T03:00", "2026-03-29T01:00", "2026-03-29T03:00"),
        (BERLIN, "2026-10-25T02:30", "2026-10-25T00:30", "2026-10-25T02:30"),  # twice: the first
        (BERLIN, "2026-10-25T03:00", "2026-10-25T02:00", "2026-10-25T03:00"),
        (HOWE, "2026-10-04T02:10", "2026-10-03T15:40", "2026-10-04T02:40"),  # moved by half an hour
        (HOWE, "2026-04-05T01:45", "2026-04-04T14:45", "2026-04-05T01:45"),
        (APIA, "2011-12-30T10:00", "2011-12-30T20:00", "2011-12-31T10:00"),  # a day that was left out
        ("Pacific/Kwajalein", "1993-08-21T10:00", "1993-08-21T22:00", "1993-08-22T10:00"),
        ("Europe/London", "1941-05-04T02:30", "1941-05-04T01:30", "1941-05-04T03:30"),  # double summer time
        ("Europe/London", "1947-08-10T02:30", "1947-08-10T00:30", "1947-08-10T02:30"),
        ("Antarctica/Troll", "2026-03-29T02:00", "2026-03-29T02:00", "2026-03-29T04:00"),  # by two hours
        ("Asia/Kathmandu", "2026-01-01T00:00", "2025-12-31T18:15", "2026-01-01T00:00"),
        ("Africa/Monrovia", "1960-01-01T00:00", "1960-01-01T00:44:30", "1960-01-01T00:00"),  # of seconds
        ("UTC", "2026-02-28T23:59:59", "2026-02-28T23:59:59", "2026-02-28T23:59:59"),
    ],
)
def test_a_wall_time_is_an_instant(zone: str, wall: str, instant: str, shown: str) -> None:
    found = localtime.instant(datetime.fromisoformat(wall), zone)
    assert (found, found.tzinfo) == (utc(instant), UTC)
    assert localtime.wall(found, zone) == datetime.fromisoformat(shown)


def test_it_is_by_the_same_rule_whenever_and_wherever_a_clock_was_moved() -> None:
    count = 0
    for zone in ZONES:
        for at, before, after in moves(zone):
            first, last = sorted((before, after))
            begun, over = (at + first).replace(tzinfo=None), (at + last).replace(tzinfo=None)
            for wall in (begun, begun + (over - begun) / 2, over - SECOND):  # left out, or twice
                found = localtime.instant(wall, zone)
                assert found == (wall - before).replace(tzinfo=UTC), (zone, wall)
                assert localtime.wall(found, zone) == wall + max(after - before, timedelta()), (zone, wall)
            assert localtime.instant(begun - SECOND, zone) == (begun - SECOND - before).replace(tzinfo=UTC)
            assert localtime.instant(over, zone) == (over - after).replace(tzinfo=UTC)
            count += 1
    assert count > 10_000


def test_the_moment_at_which_a_clock_is_moved_is_found() -> None:
    for zone in ZONES:
        for at, _, _ in moves(zone):
            assert localtime.steady(zone, at - DAY, at + localtime.FAR - DAY) == at, zone
            assert localtime.steady(zone, at - SECOND / 2, at) == at, zone
            assert localtime.steady(zone, at - DAY, at - SECOND / 2) == at - SECOND / 2, zone
            assert localtime.steady(zone, at, at + DAY) == at + DAY, zone


@given(st.data())
def test_an_instant_is_found_again_by_what_the_clock_shows(data: st.DataObject) -> None:
    zone = data.draw(zones)
    at = data.draw(moments(zone))
    wall = localtime.wall(at, zone)
    assert (wall.tzinfo, wall.fold) == (None, 0)
    assert wall.replace(tzinfo=UTC) - at == offset(zone, at)
    first = localtime.instant(wall, zone)
    assert localtime.wall(first, zone) == wall
    assert first <= at  # of two, the first
    assert first == at or any(first < move.at <= at for move in moves(zone))


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../../etc/passwd", "Europe", "Europe/Ber\0lin", "ü"])
def test_a_zone_that_is_not_known_here_is_read_as_utc(zone: str) -> None:
    wall = datetime.fromisoformat("2026-07-01T09:00")
    assert localtime.instant(wall, zone) == wall.replace(tzinfo=UTC)
    assert localtime.wall(wall.replace(tzinfo=UTC), zone) == wall


@pytest.mark.parametrize(
    ("wall", "zone"), [("0001-01-01T08:59", "Asia/Tokyo"), ("9999-12-31T19:00", "America/Lima")]
)
def test_at_the_ends_of_the_calendar_there_is_no_instant(wall: str, zone: str) -> None:
    with pytest.raises(ValueError, match="no such time"):
        localtime.instant(datetime.fromisoformat(wall), zone)


# --- Times that are asked for ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("09:00", time(9)),
        ("00:00:00", time()),
        ("23:59:59", time(23, 59, 59)),
        ("2026-10-25T02:30", datetime.fromisoformat("2026-10-25T02:30:00")),
        ("2028-02-29T23:59:01", datetime.fromisoformat("2028-02-29T23:59:01")),
    ],
)
def test_a_local_time_is_read(text: str, parsed: time | datetime) -> None:
    assert localtime.parse_local(text) == parsed
    assert len(text) <= localtime.LENGTH


@pytest.mark.parametrize(
    "text",
    [
        "", "9:00", "09", "09:0", "0900", "09:00:0", "09:00:00.5", "09:00Z", "09:00+01:00", " 09:00",
        "09:00\n", "٠٩:٠٠", "24:00", "23:60", "23:59:60", "2026-10-25", "2026-10-25 02:30",
        "2026-10-25t02:30", "2026-02-29T09:00", "2026-13-01T09:00", "0000-01-01T00:00", "2026-10-25T24:00",
        "20261025T0230", "2026-W10-1T09:00", "2026-10-25T02:30:00Z", "02026-10-25T02:30", "tomorrow",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(This is not a time|There is no such time)"):
        localtime.parse_local(text)
    with pytest.raises(ValueError, match=r"^(This is not a time|There is no such time)"):
        localtime.due(text, BERLIN, utc("2026-05-05T12:00"))


def test_a_time_beyond_the_calendar_is_refused() -> None:
    with pytest.raises(ValueError, match="no such time"):
        localtime.due("9999-12-31T23:59", "America/Lima", utc("2026-05-05T12:00"))


@given(st.tuples(*(st.integers(0, most) for most in (13, 32, 25, 61, 61))))
def test_it_is_read_if_the_calendar_has_it(parts: tuple[int, int, int, int, int]) -> None:
    text = "2026-{:02}-{:02}T{:02}:{:02}:{:02}".format(*parts)
    try:
        expected = datetime(2026, *parts)  # noqa: DTZ001
    except ValueError:
        with pytest.raises(ValueError, match="no such time"):
            localtime.parse_local(text)
    else:
        assert localtime.parse_local(text) == expected


@pytest.mark.parametrize(
    ("zone", "now", "asked", "due"),
    [
        (BERLIN, "2026-05-05T12:00", "2026-05-04T09:00", "2026-05-04T07:00"),  # may be past
        (BERLIN, "2026-05-05T12:00", "2026-10-25T02:30", "2026-10-25T00:30"),
        (BERLIN, "2026-05-05T12:00", "14:30", "2026-05-05T12:30"),
        (BERLIN, "2026-05-05T12:00", "13:59", "2026-05-06T11:59"),
        (BERLIN, "2026-05-05T12:00", "14:00", "2026-05-05T12:00"),
        (BERLIN, "2026-05-05T12:00:59.900", "14:00", "2026-05-05T12:00:59.900"),  # it still shows it
        (BERLIN, "2026-05-05T12:01", "14:00", "2026-05-06T12:00"),
        (BERLIN, "2026-05-05T12:00:01", "14:00:00", "2026-05-06T12:00"),
        (BERLIN, "2026-05-05T12:00:00.900", "14:00:00", "2026-05-05T12:00:00.900"),
        (BERLIN, "2026-05-05T22:30", "00:15", "2026-05-06T22:15"),  # there it is the 6th already
        (BERLIN, "2026-03-29T00:59", "02:30", "2026-03-29T01:30"),  # left out
        (BERLIN, "2026-03-29T01:30:20", "02:30", "2026-03-29T01:30:20"),
        (BERLIN, "2026-03-29T01:31", "02:30", "2026-03-30T00:30"),
        (BERLIN, "2026-10-25T00:00", "02:30", "2026-10-25T00:30"),
        (BERLIN, "2026-10-25T00:45", "02:30", "2026-10-25T01:30"),  # soon the clock shows it again
        (BERLIN, "2026-10-25T01:31", "02:30", "2026-10-26T01:30"),
        (HOWE, "2026-10-03T15:00", "02:10", "2026-10-03T15:40"),
        (APIA, "2011-12-30T09:00", "22:30", "2011-12-31T08:30"),  # on the 29th at 23:00; the 30th never was
        (APIA, "2011-12-30T09:00", "23:30", "2011-12-30T09:30"),
        ("Pacific/Kiritimati", "2026-05-05T12:00", "00:00", "2026-05-06T10:00"),
        ("Etc/GMT+12", "2026-05-05T12:00", "23:59", "2026-05-06T11:59"),
    ],
)
def test_when_a_local_time_is_due(zone: str, now: str, asked: str, due: str) -> None:
    assert localtime.due(asked, zone, utc(now)) == utc(due)


@settings(max_examples=150)
@given(st.data())
def test_a_time_is_due_when_the_clock_shows_it_next(data: st.DataObject) -> None:
    zone = data.draw(zones)
    now = data.draw(moments(zone))
    asked = time(data.draw(st.integers(0, 23)), data.draw(st.integers(0, 59)))
    due = localtime.due(f"{asked:%H:%M}", zone, now)
    assert now <= due <= now + 2 * DAY
    if not _shows(asked, zone, due):
        assert any(_left_out(asked, move.at, move.before, move.after, due) for move in moves(zone))
    minutes = (now + MINUTE * count for count in range((due - now) // MINUTE))
    assert not any(_shows(asked, zone, one) for one in minutes)


def _shows(asked: time, zone: str, at: datetime) -> bool:
    return localtime.wall(at, zone).time().replace(second=0, microsecond=0) == asked


def _left_out(asked: time, at: datetime, before: timedelta, after: timedelta, due: datetime) -> bool:
    """Whether this is in the gap, and `due` what it is there with the offset before it."""
    meant = (due.replace(second=0, microsecond=0) + before).replace(tzinfo=None)
    return at <= due < at + (after - before) and meant.time() == asked


# --- Digests -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "now", "minutes", "found"),
    [
        (BERLIN, "2026-05-05T05:59:59", 480, "2026-05-05T06:00"),
        (BERLIN, "2026-05-05T06:00", 480, "2026-05-06T06:00"),  # later than now
        (BERLIN, "2026-05-05T23:00", 0, "2026-05-06T22:00"),
        (BERLIN, "2026-03-28T10:00", 480, "2026-03-29T06:00"),  # an hour less to wait
        (BERLIN, "2026-03-28T10:00", 150, "2026-03-29T01:30"),  # left out
        (BERLIN, "2026-03-29T01:30", 150, "2026-03-30T00:30"),
        (BERLIN, "2026-10-24T10:00", 150, "2026-10-25T00:30"),
        (
            BERLIN,
            "2026-10-25T00:30",
            150,
            "2026-10-26T01:30",
        ),  # not a second one in the hour that comes twice
        (HOWE, "2026-10-03T10:00", 130, "2026-10-03T15:40"),
        (APIA, "2011-12-29T18:00", 480, "2011-12-30T18:00"),  # on the 29th at 8; next is the 31st at 8
        (APIA, "2011-12-30T18:00", 480, "2011-12-31T18:00"),
    ],
)
def test_the_next_daily_digest(zone: str, now: str, minutes: int, found: str) -> None:
    assert localtime.next_daily(minutes, zone, utc(now)) == utc(found)


@pytest.mark.parametrize(
    ("zone", "now", "day", "found"),
    [
        (BERLIN, "2026-05-05T12:00", 0, "2026-05-11T06:00"),  # a Tuesday
        (BERLIN, "2026-05-05T05:00", 1, "2026-05-05T06:00"),
        (BERLIN, "2026-05-05T06:00", 1, "2026-05-12T06:00"),
        (BERLIN, "2026-03-23T08:00", 0, "2026-03-30T06:00"),  # a week less an hour
        (APIA, "2011-12-29T18:00", 4, "2011-12-30T18:00"),  # the Friday that was left out: on the Saturday
        (APIA, "2011-12-30T17:00", 4, "2011-12-30T18:00"),  # also when it is Saturday already
        (APIA, "2011-12-30T18:00", 4, "2012-01-05T18:00"),
    ],
)
def test_the_next_weekly_digest(zone: str, now: str, day: int, found: str) -> None:
    assert localtime.next_weekly(day, 480, zone, utc(now)) == utc(found)


@settings(max_examples=150)
@given(st.data())
def test_digests_come_later_than_now_and_at_the_time_asked_for(data: st.DataObject) -> None:
    zone = data.draw(zones)
    now, minutes = data.draw(moments(zone)), data.draw(st.integers(0, 1439))
    asked = time(*divmod(minutes, 60))
    found = localtime.next_daily(minutes, zone, now)
    assert now < found <= now + 2 * DAY
    assert _shows(asked, zone, found) or any(
        _left_out(asked, move.at, move.before, move.after, found) for move in moves(zone)
    )
    start = now.replace(second=0, microsecond=0) + MINUTE
    passed = (start + MINUTE * count for count in range((found - start) // MINUTE))
    again = [one for one in passed if _shows(asked, zone, one)]
    assert all(localtime.instant(localtime.wall(one, zone), zone) < one for one in again)  # its second time


@settings(max_examples=150)
@given(st.data())
def test_a_weekly_digest_is_the_daily_one_of_its_day(data: st.DataObject) -> None:
    zone = data.draw(zones)
    now, minutes, day = (
        data.draw(moments(zone)),
        data.draw(st.integers(0, 1439)),
        data.draw(st.integers(0, 6)),
    )
    found, one = localtime.next_weekly(day, minutes, zone, now), now
    for _ in range(9):
        one = localtime.next_daily(minutes, zone, one)
        if one == found:
            break
        assert localtime.wall(one, zone).weekday() != day
    assert one == found
    assert localtime.wall(found, zone).weekday() == day or any(
        move.at <= found < move.at + (move.after - move.before) for move in moves(zone)
    )
