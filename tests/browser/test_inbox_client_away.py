"""inbox.js in a browser: nothing is lost or doubled, whatever becomes of the connection and the token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Page, Request

from apps.notifications.inbox_changes import Kind
from tests.browser.conftest import Complaints, Contexts
from tests.browser.inbox_client import NETWORK_NOISE, Client, client, elsewhere, has_read, rows
from tests.browser.site import Site, until
from tests.support.forwarder import Forwarder


@pytest.fixture(autouse=True)
def network_fails(complaints: Complaints) -> None:
    complaints.allow(NETWORK_NOISE)


@pytest.fixture
def net(site: Site) -> Iterator[Forwarder]:
    """A way to the socket server that can be cut."""
    way = Forwarder(int(site.sockets.rpartition(":")[2]))
    yield way
    way.cut()


def through(net: Forwarder) -> str:
    return f"ws://127.0.0.1:{net.port}/ws/notifications/"


# --- away and back ---------------------------------------------------------------------------------------


async def test_what_came_while_away_comes_once(site: Site, page: Page) -> None:
    ada = await site.person()
    old = await site.fill(ada, 2)
    mine = await client(site, page, ada)
    await page.context.set_offline(True)
    await mine.is_("offline")
    new = await site.fill(ada, 3, title="Missed")
    await elsewhere(ada, Kind.READ, old[0], new[1])
    await page.context.set_offline(False)
    told = await mine.tells("notification", 3)
    assert sorted(one["item"]["id"] for one in told) == [str(one) for one in new]
    assert {one["live"] for one in told} == {False}
    changed = await mine.tells("changed", 2)
    assert [one["item"]["id"] for one in changed] == [str(old[0]), str(new[1])]
    await site.send(ada, title="Fresh")
    fresh = (await mine.tells("notification", 4))[-1]
    assert (fresh["item"]["title"], fresh["live"]) == ("Fresh", True)
    assert await mine.call("counts") == {"head": 8, "unread": 4, "unseen": 4}


async def test_a_server_that_was_killed_is_found_again(site: Site, page: Page) -> None:
    mine = await client(site, page)
    site.kill_sockets()
    try:
        await mine.is_("offline")
        (item,) = await site.fill(mine.person, 1)
        await mine.begin("read", f"read('{item}')")
        await mine.waits(1)
    finally:
        site.start_sockets()
    await mine.is_("live", seconds=20)
    assert (await mine.outcome("read"))["value"]["changed"] == 1
    told = await mine.tells("notification")
    assert told[0]["item"]["id"] == str(item)
    await mine.waits(0)


async def test_a_connection_that_fell_silent_is_given_up(site: Site, page: Page, net: Forwarder) -> None:
    await page.clock.install()
    mine = await client(site, page, socketUrl=through(net))
    net.swallow()
    await site.fill(mine.person, 1)
    await page.clock.fast_forward(46_000)
    assert await mine.call("status") == "live", "it was asked, and has some time to answer"
    net.mend()
    await page.clock.fast_forward(11_000)
    await mine.tells("notification", seconds=10)
    assert await mine.statuses() == ["connecting", "live", "offline", "live"]


async def test_too_much_to_replay_is_read_anew(site: Site, page: Page) -> None:
    mine = await client(site, page)
    await page.context.set_offline(True)
    await mine.is_("offline")
    await site.fill(mine.person, 1_001)
    await page.context.set_offline(False)
    (told,) = await mine.tells("resync")
    assert (told["head"], told["unread"]) == (1_001, 1_001)
    assert await mine.told("notification") == []
    await site.send(mine.person, title="After")
    (fresh,) = await mine.tells("notification")
    assert (fresh["item"]["sequence"], fresh["live"]) == (1_002, True)


async def test_who_remembers_more_than_there_is_begins_anew(site: Site, page: Page) -> None:
    """The database was restored from a backup."""
    ada = await site.person()
    await site.fill(ada, 2)
    mine = await client(site, page, ada, connect=False)
    counts = {"head": 99, "unread": 9, "unseen": 9}
    await page.route(
        re.compile(r"/api/inbox/\?"), lambda route: route.fulfill(json={"items": [], "counts": counts})
    )
    await mine.call("list()")
    assert await mine.call("counts") == counts
    await mine.call("connect()")
    await mine.tells("resync")
    assert await mine.call("counts") == {"head": 2, "unread": 2, "unseen": 2}
    await site.send(ada)
    assert (await mine.tells("notification"))[0]["item"]["sequence"] == 3
    assert await mine.told("error") == []


async def test_a_lost_frame_is_asked_for_at_the_next_heartbeat(site: Site, page: Page) -> None:
    mine = await client(site, page, connect=False)
    await page.evaluate("""() => {
      const { prototype } = WebSocket;
      const { set } = Object.getOwnPropertyDescriptor(prototype, "onmessage");
      let lost = false;
      Object.defineProperty(prototype, "onmessage", { set(take) {
        set.call(this, (event) => {
          const isFirst = !lost && JSON.parse(event.data).type === "notification";
          if (isFirst) lost = true; else take(event);
        });
      } });
    }""")
    await mine.call("connect()")
    await mine.is_("live")
    await site.fill(mine.person, 1, title="Lost")
    (told,) = await mine.tells("notification", seconds=8)
    assert (told["item"]["title"], told["live"]) == ("Lost 1", True)


async def test_who_has_closed_it_hears_nothing_more_and_goes_on_later(site: Site, page: Page) -> None:
    mine = await client(site, page)
    await mine.call("close()")
    assert await mine.statuses() == ["connecting", "live", "closed"]
    await site.fill(mine.person, 1)
    await page.evaluate("window.dispatchEvent(new Event('online'))")
    assert await mine.told("notification") == []
    await mine.call("connect()")
    await mine.tells("notification")


# --- changes that wait ------------------------------------------------------------------------------------


async def test_reads_while_away_are_sent_together_once_back(site: Site, page: Page) -> None:
    ada = await site.person()
    targets = await site.fill(ada, 3)
    mine = await client(site, page, ada)
    await page.context.set_offline(True)
    await mine.is_("offline")
    for number, id in enumerate(targets, 1):
        await mine.begin(str(number), f"read('{id}')")
        await mine.waits(number)
    assert await mine.is_pending("1")
    assert await has_read(ada) == [False] * 3
    await page.context.set_offline(False)
    assert (await mine.outcome("1"))["value"] == {
        "changed": 3,
        "counts": {"head": 6, "unread": 0, "unseen": 0},
    }
    assert await has_read(ada) == [True] * 3
    await mine.waits(0)
    assert await page.evaluate("localStorage.length") == 0


async def test_what_waits_survives_the_page(site: Site, page: Page, net: Forwarder) -> None:
    ada, grace = await site.person(), await site.person()
    (item,) = await site.fill(ada, 1)
    mine = await client(site, page, ada, socketUrl=through(net))
    net.cut()
    await mine.is_("offline")
    await mine.call(f"read('{item}') && 0")
    await mine.call(f"archive('{item}') && 0")
    await mine.waits(2)

    mine.new_token = grace.token
    await mine.load()
    await mine.call("list()")
    assert await mine.told("queued") == [], "they are not of this person"
    await mine.call("close()")

    mine.new_token = ada.token
    await mine.load()
    await mine.waits(0)
    (row,) = await rows(ada)
    assert (row.read_at is not None, row.archived_at is not None) == (True, True)
    assert await mine.told("error") == []
    assert [one["waiting"] for one in await mine.told("queued")] == [2, 1, 0]


async def test_tabs_lose_none_of_each_others_changes_and_keep_their_order(
    site: Site, contexts: Contexts
) -> None:
    ada = await site.person()
    a, b = await site.fill(ada, 2)
    device = await contexts()
    first = await client(site, await device.new_page(), ada)
    second = await client(site, await device.new_page(), ada)
    await device.set_offline(True)
    for one in (first, second):
        await one.is_("offline")
    for number, (one, call) in enumerate([
        (first, f"archive(['{a}', '{b}'])"),
        (second, f"unarchive('{a}')"),
        (first, f"read('{a}')"),
        (second, f"read('{b}')"),
    ]):  # fmt: skip
        await one.begin(str(number), call)
    assert await first.page.evaluate("localStorage.length") == 4
    await device.set_offline(False)
    for number, one in enumerate([first, second, first, second]):
        assert "value" in await one.outcome(str(number))
    at_a, at_b = await rows(ada)
    assert (at_a.archived_at, at_b.archived_at is not None) == (None, True)
    assert await has_read(ada) == [True, True]
    assert await first.page.evaluate("localStorage.length") == 0
    assert await first.told("error") == await second.told("error") == []


async def test_only_so_many_changes_wait(site: Site, page: Page) -> None:
    mine = await client(site, page, connect=False)
    await page.evaluate("for (let n = 0; n < 1000; n += 1) void inbox.seen('x' + n);")
    await mine.begin("more", "seen('y')")
    assert (await mine.outcome("more"))["code"] == "queue_full"
    assert [one["code"] for one in await mine.told("error")] == ["queue_full"]
    assert (await mine.told("queued"))[-1]["waiting"] == 1_000


async def test_a_full_storage_keeps_changes_in_memory(site: Site, page: Page) -> None:
    ada = await site.person()
    (item,) = await site.fill(ada, 1)
    mine = await client(site, page, ada)
    await page.evaluate("""() => {
      Storage.prototype.setItem = () => { throw new DOMException("", "QuotaExceededError"); };
    }""")
    await page.context.set_offline(True)
    await mine.is_("offline")
    await mine.begin("read", f"read('{item}')")
    await mine.waits(1)
    await page.context.set_offline(False)
    assert (await mine.outcome("read"))["value"]["changed"] == 1


# --- the token -------------------------------------------------------------------------------------------


async def test_the_token_is_renewed_on_the_open_socket(site: Site, page: Page) -> None:
    ada = await site.person()
    mine = Client(site, page, ada)
    mine.new_token = lambda: ada.token(4)
    await mine.start()
    await until(lambda: mine.tokens == 4, seconds=12, what="the token asked for again")
    await site.send(ada)
    await mine.tells("notification")
    assert await mine.statuses() == ["connecting", "live"]


async def test_an_expired_token_costs_a_new_one_and_nothing_else(site: Site, page: Page) -> None:
    """It is not renewed in time, as this clock is wrong."""
    ada = await site.person()
    mine = Client(site, page, ada)
    mine.new_token = lambda: ada.token(600 if mine.tokens > 1 else 2)
    await page.clock.install(time=datetime.now(UTC) + timedelta(hours=1))
    await mine.start()
    await until(lambda: mine.tokens == 2, what="a new token")
    await site.send(ada)
    await mine.tells("notification")
    assert (await mine.statuses(), mine.tokens) == (["connecting", "live"], 2)
    assert await mine.told("error") == []


async def test_a_token_that_is_refused_twice_is_told(site: Site, page: Page) -> None:
    ada = await site.person()
    mine = Client(site, page, ada)
    mine.new_token = lambda: "no token"
    await mine.start(connect=False)
    await mine.call("connect()")
    await mine.is_("unauthorized")
    assert await mine.statuses() == ["connecting", "unauthorized"]
    assert (await mine.told("status"))[-1]["code"] == 4401
    assert mine.tokens == 2


async def test_who_could_log_in_again_is_let_in_when_they_come_back(site: Site, page: Page) -> None:
    ada = await site.person()
    mine = Client(site, page, ada)
    mine.new_token = lambda: ada.token(-10)
    await mine.start(connect=False)
    await mine.call("connect()")
    await mine.is_("unauthorized")
    mine.new_token = ada.token
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await mine.is_("live")
    assert mine.tokens == 3


async def test_the_token_of_another_person_is_not_used(site: Site, page: Page, net: Forwarder) -> None:
    ada, grace = await site.person(), await site.person()
    await site.fill(ada, 1)
    mine = await client(site, page, ada, socketUrl=through(net))
    net.cut()
    await mine.is_("offline")
    await mine.begin("read", "read({upTo: 1})")
    mine.new_token = grace.token
    net.mend()
    await page.evaluate("window.dispatchEvent(new Event('online'))")
    await until(lambda: mine.told("error"))
    assert (await mine.told("error"))[0]["code"] == "other_person"
    assert await mine.is_pending("read")
    assert (await site.counts(grace)).head == 0 and await has_read(ada) == [False]


async def test_a_place_for_tokens_that_fails_is_asked_again(site: Site, page: Page) -> None:
    ada = await site.person()
    mine = Client(site, page, ada)

    def failing() -> str:
        raise RuntimeError("no")

    mine.new_token = failing
    await mine.start(connect=False)
    await mine.call("connect()")
    await mine.is_("offline")
    assert (await mine.tells("error"))[0]["code"] == "token"
    mine.new_token = ada.token
    await mine.is_("live")


# --- without a socket -------------------------------------------------------------------------------------


async def test_without_websocket_it_takes_the_stream(site: Site, page: Page) -> None:
    ada = await site.person()
    (item,) = await site.fill(ada, 1)
    mine = await client(site, page, ada, WebSocket=None)
    assert await mine.call("counts") == {"head": 1, "unread": 1, "unseen": 1}
    await site.send(ada, title="Fresh")
    (told,) = await mine.tells("notification")
    assert (told["item"]["title"], told["live"]) == ("Fresh", True)
    assert (await mine.call(f"read('{item}')"))["changed"] == 1
    await mine.tells("changed")
    assert await mine.statuses() == ["connecting", "live"]


async def test_a_stream_goes_on_where_it_was(site: Site, page: Page, net: Forwarder) -> None:
    mine = await client(site, page, WebSocket=None, socketUrl=through(net))
    net.cut()
    await mine.is_("offline")
    await site.fill(mine.person, 2)
    net.mend()
    told = await mine.tells("notification", 2)
    assert [one["item"]["sequence"] for one in told] == [1, 2]


async def test_a_stream_takes_a_new_token_without_a_break(site: Site, page: Page) -> None:
    ada = await site.person()
    mine = Client(site, page, ada)
    mine.new_token = lambda: ada.token(4)
    await mine.start(WebSocket=None)
    await until(lambda: mine.tokens == 3, seconds=12, what="the token asked for again")
    await site.send(ada)
    await mine.tells("notification")
    assert await mine.statuses() == ["connecting", "live"]


async def test_a_socket_that_cannot_be_opened_is_replaced_by_the_stream(site: Site, page: Page) -> None:
    streams: list[Request] = []
    page.on("request", lambda request: streams.append(request) if "/stream/" in request.url else None)
    mine = await client(site, page, broken_sockets=2)
    assert await mine.statuses() == ["connecting", "offline", "live"]
    await site.send(mine.person)
    await mine.tells("notification")
    assert len(streams) == 1


async def test_the_socket_is_tried_again_when_the_stream_ends(site: Site, page: Page) -> None:
    ada = await site.person()
    mine = Client(site, page, ada)
    mine.new_token = lambda: ada.token(4)
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    await mine.start(broken_sockets=2)
    await until(lambda: sockets[2:], seconds=8, what="a third socket")
    await site.send(ada)
    await mine.tells("notification")
    assert await mine.statuses() == ["connecting", "offline", "live"]
    assert sockets[2:] == [site.socket_url]


async def test_a_forbidden_page_stops(site: Site, page: Page) -> None:
    await page.route("**/stream/", lambda route: route.fulfill(status=403))
    mine = Client(site, page, await site.person())
    await mine.start(connect=False, WebSocket=None)
    await mine.call("connect()")
    await mine.is_("closed")
    (told,) = await mine.told("error")
    assert (told["code"], told["status"]) == ("forbidden", 4403)
    await page.evaluate("window.dispatchEvent(new Event('online'))")
    assert mine.tokens == 1
