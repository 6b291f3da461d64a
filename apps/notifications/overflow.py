"""What becomes of a message that is one too many, or reaches nobody: its type says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from apps.content.models import Overflow
from apps.notifications import caps, planning
from apps.notifications.caps import Over, Use
from apps.notifications.planning import Known, Recipient, Wish
from apps.notifications.statuses import Reason, Status
from apps.notifications.transitions import Planned
from apps.preferences import localtime, store
from apps.preferences.resolver import WAKING

_UNREACHED = (Reason.NO_ADDRESS.value, Reason.SUPPRESSED.value)
Given = tuple[Wish, Sequence[Recipient], list[Planned], Known]  # a notification, its people, their targets


class _Next(NamedTuple):
    """A person for whom the next channel of the type's chain is to be tried."""

    wish: Wish
    person: Recipient
    channels: Iterator[str]
    known: Known


def settle(given: Sequence[Given], now: datetime) -> None:
    """Charge what goes out to people's caps, in the caller's transaction; change and add to the targets.

    What is over a cap goes into the next digest, by the next channel of the type's chain that takes it, or is
    skipped. The chain is also for people whom none of the channels asked for reaches. No statement where
    nothing has a cap.
    """
    over = _charge([(wish, targets, known) for wish, _, targets, known in given])
    tries = [
        one
        for wish, people, targets, known in given
        for one in _spilled(wish, people, targets, now, over=over, known=known)
    ]
    found = {wish.notification_id: targets for wish, _, targets, _ in given}
    while tries:
        tries = _try(tries, found, now)


_Key = tuple[Any, int, str]  # notification, person, channel: a person's phones are one message


def _charge(given: Sequence[tuple[Wish, Sequence[Planned], Known]]) -> dict[_Key, Over]:
    uses: dict[_Key, Use] = {}
    for wish, targets, known in given:
        if wish.critical:
            continue
        for target in targets:
            if target.status is Status.QUEUED and target.channel in WAKING:
                key = (target.notification_id, target.user_id, target.channel)
                per_hour = known.rules.of(target.user_id).cap_per_hour
                uses[key] = caps.use(target.user_id, target.channel, wish.type, per_hour)
    answers = zip(uses, caps.charge(list(uses.values())), strict=True)
    return {key: over for key, over in answers if over is not None}


def _spilled(
    wish: Wish,
    people: Sequence[Recipient],
    targets: list[Planned],
    now: datetime,
    *,
    over: Mapping[_Key, Over],
    known: Known,
) -> list[_Next]:
    """Mark what is over; for whom another channel is to be tried."""
    rule = wish.type.overflow if wish.type else Overflow.SKIP.value
    spilled: set[int] = set()
    for index, target in enumerate(targets if over else ()):
        found = over.get((target.notification_id, target.user_id, target.channel))
        if found is None or target.status is not Status.QUEUED:
            continue
        if rule == Overflow.DIGEST:
            person = next(one for one in people if one.id == target.user_id)
            targets[index] = _into_digest(target, found, person.timezone, now, known=known)
        else:
            targets[index] = _skipped(target, found, rule)
            spilled |= {target.user_id} if rule == Overflow.FALLBACK else set()
    if not (wish.type and wish.type.fallback):
        return []
    spilled |= _unreached(targets)
    return [
        _Next(wish, one, iter(_untried(wish, one.id, targets)), known) for one in people if one.id in spilled
    ]


def _unreached(targets: Iterable[Planned]) -> set[int]:
    """People to whom nothing goes, for want of an address."""
    missed: set[int] = set()
    reached: set[int] = set()
    for target in targets:
        (missed if target.reason in _UNREACHED else reached).add(target.user_id)
    return missed - reached


def _untried(wish: Wish, user_id: int, targets: Iterable[Planned]) -> list[str]:
    assert wish.type is not None
    tried = {target.channel for target in targets if target.user_id == user_id}
    return [channel for channel in wish.type.fallback if channel not in tried]


def _into_digest(target: Planned, over: Over, zone: str, now: datetime, *, known: Known) -> Planned:
    at = next_digest(target.user_id, zone, now, rules=known.rules)
    until = at if target.expires_at is None else min(at, target.expires_at)
    detail = caps.detail(over, Overflow.DIGEST.value)
    return replace(target, status=Status.HELD, reason=Reason.DIGEST.value, at=until, detail=detail)


def next_digest(user_id: int, zone: str, now: datetime, *, rules: store.Found) -> datetime:
    """When this person's next daily digest goes out."""
    at = localtime.next_daily(rules.of(user_id).daily_at, zone, now)
    return at + timedelta(seconds=store.spread_of(user_id))


def _skipped(target: Planned, over: Over, rule: str) -> Planned:
    return replace(
        target, status=Status.SKIPPED, reason=Reason.CAPPED.value, at=None, detail=caps.detail(over, rule)
    )


def _try(tries: Sequence[_Next], found: Mapping[Any, list[Planned]], now: datetime) -> list[_Next]:
    """One more channel for each; those that have to try another. A refusal leaves no target behind."""
    planned = [(one, _fallback(one, channel, now)) for one in tries if (channel := next(one.channels, None))]
    over = _charge([(one.wish, made, one.known) for one, made in planned])
    left = []
    for one, made in planned:
        if any(target.status is Status.SKIPPED or _key(target) in over for target in made):
            left.append(one)
        else:
            found[one.wish.notification_id].extend(made)
    return left


def _key(target: Planned) -> _Key:
    return target.notification_id, target.user_id, target.channel


def _fallback(one: _Next, channel: str, now: datetime) -> list[Planned]:
    addresses = planning.addresses_of(channel, one.person, one.known.places) or ("",)
    wanted = [(one.person, channel, address) for address in addresses]
    made = planning.targets(one.wish, wanted, now, known=one.known)
    return [
        replace(target, detail={"rule": "fallback", "channel": channel, **(target.detail or {})})
        for target in made
    ]
