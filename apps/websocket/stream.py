"""`GET /api/inbox/stream/`: a person's inbox as server-sent events, for clients without WebSocket.

The frames are a socket's, from the same relay (docs/inbox-protocol.md). What is wrong with a request is told
by its status. What ends a stream that has begun is told by a last event `close`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from django.conf import settings

from apps.notifications.inbox_numbers import Counts
from apps.websocket import frames, stream_requests
from apps.websocket.authentication import Identity
from apps.websocket.events import close_event, event_of, opening
from apps.websocket.flow import Gate, Receive, Scope, Send
from apps.websocket.messages import Close
from apps.websocket.relay import relay
from apps.websocket.stream_requests import Answer
from apps.websocket.subscription import Subscription
from project.api import Problem

logger = logging.getLogger(__name__)

_HEADERS = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}  # nginx would wait for more


async def inbox_stream(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application of this one address."""
    answer = Answer(scope, send)
    try:
        if stream_requests.is_preflight(scope):
            await answer.preflight()
            return
        stream_requests.check(scope)
        since = stream_requests.since_of(scope)
        identity = await stream_requests.identity_of(scope)
        await Stream(identity, since, answer=answer, gate=scope.get("gate")).run(receive)
    except Exception as error:
        if answer.has_begun:
            raise
        await answer.refuse(error)


class Stream:
    """One stream: what a subscription needs of its socket, and when it ends."""

    def __init__(self, identity: Identity, since: int | None, *, answer: Answer, gate: Gate | None) -> None:
        self._identity = identity
        self._since = since
        self._answer = answer
        self._gate = gate
        self._relay = relay()
        self._subscription = Subscription(identity.user_id, self, self._relay.consider)
        self._subscription.since = since
        self._begun = asyncio.Event()
        self._ended: asyncio.Future[Close] = asyncio.get_running_loop().create_future()
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, receive: Receive) -> None:
        """Serve it to its end. Raises the problem that says that this person has too many."""
        if not self._relay.enter(self._subscription):
            raise Problem(429, "too_many_streams", "This person has too many sockets and streams here.")
        self._end_after(settings.WEBSOCKET_AUTH_SECONDS, Close.UNAVAILABLE)  # unless `placed` comes first
        try:
            await self._answer.begin(200, _HEADERS)
            await self._answer.write(opening(self._relay.reconnect_within))
            self._begun.set()
            await self._until_end(receive)
        finally:
            self._let_go()

    async def _until_end(self, receive: Receive) -> None:
        gone = asyncio.create_task(_gone(receive))
        ends: list[asyncio.Future[Any]] = [gone, self._ended]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
        if self._ended.done():
            await self._close(self._ended.result())

    async def _close(self, code: Close) -> None:
        logger.info("stream closed", extra={"user": self._identity.user_id, "code": int(code)})
        self._let_go()  # first, so that nothing comes after the last event
        await self._answer.write(close_event(code), is_last=True)

    def _let_go(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._relay.leave(self._subscription)

    # --- what the subscription calls -----------------------------------------------------------------------

    async def send_text(self, frame: str) -> None:
        await self._begun.wait()
        await self._answer.write(event_of(frame, goes_on=self._since is not None))
        if self._gate is not None:
            await self._gate.wait()

    def placed(self, counts: Counts, since: int | None) -> list[dict[str, Any]]:
        user_id, until = self._identity.user_id, self._identity.until
        self._end_after(until - time.time(), Close.UNAUTHENTICATED)
        hello = frames.hello(user_id, counts, until=until, reconnect_within=self._relay.reconnect_within)
        return [hello] if since is None else [hello, frames.subscribed(since, counts)]

    def refused(self) -> None:
        self._end(Close.UNAUTHENTICATED)

    # --- ends ----------------------------------------------------------------------------------------------

    def _end_after(self, seconds: float, code: Close) -> None:
        """Instead of any end that was planned before."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(max(seconds, 0.0), self._end, code)

    def _end(self, code: Close) -> None:
        if not self._ended.done():
            self._ended.set_result(code)


async def _gone(receive: Receive) -> None:
    """Returns when the client is."""
    while (await receive())["type"] != "http.disconnect":
        pass
