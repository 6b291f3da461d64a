"""What a person fills in on the page of the unsubscribe link, and what it writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.utils.dateparse import parse_date

from apps.preferences.choices import Wanted
from apps.preferences.models import NOTE_LENGTH, How
from project import db

EMAIL = "email"
LONGEST_PAUSE = timedelta(days=365)

Scope = tuple[str, str]  # type (empty: every type), channel (empty: every channel)


def scopes(type: str) -> dict[str, Scope]:
    """What can be switched off by a link in a mail of this type, by the name the form has for it."""
    of_type = {"type_email": (type, EMAIL), "type": (type, "")} if type else {}
    return {**of_type, "email": ("", EMAIL), "everything": ("", "")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """The days until which a person can pause: by the calendar on their own wall."""

    zone: ZoneInfo
    first: date
    last: date

    @classmethod
    def of(cls, zone: ZoneInfo, now: datetime) -> Days:
        """From tomorrow on, for a year (365 days)."""
        today = now.astimezone(zone).date()
        return cls(zone=zone, first=today + timedelta(days=1), last=today + LONGEST_PAUSE)

    def begin(self, day: date) -> datetime:
        """When this day begins for the person, in UTC."""
        return datetime.combine(day, time(), self.zone).astimezone(UTC)


def read(given: Mapping[str, str], type: str, days: Days) -> tuple[Wanted | None, dict[str, str]]:
    """What is to be switched off, or what is wrong, by the name of the field: all of it at once."""
    scope = scopes(type).get(given.get("what", ""))
    until, reason = given.get("until", "").strip(), _reason(given)
    errors = {
        "what": "" if scope else "Choose what you do not want any more.",
        "until": _wrong_day(until, days),
        "reason": "" if len(reason) <= NOTE_LENGTH else f"Use {NOTE_LENGTH} characters at most.",
    }
    errors = {field: error for field, error in errors.items() if error}
    if errors or scope is None:
        return None, errors
    day = _day(until)
    begin = days.begin(day) if day else None
    return Wanted(*scope, How.OFF.value, begin, db.text(reason, NOTE_LENGTH)), {}


def _reason(given: Mapping[str, str]) -> str:
    """As it was typed: a browser sends two characters for the end of a line, and counts one."""
    return given.get("reason", "").replace("\r\n", "\n").strip()


def _day(text: str) -> date | None:
    try:
        return parse_date(text)
    except ValueError:  # such as 30 February
        return None


def _wrong_day(text: str, days: Days) -> str:
    if not text:
        return ""  # for good
    day = _day(text)
    if day is None:
        return "Write the date as year-month-day, such as 2026-12-31."
    if not days.first <= day <= days.last:
        return f"Choose a day from {days.first} to {days.last}."
    return ""
