"""Where one socket stands in its person's inbox. Sends in order, one page in flight, and nothing twice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from apps.notifications.inbox_numbers import Counts
from apps.websocket import frames, store
from apps.websocket.store import Page

logger = logging.getLogger(__name__)


class Socket(Protocol):
    """What a subscription needs of the socket it feeds."""

    async def send_text(self, frame: str) -> None:
        """Write a frame and wait until the reader has room for the next."""

    def placed(self, counts: Counts, since: int | None) -> list[dict[str, Any]]:
        """The inbox stands at `counts`. Frames to send before any event."""

    def refused(self) -> None:
        """The person is deactivated or gone."""


class Subscription:
    """Everything up to `last` was sent or is not wanted; there is more while `head` is above it."""

    def __init__(self, user_id: int, socket: Socket, done: Callable[[Subscription], None]) -> None:
        self.user_id = user_id
        self.last = 0
        self.head = 0
        self.is_placed = False
        self.since: int | None = None  # asked for, and not placed yet
        self.socket = socket
        self._done = done  # tells the relay that the next page may come
        self._turn = 0  # another one: what was read before is of no use
        self._first: list[str] = []  # frames to send before the next event
        self._task: asyncio.Task[None] | None = None

    @property
    def wants(self) -> bool:
        """Whether a page should be read for it now."""
        return self.is_placed and self._task is None and self.head > self.last

    def place(self, counts: Counts) -> None:
        """Start, or start again, from `since`; without it, or if it is ahead of the inbox, from its end."""
        self._turn += 1
        since, self.since = self.since, None
        self.last = counts.head if since is None else min(since, counts.head)
        self.head = max(self.head, counts.head)  # a hint may have overtaken the read
        self._first += map(frames.encode, self.socket.placed(counts, since))
        self.is_placed = True
        if self._task is None:
            self._start(None)

    def offer(self, page: Page) -> None:
        """Send these. Only while `wants`."""
        if page.counts.head - self.last > store.MOST_BEHIND:
            self._first.append(frames.resync(page.counts))
            self.last = page.counts.head
            self._start(None)
        else:
            self._start(page)

    def beat(self, frame: str, head: int) -> None:
        """Send this if all up to `head` was sent, and nothing else is under way."""
        if self.is_placed and self._task is None and self.last == self.head == head:
            self._first.append(frame)
            self._start(None)

    def stop(self) -> None:
        self.is_placed = False
        if self._task is not None:
            self._task.cancel()

    def _start(self, page: Page | None) -> None:
        self._task = asyncio.create_task(self._send(page))

    async def _send(self, page: Page | None) -> None:
        try:
            if page is not None:
                await self._send_page(page)
            while self._first:
                await self.socket.send_text(self._first.pop(0))
        except Exception as error:  # the connection is gone; the server is about to say so
            self.is_placed = False
            logger.info("not sent", extra={"user": self.user_id, "error": type(error).__name__})
        finally:
            self._finish()

    async def _send_page(self, page: Page) -> None:
        turn = self._turn
        for event in page.events:
            if self._turn != turn:  # placed anew: the rest is of no use
                return
            self.last = event.number  # before the wait, in which a new place may be set
            await self.socket.send_text(frames.event(event, page.counts))
        if self._turn == turn and page.is_last:
            self.last = page.counts.head

    def _finish(self) -> None:
        self._task = None
        if self._first and self.is_placed:
            self._start(None)
        else:
            self._done(self)
