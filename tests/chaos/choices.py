"""People who choose: what they change all the time, and what is sent to them meanwhile."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from project.queues import CHANNELS, PRIORITIES
from tests.chaos.client import Answer, Client
from tests.chaos.evidence import Off

ALERT, UPDATE = "collaboration_alert", "status_update"  # types that every system begins with
EVERY = 0.25  # seconds from one change to the next, of all of them together
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
AROUND = timedelta(hours=11)  # quiet for so long before and after now: all hours together are refused
# Where all of them are in the end: there it is later than anywhere, so every local time asked for is past.
LAST_ZONE = "Pacific/Kiritimati"
ZONES = ("UTC", "Asia/Kolkata", "America/New_York", LAST_ZONE)
READERS = 3  # one in so many has their updates in a digest, and stays where they are
SOON = timedelta(seconds=5)  # a digest's time is at least so far away when it is chosen
IN_STORY, OF_STORY = 3, 4  # people who are told, and requests that tell them


class Choices:
    """Changes what people want until told to stop, and remembers what was off. From the loop only."""

    def __init__(self, client: Client, people: dict[int, str], chance: random.Random) -> None:
        """people: their external ids, by their ids."""
        self._client, self._people, self._chance = client, people, chance
        self._ids = list(people)
        self._zones = dict.fromkeys(people, "UTC")
        self._quiet: set[int] = set()
        self._off: dict[int, Off] = {}  # what is off now
        self._late: set[int] = set()  # a try to switch on had no answer: it may have its effect later
        self._stopping = False
        self._told = 0
        self._story: list[int] = []  # the places of those who are being told something
        self.offs: list[Off] = []  # what was off
        self.changes = 0

    # --- what they want ------------------------------------------------------------------------------------

    async def keep_changing(self) -> None:
        """One change after the other, half of them of people who are told something just then, until told to
        stop: a change that is given up may have its effect later."""
        while not self._stopping:
            place = self._chance.choice((*self._story, *self._chance.sample(range(len(self._ids)), IN_STORY)))
            await self._chance.choice(self._ways(place))(self._ids[place])
            await asyncio.sleep(EVERY * self._chance.uniform(0.5, 1.5))

    def stop(self) -> None:
        """The change at hand is the last."""
        self._stopping = True

    async def choose_nothing(self) -> None:
        """All is as if they had never chosen anything, so that nothing is held any more."""
        for user in self._ids:
            self._end(user)
            await self._change("PUT", user, {"timezone": LAST_ZONE})

    def _ways(self, place: int) -> Sequence[Callable[[int], Awaitable[None]]]:
        always = [self._collect, self._rest, self._switch]
        return always if place % READERS == 0 else [*always, self._at_once, self._move]

    async def _collect(self, user: int) -> None:
        """Updates by e-mail come in a digest, at the coming minute."""
        soon = datetime.now(ZoneInfo(self._zones[user])) + SOON + timedelta(minutes=1)
        wanted = {"types": {UPDATE: {"email": "daily"}}, "digest": {"daily_at": f"{soon:%H:%M}"}}
        await self._change("PATCH", user, wanted)

    async def _at_once(self, user: int) -> None:
        await self._change("PATCH", user, {"types": {UPDATE: {"email": "on"}}})

    async def _rest(self, user: int) -> None:
        """Be quiet, or not any more."""
        now = datetime.now(ZoneInfo(self._zones[user]))
        window = {"days": DAYS, "start": f"{now - AROUND:%H:%M}", "end": f"{now + AROUND:%H:%M}"}
        await self._change("PATCH", user, {"quiet": None if user in self._quiet else [window]})
        self._quiet ^= {user}

    async def _move(self, user: int) -> None:
        zone = self._chance.choice(ZONES)
        await self._change("PATCH", user, {"timezone": zone})
        self._zones[user] = zone

    async def _switch(self, user: int) -> None:
        """Alerts by one channel are off, or on again."""
        if user in self._off:
            channel = self._end(user)
            answer = await self._change("PATCH", user, {"types": {ALERT: {channel: "on"}}})
            (self._late.add if answer.tries > 1 else self._late.discard)(user)
        else:
            channel = self._chance.choice(CHANNELS)
            answer = await self._change("PATCH", user, {"types": {ALERT: {channel: "off"}}})
            begin = math.inf if user in self._late else answer.at
            self._off[user] = Off(user, ALERT, channel, begin, math.inf)

    def _end(self, user: int) -> str:
        """What they have off may be on from now; its channel."""
        if not (off := self._off.pop(user, None)):
            return ""
        self.offs.append(off._replace(end=time.time()))
        return off.channel

    async def _change(self, method: str, user: int, wanted: dict[str, Any]) -> Answer:
        path = f"/api/users/{self._people[user]}/preferences/"
        answer = await self._client.call(method, path, orjson.dumps(wanted))
        self.changes += 1
        return answer

    # --- what they are sent --------------------------------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """A few notifications to the same people; those of the next requests share their keys."""
        story, self._told = self._told // OF_STORY, self._told + 1
        self._story = [(story * IN_STORY + n) % len(self._ids) for n in range(IN_STORY)]
        people = [self._ids[place] for place in self._story]
        return [self._row(people, story) for _ in range(self._chance.randint(2, 4))]

    def _row(self, people: list[int], story: int) -> dict[str, Any]:
        type = self._chance.choice((ALERT, UPDATE))
        others = self._chance.sample(CHANNELS, self._chance.randint(1, 2))
        row: dict[str, Any] = {
            "type": type,
            "title": f"Story {story}",
            "body": f"There is news of story {story}.",
            "targets": people,
            "channels": sorted({"email", *others}) if type == UPDATE else others,
            "priority": self._chance.choice(PRIORITIES[1:]),
        }
        if self._chance.random() < 0.2:
            later = datetime.now(UTC) + timedelta(seconds=self._chance.uniform(2, 6))
            local = later.astimezone(ZoneInfo(self._zones[people[0]]))
            row["local_time"] = f"{local:%Y-%m-%dT%H:%M:%S}"
        key = self._chance.choice(("collapse_key", "dedupe_key", ""))
        return row | ({key: f"story-{story}"} if key else {})
