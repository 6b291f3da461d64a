"""A client of the stream for tests, in this process; and what it makes of the bytes."""

from __future__ import annotations

from types import TracebackType
from typing import Any, NamedTuple

import orjson
from asgiref.testing import ApplicationCommunicator

from apps.users.models import User
from tests.websocket.support import DEADLINE, token

STREAM = "/api/inbox/stream/"


class Event(NamedTuple):
    """As a browser dispatches it. id: of the last event that had one."""

    type: str
    id: str
    data: dict[str, Any]


class Parser:
    """Of a stream of events, as the standard says (WHATWG HTML, 9.2.6), for lines that end with LF."""

    def __init__(self) -> None:
        self.retries: list[int] = []  # milliseconds
        self._rest = b""
        self._type = self._data = self._id = ""

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that are complete with this."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [event for line in lines if (event := self._line(line.decode()))]

    def _line(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                self._type = value
            case "data":
                self._data += f"{value}\n"
            case "id":
                self._id = value
            case "retry":
                self.retries.append(int(value))
            case _:
                raise AssertionError(line)
        return None

    def _dispatch(self) -> Event | None:
        kind, data, self._type, self._data = self._type, self._data, "", ""
        return Event(kind, self._id, orjson.loads(data)) if data else None


class Reader:
    """One request to the ASGI application; leaves it at the end of `async with`."""

    def __init__(
        self,
        user: User | None = None,
        *,
        query: str = "",
        method: str = "GET",
        headers: dict[str, str] | None = None,
        seconds: int = 600,
    ) -> None:
        from project.asgi import application

        given = ({"Authorization": f"Bearer {token(user, seconds)}"} if user else {}) | (headers or {})
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": STREAM,
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
        }
        self._app = ApplicationCommunicator(application, scope)
        self._parser = Parser()
        self._events: list[Event] = []
        self.retries = self._parser.retries
        self.status = 0
        self.headers: dict[str, str] = {}

    async def __aenter__(self) -> Reader:
        await self._app.send_input({"type": "http.request", "body": b"", "more_body": False})
        start = await self._app.receive_output(DEADLINE)
        self.status = start["status"]
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()

    async def leave(self) -> None:
        """As a client that closes its connection; returns when the application has ended."""
        await self._app.send_input({"type": "http.disconnect"})
        await self._app.wait(DEADLINE)

    async def body(self) -> bytes:
        """What is left, to the end of the answer."""
        body, more = b"", True
        while more:
            message = await self._app.receive_output(DEADLINE)
            body, more = body + message["body"], message["more_body"]
        return body

    async def problem(self) -> dict[str, Any]:
        """The body of an answer that is a problem."""
        assert self.headers["content-type"] == "application/problem+json"
        found: dict[str, Any] = orjson.loads(await self.body())
        assert found["status"] == self.status
        return found

    async def event(self) -> Event:
        """The next one that is no heartbeat: those come when the relay compares."""
        while (event := await self._next()).type == "heartbeat":
            pass
        return event

    async def heartbeat(self, head: int) -> Event:
        """The next heartbeat that says that all up to `head` was sent; nothing else may come before."""
        while (event := await self._next()).data["head"] != head:
            assert event.type == "heartbeat", event
        return event

    async def events(self, count: int) -> list[Event]:
        """The next ones."""
        return [await self.event() for _ in range(count)]

    async def last(self) -> Event:
        """The event with which the answer ends, which must be all that is left."""
        left = self._events + self._parser.feed(await self.body())
        (event,) = [one for one in left if one.type != "heartbeat"]
        return event

    async def _next(self) -> Event:
        while not self._events:
            message = await self._app.receive_output(DEADLINE)
            assert message["more_body"], "it has ended"
            self._events = self._parser.feed(message["body"])
        return self._events.pop(0)
