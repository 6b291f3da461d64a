"""The inbox as server-sent events: what comes, from where on, and how it ends."""

from __future__ import annotations

import pytest

from apps.notifications.inbox_changes import Kind
from apps.websocket import relay
from apps.websocket.relay import relay as the_relay
from tests.websocket.streams import Reader
from tests.websocket.support import (
    Client,
    change,
    deliver,
    eventually,
    hint,
    new_user,
    opened,
    recall,
    token,
)

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


# --- What comes --------------------------------------------------------------------------------------------


async def test_what_is_new_comes_as_events_with_the_place_to_come_back_with():
    user = await new_user()
    await deliver(user, 2)
    async with Reader(user) as reader:
        assert reader.status == 200
        assert reader.headers["content-type"] == "text/event-stream"
        assert reader.headers["cache-control"] == "no-store"
        assert reader.headers["x-accel-buffering"] == "no"
        hello = await reader.event()
        assert (hello.type, hello.id) == ("hello", "2")
        assert (hello.data["user"], hello.data["head"]) == (user.pk, 2)
        (target,) = await deliver(user)
        await hint({user.pk: 3})
        event = await reader.event()
        assert (event.type, event.id) == ("notification", "3")
        assert (event.data["type"], event.data["sequence"]) == ("notification", 3)
        assert event.data["item"]["id"] == str(target)
        assert event.data["counts"] == {"head": 3, "unread": 3, "unseen": 3}


async def test_it_begins_with_when_to_come_back(monkeypatch):
    monkeypatch.setattr(relay.Relay, "reconnect_within", property(lambda self: 40.0))
    user = await new_user()
    spread = []
    for _ in range(4):
        async with Reader(user) as reader:
            assert await reader.event()
            spread += reader.retries
    assert all(1_000 <= retry <= 40_000 for retry in spread)
    assert len(set(spread)) > 4, "not by chance"


async def test_changes_and_recalls_come_too():
    user = await new_user()
    one, two = await deliver(user, 2)
    async with Reader(user) as reader:
        assert (await reader.event()).type == "hello"
        await change(user, Kind.READ, one)
        changed = await reader.event()
        assert (changed.type, changed.id, changed.data["item"]["id"]) == ("changed", "3", str(one))
        await recall(two, hinted=False)
        await hint({user.pk: 4})
        recalled = await reader.event()
        assert (recalled.type, recalled.id, recalled.data["item"]) == ("recalled", "4", {"id": str(two)})


async def test_words_with_line_ends_stay_within_their_event():
    user = await new_user()
    await deliver(user, body="one\ndata: {}\r\n\revent: close\n\nü\u2028")
    async with Reader(user, query="since=0") as reader:
        *_, event = await reader.events(3)
        assert event.data["item"]["body"] == "one\ndata: {}\r\n\revent: close\n\nü\u2028"


async def test_a_heartbeat_says_that_all_was_sent_and_when_to_come_back():
    user = await new_user()
    await deliver(user)
    async with Reader(user) as reader:
        await reader.event()
        the_relay().compare_soon()
        before = len(reader.retries)
        beat = await reader.heartbeat(1)
        assert (beat.type, beat.id) == ("heartbeat", "1")
        assert len(reader.retries) > before


async def test_nobody_gets_what_is_anothers():
    user, other = await new_user(), await new_user()
    async with Reader(user) as reader:
        await reader.event()
        await deliver(other)
        await deliver(user)
        await hint({other.pk: 1, user.pk: 1})
        event = await reader.event()
        assert (event.type, event.data["counts"]["head"]) == ("notification", 1)
        the_relay().compare_soon()
        await reader.heartbeat(1)


# --- From where on -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "headers", "expected"),
    [
        ("since=3", {}, [4, 5]),
        ("since=0", {}, [1, 2, 3, 4, 5]),
        ("", {"Last-Event-ID": "4"}, [5]),
        ("since=1", {"Last-Event-ID": "4"}, [5]),  # the browser came back to the address it was given
        ("since=3", {"Last-Event-ID": ""}, [4, 5]),
        ("since=5", {}, []),
    ],
)
async def test_it_goes_on_from(query, headers, expected):
    user = await new_user()
    await deliver(user, 5)
    async with Reader(user, query=query, headers=headers) as reader:
        hello, subscribed = await reader.events(2)
        assert (hello.type, subscribed.type) == ("hello", "subscribed")
        assert [event.data["sequence"] for event in await reader.events(len(expected))] == expected
        the_relay().compare_soon()
        await reader.heartbeat(5)


async def test_hello_is_no_place_to_come_back_with_before_a_replay():
    """A browser whose connection breaks right after it would miss the replay."""
    user = await new_user()
    await deliver(user, 5)
    async with Reader(user, query="since=3") as reader:
        hello, subscribed, first, second = await reader.events(4)
    assert (hello.id, subscribed.id, first.id, second.id) == ("", "", "4", "5")


async def test_who_remembers_more_than_there_is_goes_on_from_the_end():
    user = await new_user()
    await deliver(user)
    async with Reader(user, headers={"Last-Event-ID": "9"}) as reader:
        hello, ahead = await reader.events(2)
        assert hello.id == ""
        assert (ahead.type, ahead.id, ahead.data["code"]) == ("error", "1", "since_ahead")
        await deliver(user)
        await hint({user.pk: 2})
        assert (await reader.event()).id == "2"


async def test_who_is_too_far_behind_reads_the_list_anew_and_goes_on():
    user = await new_user()
    await deliver(user, 1_001)
    async with Reader(user, query="since=0") as reader:
        *_, resync = await reader.events(3)
        assert (resync.type, resync.id) == ("resync", "1001")
        await deliver(user)
        await hint({user.pk: 1_002})
        assert (await reader.event()).id == "1002"


# --- How it ends -------------------------------------------------------------------------------------------


async def test_it_ends_with_its_token():
    async with Reader(await new_user(), seconds=2) as reader:
        assert (await reader.event()).type == "hello"
        last = await reader.last()
    assert (last.type, last.data) == ("close", {"type": "close", "code": 4401})
    assert the_relay().users == 0


async def test_it_ends_when_the_person_is_deactivated():
    user = await new_user()
    async with Reader(user) as reader:
        await reader.event()
        user.is_active = False
        await user.asave()
        the_relay().compare_soon()
        assert (await reader.last()).data == {"type": "close", "code": 4401}


@pytest.mark.parametrize("fields", [{"is_active": False}, None], ids=["deactivated", "gone"])
async def test_a_good_token_of_somebody_who_may_not(fields):
    user = await new_user(**(fields or {}))
    text = token(user)
    if fields is None:
        await user.adelete()
    async with Reader(headers={"Authorization": f"Bearer {text}"}) as reader:
        assert (await reader.last()).data == {"type": "close", "code": 4401}


async def test_it_ends_when_the_database_does_not_answer(settings, monkeypatch):
    settings.WEBSOCKET_AUTH_SECONDS = 0.2
    monkeypatch.setattr(relay.Relay, "place", lambda self, subscription: None)  # never read
    async with Reader(await new_user()) as reader:
        assert reader.status == 200
        assert (await reader.last()).data == {"type": "close", "code": 4503}


async def test_nothing_is_kept_for_a_client_that_has_gone():
    user = await new_user()
    async with Reader(user) as reader:
        await reader.event()
        assert the_relay().users == 1
    assert the_relay().users == 0


async def test_one_that_goes_before_it_is_placed_is_forgotten(monkeypatch):
    monkeypatch.setattr(relay.Relay, "place", lambda self, subscription: None)
    async with Reader(await new_user()):
        assert the_relay().users == 1
    assert the_relay().users == 0


async def test_sockets_and_streams_of_a_person_are_limited_together(monkeypatch):
    monkeypatch.setattr(relay, "MAX_SOCKETS_PER_USER", 2)
    user = await new_user()
    client = await opened(user)
    async with Reader(user) as first, Reader(user) as second:
        assert first.status == 200
        assert second.status == 429 and (await second.problem())["code"] == "too_many_streams"
        async with Reader(await new_user()) as other:
            assert other.status == 200
    assert the_relay().users == 1
    await client.leave()
    await eventually(lambda: the_relay().users == 0)
    async with Reader(user) as again:
        assert again.status == 200


async def test_a_stream_and_a_socket_are_sent_the_same():
    user = await new_user()
    client: Client = await opened(user)
    async with Reader(user) as reader:
        await reader.event()
        await deliver(user)
        await hint({user.pk: 1})
        event = await reader.event()
        while (frame := await client.frame())["type"] == "heartbeat":
            pass
        assert event.data == frame
    await client.leave()
