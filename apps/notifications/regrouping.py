"""What becomes of targets that were held: each by itself, then those of one person together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from apps.content import catalog
from apps.content.catalog import TypeRules
from apps.content.models import Overflow
from apps.notifications import caps, coalescing, digests, overflow
from apps.notifications.caps import Over, Use
from apps.notifications.coalescing import Waiting
from apps.notifications.deciding import Asking, Place, asked, decide
from apps.notifications.digests import Collected
from apps.notifications.statuses import Reason, Status
from apps.notifications.transitions import Planned
from apps.preferences import resolver, store
from apps.preferences.models import How
from apps.preferences.resolver import WAKING, Answer
from apps.preferences.store import Found

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
        """One that is gone is still what people have opted out of."""
        return self.types.get((one.organization_id, one.type), TypeRules(one.type)) if one.type else None


def fates(waiting: Sequence[Waiting], people: Mapping[int, Person], now: datetime) -> Fates:
    """What becomes of these now. In the caller's transaction digests are made and caps are charged."""
    rules = store.rules_of({one.user_id: one.organization_id for one in waiting if not one.critical})
    facts = _Facts(people=people, rules=rules, types=_types_of(waiting), now=now)
    alone = [(one, _alone(one, facts)) for one in waiting]
    found = Fates({one.id: fate for one, fate in alone if fate.status is not Status.QUEUED})
    _together(found, [one for one, fate in alone if fate.status is Status.QUEUED], facts)
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
    if decided.status is Status.HELD and one.collected:
        decided = decided._replace(reason=Reason.COLLECTED.value)  # it still goes out in one, only later
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
        collected=one.collected,
    )


def _together(found: Fates, going: Sequence[Waiting], facts: _Facts) -> None:
    """Of those with the same key one, of those that waited for a digest one for all, the others as is."""
    merged = coalescing.merged(going)
    found.of |= {id: _merged(into, Reason.REPLACED) for id, into in merged.items()}
    left = coalescing.without(going, merged)
    groups = coalescing.digests(one for one in left if one.collected)
    found.of |= {id: fate for group in groups for id, fate in _unwanted(group, facts).items()}
    wanted = [_collected(group, facts) for group in groups if group[0].id not in found.of]
    made = digests.make(wanted, facts.now)
    found.of |= {id: _merged(into.id, Reason.MERGED) for id, into in made.items()}
    found.lanes |= {into.lane for into in made.values()}
    alone = coalescing.without(left, found.of)
    over = _charge(alone, made.values(), facts)
    found.of |= {one.id: _goes(one, over, facts) for one in alone}


def _merged(into: UUID, reason: Reason) -> Fate:
    why = "digest" if reason is Reason.MERGED else "collapse_key"
    return Fate(Status.SKIPPED, reason.value, None, into, {"rule": "merge", "into": str(into), "why": why})


def _unwanted(group: Sequence[Waiting], facts: _Facts) -> dict[UUID, Fate]:
    """Their ends, if the person wants no digests by this channel."""
    place = _place(group[0], facts)
    verdict = _resolve(place, TypeRules(digests.SLUG), facts)
    if verdict.answer is not Answer.SKIP:
        return {}
    fate = Fate(Status.SKIPPED, verdict.reason, detail=verdict.detail)
    return dict.fromkeys((one.id for one in group), fate)


def _collected(group: Sequence[Waiting], facts: _Facts) -> Collected:
    """Weekly, if each of them waited for the weekly one."""
    weekly = all(_period(one, facts) == How.WEEKLY for one in group)
    return Collected(How.WEEKLY.value if weekly else How.DAILY.value, group)


def _period(one: Waiting, facts: _Facts) -> str | None:
    """Of the digest it would wait for, if it came now; None: for none, such as one that was over a cap."""
    place = _place(one, facts)._replace(collected=False)
    period: str | None = _resolve(place, facts.type_of(one), facts).detail.get("period")
    return period


def _resolve(place: Place, type: TypeRules | None, facts: _Facts) -> resolver.Verdict:
    return resolver.resolve(asked(type, place), place.rules, zone=place.zone, now=facts.now)


_Message = tuple[UUID, int, str]  # notification, person, channel: a person's phones are one message


def _message(one: Waiting | Planned) -> _Message:
    return one.notification_id, one.user_id, one.channel


def _charge(going: Iterable[Waiting], made: Iterable[Planned], facts: _Facts) -> dict[_Message, Over]:
    """What is over a cap; digests are charged, too."""
    uses = {_message(one): _use(one, None, facts) for one in made}
    uses |= {
        _message(one): _use(one, facts.type_of(one), facts)
        for one in going
        if not one.critical and one.channel in WAKING
    }
    answers = zip(uses, caps.charge(list(uses.values())), strict=True)
    return {message: over for message, over in answers if over is not None}


def _use(one: Waiting | Planned, type: TypeRules | None, facts: _Facts) -> Use:
    return caps.use(one.user_id, one.channel, type, facts.rules.of(one.user_id).cap_per_hour)


def _goes(one: Waiting, over: Mapping[_Message, Over], facts: _Facts) -> Fate:
    """Out; or, if it is one too many, into the next digest, or not at all: there is no other channel by now.

    What has waited for its digest goes out: it would wait for the next, and the next.
    """
    excess = over.get(_message(one))
    if excess is None or one.collected:
        return Fate(Status.QUEUED)
    type = facts.type_of(one)
    if type is None or type.overflow == Overflow.SKIP:
        detail = caps.detail(excess, Overflow.SKIP.value)
        return Fate(Status.SKIPPED, Reason.CAPPED.value, detail=detail)
    until = overflow.next_digest(one.user_id, facts.people[one.user_id].zone, facts.now, rules=facts.rules)
    until = until if one.expires_at is None else min(until, one.expires_at)
    detail = caps.detail(excess, Overflow.DIGEST.value)
    return Fate(Status.HELD, Reason.DIGEST.value, until, None, detail)
