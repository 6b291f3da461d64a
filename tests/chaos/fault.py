"""What a fault is, and what it touches."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass

from project.queues import CHANNELS, DELIVERY_LANES, RECEIPTS, WORKER_GROUPS
from tests.chaos.plan import Planned
from tests.chaos.probes import Path
from tests.chaos.stage import Stage

CHANNEL = {"sendgrid": "email", "twilio": "sms"}


@dataclass(frozen=True)
class Effect:
    """What a fault touches: what must work again for it to be over, and whose latency it excuses meanwhile.

    `air`: the lanes whose workers, or whose database, are taken away, so that calls may end unknown.
    """

    path: Path
    excuses: tuple[str, ...] = ()  # channels of the critical lane
    air: tuple[str, ...] = ()


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
    """Of what hits the workers of a group."""
    lanes = WORKER_GROUPS[group]
    channel, _, urgency = lanes[0].partition(".")
    if urgency == "critical":
        return Effect(Path((channel,), "critical"), (channel,), air=lanes)
    if urgency:
        return Effect(Path((channel,)), air=lanes)
    return PROOF if group == RECEIPTS else CONTROL


PROOF = Effect(Path((), proven=True))
API = Effect(Path(("in_app",), "critical"))
CONTROL = Effect(Path(("in_app",), "critical", scheduled=True))
BROKER = Effect(Path(CHANNELS, "critical"), CHANNELS)
DATABASE = Effect(Path(CHANNELS, "critical"), CHANNELS, air=DELIVERY_LANES)


def of_link(link: str) -> Effect:
    """Of what hits a link."""
    if link in CHANNEL:
        return Effect(Path((CHANNEL[link],)), (CHANNEL[link],))
    return DATABASE if link == "database" else BROKER
