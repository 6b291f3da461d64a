"""What people do with their items over a socket: done, committed, answered, seen by their other sockets."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from apps.notifications import inbox, inbox_changes, inbox_numbers
from apps.notifications.inbox_models import InboxItem
from apps.websocket.messages import Close
from tests.support.database import other_connection
from tests.websocket.support import (
    Client,
    deliver,
    hearing,
    new_user,
    opened,
    recall,
    token,
)

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]
BUTTONS = '[{"id":"yes","label":"Yes","link":""},{"id":"no","label":"No","link":""}]'


@sync_to_async
def state(target: UUID) -> set[str]:
    """Which of the item's times are set."""
    item = InboxItem.objects.get(pk=target)
    names = ("seen_at", "read_at", "archived_at", "snoozed_until", "acted_at")
    return {name for name in names if getattr(item, name)}


@sync_to_async
def head(user: Any) -> int:
    return inbox_numbers.counts_of(user.pk).head


async def answer(client: Client, **message: Any) -> dict[str, Any]:
    """Send it; the next frame that is an answer, whatever comes before it."""
    await client.send(**message)
    while (frame := await client.frame())["type"] not in ("ack", "counts", "error"):
        pass
    return frame


def soon() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat()


def counts(head: int, unread: int, unseen: int) -> dict[str, int]:
    return {"head": head, "unread": unread, "unseen": unseen}


AFTER = {
    "read": {"read_at", "seen_at"},
    "mark_read": {"read_at", "seen_at"},
    "seen": {"seen_at"},
    "mark_seen": {"seen_at"},
    "archive": {"archived_at"},
    "snooze": {"snoozed_until"},
}
UNDONE = {
    "unread": ("read", {"seen_at"}),
    "mark_unread": ("read", {"seen_at"}),
    "unarchive": ("archive", set()),
    "unsnooze": ("snooze", set()),
}


@pytest.mark.parametrize("name", AFTER)
@pytest.mark.parametrize("by", ["ids", "id", "up_to"])
async def test_a_change_is_acknowledged_and_follows_as_an_event(name, by):
    user = await new_user()
    target, other = await deliver(user, 2)
    client = await opened(user)
    which = {"ids": {"ids": [str(target)]}, "id": {"id": str(target)}, "up_to": {"up_to": 1}}[by]
    until = {"until": soon()} if name == "snooze" else {}
    await client.send(type=name, ref="a1", **which, **until)
    frames = {frame["type"]: frame for frame in await client.frames(2)}
    ack, changed = frames["ack"], frames["changed"]
    unseen_only = name in ("seen", "mark_seen")
    assert ack == {
        "type": "ack",
        "ref": "a1",
        "changed": 1,
        "counts": counts(3, 2 if unseen_only else 1, 1),
    }
    assert (changed["sequence"], changed["item"]["id"]) == (3, str(target))
    assert changed["counts"] == ack["counts"]
    assert await state(target) == AFTER[name]
    assert await state(other) == set()
    await client.leave()


@pytest.mark.parametrize("name", UNDONE)
async def test_a_change_is_undone(name):
    user = await new_user()
    (target,) = await deliver(user)
    client = await opened(user)
    did, left = UNDONE[name]
    until = {"until": soon()} if did == "snooze" else {}
    assert (await answer(client, type=did, ids=[str(target)], **until))["changed"] == 1
    assert (await answer(client, type=name, ids=[str(target)]))["changed"] == 1
    assert await state(target) == left
    await client.leave()


async def test_an_answer_has_no_ref_if_the_message_had_none():
    user = await new_user()
    (target,) = await deliver(user)
    client = await opened(user)
    assert (await answer(client, type="read", id=str(target)))["ref"] is None
    assert (await answer(client, type="counts"))["ref"] is None
    assert "ref" not in await answer(client, type="read", id=str(uuid4()))
    await client.leave()


async def test_what_is_done_already_makes_no_difference():
    user = await new_user()
    (target,) = await deliver(user)
    client = await opened(user)
    assert (await answer(client, type="read", id=str(target)))["changed"] == 1
    again = await answer(client, type="read", id=str(target), ref="2")
    assert again == {"type": "ack", "ref": "2", "changed": 0, "counts": counts(2, 0, 0)}
    await client.leave()


@pytest.mark.parametrize("name", ["counts", "unread_count"])
async def test_counts_are_told_on_request(name):
    user = await new_user()
    targets = await deliver(user, 3)
    client = await opened(user)
    await answer(client, type="seen", id=str(targets[0]))
    assert await answer(client, type=name, ref="c") == {
        "type": "counts",
        "ref": "c",
        "counts": counts(4, 3, 2),
        "unread_count": 3,
        "unseen_count": 2,
    }
    await client.leave()


async def test_the_first_button_counts():
    user = await new_user()
    (target,) = await deliver(user, actions=BUTTONS)
    client = await opened(user)
    for _ in range(2):  # the same once more changes nothing
        pressed = await answer(client, type="act", ref="a", id=str(target), action="yes")
        assert (pressed["type"], pressed["counts"]) == ("ack", counts(2, 0, 0))
    assert pressed["changed"] == 0
    other = await answer(client, type="act", ref="b", id=str(target), action="no")
    assert (other["type"], other["code"], other["ref"]) == ("error", "already_acted", "b")
    assert await state(target) == {"acted_at", "read_at", "seen_at"}
    none = await answer(client, type="act", ref="c", id=str(target), action="perhaps")
    assert (none["code"], none["ref"]) == ("not_found", "c")
    assert await head(user) == 2
    await client.leave()


async def test_the_other_tabs_of_the_person_follow_and_nobody_else(monkeypatch):
    """Without Redis: the relay of this process is told directly."""
    monkeypatch.setattr(inbox, "hint", lambda heads: None)
    user, stranger = await new_user(), await new_user()
    (target,) = await deliver(user)
    one, two, theirs = await opened(user), await opened(user), await opened(stranger)
    await one.send(type="read", ref="1", id=str(target))
    frame = await two.frame()
    assert (frame["type"], frame["sequence"], frame["item"]["id"]) == ("changed", 2, str(target))
    await two.send(type="archive", ref="2", id=str(target))
    told = [await one.frame() for _ in range(3)]
    assert sorted((frame["type"], frame.get("sequence")) for frame in told if frame["type"] == "changed") == [
        ("changed", 2),
        ("changed", 3),
    ]
    await theirs.nothing_more()
    for client in (one, two, theirs):
        await client.leave()


async def test_an_id_of_somebody_else_is_not_found_and_nothing_is_changed():
    user, other = await new_user(), await new_user()
    (mine,) = await deliver(user)
    (theirs,) = await deliver(other, actions=BUTTONS)
    client = await opened(user)
    for message in (
        {"type": "read", "ids": [str(mine), str(theirs)]},
        {"type": "archive", "id": str(theirs)},
        {"type": "act", "id": str(theirs), "action": "yes"},
        {"type": "unsnooze", "id": str(uuid4())},
    ):
        frame = await answer(client, ref="x", **message)
        assert (frame["type"], frame["code"], frame["ref"]) == ("error", "not_found", "x")
        assert "Title" not in frame["detail"] and str(mine) not in frame["detail"]
    assert await state(mine) == await state(theirs) == set()
    assert (await head(user), await head(other)) == (1, 1)
    await client.nothing_more()  # and it is open, though there were more than three
    await client.leave()


async def test_many_unknown_ids_are_told_in_a_short_sentence():
    client = await opened(await new_user())
    frame = await answer(client, type="read", ids=[str(uuid4()) for _ in range(300)])
    assert frame["code"] == "not_found" and "300" in frame["detail"] and len(frame["detail"]) < 250
    await client.leave()


async def test_what_was_recalled_is_known_and_nothing_can_be_done_with_it():
    user = await new_user()
    (target,) = await deliver(user, actions=BUTTONS)
    client = await opened(user)
    await recall(target)
    assert (await answer(client, type="read", id=str(target)))["changed"] == 0
    assert (await answer(client, type="act", id=str(target), action="yes"))["code"] == "not_found"
    assert await state(target) == set()
    await client.leave()


async def test_a_number_that_was_not_given_out_is_refused_and_nothing_is_changed():
    user = await new_user()
    (target,) = await deliver(user)
    client = await opened(user)
    for up_to in (2, 2**62):
        frame = await answer(client, type="read", ref="x", up_to=up_to)
        assert (frame["code"], frame["ref"]) == ("sequence_ahead", "x")
    assert await state(target) == set() and await head(user) == 1
    await client.leave()


async def test_who_comes_after_the_number_stays_as_they_are():
    user = await new_user()
    first, second = await deliver(user, 2)
    client = await opened(user)
    (third,) = await deliver(user)
    assert (await answer(client, type="read", up_to=2))["changed"] == 2
    assert [await state(one) for one in (first, second)] == [{"read_at", "seen_at"}] * 2
    assert await state(third) == set()
    await client.leave()


A = "01990000-0000-7000-8000-000000000000"
INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "neither ids nor up_to": ({"type": "read"}, "ids"),
    "both": ({"type": "read", "ids": [A], "up_to": 1}, "ids"),
    "id and up_to": ({"type": "read", "id": A, "up_to": 1}, "ids"),
    "id and ids": ({"type": "read", "id": A, "ids": [A]}, "ids"),
    "no ids": ({"type": "read", "ids": []}, "ids"),
    "too many ids": ({"type": "read", "ids": ["1"] * 501}, "ids"),
    "no uuid": ({"type": "read", "ids": ["7"]}, "ids[0]"),
    "no list": ({"type": "read", "ids": A}, "ids"),
    "negative": ({"type": "read", "up_to": -1}, "up_to"),
    "a text": ({"type": "read", "up_to": "1"}, "up_to"),
    "true": ({"type": "read", "up_to": True}, "up_to"),
    "unknown field": ({"type": "read", "ids": [A], "user": 1}, "user"),
    "until of a read": ({"type": "read", "ids": [A], "until": "2030-01-01T00:00:00Z"}, "until"),
    "snooze without until": ({"type": "snooze", "ids": [A]}, "until"),
    "snooze into the past": ({"type": "snooze", "ids": [A], "until": "2020-01-01T00:00:00Z"}, "until"),
    "snooze for ever": ({"type": "snooze", "ids": [A], "until": "2099-01-01T00:00:00Z"}, "until"),
    "snooze till nonsense": ({"type": "snooze", "ids": [A], "until": "tomorrow"}, "until"),
    "act on nothing": ({"type": "act", "action": "yes"}, "id"),
    "act without an action": ({"type": "act", "id": A}, "action"),
    "act on several": ({"type": "act", "ids": [A], "action": "yes"}, "ids"),
    "act with a number": ({"type": "act", "id": A, "action": 1}, "action"),
}


@pytest.mark.parametrize(("message", "field"), INVALID.values(), ids=INVALID)
async def test_wrong_fields_are_named_and_the_third_message_of_the_kind_closes(message, field):
    user = await new_user()
    (target,) = await deliver(user)
    client = await opened(user)
    for number in range(3):
        frame = await answer(client, ref=str(number), **message)
        assert (frame["type"], frame["code"], frame["ref"]) == ("error", "invalid", str(number))
        assert f"{field}: " in frame["detail"] and len(frame["detail"]) <= 500
    assert await client.closed() == Close.BAD_MESSAGE
    assert await state(target) == set() and await head(user) == 1


async def test_every_wrong_field_is_named():
    client = await opened(await new_user())
    frame = await answer(client, type="snooze", ids=["x"], up_to=-1, until="y")
    assert all(f"{name}: " in frame["detail"] for name in ("ids[0]", "up_to", "until"))
    await client.leave()


@pytest.mark.parametrize("ref", [1, True, ["a"], {}, "x" * 65])
async def test_a_ref_that_is_none(ref):
    user = await new_user()
    (target,) = await deliver(user)
    client = await opened(user)
    frame = await answer(client, type="read", id=str(target), ref=ref)
    assert frame["code"] == "invalid" and "ref" in frame["detail"] and "ref" not in frame
    assert await state(target) == set()
    await client.leave()


@pytest.mark.parametrize("ref", ["", "x" * 64, "é\u0000"])
async def test_a_ref_is_the_clients_own(ref):
    client = await opened(await new_user())
    assert (await answer(client, type="counts", ref=ref))["ref"] == ref
    assert (await answer(client, type="dance", ref=ref))["ref"] == ref
    await client.leave()


async def test_nothing_is_done_before_authentication():
    user = await new_user()
    (target,) = await deliver(user)
    client = Client()
    await client.connect()
    await client.send(type="read", ref="1", id=str(target))
    frame = await client.frame()
    assert (frame["code"], frame["ref"]) == ("not_authenticated", "1")
    assert await state(target) == set()
    await client.leave()


async def test_what_is_sent_with_the_token_is_done_after_the_hello():
    user = await new_user()
    (target,) = await deliver(user)
    client = Client()
    await client.connect()
    await client.send(type="authenticate", token=token(user))
    await client.send(type="read", ref="1", id=str(target))
    assert (await client.frame())["type"] == "hello"
    told = await client.frames(2)
    assert {frame["type"] for frame in told} == {"ack", "changed"}
    await client.leave()


async def test_nothing_is_done_for_a_person_who_is_deactivated():
    user = await new_user(is_active=False)
    (target,) = await deliver(user)
    client = Client()
    await client.connect()
    await client.send(type="authenticate", token=token(user))
    await client.send(type="read", ref="1", id=str(target))
    assert await client.closed() == Close.UNAUTHENTICATED
    assert await state(target) == set()


class Held:
    """Somebody else's transaction that has this person's inbox: changes wait."""

    def __init__(self, user: Any) -> None:
        self._connection: psycopg.Connection[Any] = other_connection()
        sql = "SELECT 1 FROM notifications_inboxstate WHERE user_id = %s FOR UPDATE"
        self._connection.execute(sql, [user.pk])

    def let_go(self) -> None:
        self._connection.rollback()
        self._connection.close()


async def test_changes_are_made_in_the_order_they_were_sent():
    user = await new_user()
    (target,) = await deliver(user)
    client = await opened(user)
    held = await sync_to_async(Held)(user)
    for number, name in enumerate(["read", "unread", "archive", "unarchive", "read", "unread"]):
        await client.send(type=name, ref=str(number), id=str(target))
    await client.nothing_more()  # none was done yet, and none holds up the socket
    held.let_go()
    acks = []
    while len(acks) < 6:
        if (frame := await client.frame())["type"] == "ack":
            acks.append(frame)
    assert [frame["ref"] for frame in acks] == ["0", "1", "2", "3", "4", "5"]
    assert [frame["counts"]["head"] for frame in acks] == [2, 3, 4, 5, 6, 7]
    assert await state(target) == {"seen_at"}
    await client.leave()


async def test_one_whose_inbox_is_held_does_not_hold_up_another_nor_the_news():
    user, other = await new_user(), await new_user()
    (mine,), (theirs,) = await deliver(user), await deliver(other)
    waiting, client = await opened(user), await opened(other)
    held = await sync_to_async(Held)(user)
    await waiting.send(type="read", ref="w", id=str(mine))
    assert (await answer(client, type="read", ref="1", id=str(theirs)))["type"] == "ack"
    held.let_go()
    while (await waiting.frame())["type"] != "ack":
        pass
    await waiting.leave()
    await client.leave()


async def test_a_seventeenth_unanswered_command_closes_and_what_was_sent_is_done():
    user = await new_user()
    (target,) = await deliver(user)
    client = await opened(user)
    held = await sync_to_async(Held)(user)
    for number in range(17):
        await client.send(type=("read", "unread")[number % 2], ref=str(number), id=str(target))
    assert await client.closed() == Close.TOO_MUCH
    assert await head(user) == 1
    held.let_go()
    await _comes_to(user, 17)
    assert await state(target) == {"seen_at"}


async def test_a_change_of_a_socket_that_is_gone_still_commits():
    user = await new_user()
    (target,) = await deliver(user)
    client = await opened(user)
    held = await sync_to_async(Held)(user)
    await client.send(type="read", ref="1", id=str(target))
    await client.nothing_more()  # it is with a writer by now, and waits
    await client.leave()
    held.let_go()
    await _comes_to(user, 2)
    assert await state(target) == {"read_at", "seen_at"}


async def _comes_to(user: Any, number: int) -> None:
    async with asyncio.timeout(5):
        while await head(user) != number:
            await asyncio.sleep(0.01)


async def test_a_database_that_is_away_is_told_and_the_socket_stays(monkeypatch, caplog):
    user = await new_user()
    (target,) = await deliver(user)
    client = await opened(user)
    await hearing()
    real, calls = inbox_changes.change, []

    def away(user_id, wanted):
        calls.append(threading.current_thread().name)
        raise OperationalError("ada@example.com is away")

    monkeypatch.setattr(inbox_changes, "change", away)
    for number in range(4):  # more than bad messages would close it
        frame = await answer(client, type="read", ref=str(number), id=str(target))
        assert (frame["type"], frame["code"], frame["ref"]) == ("error", "unavailable", str(number))
    monkeypatch.setattr(inbox_changes, "change", real)
    assert (await answer(client, type="read", ref="5", id=str(target)))["type"] == "ack"
    assert all(name.startswith("inbox-writer") for name in calls)
    assert "ada@" not in caplog.text
    await client.leave()


async def test_a_mistake_of_ours_is_logged_and_the_next_command_is_done(monkeypatch, caplog):
    user = await new_user()
    client = await opened(user)
    real, fail = inbox_numbers.counts_of, [True]

    def broken(user_id):
        if fail:
            fail.pop()
            raise ZeroDivisionError
        return real(user_id)

    monkeypatch.setattr(inbox_numbers, "counts_of", broken)
    assert (await answer(client, type="counts", ref="1"))["code"] == "unavailable"
    assert "ZeroDivisionError" in caplog.text
    assert (await answer(client, type="counts", ref="2"))["type"] == "counts"
    await client.leave()


async def test_an_answer_brings_what_a_lost_hint_should_have(monkeypatch):
    """The head in the answer is as good as a hint."""
    user = await new_user()
    client = await opened(user)
    await deliver(user)  # without a hint
    await client.send(type="counts")
    told = [frame["type"] for frame in await client.frames(2)]
    assert sorted(told) == ["counts", "notification"]
    await client.leave()
