"""A client of the socket for tests, and the inbox it reads from."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator

from apps.notifications import inbox
from apps.users import tokens
from apps.users.models import DEFAULT_ORGANIZATION_ID, Organization, User
from project import ids

PATH = "/ws/notifications/"
ORIGIN = "http://localhost:8000"
DEADLINE = 5.0  # seconds in which anything expected must happen


@sync_to_async
def new_user(**fields: Any) -> User:
    Organization.objects.get_or_create(id=DEFAULT_ORGANIZATION_ID)  # a test with transactions empties it
    return User.objects.create(**fields)


@sync_to_async
def deliver(user: User, count: int = 1, *, body: str = "Hello") -> list[UUID]:
    """Commit items into the inbox, without a hint. The targets' ids."""
    targets = [ids.target_id() for _ in range(count)]
    notification = ids.uuid7()
    inbox.add([inbox.Entry(target, user.pk, notification, "Title", body) for target in sorted(targets)])
    return sorted(targets)


@sync_to_async
def recall(*targets: UUID, hinted: bool = True) -> None:
    """Take these out of the inbox, as a cancellation does; without `hinted` the hint is lost."""
    gone = inbox.recall(targets)
    assert len(gone) == len(targets)
    if hinted:
        inbox.hint_recalled(gone)


async def hint(heads: dict[int, int]) -> None:
    """As the engine does after COMMIT."""
    message = {"type": "inbox.moved", "heads": {str(user): head for user, head in heads.items()}}
    await get_channel_layer().group_send(inbox.INBOX_GROUP, message)


def token(user: User, seconds: int = 600) -> str:
    return tokens.mint(user, seconds)[0]


class Client:
    """One socket against the ASGI application."""

    def __init__(
        self, *, path: str = PATH, offer: list[str] | None = None, headers: dict[str, str] | None = None
    ) -> None:
        from project.asgi import application

        raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        self.socket = WebsocketCommunicator(application, path, headers=raw, subprotocols=offer)

    async def connect(self) -> tuple[bool, Any]:
        return await self.socket.connect(timeout=DEADLINE)

    async def send(self, **message: Any) -> None:
        await self.socket.send_json_to(message)

    async def frame(self, deadline: float = DEADLINE) -> dict[str, Any]:
        return await self.socket.receive_json_from(timeout=deadline)

    async def frames(self, count: int) -> list[dict[str, Any]]:
        return [await self.frame() for _ in range(count)]

    async def sequences(self, count: int) -> list[int]:
        return [frame["sequence"] for frame in await self.frames(count)]

    async def closed(self) -> int:
        """The code of the close that must come next."""
        output = await self.socket.receive_output(timeout=DEADLINE)
        assert output["type"] == "websocket.close", output
        return output["code"]

    async def leave(self) -> None:
        await self.socket.disconnect(timeout=DEADLINE)


async def opened(user: User, *, since: int | None = None, seconds: int = 600) -> Client:
    """A socket that has said hello."""
    client = Client()
    assert await client.connect() == (True, None)
    await client.send(type="authenticate", token=token(user, seconds), since=since)
    assert (await client.frame())["type"] == "hello"
    return client


async def eventually(condition: Any, deadline: float = DEADLINE) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)
