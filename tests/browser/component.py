"""A page with the web component on it, and what tests do with it."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Locator, Page, expect

from tests.browser.site import STATIC, Person, Site

expect.set_options(timeout=5_000)

PAGE = f"""<!doctype html><html lang=en><meta charset=utf-8><title>Product</title><link rel=icon href=data:,>
<meta name=viewport content="width=device-width, initial-scale=1">
<script type=module src={STATIC}carillon-inbox.js></script>
<header><carillon-inbox></carillon-inbox></header><main><h1>Product</h1><a href=#main>A link</a></main>"""


def policy(site: Site) -> str:
    """As strict as the documentation promises."""
    return (
        "default-src 'none'; script-src 'self'; img-src 'self' data:; "
        f"connect-src 'self' {site.sockets} {site.socket_url}; base-uri 'none'; "
        "require-trusted-types-for 'script'"
    )


async def product(page: Page, site: Site) -> None:
    """The page, before anybody has logged in."""
    address = f"{site.url}/product.html"
    answer: dict[str, Any] = {"body": PAGE, "content_type": "text/html"}
    answer["headers"] = {"Content-Security-Policy": policy(site)}
    await page.route(address, lambda route: route.fulfill(**answer))
    await page.goto(address)


async def show(page: Page, site: Site, person: Person, **attributes: str) -> Locator:
    """The page of this person; its component, connected."""
    await product(page, site)
    named = {name.replace("_", "-"): value for name, value in attributes.items()}
    await page.evaluate(
        """async ([socket, token, attributes]) => {
          await customElements.whenDefined("carillon-inbox");
          const element = document.querySelector("carillon-inbox");
          element.setAttribute("socket-url", socket);
          for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
          element.token = async () => token;
          if (element.inbox.status !== "live") await new Promise((resolve) =>
            element.inbox.addEventListener("status", ({ detail }) => detail.status === "live" && resolve()));
        }""",
        [site.socket_url, person.token(), named],
    )
    return page.locator("carillon-inbox")


async def opened(page: Page, site: Site, person: Person, **attributes: str) -> Locator:
    """The same, with the panel open and the list loaded."""
    component = await show(page, site, person, **attributes)
    await bell(component).click()
    await expect(component.get_by_role("dialog")).to_be_visible()
    await expect(
        component.get_by_role("feed").or_(component.locator(".empty, .trouble")).first
    ).to_be_visible()
    return component


def bell(component: Locator) -> Locator:
    return component.locator(".bell")


def items(component: Locator) -> Locator:
    return component.get_by_role("article")


def item(component: Locator, title: str) -> Locator:
    """By the whole title."""
    return items(component).filter(has=component.page.get_by_role("heading", name=title, exact=True))


def tab(component: Locator, name: str) -> Locator:
    return component.get_by_role("tab", name=name)


async def press(row: Locator, name: str) -> None:
    """A button of an item."""
    await row.hover()
    await row.get_by_role("button", name=name, exact=True).click()


async def scroller(component: Locator, script: str) -> Any:
    """Evaluate with `list`, what scrolls."""
    return await component.evaluate(
        f"(host) => {{ const list = host.shadowRoot.querySelector('.scroller'); return {script}; }}"
    )
