"""The clock on a person's wall, and UTC: pure arithmetic over the IANA zones.

Clocks are moved, so a wall time may be missing or come twice. One rule for both (RFC 5545, section 3.3.5): a
time that does not exist is read with the offset before the gap (02:30 becomes 03:30, and a day that was left
out becomes the next one); of one that exists twice the first is meant.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

logger = logging.getLogger(__name__)

LENGTH = 19  # of the longest time that `parse_local` takes
FAR = timedelta(days=3)  # no clock has been moved twice so soon (Freetown in 1939: four days)

_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)
_SECOND = timedelta(seconds=1)
_LOCAL = re.compile(r"(?:([0-9]{4})-([0-9]{2})-([0-9]{2})T)?([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?", re.ASCII)


@lru_cache(1_024)
def _place(zone: str) -> ZoneInfo:
    """One that this machine's time zone data does not know, being older than the writer's, is read as UTC."""
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        logger.warning("time zone %s is not known here: read as UTC", zone)
        return ZoneInfo("UTC")


def instant(wall: datetime, zone: str) -> datetime:
    """UTC of what the clock there shows, by the rule above. wall: naive.

    Raises ValueError at the ends of the calendar, where UTC is in the year 0 or 10000.
    """
    try:
        return wall.replace(tzinfo=_place(zone), fold=0).astimezone(UTC)
    except OverflowError:
        raise ValueError("There is no such time.") from None


def wall(at: datetime, zone: str) -> datetime:
    """What the clock there shows at this instant; naive."""
    return at.astimezone(_place(zone)).replace(tzinfo=None, fold=0)


def steady(zone: str, at: datetime, then: datetime) -> datetime:
    """`then`, or the instant before it at which the clock there is moved. They are at most `FAR` apart."""
    offset = _offset(at, zone)
    if _offset(then, zone) == offset:
        return then
    low, high = int(at.timestamp()), int(then.timestamp())  # clocks are moved at whole seconds
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(_at(middle), zone) == offset else (low, middle)
    return _at(high)


def _offset(at: datetime, zone: str) -> timedelta | None:
    return at.astimezone(_place(zone)).utcoffset()


def _at(timestamp: int) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)


def parse_local(text: str) -> time | datetime:
    """A `time` of "HH:MM[:SS]", a naive `datetime` of "YYYY-MM-DDTHH:MM[:SS]".

    Raises ValueError for anything else, with a text for whoever sent it.
    """
    found = _LOCAL.fullmatch(text)
    if not found:
        raise ValueError("This is not a time as HH:MM or as YYYY-MM-DDTHH:MM, either with :SS or without.")
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
    try:
        moment = time(hour, minute, second)
        return datetime.combine(date(year, month, day), moment) if found[1] else moment
    except ValueError:
        raise ValueError("There is no such time.") from None


def due(local_time: str, zone: str, now: datetime) -> datetime:
    """UTC of a time asked for where the person is; `parse_local` says how it is written and what it raises.

    With a date: that time, which may be past. Without: the next time the clock there shows it, which is `now`
    while it does, to the minute or the second that was given.
    """
    asked = parse_local(local_time)
    if isinstance(asked, datetime):
        return instant(asked, zone)
    shown_for = _SECOND if local_time.count(":") == 2 else _MINUTE
    days = _days(zone, now, ahead=2)
    shown = (one for day in days for one in _both(datetime.combine(day, asked), zone))
    return max(now, min(one for one in shown if one + shown_for > now))


def _both(wall: datetime, zone: str) -> tuple[datetime, datetime]:
    """Of one that exists twice both instants, of any other the one instant twice."""
    first = instant(wall, zone)
    return first, max(first, wall.replace(tzinfo=_place(zone), fold=1).astimezone(UTC))


def next_daily(minutes: int, zone: str, now: datetime) -> datetime:
    """UTC of the next time, after now, that it is so many minutes past midnight there."""
    return _next(_days(zone, now, ahead=2), minutes, zone=zone, now=now)


def next_weekly(day: int, minutes: int, zone: str, now: datetime) -> datetime:
    """The same on one day of the week; 0 is Monday."""
    days = (one for one in _days(zone, now, ahead=8) if one.weekday() == day)
    return _next(days, minutes, zone=zone, now=now)


def _days(zone: str, now: datetime, *, ahead: int) -> Iterator[date]:
    """From yesterday on: where a date was left out or came twice, yesterday's time may be still to come."""
    today = wall(now, zone).date()
    return (today + _DAY * day for day in range(-1, ahead + 1))


def _next(days: Iterator[date], minutes: int, *, zone: str, now: datetime) -> datetime:
    moment = time(*divmod(minutes, 60))
    found = (instant(datetime.combine(day, moment), zone) for day in days)
    return min(one for one in found if one > now)
