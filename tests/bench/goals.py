"""The rows of the benchmark: what each is to reach, and what stands in its way where it does not.

`LIMITS` is written by hand, from profiles, and only shown under a row with a goal that was not reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Goal:
    """A figure, or its ratio to the floor or peer, is to be at least or at most so much."""

    figure: str
    at_least: float | None = None
    at_most: float | None = None
    ratio: bool = False

    @property
    def text(self) -> str:
        sign, value = ("≥", self.at_least) if self.at_least is not None else ("≤", self.at_most)
        return f"{sign} {value:,g}{' ×' if self.ratio else ''}"

    def reached(self, line: Mapping[str, Any]) -> bool:
        value = line["ratio" if self.ratio else "figures"].get(self.figure)
        if value is None:
            return False
        return value >= self.at_least if self.at_least is not None else value <= self.at_most


ROWS: dict[str, tuple[Goal, ...]] = {
    "pipeline": (
        Goal("email", at_least=10_000),
        Goal("email", at_least=0.5, ratio=True),
        Goal("in_app", at_least=8_000),
        Goal("sms", at_least=4_000),
    ),
    "mix": (Goal("sustained_per_s", at_least=5_787),),
    "api": (
        Goal("single", at_least=1_000),
        Goal("single_p99_ms", at_most=100),
        Goal("bulk", at_least=10_000),
    ),
    "latency": (Goal("provider_p99_ms", at_most=250), Goal("socket_p99_ms", at_most=250)),
    "growth": (
        Goal("buffers_10M", at_most=1.2, ratio=True),
        Goal("us_10M", at_most=1.5, ratio=True),
        Goal("buffers_held_open", at_most=1.2, ratio=True),
        Goal("us_held_open", at_most=1.5, ratio=True),
    ),
    "sockets": (
        Goal("one_each_s", at_most=2),
        Goal("one_group_s", at_most=2),
        Goal("change_p99_ms", at_most=200),
    ),
    "peers": (
        Goal("obvious_design", at_least=50, ratio=True),
        Goal("post_office", at_least=1.5, ratio=True),
    ),
}

LIMITS: dict[str, str] = {
    "pipeline": (
        "the two cores, busy to 95 %: of an e-mail half is Postgres (one insert and two updates of a "
        "target, an attempt, their indexes), of an SMS nearly all is one HTTP request on either side "
        "(docs/decisions/0005-where-a-delivery-costs.md)."
    ),
    "mix": (
        "the two cores, as of the pipeline: push and SMS, 45 parts of the plan, are an HTTP request each, "
        "which takes 0.3 ms in the worker and 0.15 ms in the simulator before Postgres has written anything: "
        "at the peak 1.2 of the two cores for these alone."
    ),
    "api": (
        "Python in front of a commit: 1.4 ms of CPU for a single POST (docs/decisions/0003-http-server.md), "
        "and k6, which takes 0.3 ms of the same cores for each."
    ),
    "growth": (
        "with a transaction held open the entries of all that was claimed stay in the lane's index. Each "
        "process looks past them by its watermarks, but forgets these every three seconds, so that nothing "
        "that was committed late is overlooked for long, and then steps over all of them once: here that is "
        "one of four claims."
    ),
}
