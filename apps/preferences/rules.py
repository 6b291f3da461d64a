"""What a person's preferences come to, all levels taken together: what the resolver decides by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

MINUTES_A_DAY = 1_440


class Window(NamedTuple):
    """A part of each week by the clock on the person's wall: from `start` to `end`, which is not in it."""

    days: frozenset[int]  # on which it begins; 0 is Monday
    start: int  # minutes after midnight, 0 to 1439
    end: int  # 1 to 1440; not after `start`: on the next day


class Chosen(NamedTuple):
    """One choice and whose it is."""

    how: str  # of `apps.preferences.models.How`
    until: datetime | None = None  # UTC; from then on it does not count
    level: str = "person"  # or "organization", "system"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """A person's preferences, each field as the nearest level that says something has it.

    choices: by type (its slug, or "" for every one) and channel ("" for every one).
    """

    choices: Mapping[tuple[str, str], Chosen] = field(default_factory=dict)
    hours: tuple[Window, ...] = ()  # messages may come within any of these; none: at any time
    quiet: tuple[Window, ...] = ()  # and not within any of these
    hours_level: str = "system"  # whose hours and quiet times these are, for the explanation
    quiet_level: str = "system"
    daily_at: int = 480  # minutes after midnight
    weekly_day: int = 0  # Monday
    weekly_at: int = 480
    cap_per_hour: int | None = None  # messages by one channel


NO_RULES = Rules()
