"""Where one socket stands in its person's inbox. Sends in order, one page in flight, and nothing twice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from apps.websocket.store import Item

logger = logging.getLogger(__name__)


class Socket(Protocol):
    """What a subscription needs of the socket it feeds."""

    async def send_text(self, frame: str) -> None:
        """Write a frame and wait until the reader has room for the next."""

    def placed(self, head: int, since: int | None) -> list[dict[str, Any]]:
        """The inbox ends at `head`. Frames to send before any item."""

    def refused(self) -> None:
        """The person is deactivated or gone."""


class Subscription:
    """Everything up to `last` was sent or is not wanted; there is more while `head` is above it."""

    def __init__(self, user_id: int, socket: Socket, done: Callable[[Subscription], None]) -> None:
        self.user_id = user_id
        self.last = 0
        self.head = 0
        self.turn = 0  # another one: what was read before is of no use
        self.is_placed = False
        self.since: int | None = None  # asked for, and not placed yet
        self.socket = socket
        self._done = done  # tells the relay that the next page may come
        self._first: list[str] = []  # frames to send before the next item
        self._task: asyncio.Task[None] | None = None

    @property
    def wants(self) -> bool:
        """Whether a page should be read for it now."""
        return self.is_placed and self._task is None and self.head > self.last

    def place(self, head: int, encode: Callable[[Any], str]) -> None:
        """Start, or start again, from `since`; without it (or with one that is wrong) from where it stood."""
        self.turn += 1
        since, self.since = self.since, None
        if since is not None and since <= head:
            self.last = since
        elif not self.is_placed:
            self.last = head
        self.head = max(self.head, head)  # a hint may have overtaken the read
        self._first += map(encode, self.socket.placed(head, since))
        self.is_placed = True
        if self._task is None:
            self.offer([])

    def recall(self, frame: str) -> None:
        """Send this next. What was read and not sent yet is read again: the item may be among it."""
        if not self.is_placed:  # nothing was sent or read
            return
        self.turn += 1
        self._first.append(frame)
        if self._task is None:
            self.offer([])

    def offer(self, items: list[Item]) -> None:
        """Send these. Only while `wants`."""
        self._task = asyncio.create_task(self._send(items))

    def stop(self) -> None:
        self.is_placed = False
        if self._task is not None:
            self._task.cancel()

    async def _send(self, items: list[Item]) -> None:
        try:
            for item in items:
                if self._first:  # placed anew, or one recalled: the rest of the page is of no use
                    break
                self.last = item.sequence  # before the wait, in which a new place may be set
                await self.socket.send_text(item.frame())
            while self._first:
                await self.socket.send_text(self._first.pop(0))
        except Exception as error:  # the connection is gone; the server is about to say so
            self.is_placed = False
            logger.info("not sent", extra={"user": self.user_id, "error": type(error).__name__})
        finally:
            self._finish()

    def _finish(self) -> None:
        self._task = None
        if self._first and self.is_placed:
            self.offer([])
        else:
            self._done(self)
