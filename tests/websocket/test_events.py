"""What a socket is told of an item: that it came, that it changed, that it is gone; each under its number."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async

from apps.notifications import inbox, inbox_changes
from apps.notifications.inbox_changes import Kind
from apps.notifications.inbox_models import InboxItem
from apps.websocket import store
from tests.support.database import move_clock
from tests.websocket.support import change, deliver, hearing, hint, new_user, opened, recall

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


def counts(head: int, unread: int, unseen: int) -> dict[str, int]:
    return {"head": head, "unread": unread, "unseen": unseen}


STATE = {
    "seen_at": None,
    "read_at": None,
    "archived_at": None,
    "snoozed_until": None,
    "action": None,
    "acted_at": None,
}


def short(frame: dict[str, Any]) -> tuple[str, int, UUID]:
    return frame["type"], frame["sequence"], UUID(frame["item"]["id"])


async def test_an_item_that_comes_is_told_whole():
    user = await new_user()
    client = await opened(user)
    await hearing()
    (target,) = await deliver(
        user, link="/a", avatar="/b.png", actions='[{"id":"y","label":"Yes","link":""}]'
    )
    await hint({user.pk: 1})
    frame = await client.frame()
    item = frame["item"]
    assert datetime.fromisoformat(item.pop("created_at")).tzinfo == UTC
    assert frame == {
        "type": "notification",
        "sequence": 1,
        "item": {
            "sequence": 1,
            "id": str(target),
            "notification_id": item["notification_id"],
            "type": "comment",
            "title": "Title",
            "body": "Hello",
            "link": "/a",
            "avatar": "/b.png",
            "actions": [{"id": "y", "label": "Yes", "link": ""}],
            **STATE,
        },
        "counts": counts(1, 1, 1),
    }
    assert UUID(item["notification_id"])
    await client.leave()


async def test_what_has_no_actions_has_an_empty_list_of_them():
    user = await new_user()
    await deliver(user)
    client = await opened(user, since=0)
    _, frame = await client.frames(2)
    assert frame["item"]["actions"] == []
    await client.leave()


async def test_a_change_is_told_to_every_socket_without_the_words_and_to_nobody_else():
    user, other = await new_user(), await new_user()
    (target,) = await deliver(user)
    mine, also_mine, theirs = await opened(user), await opened(user), await opened(other)
    await hearing()
    await change(user, Kind.READ, target)
    for client in (mine, also_mine):
        frame = await client.frame()
        item = frame.pop("item")
        assert frame == {"type": "changed", "sequence": 2, "counts": counts(2, 0, 0)}
        assert item.keys() == {"id", "sequence"} | STATE.keys()
        assert (item["id"], item["sequence"]) == (str(target), 1)
        assert item["read_at"] == item["seen_at"] is not None and item["read_at"].endswith("Z")
    await theirs.nothing_more()
    for client in (mine, also_mine, theirs):
        await client.leave()


async def test_a_recall_says_no_more_than_the_id():
    user = await new_user()
    (target,) = await deliver(user)
    client = await opened(user)
    await hearing()
    await recall(target)
    assert await client.frame() == {
        "type": "recalled",
        "sequence": 2,
        "item": {"id": str(target)},
        "counts": counts(2, 0, 0),
    }
    await client.nothing_more()
    await client.leave()


async def test_since_brings_what_was_read_unread_and_recalled_meanwhile_as_it_stands_now():
    user = await new_user()
    read, both, gone, same = await deliver(user, 4)
    await change(user, Kind.READ, read)  # 5
    await change(user, Kind.READ, both)  # 6
    await change(user, Kind.UNREAD, both)  # 7
    await recall(gone)  # 8
    (new,) = await deliver(user)  # 9
    client = await opened(user, since=4)
    assert await client.frame() == {"type": "subscribed", "since": 4, "head": 9}
    frames = await client.frames(4)
    assert [short(frame) for frame in frames] == [
        ("changed", 5, read),
        ("changed", 7, both),
        ("recalled", 8, gone),
        ("notification", 9, new),
    ]
    assert [frame["item"].get("read_at") is None for frame in frames] == [False, True, True, True]
    assert all(frame["counts"] == counts(9, 3, 2) for frame in frames)
    await client.nothing_more()
    await client.leave()
    assert same not in {UUID(frame["item"]["id"]) for frame in frames}


async def test_who_asks_for_all_gets_what_was_changed_whole_and_its_change():
    user = await new_user()
    first, second = await deliver(user, 2)
    await change(user, Kind.ARCHIVE, first)
    client = await opened(user, since=0)
    _, *frames = await client.frames(4)
    assert [short(frame) for frame in frames] == [
        ("notification", 1, first),
        ("notification", 2, second),
        ("changed", 3, first),
    ]
    assert frames[0]["item"]["title"] == "Title"
    assert frames[0]["item"]["archived_at"] == frames[2]["item"]["archived_at"] is not None
    await client.nothing_more()
    await client.leave()


@pytest.mark.parametrize("received", range(4))
async def test_a_client_that_is_cut_off_in_a_replay_goes_on_with_every_item_it_is_told_a_change_of(received):
    user = await new_user()
    first, second, _ = await deliver(user, 3)
    await change(user, Kind.READ, first)
    client = await opened(user, since=0)
    _, *frames = await client.frames(1 + received)
    await client.leave()
    await change(user, Kind.READ, second)
    client = await opened(user, since=received)
    _, *more = await client.frames(1 + 5 - received)
    known = set()
    for frame in frames + more:
        known |= {frame["item"]["id"]} if frame["type"] == "notification" else set()
        assert frame["item"]["id"] in known
    assert [frame["sequence"] for frame in frames + more] == [1, 2, 3, 4, 5]
    await client.nothing_more()
    await client.leave()


async def test_an_item_that_is_changed_while_pages_are_replayed_comes_whole_once():
    user = await new_user()
    targets = await deliver(user, store.PAGE + 20)
    await change(user, Kind.READ, targets[0])
    client = await opened(user, since=0)
    assert (await client.frame())["type"] == "subscribed"
    *frames, last = await client.frames(store.PAGE + 21)
    assert [short(frame) for frame in frames] == [
        ("notification", number, target) for number, target in enumerate(targets, 1)
    ]
    assert short(last) == ("changed", store.PAGE + 21, targets[0])
    await client.nothing_more()
    await client.leave()


@sync_to_async
def _return_snoozed(seconds: float) -> int:
    move_clock(seconds)
    try:
        return inbox.return_snoozed(10)
    finally:
        move_clock(0)


async def test_a_snoozed_item_comes_back_as_a_new_one():
    user = await new_user()
    first, _ = await deliver(user, 2)
    client = await opened(user)
    await hearing()
    until = datetime.now(UTC) + timedelta(hours=1)
    await change(user, Kind.SNOOZE, first, until=until)
    frame = await client.frame()
    assert short(frame) == ("changed", 3, first)
    assert datetime.fromisoformat(frame["item"]["snoozed_until"]) == until
    assert frame["counts"] == counts(3, 1, 1)
    assert await _return_snoozed(3_601) == 1
    frame = await client.frame()
    assert short(frame) == ("notification", 4, first)
    assert frame["item"]["sequence"] == 4 and frame["item"] | STATE == frame["item"]
    assert frame["counts"] == counts(4, 2, 2)
    await client.leave()


async def test_a_change_of_nothing_is_told_to_nobody():
    user = await new_user()
    (target,) = await deliver(user)
    await change(user, Kind.READ, target)
    client = await opened(user)
    await hearing()
    assert (await change(user, Kind.READ, target)).changed == 0
    await hint({user.pk: 2})
    await client.nothing_more()
    await client.leave()


async def test_who_is_far_behind_is_told_to_read_the_list_and_goes_on_from_its_end():
    user = await new_user()
    most = store.MOST_BEHIND
    await deliver(user, most + 1)
    client = await opened(user, since=0)
    assert await client.frame() == {"type": "subscribed", "since": 0, "head": most + 1}
    assert await client.frame() == {"type": "resync", "counts": counts(most + 1, most + 1, most + 1)}
    await hearing()
    await deliver(user)
    await hint({user.pk: most + 2})
    assert await client.sequences(1) == [most + 2]
    await client.send(type="subscribe", since=2)  # a thousand: as many as are replayed
    assert (await client.frame())["type"] == "subscribed"
    assert await client.sequences(most) == list(range(3, most + 3))
    await client.nothing_more()
    await client.leave()


async def test_who_falls_far_behind_while_open_is_told_to_read_the_list():
    user = await new_user()
    client = await opened(user)
    await hearing()
    most = store.MOST_BEHIND
    await deliver(user, most + 1)
    await hint({user.pk: most + 1})
    assert await client.frame() == {"type": "resync", "counts": counts(most + 1, most + 1, most + 1)}
    await client.nothing_more()
    await client.leave()


async def test_two_thousand_changes_of_a_hundred_items_are_sent_as_a_resync_or_once_each():
    """Numbers count for how far behind one is, not rows: they are known before anything is read."""
    user = await new_user()
    targets = await deliver(user, 100)
    for kind in [Kind.READ, Kind.UNREAD] * 4:
        await change(user, kind, *targets)
    client = await opened(user, since=100)
    assert await client.frame() == {"type": "subscribed", "since": 100, "head": 900}
    frames = await client.frames(100)
    assert {frame["type"] for frame in frames} == {"changed"}
    assert [frame["sequence"] for frame in frames] == list(range(801, 901))
    await client.nothing_more()
    await client.leave()


async def test_what_was_recalled_before_its_time_is_never_sent_again(monkeypatch):
    user = await new_user()
    targets = await deliver(user, 6)
    await recall(targets[0], targets[3], targets[5])
    client = await opened(user, since=0)
    assert await client.frame() == {"type": "subscribed", "since": 0, "head": 9}
    frames = await client.frames(6)
    assert [(frame["type"], frame["sequence"]) for frame in frames] == [
        *[("notification", number) for number in (2, 3, 5)],
        *[("recalled", number) for number in (7, 8, 9)],
    ]
    await client.nothing_more()
    await client.leave()
    assert await sync_to_async(InboxItem.objects.filter(recalled_at=None).count)() == 3


async def test_acting_marks_the_item_for_every_socket():
    user = await new_user()
    (target,) = await deliver(user, actions='[{"id":"yes","label":"Yes","link":""}]')
    client = await opened(user)
    await hearing()
    await sync_to_async(inbox_changes.act)(user.pk, target, "yes")
    frame = await client.frame()
    assert short(frame) == ("changed", 2, target)
    assert frame["item"]["action"] == "yes"
    assert frame["item"]["acted_at"] == frame["item"]["read_at"] is not None
    await client.leave()
