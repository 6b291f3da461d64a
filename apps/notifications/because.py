"""What a decision was made by, in words: one sentence for each shape of `TargetDecision.detail`.

Pure. A shape that is not known, or not whole, is told by the decision's reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from apps.notifications.statuses import Reason

Detail = Mapping[str, Any]
_MINUTES = "%Y-%m-%d %H:%M"


class Made(NamedTuple):
    """When a choice that still stands was made (UTC), and who said so: `source` of `preferences.Choice`."""

    at: datetime
    source: str


def because(detail: Detail, reason: str, *, channel: str, made: Made | None = None) -> str:
    """Why it was decided so, without a full stop; empty if nothing is known.

    reason: the decision's. channel: its target's. made: of the choice it was decided by.
    """
    rule = _RULES.get(str(detail.get("rule")))
    if rule is None:
        return label(reason)
    if made is not None:
        detail = {**detail, "made": made}
    return rule(detail, channel) + _instead(detail)


def _instead(detail: Detail) -> str:
    return f"; it goes in the place of {detail['instead_of']}" if detail.get("instead_of") else ""


def label(reason: str) -> str:
    """A reason in words: ours have some, a provider's code stands for itself."""
    return Reason(reason).label if reason in Reason.values else reason


def moment(at: datetime, zone: object = None) -> str:
    """A time in UTC to the minute, and what the clock shows in this IANA time zone, if it is one."""
    text = f"{at.astimezone(UTC):{_MINUTES}} UTC"
    local = _local(at, str(zone)) if zone and zone != "UTC" else None
    if local is None:
        return text
    same_day = local.date() == at.astimezone(UTC).date()
    return f"{text} ({local:{'%H:%M' if same_day else _MINUTES}} in {zone})"


def _local(at: datetime, zone: str) -> datetime | None:
    try:
        return at.astimezone(ZoneInfo(zone))
    except (KeyError, ValueError, OSError, OverflowError):  # no zone of this name; or past the year 9999
        return None


def _told(value: object) -> str:
    """A time as JSON has it, like `moment`; anything else as it is."""
    try:
        return moment(datetime.fromisoformat(str(value)))
    except ValueError:
        return str(value)


_WHOSE = {"person": "the person's", "organization": "the organization's", "system": "the system's"}


def _whose(detail: Detail) -> str:
    return _WHOSE.get(str(detail.get("level")), "the")


_SOURCES = {
    "person": "in the preferences",
    "service": "through a service",
    "link": "by a link in a message",
    "mail_client": "by a mail client",
    "admin": "by an administrator",
}


def _choice(detail: Detail, channel: str) -> str:
    what = detail.get("type") or "everything"
    by = f" by {detail['channel']}" if detail.get("channel") else ""
    until = f" until {_told(detail['until'])}" if detail.get("until") else ""
    if detail.get("level") != "person":
        return f"{_whose(detail)} defaults turn off {what}{by}{until}"
    made = detail.get("made")
    when = f" on {moment(made.at)} ({_SOURCES.get(made.source, made.source)})" if made else ""
    return f"the person turned off {what}{by}{until}{when}"


def _digest(detail: Detail, channel: str) -> str:
    digest = f"a {detail.get('period', 'later')} digest"
    if detail.get("level") == "person":
        return f"the person takes this in {digest}"
    if detail.get("level") == "type":
        return f"this type is collected into {digest}"
    return f"{_whose(detail)} defaults collect this into {digest}"


def _quiet(detail: Detail, channel: str) -> str:
    return f"{_whose(detail)} quiet hours {detail.get('window', '')}".strip()


def _hours(detail: Detail, channel: str) -> str:
    return f"messages may come only within {_whose(detail)} hours {detail.get('window', '')}".strip()


def _legal(detail: Detail, channel: str) -> str:
    return f"the law allows advertising by SMS only within {detail.get('window', 'certain hours')}"


def _dedupe(detail: Detail, channel: str) -> str:
    within = f" within {_span(detail['window'])}" if detail.get("window") else ""
    return f"the person was told of the same event ({detail.get('key', '?')}){within}"


_SPANS = ((86_400, "days"), (3_600, "hours"), (60, "minutes"))


def _span(seconds: object) -> str:
    whole = ((size, name) for size, name in _SPANS if isinstance(seconds, int) and seconds % size == 0)
    size, name = next(whole, (1, "seconds"))
    count = seconds // size if isinstance(seconds, int) else seconds
    return f"1 {name[:-1]}" if count == 1 else f"{count} {name}"


_CAPS = {
    "per_hour": "messages an hour",
    "type_per_hour": "messages of this type an hour",
    "type_per_day": "messages of this type a day",
}


def _cap(detail: Detail, channel: str) -> str:
    what = _CAPS.get(str(detail.get("cap")), "messages for now")
    again = f"; the next one fits {_told(detail['again_at'])}" if detail.get("again_at") else ""
    return f"at most {detail.get('limit', 'so many')} {what} by {channel}{again}{_overflow(detail, channel)}"


def _overflow(detail: Detail, channel: str) -> str:
    if detail.get("overflow") == "digest":
        return "; it goes into the next digest"
    if detail.get("overflow") != "fallback":
        return ""
    other = detail.get("channel")
    return f"; it goes by {other if other and other != channel else 'another channel'} instead"


def _merge(detail: Detail, channel: str) -> str:
    into = f" (target {detail['into']})" if detail.get("into") else ""
    if detail.get("why") == "collapse_key":
        return f"a newer message with the same collapse_key took its place{into}"
    return f"it goes out together with others{into}"


def _replanned(detail: Detail, channel: str) -> str:
    if detail.get("why") == "preferences":
        return "decided anew, for the person's preferences changed"
    return "decided anew, with everything that waited for the person"


def _fallback(detail: Detail, channel: str) -> str:
    other = detail.get("channel")
    return f"in the place of {other}" if other and other != channel else "in the place of another channel"


def _local_time(detail: Detail, channel: str) -> str:
    zone = f" ({detail['zone']})" if detail.get("zone") else ""
    return f"asked for {detail.get('local_time', 'a time')} where the person is{zone}"


_RULES: dict[str, Callable[[Detail, str], str]] = {
    "choice": _choice,  # type, channel, level, until
    "digest": _digest,  # period, zone, level
    **dict.fromkeys(("quiet", "quiet_hours"), _quiet),  # window: the closed ones, zone, level
    **dict.fromkeys(("hours", "outside_hours"), _hours),  # window: the open ones, zone, level
    **dict.fromkeys(("legal", "legal_hours"), _legal),  # window: the open ones, zone
    "dedupe": _dedupe,  # key, window: seconds
    "cap": _cap,  # cap: a field of `caps.Use`, limit, again_at, overflow: of `content.Overflow`, channel
    "merge": _merge,  # into: a target, why: digest, collapse_key
    "replanned": _replanned,  # why: preferences, opened
    "fallback": _fallback,  # channel: the one before
    "local_time": _local_time,  # local_time, zone
}
