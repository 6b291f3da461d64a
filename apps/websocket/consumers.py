"""`/ws/notifications/`: a person's inbox as it changes. The protocol is in docs/inbox-protocol.md."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.db import Error as DatabaseError

from apps.notifications.inbox_numbers import Counts
from apps.websocket import authentication, commands, frames, messages
from apps.websocket.authentication import Identity
from apps.websocket.commands import Commands
from apps.websocket.messages import BadMessage, Close
from apps.websocket.relay import Relay, relay
from apps.websocket.subscription import Subscription

logger = logging.getLogger(__name__)


class InboxConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Who it is, what they ask for, and when it ends. What they are sent is the relay's and subscription's.

    No handler waits for the database or for a slow reader (Daphne queues what comes meanwhile, without
    limit), except a cookie's session, which is looked up once and within `WEBSOCKET_AUTH_SECONDS`.
    """

    channel_layer_alias = "none"  # no such layer, so no subscription per socket: the relay has one for all

    def __init__(self) -> None:
        super().__init__()
        self._identity: Identity | None = None
        self._subscription: Subscription | None = None
        self._relay: Relay | None = None
        self._commands: Commands | None = None
        self._said_hello = False
        self._allowance = messages.Allowance()
        self._bad = 0
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:  # also when the server ends us
            self._let_go()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """As Channels does, without its trip to the database thread for every single frame."""
        await getattr(self, get_handler_name(message))(message)

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        raise StopConsumer

    async def connect(self) -> None:
        if authentication.token_in_url(self.scope) or not authentication.origin_allowed(self.scope):
            await self._close(Close.REFUSED)
            return
        offered = self.scope["subprotocols"]
        await self.accept(authentication.SUBPROTOCOL if authentication.SUBPROTOCOL in offered else None)
        self._close_after(settings.WEBSOCKET_AUTH_SECONDS, Close.UNAUTHENTICATED)
        if (token := authentication.token_of(offered)) is not None:
            await self._enter(authentication.of_token(token), None)
        elif identity := await self._of_session():
            await self._enter(identity, None)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self._closed:
            return
        size = len(text_data.encode()) if text_data is not None else len(bytes_data or b"")
        if size > messages.MAX_BYTES or not self._allowance.take():
            await self._close(Close.TOO_MUCH)
            return
        ref = None
        try:
            message = messages.parse(text_data)
            ref = messages.ref_of(message)
            await self._handle(message)
        except BadMessage as error:
            await self._answer(frames.error(error.code, str(error), ref=ref))

    async def _handle(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "authenticate":
                await self._authenticate(message)
            case "ping":
                await self._answer({"type": "pong"})
            case "subscribe":
                self._subscribe(messages.since_of(message, required=True))
            case type if commands.is_command(type):
                await self._command(message)
            case _:
                raise BadMessage("unknown_type", "There is no such type of message.")

    async def _authenticate(self, message: dict[str, Any]) -> None:
        """The first message, or a new token for a socket whose own is about to expire."""
        since = messages.since_of(message, required=False)
        identity = authentication.of_token(message.get("token"))
        if self._identity is None:
            await self._enter(identity, since)
        elif identity is None or identity.user_id != self._identity.user_id:
            await self._close(Close.UNAUTHENTICATED)
        else:
            self._identity = identity
            if self._said_hello:
                self._close_at_expiry()
            await self._answer(frames.authenticated(identity.until))

    async def _enter(self, identity: Identity | None, since: int | None) -> None:
        if identity is None:
            await self._close(Close.UNAUTHENTICATED)
            return
        self._identity = identity
        self._relay = relay()
        self._subscription = Subscription(identity.user_id, self, self._relay.consider)
        self._subscription.since = since
        self._commands = Commands(identity.user_id, self._relay, self._answered)
        self._close_after(settings.WEBSOCKET_AUTH_SECONDS, Close.UNAVAILABLE)  # unless `placed` comes first
        if not self._relay.enter(self._subscription):
            await self._close(Close.TOO_MUCH)

    async def _of_session(self) -> Identity | None:
        if not authentication.may_use_cookies(self.scope):
            return None
        try:
            async with asyncio.timeout(settings.WEBSOCKET_AUTH_SECONDS):
                return await authentication.of_session(self.scope)
        except (DatabaseError, TimeoutError):
            await self._close(Close.UNAVAILABLE)
            return None

    def _subscribe(self, since: int | None) -> None:
        if self._subscription is None or self._relay is None:
            raise BadMessage("not_authenticated", "Send authenticate first.")
        self._subscription.since = since
        self._relay.place(self._subscription)

    async def _command(self, message: dict[str, Any]) -> None:
        if self._commands is None:
            raise BadMessage("not_authenticated", "Send authenticate first.")
        if not self._commands.add(message):
            await self._close(Close.TOO_MUCH)

    async def _answered(self, frame: dict[str, Any]) -> None:
        """A command's answer. Its next one waits until the reader has room."""
        if not self._closed:
            await self._answer(frame)
            await self._room()

    async def _answer(self, frame: dict[str, Any]) -> None:
        if self._closed:
            return
        await self.send(frames.encode(frame))
        self._bad += frame.get("code") in messages.BAD
        if self._bad >= messages.MAX_BAD:
            await self._close(Close.BAD_MESSAGE)

    # --- what the subscription calls -----------------------------------------------------------------------

    async def send_text(self, frame: str) -> None:
        await self.send(frame)
        await self._room()

    async def _room(self) -> None:
        if gate := self.scope.get("gate"):
            await gate.wait()

    def placed(self, counts: Counts, since: int | None) -> list[dict[str, Any]]:
        answer = [] if since is None else [frames.subscribed(since, counts)]
        if self._said_hello:
            return answer
        assert self._identity and self._relay and self._commands
        self._said_hello = True
        self._close_at_expiry()
        self._commands.start()
        user_id, until = self._identity.user_id, self._identity.until
        within = self._relay.reconnect_within
        return [frames.hello(user_id, counts, until=until, reconnect_within=within), *answer]

    def refused(self) -> None:
        self._close_soon(Close.UNAUTHENTICATED)

    # --- ends ----------------------------------------------------------------------------------------------

    def _close_at_expiry(self) -> None:
        assert self._identity is not None
        self._close_after(self._identity.until - time.time(), Close.UNAUTHENTICATED)

    def _close_after(self, seconds: float, code: Close) -> None:
        """Instead of any close that was planned before."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(seconds, 0.0), self._close_soon, code)

    def _close_soon(self, code: Close) -> None:
        self._closing = asyncio.create_task(self._close(code))

    async def _close(self, code: Close) -> None:
        if not self._closed:
            user = self._identity.user_id if self._identity else None
            logger.info("socket closed", extra={"user": user, "code": int(code)})
            self._let_go()
            await self.close(int(code))

    def _let_go(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._relay is not None and self._subscription is not None:
            self._relay.leave(self._subscription)
