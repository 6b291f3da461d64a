"""One per process: hears that inboxes moved, reads the rows for all local sockets at once, hands them out.

The rows are the truth and a hint only says "look", so a hint that is lost, doubled or out of order changes
nothing but the time: every socket goes on from the last sequence it was sent. What a hint may cost when it
is lost is bounded by `WEBSOCKET_CATCH_UP_SECONDS`, when all heads are compared. That an item was recalled is
said by its hint alone: who does not hear it sees it in the inbox.

The relay has the process's only subscription. One per socket would make each broadcast as many messages as
there are sockets, and no socket could be opened while Redis is away.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import orjson
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import DatabaseError, connections

from apps.websocket import store
from apps.websocket.backoff import backoff
from apps.websocket.hints import Hints
from apps.websocket.subscription import Subscription

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

BATCH = 500  # sockets served by one read
MAX_SOCKETS_PER_USER = 50  # here, in this process: tabs and devices of one person


def encode(frame: Any) -> str:
    return orjson.dumps(frame, option=orjson.OPT_UTC_Z).decode()


class Relay:
    """Feeds the subscriptions of one event loop. All methods but `close` are plain calls from that loop."""

    def __init__(self) -> None:
        self._subscriptions: dict[int, set[Subscription]] = {}
        self._to_place: dict[Subscription, None] = {}
        self._behind: dict[Subscription, None] = {}  # in the order they are served
        self._wake = asyncio.Event()
        self._compare_at = 0.0  # the loop's time
        # One thread, so one connection per process: reads are batched, more would only queue in Postgres.
        # Its own thread, so that no session lookup or other code of asgiref's shared one holds it up.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inbox")
        self.hints = Hints(moved=self.moved, recalled=self.recalled, missed=self.compare_soon)
        self._tasks = [_start(self._serve()), _start(self.hints.listen())]

    @property
    def users(self) -> int:
        """How many people have a socket here."""
        return len(self._subscriptions)

    def enter(self, subscription: Subscription) -> bool:
        """Feed it from now on. False if this person has too many already."""
        of_user = self._subscriptions.setdefault(subscription.user_id, set())
        if len(of_user) >= MAX_SOCKETS_PER_USER:
            return False
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
        of_user.discard(subscription)
        if not of_user:
            self._subscriptions.pop(subscription.user_id, None)

    def moved(self, heads: dict[str, int]) -> None:
        """A hint: user id -> the last sequence in their inbox."""
        for user_id, head in heads.items():
            for subscription in self._subscriptions.get(int(user_id), ()):
                subscription.head = max(subscription.head, head)
                self.consider(subscription)

    def recalled(self, items: Iterable[tuple[int, str, int]]) -> None:
        """A hint: (user id, target, sequence) of each item that is no longer in its inbox."""
        for user_id, target, sequence in items:
            if of_user := self._subscriptions.get(user_id):
                frame = encode({"type": "recalled", "id": target, "sequence": sequence})
                for subscription in of_user:
                    subscription.recall(frame)

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
        await asyncio.get_running_loop().run_in_executor(self._thread, connections.close_all)
        self._thread.shutdown()

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
        waiting = list(self._to_place)
        if not waiting:
            return
        heads = await self._in_thread(store.heads_of, [one.user_id for one in waiting])
        for subscription in waiting:
            if self._to_place.pop(subscription, 0) == 0:  # left meanwhile
                continue
            if (head := heads.get(subscription.user_id)) is None:
                subscription.socket.refused()
            else:
                subscription.place(head, encode)

    async def _compare_when_due(self) -> None:
        """What hints should have told, and whether these people are still active."""
        now = asyncio.get_running_loop().time()
        if now < self._compare_at:
            return
        interval = settings.WEBSOCKET_CATCH_UP_SECONDS
        self._compare_at = now + random.uniform(0.8, 1.0) * interval  # noqa: S311 - spreads the processes
        if user_ids := list(self._subscriptions):
            try:
                heads = await self._in_thread(store.heads_of, user_ids)
            except BaseException:
                self._compare_at = 0.0
                raise
            for user_id in user_ids:
                self._compared(user_id, heads.get(user_id))

    def _compared(self, user_id: int, head: int | None) -> None:
        for subscription in list(self._subscriptions.get(user_id, ())):
            if head is None:
                subscription.socket.refused()
            else:
                subscription.head = max(subscription.head, head)
                self.consider(subscription)

    async def _read_next(self) -> None:
        """One read; who comes after waits for the next round, with who has more to come behind them."""
        batch = [(one, one.turn, one.last, one.head) for one in list(self._behind)[:BATCH]]
        if not batch:
            return
        pages = await self._in_thread(store.items_after, [(one.user_id, last) for one, _, last, _ in batch])
        for (subscription, turn, last, head), items in zip(batch, pages, strict=True):
            self._behind.pop(subscription, None)
            if not subscription.wants or subscription.turn != turn:  # left, or the page is of no use
                self.consider(subscription)
                continue
            if len(items) < store.PAGE and subscription.head == head:
                # All there is was read. A hint may promise more than there is (an item was recalled), and is
                # not asked about for ever; one that came during the read says otherwise.
                subscription.head = items[-1].sequence if items else last
            if items:
                subscription.offer(items)
            else:
                self.consider(subscription)
        if self._behind:
            self._wake.set()

    async def _in_thread(self, read: Callable[[Sequence[Any]], Result], argument: Sequence[Any]) -> Result:
        reader = database_sync_to_async(read, thread_sensitive=False, executor=self._thread)
        result: Result = await reader(argument)
        return result


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
