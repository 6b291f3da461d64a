"""Which provider a message goes to, by table: no database, no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.delivery.routing import (
    BUSY,
    DOWN,
    NOWHERE,
    Candidate,
    Mode,
    Routed,
    Router,
    batch_limit,
    choose,
    reaches,
)

MANY = 1_000


def a(name: str = "a", **fields: object) -> Candidate:
    return Candidate(name=name, **fields)  # type: ignore[arg-type]


def evenly() -> Callable[[], float]:
    """Draws that cover 0-1 evenly."""
    return cycle([n / 100 for n in range(100)]).__next__


@pytest.mark.parametrize(
    ("serves", "channel", "address", "reached"),
    [
        ((), "sms", "+4930123456", True),
        (("+49",), "sms", "+4930123456", True),
        (("+43", "+49"), "sms", "+4930123456", True),
        (("+43",), "sms", "+4930123456", False),
        (("DE",), "sms", "+4930123456", True),
        (("US",), "sms", "+4930123456", False),
        (("US",), "sms", "+14155552671", True),
        (("CA",), "sms", "+14155552671", False),  # the same prefix
        (("example.com",), "email", "a@example.com", True),
        (("example.com",), "email", "a@mail.example.com", True),
        (("example.com",), "email", "a@notexample.com", False),
        (("example.com",), "email", "example.com@evil.org", False),
    ],
)
def test_what_a_provider_serves(serves: tuple[str, ...], channel: str, address: str, reached: bool) -> None:
    assert reaches(a(serves=serves), channel, address) is reached


@pytest.mark.parametrize(("address", "reached"), [("fcm:1", True), ("apns:1", False), ("fcmx:1", False)])
def test_what_kind_of_address_a_provider_serves(address: str, reached: bool) -> None:
    assert reaches(a(kinds=frozenset({"fcm"})), "push", address) is reached


def chosen(
    *candidates: Candidate, tried: set[str] | None = None, chance: float = 0.0
) -> tuple[str, str] | None:
    return choose(candidates, tried=tried or set(), chance=chance)


def test_one_alone() -> None:
    assert chosen(a()) == ("a", "the only one")


@pytest.mark.parametrize("fields", [{"open": True}, {"mode": Mode.DRAINED}])
def test_one_that_may_get_nothing(fields: dict[str, object]) -> None:
    assert chosen(a(**fields)) is None
    assert chosen(a(**fields), a("b")) == ("b", "the only one")


def test_by_weight() -> None:
    both = a(weight=75), a("b", weight=25)
    assert chosen(*both, chance=0.74) == ("a", "weight 75 of 100")
    assert chosen(*both, chance=0.76) == ("b", "weight 25 of 100")


def test_without_weight_only_when_no_other_is_left() -> None:
    assert chosen(a(weight=0), a("b")) == ("b", "weight 100 of 100")
    assert chosen(a(weight=0), a("b", open=True)) == ("a", "the only one")
    assert chosen(a(weight=0, load=0.5), a("c", weight=0, load=0.2), a("b", open=True)) == (
        "c",
        "last resort",
    )


def test_the_least_loaded_among_equals_only() -> None:
    assert chosen(a(load=0.9), a("b", load=0.1), chance=0.0) == ("b", "weight 100 of 200")
    assert chosen(a(load=0.9, weight=60), a("b", load=0.1, weight=40)) == (
        "a",
        "weight 60 of 100",
    )


def test_pinned_gets_everything_until_it_had_it() -> None:
    both = a(), a("b", weight=1, mode=Mode.PINNED)
    assert chosen(*both) == ("b", "pinned")
    assert chosen(*both, tried={"b"}) == ("a", "failover, the only one")
    assert chosen(a(), a("b", mode=Mode.PINNED, open=True)) == ("a", "the only one")


def test_failover_goes_to_who_has_not_had_it() -> None:
    three = a(), a("b"), a("c")
    assert chosen(*three, tried={"a"}) == ("b", "failover, weight 100 of 200")
    assert chosen(*three, tried={"a", "b"}) == ("c", "failover, the only one")
    assert chosen(*three, tried={"a", "b", "c"}) == ("a", "weight 100 of 300")


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.floats(0, 1)), min_size=1, max_size=5),
    st.floats(0, 1, exclude_max=True),
)
def test_whatever_they_are_one_that_may_is_chosen_or_none_may(
    given_: list[tuple[int, bool, float]], chance: float
) -> None:
    candidates = [
        a(str(n), weight=weight, open=is_open, load=load) for n, (weight, is_open, load) in enumerate(given_)
    ]
    may = {one.name for one in candidates if not one.open}
    choice = choose(candidates, chance=chance)
    assert (choice is None and not may) or (choice is not None and choice.name in may)


def router(*candidates: Candidate, room: int = MANY, probe: str = "", **rooms: int) -> Router:
    each = {one.name: 0 if one.open or one.mode is Mode.DRAINED else room for one in candidates} | rooms
    return Router("email", candidates, each, evenly(), probe)


def test_a_batch_is_dealt_by_weight() -> None:
    dealer = router(a(weight=75), a("b", weight=25))
    counts = Counter(dealer.route("x@example.com").choice.name for _ in range(100))
    assert counts == {"a": 75, "b": 25}
    assert dealer.room == {"a": MANY - 75, "b": MANY - 25}


def test_what_one_has_no_room_for_goes_to_the_other_then_waits() -> None:
    dealer = router(a(), a("b"), a=2, b=1)
    assert Counter(dealer.route("x@example.com").choice.name for _ in range(3)) == {"a": 2, "b": 1}
    assert dealer.route("x@example.com") == Routed(BUSY)


def test_what_nobody_may_take_now_waits() -> None:
    assert router(a(open=True), a("b", mode=Mode.DRAINED)).route("x@example.com") == Routed(DOWN)


def test_what_nobody_serves_goes_nowhere() -> None:
    assert router(a(serves=("example.org",))).route("x@example.com") == Routed(NOWHERE)


def test_a_provider_that_may_have_recovered_gets_one() -> None:
    dealer = router(a(open=True), a("b"), probe="a")
    first, second = dealer.route("x@example.com"), dealer.route("x@example.com")
    assert first == Routed(("a", "probe"), spare=True)
    assert (second.choice.name, dealer.probe) == ("b", "")


def test_one_that_serves_only_others_does_not_get_the_probe() -> None:
    dealer = router(a(open=True, serves=("example.org",)), a("b"), probe="a")
    assert dealer.route("x@example.com").choice.name == "b" and dealer.probe == "a"


@pytest.mark.parametrize(
    ("others", "tried", "spare"),
    [
        ((), set(), False),
        ((a("b"),), set(), True),
        ((a("b"),), {"b"}, False),
        ((a("b", open=True),), set(), False),
        ((a("b", serves=("example.org",)),), set(), False),
    ],
)
def test_whether_another_could_take_it_at_once(
    others: tuple[Candidate, ...], tried: set[str], spare: bool
) -> None:
    routed = router(a(mode=Mode.PINNED), *others).route("x@example.com", tried)
    assert routed.choice.name == "a" and routed.spare is spare


@pytest.mark.parametrize(
    ("candidates", "room", "limit"),
    [
        ([a()], {"a": 500}, 500),
        ([a(), a("b")], {"a": 500, "b": 500}, 1000),
        ([a(), a("b")], {"a": 500, "b": 32}, 64),  # half of it each
        ([a(weight=300), a("b")], {"a": 500, "b": 32}, 128),
        ([a(), a("b")], {"a": 500, "b": 0}, 500),
        ([a(), a("b", open=True)], {"a": 500, "b": 0}, 500),
        ([a(), a("b", weight=0)], {"a": 500, "b": 32}, 500),
        ([a(weight=0), a("b", weight=0)], {"a": 5, "b": 3}, 8),
        ([a(), a("b", mode=Mode.PINNED)], {"a": 500, "b": 32}, 32),
        ([a()], {"a": 0}, 0),
        ([], {}, 0),
    ],
)
def test_as_many_are_taken_as_fit_by_their_shares(
    candidates: list[Candidate], room: dict[str, int], limit: int
) -> None:
    assert batch_limit(candidates, room) == limit
