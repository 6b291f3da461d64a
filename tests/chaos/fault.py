"""What a fault is, and what it touches."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass

from project.queues import CHANNELS, CONTROL, DELIVERY_LANES, PLANNING, RECEIPTS, lanes_of
from tests.chaos.plan import ALL, GROUPS, PROVIDERS, TWINS, Planned
from tests.chaos.probes import Path
from tests.chaos.stage import Stage


@dataclass(frozen=True)
class Effect:
    """What a fault touches: what must work again for it to be over, and whose latency it excuses meanwhile.

    `air`: the lanes whose workers, or whose database, are taken away, so that calls may end unknown.
    `away`: providers that say themselves that they cannot, or are not to be used: as long as a channel has
    another, nothing is excused.
    """

    path: Path
    excuses: tuple[str, ...] = ()  # channels of the critical lane
    air: tuple[str, ...] = ()
    away: tuple[str, ...] = ()


class Fault(ABC):
    """One fault of the plan."""

    def __init__(self, planned: Planned, stage: Stage, chance: random.Random) -> None:
        self.planned, self.stage, self.chance = planned, stage, chance
        self.variant = planned.variant

    @property
    @abstractmethod
    def effect(self) -> Effect: ...

    @property
    def seconds(self) -> float:
        """Until it is healed; 0 for what has to recover by itself."""
        return self.planned.seconds

    @abstractmethod
    def start(self) -> None: ...

    def strike(self) -> None:
        """Start at a moment in which what it hits is at work, if it is one of those that send."""
        if self.effect.air:
            self.stage.wait_for_work(self.effect.air)
        self.start()

    def heal(self) -> None:  # noqa: B027  (most that was killed is the supervisor's to restart)
        """Take it back."""


def of_group(group: str) -> Effect:
    """Of what hits the workers of a group, or of those with + between them."""
    if group == RECEIPTS:
        return PROOF
    if group in (PLANNING, CONTROL):
        return SCHEDULE
    lanes, channels = tuple(lanes_of(group.split("+"))), _channels(group)
    if group.startswith("critical_"):
        return Effect(Path(channels, "critical"), channels, air=lanes)
    return Effect(Path(channels), air=lanes)


def _channels(group: str) -> tuple[str, ...]:
    return tuple(name.removeprefix("critical_") for name in group.split("+"))


def _held_up(channel: str) -> tuple[str, ...]:
    """The channels whose critical worker waits for this one's provider."""
    return next(_channels(group) for group in GROUPS if f"critical_{channel}" in group.split("+"))


PROOF = Effect(Path((), proven=True))
API = Effect(Path(("in_app",), "critical"))
SCHEDULE = Effect(Path(("in_app",), "critical", scheduled=True))
BROKER = Effect(Path(CHANNELS, "critical"), CHANNELS)
DATABASE = Effect(Path(CHANNELS, "critical"), CHANNELS, air=DELIVERY_LANES)
PROVIDED = tuple(dict.fromkeys(PROVIDERS.values()))  # the channels that have providers


def of_link(link: str) -> Effect:
    """Of what hits a link."""
    if link in PROVIDERS:
        return of_provider(link)
    return DATABASE if link == "database" else BROKER


def of_provider(provider: str, *, plainly: bool = False) -> Effect:
    """Of what hits a provider, or all of them. plainly: nobody has to wait to hear that it cannot."""
    if provider == ALL:
        return Effect(Path(PROVIDED, "critical"), PROVIDED)
    channel = PROVIDERS[provider]
    path = Path((channel,), "critical")
    if plainly and provider in TWINS:
        return Effect(path, away=(provider,))
    return Effect(path, _held_up(channel))
