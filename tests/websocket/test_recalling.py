"""What a socket is told of an item that was recalled, and that it never comes after that."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from apps.notifications.inbox import Recalled, hint_recalled
from apps.websocket import relay as relays
from apps.websocket import store
from apps.websocket.store import Item
from apps.websocket.subscription import Subscription
from tests.websocket.support import Client, deliver, eventually, hint, new_user, opened, recall

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


async def hearing() -> None:
    await eventually(lambda: relays.relay().hints.hears)


async def nothing_more(client: Client) -> None:
    """All that was on its way is here."""
    await client.send(type="ping")
    assert await client.frame() == {"type": "pong"}


def gone(target: UUID, sequence: int) -> dict[str, Any]:
    return {"type": "recalled", "id": str(target), "sequence": sequence}


async def test_every_socket_of_the_person_and_nobody_else_is_told_that_an_item_is_gone():
    user, other = await new_user(), await new_user()
    mine, also_mine, theirs = await opened(user), await opened(user), await opened(other)
    await hearing()
    (target,) = await deliver(user)
    await hint({user.pk: 1})
    assert await mine.sequences(1) == await also_mine.sequences(1) == [1]
    await recall(target)
    assert await mine.frame() == await also_mine.frame() == gone(target, 1)
    await deliver(other)
    await hint({other.pk: 1})
    assert await theirs.sequences(1) == [1]
    for client in (mine, also_mine, theirs):
        await nothing_more(client)
        await client.leave()


async def test_nothing_comes_again_and_what_comes_next_has_the_next_number():
    user = await new_user()
    client = await opened(user)
    await hearing()
    targets = await deliver(user, 3)
    await hint({user.pk: 3})
    assert await client.sequences(3) == [1, 2, 3]
    await recall(targets[0], targets[2])
    told = await client.frames(2)
    assert sorted(told, key=lambda frame: frame["sequence"]) == [gone(targets[0], 1), gone(targets[2], 3)]
    await hint({user.pk: 3})  # an old hint, late
    await deliver(user)
    await hint({user.pk: 4})
    assert await client.sequences(1) == [4]
    await nothing_more(client)
    await client.leave()


async def test_a_replay_leaves_out_what_was_recalled_and_is_not_held_up_by_it():
    user = await new_user()
    targets = await deliver(user, 6)
    await recall(targets[0], targets[3], targets[5], hinted=False)  # also the last there is
    client = await opened(user, since=0)
    assert await client.frame() == {"type": "subscribed", "since": 0, "head": 6}
    assert await client.sequences(3) == [2, 3, 5]
    await nothing_more(client)
    await hearing()
    await deliver(user)
    await hint({user.pk: 7})
    assert await client.sequences(1) == [7]
    await client.leave()


async def test_more_holes_than_a_page_has_items_are_passed():
    user = await new_user()
    targets = await deliver(user, 2 * store.PAGE + 5)
    await recall(*targets[1:-1], hinted=False)
    client = await opened(user, since=0)
    assert (await client.frame())["type"] == "subscribed"
    assert await client.sequences(2) == [1, 2 * store.PAGE + 5]
    await client.leave()


async def test_a_hint_of_a_recall_that_is_lost_brings_nothing_and_breaks_nothing(settings):
    settings.WEBSOCKET_CATCH_UP_SECONDS = 0.2
    user = await new_user()
    client = await opened(user)
    targets = await deliver(user, 2)
    assert await client.sequences(2) == [1, 2]
    await recall(targets[1], hinted=False)
    await deliver(user)
    assert await client.sequences(1) == [3]
    await nothing_more(client)
    await client.leave()


class Slow:
    """A read of items that stands still when it has read, until told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads: list[list[int]] = []
        self.has_read, self.go_on = threading.Event(), threading.Event()
        self._real = store.items_after
        monkeypatch.setattr(store, "items_after", self)

    def __call__(self, places: Sequence[tuple[int, int]]) -> list[list[Item]]:
        pages = self._real(places)
        self.reads.append([item.sequence for item in pages[0]])
        self.has_read.set()
        assert self.go_on.wait(10)
        return pages


@pytest.mark.parametrize("told_before", [True, False])
async def test_what_was_read_before_its_recall_is_not_sent_after_it(told_before: bool, monkeypatch):
    user = await new_user()
    client = await opened(user)
    await hearing()
    slow = Slow(monkeypatch)
    targets = await deliver(user, 3)
    await hint({user.pk: 3})
    await eventually(slow.has_read.is_set)
    await recall(targets[1])
    if told_before:  # the frame has left by the time that the page comes
        assert await client.frame() == gone(targets[1], 2)
    else:
        await eventually(lambda: _subscription(user.pk).turn > 1)
    slow.go_on.set()
    if not told_before:
        assert await client.frame() == gone(targets[1], 2)
    assert await client.sequences(2) == [1, 3]
    assert slow.reads == [[1, 2, 3], [1, 3]]
    await nothing_more(client)
    await client.leave()


def _subscription(user: int) -> Subscription:
    (one,) = relays.relay()._subscriptions[user]
    return one


class Reader:
    """A socket whose reader takes nothing until there is room."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.room = asyncio.Event()

    async def send_text(self, frame: str) -> None:
        self.sent.append(frame)
        await self.room.wait()

    def placed(self, head: int, since: int | None) -> list[dict[str, Any]]:
        return []

    def refused(self) -> None:
        raise AssertionError


def items(*sequences: int) -> list[Item]:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    return [Item(number, uuid4(), uuid4(), "", "", "", None, at) for number in sequences]


async def test_a_page_that_is_being_sent_stops_for_the_recall_and_goes_on_with_a_new_one():
    reader, done = Reader(), []
    one = Subscription(7, reader, done.append)
    one.since = 0
    one.place(5, str)
    await eventually(lambda: done)
    one.offer(items(1, 2, 3, 4, 5))
    await eventually(lambda: reader.sent)
    one.recall("gone")
    reader.room.set()
    await eventually(lambda: len(done) == 2)
    assert reader.sent[1:] == ["gone"]
    assert (one.last, one.head, one.wants) == (1, 5, True)


async def test_a_page_that_was_offered_and_not_begun_is_not_sent_after_the_recall():
    reader, done = Reader(), []
    one = Subscription(7, reader, done.append)
    one.since = 0
    one.place(5, str)
    await eventually(lambda: done)
    reader.room.set()
    one.offer(items(1, 2))
    one.recall("gone")  # before the task has had its first turn
    await eventually(lambda: len(done) == 2)
    assert reader.sent == ["gone"] and one.last == 0
    one.stop()


async def test_before_its_hello_a_socket_is_told_of_nothing():
    reader = Reader()
    one = Subscription(7, reader, lambda _: None)
    one.recall("gone")
    await asyncio.sleep(0)
    assert reader.sent == []


async def test_a_recall_of_somebody_without_a_socket_here_is_nobodys_business():
    user = await new_user()
    client = await opened(user)
    await hearing()
    hint_recalled([Recalled(uuid4(), user.pk + 1, 1), Recalled(UUID(int=9), user.pk, 1)])
    assert await client.frame() == gone(UUID(int=9), 1)
    await client.leave()
