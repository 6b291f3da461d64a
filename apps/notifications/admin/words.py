"""How the admin's pages say things."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from apps.notifications.statuses import AttemptOutcome, Status

_GOOD = {Status.SENT, Status.DELIVERED, AttemptOutcome.ACCEPTED}
_BAD = {Status.FAILED, Status.DEAD, AttemptOutcome.PERMANENT}
_OPEN = {Status.RETRYING, Status.UNKNOWN, AttemptOutcome.TEMPORARY, AttemptOutcome.UNKNOWN}


def tone(status: str) -> str:
    """The colour of a status or an outcome: good, bad, warn or quiet."""
    if status in _GOOD:
        return "good"
    return "bad" if status in _BAD else "warn" if status in _OPEN else "quiet"


def duration(start: datetime | None, end: datetime | None) -> str:
    """The time between two moments, such as 250 ms, 3.2 s or 2 h 5 min; empty if one is missing."""
    return spell(end - start) if start and end else ""


_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def spell(span: timedelta) -> str:
    """A duration in its two greatest units."""
    seconds = span.total_seconds()
    if abs(seconds) < 1:
        return f"{round(seconds * 1000)} ms"
    if abs(seconds) < 60:
        return f"{seconds:.1f} s"
    parts: list[tuple[int, str]] = []
    rest = round(abs(seconds))
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append((count, unit))
    text = " ".join(f"{count} {unit}" for count, unit in parts[:2] if count)
    return f"−{text}" if seconds < 0 else text


def short(id: object) -> str:
    """The end of an id, which tells rows apart: its beginning is the time."""
    return f"…{str(id)[-8:]}"


def moment(at: datetime | None) -> str:
    """A time in UTC to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if at else "–"


def masked(address: str) -> str:
    """Enough of an address to recognise it, not enough to use it."""
    name, at, domain = address.rpartition("@")
    if at:
        return f"{name[:1]}•••@{domain}"
    return f"{address[:3]}•••{address[-2:]}" if len(address) > 7 else "•••" if address else ""


def counts(summary: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """A summary's statuses that any target has: name, how many, tone. `in_progress` first."""
    names = ("in_progress", *(status.value for status in Status if status.value in summary))
    return [(name.replace("_", " "), summary[name], tone(name)) for name in names if summary[name]]
