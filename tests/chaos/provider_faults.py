"""The faults of single providers, or of all of them: what they answer, and what operators do to them."""

from __future__ import annotations

from tests.chaos import accounts, simulator
from tests.chaos.fault import Effect, Fault, of_provider
from tests.chaos.plan import ALL, PROVIDERS
from tests.chaos.stage import TIMEOUT

MANY = 1_000_000
PER_SECOND = 5  # messages, of a provider whose limit is set low


class _Scripted(Fault):
    """The simulator plays it. The variant is the fault, and the provider's name."""

    @property
    def fault(self) -> str:
        return self.variant.split()[0]

    @property
    def whom(self) -> str:
        return self.variant.split()[1]

    @property
    def providers(self) -> tuple[str, ...]:
        return tuple(PROVIDERS) if self.whom == ALL else (self.whom,)


class ProviderErrors(_Scripted):
    """429 with Retry-After, or 503, whatever is asked."""

    @property
    def effect(self) -> Effect:
        return of_provider(self.whom, plainly=True)

    def start(self) -> None:
        whom, seconds = "*" if self.whom == ALL else self.whom, self.planned.seconds
        simulator.script(self.stage, provider=whom, fault=self.fault, times=MANY, seconds=seconds)


class ProviderSilent(_Scripted):
    """Accepted, and the answer never comes, or after everybody has left."""

    @property
    def effect(self) -> Effect:
        return of_provider(self.whom)

    def start(self) -> None:
        for provider in self.providers:
            if self.fault == "late":
                simulator.answer_after(self.stage, TIMEOUT * 1_000 + 500, provider)
                continue
            times = 3 if provider == "sendgrid" else 30  # requests; of SendGrid's each has many messages
            seconds = self.planned.seconds
            simulator.script(self.stage, provider=provider, fault=self.fault, times=times, seconds=seconds)

    def heal(self) -> None:
        if self.fault == "late":
            for provider in self.providers:
                simulator.answer_after(self.stage, simulator.LATENCY, provider)


class _ByOperator(Fault):
    """An UPDATE of the provider's row, and another one that takes it back."""

    @property
    def effect(self) -> Effect:
        return of_provider(self.variant, plainly=True)


class CredentialsRefused(_ByOperator):
    """401 to all it is asked, until its credentials are put right."""

    def start(self) -> None:
        accounts.spoil(self.stage, self.variant)

    def heal(self) -> None:
        accounts.mend(self.stage, self.variant)


class ProviderDrained(_ByOperator):
    """It gets nothing new, until it is resumed."""

    def start(self) -> None:
        accounts.drain(self.stage, self.variant)

    def heal(self) -> None:
        accounts.resume(self.stage, self.variant)


class ProviderLimited(_ByOperator):
    """A few messages a second, and no more."""

    def start(self) -> None:
        accounts.limit(self.stage, self.variant, PER_SECOND)

    def heal(self) -> None:
        accounts.limit(self.stage, self.variant, None)
