"""When the clocks of a zone were moved: found by looking at them, for tests of arithmetic that must know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import strategies as st

ZONES = sorted(available_timezones())
FROM, TO = datetime(1990, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)
_STEP = timedelta(days=6)  # since 1990 no clock was moved twice in less than a week


class Move(NamedTuple):
    at: datetime  # UTC
    before: timedelta  # what the clock was ahead of UTC
    after: timedelta


def offset(zone: str, at: datetime) -> timedelta:
    ahead = at.astimezone(ZoneInfo(zone)).utcoffset()
    assert ahead is not None
    return ahead


@cache
def moves(zone: str) -> list[Move]:
    """All of them from `FROM` to `TO`."""
    found, place, at, before = [], ZoneInfo(zone), FROM, offset(zone, FROM)
    while at < TO:
        at += _STEP
        after = at.astimezone(place).utcoffset()
        assert after is not None
        if after != before:
            found.append(Move(_moment(zone, at - _STEP, at), before, after))
            before = after
    return found


def _moment(zone: str, low: datetime, high: datetime) -> datetime:
    before = offset(zone, low)
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // timedelta(seconds=2) * timedelta(seconds=1)
        low, high = (middle, high) if offset(zone, middle) == before else (low, middle)
    return high


zones = st.one_of(
    st.sampled_from(ZONES),
    st.sampled_from(
        ["Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Cairo", "Pacific/Kwajalein"]
    ),
)


@st.composite
def moments(draw: st.DrawFn, zone: str) -> datetime:
    """An instant, often one near which the clocks there are moved."""
    found = moves(zone)
    if draw(st.booleans()) and found:
        near = draw(st.sampled_from(found)).at
        return near + timedelta(seconds=draw(st.integers(-129_600, 129_600)))
    return FROM + draw(st.timedeltas(timedelta(days=30), TO - FROM - timedelta(days=30)))
