"""What answers do to a provider's share and breaker: no database, no clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from apps.delivery.health import (
    LONGEST_OPEN,
    PRISTINE,
    RUN,
    STEP_DOWN_EVERY,
    STEP_UP_EVERY,
    Event,
    Health,
    Kind,
    Tally,
    after,
    tally,
)
from apps.integrations.contract import (
    Accepted,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)

NOW = datetime(2027, 1, 1, tzinfo=UTC)
GOOD, BAD = Tally(good=10), Tally(bad=10, code="unavailable")
STOPPED = Tally(bad=1, stopping=True, code="unauthorized")


def seen(health: Health, what: Tally, at: float = 0.0) -> tuple[Health, list[str]]:
    """After this many seconds; the kinds of what changed."""
    new, events = after(health, what, NOW + timedelta(seconds=at), open_seconds=30.0)
    return new, [event.kind.value for event in events]


@pytest.mark.parametrize(
    ("outcomes", "told"),
    [
        ([], Tally()),
        ([Accepted(), PermanentFailure("rejected")], Tally(good=2)),
        ([TemporaryFailure("rate_limited")], Tally()),
        ([Accepted(), TemporaryFailure("unavailable")], Tally(1, 1, code="unavailable")),
        ([UnknownOutcome("timeout")], Tally(bad=1, code="timeout")),
        ([TemporaryFailure("unauthorized")], Tally(bad=1, stopping=True, code="unauthorized")),
        ([TemporaryFailure("misconfigured"), Accepted()], Tally(1, 1, code="misconfigured")),
    ],
)
def test_what_outcomes_say(outcomes: list[Outcome], told: Tally) -> None:
    assert tally(outcomes) == told


def test_good_batches_change_nothing() -> None:
    assert seen(PRISTINE, GOOD) == (PRISTINE, [])
    assert seen(PRISTINE, Tally()) == (PRISTINE, [])


def test_a_few_errors_change_nothing_many_lower_its_share_step_by_step() -> None:
    few, many = Tally(good=90, bad=10, code="timeout"), Tally(good=70, bad=30, code="timeout")
    assert seen(PRISTINE, few) == (PRISTINE, [])
    health, changes = seen(PRISTINE, many)
    assert (health.factor, changes) == (75, ["lowered"])
    assert seen(health, many, STEP_DOWN_EVERY / 2) == (health, [])  # other workers see the same trouble
    for factor in (50, 25, 10):
        health, changes = seen(health, many, 0)
        assert changes == []
        health = Health(factor=health.factor)  # long ago
        health, changes = seen(health, many)
        assert (health.factor, changes) == (factor, ["lowered"])
    assert seen(Health(factor=10), many)[1] == []


def test_it_drifts_back() -> None:
    lowered = Health(factor=25, stepped_at=NOW)
    assert seen(lowered, GOOD, STEP_UP_EVERY - 1) == (lowered, [])
    health, changes = seen(lowered, GOOD, STEP_UP_EVERY)
    assert (health.factor, changes) == (50, ["raised"])


def test_slow_receipts_lower_it_and_never_open_the_breaker() -> None:
    slow = Tally(good=2, bad=8, receipts=True)
    health = PRISTINE
    for _ in range(10):
        health, _ = after(health, slow, NOW, open_seconds=30.0)
    assert health.factor == 75 and health.failures == 0 and not health.open_seconds
    event = after(PRISTINE, slow, NOW, open_seconds=30.0)[1]
    assert event == [Event(Kind.LOWERED, "to 75 %: slow receipts")]


def test_receipts_in_time_do_not_close_a_breaker() -> None:
    opened = Health(open_seconds=30.0, open_until=NOW + timedelta(seconds=30), failures=3, factor=50)
    assert seen(opened, Tally(good=9, receipts=True))[0].open_seconds == 30.0


def test_a_run_of_failing_batches_opens_the_breaker() -> None:
    health = PRISTINE
    for n in range(RUN - 1):
        health, changes = seen(health, BAD)
        assert "opened" not in changes and health.failures == n + 1
    health, changes = seen(health, BAD)
    assert changes == ["opened"]
    assert health.open_until == NOW + timedelta(seconds=30)


def test_one_message_that_comes_through_ends_the_run() -> None:
    health = PRISTINE
    for _ in range(10):
        health, _ = seen(health, BAD)
        health, changes = seen(health, GOOD)
        assert health.failures == 0 and "opened" not in changes


def test_wrong_credentials_open_it_at_once() -> None:
    health, changes = seen(PRISTINE, STOPPED)
    assert changes == ["lowered", "opened"] and health.open_seconds == 30


def opened() -> Health:
    return Health(factor=50, failures=3, open_seconds=30.0, open_until=NOW + timedelta(seconds=30))


def test_what_was_in_the_air_when_it_opened_does_not_open_it_longer() -> None:
    health, changes = seen(opened(), BAD, 1)
    assert health.open_until == opened().open_until and "opened" not in changes


def test_a_probe_that_fails_opens_it_for_twice_as_long_up_to_a_limit() -> None:
    health = opened()
    at, lengths = 31.0, []
    for _ in range(6):
        health, changes = seen(health, Tally(bad=1, code="timeout"), at)
        assert "opened" in changes
        lengths.append(health.open_seconds)
        at += health.open_seconds + 1
    assert lengths == [60.0, 120.0, 240.0, 480.0, LONGEST_OPEN, LONGEST_OPEN]


def test_a_probe_that_comes_through_closes_it_with_a_small_share() -> None:
    health, changes = seen(opened(), Tally(good=1), 31)
    assert changes == ["closed"]
    assert (health.factor, health.failures, health.open_until) == (10, 0, None)


def test_an_answer_that_says_nothing_leaves_it_open() -> None:
    assert seen(opened(), Tally(), 31) == (opened(), [])


def test_pristine_is_what_a_good_batch_does_not_change() -> None:
    assert PRISTINE.pristine and Health(stepped_at=NOW).pristine
    assert not Health(failures=1).pristine and not Health(factor=75).pristine and not opened().pristine
