"""Web Push in a browser: what its worker shows of what we send, and devices that come and go with a click.

Headless Chromium has no push service. So messages are handed to the worker by Chromium's debugger, as they
are after decryption; and PushManager, where the provider begins, is one that makes subscriptions by itself.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from aiohttp import web
from asgiref.sync import sync_to_async
from playwright.async_api import BrowserContext, CDPSession, Page, Worker
from yarl import URL

from apps.delivery import engine, providers
from apps.delivery.models import Provider
from apps.integrations.simulator import Simulator
from apps.integrations.webpush.simulated import decrypt, subscription
from apps.integrations.webpush.vapid import encoded, public_key
from apps.users.models import Device, User
from project import ids, loop
from tests.browser.conftest import Complaints
from tests.browser.site import STATIC, Person, Site, until
from tests.support.places import device
from tests.support.templates import template

KEY, OTHER_KEY = encoded(bytes(range(1, 33))), encoded(bytes(range(2, 34)))
WORKER = f"{STATIC}service-worker.js"
KEYS = json.loads(subscription("https://push.example/"))["keys"]
# A PushManager whose subscriptions outlive the page, as a browser's do.
PUSH_MANAGER = """
const decoded = (key) => atob(key.replaceAll("-", "+").replaceAll("_", "/"));
const bytes = (key) => Uint8Array.from(decoded(key), (letter) => letter.charCodeAt(0));
const shown = ({ endpoint, key }) => ({
  options: { userVisibleOnly: true, applicationServerKey: bytes(key).buffer },
  toJSON: () => ({ endpoint, expirationTime: null, keys: KEYS }),
  unsubscribe: async () => Boolean(localStorage.removeItem("subscription") ?? true),
});
PushManager.prototype.getSubscription = async () => {
  const kept = localStorage.getItem("subscription");
  return kept && shown(JSON.parse(kept));
};
PushManager.prototype.subscribe = async ({ userVisibleOnly, applicationServerKey: key }) => {
  if (!userVisibleOnly || localStorage.getItem("subscription")) throw Error("InvalidStateError");
  const made = { endpoint: `https://push.example/${crypto.randomUUID()}`, key };
  localStorage.setItem("subscription", JSON.stringify(made));
  return shown(made);
};
""".replace("KEYS", json.dumps(KEYS))


# --- What is sent -----------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="session")
async def set_up(site: Site) -> AsyncIterator[None]:
    """There is a provider of Web Push."""
    await provide()
    yield
    await sync_to_async(_remove)()


async def provide(key: str = KEY) -> None:
    """The provider has this key from now on; the API knows within a second."""
    options = {"subject": "mailto:push@carillon.example", "private_key": key, "allow": "127.0.0.0/8"}
    fields = {"adapter": "webpush", "channel": "push", "options": options}
    await sync_to_async(Provider.objects.update_or_create)(name="webpush", defaults=fields)


def _remove() -> None:
    Provider.objects.filter(name="webpush").delete()
    providers.forget()
    _, adapter = providers._adapters.pop("webpush", ("", None))
    if adapter is not None:
        loop.run(adapter.close()).result()


@pytest_asyncio.fixture(loop_scope="session")
async def bodies(tmp_path: Path) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A push service: its URL, and the bodies it was sent, encrypted as they are."""
    seen: list[bytes] = []

    async def capture(request: web.BaseRequest) -> None:
        seen.append(await request.read())

    async with Simulator(tmp_path / "ledger.jsonl", watcher=capture) as simulator:
        yield simulator.url, seen


async def sent(site: Site, bodies: tuple[str, list[bytes]], **request: Any) -> dict[str, Any]:
    """What the browser of a person gets of this notification, through the API, the engine and the adapter."""
    url, seen = bodies
    ada = await site.person()
    await sync_to_async(_with_device)(ada, f"{url}/webpush/{ada.external_id}")
    await site.send(ada, channels=["push"], **request)
    await sync_to_async(_work)()
    return decrypt(seen.pop())


def _with_device(person: Person, endpoint: str) -> None:
    device(User.objects.get(pk=person.id), "webpush", subscription(endpoint))


def _work() -> None:
    providers.forget()
    assert engine.work("push.normal") == 1


# --- The browser ------------------------------------------------------------------------------------------


COUNT_CALLS = """() => {
  self.calls = 0;
  const show = self.registration.showNotification.bind(self.registration);
  self.registration.showNotification = async (...given) => { await show(...given); self.calls += 1; };
}"""


class Browser:
    """A page whose worker is registered, and Chromium's own way to push to it."""

    def __init__(self, page: Page, debugger: CDPSession) -> None:
        self.page = page
        self.errors: list[str] = []
        self._debugger = debugger
        self._ids: dict[str, str] = {}
        debugger.on("ServiceWorker.workerRegistrationUpdated", self._registered)
        debugger.on("ServiceWorker.workerErrorReported", lambda event: self.errors.append(str(event)))

    def _registered(self, event: dict[str, Any]) -> None:
        self._ids |= {one["scopeURL"]: one["registrationId"] for one in event["registrations"]}

    async def register(self, worker: str = WORKER) -> None:
        await self._debugger.send("ServiceWorker.enable")
        scope = await self.page.evaluate(
            "async (worker) => (await navigator.serviceWorker.register(worker)).scope", worker
        )
        active = "async (at) => (await navigator.serviceWorker.getRegistration(at)).active?.state"

        async def activated() -> bool:
            return bool(await self.page.evaluate(active, scope) == "activated")

        await until(activated)
        await until(lambda: scope in self._ids)
        self.scope = scope
        await self.worker.evaluate(COUNT_CALLS)

    async def push(self, data: str | dict[str, Any]) -> None:
        await self._debugger.send(
            "ServiceWorker.deliverPushMessage",
            {
                "origin": str(URL(self.scope).origin()),
                "registrationId": self._ids[self.scope],
                "data": data if isinstance(data, str) else json.dumps(data),
            },
        )

    async def shown(self, pushes: int = 1) -> list[dict[str, Any]]:
        """The notifications there are, when so many pushes have been dealt with.

        Asked once: Chromium forgets a notification that is asked for while it is being shown.
        """

        async def done() -> bool:
            return bool(await self.worker.evaluate("self.calls") == pushes)

        await until(done, what=f"{pushes} notifications")
        found: list[dict[str, Any]] = await self.worker.evaluate(
            """async () => (await self.registration.getNotifications()).map(
              ({ title, body, tag, icon, data, actions }) => ({
                title, body, tag, icon, data,
                actions: actions.map(({ action, title }) => [action, title]),
              }))"""
        )
        return found

    @property
    def worker(self) -> Worker:
        (found,) = self.page.context.service_workers
        return found


@pytest_asyncio.fixture(loop_scope="session")
async def device_page(site: Site, context: BrowserContext) -> AsyncIterator[Browser]:
    """A browser with the permission, and the worker. That no error was left in it is part of each test."""
    await context.grant_permissions(["notifications"], origin=site.url)
    page = await context.new_page()
    await page.goto(site.blank)
    found = Browser(page, await context.new_cdp_session(page))
    await found.register()
    yield found
    assert found.errors == []


# --- What is shown ----------------------------------------------------------------------------------------


async def test_a_notification_is_shown_with_all_it_has(
    site: Site, device_page: Browser, set_up: None, bodies: tuple[str, list[bytes]]
) -> None:
    slug = f"push-{ids.uuid7()}"
    action = {"id": "answer", "label": "Answer {{ by }}", "link": "/documents/12#answer"}
    parts = {
        "subject": "{{ by }} wrote",
        "body": "Grüße 🎉",
        "link": "/documents/12",
        "avatar": "/{{ by }}.png",
    }
    await sync_to_async(template)(slug, {"push": parts | {"actions": [action]}})
    payload = await sent(site, bodies, template=slug, payload={"by": "Ben"})
    await device_page.push(payload)
    (shown,) = await device_page.shown()
    assert shown == {
        "title": "Ben wrote",
        "body": "Grüße 🎉",
        "tag": payload["target"],
        "icon": f"{site.url}/Ben.png",
        "actions": [["answer", "Answer Ben"]],
        "data": {
            "source": "carillon",
            "target": payload["target"],
            "notification_id": payload["data"]["notification_id"],
            "link": f"{site.url}/documents/12",
            "links": {"answer": f"{site.url}/documents/12#answer"},
        },
    }


async def test_a_repeated_message_is_shown_once(
    site: Site, device_page: Browser, set_up: None, bodies: tuple[str, list[bytes]]
) -> None:
    first, second = [await sent(site, bodies, title=title) for title in ("One", "Two")]
    for payload in (first, first, second):
        await device_page.push(payload)
    assert {one["title"] for one in await device_page.shown(3)} == {"One", "Two"}


@pytest.mark.parametrize(
    "data",
    [
        *(
            "",
            "not json",
            "null",
            "[]",
            "5",
            '"x"',
            "{}",
            '{"title": 5, "body": [], "target": {}, "data": 1}',
        ),
        '{"title": "", "data": {"link": 5, "avatar": {}, "actions": "x"}}',
        '{"data": {"actions": [null, 5, {}, {"id": 1, "label": "x"}, {"id": "a", "link": "/a"}]}}',
    ],
)
async def test_what_cannot_be_read_is_shown_as_something_new(device_page: Browser, data: str) -> None:
    await device_page.push(data)
    (shown,) = await device_page.shown()
    assert (shown["title"], shown["body"], shown["tag"]) == ("New notification", "", "carillon")
    assert (shown["icon"], shown["actions"], shown["data"]["links"]) == ("", [], {})


async def test_without_a_title_the_text_is_one(device_page: Browser) -> None:
    await device_page.push({"title": "", "body": "Hello", "target": "t"})
    (shown,) = await device_page.shown()
    assert (shown["title"], shown["body"]) == ("Hello", "")


@pytest.mark.parametrize("link", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "http://"])
async def test_an_address_that_is_none_of_the_web_is_left_out(device_page: Browser, link: str) -> None:
    actions = [{"id": "a", "label": "A", "link": link}]
    await device_page.push({"title": "x", "data": {"link": link, "avatar": link, "actions": actions}})
    (shown,) = await device_page.shown()
    assert (shown["data"]["link"], shown["data"]["links"], shown["icon"]) == ("", {"a": ""}, "")


# --- Clicks -----------------------------------------------------------------------------------------------

# Only a person's own click may open or focus a window: here they say what they were asked to do.
CLICK = """async ({ data, action }) => {
  const did = [];
  const { openWindow } = self.clients;
  const { focus } = WindowClient.prototype;
  self.clients.openWindow = async (url) => void did.push(["open", url]);
  WindowClient.prototype.focus = async function () { did.push(["focus", this.url]); };
  await self.registration.showNotification("x", { data, tag: "clicked" });
  const [notification] = await self.registration.getNotifications({ tag: "clicked" });
  const waited = [];
  const event = new NotificationEvent("notificationclick", { notification, action });
  event.waitUntil = (promise) => void waited.push(promise);
  self.dispatchEvent(event);
  await Promise.all(waited);
  Object.assign(self.clients, { openWindow });
  WindowClient.prototype.focus = focus;
  return [did, (await self.registration.getNotifications({ tag: "clicked" })).length];
}"""


def about(link: str) -> dict[str, Any]:
    return {"source": "carillon", "link": link, "links": {"go": "https://other.example/go", "bare": ""}}


async def test_a_click_opens_the_link_or_brings_its_page_to_the_front(
    site: Site, device_page: Browser
) -> None:
    here, elsewhere = site.blank, f"{site.url}/documents/12"
    for link, action, did in (
        (elsewhere, "", ["open", elsewhere]),
        (here, "", ["focus", here]),
        ("", "", ["focus", here]),
        (here, "go", ["open", "https://other.example/go"]),
        (elsewhere, "bare", ["focus", here]),
    ):
        asked = {"data": about(link), "action": action}
        assert await device_page.worker.evaluate(CLICK, asked) == [[did], 0], (link, action)


async def test_the_sites_own_notifications_are_left_alone(device_page: Browser) -> None:
    for data in (None, {"link": "/x"}, {"source": "other"}):
        assert await device_page.worker.evaluate(CLICK, {"data": data, "action": ""}) == [[], 1]


# --- On and off -------------------------------------------------------------------------------------------


class Visitor:
    """A page with push.js on it, for one person at a time."""

    def __init__(self, site: Site, page: Page) -> None:
        self.site, self.page = site, page

    async def arrive(self, person: Person) -> None:
        """Load the page, logged in as this person."""
        await self.page.goto(self.site.blank)
        await self.page.evaluate(
            """async ([url, token, module, serviceWorker]) => {
              const { Push } = await import(module);
              window.push = new Push({ url, token: () => token, serviceWorker });
            }""",
            [self.site.url, person.token(), f"{STATIC}push.js", WORKER],
        )

    async def do(self, what: str) -> str:
        """The state, or the code of the problem."""
        return str(
            await self.page.evaluate(
                f"push.{what}().catch((error) => `${{error.name}} ${{error.status}} ${{error.code}}`)"
            )
        )

    async def state(self) -> str:
        return str(await self.page.evaluate("push.state"))

    async def subscription(self) -> dict[str, str] | None:
        found = await self.page.evaluate("localStorage.getItem('subscription')")
        return json.loads(found) if found else None


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(site: Site, context: BrowserContext, set_up: None) -> Visitor:
    await context.grant_permissions(["notifications"], origin=site.url)
    await context.add_init_script(PUSH_MANAGER)
    return Visitor(site, await context.new_page())


async def devices(person: Person) -> list[tuple[str, str]]:
    """Ids and endpoints of the person's active devices."""
    rows = Device.objects.filter(user=person.id, is_active=True, kind="webpush").values_list("id", "token")
    return [(str(id), json.loads(token)["endpoint"]) for id, token in await sync_to_async(list)(rows)]


async def key_is(site: Site, person: Person, key: str) -> None:
    """Wait until the API knows this key, or that there is none."""
    wanted = public_key(key) if key else None
    headers = {"Authorization": f"Bearer {person.token()}"}
    async with httpx.AsyncClient(base_url=site.url, headers=headers) as client:

        async def told() -> bool:
            answer = (await client.get("/api/devices/web-push-key/")).json()
            return bool(answer.get("public_key") == wanted)

        await until(told)


async def test_a_click_registers_this_browser_and_another_removes_it(site: Site, visitor: Visitor) -> None:
    ada = await site.person()
    await key_is(site, ada, KEY)
    await visitor.arrive(ada)
    assert (await visitor.state(), await visitor.do("refresh")) == ("off", "off")
    assert await devices(ada) == []  # nothing without a click
    assert (await visitor.do("enable"), await visitor.state()) == ("on", "on")
    made = await visitor.subscription()
    assert made is not None and made["key"] == public_key(KEY)
    ((id, endpoint),) = await devices(ada)
    assert endpoint == made["endpoint"]
    assert await visitor.do("enable") == "on"  # once more changes nothing
    assert await devices(ada) == [(id, endpoint)]
    assert (await visitor.do("disable"), await visitor.state()) == ("off", "off")
    assert await devices(ada) == [] and await visitor.subscription() is None
    assert await visitor.do("disable") == "off"


async def test_it_is_on_again_with_the_next_visit(site: Site, visitor: Visitor) -> None:
    ada = await site.person()
    await key_is(site, ada, KEY)
    await visitor.arrive(ada)
    await visitor.do("enable")
    before = await devices(ada)
    await visitor.arrive(ada)
    assert (await visitor.state(), await visitor.do("refresh")) == ("off", "on")
    assert await devices(ada) == before
    await visitor.arrive(ada)
    assert await visitor.do("disable") == "off"  # also without a refresh before it
    assert await devices(ada) == []


async def test_a_device_that_was_deactivated_comes_back(site: Site, visitor: Visitor) -> None:
    ada = await site.person()
    await key_is(site, ada, KEY)
    await visitor.arrive(ada)
    await visitor.do("enable")
    before = await devices(ada)
    await sync_to_async(Device.objects.filter(user=ada.id).update)(is_active=False)
    assert await visitor.do("refresh") == "on"
    ((id, endpoint),) = await devices(ada)
    assert endpoint == before[0][1] and id != before[0][0]


async def test_a_device_that_was_removed_already_is_no_trouble(
    site: Site, visitor: Visitor, complaints: Complaints
) -> None:
    complaints.allow("status of 404")
    ada = await site.person()
    await key_is(site, ada, KEY)
    await visitor.arrive(ada)
    await visitor.do("enable")
    await sync_to_async(Device.objects.filter(user=ada.id).delete)()
    assert await visitor.do("disable") == "off"
    assert await visitor.subscription() is None and await devices(ada) == []


async def test_the_browser_is_that_of_who_is_logged_in(site: Site, visitor: Visitor) -> None:
    ada, ben = await site.person(), await site.person("Ben")
    await key_is(site, ada, KEY)
    await visitor.arrive(ada)
    await visitor.do("enable")
    ((_, endpoint),) = await devices(ada)
    await visitor.arrive(ben)
    assert await visitor.do("refresh") == "on"
    assert await devices(ada) == []
    assert [one[1] for one in await devices(ben)] == [endpoint]


async def test_another_key_makes_another_subscription(site: Site, visitor: Visitor) -> None:
    ada = await site.person()
    await key_is(site, ada, KEY)
    await visitor.arrive(ada)
    await visitor.do("enable")
    ((id, endpoint),) = await devices(ada)
    await provide(OTHER_KEY)
    await key_is(site, ada, OTHER_KEY)
    await visitor.arrive(ada)
    assert await visitor.do("refresh") == "on"
    made = await visitor.subscription()
    assert made is not None and made["key"] == public_key(OTHER_KEY) and made["endpoint"] != endpoint
    ((new, now),) = await devices(ada)  # the one with the old key is gone
    assert now == made["endpoint"] and new != id


async def test_what_carillon_refuses_is_told(site: Site, visitor: Visitor, complaints: Complaints) -> None:
    complaints.allow("status of 404")
    complaints.allow("status of 401")
    ada = await site.person()
    await sync_to_async(_remove)()
    await key_is(site, ada, "")
    await visitor.arrive(ada)
    assert await visitor.do("enable") == "PushError 404 no_web_push"
    assert await visitor.state() == "off" and await devices(ada) == []
    await provide()
    await key_is(site, ada, KEY)
    assert await visitor.do("enable") == "on"
    await sync_to_async(User.objects.filter(pk=ada.id).update)(is_active=False)
    assert await visitor.do("disable") == "PushError 401 invalid_credentials"
    assert await visitor.state() == "off" and await visitor.subscription() is None  # all the same


async def test_without_the_permission_nothing_is_registered(site: Site, visitor: Visitor) -> None:
    ada = await site.person()
    await visitor.page.context.clear_permissions()
    await visitor.arrive(ada)
    assert await visitor.do("enable") == "denied"
    assert await visitor.subscription() is None and await devices(ada) == []


async def test_where_there_is_no_push_it_says_so(site: Site, visitor: Visitor) -> None:
    await visitor.page.add_init_script("delete window.PushManager")
    await visitor.arrive(await site.person())
    assert await visitor.state() == "unsupported"
    for what in ("refresh", "enable", "disable"):
        assert await visitor.do(what) == "unsupported"


async def test_a_subscription_that_the_browser_renewed_is_registered(site: Site, visitor: Visitor) -> None:
    ada = await site.person()
    await key_is(site, ada, KEY)
    await visitor.arrive(ada)
    await visitor.do("enable")
    before = await devices(ada)
    # The push service has ended it. The worker, which is told so, makes a new one, which the page finds.
    made = {"endpoint": f"https://push.example/{ids.uuid7()}", "key": public_key(KEY)}
    await visitor.page.evaluate("(made) => localStorage.setItem('subscription', JSON.stringify(made))", made)
    (worker,) = visitor.page.context.service_workers
    asked = await worker.evaluate(
        """async () => {
          const asked = [];
          const key = new Uint8Array([4, 5, 6]).buffer;
          self.PushManager.prototype.subscribe = async (options) => void asked.push(options);
          const waited = [];
          const event = Object.assign(new ExtendableEvent("pushsubscriptionchange"), {
            oldSubscription: { options: { applicationServerKey: key } },
            newSubscription: null,
            waitUntil: (promise) => void waited.push(promise),
          });
          self.dispatchEvent(event);
          await Promise.all(waited);
          return asked.map(({ userVisibleOnly, applicationServerKey }) => [
            userVisibleOnly, [...new Uint8Array(applicationServerKey)]]);
        }"""
    )
    assert asked == [[True, [4, 5, 6]]]

    async def registered() -> bool:
        return made["endpoint"] in [endpoint for _, endpoint in await devices(ada)]

    await until(registered)
    assert before[0][1] != made["endpoint"]


# --- On a site of another origin --------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="session")
async def shop(site: Site) -> AsyncIterator[str]:
    """The URL of a site with a page, and a worker of one line."""
    worker = f'importScripts("{site.url}{WORKER}");'

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/carillon-sw.js":
            return web.Response(text=worker, content_type="text/javascript")
        return web.Response(text="<!doctype html><link rel=icon href=data:,>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/{anything:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_the_worker_of_another_origin_is_one_line(context: BrowserContext, shop: str) -> None:
    await context.grant_permissions(["notifications"], origin=shop)
    page = await context.new_page()
    await page.goto(f"{shop}/")
    found = Browser(page, await context.new_cdp_session(page))
    await found.register("/carillon-sw.js")
    await found.push({"title": "Hello", "target": "t", "data": {"link": "/orders/17"}})
    (shown,) = await found.shown()
    assert (shown["title"], shown["data"]["link"]) == ("Hello", f"{shop}/orders/17")
    assert found.errors == []
