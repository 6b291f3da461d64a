"""Many WebSocket clients in a few light processes: they read frames, answer pings (RFC 6455), and count."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from time import time

PROCESSES = 3
AT_ONCE = 16  # handshakes under way in each process: Twisted's queue of new connections is short
SLOWEST = 120.0  # seconds for all to be ready, or reached
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
HEARTBEAT = b'{"type":"heartbeat"'  # comes unasked, and tells nothing new


@contextmanager
def crowd(port: int, tokens: Sequence[str]) -> Iterator[Crowd]:
    """A socket for each token, open and greeted; closed at the end. Raises TimeoutError."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for number in range(PROCESSES):
        ours, theirs = context.Pipe()
        arguments = (theirs, port, tokens[number::PROCESSES])
        process = context.Process(target=_run, args=arguments, daemon=True)
        process.start()
        pipes.append(ours)
        processes.append(process)
    try:
        for pipe in pipes:
            _told(pipe)
        yield Crowd(pipes)
    finally:
        for process in processes:
            process.terminate()
            process.join()


class Crowd:
    """The open sockets."""

    def __init__(self, pipes: list[Connection]) -> None:
        self._pipes = pipes

    def all_reached(self) -> float:
        """When the last of them got its next notification, in seconds since 1970. Raises TimeoutError.

        What comes before the call counts: it may be made after the sending.
        """
        return max(_told(pipe) for pipe in self._pipes)


def _told(pipe: Connection) -> float:
    if not pipe.poll(SLOWEST):
        raise TimeoutError(f"not every socket was ready, or reached, within {SLOWEST} s")
    when: float = pipe.recv()
    return when


def _run(pipe: Connection, port: int, tokens: Sequence[str]) -> None:
    asyncio.run(_Group(pipe, len(tokens)).connect(port, tokens))


class _Group:
    """One process's sockets. Tells the pipe when all are greeted, and each time all have one more."""

    def __init__(self, pipe: Connection, size: int) -> None:
        self._pipe = pipe
        self._size = size
        self._heard: list[
            int
        ] = []  # how many sockets have heard so often: of the greeting, and of each round

    async def connect(self, port: int, tokens: Sequence[str]) -> None:
        """Open them all, and stay until terminated."""
        slots = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(self._open(port, token, slots) for token in tokens))
        await asyncio.Event().wait()

    async def _open(self, port: int, token: str, slots: asyncio.Semaphore) -> None:
        loop = asyncio.get_running_loop()
        async with slots:
            greeted = asyncio.Event()
            await loop.create_connection(lambda: _Client(self, token, greeted), "127.0.0.1", port)
            await greeted.wait()

    def heard(self, times: int) -> None:
        """A socket has heard for the time of this number, the greeting being the first."""
        if len(self._heard) < times:
            self._heard.append(0)
        self._heard[times - 1] += 1
        if self._heard[times - 1] == self._size:
            self._pipe.send(time())


class _Client(asyncio.Protocol):
    """One socket."""

    def __init__(self, group: _Group, token: str, greeted: asyncio.Event) -> None:
        self._group = group
        self._token = token
        self._greeted = greeted
        self._data = b""
        self._upgraded = False
        self._heard = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(
            "GET /ws/notifications/ HTTP/1.1\r\nHost: localhost\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Sec-WebSocket-Protocol: carillon, bearer.{self._token}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._upgraded:
            head, found, rest = self._data.partition(b"\r\n\r\n")
            if not found:
                return
            assert b" 101 " in head[:20], head
            self._upgraded, self._data = True, rest
        while (frame := self._frame()) is not None:
            self._take(*frame)

    def connection_lost(self, error: Exception | None) -> None:
        os._exit(1)  # a socket that is lost ends the measurement

    def _frame(self) -> tuple[int, bytes] | None:
        """The next whole frame of the server's, unmasked and below 64 KiB: its opcode and payload."""
        data = self._data
        if len(data) < 4 and (len(data) < 2 or data[1] > len(data) - 2):
            return None
        start, length = (4, int.from_bytes(data[2:4])) if data[1] == 126 else (2, data[1])
        if len(data) < start + length:
            return None
        self._data = data[start + length :]
        return data[0] & 0x0F, data[start : start + length]

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self._transport.write(bytes([0x80 | PONG, 0x80 | len(payload), 0, 0, 0, 0]) + payload)  # mask 0
        elif opcode == CLOSE:
            os._exit(1)
        elif opcode == TEXT and not payload.startswith(HEARTBEAT):
            self._heard += 1
            self._group.heard(self._heard)
            self._greeted.set()
