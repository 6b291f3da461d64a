"""One socket's place: what is in flight, what was sent, what a new place does to it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from apps.notifications.inbox_numbers import Counts
from apps.websocket import frames, store
from apps.websocket.store import Event, Page
from apps.websocket.subscription import Subscription
from tests.websocket.support import eventually

pytestmark = pytest.mark.asyncio
AT = datetime(2026, 11, 20, tzinfo=UTC)


class Reader:
    """A socket whose reader takes one frame at a time, when told."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.room = asyncio.Event()

    async def send_text(self, frame: str) -> None:
        self.sent.append(json.loads(frame))
        await self.room.wait()

    def placed(self, counts: Counts, since: int | None) -> list[dict[str, Any]]:
        return [] if since is None else [frames.subscribed(since, counts)]

    def refused(self) -> None:
        raise AssertionError

    @property
    def types(self) -> list[tuple[str, int]]:
        return [(frame["type"], frame.get("sequence", 0)) for frame in self.sent]


def page(*numbers: tuple[int, int], head: int) -> Page:
    """Of items with these numbers and sequences."""
    words = (uuid4(), "", "", "", "", "", None, AT, *[None] * 6, False)
    return Page(
        Counts(head, 0, 0), [Event(number, sequence, uuid4(), *words) for number, sequence in numbers]
    )


async def placed(reader: Reader, *, since: int, head: int) -> tuple[Subscription, list[Subscription]]:
    """A subscription that has sent its first frames."""
    done: list[Subscription] = []
    one = Subscription(7, reader, done.append)
    one.since = since
    one.place(Counts(head, 0, 0))
    reader.room.set()
    await eventually(lambda: done)
    reader.sent.clear()
    done.clear()
    return one, done


async def test_the_rest_of_a_page_is_dropped_for_a_new_place():
    reader = Reader()
    one, done = await placed(reader, since=0, head=3)
    reader.room.clear()
    one.offer(page((1, 1), (2, 2), (3, 3), head=3))
    await eventually(lambda: reader.sent)
    one.since = 2
    one.place(Counts(3, 0, 0))
    assert (one.last, one.wants) == (2, False)
    reader.room.set()
    await eventually(lambda: done)
    assert reader.types == [("notification", 1), ("subscribed", 0)]
    assert (one.last, one.head, one.wants) == (2, 3, True)


async def test_a_new_place_after_the_last_event_of_a_page_is_not_overwritten():
    reader = Reader()
    one, done = await placed(reader, since=2, head=3)
    reader.room.clear()
    one.offer(page((3, 3), head=3))
    await eventually(lambda: reader.sent)
    one.since = 0
    one.place(Counts(3, 0, 0))
    reader.room.set()
    await eventually(lambda: done)
    assert (one.last, one.wants) == (0, True)


async def test_a_last_page_goes_up_to_the_head_and_a_full_one_to_its_last_event():
    reader = Reader()
    one, done = await placed(reader, since=0, head=store.PAGE + 5)
    one.offer(page(*[(number, number) for number in range(3, store.PAGE + 3)], head=store.PAGE + 5))
    await eventually(lambda: done)
    assert (one.last, one.wants) == (store.PAGE + 2, True)
    one.offer(page((store.PAGE + 3, store.PAGE + 3), (store.PAGE + 4, 2), head=store.PAGE + 5))
    await eventually(lambda: len(done) == 2)
    assert [kind for kind, _ in reader.types[-2:]] == ["notification", "changed"]
    assert (one.last, one.wants) == (store.PAGE + 5, False)


async def test_a_heartbeat_is_for_who_has_everything_and_waits_for_nothing():
    reader = Reader()
    one, done = await placed(reader, since=3, head=3)
    beat = frames.heartbeat(Counts(3, 0, 0), reconnect_within=1.0)
    one.beat(beat, 2)  # read before the last event was sent
    one.beat(beat, 4)
    one.head = 4  # a hint has come
    one.beat(beat, 3)
    one.beat(beat, 4)
    one.head = 3
    await asyncio.sleep(0.01)  # for what should not be sent
    assert not reader.sent and not done
    reader.room.clear()
    one.beat(beat, 3)
    one.beat(beat, 3)  # the reader has not taken the one before
    reader.room.set()
    await eventually(lambda: done)
    assert reader.types == [("heartbeat", 0)]
    one.stop()
    one.beat(beat, 3)
    assert len(reader.sent) == 1


async def test_who_is_too_far_behind_is_sent_one_frame_instead_of_a_page():
    reader = Reader()
    head = store.MOST_BEHIND + 1
    one, done = await placed(reader, since=0, head=head)
    one.offer(page(head=head))
    await eventually(lambda: done)
    assert reader.sent == [{"type": "resync", "counts": {"head": head, "unread": 0, "unseen": 0}}]
    assert one.last == head and not one.wants


async def test_a_connection_that_is_gone_ends_it():
    class Gone(Reader):
        async def send_text(self, frame: str) -> None:
            raise ConnectionResetError

    done: list[Subscription] = []
    one = Subscription(7, Gone(), done.append)
    one.since = 0
    one.place(Counts(3, 0, 0))
    await eventually(lambda: done)
    assert not one.is_placed and not one.wants
