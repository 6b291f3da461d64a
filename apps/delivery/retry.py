"""Where a retry is decided. Pure: from how an attempt ended to what becomes of its target."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from apps.integrations.contract import Accepted, Outcome, PermanentFailure, TemporaryFailure, UnknownOutcome
from apps.notifications.statuses import Reason, Status

LONGEST_RETRY_AFTER = 86_400.0  # seconds; whoever asks for more has made a mistake


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Of a channel. Waits double from `base` up to `cap` seconds, each varied by a quarter either way.

    `repeats_unknown`: receivers recognise a repeat (or a double is better than none), so an outcome nobody
    learned is tried again after its grace. Otherwise it is left to a person.
    """

    base: float
    cap: float
    repeats_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The target's next status, why, and when (exactly for retrying)."""

    status: Status
    reason: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a decision depends on besides the outcome. `attempts` includes the one just made.

    providers: how many the channel has; an attempt with each is one round, and it is rounds that wait.
    spare: another provider has not had it in this round and could take it at once.
    """

    attempts: int
    allowed: int
    expires_at: datetime | None
    now: datetime
    chance: float  # 0-1, for the jitter
    providers: int = 1
    spare: bool = False


def decide(outcome: Outcome, standing: Standing, policy: Policy) -> Decision:
    """What becomes of a target whose attempt ended so."""
    match outcome:
        case Accepted():
            return Decision(Status.SENT)
        case PermanentFailure(code=code):
            return Decision(Status.FAILED, code)
        case UnknownOutcome(code=code):
            return Decision(Status.UNKNOWN, code)
        case TemporaryFailure(code=code, retry_after=retry_after):
            at_least = min(retry_after or 0.0, LONGEST_RETRY_AFTER)
            return _again(standing, policy, reason=code, at_least=at_least, failover=standing.spare)


def after_unknown(standing: Standing, policy: Policy, *, critical: bool) -> Decision:
    """What becomes of an unknown outcome whose grace is over without a receipt."""
    if policy.repeats_unknown or critical:
        return _again(
            standing, policy, reason="possibly_double" if not policy.repeats_unknown else "repeated"
        )
    return Decision(Status.DEAD, Reason.UNKNOWN_OUTCOME.value)


def wait(rounds: int, policy: Policy, chance: float) -> float:
    """Seconds until the next attempt after so many rounds of them."""
    return min(policy.cap, policy.base * 2.0 ** min(rounds - 1, 30)) * (0.75 + 0.5 * chance)


def _again(
    standing: Standing, policy: Policy, *, reason: str, at_least: float = 0.0, failover: bool = False
) -> Decision:
    """Later, or at once by another provider; unless attempts or time are used up."""
    if standing.attempts >= standing.allowed:
        return Decision(Status.DEAD, Reason.ATTEMPTS_USED_UP.value)
    rounds = -(-standing.attempts // standing.providers)
    seconds = 0.0 if failover else max(wait(rounds, policy, standing.chance), at_least)
    at = standing.now + timedelta(seconds=seconds)
    if standing.expires_at is not None and at >= standing.expires_at:
        return Decision(Status.DEAD, Reason.NO_TIME_LEFT.value)
    return Decision(Status.RETRYING, reason, at)
