"""Two sockets of each of some people: how long from a change by one until the other is told of it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import aiohttp
import orjson

ROUNDS = 20  # changes by each person, one a second: a socket may send five a second
EVERY = 1.0  # seconds
LATEST = 10.0  # seconds


class Person(NamedTuple):
    """A token, and what is sent by turns: each is told to the other socket as `changed`."""

    token: str
    messages: tuple[str, ...]


def times_between(port: int, people: Sequence[Person]) -> list[float]:
    """Seconds of each change, with all of these people at it at once. Raises TimeoutError."""
    return asyncio.run(_times_between(port, people))


async def _times_between(port: int, people: Sequence[Person]) -> list[float]:
    async with aiohttp.ClientSession() as session:
        pairs = [[await _open(session, port, one.token) for _ in range(2)] for one in people]
        begin = time.monotonic()
        starts = (begin + EVERY * number / len(people) for number in range(len(people)))
        measured = [
            _change(*pair, itertools.cycle(one.messages), start)
            for pair, one, start in zip(pairs, people, starts, strict=True)
        ]
        return list(itertools.chain(*await asyncio.gather(*measured)))


async def _open(session: aiohttp.ClientSession, port: int, token: str) -> aiohttp.ClientWebSocketResponse:
    url = f"ws://127.0.0.1:{port}/ws/notifications/"
    socket = await session.ws_connect(url, protocols=("carillon", f"bearer.{token}"))
    await socket.receive(LATEST)  # its greeting
    return socket


async def _change(
    tab: aiohttp.ClientWebSocketResponse,
    other: aiohttp.ClientWebSocketResponse,
    messages: Iterator[str],
    start: float,
) -> list[float]:
    seconds = []
    reading = asyncio.create_task(_read(tab))
    for number in range(ROUNDS):
        await asyncio.sleep(max(0.0, start + number * EVERY - time.monotonic()))
        sent = time.monotonic()
        await tab.send_str(next(messages))
        await _changed(other)
        seconds.append(time.monotonic() - sent)
    reading.cancel()
    return seconds


async def _read(socket: aiohttp.ClientWebSocketResponse) -> None:
    """What comes, so that pings are answered."""
    async for _ in socket:
        pass


async def _changed(socket: aiohttp.ClientWebSocketResponse) -> None:
    async with asyncio.timeout(LATEST):
        while orjson.loads((await socket.receive()).data)["type"] != "changed":
            pass
