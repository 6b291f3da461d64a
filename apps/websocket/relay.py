"""One per process: hears that inboxes moved, reads the rows for all local sockets at once, hands them out.

The rows are the truth and a hint only says "look", so a hint that is lost, doubled or out of order changes
nothing but the time: every socket goes on from the last number it was sent. What a hint may cost when it is
lost is bounded by `WEBSOCKET_CATCH_UP_SECONDS`, when all heads are compared; who has everything is told so.

The relay has the process's only subscription. One per socket would make each broadcast as many messages as
there are sockets, and no socket could be opened while Redis is away.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
from collections.abc import Coroutine, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import DatabaseError

from apps.notifications.inbox_numbers import Counts
from apps.websocket import frames, store
from apps.websocket.backoff import backoff
from apps.websocket.hints import Hints
from apps.websocket.subscription import Subscription
from apps.websocket.threads import Threads

logger = logging.getLogger(__name__)

BATCH = 500  # sockets served by one read
SLICE = 100  # people compared before others have their turn
MAX_SOCKETS_PER_USER = 50  # here, in this process: tabs and devices of one person
RECONNECTS = 500  # a second that a server takes when another one has ended


class Relay:
    """Feeds the subscriptions of one event loop. All methods but `close` are plain calls from that loop."""

    def __init__(self) -> None:
        self._subscriptions: dict[int, set[Subscription]] = {}
        self._sockets = 0
        self._to_place: dict[Subscription, None] = {}
        self._behind: dict[Subscription, None] = {}  # in the order they are served
        self._wake = asyncio.Event()
        self._compare_at = 0.0  # the loop's time
        self._reader = Threads(1, "inbox-reader")  # reads are batched: more would only queue in Postgres
        self.writers = Threads(2, "inbox-writer")  # so that one who waits for a lock does not hold up all
        self.hints = Hints(moved=self.hinted, missed=self.compare_soon)
        self._tasks = [_start(self._serve()), _start(self.hints.listen())]

    @property
    def users(self) -> int:
        """How many people have a socket here."""
        return len(self._subscriptions)

    @property
    def reconnect_within(self) -> float:
        """Seconds among which those who are here choose one to come back at, if this process ends."""
        return max(1.0, self._sockets / RECONNECTS)

    def enter(self, subscription: Subscription) -> bool:
        """Feed it from now on. False if this person has too many already."""
        of_user = self._subscriptions.setdefault(subscription.user_id, set())
        if len(of_user) >= MAX_SOCKETS_PER_USER:
            return False
        self._sockets += 1
        of_user.add(subscription)  # before its head is read, so that no hint falls in between
        self.place(subscription)
        return True

    def place(self, subscription: Subscription) -> None:
        """Read where the inbox ends and (re)start the subscription from its `since`."""
        self._to_place[subscription] = None
        self._wake.set()

    def leave(self, subscription: Subscription) -> None:
        subscription.stop()
        self._to_place.pop(subscription, None)
        self._behind.pop(subscription, None)
        of_user = self._subscriptions.get(subscription.user_id, set())
        if subscription in of_user:
            of_user.remove(subscription)
            self._sockets -= 1
        if not of_user:
            self._subscriptions.pop(subscription.user_id, None)

    def hinted(self, heads: Mapping[str, int]) -> None:
        """A hint: user id -> the last number of their inbox."""
        for user_id, head in heads.items():
            self.moved(int(user_id), head)

    def moved(self, user_id: int, head: int) -> None:
        """This person's inbox has come to the number `head`."""
        for subscription in self._subscriptions.get(user_id, ()):
            subscription.head = max(subscription.head, head)
            self.consider(subscription)

    def compare_soon(self) -> None:
        """Hints may have been missed: compare everyone now."""
        self._compare_at = 0.0
        self._wake.set()

    def consider(self, subscription: Subscription) -> None:
        """Queue it for the next read if there is more for it."""
        if subscription.wants:
            self._behind[subscription] = None
            self._wake.set()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._reader.close()
        await self.writers.close()

    async def _serve(self) -> None:
        failures = 0
        while True:
            await self._until_needed()
            try:
                await self._place_new()
                await self._compare_when_due()
                await self._read_next()
                failures = 0
            except Exception as error:
                # Whatever it was to do is still queued. The database is away, or there is a bug that must
                # not silence every socket of the process.
                failures += 1
                told = {"failures": failures, "error": type(error).__name__}
                logger.warning("inbox not read", extra=told, exc_info=not isinstance(error, DatabaseError))
                await asyncio.sleep(backoff(failures))
                self._wake.set()

    async def _until_needed(self) -> None:
        left = self._compare_at - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(left, 0.0)):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _place_new(self) -> None:
        waiting = {one: one.since for one in self._to_place}
        if not waiting:
            return
        found = await self._reader.run(store.counts_of, [one.user_id for one in waiting])
        for subscription, since in waiting.items():
            if subscription not in self._to_place or subscription.since != since:  # left, or asked anew
                continue
            del self._to_place[subscription]
            if (counts := found.get(subscription.user_id)) is None:
                subscription.socket.refused()
            else:
                subscription.place(counts)

    async def _compare_when_due(self) -> None:
        """What hints should have told, and whether these people are still active."""
        now = asyncio.get_running_loop().time()
        if now < self._compare_at:
            return
        interval = settings.WEBSOCKET_CATCH_UP_SECONDS
        self._compare_at = now + random.uniform(0.8, 1.0) * interval  # noqa: S311 - spreads the processes
        if user_ids := list(self._subscriptions):
            try:
                found = await self._reader.run(store.counts_of, user_ids)
            except BaseException:
                self._compare_at = 0.0
                raise
            for number, user_id in enumerate(user_ids, 1):
                self._compared(user_id, found.get(user_id))
                if number % SLICE == 0:
                    await asyncio.sleep(0)

    def _compared(self, user_id: int, counts: Counts | None) -> None:
        of_user = list(self._subscriptions.get(user_id, ()))
        if counts is None:
            for subscription in of_user:
                subscription.socket.refused()
            return
        self.moved(user_id, counts.head)
        heartbeat = frames.heartbeat(counts, reconnect_within=self.reconnect_within)
        for subscription in of_user:
            subscription.beat(heartbeat, counts.head)

    async def _read_next(self) -> None:
        """One read; who comes after waits for the next round, with who has more to come behind them."""
        batch = [(one, one.last, one.head) for one in list(self._behind)[:BATCH]]
        if not batch:
            return
        pages = await self._reader.run(store.events_after, [(one.user_id, last) for one, last, _ in batch])
        for (subscription, _, head), page in zip(batch, pages, strict=True):
            self._behind.pop(subscription, None)
            if not subscription.wants:  # left
                continue
            if subscription.head == head:  # a hint may promise more than there is, and is not asked for ever
                subscription.head = page.counts.head
            subscription.offer(page)
        if self._behind:
            self._wake.set()


def _start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task of the process, in no request's context."""
    return asyncio.create_task(work, context=contextvars.Context())


_relays: WeakKeyDictionary[asyncio.AbstractEventLoop, Relay] = WeakKeyDictionary()


def relay() -> Relay:
    """The relay of the running loop, started by the first socket. Daphne has one loop per process."""
    loop = asyncio.get_running_loop()
    if loop not in _relays:
        _relays[loop] = Relay()
    return _relays[loop]


async def close_relay() -> None:
    """Stop the running loop's relay, if it has one."""
    found = _relays.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.close()
