"""A whole installation for browsers: the API, the socket server, the workers that deliver in-app."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import redis
from asgiref.sync import sync_to_async
from django.conf import settings

from apps.notifications import inbox, inbox_numbers
from apps.notifications.models import Notification
from apps.users import tokens
from apps.users.models import ApiKey, Organization, ServiceClient, User
from project import ids
from project.dev.processes import Processes, free_port
from tests.e2e.conftest import QUICK, same_servers
from tests.support.templates import template

STATIC = "/static/inbox/"
SOON = 5.0  # seconds in which anything expected must happen


@dataclass(frozen=True)
class Person:
    """Somebody with an inbox."""

    id: int
    external_id: str

    def token(self, seconds: int = 600) -> str:
        return tokens.mint(self, seconds)[0]


class Site:
    """The running installation, and what a product service does with it."""

    def __init__(self, folder: Path) -> None:
        Organization.objects.get_or_create(pk=1, defaults={"name": "Default"})  # a flush takes it along
        self.key = ApiKey.issue(ServiceClient.objects.create(name="browser", organization_id=1))[1]
        self._api_port, self._socket_port, self._product_port = (free_port() for _ in range(3))
        self.processes = Processes(
            folder / "logs", QUICK | same_servers() | {"WEBSOCKET_CATCH_UP_SECONDS": "2"}
        )
        self.processes.api(self._api_port)
        self.start_sockets(wait=False)
        self.processes.worker("in_app")
        self.processes.worker("critical_in_app")
        self.processes.beat()
        self.product = f"http://127.0.0.1:{self._product_port}"
        self.processes.product(self._product_port, api=self.url, sockets=self.sockets, key=self.key)
        self.processes.wait_for(f"{self.url}/api/tokens/", "api")
        self.processes.wait_for(f"{self.sockets}/", "sockets")
        self.processes.wait_for(f"{self.product}/", "product")

    @property
    def url(self) -> str:
        """The API's origin, which serves the pages, too."""
        return f"http://127.0.0.1:{self._api_port}"

    @property
    def sockets(self) -> str:
        """The socket server's, as HTTP."""
        return f"http://127.0.0.1:{self._socket_port}"

    @property
    def socket_url(self) -> str:
        return f"ws://127.0.0.1:{self._socket_port}/ws/notifications/"

    @property
    def blank(self) -> str:
        """An empty page of the API's origin, made by the `context` fixture."""
        return f"{self.url}/blank.html"

    # --- what is done to it --------------------------------------------------------------------------------

    def start_sockets(self, *, wait: bool = True) -> None:
        self.processes.sockets(self._socket_port)
        if wait:
            self.processes.wait_for(f"{self.sockets}/", "sockets")

    def kill_sockets(self) -> None:
        """kill -9: no close frame, no goodbye."""
        self.processes.kill("sockets")

    def flush_broker(self) -> None:
        """All that is in Redis is lost: bells, hints, what the channel layer knows."""
        with contextlib.closing(redis.Redis.from_url(settings.REDIS_URL)) as broker:
            broker.flushall()

    # --- what services do ----------------------------------------------------------------------------------

    async def person(self, name: str = "Ada Lovelace", **fields: Any) -> Person:
        """A person of their own for a test."""
        user = await sync_to_async(User.objects.create)(
            organization_id=1, external_id=str(ids.uuid7()), name=name, **fields
        )
        return Person(user.pk, user.external_id)

    async def send(self, *people: Person, title: str = "Hello", **body: Any) -> dict[str, Any]:
        """POST an in-app notification to these people; the answer, which must be a 202."""
        wanted = {
            "title": title,
            "body": "A text.",
            "targets": [one.id for one in people],
            "channels": ["in_app"],
        }
        if "template" in body:
            del wanted["title"], wanted["body"]
        return await self.post("/api/notifications/", wanted | body)

    async def template(self, slug: str, parts: dict[str, Any]) -> None:
        """A published template with these parts in-app."""
        await sync_to_async(template)(slug, {"in_app": parts})

    async def get(self, path: str) -> dict[str, Any]:
        return await self._call("GET", path)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._call("POST", path, body)

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {self.key}"}) as client:
            answer = await client.request(method, f"{self.url}{path}", json=body, timeout=10)
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def fill(self, person: Person, count: int, **fields: Any) -> list[UUID]:
        """Put so many items into an inbox at once, without the way there; the targets' ids, oldest first."""
        return await sync_to_async(_fill)(person, count, fields)

    async def counts(self, person: Person) -> inbox_numbers.Counts:
        """What the database says."""
        return await sync_to_async(inbox_numbers.counts_of)(person.id)


def _fill(person: Person, count: int, fields: dict[str, Any]) -> list[UUID]:
    note = Notification.objects.create(
        organization_id=1, channels=["in_app"], priority="normal", max_attempts=1, recipient_count=1
    )
    targets = sorted(ids.target_id() for _ in range(count))
    usual = {"type": "", "title": "Title", "body": "A text."} | fields
    entries = [
        inbox.Entry(id, person.id, note.pk, **_numbered(usual, number))
        for number, id in enumerate(targets, 1)
    ]
    inbox.hint(inbox.add(entries))
    return targets


def _numbered(fields: dict[str, Any], number: int) -> dict[str, Any]:
    return fields | {"title": f"{fields['title']} {number}"}


async def until(condition: Callable[[], Any], *, seconds: float = SOON, what: str = "it") -> Any:
    """Wait until the condition (which may be async) is true; its value."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        assert asyncio.get_running_loop().time() < end, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.02)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Site]:
    site = Site(folder)
    try:
        yield site
    finally:
        site.processes.stop()
