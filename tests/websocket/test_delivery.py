"""What a socket is sent: everything of its person, in order, once."""

from __future__ import annotations

import random
import threading

import pytest
from django.db import OperationalError

from apps.websocket import relay as relays
from apps.websocket import store
from apps.websocket.messages import Close
from tests.websocket.support import Client, deliver, eventually, hearing, hint, new_user, opened, token

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


async def test_a_hint_brings_the_item():
    user = await new_user()
    client = await opened(user)
    await hearing()
    (target,) = await deliver(user)
    await hint({user.pk: 1})
    frame = await client.frame()
    assert (frame["type"], frame["sequence"], frame["item"]["id"]) == ("notification", 1, str(target))
    await client.leave()


async def test_a_lost_hint_costs_no_more_than_the_catch_up(settings):
    settings.WEBSOCKET_CATCH_UP_SECONDS = 0.3
    user = await new_user()
    client = await opened(user)
    await deliver(user, 2)
    assert await client.sequences(2) == [1, 2]
    await client.leave()


async def test_both_sockets_of_a_person_get_it_and_nobody_else():
    user, other = await new_user(), await new_user()
    mine, also_mine, theirs = await opened(user), await opened(user), await opened(other)
    await hearing()
    (target,) = await deliver(user)
    await hint({user.pk: 1, other.pk: 1})  # even a hint that is wrong about the other
    assert (await mine.frame())["item"]["id"] == (await also_mine.frame())["item"]["id"] == str(target)
    (their_target,) = await deliver(other)
    await hint({other.pk: 1})
    assert (await theirs.frame())["item"]["id"] == str(their_target)
    for client in (mine, also_mine, theirs):
        await client.leave()


async def test_each_item_once_and_in_order_whatever_becomes_of_the_hints():
    user = await new_user()
    client = await opened(user)
    await hearing()
    chance = random.Random(7)
    for round_ in range(10):
        head = (round_ + 1) * 5
        await deliver(user, 5)
        hints = [*range(head - 4, head + 1), *range(head - 4, head + 1), 1]
        chance.shuffle(hints)
        for one in hints:
            if chance.random() < 0.5 or one == head:
                await hint({user.pk: one})
    assert await client.sequences(50) == list(range(1, 51))
    await client.nothing_more()
    await client.leave()


async def test_a_hint_that_promises_too_much_skips_nothing_and_is_asked_about_once(monkeypatch):
    reads, real = [], store.events_after
    monkeypatch.setattr(store, "events_after", lambda places: reads.append(places) or real(places))
    user = await new_user()
    client = await opened(user)
    await hearing()
    await hint({user.pk: 1_000})
    await eventually(lambda: reads)
    await client.send(type="subscribe", since=0)  # served after whatever would be read meanwhile
    assert (await client.frame())["type"] == "subscribed"
    assert reads == [[(user.pk, 0)]]
    await deliver(user)
    await hint({user.pk: 1})
    assert await client.sequences(1) == [1]
    await deliver(user)
    await hint({user.pk: 2})
    assert await client.sequences(1) == [2]
    await client.leave()


async def test_what_came_before_is_sent_only_to_who_asks():
    user = await new_user()
    await deliver(user, 250)  # more than two pages
    client = await opened(user)
    await client.send(type="subscribe", since=0)
    assert await client.frame() == {"type": "subscribed", "since": 0, "head": 250}
    assert await client.sequences(250) == list(range(1, 251))
    await client.send(type="subscribe", since=248)
    assert await client.frame() == {"type": "subscribed", "since": 248, "head": 250}
    assert await client.sequences(2) == [249, 250]
    await client.leave()


async def test_a_place_that_is_asked_for_while_another_is_looked_up_is_looked_up_itself(monkeypatch):
    """The inbox may have come to it since: it is not ahead."""
    user = await new_user()
    client = await opened(user)
    await hearing()
    has_read, go_on, real = threading.Event(), threading.Event(), store.counts_of

    def slow(user_ids):
        found = real(user_ids)
        has_read.set()
        assert go_on.wait(10)
        return found

    monkeypatch.setattr(store, "counts_of", slow)
    await client.send(type="subscribe", since=0)
    await eventually(has_read.is_set)
    await deliver(user, 2)
    await client.send(type="subscribe", since=1)
    await client.nothing_more()
    go_on.set()
    assert await client.frame() == {"type": "subscribed", "since": 1, "head": 2}
    assert await client.sequences(1) == [2]
    await client.leave()


async def test_going_on_from_a_place_in_the_first_message():
    user = await new_user()
    await deliver(user, 5)
    client = await opened(user, since=3)
    assert await client.frame() == {"type": "subscribed", "since": 3, "head": 5}
    assert await client.sequences(2) == [4, 5]
    await client.leave()


async def test_subscribing_again_amid_a_replay_starts_over():
    user = await new_user()
    await deliver(user, 150)
    client = await opened(user, since=0)
    assert (await client.frame())["type"] == "subscribed"
    await client.send(type="subscribe", since=10)
    frames = []
    while not frames or frames[-1].get("since") != 10:
        frames.append(await client.frame())
    before = [frame["sequence"] for frame in frames[:-1]]
    assert before == list(range(1, len(before) + 1))
    assert await client.sequences(140) == list(range(11, 151))
    await client.leave()


async def test_a_place_in_the_future_is_an_error_and_it_goes_on_from_the_end():
    user = await new_user()
    await deliver(user, 2)
    client = await opened(user)
    await hearing()
    await client.send(type="subscribe", since=9)
    frame = await client.frame()
    assert (frame["type"], frame["code"]) == ("error", "since_ahead")
    assert frame["counts"] == {"head": 2, "unread": 2, "unseen": 2}
    await deliver(user)
    await hint({user.pk: 3})
    assert await client.sequences(1) == [3]
    await client.leave()


async def test_many_people_are_served_by_few_reads(monkeypatch):
    reads = []
    real = store.events_after
    monkeypatch.setattr(store, "events_after", lambda places: reads.append(len(places)) or real(places))
    users = [await new_user() for _ in range(40)]
    clients = [await opened(user) for user in users]
    await hearing()
    for user in users:
        await deliver(user)
    await hint({user.pk: 1 for user in users})
    for client in clients:
        assert await client.sequences(1) == [1]
    assert reads == [40]
    for client in clients:
        await client.leave()


async def test_a_database_that_comes_back_is_caught_up_with(monkeypatch):
    real, fail = store.events_after, [True, True]

    def fragile(places):
        if fail:
            fail.pop()
            raise OperationalError("away")
        return real(places)

    monkeypatch.setattr(store, "events_after", fragile)
    user = await new_user()
    client = await opened(user)
    await hearing()
    await deliver(user)
    await hint({user.pk: 1})
    assert await client.sequences(1) == [1]
    await client.leave()


async def test_who_finds_no_database_is_told_to_come_back(monkeypatch, settings):
    settings.WEBSOCKET_AUTH_SECONDS = 0.3

    def away(user_ids):
        raise OperationalError("away")

    user = await new_user()
    monkeypatch.setattr(store, "counts_of", away)
    client = Client()
    await client.connect()
    await client.send(type="authenticate", token=token(user))
    assert await client.closed() == Close.UNAVAILABLE


async def test_nothing_is_kept_of_who_left():
    user = await new_user()
    client = await opened(user)
    assert relays.relay().users == 1
    await client.leave()
    assert relays.relay().users == 0


async def test_a_person_has_only_so_many_sockets(monkeypatch):
    monkeypatch.setattr(relays, "MAX_SOCKETS_PER_USER", 2)
    user = await new_user()
    clients = [await opened(user), await opened(user)]
    third = Client()
    await third.connect()
    await third.send(type="authenticate", token=token(user))
    assert await third.closed() == Close.TOO_MUCH
    await clients[0].leave()
    await (await opened(user)).leave()
    await clients[1].leave()
