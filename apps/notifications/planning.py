"""Audience × channels → targets, each queued, held or skipped, with a reason. Pure but for its ids."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.content.catalog import TypeRules
from apps.notifications.deciding import Asking, Decided, Place, decide
from apps.notifications.transitions import Planned
from apps.preferences import store, suppression
from apps.users import places as places_of
from apps.users.people import Person, Reach
from project import ids
from project.queues import lane_of

DEDUPE_WINDOW = 86_400  # seconds, of what has no type
Recipient = Person | Reach
Places = Mapping[tuple[int, str], Sequence[str]]  # addresses, by person and channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What planning needs to know of a notification."""

    notification_id: UUID
    organization_id: int
    channels: Sequence[str]
    all_channels: bool  # of these, those the person has an address for
    priority: str
    bulk: bool
    scheduled_at: datetime | None
    expires_at: datetime | None
    max_attempts: int
    type: TypeRules | None = None
    critical: bool = False  # goes out whatever people have chosen
    local_time: str = ""  # where each person is
    dedupe_key: str = ""
    accepted_at: datetime | None = None  # None: now

    @property
    def dedupe_window(self) -> int:
        """Seconds in which nobody is told of the same event again."""
        return self.type.dedupe_window if self.type else DEDUPE_WINDOW

    @property
    def told(self) -> Mapping[str, Any]:
        """Why it does not go to whom it tells nothing new, as a decision's detail."""
        return {"rule": "dedupe", "key": self.dedupe_key, "window": self.dedupe_window}

    @property
    def reach(self) -> Sequence[str]:
        """The channels by which somebody may get it."""
        return reach(self.channels, self.type)

    def asking(self, now: datetime) -> Asking:
        """What each of its targets is decided by."""
        return Asking(
            self.type,
            self.critical,
            self.scheduled_at,
            self.local_time,
            self.expires_at,
            self.accepted_at or now,
        )


def reach(channels: Sequence[str], type: TypeRules | None) -> Sequence[str]:
    """These channels, and those of the type's fallback chain."""
    return [*channels, *type.fallback] if type and type.fallback else channels


_NO_PLACES: Places = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What was looked up of the people a notification is for.

    places: theirs, as `apps.users.places` finds them. suppressed: what is, of their `addresses`. rules: what
    they want. told: who was told of the same event before.
    """

    places: Places = field(default_factory=dict)
    suppressed: suppression.Found = frozenset()
    rules: store.Found = store.NOBODY
    told: Collection[int] = ()


NOTHING_KNOWN = Known()


def plan(
    wish: Wish, people: Iterable[Recipient], now: datetime, known: Known = NOTHING_KNOWN
) -> list[Planned]:
    """One target per person, channel and address; where there is no address one that says so."""
    wanted = _wanted(wish.channels, people, known.places, all_channels=wish.all_channels)
    return targets(wish, wanted, now, known=known)


Wanted = tuple[Recipient, str, str]  # a person, a channel, and an address, which is empty where there is none


def targets(wish: Wish, wanted: Sequence[Wanted], now: datetime, *, known: Known) -> list[Planned]:
    """A target for each of these, as decided."""
    made, asking = ids.target_ids(len(wanted)), wish.asking(now)
    return [
        _target(wish, id, one, decide(asking, _place(wish, *one, known=known), now))
        for id, one in zip(made, wanted, strict=True)
    ]


def count(
    channels: Sequence[str],
    people: Iterable[Recipient],
    places: Places,
    *,
    all_channels: bool,
) -> int:
    """How many targets `plan` makes."""
    return len(_wanted(channels, people, places, all_channels=all_channels))


def most(recipients: int, channels: Iterable[str]) -> int:
    """How many targets so many people may have at most, if each has every place they may have."""
    return recipients * sum(map(places_of.most, channels))


def addresses(
    channels: Collection[str],
    people: Iterable[Recipient],
    places: Places = _NO_PLACES,
) -> set[tuple[str, str]]:
    """Where these people are reached by a provider: each (channel, address) that may be suppressed."""
    by_provider = [channel for channel in channels if channel != "in_app"]
    return {
        (channel, address)
        for person in people
        for channel in by_provider
        for address in addresses_of(channel, person, places)
    }


_ADDRESS: dict[str, Callable[[Recipient], str]] = {
    "in_app": lambda person: str(person.id),
    "email": lambda person: person.email,
    "sms": lambda person: person.phone,
}


def channels_for(
    channels: Sequence[str], person: Recipient, places: Places, *, all_channels: bool
) -> list[str]:
    """The channels this person gets targets for, whether they have an address there or not."""
    wanted = _wanted(channels, [person], places, all_channels=all_channels)
    return list(dict.fromkeys(channel for _, channel, _ in wanted))


def addresses_of(channel: str, person: Recipient, places: Places = _NO_PLACES) -> Sequence[str]:
    """Where the person is reached by this channel, their places in the order they were registered."""
    own = _ADDRESS.get(channel)
    if own is None:
        return places.get((person.id, channel), ())
    address = own(person)
    return (address,) if address else ()


def _wanted(
    channels: Sequence[str],
    people: Iterable[Recipient],
    places: Places,
    *,
    all_channels: bool,
) -> list[Wanted]:
    wanted: list[Wanted] = []
    for person in people:
        reached = [(channel, addresses_of(channel, person, places)) for channel in channels]
        if all_channels:
            reached = [one for one in reached if one[1]] or reached  # nowhere: each says so
        wanted += [(person, channel, address) for channel, found in reached for address in found or ("",)]
    return wanted


def _target(wish: Wish, id: UUID, one: Wanted, decided: Decided) -> Planned:
    person, channel, address = one
    return Planned(
        id=id,
        notification_id=wish.notification_id,
        organization_id=wish.organization_id,
        user_id=person.id,
        channel=channel,
        address=address,
        lane=lane_of(channel, wish.priority, bulk=wish.bulk),
        status=decided.status,
        reason=decided.reason,
        at=decided.at,
        detail=decided.detail,
        expires_at=wish.expires_at,
        attempts_allowed=wish.max_attempts,
    )


def _place(wish: Wish, person: Recipient, channel: str, address: str, *, known: Known) -> Place:
    suppressed = known.suppressed
    return Place(
        channel=channel,
        address=address,
        zone=person.timezone,
        rules=known.rules.of(person.id),
        spread=store.spread_of(person.id),
        is_active=person.is_active,
        suppressed=bool(suppressed) and suppression.holds(suppressed, wish.organization_id, channel, address),
        told=wish.told if person.id in known.told else None,
    )
