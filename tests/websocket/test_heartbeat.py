"""Who has everything hears so from time to time, and finds by it what was lost on the way."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from apps.notifications.inbox_numbers import Counts
from apps.websocket import relay as relays
from apps.websocket import store
from apps.websocket.subscription import Subscription
from tests.websocket.support import change, deliver, hearing, new_user, opened

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


async def test_the_head_and_the_counts_of_who_has_everything(settings):
    settings.WEBSOCKET_CATCH_UP_SECONDS = 0.2
    user = await new_user()
    await deliver(user, 2)
    client = await opened(user)
    for _ in range(2):
        assert await client.heartbeat() == {
            "type": "heartbeat",
            "head": 2,
            "counts": {"head": 2, "unread": 2, "unseen": 2},
            "reconnect_within": 1.0,
        }
    await client.leave()


async def test_a_change_whose_hint_is_lost_comes_before_the_heartbeat_that_has_its_number(settings):
    settings.WEBSOCKET_CATCH_UP_SECONDS = 0.2
    user = await new_user()
    client = await opened(user)
    assert (await client.heartbeat())["head"] == 0
    await deliver(user)  # and no hint
    heard = await client.any_frame()
    while heard["type"] == "heartbeat":
        assert heard["head"] == 0
        heard = await client.any_frame()
    assert (heard["type"], heard["sequence"]) == ("notification", 1)
    assert (await client.heartbeat())["head"] == 1
    await client.leave()


async def test_a_client_that_lost_a_frame_sees_it_by_the_heartbeat_and_gets_it_again(settings):
    user = await new_user()
    (target,) = await deliver(user)
    client = await opened(user)
    await hearing()
    await change(user, "read", target)
    lost = await client.frame()  # the client never sees this one, and believes itself at 1
    settings.WEBSOCKET_CATCH_UP_SECONDS = 0.2
    relays.relay().compare_soon()
    assert (await client.heartbeat())["head"] == 2
    await client.send(type="subscribe", since=1)
    assert await client.frame() == {"type": "subscribed", "since": 1, "head": 2}
    again = await client.frame()
    assert again == lost and again["sequence"] == 2
    await client.leave()


async def test_the_more_sockets_the_more_time_to_come_back(monkeypatch):
    monkeypatch.setattr(relays, "RECONNECTS", 1)
    user = await new_user()
    clients = [await opened(user) for _ in range(3)]
    assert relays.relay().reconnect_within == 3.0
    relays.relay().compare_soon()
    frame = await clients[0].heartbeat()
    while frame["reconnect_within"] != 3.0:
        frame = await clients[0].heartbeat()
    for client in clients:
        await client.leave()
    assert relays.relay().reconnect_within == 1.0


async def test_ten_thousand_sockets_do_not_hold_up_the_loop(monkeypatch):
    """What else it has to do has its turn between slices: here, to count."""
    relay = relays.relay()
    await hearing()
    monkeypatch.setattr(store, "counts_of", lambda user_ids: dict.fromkeys(user_ids, Counts(0, 0, 0)))
    Counting.sent = 0
    subscriptions = [Subscription(-number, Counting(), relay.consider) for number in range(1, 10_001)]
    for subscription in subscriptions:
        relay.enter(subscription)
    relay.compare_soon()
    most, before, end = 0, 0, time.monotonic() + 20
    while before < len(subscriptions):
        assert time.monotonic() < end
        await asyncio.sleep(0)
        most, before = max(most, Counting.sent - before), Counting.sent
    assert 0 < most <= relays.SLICE
    for subscription in subscriptions:
        relay.leave(subscription)
    assert relay.users == 0 and relay.reconnect_within == 1.0


class Counting:
    """A socket that takes everything at once."""

    sent = 0

    async def send_text(self, frame: str) -> None:
        assert frame.startswith('{"type":"heartbeat"')
        Counting.sent += 1

    def placed(self, counts: Counts, since: int | None) -> list[dict[str, Any]]:
        return []

    def refused(self) -> None:
        raise AssertionError
