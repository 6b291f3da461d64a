"""Waiting for a slow reader.

Daphne's `send` returns before anything is written and Twisted keeps the rest in memory, so somebody who
replays a long inbox and never reads would hold all of it. Twisted does tell a *producer* when more than
64 KiB wait to be written and when they are gone (twisted.internet.interfaces.IPushProducer): this is one.
A server whose own `send` waits needs none of this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Gate:
    """Open while the transport takes more."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()

    def pauseProducing(self) -> None:
        self._open.clear()

    def resumeProducing(self) -> None:
        self._open.set()

    stopProducing = resumeProducing

    async def wait(self) -> None:
        """Returns once the transport takes more. Who waits must end it for a reader who is gone: sockets do
        by Daphne's ping timeout, streams with their credentials."""
        await self._open.wait()


class Backpressure:
    """Gives every socket or stream a `Gate` as `scope["gate"]`. Must be outermost: it needs the server's own
    `send`."""

    def __init__(self, inner: App) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gate = Gate()
        if scope["type"] == "http":
            send = _fed_by(gate, send)
        elif transport := _transport_of(send):
            transport.unregisterProducer()  # the HTTP channel the connection was upgraded from
            transport.registerProducer(gate, True)
        await self._inner({**scope, "gate": gate}, receive, send)


def _fed_by(gate: Gate, send: Send) -> Send:
    """`send` of an HTTP request whose producer is the gate, until the last of its body."""
    request = _protocol_of(send)
    if not _is_open(request):
        return send
    request.registerProducer(gate, True)

    async def until_last(message: Any) -> None:
        is_last = message["type"] == "http.response.body" and not message.get("more_body")
        if is_last and _is_open(request):
            request.unregisterProducer()  # the connection may serve another request then
        await send(message)

    return until_last


def _is_open(request: Any) -> bool:
    """Twisted takes the channel from a request that has ended."""
    return getattr(request, "channel", None) is not None


def _transport_of(send: Send) -> Any | None:
    transport = getattr(_protocol_of(send), "transport", None)
    return transport if hasattr(transport, "registerProducer") else None


def _protocol_of(send: Send) -> Any:
    """Daphne's `send` is a partial of `Server.handle_reply` over the socket's protocol or the request."""
    return next(iter(getattr(send, "args", ())), None)
