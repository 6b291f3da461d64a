"""The traffic: what product services send, and what they were answered."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from project.dev.demo import TEMPLATE, TEMPLATES
from project.queues import CHANNELS, PRIORITIES
from tests.chaos.choices import Choices
from tests.chaos.client import Answer, Client
from tests.chaos.people import People

ASKING = "approval-wanted"  # a template in-app, with buttons
AT_ONCE = 16  # requests in the air
WIDE = 510  # people, by two channels: more than 1,000 targets go by the bulk lanes
REPLAYED = 50  # requests that may be sent again
AS_ANSWERED = 0  # targets of a person whose places change
TOLD_EVERY = 1.5  # seconds from one request to those who choose to the next
APP_EVERY = 0.5  # seconds from one app that is installed anew to the next


@dataclass(frozen=True)
class Accepted:
    """What a 2xx promised. `row`: our name of the notification, unique over the run."""

    row: str
    targets: int


@dataclass(frozen=True)
class Request:
    key: str
    path: str
    body: bytes
    rows: dict[str, int]  # our name of each notification -> how many targets it must have, or AS_ANSWERED

    @property
    def targets(self) -> int:
        return sum(max(1, targets) for targets in self.rows.values())


class Traffic:
    """Sends until told to stop, and remembers what was promised. From the loop only."""

    def __init__(self, client: Client, people: People, choices: Choices, chance: random.Random) -> None:
        self._client, self._people, self._choices, self._chance = client, people, choices, chance
        self.made = 0  # targets asked for
        self.accepted: dict[str, Accepted] = {}  # by notification id
        self.cancelled: dict[str, float] = {}  # notification id -> when the answer was here
        self.told_cancelled: set[str] = set()  # targets whose cancellation was answered
        self.removed: dict[str, float] = {}  # device's address -> when the answer was here
        self.wrong: list[str] = []  # answers that contradict each other, or a plain refusal
        self._requests = 0
        self._recent: deque[tuple[Request, bytes]] = deque(maxlen=REPLAYED)
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    async def flow(self, targets: int, seconds: float) -> None:
        """So many targets, spread over so many seconds."""
        began, first = time.monotonic(), self.made
        while (made := self.made - first) < targets:
            if made > targets * (time.monotonic() - began) / seconds:
                await asyncio.sleep(0.02)
            else:
                await self._send(self._any())

    async def burst(self, targets: int) -> None:
        """At least so many targets at once, by the bulk lanes."""
        end = self.made + targets
        while self.made < end:
            await self._send(self._wide())

    async def tell_choosing(self) -> None:
        """Send to those who choose, beyond the targets asked for, until cancelled."""
        while True:
            await self._begin(self._request("/api/notifications/bulk/", self._choices.rows()))
            await asyncio.sleep(TOLD_EVERY)

    async def change_devices(self) -> None:
        """Remove apps and install them anew, each as another device with the same token, until cancelled."""
        installed: dict[int, str] = {}
        while True:
            for person in self._people.changing:
                if device := installed.pop(person.id, ""):
                    answer = await self._client.call("DELETE", f"/api/devices/{device}/", or_else=404)
                    self.removed[f"fcm:{device}"] = answer.at
                body = orjson.dumps({"user": person.id, "kind": "fcm", "token": person.token})
                answer = await self._client.call("POST", "/api/devices/", body)
                installed[person.id] = answer.json["id"]
                await asyncio.sleep(APP_EVERY * self._chance.uniform(0.5, 1.5))

    async def finish(self) -> None:
        """Until every request has its answer."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    # --- what is sent --------------------------------------------------------------------------------------

    def _any(self) -> Request:
        chance = self._chance.random()
        if chance < 0.25:
            return self._odd()
        if chance < 0.45:
            rows = [self._row(self._chance.randint(1, 2)) for _ in range(self._chance.randint(3, 20))]
            return self._request("/api/notifications/bulk/", rows)
        return self._request("/api/notifications/", [self._row(self._chance.randint(1, 3))])

    def _row(self, people: int) -> dict[str, Any]:
        listening = self._chance.random() < 0.3
        users = self._chance.sample(self._people.listening if listening else self._people.plain, people)
        channels = self._chance.sample(CHANNELS, self._chance.randint(1, len(CHANNELS)))
        row: dict[str, Any] = {
            "targets": users,
            "channels": "all" if self._chance.random() < 0.2 else channels,
            "priority": self._chance.choice(PRIORITIES),
        }
        if self._chance.random() < 0.15:
            seconds = self._chance.uniform(1, 4)
            row["scheduled_at"] = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
        if listening and self._chance.random() < 0.3:
            return row | {"channels": ["in_app"], "template": ASKING, "payload": TEMPLATES[ASKING][2]}
        return row | self._words()

    def _words(self) -> dict[str, Any]:
        if self._chance.random() < 0.5:
            return {"template": TEMPLATE, "payload": {"order": f"A-{self._requests}", "day": "Tuesday"}}
        return {"title": "News", "body": f"There is news, number {self._requests}."}

    def _odd(self) -> Request:
        """To one whose address the simulator plays, or changes; few attempts, as some never succeed."""
        channel = self._chance.choice([*self._people.odd, "push"])
        whom = [one.id for one in self._people.changing] * 6 if channel == "push" else []
        row = {
            "targets": [self._chance.choice([*self._people.odd[channel], *whom])],
            "channels": [channel],
            "priority": self._chance.choice(PRIORITIES),
            "max_attempts": 3,
        }
        return self._request("/api/notifications/", [row | self._words()], AS_ANSWERED)

    def _wide(self) -> Request:
        users = self._chance.sample(self._people.plain, WIDE)
        channels = self._chance.sample(CHANNELS, 2)
        row = {"targets": users, "channels": channels, "priority": self._chance.choice(PRIORITIES[1:])}
        return self._request("/api/notifications/", [row | self._words()])

    def _request(self, path: str, rows: list[dict[str, Any]], targets: int | None = None) -> Request:
        """`targets`: of each row, if its people do not say it."""
        self._requests += 1
        key = f"key-{self._requests}"
        names: dict[str, int] = {}
        for number, row in enumerate(rows):
            row["related_object"] = {"type": "chaos", "id": f"{key}/{number}"}
            channels = CHANNELS if row["channels"] == "all" else row["channels"]
            if targets is None:
                names[f"{key}/{number}"] = self._people.targets(row["targets"], channels)
            else:
                names[f"{key}/{number}"] = targets
        body = {"notifications": rows} if path.endswith("bulk/") else rows[0]
        return Request(key, path, orjson.dumps(body), names)

    # --- how it is sent ------------------------------------------------------------------------------------

    async def _send(self, request: Request) -> None:
        self.made += request.targets
        await self._begin(request)

    async def _begin(self, request: Request) -> None:
        await self._slots.acquire()
        self._start(self._post(request))
        if self._recent and self._chance.random() < 0.03:
            self._start(self._replay(*self._chance.choice(self._recent)))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _post(self, request: Request) -> None:
        try:
            calls = [self._call(request) for _ in range(2 if self._chance.random() < 0.05 else 1)]
            answers = await asyncio.gather(*calls)
        except Exception as error:
            self.wrong.append(f"{request.key}: {type(error).__name__} {error}")
            return
        finally:
            self._slots.release()
        self._note(request, answers)
        if self._chance.random() < 0.06:
            await self._cancel(next(iter(_notifications(answers[0])))["id"])

    async def _replay(self, request: Request, first: bytes) -> None:
        answer = await self._call(request)
        if answer.body != first or not answer.replayed:
            self.wrong.append(f"{request.key}: the repeat was answered otherwise")

    def _call(self, request: Request) -> Coroutine[Any, Any, Answer]:
        return self._client.call("POST", request.path, request.body, key=request.key)

    def _note(self, request: Request, answers: list[Answer]) -> None:
        if len({answer.body for answer in answers}) != 1:
            self.wrong.append(f"{request.key}: two answers to one key")
        found = _notifications(answers[0])
        if len(found) != len(request.rows):
            self.wrong.append(f"{request.key}: {len(found)} of {len(request.rows)} accepted")
        for notification in found:
            row = notification["related_object"]["id"]
            targets = request.rows[row] or len(notification["targets"])
            self.accepted[notification["id"]] = Accepted(row, targets)
        self._recent.append((request, answers[0].body))

    async def _cancel(self, id: str) -> None:
        await asyncio.sleep(self._chance.uniform(0, 0.5))
        answer = await self._client.call("POST", f"/api/notifications/{id}/cancel/")
        self.cancelled[id] = answer.at
        self.told_cancelled |= {one["id"] for one in answer.json["targets"] if one["result"] == "cancelled"}


def _notifications(answer: Answer) -> list[dict[str, Any]]:
    found = answer.json
    if "results" in found:
        return [result["notification"] for result in found["results"] if result["status"] == "accepted"]
    return [found]
