"""What becomes of a message that is one too many, or reaches nobody: its type says so."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from apps.content.models import Overflow
from apps.notifications import caps, planning
from apps.notifications.caps import Over, Use
from apps.notifications.planning import Known, Recipient, Wish
from apps.notifications.statuses import Reason, Status
from apps.notifications.transitions import Planned
from apps.preferences import localtime, store
from apps.preferences.resolver import WAKING

_UNREACHED = (Reason.NO_ADDRESS.value, Reason.SUPPRESSED.value)
_Message = tuple[UUID, int, str]  # notification, person, channel: a person's three phones are one message


class Plan(NamedTuple):
    """A notification, its people, and their targets, which are changed and added to."""

    wish: Wish
    people: Sequence[Recipient]
    targets: list[Planned]
    known: Known

    @property
    def rule(self) -> str:
        """What becomes of what is one too many."""
        return self.wish.type.overflow if self.wish.type else Overflow.SKIP.value

    @property
    def chain(self) -> Sequence[str]:
        """By which channels to try then, and for whom no other reaches."""
        return self.wish.type.fallback if self.wish.type else ()

    def use(self, user_id: int, channel: str) -> Use:
        """A message to this person, with its caps."""
        return caps.use(user_id, channel, self.wish.type, self.known.rules.of(user_id).cap_per_hour)


class _Next(NamedTuple):
    """A person for whom the next channel of the chain is to be tried. over: their targets that were one too
    many, by their places in the plan's; none: nothing reached them."""

    plan: Plan
    person: Recipient
    instead_of: str  # channel
    over: Sequence[int]
    channels: Iterator[str]


def settle(plans: Sequence[Plan], now: datetime) -> None:
    """Charge what goes out to people's caps, in the caller's transaction; change and add to the targets.

    What is over a cap goes into the next digest, by the next channel of the type's chain that takes it, or is
    skipped. The chain is also for people whom none of the channels asked for reaches. Two statements for all
    of it, and two for each place in a chain that is tried; none where nothing has a cap.
    """
    missed = [_unreached(plan.targets) if plan.chain else {} for plan in plans]
    both = list(zip(plans, missed, strict=True))
    later = [use for plan, channels in both for use in _later(plan, channels)]
    over = _charge(((plan, plan.targets) for plan in plans), later=later)
    tries = [
        one
        for plan, channels in both
        if over or channels
        for one in _spilled(plan, channels, over=over, now=now)
    ]
    while tries:
        tries = _try(tries, now)


def _unreached(targets: Iterable[Planned]) -> dict[int, str]:
    """People to whom nothing goes, for want of an address; of each a channel that was asked for."""
    missed: dict[int, str] = {}
    reached: set[int] = set()
    for target in targets:
        if target.reason in _UNREACHED:
            missed.setdefault(target.user_id, target.channel)
        else:
            reached.add(target.user_id)
    return {user_id: channel for user_id, channel in missed.items() if user_id not in reached}


def _later(plan: Plan, missed: Iterable[int]) -> Iterator[Use]:
    """What may go by the chain: charged when it is known, its rows locked now, with all others."""
    if plan.wish.critical or not plan.chain:
        return
    may_be_over = (one.user_id for one in plan.targets if plan.rule == Overflow.FALLBACK and _counts(one))
    for user_id in {*missed, *may_be_over}:
        yield from (plan.use(user_id, channel) for channel in plan.chain if channel in WAKING)


def _counts(target: Planned) -> bool:
    return target.status is Status.QUEUED and target.channel in WAKING


def _charge(
    given: Iterable[tuple[Plan, Sequence[Planned]]], *, later: Sequence[Use] = ()
) -> Mapping[_Message, Over]:
    """What of these is over a cap; critical ones are not counted."""
    uses = {
        _message(target): plan.use(target.user_id, target.channel)
        for plan, targets in given
        if not plan.wish.critical
        for target in targets
        if _counts(target)
    }
    answers = zip(uses, caps.charge(list(uses.values()), later=later), strict=True)
    return {message: over for message, over in answers if over is not None}


def _message(target: Planned) -> _Message:
    return target.notification_id, target.user_id, target.channel


def _spilled(
    plan: Plan, missed: Mapping[int, str], *, over: Mapping[_Message, Over], now: datetime
) -> list[_Next]:
    """Mark what is over; for whom another channel is to be tried."""
    people = {person.id: person for person in plan.people}
    spilled: dict[int, list[int]] = {}  # of each person the places of their targets
    for index, target in enumerate(plan.targets):
        found = over.get(_message(target))
        if found is None or not _counts(target):
            continue
        if plan.rule == Overflow.DIGEST:
            plan.targets[index] = _into_digest(plan, target, found, people[target.user_id].timezone, now)
        else:
            plan.targets[index] = _skipped(target, found)
            spilled.setdefault(target.user_id, []).append(index)
    if plan.rule != Overflow.FALLBACK:
        spilled.clear()
    first = {user_id: plan.targets[places[0]].channel for user_id, places in spilled.items()}
    tried = {(target.user_id, target.channel) for target in plan.targets}
    return [
        _Next(plan, people[id], channel, spilled.get(id, ()), _untried(plan, id, tried))
        for id, channel in {**first, **missed}.items()
    ]


def _untried(plan: Plan, user_id: int, tried: Collection[tuple[int, str]]) -> Iterator[str]:
    return iter([channel for channel in plan.chain if (user_id, channel) not in tried])


def _into_digest(plan: Plan, target: Planned, over: Over, zone: str, now: datetime) -> Planned:
    at = next_digest(target.user_id, zone, now, rules=plan.known.rules)
    until = at if target.expires_at is None else min(at, target.expires_at)
    detail = caps.detail(over, Overflow.DIGEST.value)
    return replace(target, status=Status.HELD, reason=Reason.DIGEST.value, at=until, detail=detail)


def next_digest(user_id: int, zone: str, now: datetime, *, rules: store.Found) -> datetime:
    """When this person's next daily digest goes out."""
    at = localtime.next_daily(rules.of(user_id).daily_at, zone, now)
    return at + timedelta(seconds=store.spread_of(user_id))


def _skipped(target: Planned, over: Over) -> Planned:
    detail = caps.detail(over, Overflow.SKIP.value)
    return replace(target, status=Status.SKIPPED, reason=Reason.CAPPED.value, at=None, detail=detail)


def _try(tries: Sequence[_Next], now: datetime) -> list[_Next]:
    """One more channel for each; those that have to try another. A refusal leaves no target behind."""
    planned = [(one, _by(channel, one, now)) for one in tries if (channel := next(one.channels, None))]
    over = _charge((one.plan, made) for one, made in planned)
    left = []
    for one, made in planned:
        if all(target.status is Status.SKIPPED for target in made) or _message(made[0]) in over:
            left.append(one)
        else:
            _take(one, made)
    return left


def _by(channel: str, one: _Next, now: datetime) -> list[Planned]:
    addresses = planning.addresses_of(channel, one.person, one.plan.known.places) or ("",)
    wanted = [(one.person, channel, address) for address in addresses]
    return planning.targets(one.plan.wish, wanted, now, known=one.plan.known)


def _take(one: _Next, made: Sequence[Planned]) -> None:
    """These go in the place of what was over, or reached nobody; both say so."""
    targets = one.plan.targets
    for index in one.over:
        target = targets[index]
        detail = {**(target.detail or {}), "overflow": Overflow.FALLBACK.value, "channel": made[0].channel}
        targets[index] = replace(target, detail=detail)
    targets += [replace(target, detail=_in_place(one, target)) for target in made]


def _in_place(one: _Next, target: Planned) -> Mapping[str, Any]:
    if target.detail:
        return {**target.detail, "instead_of": one.instead_of}
    return {"rule": "fallback", "channel": one.instead_of}
