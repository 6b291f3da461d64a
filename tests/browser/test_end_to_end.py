"""A person in front of a product: the page of bin/dev, on an origin of its own, under a strict policy."""

from __future__ import annotations

import re
import statistics
import time

from playwright.async_api import BrowserContext, Locator, Page, expect

from tests.browser.conftest import Complaints, Contexts, shot
from tests.browser.site import Person, Site, until

WITHIN = 1.0  # seconds from the POST to the badge
LINES = "WebSocket connection to|net::ERR_"  # Chromium writes one for each connection that fails
FRAMES = """async (seconds) => {
  const scroller = document.querySelector("carillon-inbox").shadowRoot.querySelector(".scroller");
  const frames = [];
  const end = performance.now() + seconds * 1000;
  let before = performance.now();
  while (before < end) {
    scroller.scrollTop += 400;
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - before);
    before = now;
  }
  const titles = [...scroller.querySelectorAll("article h3")].map((title) => title.textContent);
  return { frames, titles };
}"""


def bell(page: Page) -> Locator:
    return page.locator("carillon-inbox .bell")


def badge(page: Page) -> Locator:
    return page.locator("carillon-inbox .badge")


def item(page: Page, title: str) -> Locator:
    return page.get_by_role("article").filter(has_text=title)


async def log_in(context: BrowserContext, site: Site, person: Person) -> Page:
    """The product's page in a new tab, its inbox live. Nothing is read by being in view alone."""
    page = await context.new_page()
    await page.emulate_media(reduced_motion="reduce")  # what is seen is there at once
    await page.goto(f"{site.product}/?as={person.external_id}")
    await page.wait_for_selector("carillon-inbox")
    await page.evaluate("document.querySelector('carillon-inbox').setAttribute('read-on-view', 'off')")
    await live(page)
    return page


async def live(page: Page) -> None:
    await status(page, "live")


async def status(page: Page, wanted: str) -> None:
    asked = "(wanted) => document.querySelector('carillon-inbox')?.inbox?.status === wanted"
    await page.wait_for_function(asked, arg=wanted, timeout=20_000)


async def unread(page: Page, count: int, *, seconds: float = 5) -> None:
    """The badge says so."""
    await expect(badge(page)).to_have_text(str(count), timeout=seconds * 1000)
    await expect(badge(page)).to_be_visible(visible=count > 0)


async def test_what_is_posted_is_on_the_badge_within_a_second(site: Site, context: BrowserContext) -> None:
    ada = await site.person()
    page = await log_in(context, site, ada)
    took = []
    for count in range(1, 6):
        posted = time.monotonic()
        await site.send(ada)
        await expect(badge(page)).to_have_text(str(count))
        took.append(time.monotonic() - posted)
    assert statistics.median(took) < WITHIN, took


async def test_the_form_sends_and_the_inbox_shows(site: Site, context: BrowserContext) -> None:
    ada = await site.person()
    page = await log_in(context, site, ada)
    await page.get_by_label("Title").fill("Lunch is ready")
    await page.get_by_role("button", name="Send", exact=True).click()
    await expect(page.locator("#answer")).to_contain_text("202")
    await expect(badge(page)).to_have_text("1")
    await expect(page.locator("carillon-inbox .toast")).to_contain_text("Lunch is ready")
    await shot(page, "toast")
    await bell(page).click()
    await expect(item(page, "Lunch is ready")).to_be_visible()
    await shot(page, "panel")


async def test_a_tab_follows_what_is_read_in_another(site: Site, context: BrowserContext) -> None:
    ada = await site.person()
    one, other = await log_in(context, site, ada), await log_in(context, site, ada)
    await site.send(ada, title="First")
    await site.send(ada, title="Second")
    for page in (one, other):
        await expect(badge(page)).to_have_text("2")
        await bell(page).click()
    await item(one, "First").click()
    for page in (one, other):
        await expect(badge(page)).to_have_text("1")
        await expect(item(page, "First")).not_to_have_attribute("data-unread", "")
        await expect(item(page, "Second")).to_have_attribute("data-unread", "")
    counts = await site.counts(ada)
    assert (counts.unread, counts.unseen) == (1, 0)


async def test_two_people_have_two_inboxes(site: Site, contexts: Contexts) -> None:
    ada, grace = await site.person(), await site.person("Grace Hopper")
    hers, theirs = await log_in(await contexts(), site, ada), await log_in(await contexts(), site, grace)
    await site.send(grace, title="For Grace")
    await site.send(ada, grace, title="For both")
    await expect(badge(theirs)).to_have_text("2")
    await expect(badge(hers)).to_have_text("1")
    await bell(hers).click()
    await expect(item(hers, "For both")).to_be_visible()
    await expect(item(hers, "For Grace")).to_have_count(0)


async def test_a_pressed_button_is_known_to_the_sender(site: Site, context: BrowserContext) -> None:
    ada = await site.person()
    page = await log_in(context, site, ada)
    words = {"subject": "May I?", "body": "", "actions": [{"id": "yes", "label": "Yes", "link": ""}]}
    await site.template("may-i", words)
    sent = await site.send(ada, template="may-i")
    await bell(page).click()
    await item(page, "May I?").get_by_role("button", name="Yes").click()
    await expect(item(page, "May I?").locator(".item-result")).to_have_text("Yes")
    await shot(page, "pressed")
    target = sent["targets"][0]["id"]

    async def told() -> bool:
        answer = await site.get(f"/api/notifications/{sent['id']}/targets/{target}/")
        return any("Yes" in line or "yes" in line for line in answer["explanation"])

    await until(told, what="the explanation names the button")


async def test_the_socket_server_is_killed_and_comes_back(
    site: Site, context: BrowserContext, complaints: Complaints
) -> None:
    complaints.allow(LINES)
    ada = await site.person()
    page = await log_in(context, site, ada)
    await site.send(ada, title="Before")
    await expect(badge(page)).to_have_text("1")
    site.kill_sockets()
    await status(page, "offline")
    await site.send(ada, title="Meanwhile")
    await bell(page).click()
    await expect(page.locator("carillon-inbox .banner")).to_be_visible()
    await shot(page, "offline")
    site.start_sockets()
    await live(page)
    await expect(badge(page)).to_have_text("2")
    for title in ("Before", "Meanwhile"):
        await expect(item(page, title)).to_have_count(1)


async def test_the_broker_loses_everything(site: Site, context: BrowserContext) -> None:
    ada = await site.person()
    page = await log_in(context, site, ada)
    site.flush_broker()
    await site.send(ada, title="After the flush")
    await unread(page, 1, seconds=20)
    site.flush_broker()
    await site.send(ada, title="And after another")
    await unread(page, 2, seconds=20)


async def test_offline_for_a_while(site: Site, context: BrowserContext, complaints: Complaints) -> None:
    complaints.allow(LINES)
    ada = await site.person()
    page = await log_in(context, site, ada)
    await site.send(ada, title="Before")
    await expect(badge(page)).to_have_text("1")
    await bell(page).click()
    await expect(item(page, "Before")).to_be_visible()
    await page.keyboard.press("Escape")
    await context.set_offline(True)
    await status(page, "offline")
    await site.send(ada, title="Meanwhile")
    await bell(page).click()
    await item(page, "Before").click()
    await expect(item(page, "Before")).not_to_have_attribute("data-unread", "")
    await until(lambda: _came(site, ada, 2), what="both are there, and the read is not")
    await context.set_offline(False)
    await live(page)
    await expect(item(page, "Meanwhile")).to_have_count(1)
    await until(lambda: _unread(site, ada, at_most=1), what="the read has come")
    await unread(page, (await site.counts(ada)).unread)


async def _came(site: Site, person: Person, count: int) -> bool:
    return (await site.counts(person)).unread == count


async def _unread(site: Site, person: Person, *, at_most: int) -> bool:
    return (await site.counts(person)).unread <= at_most


async def test_a_token_expires_and_is_renewed_without_losing_the_place(
    site: Site, context: BrowserContext, complaints: Complaints
) -> None:
    ada = await site.person()
    page = await context.new_page()
    asked = []

    def mint() -> str:
        asked.append(time.monotonic())
        return ada.token(6)

    await page.expose_function("mint", mint)
    await page.goto(site.blank)
    await page.evaluate(
        """async ([module, url, socket]) => {
          await import(module);
          const inbox = document.createElement("carillon-inbox");
          inbox.setAttribute("url", url);
          inbox.setAttribute("socket-url", socket);
          inbox.token = () => window.mint();
          document.body.append(inbox);
        }""",
        [f"{site.url}/static/inbox/carillon-inbox.js", site.url, site.socket_url],
    )
    await live(page)
    for count in range(1, 4):
        await until(lambda count=count: len(asked) > count, seconds=20, what="tokens were renewed")
        await site.send(ada)
        await unread(page, count)
    assert complaints.left == []


async def test_ten_thousand_items_scroll_smoothly(site: Site, context: BrowserContext) -> None:
    ada = await site.person()
    await site.fill(ada, 10_000)
    page = await log_in(context, site, ada)
    await expect(badge(page)).to_have_text("99+")
    await bell(page).click()
    await expect(item(page, "Title 10000")).to_be_visible()
    scrolled = await page.evaluate(FRAMES, 6)
    assert min(int(title.split()[1]) for title in scrolled["titles"]) < 9_500  # that far down
    assert len(scrolled["titles"]) < 200  # what is out of sight has no nodes
    frames = sorted(scrolled["frames"])
    assert statistics.median(frames) < 34, frames[-5:]  # ms: thirty pictures a second on two busy cores
    late = [frame for frame in frames if frame > 250]
    assert len(late) <= len(frames) / 100, late
    await page.get_by_role("button", name=re.compile("Mark all")).click()
    await until(lambda: _unread(site, ada, at_most=0), seconds=20, what="all are read")
    await unread(page, 0)
