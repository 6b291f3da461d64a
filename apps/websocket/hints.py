"""Hears the hints that inboxes moved, and knows when it is deaf.

A subscription can die without a word: redis-py re-subscribes by itself and does not tell, and the channel
layer never calls its `on_reconnect`. So the listener sends itself an echo through Redis every few seconds.
An echo that does not come back means a new subscription; the first that does means that hints may have been
missed until now.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from channels import DEFAULT_CHANNEL_LAYER
from channels.layers import channel_layers
from django.conf import settings

from apps.notifications.inbox import INBOX_GROUP
from apps.websocket.backoff import backoff

logger = logging.getLogger(__name__)

ECHO_EVERY = 5.0  # seconds
_ECHO = "relay.echo"


class Hints:
    """One subscription to the group of the inboxes.

    moved: called with the heads of each hint. missed: called when hints may have been lost.
    """

    def __init__(self, *, moved: Callable[[dict[str, int]], None], missed: Callable[[], None]) -> None:
        self._moved = moved
        self._missed = missed
        self._id = uuid4().hex
        self._echoed = asyncio.Event()
        self.hears = False
        self._failures = 0
        # A layer of its own: starting it anew disturbs nobody.
        self._layer: Any = channel_layers.make_backend(DEFAULT_CHANNEL_LAYER)

    async def listen(self) -> None:
        """Listen until cancelled, whatever becomes of Redis."""
        while True:
            try:
                await self._subscribed()
            except Exception as error:
                self.hears = False
                self._failures += 1
                told = {"failures": self._failures, "error": type(error).__name__}
                logger.warning("no hints from Redis", extra=told)
                await asyncio.sleep(backoff(self._failures))

    async def _subscribed(self) -> None:
        """Returns only by an exception."""
        receiving: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(settings.REDIS_TIMEOUT):
                channel = await self._layer.new_channel()
                await self._layer.group_add(INBOX_GROUP, channel)
            receiving = asyncio.create_task(self._receive(channel))
            while True:
                await self._echo(receiving)
                await asyncio.sleep(ECHO_EVERY)
        finally:
            await self._start_anew()  # first: cancelling a receive makes the layer talk to Redis
            if receiving is not None:
                receiving.cancel()
                await asyncio.gather(receiving, return_exceptions=True)

    async def _receive(self, channel: str) -> None:
        while True:
            message = await self._layer.receive(channel)
            if message.get("type") == "inbox.moved":
                self._moved(message["heads"])
            elif message.get("relay") == self._id:
                self._echoed.set()

    async def _echo(self, receiving: asyncio.Task[None]) -> None:
        """Raises unless our own message comes back in time."""
        if receiving.done():
            receiving.result()
        self._echoed.clear()
        async with asyncio.timeout(settings.REDIS_TIMEOUT):
            await self._layer.group_send(INBOX_GROUP, {"type": _ECHO, "relay": self._id})
            await self._echoed.wait()
        if not self.hears:
            self.hears, self._failures = True, 0
            logger.info("hears hints from Redis")
            self._missed()

    async def _start_anew(self) -> None:
        try:
            async with asyncio.timeout(settings.REDIS_TIMEOUT):
                await self._layer.flush()
        except Exception:  # its receiving task died of something: flush raises that, each time it is called
            self._layer = channel_layers.make_backend(DEFAULT_CHANNEL_LAYER)
