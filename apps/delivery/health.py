"""What a provider's answers do to its share, and when its breaker opens and closes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from apps.integrations.contract import (
    Accepted,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)

FACTORS = (100, 75, 50, 25, 10)  # percent of its weight, step by step
RUN = 3  # batches in a row of which nothing came through: the breaker opens
BAD_SHARE = 0.2  # of a batch's messages: a step down
STEP_DOWN_EVERY = 5.0  # seconds; many workers see the same trouble at once
STEP_UP_EVERY = 30.0  # seconds without trouble
LONGEST_OPEN = 600.0  # seconds
_STOPPING = {"unauthorized", "misconfigured"}  # codes of the contract: a person must mend something
_BUSY = {"rate_limited"}  # no sign of ill health


class Kind(StrEnum):
    """What happened to a provider."""

    LOWERED = "lowered"  # its share, by errors or slow receipts
    RAISED = "raised"
    OPENED = "opened"  # the breaker: it gets nothing
    CLOSED = "closed"  # it works again
    PINNED = "pinned"  # by an operator, as the following
    DRAINED = "drained"
    RESUMED = "resumed"
    CHECKED = "checked"


class Event(NamedTuple):
    """One change, for people to read later."""

    kind: Kind
    detail: str


class Tally(NamedTuple):
    """Of one batch: messages the provider answered as it should, those it failed, and whether by its own
    settings; or receipts in time, and slow ones."""

    good: int = 0
    bad: int = 0
    stopping: bool = False
    code: str = ""  # of the last failure
    receipts: bool = False


def tally(outcomes: Iterable[Outcome]) -> Tally:
    """What these outcomes say of their provider. A refused address is an answer as it should be."""
    good = bad = 0
    stopping, code = False, ""
    for outcome in outcomes:
        match outcome:
            case Accepted() | PermanentFailure():
                good += 1
            case TemporaryFailure(code=why) if why in _BUSY:
                pass
            case TemporaryFailure(code=why) | UnknownOutcome(code=why):
                bad += 1
                code = why
                stopping |= why in _STOPPING
    return Tally(good, bad, stopping and not good, code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Where a provider stands. Times are UTC."""

    factor: int = 100  # percent of its weight
    failures: int = 0  # batches in a row of which nothing came through
    open_seconds: float = 0.0  # how long the breaker opened last time; 0: it is closed
    open_until: datetime | None = None  # afterwards one message may try
    stepped_at: datetime | None = None  # when the factor last changed

    @property
    def pristine(self) -> bool:
        """Nothing to mend: a good batch changes nothing."""
        return self.factor == 100 and not self.failures and not self.open_seconds


PRISTINE = Health()


def after(health: Health, seen: Tally, now: datetime, *, open_seconds: float) -> tuple[Health, list[Event]]:
    """The health after a batch, and what changed. open_seconds: how long the breaker opens at first."""
    if not seen.good and not seen.bad:
        return health, []
    if seen.receipts:
        return _stepped(health, seen, now)
    if not seen.good:
        return _failed(health, seen, now, open_seconds)
    if health.open_seconds:
        closed = replace(
            health, failures=0, open_seconds=0.0, open_until=None, factor=FACTORS[-1], stepped_at=now
        )
        return closed, [Event(Kind.CLOSED, "a message came through")]
    return _stepped(replace(health, failures=0), seen, now)


def _failed(health: Health, seen: Tally, now: datetime, open_seconds: float) -> tuple[Health, list[Event]]:
    failures = health.failures + 1
    lowered, events = _stepped(replace(health, failures=failures), seen, now)
    is_probe = bool(health.open_until and health.open_until <= now)
    if health.open_seconds and not is_probe:
        return lowered, events  # what was in the air when it opened
    if not is_probe and not seen.stopping and failures < RUN:
        return lowered, events
    seconds = min(LONGEST_OPEN, health.open_seconds * 2) if is_probe else open_seconds
    opened = replace(lowered, open_seconds=seconds, open_until=now + timedelta(seconds=seconds))
    return opened, [*events, Event(Kind.OPENED, f"{seen.code}; for {seconds:g} s")]


def _stepped(health: Health, seen: Tally, now: datetime) -> tuple[Health, list[Event]]:
    """One step down in trouble, one up after a while without."""
    quiet = (now - health.stepped_at).total_seconds() if health.stepped_at else STEP_UP_EVERY
    if seen.bad > BAD_SHARE * (seen.good + seen.bad):
        return _step(health, +1, now, seen) if quiet >= STEP_DOWN_EVERY else (health, [])
    return _step(health, -1, now, seen) if quiet >= STEP_UP_EVERY else (health, [])


def _step(health: Health, by: int, now: datetime, seen: Tally) -> tuple[Health, list[Event]]:
    place = min(range(len(FACTORS)), key=lambda n: abs(FACTORS[n] - health.factor)) + by
    if not 0 <= place < len(FACTORS):
        return health, []
    factor = FACTORS[place]
    why = "slow receipts" if seen.receipts else seen.code
    event = Event(Kind.LOWERED, f"to {factor} %: {why}") if by > 0 else Event(Kind.RAISED, f"to {factor} %")
    return replace(health, factor=factor, stepped_at=now), [event]
