"""The proxy over real sockets: it delays, cuts, swallows, refuses, and counts what was not answered."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tests.chaos.proxy import Condition, Proxy
from tests.chaos.wire import Http1, Wire

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
ASKED = b'{"attempt":"1"} {"attempt":"2"}'


@asynccontextmanager
async def proxied(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    wire: Callable[[], Wire] = Http1,
) -> AsyncIterator[Proxy]:
    """A proxy in front of a server of the test."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy = Proxy(server.sockets[0].getsockname()[1], chance=random.Random(1), wire=wire)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()
        server.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(65_536):
        pass
    writer.close()


async def connect(proxy: Proxy) -> Streams:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def ask(streams: Streams, text: bytes) -> bytes:
    streams[1].write(text)
    return await asyncio.wait_for(streams[0].readexactly(len(text)), 5)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def is_cut(streams: Streams) -> bool:
    """Whether the connection ends, by a reset or an end of file, within a while."""
    try:
        return await asyncio.wait_for(streams[0].read(1), 5) == b""
    except ConnectionError:
        return True


async def test_bytes_pass_both_ways_and_so_does_the_end() -> None:
    async with proxied(echo) as proxy:
        streams = await connect(proxy)
        big = random.Random(1).randbytes(1_000_000)
        assert await ask(streams, b"hello") == b"hello"
        assert await ask(streams, big) == big
        streams[1].write_eof()
        assert await streams[0].read() == b""
        streams[1].close()
    assert proxy.unanswered == 0


async def test_latency_is_added_each_way_and_taken_away_again() -> None:
    async with proxied(echo) as proxy:
        streams, slow, slower = await connect(proxy), Condition(latency=0.1), Condition(latency=0.05)
        await proxy.suffer(slow)
        await proxy.suffer(slower)
        began = time.monotonic()
        await ask(streams, b"slow")
        assert time.monotonic() - began >= 0.3
        await proxy.heal(slow)
        await proxy.heal(slower)
        began = time.monotonic()
        await ask(streams, b"fast")
        assert time.monotonic() - began < 0.3
        streams[1].close()


async def test_resets_cut_connections_until_healed() -> None:
    async with proxied(echo) as proxy:
        resets = Condition(resets_every=0.05)
        first = await connect(proxy)
        await ask(first, b"there")
        await proxy.suffer(resets)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(first[0].read(1), 5)
        await proxy.heal(resets)
        second = await connect(proxy)
        await asyncio.sleep(0.2)
        assert await ask(second, b"well") == b"well"
        second[1].close()


async def test_a_black_hole_swallows_bytes_and_cuts_off_who_lost_some_when_it_is_over() -> None:
    async with proxied(echo) as proxy:
        hole = Condition(silent=True)
        lost, quiet = await connect(proxy), await connect(proxy)
        await ask(lost, b"before")
        await ask(quiet, b"before")
        await proxy.suffer(hole)
        lost[1].write(b"into nothing")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lost[0].read(1), 0.2)
        await proxy.heal(hole)
        assert await is_cut(lost)
        assert await ask(quiet, b"after") == b"after"
        quiet[1].close()


async def test_a_port_that_refuses_stays_its_own() -> None:
    async with proxied(echo) as proxy:
        closed = Condition(refuses=True)
        before, port = await connect(proxy), proxy.port
        await ask(before, b"there")
        await proxy.suffer(closed)
        assert await is_cut(before)
        with pytest.raises(ConnectionRefusedError):
            await connect(proxy)
        with pytest.raises(OSError, match="in use"):
            await asyncio.start_server(echo, "127.0.0.1", port)
        await proxy.heal(closed)
        streams = await connect(proxy)
        assert await ask(streams, b"again") == b"again"
        streams[1].close()


async def test_an_upstream_that_is_away_is_a_cut_and_one_that_moved_is_found() -> None:
    async with proxied(echo) as proxy, proxied(echo) as other:
        there, proxy.upstream = proxy.upstream, other.port
        streams = await connect(proxy)
        assert await ask(streams, b"moved") == b"moved"
        streams[1].close()
        other_upstream, other.upstream = other.upstream, 1
        assert await is_cut(await connect(other))
        proxy.upstream, other.upstream = there, other_upstream


async def test_messages_are_counted_that_a_provider_did_not_answer() -> None:
    async with proxied(swallow) as proxy:
        streams = await connect(proxy)
        streams[1].write(ASKED[:6])  # the mark of the first is split between two reads
        await asyncio.sleep(0.05)
        streams[1].write(ASKED[6:])
        await streams[1].drain()
        await asyncio.sleep(0.05)
        streams[1].close()
        await eventually(lambda: proxy.unanswered > 0)
        assert proxy.unanswered == 2


async def test_messages_that_were_answered_are_not_counted() -> None:
    async with proxied(echo) as proxy:
        streams = await connect(proxy)
        await ask(streams, ASKED)
        await ask(streams, b"StatusCallback=x%3Fattempt%3D7")
        streams[1].close()
        await streams[1].wait_closed()
    assert proxy.unanswered == 0


async def test_what_a_black_hole_swallowed_counts_as_not_answered() -> None:
    async with proxied(echo) as proxy:
        hole = Condition(silent=True)
        streams = await connect(proxy)
        await proxy.suffer(hole)
        streams[1].write(ASKED)
        await asyncio.sleep(0.1)
        await proxy.heal(hole)
        assert await is_cut(streams)
        await eventually(lambda: proxy.unanswered > 0)
        assert proxy.unanswered == 2
