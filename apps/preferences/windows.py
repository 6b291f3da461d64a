"""Windows of the week: when several constraints are open together, by the clocks on the walls.

A window holds by what the clock shows: in an hour that comes twice it holds both times, and of an hour that
is left out it has nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from apps.preferences import localtime
from apps.preferences.rules import MINUTES_A_DAY, Window

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HORIZON = timedelta(days=8)  # a week, and a day for a clock that is moved

_WEEK = 7 * MINUTES_A_DAY
_DAY = timedelta(days=1)
_CACHED = 4_096


class Constraint(NamedTuple):
    """One rule about when messages may come."""

    reason: str  # of a message that it holds
    windows: tuple[Window, ...]
    inside: bool  # messages may come within the windows; False: outside of them
    zone: str  # on whose clocks
    level: str  # whose rule it is


class Opening(NamedTuple):
    """A time in which nothing is closed. UTC."""

    start: datetime
    end: datetime  # not in it; not looked for beyond a day after its start


class _Timetable(NamedTuple):
    """All the rules of one place: when they are open there together."""

    zone: str
    edges: tuple[int, ...]  # minutes of the week at which they open and close, by turns; opening comes first


def is_open(constraint: Constraint, at: datetime) -> bool:
    """Whether it lets messages through at this instant."""
    shown = localtime.wall(at, constraint.zone)
    return _within(constraint.windows, _minute(shown)) is constraint.inside


def opening(constraints: Sequence[Constraint], now: datetime) -> Opening | None:
    """The first time, from now on, in which all are open; None: it does not begin within `HORIZON`."""
    zones = dict.fromkeys(one.zone for one in constraints)
    places = [[(one.windows, one.inside) for one in constraints if one.zone == zone] for zone in zones]
    return _opening(tuple(map(_Timetable, zones, map(_open_edges, map(tuple, places)))), now)


@lru_cache(_CACHED)  # a batch is decided at one instant, and many people have the same rules
def _opening(timetables: tuple[_Timetable, ...], now: datetime) -> Opening | None:
    at = now
    while at < now + HORIZON:
        closed = [until for lets, until in _states(timetables, at) if not lets]
        if not closed:
            return Opening(at, _end(timetables, at))
        at = max(closed)
    return None


def _end(timetables: tuple[_Timetable, ...], start: datetime) -> datetime:
    at = start
    while at < start + _DAY:
        states = _states(timetables, at)
        if not all(lets for lets, _ in states):
            return at
        at = min(until for _, until in states)
    return start + _DAY


def _states(timetables: Iterable[_Timetable], at: datetime) -> list[tuple[bool, datetime]]:
    return [_state(one, at) for one in timetables]


def _state(timetable: _Timetable, at: datetime) -> tuple[bool, datetime]:
    """Whether it is open, and until when that is sure: an edge, a moved clock, or as far as one sees."""
    zone, edges = timetable
    shown = localtime.wall(at, zone)
    minute = _minute(shown)
    place = bisect_right(edges, minute)
    ahead = timedelta(minutes=(*edges, _WEEK + min(edges, default=0))[place] - minute)
    begun = timedelta(seconds=shown.second, microseconds=shown.microsecond)
    return bool(place & 1), localtime.steady(zone, at, at + min(ahead - begun, localtime.FAR))


def _minute(shown: datetime) -> int:
    """Of the week, from Monday's midnight on."""
    return shown.weekday() * MINUTES_A_DAY + shown.hour * 60 + shown.minute


def _within(windows: tuple[Window, ...], minute: int) -> bool:
    return bool(bisect_right(_edges(windows), minute) & 1)


@lru_cache(_CACHED)
def _edges(windows: tuple[Window, ...]) -> tuple[int, ...]:
    """The minutes of the week at which one goes in and out of the windows, by turns; in comes first."""
    edges: list[int] = []
    for start, end in sorted(part for window in windows for part in _parts(window)):
        if edges and start <= edges[-1]:
            edges[-1] = max(edges[-1], end)
        else:
            edges += [start, end]
    return tuple(edges)


def _parts(window: Window) -> list[tuple[int, int]]:
    """From minute to minute of the week; what goes beyond Sunday's midnight is on Monday."""
    length = window.end - window.start + (0 if window.end > window.start else MINUTES_A_DAY)
    starts = [day * MINUTES_A_DAY + window.start for day in window.days]
    parts = [(start, min(start + length, _WEEK)) for start in starts]
    return parts + [(0, start + length - _WEEK) for start in starts if start + length > _WEEK]


@lru_cache(_CACHED)
def _open_edges(rules: tuple[tuple[tuple[Window, ...], bool], ...]) -> tuple[int, ...]:
    """Of windows, each to be inside or outside of: when all are as they have to be."""
    minutes = sorted({0, *(edge for windows, _ in rules for edge in _edges(windows))} - {_WEEK})
    states = [all(_within(windows, one) is inside for windows, inside in rules) for one in minutes]
    before = [False, *states]
    edges = [one for one, was, state in zip(minutes, before, states, strict=False) if was is not state]
    return (*edges, _WEEK) if states[-1] else tuple(edges)


def ever_open(hours: tuple[Window, ...], quiet: tuple[Window, ...]) -> bool:
    """Whether a week has a minute within the hours, if there are any, and outside of the quiet times."""
    return bool(_open_edges(((quiet, False), *(((hours, True),) if hours else ()))))


def closing(constraint: Constraint, at: datetime) -> str:
    """For a person: the windows by which it is closed at this instant, such as "22:00–07:00 mon,tue"."""
    minute = _minute(localtime.wall(at, constraint.zone))
    named = (one for one in constraint.windows if constraint.inside or _within((one,), minute))
    return "; ".join(_text(window) for window in named)


@lru_cache(_CACHED)
def _text(window: Window) -> str:
    """The days are left out if it is all of them."""
    times = "–".join(f"{minutes // 60:02}:{minutes % 60:02}" for minutes in (window.start, window.end))
    days = ",".join(DAYS[day] for day in sorted(window.days))
    return times if len(window.days) == len(DAYS) else f"{times} {days}".rstrip()
