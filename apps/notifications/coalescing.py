"""What goes out together, of what one person has waiting at the same time. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from apps.notifications.statuses import Reason


class Waiting(NamedTuple):
    """A held target, with what its notification asks for. Times are UTC."""

    id: UUID
    notification_id: UUID
    organization_id: int
    user_id: int
    channel: str
    address: str
    reason: str  # of its hold
    held_until: datetime | None  # None: its time has come
    expires_at: datetime | None
    late: bool  # it has expired
    lane: str
    attempts_allowed: int
    type: str  # slug; empty: of none
    critical: bool
    scheduled_at: datetime | None
    local_time: str
    collapse_key: str
    accepted_at: datetime

    @property
    def collected(self) -> bool:
        """Whether the time of the digest it waited for has come."""
        has_come = self.held_until is None and self.reason == Reason.DIGEST
        return has_come or self.reason == Reason.COLLECTED


def merged(waiting: Iterable[Waiting]) -> dict[UUID, UUID]:
    """Of those with the same key for the same address the newest goes out: by each other, the newest."""
    same: dict[tuple[object, ...], list[Waiting]] = {}
    for one in waiting:
        if one.collapse_key:
            place = (one.user_id, one.channel, one.address, one.type, one.collapse_key)
            same.setdefault(place, []).append(one)
    return {
        old.id: newest.id
        for group in same.values()
        for newest in [max(group, key=_age)]
        for old in group
        if old is not newest
    }


def digests(waiting: Iterable[Waiting]) -> list[list[Waiting]]:
    """What goes out as one digest each, oldest first: two or more for the same address."""
    groups: dict[tuple[int, str, str], list[Waiting]] = {}
    for one in waiting:
        groups.setdefault((one.user_id, one.channel, one.address), []).append(one)
    return [sorted(group, key=_age) for group in groups.values() if len(group) > 1]


def _age(one: Waiting) -> tuple[datetime, UUID]:
    return one.accepted_at, one.id


def without(waiting: Sequence[Waiting], gone: Iterable[UUID]) -> list[Waiting]:
    """Those that are not among these."""
    left_out = set(gone)
    return [one for one in waiting if one.id not in left_out]
