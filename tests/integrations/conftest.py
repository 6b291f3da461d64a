"""A simulator per test, in the test's own loop and over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from apps.integrations.simulator import Simulator


@dataclass
class Seen:
    """One HTTP request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Running:
    """The simulator, and every HTTP request it got."""

    simulator: Simulator
    seen: list[Seen] = field(default_factory=list)


@pytest_asyncio.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    seen: list[Seen] = []

    async def capture(request: web.BaseRequest) -> None:
        seen.append(Seen(request.path, dict(request.headers), await request.read()))

    async with Simulator(tmp_path / "ledger.jsonl", smtp_port=0, http2_port=0, watcher=capture) as simulator:
        yield Running(simulator, seen)


@pytest.fixture
def simulator(running: Running) -> Simulator:
    return running.simulator


@dataclass
class Canned:
    """A vendor that has one answer to everything."""

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@pytest_asyncio.fixture
async def canned() -> AsyncIterator[Canned]:
    vendor = Canned()

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=vendor.status, headers=vendor.headers, body=vendor.body)

    app = web.Application()
    app.router.add_route("*", "/{anything:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    vendor.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield vendor
    await runner.cleanup()
