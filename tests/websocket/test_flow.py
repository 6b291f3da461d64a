"""Streams from the server as it is run: slow readers, readers that go, connections that are used again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
import pytest_asyncio

from apps.users.models import User
from apps.websocket.relay import MAX_SOCKETS_PER_USER
from apps.websocket.store import MOST_BEHIND
from tests.websocket.processes import Daphne
from tests.websocket.streams import STREAM, Event, Parser
from tests.websocket.support import deliver, hint, new_user, token

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]
DEADLINE = 30.0  # seconds


@pytest_asyncio.fixture
async def daphne(tmp_path) -> AsyncIterator[Daphne]:
    server = Daphne(tmp_path / "log", ROLE="sockets", WEBSOCKET_CATCH_UP_SECONDS="3600")
    await server.start()
    yield server
    log = server.stop()
    assert server.process.returncode == 0, log
    assert "Traceback" not in log and "was destroyed" not in log and "never retrieved" not in log, log
    assert "eyJ" not in log  # no token


class Stream:
    """One that is read only when an event is asked for: what is not read stays with the server."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self._parser = Parser()
        self._events: list[Event] = []

    async def event(self) -> Event:
        """The next one that is no heartbeat."""
        async with asyncio.timeout(DEADLINE):
            while True:
                self._events = [one for one in self._events if one.type != "heartbeat"]
                if self._events:
                    return self._events.pop(0)
                chunk = await self.answer.content.readany()
                assert chunk, "it has ended"
                self._events = self._parser.feed(chunk)


@asynccontextmanager
async def streaming(
    session: aiohttp.ClientSession, server: Daphne, user: User, *, seconds: int = 600, query: str = ""
) -> AsyncIterator[Stream]:
    url = f"http://127.0.0.1:{server.port}{STREAM}{query}"
    async with session.get(url, headers={"Authorization": f"Bearer {token(user, seconds)}"}) as answer:
        assert answer.status == 200
        stream = Stream(answer)
        assert (await stream.event()).type == "hello"
        yield stream


@asynccontextmanager
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    """Its answers may last."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=2**14) as session:
        yield session


async def test_readers_who_do_not_read_cost_a_page_of_memory_each(daphne):
    """30 MB for each of four who stop reading, and 9,000 items more, while another one reads it all."""
    user = await new_user()
    for _ in range(10):
        await deliver(user, MOST_BEHIND // 10, body="x" * 30_000)
    async with browser() as session, streaming(session, daphne, user) as quick:
        before = daphne.memory()
        async with (
            streaming(session, daphne, user, query="?since=0") as slow,
            streaming(session, daphne, user, query="?since=0"),
            streaming(session, daphne, user, query="?since=0"),
            streaming(session, daphne, user, query="?since=0"),
            streaming(session, daphne, user, query="?since=0") as reading,
        ):
            assert await _numbers(reading, MOST_BEHIND) == list(range(1, MOST_BEHIND + 1))
            for head in range(2 * MOST_BEHIND, 11 * MOST_BEHIND, MOST_BEHIND):
                await deliver(user, MOST_BEHIND)
                await hint({user.pk: head})
                assert (await _numbers(quick, MOST_BEHIND))[-1] == head
            assert daphne.memory() - before < 50_000_000
            await _goes_on(slow, user)


async def _numbers(stream: Stream, count: int) -> list[int]:
    """Of the next events of items."""
    numbers: list[int] = []
    while len(numbers) < count:
        event = await stream.event()
        if event.type != "subscribed":
            assert event.type == "notification", event
            numbers.append(event.data["sequence"])
    return numbers


async def _goes_on(stream: Stream, user: User) -> None:
    """Who begins to read again gets what was under way, the word to read the list anew, and what is new."""
    expected = 1
    assert (await stream.event()).type == "subscribed"
    while (event := await stream.event()).type == "notification":
        assert event.data["sequence"] == expected
        expected += 1
    assert 1 < expected < MOST_BEHIND
    assert (event.type, event.id) == ("resync", str(10 * MOST_BEHIND))
    await deliver(user)
    await hint({user.pk: 10 * MOST_BEHIND + 1})
    assert await _numbers(stream, 1) == [10 * MOST_BEHIND + 1]


async def test_a_client_that_goes_makes_room_for_another(daphne):
    user = await new_user()
    async with browser() as session:
        open_streams = [streaming(session, daphne, user) for _ in range(MAX_SOCKETS_PER_USER)]
        for stream in open_streams:
            await stream.__aenter__()
        assert await _status(session, daphne, user) == 429
        await open_streams.pop().__aexit__(None, None, None)
        async with asyncio.timeout(DEADLINE):
            while await _status(session, daphne, user) == 429:
                await asyncio.sleep(0.05)
        for stream in open_streams:
            await stream.__aexit__(None, None, None)


async def _status(session: aiohttp.ClientSession, server: Daphne, user: User) -> int:
    headers = {"Authorization": f"Bearer {token(user)}"}
    async with session.get(f"http://127.0.0.1:{server.port}{STREAM}", headers=headers) as answer:
        return answer.status


async def test_a_connection_serves_another_stream_after_one_has_ended(daphne):
    user = await new_user()
    async with browser() as session:
        places = set()
        for _ in range(2):
            async with streaming(session, daphne, user, seconds=2) as stream:
                places.add(_place(stream.answer))
                assert (await stream.event()).data == {"type": "close", "code": 4401}
                assert await stream.answer.content.read() == b""  # the end of the answer
        assert len(places) == 1, "not one connection"


def _place(answer: aiohttp.ClientResponse) -> int:
    """The client's port."""
    assert answer.connection is not None and answer.connection.transport is not None
    return int(answer.connection.transport.get_extra_info("sockname")[1])


async def test_a_server_that_is_stopped_ends_its_streams(daphne):
    user = await new_user()
    async with browser() as session, streaming(session, daphne, user) as stream:
        await asyncio.to_thread(daphne.stop)
        with pytest.raises((aiohttp.ClientError, AssertionError)):
            await stream.event()
