"""When something recurs: an RRULE or a cron line, over wall times, in a time zone. Pure.

Rules are read strictly and looked through 10 years ahead at most, so that a hostile one costs milliseconds.
That is why RRULEs are not left to python-dateutil, which the tests compare with: it counts from the start of
the rule each time, and looks for its next occurrence as far as the year 9999.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import dropwhile, pairwise, takewhile
from typing import NamedTuple, Protocol

from cronsim import CronSim, CronSimError

from apps.notifications.rrule import HORIZON

FIRST_ON_EARTH = timezone(timedelta(hours=14))  # no zone is further ahead
CRON_LENGTH = 300
_CRON_FIELDS = 5  # with a sixth, cronsim takes the first for seconds
_CLOSEST = timedelta(minutes=5)  # between two occurrences
_LONGEST_GAP = timedelta(hours=25)  # no clock was ever put forward by more than a day
_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)
_END = datetime.max.replace(tzinfo=UTC)


class TooOften(ValueError):
    """A rule whose occurrences come more often than we make them."""


class Rule(Protocol):
    """A rule that can be walked along."""

    def walls(self, after: datetime) -> Iterator[datetime]:
        """The wall times after this one, in order, for 10 years from it (or from the start) at most."""

    def times(self) -> tuple[timedelta, list[timedelta]]:
        """A span that repeats, such as a day, and when within it the rule may occur."""


@dataclass(frozen=True)
class Cron:
    """Minute, hour, day of the month, month, day of the week; of two restricted days either will do."""

    text: str
    start: datetime

    @classmethod
    def read(cls, text: str, start: datetime) -> Cron:
        """Raises ValueError with a text for the person who wrote it."""
        if len(text) > CRON_LENGTH or len(text.split()) != _CRON_FIELDS:
            raise ValueError(f"A cron line has five fields, and {CRON_LENGTH} characters at most.")
        try:
            CronSim(text, start)
        except CronSimError as error:
            raise ValueError(f"{error}.") from None
        return cls(text, start)

    def walls(self, after: datetime) -> Iterator[datetime]:
        """The wall times after this one, in order, for 10 years from it (or from the start) at most."""
        since = max(after, self.start - _SECOND)
        return takewhile(lambda wall: wall <= since + HORIZON, CronSim(self.text, since))

    def times(self) -> tuple[timedelta, list[timedelta]]:
        """A day, and the times of a day."""
        fields = CronSim(self.text, self.start)
        return _DAY, [timedelta(hours=h, minutes=m) for h in fields.hours for m in fields.minutes]


def check_distance(rule: Rule) -> None:
    """Raises TooOften for a rule whose occurrences come more often than we make them."""
    span, times = rule.times()
    around = sorted(set(times))
    if any(later - earlier < _CLOSEST for earlier, later in pairwise([*around, around[0] + span])):
        raise TooOften("Occurrences must be at least 5 minutes apart, also over midnight.")


class Occurrence(NamedTuple):
    """One occurrence: when it is, UTC, and its wall time as the rule says it."""

    at: datetime
    wall: datetime


@dataclass(frozen=True, kw_only=True)
class Recurrence:
    """A rule in a time zone, to an end (a wall time, included), less what is excluded."""

    rule: Rule
    zone: tzinfo
    end: datetime | None = None
    excluded: frozenset[str] = frozenset()  # ISO 8601: whole dates, exact wall times

    def occurrences(self, after: datetime) -> Iterator[datetime]:
        """The wall times after this one, in order, for 10 years from it (or from the start) at most."""
        for wall in self.rule.walls(after):
            if self.end is not None and wall > self.end:
                return
            if self.excluded.isdisjoint((wall.isoformat(), wall.date().isoformat())):
                yield wall

    def next(self, after: datetime) -> datetime | None:
        """The first wall time after this one; None if there is none within 10 years."""
        return next(self.occurrences(after), None)

    def since(self, after: datetime) -> Iterator[Occurrence]:
        """The occurrences after this moment, in order of time, no two at once."""
        local = after.astimezone(self.zone).replace(tzinfo=None)
        found = in_zone(self.occurrences(local - _LONGEST_GAP), self.zone)
        return dropwhile(lambda one: one.at <= after, found)


def in_zone(walls: Iterable[datetime], zone: tzinfo) -> Iterator[Occurrence]:
    """These wall times, which are in order, as moments, in order, no two at once.

    RFC 5545, section 3.3.5: one that does not exist is read with the offset before the gap (02:30 is then
    03:30), one that exists twice is the first. So where a clock is put forward, a time within the gap comes
    after some that exist; if it falls on one of them, the two are one occurrence.
    """
    waiting: list[Occurrence] = []
    for wall in walls:
        at = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
        heapq.heappush(waiting, Occurrence(at, wall))
        if at.astimezone(zone).replace(tzinfo=None) == wall:  # it exists: nothing that follows is earlier
            yield from _until(at, waiting)
    yield from _until(_END, waiting)


def _until(end: datetime, waiting: list[Occurrence]) -> Iterator[Occurrence]:
    last = None
    while waiting and waiting[0].at <= end:
        one = heapq.heappop(waiting)
        if one.at != last:
            yield one
        last = one.at
