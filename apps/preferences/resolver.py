"""May we, and when? One pure function over what a person has chosen. Its rules by table: docs/when.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from apps.content.models import Category
from apps.preferences import legal, localtime, windows
from apps.preferences.models import How
from apps.preferences.rules import Chosen, Rules
from apps.preferences.windows import Constraint, Opening

WAKING = frozenset({"email", "sms", "push", "chat"})  # channels by which a message comes to a person
DECIDED_ANEW = timedelta(days=1)  # after so long, where nothing opens within `windows.HORIZON`

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Asked(NamedTuple):
    """What is to be sent, as far as preferences care."""

    channel: str
    address: str  # normalised; of an SMS it tells where the phone is at home
    type: str = ""  # slug; empty: of no type
    category: str = "immediate"  # of `apps.content.models.Category`
    critical: bool = False
    collected: bool = False  # the time of its digest has come: it does not wait for another


class Answer(StrEnum):
    """What may be done with it."""

    SEND = "send"
    HOLD = "hold"
    SKIP = "skip"


class Verdict(NamedTuple):
    """What may be done, until when it waits (UTC, only of a hold), and why.

    reason: one of `apps.notifications.statuses.Reason`, by its value. detail: JSON for people who ask why:
    whose choice it was, which hours, in which time zone.
    """

    answer: Answer
    until: datetime | None = None
    reason: str = ""
    detail: Mapping[str, Any] = _NOTHING


SEND = Verdict(Answer.SEND)

_DIGESTS = (How.DAILY, How.WEEKLY)
_BY_ITS_TYPE = Chosen(How.DAILY.value, level="type")
_Keyed = tuple[tuple[str, str], Chosen]  # a choice with its type and channel


def resolve(asked: Asked, rules: Rules, *, zone: str, now: datetime, spread: float = 0.0) -> Verdict:
    """Whether this may be sent to the person now, must wait, or must not be sent. It never raises.

    zone: the person's, an IANA name. now: UTC. spread: seconds by which this person's holds are longer than
    they must be, so that not everybody's end at eight; they still end while what they wait for is open.
    """
    if asked.critical:
        return SEND
    choices = _counting(asked, rules.choices, now) if rules.choices else ()
    off = next((one for one in choices if one[1].how == How.OFF), None)
    if off:
        return _opted_out(*off)
    if asked.channel not in WAKING:
        return SEND
    digest = _digest(asked, choices)
    if digest:
        return _until_digest(digest, rules, zone=zone, now=now, spread=spread)
    constraints = _constraints(asked, rules, zone)
    closed = next((one for one in constraints if not windows.is_open(one, now)), None)
    return _until_open(constraints, closed, now=now, spread=spread) if closed else SEND


def _counting(asked: Asked, choices: Mapping[tuple[str, str], Chosen], now: datetime) -> Sequence[_Keyed]:
    """What has been chosen of this and is not over, the most specific first."""
    of_all = (("", asked.channel), ("", ""))
    keys = ((asked.type, asked.channel), (asked.type, ""), *of_all) if asked.type else of_all
    found = [(key, choices[key]) for key in keys if key in choices]
    return [(key, one) for key, one in found if one.until is None or one.until > now]


def _opted_out(key: tuple[str, str], chosen: Chosen) -> Verdict:
    type, channel = key
    until = chosen.until.isoformat() if chosen.until else None
    detail = {"rule": "choice", "type": type, "channel": channel, "level": chosen.level, "until": until}
    return Verdict(Answer.SKIP, None, "opted_out", detail)


def _digest(asked: Asked, choices: Sequence[_Keyed]) -> Chosen | None:
    """By whose choice it waits for which digest; None: it waits for none."""
    if asked.collected:
        return None
    if choices:
        nearest = choices[0][1]
        return nearest if nearest.how in _DIGESTS else None
    return _BY_ITS_TYPE if asked.category == Category.DIGEST else None


def _until_digest(chosen: Chosen, rules: Rules, *, zone: str, now: datetime, spread: float) -> Verdict:
    if chosen.how == How.WEEKLY:
        due = localtime.next_weekly(rules.weekly_day, rules.weekly_at, zone, now)
    else:
        due = localtime.next_daily(rules.daily_at, zone, now)
    detail = {"rule": "digest", "period": chosen.how, "zone": zone, "level": chosen.level}
    return Verdict(Answer.HOLD, due + timedelta(seconds=spread), "digest", detail)


def _constraints(asked: Asked, rules: Rules, zone: str) -> list[Constraint]:
    """On when it may come; the one that is named, if several are closed, is first."""
    found: list[Constraint] = []
    if asked.channel == "sms" and asked.category == Category.MARKETING:
        places = legal.zones(asked.address, zone)
        found += [Constraint("legal_hours", legal.HOURS, True, one, "law") for one in places]
    if rules.quiet:
        found.append(Constraint("quiet_hours", rules.quiet, False, zone, rules.quiet_level))
    if rules.hours:
        found.append(Constraint("outside_hours", rules.hours, True, zone, rules.hours_level))
    return found


def _until_open(
    constraints: Sequence[Constraint], closed: Constraint, *, now: datetime, spread: float
) -> Verdict:
    opening = windows.opening(constraints, now)
    detail = {
        "rule": closed.reason,
        "window": windows.closing(closed, now),
        "zone": closed.zone,
        "level": closed.level,
        "opens": opening.start.isoformat() if opening else None,
    }
    until = _spread(opening, spread) if opening else now + DECIDED_ANEW
    return Verdict(Answer.HOLD, until, closed.reason, detail)


def _spread(opening: Opening, spread: float) -> datetime:
    """At most half of the time it stays open goes by."""
    return opening.start + min(timedelta(seconds=spread), (opening.end - opening.start) / 2)
