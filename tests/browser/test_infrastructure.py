"""That the installation for browsers runs, and that its watch over consoles sees what it should."""

from __future__ import annotations

from playwright.async_api import Page

from tests.browser.conftest import Complaints
from tests.browser.site import Site, until


async def test_a_notification_comes_into_the_inbox_of_its_person(site: Site) -> None:
    ada = await site.person()
    await site.send(ada)

    async def there() -> bool:
        return (await site.counts(ada)).unread == 1

    await until(there)


async def test_an_error_on_the_console_is_a_complaint(site: Site, page: Page, complaints: Complaints) -> None:
    await page.goto(site.blank)
    await page.evaluate(
        "console.log('fine'); console.error('broken'); setTimeout(() => { throw Error('x'); })"
    )
    await until(lambda: len(complaints.left) == 2)
    complaints.allow("^broken")
    complaints.allow("^uncaught")
    assert complaints.left == []
