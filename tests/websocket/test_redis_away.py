"""Redis may die, hang or come late: it costs time, and no item."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import redis.asyncio

from apps.notifications.inbox import INBOX_GROUP
from apps.websocket import relay as relays
from tests.websocket.processes import Redis
from tests.websocket.support import RECOVERY, deliver, eventually, hint, new_user, opened

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


@pytest_asyncio.fixture
async def server(tmp_path, settings) -> AsyncIterator[Redis]:
    """A Redis of the test's own. Not started yet."""
    own = Redis(tmp_path)
    layer = dict(settings.CHANNEL_LAYERS["default"])
    layer["CONFIG"] = layer["CONFIG"] | {"hosts": [{"address": own.url, "socket_timeout": None}]}
    settings.CHANNEL_LAYERS = {"default": layer}
    settings.REDIS_TIMEOUT = 0.5
    yield own
    own.kill()


async def hears(expected: bool = True) -> None:
    await eventually(lambda: relays.relay().hints.hears is expected, RECOVERY)


async def still_works(client, user, head: int) -> None:
    """A hint, and nothing but it, brings the next item."""
    await deliver(user)
    await hint({user.pk: head})
    assert await client.sequences(1) == [head]


@pytest.mark.parametrize(
    ("away", "back"),
    [("kill", "start"), (signal.SIGSTOP, signal.SIGCONT)],
    ids=["killed", "hanging"],
)
async def test_what_came_while_redis_was_away_comes_when_it_is_back(server, away, back):
    await server.start()
    user = await new_user()
    client = await opened(user)
    await hears()
    server.kill() if away == "kill" else server.signal(away)
    await hears(False)
    await deliver(user, 3)  # and their hint is lost
    await (server.start() if back == "start" else _signalled(server, back))
    assert [(await client.frame(RECOVERY))["sequence"] for _ in range(3)] == [1, 2, 3]
    await still_works(client, user, 4)
    await client.leave()


async def _signalled(server: Redis, number: signal.Signals) -> None:
    server.signal(number)


async def test_a_subscription_that_is_cut_stands_again(server):
    await server.start()
    user = await new_user()
    client = await opened(user)
    await hears()
    admin = redis.asyncio.from_url(server.url)
    assert await admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub") >= 1
    group = f"carillon__group__{INBOX_GROUP}"
    subscribers = 0
    while not subscribers:
        ((_, subscribers),) = await admin.pubsub_numsub(group)
    await admin.aclose()
    await still_works(client, user, 1)
    await client.leave()


async def test_sockets_open_and_receive_without_redis(server, settings):
    settings.WEBSOCKET_CATCH_UP_SECONDS = 0.3
    user = await new_user()
    client = await opened(user)
    await deliver(user)
    assert await client.sequences(1) == [1]
    settings.WEBSOCKET_CATCH_UP_SECONDS = 3600.0
    await server.start()
    await hears()
    await still_works(client, user, 2)
    await client.leave()
