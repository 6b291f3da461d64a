"""What the tests of receivers share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from apps.integrations.contract import BadReceipt, ReceiptEvent, ReceivedRequest, Receiver
from apps.integrations.simulator import Simulator

SLOWEST = 20.0  # seconds


def received(body: bytes, url: str = "https://carillon.example/r/", **headers: str) -> ReceivedRequest:
    return ReceivedRequest(url=url, headers=CIMultiDict(headers), body=body)


def check_any_body(receiver: Receiver, request: ReceivedRequest) -> None:
    """Whatever it holds, it is refused as unreadable, or gives events that the database can keep."""
    try:
        events = receiver.parse(request)
    except BadReceipt:
        return
    for event in events:
        assert 0 < len(event.event_id) <= 200 and len(event.code) <= 60 and len(event.address) <= 254
        for text in (event.event_id, event.code, event.address, event.provider_message_id):
            assert b"\x00" not in text.encode()
        assert event.raw in request.body


@dataclass
class Inbox:
    """An endpoint like ours: it verifies, reads, and keeps what it was sent."""

    receiver: Receiver
    url: str = ""
    refusals: int = 0  # how many of the next requests are answered with a 503
    requests: int = 0
    events: list[ReceiptEvent] = field(default_factory=list)
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, count: int) -> list[ReceiptEvent]:
        """The events, once there are that many."""
        async with asyncio.timeout(SLOWEST), self.came:
            await self.came.wait_for(lambda: len(self.events) >= count)
        return self.events

    async def _take(self, request: web.Request) -> web.Response:
        url = f"http://{request.host}{request.raw_path}"
        whole = ReceivedRequest(url=url, headers=request.headers, body=await request.read())
        self.receiver.verify(whole)
        self.requests += 1
        if self.refusals:
            self.refusals -= 1
            return web.Response(status=503)
        async with self.came:
            self.events += self.receiver.parse(whole)
            self.came.notify_all()
        return web.Response(status=204)


@asynccontextmanager
async def serving(inbox: Inbox) -> AsyncIterator[Inbox]:
    app = web.Application()
    app.router.add_post("/api/receipts/{provider}/", inbox._take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    inbox.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/receipts/{inbox.receiver.key}/"
    yield inbox
    await runner.cleanup()


async def turn_on(simulator: Simulator, inbox: Inbox, **options: object) -> None:
    wanted = {"provider": inbox.receiver.key, "url": inbox.url, "delay_ms": 0, **options}
    await control(simulator, "/receipts", wanted)


async def control(simulator: Simulator, path: str, wanted: object, status: int = 200) -> None:
    """A call of the simulator's own API."""
    async with (
        aiohttp.ClientSession(simulator.url) as client,
        client.post(path, json=wanted) as answer,
    ):
        assert answer.status == status, await answer.text()
