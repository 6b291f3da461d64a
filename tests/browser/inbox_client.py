"""An Inbox (inbox.js) on a page, and what it has told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from playwright.async_api import Page

from apps.notifications import inbox_changes
from apps.notifications.inbox_changes import Change, Kind
from apps.notifications.inbox_models import InboxItem
from tests.browser.site import SOON, Person, Site, until

# What a browser itself writes when a server is away. It cannot be turned off.
NETWORK_NOISE = r"WebSocket connection to|net::ERR_|Failed to load resource"
_EVENTS = ["status", "counts", "notification", "changed", "recalled", "resync", "queued", "error"]
_START = """async ([options, events, broken]) => {
  const { Inbox } = await import("/static/inbox/inbox.js");
  if (broken) options.WebSocket = class extends WebSocket {
    constructor(url) { super(broken-- > 0 ? "ws://127.0.0.1:9/" : url); }
  };
  window.told = [];
  window.inbox = new Inbox({ token: () => window.token(), ...options });
  for (const type of events) inbox.addEventListener(type, ({ detail }) => told.push({ type, ...detail }));
}"""
# Lets a promise go on in the page; what became of it is read with `outcome`.
_BEGIN = """([name, call]) => {
  const outcomes = (window.outcomes ??= {});
  const promise = new Function("return inbox." + call)();
  promise.then(
    (value) => (outcomes[name] = { value }),
    ({ name: kind, code, status, errors }) => (outcomes[name] = { kind, code, status, errors }),
  );
}"""


class Client:
    """One tab's. `tokens` counts how often it has asked for one."""

    def __init__(self, site: Site, page: Page, person: Person) -> None:
        self.site = site
        self.page = page
        self.person = person
        self.tokens = 0
        self.new_token: Callable[[], str] = person.token

    async def start(self, *, connect: bool = True, broken_sockets: int = 0, **options: Any) -> Client:
        """Load the module on an empty page, make an Inbox. broken_sockets: so many cannot be opened."""
        await self.page.expose_function("token", self._token)
        await self.load(connect=connect, broken_sockets=broken_sockets, **options)
        return self

    async def load(self, *, connect: bool = True, broken_sockets: int = 0, **options: Any) -> None:
        """The same on the page as it is loaded once more."""
        await self.page.goto(self.site.blank)
        places = {"url": self.site.url, "socketUrl": self.site.socket_url}
        await self.page.evaluate(_START, [places | options, _EVENTS, broken_sockets])
        if connect:
            await self.page.evaluate("inbox.connect()")
            await self.is_("live")

    async def _token(self) -> str:
        self.tokens += 1
        return self.new_token()

    async def call(self, call: str) -> Any:
        """What `inbox.<call>` is, or answers."""
        return await self.page.evaluate(f"inbox.{call}")

    async def begin(self, name: str, call: str) -> None:
        """Call it, and wait for nothing."""
        await self.page.evaluate(_BEGIN, [name, call])

    async def outcome(self, name: str, *, seconds: float = SOON) -> Any:
        """`{"value": …}` or what the InboxError says, once it is settled."""

        async def settled() -> Any:
            return await self.page.evaluate("(name) => window.outcomes[name]", name)

        return await until(settled, seconds=seconds, what=f"the end of {name}")

    async def is_pending(self, name: str) -> bool:
        return bool(await self.page.evaluate("(name) => !(name in window.outcomes)", name))

    async def told(self, type: str) -> list[dict[str, Any]]:
        """The events of this type, oldest first."""
        events: list[dict[str, Any]] = await self.page.evaluate(
            "(type) => told.filter((one) => one.type === type)", type
        )
        return events

    async def tells(self, type: str, count: int = 1, *, seconds: float = SOON) -> list[dict[str, Any]]:
        """The same, once there are so many, and no more."""

        async def enough() -> list[dict[str, Any]]:
            events = await self.told(type)
            return events if len(events) >= count else []

        found: list[dict[str, Any]] = await until(enough, seconds=seconds, what=f"{count} times {type}")
        assert len(found) == count, found
        return found

    async def is_(self, status: str, *, seconds: float = SOON) -> None:
        async def so() -> bool:
            return bool(await self.call("status") == status)

        await until(so, seconds=seconds, what=status)

    async def waits(self, count: int) -> None:
        """Until so many changes wait, as it has told last."""

        async def so() -> bool:
            queued = await self.told("queued")
            return (queued[-1]["waiting"] if queued else 0) == count

        await until(so, what=f"{count} waiting changes")

    async def statuses(self) -> list[str]:
        return [one["status"] for one in await self.told("status")]


async def client(site: Site, page: Page, person: Person | None = None, **options: Any) -> Client:
    """One that is connected, unless it is told otherwise."""
    return await Client(site, page, person or await site.person()).start(**options)


@sync_to_async
def elsewhere(person: Person, kind: Kind, *ids: Any) -> None:
    """What the person does on another device."""
    inbox_changes.change(person.id, Change(kind=kind, ids=list(ids)))


@sync_to_async
def rows(person: Person) -> list[InboxItem]:
    """What the database has, oldest first."""
    return list(InboxItem.objects.filter(user_id=person.id).order_by("sequence"))


async def has_read(person: Person) -> list[bool]:
    return [row.read_at is not None for row in await rows(person)]
