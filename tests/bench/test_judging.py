"""What the benchmarks conclude from their samples, and what of it the page says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench import document, mix, results
from tests.bench.goals import LIMITS, ROWS, Goal

ON = {"cores": "2 × A processor", "python": "3.11.7"}


def line(name: str, **parts: Any) -> dict[str, Any]:
    return {
        "name": name,
        "figures": {},
        "floor": {},
        "ratio": {},
        "cores": 2,
        "at": "2027-01-31",
        "on": ON,
    } | parts


@pytest.mark.parametrize(
    ("samples", "rise"),
    [([0, 1, 2, 3], 1.0), ([5, 5, 5], 0.0), ([9, 6, 3], -3.0), ([0, 300, 0, 300, 0], 0.0)],
)
def test_slope_is_the_rise_from_one_sample_to_the_next(samples: list[float], rise: float) -> None:
    assert mix.slope(samples) == pytest.approx(rise)


def test_a_rate_is_sustained_while_the_backlog_only_swings() -> None:
    backlog = [(3_000, 0, 1_500)[second % 3] for second in range(61)]
    settled = [5_787 * second - backlog[second] for second in range(61)]
    figures = mix.judge(5_787, settled, backlog)
    assert figures["sustained_per_s"] == 5_787
    assert figures["backlog_max"] == 3_000


def test_a_backlog_that_grows_makes_the_rate_what_was_settled() -> None:
    settled = [5_000 * second for second in range(61)]
    backlog = [787 * second for second in range(61)]
    figures = mix.judge(5_787, settled, backlog)
    assert figures["sustained_per_s"] == figures["settled_per_s"] == 5_000
    assert figures["backlog_slope_per_s"] == 787
    assert figures["backlog_end"] == 47_220


def test_the_mix_is_offered_in_the_plans_proportions() -> None:
    assert mix.sizes(1_000) == {"email": 2_000, "push": 1_200, "sms": 600, "in_app": 200}


@pytest.mark.parametrize(
    ("goal", "reached"),
    [
        (Goal("a", at_least=10), True),
        (Goal("a", at_least=11), False),
        (Goal("a", at_most=10), True),
        (Goal("a", at_most=9), False),
        (Goal("a", at_least=0.5, ratio=True), True),
        (Goal("a", at_most=0.4, ratio=True), False),
        (Goal("missing", at_most=10), False),
    ],
)
def test_a_goal_is_about_a_figure_or_its_ratio(goal: Goal, reached: bool) -> None:
    assert goal.reached({"figures": {"a": 10}, "ratio": {"a": 0.5}}) is reached


def test_the_page_has_each_figure_beside_its_floor_and_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "api", "Python.")
    api = line(
        "api",
        figures={"single": 900, "bulk": 12_000, "loose": 7},
        floor={"single": 2_000, "bulk": 60_000},
        ratio={"single": 0.45, "bulk": 0.2},
    )
    page = document.page({"api": api})
    assert "| single | 900 | 2,000 | 0.45 | ≥ 1,000 | **no** |" in page
    assert "| bulk | 12,000 | 60,000 | 0.2 | ≥ 10,000 | yes |" in page
    assert "| loose" not in page  # a figure without a floor is only told
    assert "In the same run: loose 7." in page
    assert "What limits it: Python." in page
    assert "2027-01-31" in page and "2 × A processor, python 3.11.7" in page
    assert "## mix" not in page  # it was not measured


def test_the_page_names_no_limit_where_every_goal_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "mix", "Postgres.")
    reached = line("mix", figures={"sustained_per_s": 5_787}, floor={"sustained_per_s": 30_000})
    assert "Postgres." not in document.page({"mix": reached})


def test_only_what_was_measured_on_the_newest_machine_counts(tmp_path: Path) -> None:
    old = line("mix", on=ON | {"python": "3.10.0"})
    api, again = line("api", figures={"single": 1}), line("api", figures={"single": 2})
    file = tmp_path / "bench.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in (old, api, again)))
    assert results.latest(file) == {"api": again}
    assert results.latest(tmp_path / "nothing") == {}


def test_every_row_has_a_module_that_says_what_it_measures() -> None:
    every = {name: line(name) for name in ROWS}
    page = document.page(every)
    assert [part.split("\n")[0] for part in page.split("\n## ")[1:]] == list(ROWS)
    assert LIMITS.keys() <= ROWS.keys()
