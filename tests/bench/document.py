"""Writes docs/performance.md: each figure beside its floor or peer, and its goal."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from project.dev.machine import REPOSITORY
from tests.bench import results
from tests.bench.goals import LIMITS, ROWS

PATH = REPOSITORY / "docs" / "performance.md"
HEAD = """# How fast it is

Written by `bin/bench all --write-docs`; do not edit. Everything runs on one machine: Postgres and Redis
(durable, as in production), API, workers, sockets, the simulated providers and whatever makes the load. Each
figure stands beside its floor (the same done by the bare tools) or a peer on the same servers, measured in
the same run; the ratio is figure : floor.
"""


class NothingMeasured(Exception):
    """There is nothing to write yet."""


def write(path: Path = PATH) -> None:
    """Write the page from the newest results. Raises NothingMeasured."""
    lines = results.latest()
    if not lines:
        raise NothingMeasured("nothing was measured here yet: run `bin/bench all`")
    path.write_text(page(lines))
    print(f"wrote {path.relative_to(REPOSITORY)}: {', '.join(name for name in ROWS if name in lines)}")


def page(lines: Mapping[str, Mapping[str, Any]]) -> str:
    """The text of the page; a row that was not measured is not in it."""
    on = next(iter(lines.values()))["on"]
    measured = f"Measured on {', '.join(f'{name} {version}' for name, version in on.items())}."
    parts = [HEAD, measured.replace("cores ", "", 1) + "\n"]
    return "\n".join(parts + [_row(name, lines[name]) for name in ROWS if name in lines])


def _row(name: str, line: Mapping[str, Any]) -> str:
    text = inspect.cleandoc(import_module(f"tests.bench.{name}").__doc__ or "")
    shown = [figure for figure in line["figures"] if figure in line["floor"]]
    rest = [figure for figure in line["figures"] if figure not in line["floor"]]
    table = ["| figure | measured | floor or peer | ratio | goal | reached |", "|---|---|---|---|---|---|"]
    table += [_figure(name, figure, line) for figure in shown]
    parts = [f"## {name}\n{text}\n\n{line['at']}:\n", "\n".join(table) + "\n"]
    if rest:
        told = [f"{key} {_number(line['figures'][key])}" for key in rest]
        parts.append(f"In the same run: {', '.join(told)}.\n")
    if name in LIMITS and not all(goal.reached(line) for goal in ROWS[name]):
        parts.append(f"What limits it: {LIMITS[name]}\n")
    return "\n".join(parts)


def _figure(name: str, figure: str, line: Mapping[str, Any]) -> str:
    goals = [goal for goal in ROWS[name] if goal.figure == figure]
    cells = (
        figure,
        _number(line["figures"][figure]),
        _number(line["floor"][figure]),
        _number(line["ratio"].get(figure, "")),
        " and ".join(goal.text for goal in goals),
        ", ".join("yes" if goal.reached(line) else "**no**" for goal in goals),
    )
    return f"| {' | '.join(cells)} |"


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)
