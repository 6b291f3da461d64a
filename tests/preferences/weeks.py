"""Windows of the week as people would say them, and whether one is in them: for comparison."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from hypothesis import strategies as st

from apps.preferences import localtime
from apps.preferences.rules import Rules, Window
from apps.preferences.windows import DAYS, Constraint


def window(text: str) -> Window:
    """Of "22:00–07:00 mon,tue"; without days, of every day."""
    times, _, days = text.partition(" ")
    start, end = (int(one[:2]) * 60 + int(one[3:]) for one in times.split("–"))
    named = days.split(",") if days else DAYS
    return Window(frozenset(DAYS.index(day) for day in named), start, end)


def when(*, hours: Iterable[str] = (), quiet: Iterable[str] = ()) -> Rules:
    return Rules(
        hours=tuple(map(window, hours)), quiet=tuple(map(window, quiet)), hours_level="organization",
        quiet_level="person",
    )  # fmt: skip


week_windows = st.builds(
    Window,
    st.frozensets(st.integers(0, 6), min_size=1),
    st.one_of(st.integers(0, 1439), st.sampled_from([0, 60, 120, 150, 180, 1380])),
    st.one_of(st.integers(1, 1440), st.sampled_from([60, 120, 150, 180, 1440])),
)
several = st.lists(week_windows, max_size=3).map(tuple)


def holds(one: Window, shown: datetime) -> bool:
    """Whether it is within the window by what the clock shows: as one would say it, for comparison."""
    minute, day = shown.hour * 60 + shown.minute, shown.weekday()
    if one.start < one.end:
        return day in one.days and one.start <= minute < one.end
    return (day in one.days and minute >= one.start) or ((day - 1) % 7 in one.days and minute < one.end)


def opened(constraints: Iterable[Constraint], at: datetime) -> bool:
    return all(
        any(holds(one, localtime.wall(at, rule.zone)) for one in rule.windows) is rule.inside
        for rule in constraints
    )
