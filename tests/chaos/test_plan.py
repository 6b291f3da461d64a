"""The plan: repeatable, complete, and in time."""

from __future__ import annotations

import pytest

from project.dev.processes import WORKERS
from tests.chaos import plan
from tests.chaos.checks import DRAINED_WITHIN
from tests.chaos.faults import FAULTS
from tests.chaos.plan import BY_NAME, KINDS, PROFILES, PROVIDERS


def test_the_same_seed_gives_the_same_plan_and_another_seed_another() -> None:
    assert plan.make(7, 40, "full") == plan.make(7, 40, "full")
    assert plan.make(7, 40, "full") != plan.make(8, 40, "full")


@pytest.mark.parametrize("seed", range(20))
def test_each_kind_comes_in_every_deal(seed: int) -> None:
    deal = len(KINDS)
    faults = [one for planned in plan.make(seed, 3 * deal, "quick") for one in planned]
    for start in (0, deal, 2 * deal):
        assert {one.kind for one in faults[start : start + deal]} == {kind.name for kind in KINDS}
    assert [one.number for one in faults] == list(range(1, 3 * deal + 1))


def test_a_quick_run_has_each_kind() -> None:
    assert PROFILES["quick"].faults == len(KINDS)


def test_every_variant_comes_sooner_or_later() -> None:
    made = {(one.kind, one.variant) for planned in plan.make(1, 20_000, "full") for one in planned}
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
    assert [len(planned) for planned in plan.make(1, 13, "full")] == [10, 3]


def test_every_kind_is_a_fault_that_can_be_played() -> None:
    assert FAULTS.keys() == BY_NAME.keys()


def test_every_group_and_every_provider_can_be_hit_and_a_drain_outlasts_what_workers_know() -> None:
    assert set(BY_NAME["kill-worker"].variants) == set(WORKERS)
    for kind in ("slow-link", "reset-link", "black-hole", "provider-errors", "provider-refuses"):
        assert {variant.split()[-1] for variant in BY_NAME[kind].variants} >= PROVIDERS.keys()
    assert BY_NAME["provider-drained"].quick > DRAINED_WITHIN
