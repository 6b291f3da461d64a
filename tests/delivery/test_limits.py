"""Token buckets: in a real Redis, and without one."""

from __future__ import annotations

import pytest

from apps.delivery import limits
from apps.delivery.limits import Grant, Limit
from project import queues

SECOND, HOUR, DAY = 1, 3_600, 86_400
HUNDRED = Limit(1_000, HOUR)  # holds a hundred, and hardly fills while a test runs


@pytest.fixture
def name() -> str:
    """A provider nobody has used."""
    for key in queues.broker().scan_iter("carillon:limit:{p}:*"):
        queues.broker().delete(key)
    return "p"


class Clock:
    """Redis's, moved by moving what it wrote."""

    def forward(self, seconds: float) -> None:
        for key in queues.broker().scan_iter("carillon:limit:{p}:*"):
            at = float(queues.broker().hget(key, "at"))
            queues.broker().hset(key, "at", repr(at - seconds))


def take(limit: Limit, wanted: int = 1_000_000, *, urgent: bool = True) -> Grant:
    return limits.take("p", [limit], wanted, urgent=urgent)


def test_without_limits_there_is_no_redis(name: str, settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert limits.take(name, [], 500, urgent=False) == Grant(500, 0.0)
    limits.give_back(name, [], 500)


def test_a_bucket_gives_what_it_holds_and_then_says_when(name: str) -> None:
    assert take(HUNDRED, 30).tokens == 30
    assert take(HUNDRED).tokens == 70
    empty = take(HUNDRED)
    assert empty.tokens == 0 and 0 < empty.wait <= 4.0  # one flows in every four seconds
    assert take(Limit(1, DAY)).tokens == 1
    assert take(Limit(1, DAY)).wait == pytest.approx(172_800, abs=60)


@pytest.mark.parametrize("limit", [Limit(1000, HOUR), Limit(77, HOUR), Limit(10_000, DAY), Limit(15, HOUR)])
def test_in_no_window_of_its_length_there_is_more_than_the_limit(name: str, limit: Limit) -> None:
    """As fast as it gives them, from a full bucket on."""
    taken, clock = take(limit).tokens, Clock()
    for _ in range(49):  # the rest of the hour is for the time the test itself takes
        clock.forward(limit.seconds / 50)
        taken += take(limit).tokens
    assert 0.85 * limit.messages < taken <= limit.messages


def test_of_several_limits_the_tightest_counts_and_nothing_is_taken_twice(name: str) -> None:
    assert limits.take("p", [HUNDRED, Limit(500, DAY)], 500, urgent=True).tokens == 50
    assert take(HUNDRED).tokens == 50


def test_a_fifth_is_kept_for_what_is_critical(name: str) -> None:
    assert take(HUNDRED, urgent=False).tokens == 80
    assert take(HUNDRED, urgent=False).tokens == 0
    assert take(HUNDRED).tokens == 20


def test_even_one_a_second_goes_by_the_other_lanes_too(name: str) -> None:
    assert take(Limit(1, SECOND), urgent=False).tokens == 1


def test_how_much_is_used_is_told(name: str) -> None:
    limit = Limit(1000, HOUR)
    take(limit, 50)
    assert take(limit, 0).load == pytest.approx(0.5, abs=0.01)


def test_what_did_not_leave_is_given_back_but_never_more_than_it_holds(name: str) -> None:
    limit = Limit(1000, HOUR)
    take(limit, 60)
    limits.give_back("p", [limit], 50)
    assert take(limit).tokens == 90
    limits.give_back("p", [limit], 5_000)
    assert take(limit).tokens == 100


def test_a_bucket_is_forgotten_when_it_would_be_full_anyway(name: str) -> None:
    take(Limit(100, SECOND))
    assert queues.broker().pttl("carillon:limit:{p}:1") in range(1_000, 2_001)


# --- Without Redis ---------------------------------------------------------------------------------------


@pytest.fixture
def alone(settings) -> None:
    settings.REDIS_URL, settings.REDIS_TIMEOUT, settings.LIMIT_SHARES = "redis://127.0.0.1:1/0", 0.2, 10
    limits._local.cache_clear()


def test_without_redis_a_process_keeps_to_its_share(alone, monkeypatch, caplog) -> None:
    now = [1_000.0]
    monkeypatch.setattr(limits.time, "monotonic", lambda: now[0])
    limit = Limit(100, SECOND)
    assert take(limit).tokens == 1  # how much the others have taken it does not know
    taken = 0
    for _ in range(100):
        now[0] += 0.1
        taken += take(limit).tokens
    assert 90 <= taken <= 100  # in ten seconds a tenth of it
    assert "limit kept locally" in caplog.text


def test_without_redis_an_empty_one_says_when(alone, monkeypatch) -> None:
    monkeypatch.setattr(limits.time, "monotonic", lambda: 1_000.0)
    take(Limit(10, SECOND))
    assert take(Limit(10, SECOND)) == Grant(0, pytest.approx(1.0))
    limits.give_back("p", [Limit(10, SECOND)], 1)
    assert take(Limit(10, SECOND)).tokens == 1
