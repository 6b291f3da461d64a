"""The faults of a link: what the proxy before a server or a provider does to connections."""

from __future__ import annotations

from abc import abstractmethod

from project import loop
from tests.chaos.fault import Effect, Fault, of_link
from tests.chaos.proxy import Condition


class OnLink(Fault):
    """A condition of the proxy."""

    condition: Condition

    @property
    def effect(self) -> Effect:
        return of_link(self.variant)

    def start(self) -> None:
        self.condition = self.make()
        loop.run(self.stage.links[self.variant].suffer(self.condition)).result()

    def heal(self) -> None:
        loop.run(self.stage.links[self.variant].heal(self.condition)).result()

    @abstractmethod
    def make(self) -> Condition: ...


class SlowLink(OnLink):
    def make(self) -> Condition:
        most = 0.05 if self.variant == "database" else 0.4  # a transaction is many round trips
        return Condition(latency=most * self.chance.uniform(0.5, 1))


class ResetLink(OnLink):
    def make(self) -> Condition:
        return Condition(resets_every=1.0)


class BlackHole(OnLink):
    def make(self) -> Condition:
        return Condition(silent=True)


class ProviderRefuses(OnLink):
    """Nobody listens; what was in the air when that began is cut off, so it is not plain at once."""

    def make(self) -> Condition:
        return Condition(refuses=True)
