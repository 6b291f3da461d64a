"""The socket server itself, as it is run, with a client over TCP."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import psycopg
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

ENVIRON = {
    "ROLE": "sockets",
    "WEBSOCKET_CATCH_UP_SECONDS": "3600",
    "WEBSOCKET_ALLOWED_ORIGINS": "localhost",
}


@pytest_asyncio.fixture
async def daphne(tmp_path) -> AsyncIterator[Daphne]:
    server = Daphne(tmp_path / "log", **ENVIRON)
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
                await frame_of(socket)
        await deliver(user)
        await hint({user.pk: 1})
        assert (await frame_of(socket))["sequence"] == 1


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


async def test_a_reader_who_does_not_read_costs_no_memory_and_is_told_to_read_the_list(daphne):
    """25 MB: to one who reads to the end, and to one who begins to read only then."""
    user = await new_user()
    await deliver(user, 1_000, body="x" * 10_000)
    async with connected(daphne, token(user)) as slow, connected(daphne, token(user)) as quick:
        before = daphne.memory()
        for socket in (slow, quick):
            await socket.send_json({"type": "subscribe", "since": 0})
        assert (await frame_of(quick))["type"] == "subscribed"
        assert await _read(quick, 1_000) == list(range(1, 1_001))
        for head in (1_500, 2_000, 2_500):
            await deliver(user, 500, body="x" * 10_000)
            await hint({user.pk: head})
            assert await _read(quick, 500) == list(range(head - 499, head + 1))
        assert daphne.memory() - before < 20_000_000
        assert (await frame_of(slow))["type"] == "subscribed"
        got = []
        while (frame := await frame_of(slow))["type"] == "notification":
            got.append(frame["sequence"])
        assert got == list(range(1, len(got) + 1)) and len(got) < 1_500
        assert frame == {"type": "resync", "counts": {"head": 2_500, "unread": 2_500, "unseen": 2_500}}
        await deliver(user)
        await hint({user.pk: 2_501})
        assert await _read(slow, 1) == [2_501]


async def _read(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[int]:
    return [(await frame_of(socket))["sequence"] for _ in range(count)]


async def frame_of(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    """The next frame but heartbeats."""
    while (frame := await socket.receive_json(timeout=10))["type"] == "heartbeat":
        pass
    return frame


async def answer(socket: aiohttp.ClientWebSocketResponse, **message: Any) -> dict[str, Any]:
    """Send it; the next frame that answers it."""
    await socket.send_json(message)
    while (frame := await frame_of(socket))["type"] not in ("ack", "counts", "error"):
        pass
    return frame


async def test_a_change_over_one_process_is_seen_by_a_socket_of_another(daphne, tmp_path):
    user = await new_user()
    (target,) = await deliver(user)
    other = Daphne(tmp_path / "other", **ENVIRON)
    await other.start()
    try:
        async with connected(daphne, token(user)) as here, connected(other, token(user)) as there:
            assert (await there.receive_json(timeout=10))["type"] == "heartbeat"  # it hears hints
            assert (await answer(here, type="read", ref="1", id=str(target)))["type"] == "ack"
            frame = await frame_of(there)
            assert (frame["type"], frame["sequence"], frame["item"]["id"]) == ("changed", 2, str(target))
            assert frame["counts"] == {"head": 2, "unread": 0, "unseen": 0}
    finally:
        assert "Traceback" not in other.stop()


async def test_a_thousand_messages_at_once_close_the_socket_and_no_other(daphne):
    loud, quiet = await new_user(), await new_user()
    async with connected(daphne, token(loud)) as socket, connected(daphne, token(quiet)) as other:
        for _ in range(1_000):
            await socket.send_json({"type": "ping"})
        assert await _close_of(socket) == 4429
        assert (await answer(other, type="counts"))["type"] == "counts"


@pytest.mark.parametrize(("size", "binary"), [(1_000_000, False), (1_000_000, True), (16_385, False)])
async def test_a_large_frame_closes_the_socket_and_no_other(daphne, size, binary):
    user = await new_user()
    async with connected(daphne, token(user)) as socket, connected(daphne, token(user)) as other:
        before = daphne.memory()
        await (socket.send_bytes(b"x" * size) if binary else socket.send_str("x" * size))
        assert await _close_of(socket) == 1006  # dropped by Daphne; 4429 where it has no limit
        assert daphne.memory() - before < 5_000_000
        assert (await answer(other, type="counts"))["type"] == "counts"


async def _close_of(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    async with asyncio.timeout(10):
        while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
    return socket.close_code


async def test_a_database_that_is_away_is_told_and_the_socket_stays(daphne):
    user = await new_user()
    (target,) = await deliver(user)
    async with connected(daphne, token(user)) as socket:
        read = {"type": "read", "ref": "r", "id": str(target)}
        await allow_connections(False)
        try:
            await cut_connections()
            for _ in range(2):
                told = await answer(socket, **read)
                assert (told["type"], told["code"], told["ref"]) == ("error", "unavailable", "r")
        finally:
            await allow_connections(True)
        assert (await answer(socket, **read))["type"] == "ack"


@sync_to_async
def allow_connections(allowed: bool) -> None:
    """To the test's database, for who has none yet."""
    values = connection.get_connection_params()
    login = {name: values[name] for name in ("user", "password", "host", "port") if name in values}
    with psycopg.connect(dbname="postgres", autocommit=True, **login) as admin:
        admin.execute(f'ALTER DATABASE "{values["dbname"]}" ALLOW_CONNECTIONS {allowed}')


async def test_connections_to_the_database_that_are_cut_are_made_anew(daphne):
    user = await new_user()
    async with connected(daphne, token(user)) as socket:
        assert await cut_connections() >= 1
        await deliver(user)
        await hint({user.pk: 1})
        assert (await frame_of(socket))["sequence"] == 1


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
