"""WebSocket clients that come and go, and remember everything they were sent."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import aiohttp
import orjson

from tests.chaos.client import Client

OPENING = 5.0  # seconds for a connection and its hello
PAUSE = 0.3  # seconds before connecting again


@dataclass
class Listener:
    """One person's client: (sequence, target) as they came, over all its connections.

    last: the number of the last change it was sent, from which it goes on.
    """

    user_id: int
    received: list[tuple[int, UUID]] = field(default_factory=list)
    last: int = 0
    connections: int = 0


class Sockets:
    """Clients of Daphne, from the loop only."""

    def __init__(self, url: str, client: Client, chance: random.Random) -> None:
        self._url, self._client, self._chance = f"{url}/ws/notifications/", client, chance
        self.listeners: list[Listener] = []
        self._staying = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None

    async def come_and_go(self, user_id: int) -> None:
        """Be a client of this person until cancelled: read for a while, leave, come back."""
        listener = Listener(user_id)
        self.listeners.append(listener)
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                await self._read(listener)
            await asyncio.sleep(PAUSE * self._chance.uniform(0.5, 3))

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

    async def inbox(self, user_id: int) -> list[tuple[int, UUID]]:
        """The person's inbox over HTTP, oldest first."""
        token, found, after = await self._token(user_id), [], ""
        while True:
            page = (await self._client.call("GET", f"/api/inbox/?page_size=100{after}", token=token)).json
            found += [(item["sequence"], UUID(item["id"])) for item in page["items"]]
            if not page["page_info"]["after"]:
                return found[::-1]
            after = f"&after={page['page_info']['after']}"

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

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

    async def _token(self, user_id: int) -> str:
        answer = await self._client.call("POST", "/api/tokens/", orjson.dumps({"user": user_id}))
        return str(answer.json["token"])

    async def _read(self, listener: Listener) -> None:
        async with asyncio.timeout(OPENING):
            socket = await self._connect(listener.user_id, listener.last)
        listener.connections += 1
        try:
            async with asyncio.timeout(self._chance.uniform(0.5, 15)) as patience:
                async for message in socket:
                    if self._staying.is_set():
                        patience.reschedule(None)
                    await self._take(listener, orjson.loads(message.data))
        finally:
            await socket.close()

    async def _take(self, listener: Listener, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "notification":
                listener.received.append((frame["item"]["sequence"], UUID(frame["item"]["id"])))
                listener.last = frame["sequence"]
            case "changed" | "recalled":
                listener.last = frame["sequence"]
            case "resync":
                head = frame["counts"]["head"]
                inbox = await self.inbox(listener.user_id)
                listener.received = [item for item in inbox if item[0] <= head]
                listener.last = head
