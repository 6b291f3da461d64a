"""Audience × channels → targets, each queued, held or skipped, with a reason. Pure but for its ids."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from apps.notifications.statuses import Reason, Status
from apps.notifications.transitions import Planned
from apps.preferences import suppression
from apps.users.people import Person, Reach
from project import ids
from project.queues import lane_of

Recipient = Person | Reach


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


def plan(
    wish: Wish, people: Iterable[Recipient], now: datetime, *, suppressed: suppression.Found = frozenset()
) -> list[Planned]:
    """One target per person and channel. suppressed: what is, of their `addresses`."""
    wanted = [(person, channel) for person in people for channel in channels_for(wish, person)]
    made = ids.target_ids(len(wanted))
    return [_target(wish, id, *one, now, suppressed=suppressed) for id, one in zip(made, wanted, strict=True)]


def addresses(channels: Collection[str], people: Iterable[Recipient]) -> set[tuple[str, str]]:
    """Where these people are reached by a provider: each (channel, address) that may be suppressed."""
    by_provider = [channel for channel in channels if channel != "in_app"]
    return {
        (channel, address)
        for person in people
        for channel in by_provider
        if (address := address_of(channel, person))
    }


def address_of(channel: str, person: Recipient) -> str:
    """Where the person is reached by this channel; empty if nowhere."""
    if channel == "in_app":
        return str(person.id)
    return person.email if channel == "email" else person.phone


def channels_for(wish: Wish, person: Recipient) -> Sequence[str]:
    """The channels this person gets targets for, whether they have an address there or not."""
    if not wish.all_channels:
        return wish.channels
    reachable = [channel for channel in wish.channels if address_of(channel, person)]
    return reachable or wish.channels  # nowhere: each says so


def _target(
    wish: Wish, id: UUID, person: Recipient, channel: str, now: datetime, *, suppressed: suppression.Found
) -> Planned:
    address = address_of(channel, person)
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
