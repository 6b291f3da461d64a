"""How the gate follows what Twisted says of a request's transport."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

from apps.websocket.flow import Backpressure, Gate

PART = {"type": "http.response.body", "body": b"a", "more_body": True}
LAST = {"type": "http.response.body", "body": b""}


def requested() -> tuple[Request, HTTPChannel]:
    """A request that has come in, and the connection it came by."""
    channel = HTTPChannel()
    channel.timeOut = None
    channel.requestFactory = Asked
    channel.makeConnection(StringTransport())
    channel.dataReceived(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    (request,) = channel.requests
    return request, channel


class Asked(Request):
    def process(self) -> None:
        """Answered by the test."""


async def served(request: Request, inner: Callable[[Gate, Any], Awaitable[None]]) -> list[object]:
    """Which producer the request had when each message reached the server."""
    producers: list[object] = []

    async def handle_reply(protocol: Request, message: dict[str, Any]) -> None:
        producers.append(protocol.producer)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope["gate"], send)

    await Backpressure(app)({"type": "http"}, None, partial(handle_reply, request))  # type: ignore[arg-type]
    return producers


async def is_open(gate: Gate) -> bool:
    try:
        async with asyncio.timeout(0.01):
            await gate.wait()
    except TimeoutError:
        return False
    return True


async def test_it_is_shut_while_the_transport_is_full():
    request, channel = requested()

    async def inner(gate: Gate, send: Any) -> None:
        assert await is_open(gate)
        channel.pauseProducing()
        assert not await is_open(gate)
        channel.resumeProducing()
        assert await is_open(gate)

    await served(request, inner)


async def test_it_opens_when_the_transport_is_gone():
    request, channel = requested()

    async def inner(gate: Gate, send: Any) -> None:
        channel.pauseProducing()
        waiting = asyncio.create_task(gate.wait())
        channel.stopProducing()  # as the transport does that has lost its connection
        async with asyncio.timeout(5):
            await waiting

    await served(request, inner)


async def test_the_request_has_no_producer_any_more_when_it_ends():
    request, _ = requested()

    async def inner(gate: Gate, send: Any) -> None:
        await send(PART)
        await send(LAST)

    first, last = await served(request, inner)
    assert isinstance(first, Gate) and last is None


@pytest.mark.parametrize("ended", ["before", "meanwhile"])
async def test_a_request_whose_client_has_gone_is_served_to_its_end(ended):
    request, channel = requested()

    async def inner(gate: Gate, send: Any) -> None:
        if ended == "meanwhile":
            channel.connectionLost(Failure(ConnectionLost()))
        await send(LAST)
        assert await is_open(gate)

    if ended == "before":
        channel.connectionLost(Failure(ConnectionLost()))
    assert len(await served(request, inner)) == 1


async def test_with_a_server_whose_send_waits_it_is_open():
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert await is_open(scope["gate"])
        await send(LAST)

    await Backpressure(app)({"type": "http"}, None, send)  # type: ignore[arg-type]
    assert sent == [LAST]
