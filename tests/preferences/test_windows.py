"""When windows are open together: compared, minute by minute, with what one would say by the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.preferences import legal, windows
from apps.preferences.rules import Window
from apps.preferences.windows import Constraint, ever_open
from tests.preferences.clocks import moments, zones
from tests.preferences.weeks import holds, opened, several, when

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("hours", "quiet", "ever"),
    [
        ((), (), True),
        (("00:00–24:00",), (), True),
        ((), ("00:00–24:00",), False),
        ((), ("09:00–09:00",), False),
        ((), ("00:00–24:00 mon,tue,wed,thu,fri,sat",), True),
        ((), ("00:00–23:59",), True),
        ((), ("07:00–22:00", "22:00–07:00"), False),
        ((), ("07:00–22:00", "22:01–07:00"), True),
        (("10:00–11:00",), ("10:00–11:00",), False),
        (("10:00–11:00",), ("10:00–10:59",), True),
        (("22:00–23:00 sun", "01:00–02:00 mon"), ("21:00–03:00 sun",), False),
        (("22:00–23:00 sun", "01:00–04:00 mon"), ("21:00–03:00 sun",), True),
    ],
)
def test_whether_a_week_has_a_minute_for_it(
    hours: tuple[str, ...], quiet: tuple[str, ...], ever: bool
) -> None:
    rules = when(hours=hours, quiet=quiet)
    assert ever_open(rules.hours, rules.quiet) is ever
    quiet_times = Constraint("quiet_hours", rules.quiet, False, "UTC", "person")
    working = [Constraint("outside_hours", rules.hours, True, "UTC", "person")] if hours else []
    assert (windows.opening([quiet_times, *working], datetime(2026, 5, 5, tzinfo=UTC)) is not None) is ever


def test_hours_on_no_day_never_open() -> None:
    assert not ever_open((Window(frozenset(), 540, 600),), ())


@settings(max_examples=120)
@given(st.data())
def test_it_opens_as_soon_as_all_are_open_and_stays_so_until_its_end(data: st.DataObject) -> None:
    zone, other = data.draw(zones), data.draw(zones)
    now = data.draw(moments(zone))
    rules = [
        Constraint("quiet_hours", data.draw(several), False, zone, "person"),
        Constraint("outside_hours", data.draw(several.filter(bool)), True, zone, "person"),
        Constraint("legal_hours", legal.HOURS, True, other, "law"),
    ]
    rules = data.draw(st.lists(st.sampled_from(rules), min_size=1, unique=True))
    found = windows.opening(rules, now)
    minutes = [now, *_minutes(now, found.start if found else now + windows.HORIZON)]
    assert not any(opened(rules, one) for one in minutes if not found or one < found.start)
    if found:
        assert found.start >= now
        assert all(opened(rules, one) for one in [found.start, *_minutes(found.start, found.end)])
        assert found.end == found.start + DAY or not opened(rules, found.end)


def _minutes(start: datetime, end: datetime) -> list[datetime]:
    """Every minute that begins between them."""
    first = start.replace(second=0, microsecond=0) + MINUTE
    return [first + MINUTE * count for count in range(-((first - end) // MINUTE))]


@given(st.data())
def test_each_constraint_is_open_when_one_would_say_so(data: st.DataObject) -> None:
    zone = data.draw(zones)
    at, inside = data.draw(moments(zone)), data.draw(st.booleans())
    rule = Constraint("quiet_hours", data.draw(several), inside, zone, "person")
    assert windows.is_open(rule, at) is opened([rule], at)


@given(several, several)
def test_a_week_has_a_minute_for_it_if_one_can_be_found(
    hours: tuple[Window, ...], quiet: tuple[Window, ...]
) -> None:
    monday = datetime.fromisoformat("2026-05-04T00:00")
    week = [monday + MINUTE * count for count in range(7 * 1440)]
    found = any(
        (not hours or any(holds(one, at) for one in hours)) and not any(holds(one, at) for one in quiet)
        for at in week
    )
    assert ever_open(hours, quiet) is found
