"""Where a retry is decided: by table, and for every input."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.delivery.providers import policy_of
from apps.delivery.retry import LONGEST_RETRY_AFTER, Decision, Policy, Standing, after_unknown, decide, wait
from apps.integrations.contract import Accepted, Outcome, PermanentFailure, TemporaryFailure, UnknownOutcome
from apps.notifications.statuses import Status

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
POLICY = Policy(base=10, cap=3600)
REPEATS = Policy(base=10, cap=3600, repeats_unknown=True)
BUSY = TemporaryFailure("busy")


def standing(
    attempts: int = 1, allowed: int = 6, expires: float | None = None, chance: float = 0.5
) -> Standing:
    expires_at = None if expires is None else NOW + timedelta(seconds=expires)
    return Standing(attempts=attempts, allowed=allowed, expires_at=expires_at, now=NOW, chance=chance)


def retrying(seconds: float, reason: str = "busy") -> Decision:
    return Decision(Status.RETRYING, reason, NOW + timedelta(seconds=seconds))


USED_UP = Decision(Status.DEAD, "attempts_used_up")
NO_TIME = Decision(Status.DEAD, "no_time_left")


@pytest.mark.parametrize(
    ("outcome", "at", "decision"),
    [
        # Accepted is the end, even on the last attempt and past the expiry.
        (Accepted("id"), standing(6, 6, expires=-1), Decision(Status.SENT)),
        # So is a refusal: no attempt is left unused by mistake, none is made for nothing.
        (PermanentFailure("rejected"), standing(1), Decision(Status.FAILED, "rejected")),
        # Nobody knows: the grace decides, not this.
        (UnknownOutcome("timeout"), standing(6, 6), Decision(Status.UNKNOWN, "timeout")),
        # Waits double …
        (BUSY, standing(1), retrying(10)),
        (BUSY, standing(2), retrying(20)),
        (BUSY, standing(5), retrying(160)),
        # … up to the cap,
        (BUSY, standing(10, 255), retrying(3600)),
        (BUSY, standing(254, 255), retrying(3600)),
        # a quarter less or more.
        (BUSY, standing(1, chance=0.0), retrying(7.5)),
        (BUSY, standing(1, chance=1.0), retrying(12.5)),
        # The provider may ask for more time,
        (TemporaryFailure("busy", 900), standing(1), retrying(900)),
        # even more than our cap,
        (TemporaryFailure("busy", 7200), standing(1), retrying(7200)),
        # not for less,
        (TemporaryFailure("busy", 1), standing(1), retrying(10)),
        (TemporaryFailure("busy", 0), standing(1), retrying(10)),
        (TemporaryFailure("busy", -5), standing(1), retrying(10)),
        # and not for ever.
        (TemporaryFailure("busy", 1e18), standing(1), retrying(LONGEST_RETRY_AFTER)),
        (TemporaryFailure("busy", float("inf")), standing(1), retrying(LONGEST_RETRY_AFTER)),
        (TemporaryFailure("busy", float("nan")), standing(1), retrying(10)),
        # The last attempt was the last,
        (BUSY, standing(6, 6), USED_UP),
        (BUSY, standing(7, 6), USED_UP),
        # the one before it was not.
        (BUSY, standing(5, 6), retrying(160)),
        (BUSY, standing(1, 1), USED_UP),
        # An attempt at or after the expiry would be too late,
        (BUSY, standing(1, expires=10), NO_TIME),
        (BUSY, standing(1, expires=9), NO_TIME),
        (TemporaryFailure("busy", 60), standing(1, expires=59), NO_TIME),
        # just before it is not.
        (BUSY, standing(1, expires=10.001), retrying(10)),
    ],
)
def test_what_becomes_of_a_target(outcome: Outcome, at: Standing, decision: Decision) -> None:
    assert decide(outcome, at, POLICY) == decision


@pytest.mark.parametrize(
    ("policy", "critical", "at", "decision"),
    [
        # Its receivers recognise a repeat.
        (REPEATS, False, standing(1), retrying(10, "repeated")),
        (REPEATS, True, standing(1), retrying(10, "repeated")),
        # A one-time code twice is better than none, and is marked.
        (POLICY, True, standing(2), retrying(20, "possibly_double")),
        # Everything else is a person's decision.
        (POLICY, False, standing(1), Decision(Status.DEAD, "unknown_outcome")),
        # No repeat without an attempt left, or when it would come too late.
        (REPEATS, False, standing(6, 6), USED_UP),
        (POLICY, True, standing(6, 6), USED_UP),
        (REPEATS, False, standing(1, expires=5), NO_TIME),
        (POLICY, True, standing(1, expires=5), NO_TIME),
    ],
)
def test_what_becomes_of_an_unknown_outcome(
    policy: Policy, critical: bool, at: Standing, decision: Decision
) -> None:
    assert after_unknown(at, policy, critical=critical) == decision


@pytest.mark.parametrize(
    ("channel", "repeats"),
    [("email", False), ("sms", False), ("webhook", True), ("chat", True), ("push", True)],
)
def test_which_channels_repeat_what_nobody_knows(channel: str, repeats: bool) -> None:
    assert policy_of(channel).repeats_unknown is repeats


attempts = st.integers(1, 255)
chances = st.floats(0, 1)
policies = st.builds(
    Policy, base=st.floats(0.1, 600), cap=st.floats(600, 86_400), repeats_unknown=st.booleans()
)
outcomes = st.builds(TemporaryFailure, st.text(max_size=5), st.none() | st.floats(allow_nan=True))
standings = st.builds(
    Standing,
    attempts=attempts,
    allowed=attempts,
    expires_at=st.none() | st.integers(-100, 10_000).map(lambda s: NOW + timedelta(seconds=s)),
    now=st.just(NOW),
    chance=chances,
)


@given(outcomes, standings, policies)
def test_a_retry_is_never_too_late_too_early_or_one_too_many(
    outcome: Any, at: Standing, policy: Policy
) -> None:
    decision = decide(outcome, at, policy)
    assert (decision.at is not None) == (decision.status is Status.RETRYING)
    if decision.at is None:
        assert decision.status is Status.DEAD
        return
    seconds = (decision.at - NOW).total_seconds()
    asked = outcome.retry_after or 0
    assert at.attempts < at.allowed
    assert at.expires_at is None or decision.at < at.expires_at
    assert not asked > 0 or seconds >= min(asked, LONGEST_RETRY_AFTER) - 1e-6
    assert seconds <= max(policy.cap * 1.25, LONGEST_RETRY_AFTER) + 1e-6


@given(standings, policies, st.booleans())
def test_a_repeat_is_never_too_late_or_one_too_many(at: Standing, policy: Policy, critical: bool) -> None:
    decision = after_unknown(at, policy, critical=critical)
    assert decision.status in {Status.RETRYING, Status.DEAD}
    if decision.status is Status.RETRYING:
        assert policy.repeats_unknown or critical
        assert decision.at is not None and decision.at > NOW
        assert at.expires_at is None or decision.at < at.expires_at
        assert at.attempts < at.allowed


@given(attempts, policies, chances)
def test_a_wait_is_within_a_quarter_of_its_step(number: int, policy: Policy, chance: float) -> None:
    step = min(policy.cap, policy.base * 2 ** (number - 1))
    assert 0.75 * step <= wait(number, policy, chance) <= 1.25 * step * (1 + 1e-9)


@given(st.integers(1, 254), policies, chances)
def test_waits_never_get_shorter(number: int, policy: Policy, chance: float) -> None:
    assert wait(number, policy, chance) <= wait(number + 1, policy, chance)


@given(attempts, policies, chances, chances)
def test_a_greater_chance_waits_no_shorter(number: int, policy: Policy, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert wait(number, policy, low) <= wait(number, policy, high)
