"""Audience × channels → targets, each queued, held or skipped, with a reason. Pure but for its ids."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from apps.notifications.statuses import Reason, Status
from apps.notifications.transitions import Planned
from apps.preferences import suppression
from apps.users import places as places_of
from apps.users.people import Person, Reach
from project import ids
from project.queues import lane_of

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


_NO_PLACES: Places = {}


def plan(
    wish: Wish,
    people: Iterable[Recipient],
    now: datetime,
    *,
    suppressed: suppression.Found = frozenset(),
    places: Places = _NO_PLACES,
) -> list[Planned]:
    """One target per person, channel and address; where there is no address one that says so.

    places: those of these people, as `apps.users.places` finds them. suppressed: what is, of their
    `addresses`.
    """
    wanted = _wanted(wish.channels, people, places, all_channels=wish.all_channels)
    made = ids.target_ids(len(wanted))
    return [_target(wish, id, one, now, suppressed=suppressed) for id, one in zip(made, wanted, strict=True)]


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
) -> list[tuple[Recipient, str, str]]:
    """Person, channel and address of each target; the address is empty where there is none."""
    wanted: list[tuple[Recipient, str, str]] = []
    for person in people:
        reached = [(channel, addresses_of(channel, person, places)) for channel in channels]
        if all_channels:
            reached = [one for one in reached if one[1]] or reached  # nowhere: each says so
        wanted += [(person, channel, address) for channel, found in reached for address in found or ("",)]
    return wanted


def _target(
    wish: Wish,
    id: UUID,
    wanted: tuple[Recipient, str, str],
    now: datetime,
    *,
    suppressed: suppression.Found,
) -> Planned:
    person, channel, address = wanted
    stopped = bool(suppressed) and suppression.holds(suppressed, wish.organization_id, channel, address)
    status, reason, at = _decision(wish, person, address, now, suppressed=stopped)
    return Planned(
        id=id,
        notification_id=wish.notification_id,
        organization_id=wish.organization_id,
        user_id=person.id,
        channel=channel,
        address=address,
        lane=lane_of(channel, wish.priority, bulk=wish.bulk),
        status=status,
        reason=reason,
        at=at,
        expires_at=wish.expires_at,
        attempts_allowed=wish.max_attempts,
    )


_Decision = tuple[Status, str, datetime | None]


def _decision(wish: Wish, person: Recipient, address: str, now: datetime, *, suppressed: bool) -> _Decision:
    if not person.is_active:
        return Status.SKIPPED, Reason.INACTIVE.value, None
    if not address:
        return Status.SKIPPED, Reason.NO_ADDRESS.value, None
    if suppressed:
        return Status.SKIPPED, Reason.SUPPRESSED.value, None
    if wish.scheduled_at is not None and wish.scheduled_at > now:
        return Status.HELD, Reason.SCHEDULED.value, wish.scheduled_at
    return Status.QUEUED, "", now
