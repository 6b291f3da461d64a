"""RRULEs: RFC 5545, section 3.3.10, less SECONDLY and BYWEEKNO. Pure.

A rule is walked period by period (a year, a month, a week, a day), so it costs what its days cost.
"""

from __future__ import annotations

import re
from calendar import isleap, monthrange
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import islice
from typing import NamedTuple

LENGTH = 1_000  # of a rule's text
MOST = 1_000  # COUNT: they are counted from the start each time
_YEARS = 10
HORIZON = timedelta(days=3653)  # 10 years: how far ahead an occurrence is looked for; INTERVAL spans no more
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)

Numbers = tuple[int, ...]
_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")

# How many of each there are in those 10 years.
_FREQUENCIES = {
    "YEARLY": _YEARS, "MONTHLY": 12 * _YEARS, "WEEKLY": 52 * _YEARS, "DAILY": 365 * _YEARS,
    "HOURLY": 24 * 365 * _YEARS, "MINUTELY": 1440 * 365 * _YEARS,
}  # fmt: skip
_FREQUENT = ("HOURLY", "MINUTELY")

# The numbers each part may have; with a minus sign too, counted from the end, where the lowest is below zero.
_RANGES = {
    "BYMONTH": (1, 12), "BYMONTHDAY": (-31, 31), "BYYEARDAY": (-366, 366), "BYHOUR": (0, 23),
    "BYMINUTE": (0, 59), "BYSECOND": (0, 59), "BYSETPOS": (-366, 366),
}  # fmt: skip
_PARTS = {"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYDAY", *_RANGES}
# The RFC's table of what goes with which FREQ; BYSETPOS of what has one occurrence in each period is nothing.
_NOT_WITH = {
    "BYMONTHDAY": ("WEEKLY",),
    "BYYEARDAY": ("MONTHLY", "WEEKLY", "DAILY"),
    "BYSETPOS": _FREQUENT,
}
_BYDAY = re.compile(r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,7}", re.ASCII)
_UNTIL = re.compile(r"(\d{8})(?:T(\d{6})(Z?))?", re.ASCII)


class Weekday(NamedTuple):
    """A day of the week (0 is Monday); which one of the month or year, negative from its end; 0: each."""

    day: int
    nth: int


@dataclass(frozen=True, kw_only=True)
class RRule:
    """A rule as it was read, with what its start says for it. Empty lists restrict nothing."""

    start: datetime
    frequency: str
    interval: int = 1
    count: int | None = None
    until: datetime | None = None
    week_start: int = 0
    months: Numbers = ()
    month_days: Numbers = ()
    year_days: Numbers = ()
    weekdays: tuple[Weekday, ...] = ()
    hours: Numbers = ()
    minutes: Numbers = ()
    seconds: Numbers = ()
    positions: Numbers = ()

    def walls(self, after: datetime) -> Iterator[datetime]:
        """The wall times after this one, in order, for 10 years from it (or from the start) at most."""
        since = max(after, self.start - timedelta(seconds=1))
        counted = self._walls(self.start if self.count is not None else since, since + HORIZON)
        for wall in islice(counted, self.count):
            if self.until is not None and wall > self.until:
                return
            if wall > after:
                yield wall

    def times(self) -> tuple[timedelta, list[timedelta]]:
        """The times at which it may occur within a day, or within the hour or the interval of minutes."""
        past_hour = [timedelta(minutes=m, seconds=s) for m in self.minutes or (0,) for s in self.seconds]
        if self.frequency == "MINUTELY":
            return timedelta(minutes=self.interval), [timedelta(seconds=s) for s in self.seconds]
        if self.frequency == "HOURLY":
            return _HOUR, past_hour
        return _DAY, [timedelta(hours=hour) + past for hour in self.hours for past in past_hour]

    def _walls(self, since: datetime, end: datetime) -> Iterator[datetime]:
        """Those from the start on, of the period of `since` and those that begin before the end."""
        number, first = _NUMBERED.get(self.frequency, _NUMBERED["DAILY"])
        step = 1 if self.frequency in _FREQUENT else self.interval
        current = number(self.start.date(), self.week_start)
        current += (number(since.date(), self.week_start) - current) // step * step
        while (day := first(current, self.week_start)) <= end.date():
            days = [d for d in _days(day, first(current + 1, self.week_start)) if self._on(d)]
            yield from (wall for wall in self._of_period(days) if self.start <= wall <= end)
            current += step

    def _of_period(self, days: list[date]) -> Iterator[datetime]:
        """The wall times on the days of one period."""
        if self.positions:
            times = self._times_on(self.start.date())
            total = len(days) * len(times)
            places = {place - 1 if place > 0 else total + place for place in self.positions}
            for place in sorted(place for place in places if 0 <= place < total):
                yield datetime.combine(days[place // len(times)], times[place % len(times)])
            return
        for day in days:
            yield from (datetime.combine(day, at) for at in self._times_on(day))

    def _times_on(self, day: date) -> list[time]:
        """The times of one of its days."""
        if self.frequency == "MINUTELY":
            turns = self._turns(day, self.start.hour * 60 + self.start.minute, 1440)
            clock = [(m // 60, m % 60) for m in turns if _among(m // 60, self.hours)]
            return [time(h, m, s) for h, m in clock if _among(m, self.minutes) for s in self.seconds]
        hours: Iterable[int] = self.hours
        if self.frequency == "HOURLY":
            hours = [h for h in self._turns(day, self.start.hour, 24) if _among(h, self.hours)]
        return [time(h, m, s) for h in hours for m in self.minutes for s in self.seconds]

    def _turns(self, day: date, begun: int, per_day: int) -> range:
        """The hours or minutes of the day whose turn it is; begun: the first of all, on the first day."""
        first = (begun - (day - self.start.date()).days * per_day) % self.interval
        return range(first, per_day, self.interval)

    def _on(self, day: date) -> bool:
        """Whether it may occur on this day of a period."""
        return (
            _among(day.month, self.months)
            and (not self.month_days or _either(day.day, _month_length(day), self.month_days))
            and (not self.year_days or _either(day.timetuple().tm_yday, _year_length(day), self.year_days))
            and (not self.weekdays or self._on_weekday(day))
        )

    def _on_weekday(self, day: date) -> bool:
        """By its BYDAY; the nth is of the month in a monthly rule and in a yearly one with BYMONTH."""
        of_day = [nth for weekday, nth in self.weekdays if weekday == day.weekday()]
        if not of_day or 0 in of_day:
            return bool(of_day)
        if self.frequency == "MONTHLY" or self.months:
            index, length = day.day, _month_length(day)
        else:
            index, length = day.timetuple().tm_yday, _year_length(day)
        return (index + 6) // 7 in of_day or -((length - index) // 7 + 1) in of_day


# Per frequency the number of a day's period, and the first day of a period; both take the first day of weeks.
_NUMBERED: Mapping[str, tuple[Callable[[date, int], int], Callable[[int, int], date]]] = {
    "YEARLY": (lambda day, _: day.year, lambda n, _: date(n, 1, 1)),
    "MONTHLY": (lambda day, _: day.year * 12 + day.month - 1, lambda n, _: date(n // 12, n % 12 + 1, 1)),
    "WEEKLY": (
        lambda day, week_start: (day.toordinal() - 1 - week_start) // 7,  # the first day of all was a Monday
        lambda n, week_start: date.fromordinal(n * 7 + 1 + week_start),
    ),
    "DAILY": (lambda day, _: day.toordinal(), lambda n, _: date.fromordinal(n)),
}


def _days(first: date, end: date) -> Iterator[date]:
    return (date.fromordinal(n) for n in range(first.toordinal(), end.toordinal()))


def _among(number: int, numbers: Numbers) -> bool:
    return not numbers or number in numbers


def _either(index: int, length: int, numbers: Numbers) -> bool:
    """Whether it is among them, counted from the beginning or (negative) from the end."""
    return index in numbers or index - length - 1 in numbers


def _month_length(day: date) -> int:
    return monthrange(day.year, day.month)[1]


def _year_length(day: date) -> int:
    return 366 if isleap(day.year) else 365


# --- Reading ---------------------------------------------------------------------------------------------


def read(text: str, start: datetime, zone: tzinfo) -> RRule:
    """The rule, begun at this wall time; an UNTIL in UTC is taken to the zone.

    Raises ValueError with a text for the person who wrote it.
    """
    parts = _split(text)
    frequency = parts.get("FREQ", "")
    if frequency not in _FREQUENCIES:
        raise ValueError(f"FREQ must be one of {', '.join(_FREQUENCIES)}.")
    for name, others in _NOT_WITH.items():
        if name in parts and frequency in others:
            raise ValueError(f"{name} does not go with FREQ={frequency}.")
    if "COUNT" in parts and "UNTIL" in parts:
        raise ValueError("Give COUNT or UNTIL, not both.")
    return RRule(
        start=start,
        frequency=frequency,
        interval=_one(parts, "INTERVAL", _FREQUENCIES[frequency]) or 1,
        count=_one(parts, "COUNT", MOST),
        until=_until(parts["UNTIL"], zone) if "UNTIL" in parts else None,
        week_start=_week_start(parts.get("WKST", "MO")),
        **_filters(parts, start),
        weekdays=_weekdays(parts, frequency, start),
        **_clock(parts, frequency, start),
        positions=_positions(parts),
    )


def _split(text: str) -> dict[str, str]:
    """Its parts by name, in capitals."""
    if len(text) > LENGTH:
        raise ValueError(f"A rule has {LENGTH} characters at most.")
    parts: dict[str, str] = {}
    for part in text.upper().removeprefix("RRULE:").split(";"):
        name, equals, value = part.partition("=")
        if name not in _PARTS or not equals:
            raise ValueError(
                "There is a part that is none, or not taken: " + ", ".join(sorted(_PARTS)) + " are."
            )
        if name in parts:
            raise ValueError(f"{name} is given twice.")
        parts[name] = value
    return parts


def _one(parts: Mapping[str, str], name: str, most: int) -> int | None:
    if name not in parts:
        return None
    (number,) = _numbers(name, parts[name], 1, most, at_most=1)
    return number


def _numbers(name: str, text: str, least: int, most: int, *, at_most: int = LENGTH) -> Numbers:
    """The numbers of a part, in order and each once; 0 is none where they may be negative."""
    texts = text.split(",")
    well = len(texts) <= at_most and all(
        _NUMBER.fullmatch(one) and least <= int(one) <= most and (least >= 0 or int(one) != 0)
        for one in texts
    )
    if not well:
        raise ValueError(f"{name} takes {least} to {most}{', not 0' if least < 0 else ''}.")
    return tuple(sorted({int(one) for one in texts}))


def _positions(parts: Mapping[str, str]) -> Numbers:
    if "BYSETPOS" not in parts:
        return ()
    if not any(name.startswith("BY") and name != "BYSETPOS" for name in parts):
        raise ValueError("BYSETPOS needs another part that begins with BY.")
    return _of(parts, "BYSETPOS")


def _of(parts: Mapping[str, str], name: str) -> Numbers:
    return _numbers(name, parts[name], *_RANGES[name]) if name in parts else ()


def _filters(parts: Mapping[str, str], start: datetime) -> dict[str, Numbers]:
    """The days it is on; where no part says so, the start does."""
    months, days = _of(parts, "BYMONTH"), _of(parts, "BYMONTHDAY")
    if not {"BYMONTHDAY", "BYYEARDAY", "BYDAY"} & parts.keys() and parts["FREQ"] in ("YEARLY", "MONTHLY"):
        days = (start.day,)
        if parts["FREQ"] == "YEARLY":
            months = months or (start.month,)
    return {"months": months, "month_days": days, "year_days": _of(parts, "BYYEARDAY")}


def _clock(parts: Mapping[str, str], frequency: str, start: datetime) -> dict[str, Numbers]:
    """The times of day it is at; where no part says so, the start does, but for what the frequency steps."""
    hours, minutes = _of(parts, "BYHOUR"), _of(parts, "BYMINUTE")
    return {
        "hours": hours or (() if frequency in _FREQUENT else (start.hour,)),
        "minutes": minutes or (() if frequency == "MINUTELY" else (start.minute,)),
        "seconds": _of(parts, "BYSECOND") or (start.second,),
    }


def _weekdays(parts: Mapping[str, str], frequency: str, start: datetime) -> tuple[Weekday, ...]:
    if "BYDAY" not in parts:
        return (Weekday(start.weekday(), 0),) if frequency == "WEEKLY" else ()
    found = [_BYDAY.fullmatch(one) for one in parts["BYDAY"].split(",")]
    if not all(one and _is_nth(one[1], frequency) for one in found):
        raise ValueError("BYDAY takes MO to SU; with FREQ=MONTHLY or YEARLY also such as 1MO or -1FR.")
    return tuple({Weekday(_WEEKDAYS.index(one[2]), int(one[1] or 0)) for one in found if one})


def _is_nth(text: str | None, frequency: str) -> bool:
    """Whether this may stand before a weekday."""
    return text is None or (frequency in ("YEARLY", "MONTHLY") and 1 <= abs(int(text)) <= 53)


def _week_start(text: str) -> int:
    if text not in _WEEKDAYS:
        raise ValueError(f"WKST takes {', '.join(_WEEKDAYS)}.")
    return _WEEKDAYS.index(text)


def _until(text: str, zone: tzinfo) -> datetime:
    """A whole date, a wall time, or a moment in UTC, as a wall time."""
    form = _UNTIL.fullmatch(text)
    try:
        if form is None:
            raise ValueError(text)
        until = datetime.fromisoformat(f"{form[1]}T{form[2] or '235959'}")
        return until.replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None) if form[3] else until
    except (ValueError, OverflowError):
        raise ValueError("UNTIL takes 20271231, 20271231T090000 or 20271231T080000Z.") from None
