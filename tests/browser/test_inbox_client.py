"""inbox.js in a browser: what it shows and what it changes."""

from __future__ import annotations

import gzip
from pathlib import Path

from playwright.async_api import Page, expect

from apps.notifications.inbox_changes import Kind
from tests.browser.conftest import Complaints
from tests.browser.inbox_client import NETWORK_NOISE, client, elsewhere, has_read, rows
from tests.browser.site import Site

MODULE = Path(__file__).resolve().parents[2] / "apps/websocket/static/inbox/inbox.js"
BUTTONS = '[{"id": "yes", "label": "Yes", "link": ""}, {"id": "no", "label": "No", "link": ""}]'
# Frames are kept back until `releaseFrames()`; there are no heartbeats, which would make up for a lost one.
HOLD_FRAMES = """() => {
  const { set } = Object.getOwnPropertyDescriptor(WebSocket.prototype, "onmessage");
  window.kept = [];
  Object.defineProperty(WebSocket.prototype, "onmessage", { set(take) {
    let held = [];
    set.call(this, (event) => {
      if (event.data.includes('"heartbeat"')) return;
      kept.push(event.data);
      if (held) held.push(event); else take(event);
    });
    window.releaseFrames = () => { const late = held; held = null; late.forEach(take); };
  } });
}"""
# Answers of fetch are kept back until `release()`.
HOLD = """() => {
  const real = window.fetch;
  window.fetch = async (...call) => {
    const answer = await real(...call);
    await new Promise((resolve) => (window.release = resolve));
    return answer;
  };
}"""


async def test_it_is_small() -> None:
    assert len(gzip.compress(MODULE.read_bytes())) <= 6 * 1024


# --- what it shows ---------------------------------------------------------------------------------------


async def test_it_connects_and_tells_the_counts(site: Site, page: Page) -> None:
    ada = await site.person()
    await site.fill(ada, 3)
    mine = await client(site, page, ada)
    assert await mine.statuses() == ["connecting", "live"]
    assert await mine.call("counts") == {"head": 3, "unread": 3, "unseen": 3}
    assert len(await mine.told("counts")) == 1
    assert await mine.told("notification") == [], "without a list it begins with what is new"
    assert mine.tokens == 1


async def test_a_notification_comes_as_it_is_sent(site: Site, page: Page) -> None:
    mine = await client(site, page)
    await site.send(mine.person, title="Fresh")
    (told,) = await mine.tells("notification")
    assert (told["item"]["title"], told["item"]["sequence"], told["live"]) == ("Fresh", 1, True)
    assert await mine.call("counts") == {"head": 1, "unread": 1, "unseen": 1}


async def test_lists_have_filters_pages_and_counts(site: Site, page: Page) -> None:
    ada = await site.person()
    targets = await site.fill(ada, 3)
    await elsewhere(ada, Kind.ARCHIVE, targets[0])
    mine = await client(site, page, ada, connect=False)
    first = await mine.call("list({pageSize: 1, unread: true})")
    assert [one["title"] for one in first["items"]] == ["Title 3"]
    assert first["counts"] == {"head": 4, "unread": 2, "unseen": 2} == await mine.call("counts")
    after = first["pageInfo"]["after"]
    second = await mine.call(f"list({{pageSize: 1, unread: true, after: '{after}'}})")
    assert [one["title"] for one in second["items"]] == ["Title 2"]
    archived = await mine.call("list({archived: true})")
    assert [one["id"] for one in archived["items"]] == [str(targets[0])]
    one = await mine.call(f"item('{targets[2]}')")
    assert one["title"] == "Title 3"


async def test_a_call_that_is_refused_says_why(site: Site, page: Page, complaints: Complaints) -> None:
    complaints.allow(NETWORK_NOISE)
    mine = await client(site, page, connect=False)
    await mine.begin("list", "list({pageSize: 100000})")
    found = await mine.outcome("list")
    assert (found["kind"], found["code"], found["status"]) == ("InboxError", "invalid_request", 400)
    assert [one["field"] for one in found["errors"]] == ["page_size"]


async def test_preferences_are_read_and_changed(site: Site, page: Page) -> None:
    mine = await client(site, page, connect=False)
    assert (await mine.call("preferences()"))["channels"] == {}
    changed = await mine.call("setPreferences({channels: {sms: 'off'}})")
    assert changed["channels"] == {"sms": "off"} == (await mine.call("preferences()"))["channels"]


async def test_what_comes_between_the_list_and_the_socket_is_not_lost(site: Site, page: Page) -> None:
    ada = await site.person()
    await site.fill(ada, 1)
    mine = await client(site, page, ada, connect=False)
    await mine.call("list()")
    await site.fill(ada, 1, title="Between")
    await mine.call("connect()")
    (told,) = await mine.tells("notification")
    assert (told["item"]["title"], told["live"]) == ("Between 1", False)


async def test_a_list_that_is_older_than_the_socket_loses_nothing(site: Site, page: Page) -> None:
    """The list was read first, and its answer came last."""
    ada = await site.person()
    await site.fill(ada, 1)
    mine = await client(site, page, ada, connect=False)
    await page.evaluate(HOLD)
    await mine.begin("list", "list()")
    await page.wait_for_function("() => Boolean(window.release)")
    await site.fill(ada, 2, title="Between")
    await mine.call("connect()")
    await mine.is_("live")
    assert await mine.told("notification") == []
    await page.evaluate("() => release()")
    told = await mine.tells("notification", 2)
    assert [one["item"]["title"] for one in told] == ["Between 1", "Between 2"]
    assert (await mine.outcome("list"))["value"]["counts"]["head"] == 1
    assert (await mine.call("counts"))["head"] == 3, "older counts are not shown"


async def test_a_list_that_comes_before_the_hello_is_gone_on_from(site: Site, page: Page) -> None:
    """The socket was asked for what is new from its hello on: that is later than the list."""
    ada = await site.person()
    await site.fill(ada, 1)
    mine = await client(site, page, ada, connect=False)
    await page.evaluate(HOLD)
    await mine.begin("list", "list()")
    await page.wait_for_function("() => Boolean(window.release)")
    await page.evaluate(HOLD_FRAMES)
    await site.fill(ada, 1, title="Between")
    await mine.call("connect()")
    await page.wait_for_function("() => kept.length > 0")
    await page.evaluate("() => release()")
    await mine.outcome("list")
    await site.fill(ada, 1, title="Then")
    await page.wait_for_function("() => kept.some((one) => one.includes('Then'))")
    await page.evaluate("() => releaseFrames()")
    told = await mine.tells("notification", 2)
    assert [one["item"]["title"] for one in told] == ["Between 1", "Then 1"]


async def test_a_list_does_not_undo_what_came_while_it_was_read(site: Site, page: Page) -> None:
    """Its items may be older than an event: that one comes again, after it."""
    ada = await site.person()
    (item,) = await site.fill(ada, 1)
    mine = await client(site, page, ada)
    await page.evaluate(HOLD)
    await mine.begin("list", "list()")
    await page.wait_for_function("() => Boolean(window.release)")
    await elsewhere(ada, Kind.READ, item)
    await site.send(ada, title="Fresh")
    await mine.tells("changed")
    await mine.tells("notification")
    await page.evaluate("() => release()")
    listed = (await mine.outcome("list"))["value"]["items"]
    assert [(one["id"], one["read_at"]) for one in listed] == [(str(item), None)]
    again = (await mine.tells("changed", 2))[-1]
    assert again["item"]["read_at"] is not None
    assert [one["live"] for one in await mine.tells("notification", 2)] == [True, False]


# --- changes ---------------------------------------------------------------------------------------------


async def test_each_change_is_committed_and_told(site: Site, page: Page) -> None:
    ada = await site.person()
    a, b, c = await site.fill(ada, 3, actions=BUTTONS)
    mine = await client(site, page, ada)
    assert await mine.call(f"read('{a}')") == {"changed": 1, "counts": {"head": 4, "unread": 2, "unseen": 2}}
    (told,) = await mine.tells("changed")
    assert (told["item"]["id"], told["item"]["read_at"] is not None) == (str(a), True)
    assert (await mine.call("seen({upTo: 3})"))["counts"]["unseen"] == 0
    assert (await mine.call(f"unread(['{a}', '{b}'])"))["changed"] == 1
    assert (await mine.call(f"archive('{a}')"))["counts"]["unread"] == 2
    assert (await mine.call(f"unarchive('{a}')"))["counts"]["unread"] == 3
    assert (await mine.call(f"snooze('{b}', new Date(Date.now() + 3600000))"))["counts"]["unread"] == 2
    assert (await mine.call(f"unsnooze('{b}')"))["counts"]["unread"] == 3
    assert (await mine.call(f"act('{c}', 'yes')"))["changed"] == 1
    by_id = {row.target_id: row for row in await rows(ada)}
    assert (by_id[c].action, by_id[c].read_at is not None, by_id[a].read_at) == ("yes", True, None)
    assert await mine.told("queued") == [], "nobody waits who is connected"


async def test_reads_of_a_moment_are_one_message(site: Site, page: Page) -> None:
    ada = await site.person()
    targets = await site.fill(ada, 3)
    mine = await client(site, page, ada)
    done = await page.evaluate(
        """(ids) => Promise.all(ids.map(async (id, number) => {
          await new Promise((resolve) => setTimeout(resolve, 50 * number));
          return inbox.read(id);
        }))""",
        [str(one) for one in targets],
    )
    assert [one["changed"] for one in done] == [3, 3, 3], "each says what the message has changed"
    assert await has_read(ada) == [True] * 3
    assert len(await mine.tells("changed", 3)) == 3


async def test_many_ids_are_several_messages(site: Site, page: Page) -> None:
    ada = await site.person()
    targets = await site.fill(ada, 450)
    mine = await client(site, page, ada)
    ids = [str(one) for one in targets]
    assert await page.evaluate("(ids) => inbox.archive(ids)", ids) == {
        "changed": 450,
        "counts": {"head": 900, "unread": 0, "unseen": 0},
    }
    assert await mine.told("error") == []


async def test_one_bad_id_does_not_take_its_neighbours_along(site: Site, page: Page) -> None:
    ada = await site.person()
    a, b = await site.fill(ada, 2)
    mine = await client(site, page, ada)
    ids = [str(a), "01990000-0000-7000-8000-000000000000", str(b)]
    outcomes = await page.evaluate(
        """(ids) => Promise.all(ids.map((id) =>
          inbox.read(id).then(({ changed }) => changed, ({ code }) => code)))""",
        ids,
    )
    assert outcomes == [1, "not_found", 1]
    assert [one["code"] for one in await mine.told("error")] == ["not_found"]
    assert await has_read(ada) == [True, True]
    assert await page.evaluate("localStorage.length") == 0


async def test_who_does_not_wait_for_a_refused_change_hears_of_it(site: Site, page: Page) -> None:
    """No unhandled rejection: `complaints` would see it."""
    ada = await site.person()
    (item,) = await site.fill(ada, 1, actions=BUTTONS)
    mine = await client(site, page, ada)
    await page.evaluate(f"void inbox.act('{item}', 'yes'); void inbox.act('{item}', 'no');")
    (told,) = await mine.tells("error")
    assert (told["code"], (await rows(ada))[0].action) == ("already_acted", "yes")


async def test_it_keeps_to_the_pace_the_server_allows(site: Site, page: Page) -> None:
    ada = await site.person()
    (item,) = await site.fill(ada, 1)
    mine = await client(site, page, ada)
    await mine.begin(
        "all", f"list().then(() => Promise.all(Array.from({{ length: 70 }}, (_, turn) =>"
        f" turn % 2 ? inbox.unarchive('{item}') : inbox.archive('{item}'))))"
    )  # fmt: skip
    done = (await mine.outcome("all", seconds=20))["value"]
    assert [one["changed"] for one in done] == [1] * 70
    assert await mine.statuses() == ["connecting", "live"]


# --- the example ------------------------------------------------------------------------------------------


async def test_the_example_shows_an_inbox_under_a_strict_policy(site: Site, page: Page) -> None:
    ada = await site.person()
    first, second = await site.fill(ada, 2, actions=BUTTONS)
    await page.goto(f"{site.url}/static/inbox/example-inbox.html")
    await page.get_by_label("token").fill(ada.token())
    await page.get_by_label("Socket").fill(site.socket_url)
    await page.get_by_role("button", name="Connect").click()
    lines = page.get_by_role("listitem")
    await expect(lines).to_have_count(2)
    await expect(page.locator("#status")).to_have_text("live")
    await expect(page.locator("#unread")).to_have_text("2")
    await site.send(ada, title="<b>Fresh</b>")
    await expect(lines.first).to_contain_text("<b>Fresh</b>")

    await lines.nth(1).get_by_role("button", name="Yes").click()
    await expect(page.locator("#unread")).to_have_text("2")
    await lines.nth(2).get_by_role("button", name="Archive").click()
    await expect(lines).to_have_count(2)
    await page.get_by_role("button", name="Mark all as read").click()
    await expect(page.locator("#unread")).to_have_text("0")
    by_id = {row.target_id: row for row in await rows(ada)}
    assert (by_id[second].action, by_id[first].archived_at is not None) == ("yes", True)
    await expect(page.locator("#error")).to_be_empty()
