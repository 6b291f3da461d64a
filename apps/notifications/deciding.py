"""What becomes of one target, when it is planned and each time it is decided anew. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from apps.content.catalog import TypeRules
from apps.notifications.statuses import Reason, Status
from apps.preferences import localtime, resolver
from apps.preferences.resolver import Answer, Asked
from apps.preferences.rules import Rules

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Asking(NamedTuple):
    """What a notification asks for. accepted_at: what a time of day without a date is counted from, UTC."""

    type: TypeRules | None
    critical: bool
    scheduled_at: datetime | None
    local_time: str  # as `localtime.parse_local` takes it; empty: none
    expires_at: datetime | None
    accepted_at: datetime


class Place(NamedTuple):
    """Whom it is for, and where they are reached."""

    channel: str
    address: str
    zone: str  # IANA name
    rules: Rules
    spread: float = 0.0  # seconds by which this person's holds are longer
    is_active: bool = True
    suppressed: bool = False
    told: Mapping[str, Any] | None = None  # of what the person was told before: the event, as a detail
    collected: bool = False  # the time of the digest it waited for has come


class Decided(NamedTuple):
    """queued with the time it is due, held until one, or skipped. detail: for people who ask why, as JSON."""

    status: Status
    reason: str = ""
    at: datetime | None = None
    detail: Mapping[str, Any] = _NOTHING


def decide(asking: Asking, place: Place, now: datetime) -> Decided:
    """What becomes of a target now."""
    return _impossible(place) or _too_early(asking, place, now) or _as_they_want(asking, place, now)


def _impossible(place: Place) -> Decided | None:
    if not place.is_active:
        return Decided(Status.SKIPPED, Reason.INACTIVE.value)
    if place.told:
        return Decided(Status.SKIPPED, Reason.DUPLICATE.value, None, place.told)
    if not place.address:
        return Decided(Status.SKIPPED, Reason.NO_ADDRESS.value)
    if place.suppressed:
        return Decided(Status.SKIPPED, Reason.SUPPRESSED.value)
    return None


def _too_early(asking: Asking, place: Place, now: datetime) -> Decided | None:
    """Held for the time the caller asked for: what the person wants is looked at when it has come."""
    if asking.scheduled_at is not None and asking.scheduled_at > now:
        return Decided(Status.HELD, Reason.SCHEDULED.value, _not_after(asking.scheduled_at, asking))
    if not asking.local_time:
        return None
    due = localtime.due(asking.local_time, place.zone, asking.accepted_at)
    if due <= now:
        return None
    detail = {"rule": "local_time", "local_time": asking.local_time, "zone": place.zone}
    return Decided(Status.HELD, Reason.LOCAL_TIME.value, _not_after(due, asking), detail)


def _as_they_want(asking: Asking, place: Place, now: datetime) -> Decided:
    if asking.critical:
        return Decided(Status.QUEUED, "", now)
    verdict = resolver.resolve(
        asked(asking.type, place), place.rules, zone=place.zone, now=now, spread=place.spread
    )
    if verdict.answer is Answer.SEND:
        return Decided(Status.QUEUED, "", now)
    if verdict.until is None:
        return Decided(Status.SKIPPED, verdict.reason, None, verdict.detail)
    return Decided(Status.HELD, verdict.reason, _not_after(verdict.until, asking), verdict.detail)


def asked(type: TypeRules | None, place: Place) -> Asked:
    """It, as the resolver sees it; critical ones are not asked about."""
    slug, category = (type.slug, type.category) if type else ("", "immediate")
    return Asked(place.channel, place.address, slug, category, False, place.collected)


def _not_after(at: datetime, asking: Asking) -> datetime:
    """What would expire while it is held is looked at again when it does."""
    return at if asking.expires_at is None else min(at, asking.expires_at)
