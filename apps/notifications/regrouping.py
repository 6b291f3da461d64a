"""What becomes of targets that were held: each by itself, then those of one person together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from apps.content import catalog
from apps.content.catalog import TypeRules
from apps.content.models import Overflow
from apps.notifications import caps, coalescing, digests
from apps.notifications.caps import Over, Use
from apps.notifications.coalescing import Waiting
from apps.notifications.deciding import Asking, Place, decide
from apps.notifications.statuses import Reason, Status
from apps.preferences import localtime, store
from apps.preferences.resolver import WAKING
from apps.preferences.store import Found

OPENED = frozenset(  # reasons of holds that a person's wishes brought about
    {
        Reason.OUTSIDE_HOURS.value,
        Reason.QUIET_HOURS.value,
        Reason.LEGAL_HOURS.value,
        Reason.DIGEST.value,
        Reason.LOCAL_TIME.value,
    }
)
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Person(NamedTuple):
    """What is to be known of whoever waits. zone: an IANA name."""

    zone: str
    is_active: bool


class Fate(NamedTuple):
    """What becomes of one. until: of one held on. into: the target it goes out with."""

    status: Status
    reason: str = ""
    until: datetime | None = None
    into: UUID | None = None
    detail: Mapping[str, Any] = _NOTHING


@dataclass(slots=True)
class Fates:
    """What becomes of each, by its id; and the lanes of digests made of some."""

    of: dict[UUID, Fate] = field(default_factory=dict)
    lanes: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What was looked up to decide by. types: by organization and slug."""

    people: Mapping[int, Person]
    rules: Found
    types: Mapping[tuple[int, str], TypeRules]
    now: datetime

    def type_of(self, one: Waiting) -> TypeRules | None:
        return self.types.get((one.organization_id, one.type))


def fates(waiting: Sequence[Waiting], people: Mapping[int, Person], now: datetime) -> Fates:
    """What becomes of these now. In the caller's transaction digests are made and caps are charged."""
    rules = store.rules_of({one.user_id: one.organization_id for one in waiting if not one.critical})
    facts = _Facts(people=people, rules=rules, types=_types_of(waiting), now=now)
    alone = {one: _alone(one, facts) for one in waiting}
    found = Fates({one.id: fate for one, fate in alone.items() if fate.status is not Status.QUEUED})
    _together(found, [one for one, fate in alone.items() if fate.status is Status.QUEUED], facts)
    return found


def _types_of(waiting: Iterable[Waiting]) -> dict[tuple[int, str], TypeRules]:
    wanted: dict[int, set[str]] = {}
    for one in waiting:
        if one.type:
            wanted.setdefault(one.organization_id, set()).add(one.type)
    return {
        (organization_id, slug): type
        for organization_id, slugs in wanted.items()
        for slug, type in catalog.find(organization_id, types=slugs).types.items()
    }


def _alone(one: Waiting, facts: _Facts) -> Fate:
    if one.late:
        return Fate(Status.EXPIRED, Reason.EXPIRES_AT.value)
    decided = decide(_asking(one, facts), _place(one, facts), facts.now)
    if decided.status is Status.HELD and _is_digest(one):
        decided = decided._replace(reason=Reason.DIGEST.value)  # it still goes out in one, only later
    until = decided.at if decided.status is Status.HELD else None
    return Fate(decided.status, decided.reason, until, None, decided.detail)


def _asking(one: Waiting, facts: _Facts) -> Asking:
    return Asking(
        facts.type_of(one),
        one.critical,
        one.scheduled_at,
        one.local_time,
        one.expires_at,
        one.accepted_at,
    )


def _place(one: Waiting, facts: _Facts) -> Place:
    person = facts.people[one.user_id]
    return Place(
        channel=one.channel,
        address=one.address,
        zone=person.zone,
        rules=facts.rules.of(one.user_id),
        spread=store.spread_of(one.user_id),
        is_active=person.is_active,
        collected=_is_digest(one),
    )


def _is_digest(one: Waiting) -> bool:
    """Whether the time of the digest it waits for has come."""
    return one.due and one.reason == Reason.DIGEST


def _together(found: Fates, going: Sequence[Waiting], facts: _Facts) -> None:
    """Of those with the same key one, of those that waited for a digest one for all, the others as is."""
    merged = coalescing.merged(going)
    found.of |= {id: _merged(into, Reason.REPLACED) for id, into in merged.items()}
    left = coalescing.without(going, merged)
    made = digests.make(coalescing.digests(filter(_is_digest, left)), facts.now)
    found.of |= {id: _merged(into.id, Reason.MERGED) for id, into in made.items()}
    found.lanes |= {into.lane for into in made.values()}
    left = coalescing.without(left, made)
    over = _charge(left, facts)
    found.of |= {
        one.id: _over(one, excess, facts) if (excess := over.get(_message(one))) else _GOES for one in left
    }


_GOES = Fate(Status.QUEUED)


def _merged(into: UUID, reason: Reason) -> Fate:
    why = "digest" if reason is Reason.MERGED else "collapse_key"
    return Fate(Status.SKIPPED, reason.value, None, into, {"rule": "merge", "into": str(into), "why": why})


_Message = tuple[UUID, int, str]  # notification, person, channel: a person's phones are one message


def _message(one: Waiting) -> _Message:
    return one.notification_id, one.user_id, one.channel


def _charge(going: Iterable[Waiting], facts: _Facts) -> dict[_Message, Over]:
    """What is over a cap. One that has waited for its digest is not counted: it would wait for the next, and
    the next."""
    uses: dict[_Message, Use] = {}
    for one in going:
        if not one.critical and one.channel in WAKING and not _is_digest(one):
            per_hour = facts.rules.of(one.user_id).cap_per_hour
            uses[_message(one)] = caps.use(one.user_id, one.channel, facts.type_of(one), per_hour)
    answers = zip(uses, caps.charge(list(uses.values())), strict=True)
    return {message: over for message, over in answers if over is not None}


def _over(one: Waiting, over: Over, facts: _Facts) -> Fate:
    """Into the next digest, or not at all. There is no other channel to choose by now."""
    type = facts.type_of(one)
    if type is None or type.overflow == Overflow.SKIP:
        return Fate(Status.SKIPPED, Reason.CAPPED.value, detail=caps.detail(over, Overflow.SKIP.value))
    daily_at = facts.rules.of(one.user_id).daily_at
    at = localtime.next_daily(daily_at, facts.people[one.user_id].zone, facts.now)
    until = at + timedelta(seconds=store.spread_of(one.user_id))
    until = until if one.expires_at is None else min(until, one.expires_at)
    return Fate(Status.HELD, Reason.DIGEST.value, until, None, caps.detail(over, Overflow.DIGEST.value))
