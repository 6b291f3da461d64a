"""The plan: repeatable, complete, and in time."""

from __future__ import annotations

import pytest

from tests.chaos import plan
from tests.chaos.faults import FAULTS
from tests.chaos.plan import BY_NAME, KINDS, PROFILES


def test_the_same_seed_gives_the_same_plan_and_another_seed_another() -> None:
    assert plan.make(7, 40, "full") == plan.make(7, 40, "full")
    assert plan.make(7, 40, "full") != plan.make(8, 40, "full")


@pytest.mark.parametrize("seed", range(20))
def test_each_kind_comes_in_every_twenty(seed: int) -> None:
    faults = [one for planned in plan.make(seed, 60, "quick") for one in planned]
    for start in (0, 20, 40):
        assert {one.kind for one in faults[start : start + 20]} == {kind.name for kind in KINDS}
    assert [one.number for one in faults] == list(range(1, 61))


def test_every_variant_comes_sooner_or_later() -> None:
    made = {(one.kind, one.variant) for planned in plan.make(1, 4_000, "full") for one in planned}
    assert made == {(kind.name, variant) for kind in KINDS for variant in kind.variants}


def test_faults_overlap_within_a_round_and_each_is_as_its_kind_says() -> None:
    pace = PROFILES["full"]
    rounds = plan.make(3, 200, "full")
    assert [len(planned) for planned in rounds] == [pace.in_round] * 20
    for planned in rounds:
        assert all(0 <= one.at <= pace.in_round * pace.between for one in planned)
        assert all(one.seconds == BY_NAME[one.kind].full for one in planned)
        assert all(one.variant in BY_NAME[one.kind].variants for one in planned)


def test_a_number_of_faults_that_fills_no_round_is_kept() -> None:
    assert [len(planned) for planned in plan.make(1, 13, "quick")] == [10, 3]


def test_every_kind_is_a_fault_that_can_be_played() -> None:
    assert FAULTS.keys() == BY_NAME.keys()
