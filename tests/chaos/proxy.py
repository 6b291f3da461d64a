"""A TCP proxy of our own: what stands between two processes can be slow, cut, silent or closed.

It also counts what a provider never answered, on the wire: what no process of ours has to be believed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.wire import Http1, Wire

CHUNK = 65_536
LAST_WORDS = 0.05  # seconds in which what is on its way is still counted, before a connection is cut
_HARD = struct.pack("ii", 1, 0)  # SO_LINGER: a close is a reset


@dataclass(frozen=True, eq=False)
class Condition:
    """What is wrong with a link while it is on. Several add up."""

    latency: float = 0.0  # seconds, each way
    resets_every: float = 0.0  # seconds between cuts of every connection, on average
    silent: bool = False  # bytes vanish; who lost some is cut off when it is over
    refuses: bool = False  # nobody listens


class Proxy:
    """Listens on 127.0.0.1, on a port that stays its own also while it refuses.

    `wire` makes what counts the messages of a connection.
    """

    def __init__(self, upstream: int, *, chance: random.Random, wire: Callable[[], Wire] = Http1) -> None:
        self.upstream = upstream  # a port of this machine; may be changed
        self._unanswered = 0  # on connections that have ended
        self._wire = wire
        self._chance = chance
        self._conditions: dict[Condition, asyncio.Task[None] | None] = {}
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        # Bound and not listening: whoever connects is refused, and nobody else gets the port.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.port: int = self._reserved.getsockname()[1]

    async def start(self) -> None:
        """Begin to listen."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, reuse_port=True, backlog=512
        )

    async def close(self) -> None:
        """Cut everything off for good."""
        for condition in list(self._conditions):
            await self.heal(condition)
        self._stop_listening()
        await self._cut_all()
        self._reserved.close()

    async def suffer(self, condition: Condition) -> None:
        """Let a condition begin."""
        resets = asyncio.create_task(self._reset(condition.resets_every)) if condition.resets_every else None
        self._conditions[condition] = resets
        if condition.refuses:
            await self._cut_all()  # which leaves time for who is just connecting
            self._stop_listening()
            await self._cut_all()

    async def heal(self, condition: Condition) -> None:
        """Let a condition end."""
        resets = self._conditions.pop(condition, None)
        if resets is not None:
            resets.cancel()
        if not self.silent:
            await asyncio.gather(*(one.cut() for one in self._connections if one.lost))
        if self._server is None and not any(one.refuses for one in self._conditions):
            await self.start()

    @property
    def unanswered(self) -> int:
        """Messages that have no answer, or none in time."""
        return self._unanswered + sum(one.wire.unanswered for one in self._connections)

    @property
    def silent(self) -> bool:
        return any(one.silent for one in self._conditions)

    @property
    def latency(self) -> float:
        return sum(one.latency for one in self._conditions)

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _cut_all(self) -> None:
        await asyncio.gather(*(connection.cut() for connection in self._connections))

    async def _reset(self, every: float) -> None:
        while True:
            await asyncio.sleep(every * self._chance.uniform(0.5, 1.5))
            await self._cut_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, self._wire(), reader, writer)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            self._unanswered += connection.wire.unanswered


class _Connection:
    """A client's connection, and the one behind it."""

    def __init__(
        self, proxy: Proxy, wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.wire = wire
        self.lost = False  # some of its bytes vanished
        self._ends = False  # from here on nothing is passed on, only counted
        self._proxy = proxy
        self._reader, self._writer = reader, writer
        self._up: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]

    async def run(self) -> None:
        """Pass on both ways until both sides have ended, or one in the middle of something."""
        self._up = asyncio.ensure_future(asyncio.open_connection("127.0.0.1", self._proxy.upstream))
        pumps = [asyncio.create_task(self._ask()), asyncio.create_task(self._answer())]
        done, left = await asyncio.wait(pumps, return_when=asyncio.FIRST_EXCEPTION)
        if any(pump.exception() for pump in done):
            await self.cut()
        for pump in left:
            pump.cancel()
        await asyncio.gather(*pumps, self._up, return_exceptions=True)
        for writer in self._writers():
            writer.close()

    async def cut(self) -> None:
        """Reset it, after its last words were counted."""
        self._ends = True
        await asyncio.sleep(LAST_WORDS)
        for writer in self._writers():
            with contextlib.suppress(OSError, AttributeError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _HARD)
            writer.transport.abort()

    def _writers(self) -> list[asyncio.StreamWriter]:
        is_up = self._up.done() and not self._up.cancelled() and not self._up.exception()
        return [self._writer, *([self._up.result()[1]] if is_up else [])]

    async def _ask(self) -> None:
        while data := await self._reader.read(CHUNK):
            self.wire.asked(data)
            _, up = await self._up
            await self._pass(data, up)
        if self.wire.pending:
            raise ConnectionAbortedError("the client has left without its answer")
        await self._end((await self._up)[1])

    async def _answer(self) -> None:
        up, _ = await self._up
        while data := await up.read(CHUNK):
            if await self._pass(data, self._writer):
                self.wire.answered(data)
        await self._end(self._writer)

    async def _pass(self, data: bytes, to: asyncio.StreamWriter) -> bool:
        """Pass on; whether it was."""
        if self._proxy.latency:
            await asyncio.sleep(self._proxy.latency)
        self.lost |= self._proxy.silent
        if self.lost or self._ends:
            return False
        to.write(data)
        await to.drain()
        return True

    async def _end(self, to: asyncio.StreamWriter) -> None:
        if to.can_write_eof() and not self.lost:
            to.write_eof()
