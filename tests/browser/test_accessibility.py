"""What axe-core, a checker of WCAG, finds in each state of the web component: nothing."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Locator, Page, expect

from tests.browser.component import bell, item, items, opened, press, show, tab
from tests.browser.conftest import shot
from tests.browser.site import Site
from tests.browser.test_component import ACTIONS

State = Callable[[Locator], Awaitable[None]]


async def listed(component: Locator) -> None:
    await expect(items(component)).to_have_count(4)


async def hovered(component: Locator) -> None:
    await items(component).first.hover()


async def menu(component: Locator) -> None:
    await press(items(component).first, "Snooze")
    await expect(component.get_by_role("menu")).to_be_visible()


async def archived(component: Locator) -> None:
    await press(item(component, "Title 2"), "Archive")
    await expect(component.locator(".notice")).to_be_visible()


async def empty(component: Locator) -> None:
    await tab(component, "Archived").click()
    await expect(component.locator(".empty")).to_be_visible()


async def preferences(component: Locator) -> None:
    await component.get_by_role("button", name="Settings").click()
    await expect(component.get_by_role("switch").first).to_be_visible()


STATES: list[State] = [listed, hovered, menu, archived, empty, preferences]


async def violations(page: Page) -> list[str]:
    """Of each rule that is broken its name and the places."""
    found = await Axe().run(page)
    return [_told(one) for one in found.response["violations"]]


def _told(violation: dict[str, Any]) -> str:
    nodes = violation["nodes"]
    return f"{violation['id']}: {json.dumps([node['target'] for node in nodes])} {nodes[0]['failureSummary']}"


async def filled(site: Site, page: Page, **attributes: str) -> Locator:
    await page.emulate_media(reduced_motion="reduce")
    ada = await site.person()
    await site.fill(ada, 3, body="A text of some length, which is to be read well.", link="/orders")
    await site.fill(ada, 1, title="Asked", actions=ACTIONS)
    return await opened(page, site, ada, read_on_view="off", **attributes)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
async def test_nothing_is_found_in(site: Site, page: Page, state: State, theme: str) -> None:
    component = await filled(site, page, theme=theme)
    await state(component)
    await shot(page, f"component-{state.__name__}-{theme}")
    assert await violations(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_nothing_is_found_in_read_items_and_results(site: Site, page: Page, theme: str) -> None:
    component = await filled(site, page, theme=theme)
    await component.get_by_role("button", name="Mark all as read").click()
    await items(component).first.get_by_role("button", name="Decline").click()
    await expect(component.locator(".item-result")).to_be_visible()
    await expect(component.locator("article[data-unread]")).to_have_count(0)
    assert await violations(page) == []


async def test_nothing_is_found_on_a_narrow_screen(site: Site, page: Page) -> None:
    await page.set_viewport_size({"width": 390, "height": 780})
    component = await filled(site, page)
    await listed(component)
    await shot(page, "component-narrow")
    assert await violations(page) == []


async def test_nothing_is_found_from_right_to_left(site: Site, page: Page) -> None:
    component = await filled(site, page, lang="ar")
    await listed(component)
    assert await violations(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_nothing_is_found_in_the_bell_and_toasts(site: Site, page: Page, theme: str) -> None:
    await page.emulate_media(reduced_motion="reduce")
    ada = await site.person()
    component = await show(page, site, ada, theme=theme)
    assert await violations(page) == []
    await site.send(ada, title="Just now")
    await expect(component.locator(".toast")).to_have_count(1)
    await expect(bell(component)).to_have_accessible_name("Notifications, unread: 1")
    await shot(page, f"component-toast-{theme}")
    assert await violations(page) == []


async def test_nothing_is_found_when_it_is_offline(site: Site, page: Page) -> None:
    component = await filled(site, page)
    await page.context.set_offline(True)
    await expect(component.locator(".banner")).to_be_visible()
    assert await violations(page) == []


async def test_a_fault_would_be_found(site: Site, page: Page) -> None:
    component = await filled(site, page)
    await component.evaluate("(host) => host.shadowRoot.querySelector('.bell').removeAttribute('aria-label')")
    await component.evaluate("(host) => host.shadowRoot.querySelector('.item-body').style.color = '#ccc'")
    assert [one.split(":")[0] for one in await violations(page)] == ["button-name", "color-contrast"]
