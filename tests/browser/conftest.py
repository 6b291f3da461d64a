"""Headless Chromium against a whole installation.

One installation for all tests here; nothing is cleaned between them, so each makes people of its own.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.db import connections
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Route, async_playwright

from tests.browser.site import Site, running

SLOWEST = 120  # seconds for one test
SCREENSHOTS = Path(__file__).resolve().parents[2] / ".carillon" / "screenshots"  # kept after the run
BLANK = "<!doctype html><html lang=en><meta charset=utf-8><title>Blank</title><link rel=icon href=data:,>"

# The blank page comes from the test itself, which to Chromium is not this machine; then it may not ask it.
_BLANK_MAY = ["--disable-features=LocalNetworkAccessChecks"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            item.add_marker(pytest.mark.timeout(SLOWEST))  # what a page promises it may never keep
            item.add_marker(pytest.mark.django_db)  # pytest-django makes a database only if somebody has this


@pytest.fixture(scope="package")
def site(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The installation. Its rows are committed, and go when the last test here has ended."""
    with django_db_blocker.unblock():
        with running(tmp_path_factory.mktemp("site")) as started:
            yield started
        call_command("flush", verbosity=0, interactive=False)


def chromium() -> str:
    """Where it is; skips the test where there is none, unless BROWSER_REQUIRED is set."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        message = "There is no Chromium: install Debian's package chromium, or set CHROMIUM to a program."
        if os.environ.get("BROWSER_REQUIRED"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    path = chromium()
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", *_BLANK_MAY],
        )
        yield started
        await started.close()
    await sync_to_async(connections.close_all)()  # those of the thread in which tests ask the database


class Complaints:
    """What pages wrote to the console as errors, and exceptions nobody caught. Any fails the test."""

    def __init__(self) -> None:
        self._found: list[str] = []
        self._allowed: list[re.Pattern[str]] = []

    def allow(self, pattern: str) -> None:
        """This one is expected: a server that is killed leaves a line of Chromium's own."""
        self._allowed.append(re.compile(pattern))

    def watch(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self._found.append(f"uncaught: {error}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._found.append(f"{message.text} ({message.location.get('url', '')})")

    @property
    def left(self) -> list[str]:
        return [one for one in self._found if not any(allowed.search(one) for allowed in self._allowed)]


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    found = Complaints()
    yield found
    assert found.left == []


Contexts = Callable[..., Awaitable[BrowserContext]]


@pytest_asyncio.fixture(loop_scope="session")
async def contexts(site: Site, browser: Browser, complaints: Complaints) -> AsyncIterator[Contexts]:
    """Makes further browser contexts: other people, other devices. Keyword arguments as `new_context`'s."""
    made: list[BrowserContext] = []

    async def make(**options: Any) -> BrowserContext:
        context = await browser.new_context(**options)
        context.set_default_timeout(5_000)
        context.on("page", complaints.watch)
        await context.route(site.blank, _blank)
        made.append(context)
        return context

    yield make
    for context in made:
        await context.close()


async def _blank(route: Route) -> None:
    await route.fulfill(body=BLANK, content_type="text/html")


@pytest_asyncio.fixture(loop_scope="session")
async def context(contexts: Contexts) -> BrowserContext:
    """One device; its pages are tabs that share their storage."""
    return await contexts()


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext) -> Page:
    return await context.new_page()


async def shot(page: Page, name: str) -> None:
    """Keep what the page looks like."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / f"{name}.png")
