"""A client of the socket for tests, and the inbox it reads from."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator

from apps.notifications import inbox, inbox_changes
from apps.notifications.inbox_changes import Change, Done, Kind
from apps.users import tokens
from apps.users.models import DEFAULT_ORGANIZATION_ID, Organization, User
from apps.websocket import relay as relays
from project import db, ids

PATH = "/ws/notifications/"
ORIGIN = "http://localhost:8000"
DEADLINE = 5.0  # seconds in which anything expected must happen
RECOVERY = 20.0  # seconds: the longest backoff and some


@sync_to_async
def new_user(**fields: Any) -> User:
    Organization.objects.get_or_create(id=DEFAULT_ORGANIZATION_ID)  # a test with transactions empties it
    return User.objects.create(**fields)


@sync_to_async
def deliver(user: User, count: int = 1, *, body: str = "Hello", **fields: Any) -> list[UUID]:
    """Commit items into the inbox, without a hint. The targets' ids."""
    targets = [ids.target_id() for _ in range(count)]
    notification = ids.uuid7()
    given = {"type": "comment", "title": "Title", "body": body} | fields
    inbox.add([inbox.Entry(target, user.pk, notification, **given) for target in sorted(targets)])
    return sorted(targets)


@sync_to_async
def recall(*targets: UUID, hinted: bool = True) -> None:
    """Take these out of the inbox, as a cancellation does; without `hinted` the hint is lost."""
    with db.one_transaction():
        gone, heads = inbox.recall(targets)
    assert len(gone) == len(targets)
    if hinted:
        inbox.hint(heads)


@sync_to_async
def change(user: User, kind: Kind, *ids: UUID, **fields: Any) -> Done:
    """Do this with these items, as the HTTP API does: with a hint."""
    return inbox_changes.change(user.pk, Change(kind=kind, ids=ids or None, **fields))


async def lose_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on what changes is told to nobody."""
    monkeypatch.setattr(inbox, "hint", lambda heads: None)


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
        """The next frame but heartbeats, which come when they will."""
        async with asyncio.timeout(deadline):
            while (frame := await self.any_frame())["type"] == "heartbeat":
                pass
        return frame

    async def heartbeat(self) -> dict[str, Any]:
        """The next frame, which must be one."""
        frame = await self.any_frame()
        assert frame["type"] == "heartbeat", frame
        return frame

    async def any_frame(self) -> dict[str, Any]:
        output = await self.socket.receive_output(timeout=RECOVERY)
        assert output["type"] == "websocket.send", output
        frame: dict[str, Any] = json.loads(output["text"])
        return frame

    async def frames(self, count: int) -> list[dict[str, Any]]:
        return [await self.frame() for _ in range(count)]

    async def sequences(self, count: int) -> list[int]:
        return [frame["sequence"] for frame in await self.frames(count)]

    async def nothing_more(self) -> None:
        """All that was on its way is here."""
        await self.send(type="ping")
        assert await self.frame() == {"type": "pong"}

    async def closed(self) -> int:
        """The code of the close that must come next."""
        async with asyncio.timeout(DEADLINE):
            while '"heartbeat"' in (output := await self.socket.receive_output(DEADLINE)).get("text", ""):
                pass
        assert output["type"] == "websocket.close", output
        return int(output["code"])

    async def leave(self) -> None:
        await self.socket.disconnect(timeout=DEADLINE)


async def opened(user: User, *, since: int | None = None, seconds: int = 600) -> Client:
    """A socket that has said hello."""
    client = Client()
    assert await client.connect() == (True, None)
    await client.send(type="authenticate", token=token(user, seconds), since=since)
    assert (await client.frame())["type"] == "hello"
    return client


async def hearing() -> None:
    """Until the relay's subscription stands, so that a hint sent now is heard."""
    await eventually(lambda: relays.relay().hints.hears)


async def eventually(condition: Any, deadline: float = DEADLINE) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)
