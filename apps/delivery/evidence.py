"""What receipts prove. Pure: from all that is told of one target at once to what becomes of it.

Vendors repeat, reorder and delay what they report, and a receipt may overtake the settle of its attempt. So
nothing here depends on an order: delivery outweighs a bounce, a bounce outweighs acceptance, whichever comes
first, and of the times beside the status the earliest one stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from apps.integrations.contract import ReceiptKind
from apps.notifications.engagement import Stamps
from apps.notifications.statuses import MOVES, Reason, Status
from project.ids import MAX_ATTEMPT_NUMBER


class Effect(StrEnum):
    """What applying a receipt did. It says no more of an address: suppressions tell that themselves."""

    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    STAMPED = "stamped"  # a time beside the status, such as `opened_at`
    ALREADY = "already"  # nothing new
    STALE = "stale"  # the bounce of an attempt that was followed by another
    TOO_LATE = "too_late"  # the target has ended otherwise, or a person sends it anew
    ADDRESS = "address"  # about an address, not about a message
    ANSWERED = "answered"  # asked for help: an answer was accepted
    SKIPPED = "skipped"  # asked for help: the answer will not be sent, its target says why
    NO_TARGET = "no_target"  # of a message that is not ours, or of none


class Told(NamedTuple):
    """A receipt that is due."""

    id: int
    provider: str
    kind: str
    target_id: UUID | None
    attempt_id: UUID | None
    address: str
    code: str
    address_is_dead: bool
    at: datetime  # when it happened, as far as we know

    @property
    def number(self) -> int:
        """Of the attempt. Where the vendor does not say which, it is taken for the latest."""
        return self.attempt_id.int & 0xFF if self.attempt_id else MAX_ATTEMPT_NUMBER


class Known(NamedTuple):
    """A target, locked."""

    id: UUID
    organization_id: int
    channel: str
    address: str
    status: str
    attempts: int
    bounced_at: datetime | None
    sent_at: datetime | None = None

    @property
    def latest(self) -> int:
        """The number of its latest attempt; the one in the air is not counted in `attempts` yet."""
        return self.attempts + (self.status == Status.SENDING)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the target: `status` is None if that stays. What each receipt did, in their order."""

    status: Status | None
    reason: str
    stamps: Stamps | None
    effects: list[Effect]


_ARRIVED = frozenset({ReceiptKind.DELIVERED, ReceiptKind.OPENED, ReceiptKind.CLICKED, ReceiptKind.COMPLAINED})
_STAMPING = _ARRIVED - {ReceiptKind.DELIVERED} | {ReceiptKind.BOUNCED}
_PROVABLE = frozenset({*MOVES["deliver"][0], Status.DELIVERED})


def weigh(target: Known, told: Sequence[Told]) -> Verdict:
    """What all these receipts of the target amount to."""
    bounces = [one for one in told if one.kind == ReceiptKind.BOUNCED and one.number >= target.latest]
    status = _status(target, told, bounces)
    reason = _reason(bounces) if status is Status.FAILED else ""
    effects = [_effect(one, target, status) for one in told]
    return Verdict(status, reason, _stamps(target.id, told, bounces), effects)


def _status(target: Known, told: Sequence[Told], bounces: Sequence[Told]) -> Status | None:
    if target.status in MOVES["deliver"][0] and any(one.kind in _ARRIVED for one in told):
        return Status.DELIVERED
    refused = target.status == Status.FAILED and target.bounced_at is not None
    if target.status in MOVES["bounce"][0] and bounces and not refused:
        return Status.FAILED
    if target.status in MOVES["accept"][0] and not refused and any(_accepts(one, target) for one in told):
        return Status.SENT
    return None


def _accepts(one: Told, target: Known) -> bool:
    """Whether it proves that something is on its way. That a bounced attempt was accepted does not."""
    if one.kind == ReceiptKind.BOUNCED:
        return False
    return one.number >= target.latest or target.bounced_at is None


def _reason(bounces: Sequence[Told]) -> str:
    """The vendor's reason, of a dead address first."""
    codes = [one.code for one in sorted(bounces, key=lambda one: (not one.address_is_dead, one.id))]
    return next(filter(None, codes), Reason.BOUNCED.value)


def _effect(one: Told, target: Known, status: Status | None) -> Effect:
    if one.kind == ReceiptKind.BOUNCED and one.number < target.latest:
        return Effect.STALE
    if status is not None and status is _proves(one.kind):
        return Effect(status.value)
    if one.kind in _STAMPING:
        return Effect.STAMPED
    return Effect.ALREADY if target.status in _PROVABLE else Effect.TOO_LATE


def _proves(kind: str) -> Status:
    if kind in _ARRIVED:
        return Status.DELIVERED
    return Status.FAILED if kind == ReceiptKind.BOUNCED else Status.SENT


def _stamps(id: UUID, told: Sequence[Told], bounces: Sequence[Told]) -> Stamps | None:
    if not any(one.kind in _STAMPING for one in told):
        return None
    stamps = Stamps(
        id,
        opened_at=_first(one for one in told if one.kind == ReceiptKind.OPENED),
        clicked_at=_first(one for one in told if one.kind == ReceiptKind.CLICKED),
        complained_at=_first(one for one in told if one.kind == ReceiptKind.COMPLAINED),
        bounced_at=_first(bounces),
    )
    return stamps if any(stamps[1:]) else None


def _first(told: Iterable[Told]) -> datetime | None:
    return min((one.at for one in told), default=None)
