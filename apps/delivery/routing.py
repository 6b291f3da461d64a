"""Which provider gets which message. Pure: from what is known of the providers to a choice and its reason."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import phonenumbers


class Mode(StrEnum):
    """What an operator has told a provider to do."""

    NORMAL = "normal"
    PINNED = "pinned"  # it gets everything that it serves, while it can
    DRAINED = "drained"  # it gets nothing new


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A provider as a choice sees it.

    weight: its share, lowered by what went wrong lately; 0 is a last resort. kinds, serves: what it can
    reach; empty is everything. open: its breaker keeps messages from it. load: how much of its limits is
    used, 0-1; None if it has none.
    """

    name: str
    weight: float = 100.0
    mode: Mode = Mode.NORMAL
    kinds: frozenset[str] = frozenset()
    serves: tuple[str, ...] = ()
    open: bool = False
    load: float | None = None


class Choice(NamedTuple):
    """A provider, and why it was chosen: what is kept with the attempt."""

    name: str
    reason: str


NOWHERE = Choice("", "")  # no provider serves this address
BUSY = Choice("", "rate_limited")
DOWN = Choice("", "provider_down")


def usable(candidate: Candidate) -> bool:
    """Whether it may get anything now."""
    return not candidate.open and candidate.mode is not Mode.DRAINED


def reaches(candidate: Candidate, channel: str, address: str) -> bool:
    """Whether the provider serves this address at all, healthy or not."""
    if candidate.kinds and address.partition(":")[0] not in candidate.kinds:
        return False
    return not candidate.serves or any(_serves(one, channel, address) for one in candidate.serves)


def _serves(one: str, channel: str, address: str) -> bool:
    if channel == "sms":
        if one.startswith("+"):
            return address.startswith(one)
        return phonenumbers.region_code_for_number(phonenumbers.parse(address)) == one
    domain = address.rpartition("@")[2]
    return domain == one or domain.endswith(f".{one}")


def choose(
    candidates: Sequence[Candidate], *, tried: Collection[str] = (), chance: float = 0.0
) -> Choice | None:
    """One of the providers that serve the address; None if none may be used now.

    tried: those that had this message since it last waited; the others come first. chance: 0-1, the draw.
    """
    able = [one for one in candidates if usable(one)]
    if not able:
        return None
    untried = [one for one in able if one.name not in tried]
    pinned = [one for one in untried if one.mode is Mode.PINNED]
    if pinned:
        return Choice(pinned[0].name, "pinned")
    chosen, reason = _drawn(untried or able, chance)
    return Choice(chosen.name, f"failover, {reason}" if tried and untried else reason)


def _drawn(candidates: Sequence[Candidate], chance: float) -> tuple[Candidate, str]:
    """By weight; of those with the same weight as the one drawn, the least loaded."""
    if len(candidates) == 1:
        return candidates[0], "the only one"
    weighted = [one for one in candidates if one.weight > 0]
    if not weighted:
        return _least_loaded(candidates[0], candidates), "last resort"
    total = sum(one.weight for one in weighted)
    left = chance * total
    drawn = weighted[-1]
    for one in weighted:
        left -= one.weight
        if left < 0:
            drawn = one
            break
    chosen = _least_loaded(drawn, [one for one in weighted if one.weight == drawn.weight])
    return chosen, f"weight {chosen.weight:g} of {total:g}"


def _least_loaded(drawn: Candidate, equals: Sequence[Candidate]) -> Candidate:
    """Of those with limits, if the one drawn has any."""
    if drawn.load is None:
        return drawn
    return min((one for one in equals if one.load is not None), key=lambda one: one.load or 0.0)


class Routed(NamedTuple):
    """Where a message goes. spare: if that fails, another provider, which has not had it, can take it."""

    choice: Choice
    spare: bool = False


@dataclass(slots=True)
class Router:
    """Deals the messages of one batch to the providers.

    room: how many messages each provider may have in this batch. probe: one that is to get a single message,
    to see whether it has recovered. chance: a new draw, 0-1, at each call.
    """

    channel: str
    candidates: Sequence[Candidate]
    room: dict[str, int]
    chance: Callable[[], float]
    probe: str = ""

    def route(self, address: str, tried: Collection[str] = ()) -> Routed:
        """Where this one goes; NOWHERE: no provider serves it; BUSY, DOWN: it has to wait.

        tried: the providers that had it since it last waited.
        """
        serving = [one for one in self.candidates if reaches(one, self.channel, address)]
        if not serving:
            return Routed(NOWHERE)
        if self.probe and any(one.name == self.probe for one in serving):
            probe, self.probe = self.probe, ""
            return Routed(Choice(probe, "probe"), _spare(serving, {probe, *tried}))
        choice = choose(
            [one for one in serving if self.room[one.name] > 0], tried=tried, chance=self.chance()
        )
        if choice is None:
            return Routed(BUSY if any(map(usable, serving)) else DOWN)
        self.room[choice.name] -= 1
        return Routed(choice, _spare(serving, {choice.name, *tried}))


def _spare(serving: Sequence[Candidate], had: Collection[str]) -> bool:
    return any(usable(one) and one.name not in had for one in serving)


def batch_limit(candidates: Sequence[Candidate], room: Mapping[str, int]) -> int:
    """How many messages to take so that each provider's share of them fits into its room."""
    able = [one for one in candidates if usable(one) and room[one.name] > 0]
    able = [one for one in able if one.mode is Mode.PINNED] or able
    total = sum(one.weight for one in able)
    if not total:
        return sum(room[one.name] for one in able)
    return max(1, min(int(room[one.name] * total / one.weight) for one in able if one.weight)) if able else 0
