"""The web component on a page under a strict policy, against the whole installation."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from playwright.async_api import Locator, Page, expect

from apps.notifications.models import InboxItem
from apps.preferences.models import Choice
from tests.browser.component import bell, item, items, opened, press, product, scroller, show, tab
from tests.browser.conftest import Complaints, Contexts, shot
from tests.browser.site import STATIC, Person, Site, until
from tests.support.templates import type_of

ACTIONS = json.dumps(
    [{"id": "yes", "label": "Approve", "link": "/#approved"}, {"id": "no", "label": "Decline", "link": ""}]
)


async def row(id: UUID) -> InboxItem:
    return await sync_to_async(InboxItem.objects.get)(pk=id)


async def settled(site: Site, person: Person, **wanted: int) -> None:
    """The database counts so many `unread` or `unseen`."""

    async def there() -> bool:
        counts = (await site.counts(person)).as_json()
        return all(counts[name] == value for name, value in wanted.items())

    await until(there, what=f"{wanted} in the database")


def sent(page: Page) -> list[dict[str, Any]]:
    """What the page writes to its sockets from now on."""
    frames: list[dict[str, Any]] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda data: frames.append(json.loads(data))))
    return frames


# --- The bell ---------------------------------------------------------------------------------------------


async def test_the_badge_is_what_the_server_counts(site: Site, page: Page) -> None:
    ada = await site.person()
    await site.fill(ada, 3)
    component = await show(page, site, ada)
    await expect(component.locator(".badge")).to_have_text("3")
    await expect(component.get_by_role("button", name="Notifications, unread: 3")).to_be_visible()
    await site.fill(ada, 97)
    await expect(component.locator(".badge")).to_have_text("99+")
    assert (await site.counts(ada)).unseen == 100  # nobody has looked


async def test_to_open_it_is_to_have_seen_all_and_to_have_read_nothing(site: Site, page: Page) -> None:
    ada = await site.person()
    await site.fill(ada, 2)
    component = await show(page, site, ada)
    badge = component.locator(".badge")
    await expect(badge).to_have_attribute("data-unseen", "")
    await bell(component).click()
    await settled(site, ada, unseen=0, unread=2)
    await expect(badge).not_to_have_attribute("data-unseen", "")
    await expect(badge).to_have_text("2")


async def test_without_a_token_nothing_is_asked(site: Site, page: Page) -> None:
    ada = await site.person()
    component = await show(page, site, ada)
    await component.evaluate("(element) => { element.token = null; }")
    await expect(component.locator(".badge")).to_be_hidden()
    assert await component.evaluate("(element) => element.inbox") is None


async def test_what_was_set_before_the_component_was_loaded_counts(site: Site, page: Page) -> None:
    ada = await site.person()
    await site.fill(ada, 4)
    await page.goto(site.blank)
    await page.evaluate(
        """async ([script, socket, token]) => {
          const element = document.createElement("carillon-inbox");
          element.setAttribute("socket-url", socket);
          element.token = token;
          element.words = { title: "News" };
          document.body.append(element);
          await import(script);
        }""",
        [f"{STATIC}carillon-inbox.js", site.socket_url, ada.token()],
    )
    component = page.locator("carillon-inbox")
    await expect(component.locator(".badge")).to_have_text("4")
    await bell(component).click()
    await expect(component.get_by_role("dialog", name="News")).to_be_visible()


# --- The list ---------------------------------------------------------------------------------------------


async def test_items_are_shown_newest_first_and_as_text(site: Site, page: Page) -> None:
    ada = await site.person()
    await site.fill(ada, 1, title="Plain", body="<b>bold</b>\nsecond line", link="javascript:alert(1)")
    await site.fill(ada, 1, title="<img src=x onerror=alert(1)>", link="/orders/7", avatar="data:text/html,x")
    component = await opened(page, site, ada)
    first, second = items(component).nth(0), items(component).nth(1)
    await expect(first.get_by_role("link")).to_have_text("<img src=x onerror=alert(1)> 1")
    await expect(first.get_by_role("link")).to_have_attribute("href", f"{site.url}/orders/7")
    await expect(first.locator(".avatar")).to_have_text("<")
    await expect(second.locator(".item-body")).to_have_text("<b>bold</b>\nsecond line")
    await expect(second.get_by_role("link")).to_have_count(0)
    await expect(items(component).locator("img")).to_have_count(0)


async def test_all_pages_come_as_one_scrolls_each_item_once(site: Site, page: Page) -> None:
    ada = await site.person()
    await site.fill(ada, 75)
    component = await opened(page, site, ada, page_size="20", read_on_view="off")
    found: set[str] = set()

    async def at_the_end() -> bool:
        found.update(await items(component).get_by_role("heading").all_inner_texts())
        await scroller(component, "list.scrollTop += 800")
        return await items(component).last.get_attribute("aria-setsize") == "75" and len(found) == 75

    await until(at_the_end, seconds=15)
    assert found == {f"Title {number}" for number in range(1, 76)}
    await expect(items(component).last).to_have_attribute("aria-posinset", "75")
    assert (await site.counts(ada)).unread == 75


async def test_ten_thousand_items_scroll_with_few_nodes(site: Site, page: Page) -> None:
    ada = await site.person()
    await site.fill(ada, 10_000)
    component = await opened(page, site, ada, page_size="100", read_on_view="off")
    most = 0

    async def at_the_end() -> bool:
        nonlocal most
        most = max(most, await items(component).count())
        await scroller(component, "list.scrollTop = list.scrollHeight")
        return await items(component).last.get_attribute("aria-posinset") == "10000"

    await until(at_the_end, seconds=90)
    assert most < 100
    await expect(item(component, "Title 1")).to_be_in_viewport()
    await scroller(component, "list.scrollTop = 0")
    await expect(item(component, "Title 10000")).to_be_in_viewport()
    frames = await component.evaluate(
        """async (host) => {
          const list = host.shadowRoot.querySelector(".scroller");
          const took = [];
          for (let last = performance.now(), step = 0; step < 200; step += 1) {
            list.scrollTop += 150;
            const now = await new Promise(requestAnimationFrame);
            took.push(now - last);
            last = now;
          }
          return took.sort((a, b) => a - b);
        }"""
    )
    print(f"a frame of a scroll: median {frames[100]:.1f} ms, 95 of 100 in {frames[190]:.1f} ms")
    assert frames[100] < 34


async def test_a_new_one_comes_in_at_the_top(site: Site, page: Page) -> None:
    ada = await site.person()
    await site.fill(ada, 3)
    component = await opened(page, site, ada)
    await expect(items(component)).to_have_count(3)
    await site.send(ada, title="Just now")
    await expect(items(component).first.get_by_role("heading")).to_have_text("Just now")
    await expect(component.locator(".toast")).to_have_count(0)
    await settled(site, ada, unseen=0)  # it was seen as it came


async def test_who_has_scrolled_down_is_told_of_new_ones_and_not_moved(site: Site, page: Page) -> None:
    ada = await site.person()
    await site.fill(ada, 30)
    component = await opened(page, site, ada, read_on_view="off")
    await scroller(component, "list.scrollTop = 700")
    await site.send(ada, title="Fresh")
    await site.send(ada, title="Fresher")
    newer = component.get_by_role("button", name="2 new")
    await expect(newer).to_be_visible()
    assert await scroller(component, "list.scrollTop") == 700
    await expect(item(component, "Fresh")).to_have_count(0)
    await newer.click()
    await expect(items(component).first.get_by_role("heading")).to_have_text("Fresher")
    await expect(items(component).nth(1).get_by_role("heading")).to_have_text("Fresh")
    await expect(component.locator(".newer")).to_be_hidden()
    assert await scroller(component, "list.scrollTop") == 0


async def test_what_is_recalled_goes(site: Site, page: Page) -> None:
    ada = await site.person()
    note = await site.send(ada, title="By mistake")
    component = await opened(page, site, ada)
    await expect(item(component, "By mistake")).to_be_visible()
    await site.post(f"/api/notifications/{note['id']}/cancel/", {})
    await expect(items(component)).to_have_count(0)
    await expect(component.get_by_text("You’re all caught up")).to_be_visible()
    await expect(component.locator(".badge")).to_be_hidden()


async def test_after_a_resync_the_first_page_is_read_anew(site: Site, page: Page) -> None:
    ada = await site.person()
    await site.fill(ada, 2)
    component = await opened(page, site, ada)
    await component.evaluate("(element) => { element.kept = element.shadowRoot.querySelector('article'); }")
    async with page.expect_response(lambda answer: "/api/inbox/?" in answer.url):
        await component.evaluate("(element) => element.inbox.dispatchEvent(new CustomEvent('resync'))")
    await expect(items(component)).to_have_count(2)
    assert not await component.evaluate("(element) => element.kept.isConnected")


async def test_a_page_that_cannot_be_had_is_tried_again(
    site: Site, page: Page, complaints: Complaints
) -> None:
    complaints.allow("503")
    ada = await site.person()
    await site.fill(ada, 1)
    address = f"{site.url}/api/inbox/?*"
    await page.route(address, lambda route: route.fulfill(status=503, body="{}"))
    component = await opened(page, site, ada)
    await expect(component.get_by_text("could not be loaded")).to_be_visible()
    await page.unroute(address)
    await component.get_by_role("button", name="Try again").click()
    await expect(items(component)).to_have_count(1)
    await expect(component.get_by_text("could not be loaded")).to_have_count(0)


# --- Reading ----------------------------------------------------------------------------------------------


async def test_what_was_in_view_for_a_while_is_read_and_nothing_else(site: Site, page: Page) -> None:
    ada = await site.person()
    ids = await site.fill(ada, 20)
    component = await opened(page, site, ada)
    await expect(items(component).first).not_to_have_attribute("data-unread", "")

    async def read() -> bool:
        return (await row(ids[-1])).read_at is not None

    await until(read)
    assert (await row(ids[0])).read_at is None
    assert 10 < (await site.counts(ada)).unread < 20
    await expect(items(component).first).to_have_attribute("aria-setsize", "20")


async def test_nothing_is_read_by_being_in_view_if_that_is_off(site: Site, page: Page) -> None:
    ada = await site.person()
    await site.fill(ada, 2)
    frames = sent(page)
    component = await opened(page, site, ada, read_on_view="off")
    await expect(items(component)).to_have_count(2)
    await page.wait_for_timeout(2_500)  # that something does not happen takes the time in which it would
    assert [frame["type"] for frame in frames if frame["type"] == "read"] == []
    assert (await site.counts(ada)).unread == 2


async def test_what_is_marked_unread_stays_so_while_it_is_in_view(site: Site, page: Page) -> None:
    ada = await site.person()
    await site.fill(ada, 1)
    component = await opened(page, site, ada)
    await settled(site, ada, unread=0)
    await press(items(component).first, "Mark as unread")
    await settled(site, ada, unread=1)
    await expect(component.locator(".badge")).to_have_text("1")
    await page.wait_for_timeout(2_500)  # as above
    assert (await site.counts(ada)).unread == 1


async def test_all_is_read_up_to_what_is_known_and_no_further(site: Site, page: Page) -> None:
    ada = await site.person()
    await site.fill(ada, 3)
    frames = sent(page)
    component = await opened(page, site, ada, read_on_view="off")
    await settled(site, ada, unseen=0)
    await component.get_by_role("button", name="Mark all as read").click()
    await expect(component.locator("article[data-unread]")).to_have_count(0)
    await settled(site, ada, unread=0)
    asked = next(frame for frame in frames if frame["type"] == "read")
    assert asked["up_to"] <= 6  # three items, three times seen
    await site.send(ada, title="Later")
    await expect(component.locator(".badge")).to_have_text("1")
    await expect(component.locator("article[data-unread]")).to_have_count(1)


async def test_a_read_one_stays_in_the_tab_unread_until_it_is_left(site: Site, page: Page) -> None:
    ada = await site.person()
    await site.fill(ada, 3)
    component = await opened(page, site, ada, read_on_view="off")
    await tab(component, "Unread").click()
    await press(item(component, "Title 2"), "Mark as read")
    await expect(item(component, "Title 2")).not_to_have_attribute("data-unread", "")
    await expect(component.locator(".tab-count")).to_have_text("2")
    await expect(items(component)).to_have_count(3)
    await tab(component, "All").click()
    await expect(items(component)).to_have_count(3)
    await tab(component, "Unread").click()
    await expect(item(component, "Title 2")).to_have_count(0)
    await expect(items(component)).to_have_count(2)


async def test_two_pages_show_the_same(site: Site, page: Page, contexts: Contexts) -> None:
    ada = await site.person()
    ids = await site.fill(ada, 3)
    one = await opened(page, site, ada, read_on_view="off")
    other = await opened(await (await contexts()).new_page(), site, ada, read_on_view="off")
    await press(item(one, "Title 3"), "Mark as read")
    await expect(item(other, "Title 3")).not_to_have_attribute("data-unread", "")
    await press(item(other, "Title 1"), "Archive")
    await expect(item(one, "Title 1")).to_have_count(0)
    await expect(one.locator(".badge")).to_have_text("1")
    assert (await row(ids[0])).archived_at is not None


async def test_what_another_page_takes_out_of_the_archive_comes_into_the_list(
    site: Site, page: Page, contexts: Contexts
) -> None:
    ada = await site.person()
    ids = await site.fill(ada, 3)
    other = await opened(await (await contexts()).new_page(), site, ada, read_on_view="off")
    await press(item(other, "Title 2"), "Archive")
    await expect(item(other, "Title 2")).to_have_count(0)
    await settled(site, ada, unread=2)
    one = await opened(page, site, ada, read_on_view="off")
    await expect(items(one)).to_have_count(2)
    await other.get_by_role("button", name="Undo").click()
    await expect(items(one).nth(1).get_by_role("heading")).to_have_text("Title 2")
    assert (await row(ids[1])).archived_at is None


# --- Archive, snooze, buttons -----------------------------------------------------------------------------


async def test_archived_ones_are_in_their_tab_and_come_back(site: Site, page: Page) -> None:
    ada = await site.person()
    ids = await site.fill(ada, 2)
    component = await opened(page, site, ada, read_on_view="off")
    await press(item(component, "Title 1"), "Archive")
    await expect(items(component)).to_have_count(1)
    await expect(component.locator(".notice")).to_contain_text("Archived")
    await expect(component.locator(".badge")).to_have_text("1")
    await tab(component, "Archived").click()
    await expect(item(component, "Title 1")).to_be_visible()
    await press(item(component, "Title 1"), "Move to inbox")
    await expect(component.get_by_text("Nothing archived")).to_be_visible()
    await tab(component, "All").click()
    await expect(items(component)).to_have_count(2)
    await settled(site, ada, unread=2)
    assert (await row(ids[0])).archived_at is None


async def test_a_snoozed_one_is_away_until_its_time(site: Site, page: Page) -> None:
    ada = await site.person()
    ids = await site.fill(ada, 2)
    component = await opened(page, site, ada, read_on_view="off")
    await press(item(component, "Title 2"), "Snooze")
    menu = component.get_by_role("menu", name="Snooze")
    await menu.get_by_role("menuitem", name="In an hour").click()
    await expect(items(component)).to_have_count(1)
    await expect(menu).to_be_hidden()
    await expect(component.locator(".notice")).to_contain_text("Snoozed until")
    found = await row(ids[1])
    assert found.snoozed_until is not None
    assert 3500 < (found.snoozed_until - found.created_at).total_seconds() < 3700
    await component.get_by_role("button", name="Undo").click()
    await expect(items(component).first.get_by_role("heading")).to_have_text("Title 2")
    await settled(site, ada, unread=2)
    assert (await row(ids[1])).snoozed_until is None


async def test_a_button_is_recorded_shown_and_its_link_followed(site: Site, page: Page) -> None:
    ada = await site.person()
    (id,) = await site.fill(ada, 1, actions=ACTIONS)
    component = await opened(page, site, ada, read_on_view="off")
    await page.route(
        f"{site.url}/", lambda route: route.fulfill(body="<title>There</title>", content_type="text/html")
    )
    await items(component).get_by_role("button", name="Approve").click()
    await page.wait_for_url(f"{site.url}/#approved")
    assert (await row(id)).action == "yes"


async def test_the_page_can_keep_a_link_to_itself(site: Site, page: Page) -> None:
    ada = await site.person()
    (id,) = await site.fill(ada, 1, actions=ACTIONS, link="/orders/7")
    component = await opened(page, site, ada, read_on_view="off")
    await component.evaluate(
        """(element) => {
          window.heard = [];
          for (const name of ["carillon-action", "carillon-item"]) element.addEventListener(name, (event) => {
            event.preventDefault();
            heard.push([name, event.detail.item.id, event.detail.action?.id]);
          });
        }"""
    )
    await items(component).get_by_role("button", name="Approve").click()
    await expect(component.locator(".item-result")).to_have_text("Approve")
    await expect(items(component).get_by_role("button", name="Decline")).to_have_count(0)
    await items(component).get_by_role("link").click()
    await expect(component.get_by_role("dialog")).to_be_hidden()
    assert await page.evaluate("heard") == [
        ["carillon-action", str(id), "yes"],
        ["carillon-item", str(id), None],
    ]
    assert page.url == f"{site.url}/product.html"
    assert (await row(id)).action == "yes"


async def test_what_the_server_refuses_is_taken_back(site: Site, page: Page) -> None:
    ada = await site.person()
    (id,) = await site.fill(ada, 1)
    await page.clock.install()
    component = await opened(page, site, ada, read_on_view="off")
    await press(items(component).first, "Snooze")
    await page.evaluate("Date.prototype.toISOString = () => '2001-01-01T00:00:00Z'")
    await component.get_by_role("menuitem", name="In an hour").click()
    await page.clock.run_for(2_000)
    await expect(component.locator(".notice")).to_contain_text("Nothing was changed")
    await expect(items(component)).to_have_count(1)
    assert (await row(id)).snoozed_until is None


# --- Toasts -----------------------------------------------------------------------------------------------


async def test_a_new_one_is_told_by_a_toast_that_goes_by_itself(site: Site, page: Page) -> None:
    ada = await site.person()
    await site.fill(ada, 1, title="Old")
    component = await show(page, site, ada)
    await site.send(ada, title="Just now")
    toast = component.locator(".toast")
    await expect(toast).to_have_count(1)
    await expect(toast).to_contain_text("Just now")
    await toast.hover()
    await page.wait_for_timeout(6_500)  # as long as one is pointed at it stays
    await expect(toast).to_have_count(1)
    await page.mouse.move(0, 0)
    await expect(toast).to_have_count(0, timeout=8_000)
    assert (await site.counts(ada)).unread == 2


async def test_of_many_new_ones_three_are_told(site: Site, page: Page) -> None:
    ada = await site.person()
    component = await show(page, site, ada)
    for number in range(5):
        await site.send(ada, title=f"News {number}")
    await expect(component.locator(".badge")).to_have_text("5")
    await expect(component.locator(".toast")).to_have_count(3)
    await expect(component.locator(".toast").last).to_contain_text("News 4")
    await component.locator(".toast").last.get_by_role("button", name="Close").click()
    await expect(component.locator(".toast")).to_have_count(2)


async def test_a_toast_leads_where_its_item_does(site: Site, page: Page) -> None:
    ada = await site.person()
    await site.template("with-link", {"subject": "Go there", "body": "Now", "link": "/product.html#there"})
    component = await show(page, site, ada)
    await site.send(ada, template="with-link")
    await component.locator(".toast").get_by_role("link", name="Go there").click()
    await page.wait_for_url("**/product.html#there")
    await settled(site, ada, unread=0)
    await expect(component.locator(".toast")).to_have_count(0)


async def test_there_are_no_toasts_if_they_are_off(site: Site, page: Page) -> None:
    ada = await site.person()
    component = await show(page, site, ada, toasts="off")
    await site.send(ada, title="Quiet")
    await expect(component.locator(".badge")).to_have_text("1")
    await expect(component.locator(".toast")).to_have_count(0)
    await expect(component.locator(".status")).to_have_text("Notifications, unread: 1")


# --- Away -------------------------------------------------------------------------------------------------


async def test_what_is_done_offline_is_sent_later(site: Site, page: Page, complaints: Complaints) -> None:
    complaints.allow("ERR_INTERNET_DISCONNECTED")
    ada = await site.person()
    ids = await site.fill(ada, 2)
    component = await opened(page, site, ada, read_on_view="off")
    await expect(items(component)).to_have_count(2)
    await settled(site, ada, unseen=0)  # then nothing waits
    await page.context.set_offline(True)
    banner = component.locator(".banner")
    await expect(banner).to_contain_text("You’re offline")
    await press(item(component, "Title 2"), "Archive")
    await expect(items(component)).to_have_count(1)
    await expect(banner).to_contain_text("Waiting to be sent: 1")
    assert (await row(ids[1])).archived_at is None
    await page.context.set_offline(False)
    await expect(banner).to_be_hidden(timeout=15_000)
    await settled(site, ada, unread=1)
    assert (await row(ids[1])).archived_at is not None


async def test_a_token_that_is_refused_is_told(site: Site, page: Page, complaints: Complaints) -> None:
    complaints.allow("401")
    ada = await site.person()
    component = await show(page, site, ada)
    await component.evaluate("(element) => { element.token = 'nonsense'; }")
    await bell(component).click()
    await expect(component.get_by_text("Your session has ended")).to_be_visible(timeout=10_000)
    await component.evaluate("(element, token) => { element.token = token; }", ada.token())
    await expect(component.get_by_text("You’re all caught up")).to_be_visible()


async def test_another_person_sees_nothing_of_the_first(site: Site, page: Page) -> None:
    ada, grace = await site.person(), await site.person("Grace Hopper")
    await site.fill(ada, 3, title="Ada’s")
    await site.fill(grace, 1, title="Grace’s")
    component = await opened(page, site, ada, read_on_view="off")
    await expect(items(component)).to_have_count(3)
    await component.evaluate("(element, token) => { element.token = token; }", grace.token())
    await expect(item(component, "Grace’s 1")).to_be_visible()
    await expect(items(component)).to_have_count(1)
    await expect(component.locator(".badge")).to_have_text("1")


# --- Keyboard ---------------------------------------------------------------------------------------------


async def focused(page: Page) -> str:
    return await page.evaluate(
        """() => {
          const node = document.querySelector("carillon-inbox").shadowRoot.activeElement;
          return node?.getAttribute("aria-label") ?? node?.textContent ?? "";
        }"""
    )


async def test_everything_can_be_done_by_keyboard(site: Site, page: Page) -> None:
    ada = await site.person()
    ids = await site.fill(ada, 5)
    component = await show(page, site, ada, read_on_view="off")
    await bell(component).focus()
    await page.keyboard.press("Enter")
    await expect(items(component)).to_have_count(5)
    await expect(bell(component)).to_have_attribute("aria-expanded", "true")
    await page.keyboard.press("ArrowDown")
    assert await focused(page) == "Unread: Title 5"
    await page.keyboard.press("End")
    assert await focused(page) == "Unread: Title 1"
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("e")
    await expect(items(component)).to_have_count(4)
    assert await focused(page) == "Unread: Title 1"  # the next one
    await page.keyboard.press("r")
    await expect(item(component, "Title 1")).not_to_have_attribute("data-unread", "")
    await page.keyboard.press("s")
    await expect(component.get_by_role("menuitem").first).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(component.get_by_role("menu")).to_be_hidden()
    await expect(component.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(component.get_by_role("dialog")).to_be_hidden()
    await expect(bell(component)).to_be_focused()
    await expect(bell(component)).to_have_attribute("aria-expanded", "false")
    await settled(site, ada, unread=3)
    assert (await row(ids[1])).archived_at is not None


async def test_tabs_follow_the_arrows_of_the_reading_direction(site: Site, page: Page) -> None:
    ada = await site.person()
    await site.fill(ada, 1)
    component = await opened(page, site, ada)
    await tab(component, "All").focus()
    await page.keyboard.press("ArrowRight")
    await expect(tab(component, "Archived")).to_be_focused()
    await expect(tab(component, "Archived")).to_have_attribute("aria-selected", "true")
    await page.keyboard.press("Home")
    await expect(tab(component, "Unread")).to_be_focused()
    await component.evaluate("(element) => element.setAttribute('lang', 'ar')")
    await bell(component).click()
    await tab(component, "الكل").focus()
    await page.keyboard.press("ArrowLeft")
    await expect(tab(component, "المؤرشفة")).to_be_focused()


async def test_only_one_item_is_a_tab_stop(site: Site, page: Page) -> None:
    ada = await site.person()
    await site.fill(ada, 5)
    component = await opened(page, site, ada, read_on_view="off")
    stops = component.locator("article[tabindex='0'], article button[tabindex='0']")
    await expect(stops).to_have_count(4)  # the item, and its three buttons
    await items(component).nth(3).focus()
    await expect(stops).to_have_count(4)
    await expect(items(component).nth(3)).to_have_attribute("tabindex", "0")


# --- Preferences ------------------------------------------------------------------------------------------


async def test_preferences_are_shown_and_changed(site: Site, page: Page) -> None:
    await sync_to_async(type_of)(
        "component_news", name="News of the company", description="About once a week"
    )
    await sync_to_async(type_of)("component_alarm", name="Alarms", critical=True)
    ada = await site.person()
    component = await opened(page, site, ada)
    await component.get_by_role("button", name="Settings").click()
    news = component.get_by_role("group", name="News of the company")
    email = news.get_by_role("switch", name="E-mail")
    await expect(email).to_have_attribute("aria-checked", "true")
    await email.click()
    await expect(email).to_have_attribute("aria-checked", "false")
    await expect(email).to_be_focused()
    await expect(component.get_by_role("group", name="Alarms").get_by_role("switch").first).to_be_disabled()
    everything = component.get_by_role("group", name="Everything")
    await everything.get_by_role("switch", name="SMS").click()
    await expect(news.get_by_role("switch", name="SMS")).to_be_disabled()

    assert await chosen(ada) == {("component_news", "email", "off"), ("", "sms", "off")}
    await component.get_by_role("button", name="Back").click()
    await expect(component.get_by_role("tablist")).to_be_visible()


async def chosen(person: Person) -> set[tuple[str, str, str]]:
    """(type, channel, how) of each choice of theirs."""
    found = Choice.objects.filter(user_id=person.id).values_list("type", "channel", "how")
    return await sync_to_async(set)(found)


async def test_one_channel_of_a_type_that_is_off_is_turned_on_alone(site: Site, page: Page) -> None:
    await sync_to_async(type_of)("component_digest", name="Digests of this test")
    ada = await site.person()
    component = await opened(page, site, ada)
    body = {"types": {"component_digest": "off"}}
    await component.evaluate("(element, body) => element.inbox.setPreferences(body)", body)
    await component.get_by_role("button", name="Settings").click()
    digests = component.get_by_role("group", name="Digests of this test")
    await expect(digests.get_by_role("switch", checked=True)).to_have_count(0)
    async with page.expect_response(lambda answer: answer.request.method == "PATCH"):
        await digests.get_by_role("switch", name="Push").click()
    await expect(digests.get_by_role("switch", checked=True)).to_have_text("Push")
    assert ("component_digest", "push", "on") in await chosen(ada)
    assert ("component_digest", "", "off") not in await chosen(ada)


async def test_everything_can_be_turned_off_and_on(site: Site, page: Page) -> None:
    ada = await site.person()
    component = await opened(page, site, ada)
    await component.get_by_role("button", name="Settings").click()
    everything = component.get_by_role("group", name="Everything")
    await everything.get_by_role("switch", name="All").click()
    await expect(everything.get_by_role("switch", checked=True)).to_have_count(0)
    assert await chosen(ada) == {("", "", "off")}
    await everything.get_by_role("switch", name="All").click()
    await expect(everything.get_by_role("switch", checked=False)).to_have_count(0)
    assert await chosen(ada) == set()


async def test_a_choice_that_is_refused_is_taken_back(site: Site, page: Page, complaints: Complaints) -> None:
    complaints.allow("503")
    ada = await site.person()
    component = await opened(page, site, ada)
    await component.get_by_role("button", name="Settings").click()
    sms = component.get_by_role("group", name="Everything").get_by_role("switch", name="SMS")
    await expect(sms).to_have_attribute("aria-checked", "true")
    await page.route("**/api/preferences/", lambda route: route.fulfill(status=503, body="{}"))
    await sms.click()
    await expect(component.locator(".notice")).to_contain_text("Nothing was changed")
    await expect(sms).to_have_attribute("aria-checked", "true")
    assert await chosen(ada) == set()


async def test_preferences_can_be_left_out(site: Site, page: Page) -> None:
    component = await opened(page, site, await site.person(), preferences="off")
    await expect(component.get_by_role("button", name="Settings")).to_have_count(0)


# --- Looks ------------------------------------------------------------------------------------------------


async def test_the_panel_is_within_the_window_wherever_the_bell_is(site: Site, page: Page) -> None:
    await page.set_viewport_size({"width": 900, "height": 500})
    component = await opened(page, site, await site.person(), placement="bottom-end")
    for placement in ("bottom-start", "bottom-end"):
        await component.evaluate("(element, value) => element.setAttribute('placement', value)", placement)
        await page.set_viewport_size({"width": 901, "height": 500})
        box = await component.locator(".panel").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 901
        assert box["y"] + box["height"] <= 500
        await page.set_viewport_size({"width": 900, "height": 500})


async def test_on_a_narrow_screen_it_is_a_sheet(site: Site, page: Page) -> None:
    await page.set_viewport_size({"width": 390, "height": 700})
    await page.emulate_media(reduced_motion="reduce")
    component = await opened(page, site, await site.person())
    box = await component.locator(".panel").bounding_box()
    assert box == {"x": 0, "y": 0, "width": 390, "height": 700}
    await component.get_by_role("button", name="Close").click()
    await expect(component.get_by_role("dialog")).to_be_hidden()
    await expect(bell(component)).to_be_focused()


async def test_languages_and_directions(site: Site, page: Page) -> None:
    ada = await site.person()
    await site.fill(ada, 2)
    component = await show(page, site, ada, lang="de-AT")
    await expect(component.get_by_role("button", name="Mitteilungen, ungelesen: 2")).to_be_visible()
    await component.evaluate("(element) => element.setAttribute('lang', 'ar')")
    await bell(component).click()
    await expect(component.get_by_role("dialog", name="الإشعارات")).to_be_visible()
    assert await direction(component) == "rtl"
    await shot(page, "component-arabic")
    await component.evaluate("(element) => element.setAttribute('lang', 'not a language')")
    await expect(component.get_by_role("button", name="Notifications, unread: 2")).to_be_visible()


async def direction(component: Locator) -> str:
    return await component.locator(".panel").evaluate("(node) => getComputedStyle(node).direction")


async def test_an_inbox_of_ones_own_words_and_pictures_of_ones_own(site: Site, page: Page) -> None:
    ada = await site.person()
    await site.fill(ada, 1)
    await product(page, site)
    await page.evaluate(
        """async ([inbox, url, socketUrl, token]) => {
          const { Inbox } = await import(inbox);
          const element = document.querySelector("carillon-inbox");
          const slotted = (slot, text) =>
            Object.assign(document.createElement("b"), { slot, textContent: text });
          element.append(slotted("bell", "Inbox"), slotted("empty", "Well done"));
          element.words = { readAll: "Done" };
          element.inbox = window.own = new Inbox({ url, socketUrl, token });
        }""",
        [f"{STATIC}inbox.js", site.url, site.socket_url, ada.token()],
    )
    component = page.locator("carillon-inbox")
    await expect(component.locator(".badge")).to_have_text("1")
    await component.get_by_text("Inbox", exact=True).click()
    await press(items(component).first, "Archive")
    await expect(component.get_by_text("Well done")).to_be_visible()
    await expect(component.get_by_role("button", name="Done")).to_be_disabled()
    await component.evaluate("(element) => element.remove()")
    assert await page.evaluate("own.status") == "live"  # who makes it ends it


async def test_the_example_page_shows_an_inbox(site: Site, page: Page) -> None:
    ada = await site.person()
    await site.fill(ada, 2)
    await page.goto(f"{site.url}{STATIC}example-component.html")
    await page.get_by_label("A person’s token").fill(ada.token())
    await page.get_by_label("Socket").fill(site.socket_url)
    await page.get_by_role("button", name="Connect").click()
    component = page.locator("carillon-inbox")
    await expect(component.locator(".badge")).to_have_text("2")
    await bell(component).click()
    await items(component).first.locator(".item-title").click()
    await expect(page.locator("output")).to_have_text("Item: Title 2")
