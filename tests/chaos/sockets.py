"""WebSocket clients that come and go, keep a copy of their inbox, and some that change it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import aiohttp
import orjson

from apps.notifications.inbox_changes import Kind
from apps.notifications.inbox_numbers import Counts
from tests.chaos import habits
from tests.chaos.client import Client
from tests.chaos.habits import ACT, Wish
from tests.chaos.inboxes import Done, Item, Listened
from tests.support.inbox_copy import EVENTS, Copy, Unexpected

OPENING = 5.0  # seconds for a connection and its hello
PAUSE = 0.3  # seconds before connecting again
CHANGE_EVERY = 0.8  # seconds
BY_HTTP = 0.25  # of the changes that both ways can do
FORGETS = 0.2  # of the times that one which only looks on connects: it begins with the API's lists
LISTS = ("", "&archived=true", "&snoozed=true")
# Why a change may be refused: recalled, pressed by another tab, snoozed until what is past by now.
REFUSALS = {"not_found": {ACT}, "already_acted": {ACT}, "invalid": {Kind.SNOOZE}, "unavailable": {ACT, *Kind}}


@dataclass
class Listener:
    """One client of a person, over all its connections: its copy, and what led to it."""

    user_id: int
    changes: bool  # whether it changes the inbox, too
    copy: Copy = field(default_factory=Copy)
    connections: list[list[int]] = field(default_factory=list)  # the numbers of their events
    shown: list[tuple[int, UUID]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    asked: dict[str, Wish] = field(default_factory=dict)  # not answered yet, by ref
    rereads: int = 0

    def take(self, frame: dict[str, Any]) -> bool:
        """A frame has come; False if it is of an item that this client cannot know, having read lists."""
        if frame["type"] in EVENTS:
            self.connections[-1].append(frame["sequence"])
        if frame["type"] == "notification":
            self.shown.append((frame["item"]["sequence"], UUID(frame["item"]["id"])))
        if frame["type"] in ("ack", "error"):
            self._answered(frame)
        if frame["type"] == "heartbeat" and frame["head"] > self.copy.last:
            self.wrong.append(f"a heartbeat at {frame['head']}, and events up to {self.copy.last}")
        try:
            self.copy.apply(frame)
        except Unexpected as error:
            if self.rereads:
                return False
            self.wrong.append(str(error))
        return True

    def _answered(self, frame: dict[str, Any]) -> None:
        wanted = self.asked.pop(frame.get("ref") or "", None)
        if frame["type"] == "error" and not (wanted and wanted.kind in REFUSALS.get(frame["code"], ())):
            self.wrong.append(f"error {frame['code']}: {frame['detail']}")
        elif frame["type"] == "ack" and wanted is None:
            self.wrong.append(f"an ack of {frame['ref']}, which was not asked for")
        elif frame["type"] == "ack" and wanted is not None:
            self.done.append(wanted.done(self.user_id, frame))

    def listened(self, by_rest: list[dict[str, Any]]) -> Listened:
        """All of it, as the checks want it."""
        had, listed = dict(_items(self.copy.items.values())), dict(_items(by_rest))
        counts = Counts(**self.copy.counts)
        shown = (self.connections, self.shown, self.wrong, self.done)
        return Listened(self.user_id, had, listed, counts, *shown)


def _items(items: Any) -> Iterator[tuple[UUID, Item]]:
    for item in items:
        yield UUID(item["id"]), Item.of_json(item)


class Sockets:
    """Clients of Daphne, from the loop only."""

    def __init__(self, url: str, client: Client, chance: random.Random) -> None:
        self._url, self._client, self._chance = f"{url}/ws/notifications/", client, chance
        self.listeners: list[Listener] = []
        self._content = asyncio.Event()
        self._staying = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None
        self._refs = itertools.count(1)

    async def come_and_go(self, user_id: int, *, changes: bool) -> None:
        """Be a client of this person until cancelled: read for a while, leave, come back."""
        listener = Listener(user_id, changes)
        self.listeners.append(listener)
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                await self._read(listener)
            await asyncio.sleep(PAUSE * self._chance.uniform(0.5, 3))

    def be_content(self) -> None:
        """From now on nobody changes anything."""
        self._content.set()

    def stay(self) -> None:
        """From now on nobody leaves by themselves."""
        self._staying.set()

    async def hello(self, user_id: int) -> None:
        """Connect until the server says hello."""
        while True:
            try:
                async with asyncio.timeout(OPENING):
                    socket = await self._connect(user_id, 0)
                await socket.close()
                return
            except (aiohttp.ClientError, TimeoutError, OSError):
                await asyncio.sleep(0.1)

    async def listened(self, listener: Listener) -> Listened:
        """What this client has, beside what its person's inbox is over HTTP."""
        return listener.listened((await self._lists(listener.user_id))[0])

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    # --- over HTTP -----------------------------------------------------------------------------------------

    async def _lists(self, user_id: int) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """The inbox, the archive and what is snoozed; the counts that were read before all of them."""
        token, found, counts = await self._token(user_id), [], list[dict[str, int]]()
        for only in LISTS:
            after: str | None = ""
            while after is not None:
                path = f"/api/inbox/?page_size=100{only}{after and f'&after={after}'}"
                page = (await self._client.call("GET", path, token=token)).json
                counts.append(page["counts"])
                found += page["items"]
                after = page["page_info"]["after"]
        return found, counts[0]

    async def _read_anew(self, listener: Listener) -> None:
        listener.copy.read_anew(*await self._lists(listener.user_id))
        listener.rereads += 1

    async def _fetch(self, listener: Listener, frame: dict[str, Any]) -> None:
        """An item that moved from list to list while they were read. None if it is recalled by now."""
        id, token = frame["item"]["id"], await self._token(listener.user_id)
        answer = await self._client.call("GET", f"/api/inbox/{id}/", token=token, or_else=404)
        if answer.status == 200:
            listener.copy.items[id] = answer.json
        listener.copy.last = frame["sequence"]

    async def _token(self, user_id: int) -> str:
        answer = await self._client.call("POST", "/api/tokens/", orjson.dumps({"user": user_id}))
        return str(answer.json["token"])

    # --- over the socket -----------------------------------------------------------------------------------

    async def _connect(self, user_id: int, since: int) -> aiohttp.ClientWebSocketResponse:
        token = await self._token(user_id)
        if self._session is None:
            self._session = aiohttp.ClientSession()
        socket = await self._session.ws_connect(self._url)
        await socket.send_json({"type": "authenticate", "token": token, "since": since})
        message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT or orjson.loads(message.data)["type"] != "hello":
            raise aiohttp.ClientError("no hello")
        return socket

    async def _read(self, listener: Listener) -> None:
        if not listener.changes and self._chance.random() < FORGETS and not self._staying.is_set():
            await self._read_anew(listener)
        async with asyncio.timeout(OPENING):
            socket = await self._connect(listener.user_id, listener.copy.last)
        listener.connections.append([])
        listener.asked.clear()  # what was asked before will not be answered any more
        changing = asyncio.create_task(self._keep_changing(listener, socket))
        try:
            async with asyncio.timeout(self._chance.uniform(0.5, 15)) as patience:
                async for message in socket:
                    if self._staying.is_set():
                        patience.reschedule(None)
                    await self._take(listener, orjson.loads(message.data))
        finally:
            changing.cancel()
            await asyncio.gather(changing, return_exceptions=True)
            await socket.close()

    async def _take(self, listener: Listener, frame: dict[str, Any]) -> None:
        if frame["type"] == "resync":
            await self._read_anew(listener)
        elif not listener.take(frame):
            await self._fetch(listener, frame)

    async def _keep_changing(self, listener: Listener, socket: aiohttp.ClientWebSocketResponse) -> None:
        """One change after the other, by the socket without waiting for the answer to the one before."""
        while listener.changes and not self._content.is_set():
            await asyncio.sleep(CHANGE_EVERY * self._chance.uniform(0.5, 1.5))
            wanted = habits.wish(listener.copy, self._chance)
            if wanted is None:
                continue
            if wanted.kind != ACT and self._chance.random() < BY_HTTP:
                await self._post(listener, wanted)
            else:
                ref = f"r{next(self._refs)}"
                listener.asked[ref] = wanted
                await socket.send_json(wanted.message(ref))

    async def _post(self, listener: Listener, wanted: Wish) -> None:
        """Asked for until it is answered, by when a time may be past."""
        path, token = f"/api/inbox/{wanted.kind}/", await self._token(listener.user_id)
        answer = await self._client.call("POST", path, orjson.dumps(wanted.body()), token=token, or_else=422)
        if answer.status == 200:
            listener.done.append(wanted.done(listener.user_id, answer.json))
