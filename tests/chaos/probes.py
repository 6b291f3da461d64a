"""Probes: how long until what a fault hit works again, and how fast the critical lane is all the while."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import orjson

from project.queues import CHANNELS
from tests.chaos.client import Client
from tests.chaos.people import People
from tests.chaos.sockets import Sockets

SLOWEST = 60.0  # seconds after which a probe is given up
LOOK_EVERY = 0.1
CRITICAL_EVERY = 1.0
SETTLED = ("sent", "delivered")


@dataclass(frozen=True)
class Path:
    """The way a probe goes: by these channels, or to a socket's hello.

    `proven`: by the channel whose providers send receipts, until one has proven it.
    """

    channels: tuple[str, ...]
    priority: str = "normal"
    scheduled: bool = False
    proven: bool = False


@dataclass(frozen=True)
class Critical:
    """A critical notification: its id, when its POST was answered, and how many targets it has."""

    id: str
    answered: float  # seconds since 1970
    targets: int


class Probes:
    """Sends and follows probes, to a person of their own. From the loop only.

    `reporting` is the channel whose providers send receipts.
    """

    reporting = "email"

    def __init__(self, client: Client, sockets: Sockets, people: People) -> None:
        self._client, self._sockets, self._people = client, sockets, people
        self._person = people.probe
        self._numbers = itertools.count(1)
        self.critical: list[Critical] = []
        self.sent: dict[str, int] = {}  # notification id -> targets

    async def recovery(self, path: Path) -> float | None:
        """Seconds from now until a probe has gone this way; None if none does."""
        began = time.monotonic()
        if path.proven:
            path = replace(path, channels=(self.reporting,))
        try:
            async with asyncio.timeout(SLOWEST):
                if path.channels:
                    await self._settled(await self._post(path), path)
                else:
                    await self._sockets.hello(self._person)
        except TimeoutError:
            return None
        return time.monotonic() - began

    async def keep_critical(self) -> None:
        """Send a critical notification every second, until cancelled."""
        while True:
            began = time.monotonic()
            self.critical.append(await self._post(Path(CHANNELS, "critical")))
            await asyncio.sleep(max(0.0, CRITICAL_EVERY - (time.monotonic() - began)))

    async def _post(self, path: Path) -> Critical:
        number = next(self._numbers)
        body: dict[str, object] = {
            "title": "Your code",
            "body": f"{number}",
            "targets": [self._person],
            "channels": path.channels,
            "priority": path.priority,
            "related_object": {"type": "chaos", "id": f"probe-{number}"},
        }
        if path.scheduled:
            body["scheduled_at"] = (datetime.now(UTC) + timedelta(seconds=0.3)).isoformat()
        answer = await self._client.call(
            "POST", "/api/notifications/", orjson.dumps(body), key=f"probe-{number}"
        )
        found = answer.json
        self.sent[found["id"]] = self._targets(path.channels)
        return Critical(found["id"], answer.at, self.sent[found["id"]])

    def _targets(self, channels: Sequence[str]) -> int:
        return self._people.targets([self._person], channels)

    async def _settled(self, sent: Critical, path: Path) -> None:
        good = SETTLED[1:] if path.proven else SETTLED
        while True:
            answer = await self._client.call("GET", f"/api/notifications/{sent.id}/")
            if sum(answer.json["summary"][status] for status in good) == sent.targets:
                return
            await asyncio.sleep(LOOK_EVERY)
