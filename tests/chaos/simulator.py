"""The simulator's own API: what it is told to do to us."""

from __future__ import annotations

import urllib.request

import orjson

from tests.chaos.plan import PROVIDERS, TWINS
from tests.chaos.stage import Stage

LATENCY = 200  # ms from acceptance to the answer: a call is in the air for as long as with a real provider
REPORTING = TWINS  # the providers that send receipts


def let_report(stage: Stage, channel: str) -> None:
    """Let this channel's providers alone send receipts: of other calls nobody tells but who made them."""
    for name in REPORTING:
        if PROVIDERS[name] != channel:
            _post(stage, "/receipts", {"provider": name, "url": ""})
    stage.reporting = channel
    report(stage)


def report(stage: Stage, **how: float | bool) -> None:
    """How the receipts come; promptly, once and in order unless it is said otherwise."""
    for name in REPORTING:
        if PROVIDERS[name] == stage.reporting:
            url = f"{stage.api_url}/api/receipts/{name}/"
            _post(stage, "/receipts", {"provider": name, "url": url, **how})


def answer_after(stage: Stage, milliseconds: float, provider: str = "*") -> None:
    """Let the simulator answer so long after it has accepted."""
    _post(stage, "/latency", {"provider": provider, "ms": milliseconds})


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
