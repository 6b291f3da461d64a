"""The socket server itself, as it is run, with a client over TCP."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.db import connection

from tests.websocket.processes import Daphne
from tests.websocket.support import deliver, hint, new_user, token

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]
# redis-py 8 gives a connection up after 5 quiet seconds unless the settings say otherwise. Daphne pings
# after 20 and its HTTP side gives up after 60: run with IDLE_SECONDS=65 to see that too.
IDLE = float(os.environ.get("IDLE_SECONDS", "6.5"))


@pytest_asyncio.fixture
async def daphne(tmp_path) -> AsyncIterator[Daphne]:
    server = Daphne(
        tmp_path / "log",
        ROLE="sockets",
        WEBSOCKET_CATCH_UP_SECONDS="3600",
        WEBSOCKET_ALLOWED_ORIGINS="localhost",
    )
    await server.start()
    yield server
    log = server.stop()
    assert server.process.returncode == 0, log
    assert "Traceback" not in log and "was destroyed" not in log and "never retrieved" not in log, log
    assert "eyJ" not in log  # no token


@asynccontextmanager
async def connected(server: Daphne, text: str, **options: Any) -> AsyncIterator[Any]:
    """A socket with this token that has said hello. From there on the caller reads."""
    protocols = ["carillon", f"bearer.{text}"]
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(server.url, protocols=protocols, **options) as socket,
    ):
        assert socket.protocol == "carillon"
        assert (await socket.receive_json(timeout=10))["type"] == "hello"
        yield socket


async def test_an_idle_socket_still_receives(daphne):
    user = await new_user()
    async with connected(daphne, token(user)) as socket:
        with pytest.raises(TimeoutError):  # the wait is the test
            async with asyncio.timeout(IDLE):  # receive's own timeout begins anew with each ping
                await socket.receive()
        await deliver(user)
        await hint({user.pk: 1})
        assert (await socket.receive_json(timeout=5))["sequence"] == 1


async def test_close_codes_and_refusals_as_a_client_sees_them(daphne):
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(daphne.url, protocols=["carillon", "bearer.x"]) as socket:
            assert (await socket.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 4401
        for url in (f"{daphne.url}?token=x", daphne.url.replace("notifications", "elsewhere")):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(url)
            assert refused.value.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(daphne.url, origin="https://evil.example")
        assert refused.value.status == 403


async def test_a_reader_who_does_not_read_costs_no_memory(daphne):
    """Replays 60 MB: to one who reads to the end, and to one who begins to read only then."""
    user = await new_user()
    items = 6_000
    for _ in range(6):
        await deliver(user, items // 6, body="x" * 10_000)
    async with connected(daphne, token(user)) as slow, connected(daphne, token(user)) as quick:
        before = daphne.memory()
        await slow.send_json({"type": "subscribe", "since": 0})
        await quick.send_json({"type": "subscribe", "since": 0})
        assert await _read(quick, items) == list(range(1, items + 1))
        assert daphne.memory() - before < 20_000_000
        assert await _read(slow, items) == list(range(1, items + 1))


async def _read(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[int]:
    assert (await socket.receive_json(timeout=10))["type"] == "subscribed"
    return [(await socket.receive_json(timeout=10))["sequence"] for _ in range(count)]


async def test_connections_to_the_database_that_are_cut_are_made_anew(daphne):
    user = await new_user()
    async with connected(daphne, token(user)) as socket:
        assert await cut_connections() >= 1
        await deliver(user)
        await hint({user.pk: 1})
        assert (await socket.receive_json(timeout=10))["sequence"] == 1


@sync_to_async
def cut_connections() -> int:
    """Every connection to the test's database but ours."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'sockets'"
        )
        return int(cursor.fetchone()[0])


async def test_http_is_served_too(daphne):
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{daphne.port}/api/schema/") as answer,
    ):
        assert answer.status == 200
