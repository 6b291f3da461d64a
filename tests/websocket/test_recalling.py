"""After a socket was told that an item is gone, it never comes again."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from apps.websocket import store
from apps.websocket.store import Page
from tests.websocket.support import deliver, eventually, hearing, hint, new_user, opened, recall

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


class Slow:
    """A read of events that stands still when it has read, until told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads: list[list[int]] = []
        self.has_read, self.go_on = threading.Event(), threading.Event()
        self._real = store.events_after
        monkeypatch.setattr(store, "events_after", self)

    def __call__(self, places: Sequence[tuple[int, int]]) -> list[Page]:
        pages = self._real(places)
        self.reads.append([event.number for event in pages[0].events])
        self.has_read.set()
        assert self.go_on.wait(10)
        return pages


async def test_what_was_read_before_its_recall_is_sent_before_the_recall_is(monkeypatch):
    user = await new_user()
    client = await opened(user)
    await hearing()
    slow = Slow(monkeypatch)
    targets = await deliver(user, 3)
    await hint({user.pk: 3})
    await eventually(slow.has_read.is_set)
    await recall(targets[1])
    slow.go_on.set()
    frames = await client.frames(4)
    assert [(frame["type"], frame["item"]["id"]) for frame in frames] == [
        ("notification", str(targets[0])),
        ("notification", str(targets[1])),
        ("notification", str(targets[2])),
        ("recalled", str(targets[1])),
    ]
    assert slow.reads == [[1, 2, 3], [4]]
    await client.nothing_more()
    await client.leave()


async def test_a_new_place_amid_a_read_does_not_bring_it_back(monkeypatch):
    user = await new_user()
    client = await opened(user)
    await hearing()
    slow = Slow(monkeypatch)
    targets = await deliver(user, 3)
    await hint({user.pk: 3})
    await eventually(slow.has_read.is_set)
    await client.send(type="subscribe", since=0)
    await recall(targets[1])
    slow.go_on.set()
    while (frame := await client.frame())["type"] != "subscribed":
        assert frame["type"] == "notification"  # of the page that was read before the recall
    assert frame == {"type": "subscribed", "since": 0, "head": 4}
    told = [(frame["type"], frame["sequence"]) for frame in await client.frames(3)]
    assert told == [("notification", 1), ("notification", 3), ("recalled", 4)]
    await client.nothing_more()
    await client.leave()
