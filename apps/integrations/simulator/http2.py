"""The server's side of HTTP/2 in the clear, for vendors that speak nothing else: https://www.rfc-editor.org/rfc/rfc9113.

Clients must know that it is HTTP/2 ("prior knowledge"). Bodies of answers are small enough for one frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

MOST_STREAMS = 1_000  # at a time


@dataclass
class Request:
    """One request, whole. `headers` have the pseudo-headers (":method", ":path") among them."""

    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True)
class Reply:
    """What is answered."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Reset:
    """An answer that is none: the stream is reset with this error."""

    code: ErrorCodes


class Drop(Exception):
    """Raised by a handler: cut the connection."""


Handler = Callable[[Request], Awaitable[Reply | Reset]]


class Http2Protocol(asyncio.Protocol):
    """One connection. Each request is handled by a task of its own, which ends when the client leaves."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._requests: dict[int, Request] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._leaving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast(asyncio.Transport, transport)
        self._h2.initiate_connection()
        self._h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: MOST_STREAMS})
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Take in frames; a client that breaks the protocol is told so and left."""
        if self._leaving:
            return
        try:
            for event in self._h2.receive_data(data):
                self._take(event)
        except ProtocolError:
            self._flush()
            self._transport.close()
        self._flush()

    def connection_lost(self, _error: Exception | None) -> None:
        """Let go of what was being handled."""
        for task in self._tasks.values():
            task.cancel()

    def go_away(self, last_stream: int) -> None:
        """Say that the connection ends, and that streams after this one were not looked at.

        Nothing is answered any more.
        """
        self._leaving = True
        self._h2.close_connection(last_stream_id=last_stream)
        self._flush()

    def _take(self, event: object) -> None:
        if isinstance(event, RequestReceived):
            self._requests[event.stream_id] = Request(dict(event.headers))  # type: ignore[arg-type]  # by header_encoding
        elif isinstance(event, DataReceived):
            self._requests[event.stream_id].body += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            request = self._requests.pop(event.stream_id)
            task = asyncio.create_task(self._handle(event.stream_id, request))
            self._tasks[event.stream_id] = task
            task.add_done_callback(lambda _: self._tasks.pop(event.stream_id))
        elif isinstance(event, StreamReset):
            self._requests.pop(event.stream_id, None)
            if event.stream_id in self._tasks:
                self._tasks[event.stream_id].cancel()

    async def _handle(self, stream: int, request: Request) -> None:
        try:
            reply = await self._handler(request)
        except Drop:
            self._transport.abort()
            return
        if isinstance(reply, Reset):
            self._h2.reset_stream(stream, reply.code)
        else:
            self._h2.send_headers(stream, [(":status", str(reply.status)), *reply.headers.items()])
            self._h2.send_data(stream, reply.body, end_stream=True)
        self._flush()

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self._transport.write(data)
