"""The simulator's own API: what it is told to do to us."""

from __future__ import annotations

import urllib.request

import orjson

from tests.chaos.plan import PROVIDERS
from tests.chaos.stage import Stage

LATENCY = 200  # ms from acceptance to the answer: a call is in the air for as long as with a real provider


def let_report(stage: Stage, provider: str) -> None:
    """Let this provider alone send receipts: of the other's calls nobody tells but who made them."""
    for other in PROVIDERS:
        if other != provider:
            _post(stage, "/receipts", {"provider": other, "url": ""})
    stage.reporting = provider
    report(stage)


def report(stage: Stage, **how: float | bool) -> None:
    """How the receipts come; promptly, once and in order unless it is said otherwise."""
    url = f"{stage.api_url}/api/receipts/{stage.reporting}/"
    _post(stage, "/receipts", {"provider": stage.reporting, "url": url, **how})


def answer_after(stage: Stage, milliseconds: float) -> None:
    """Let the simulator answer so long after it has accepted."""
    _post(stage, "/latency", {"provider": "*", "ms": milliseconds})


def script(stage: Stage, **fault: object) -> None:
    """Let the simulator play a fault."""
    _post(stage, "/faults", fault)


def _post(stage: Stage, path: str, wanted: dict[str, object]) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{stage.simulator_port}{path}",
        data=orjson.dumps(wanted),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=10).close()
