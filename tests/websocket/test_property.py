"""Two tabs of one person, random work in both and outside, and lines that break: both have what there is."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async

from apps.notifications import inbox
from apps.notifications.inbox_changes import Change, Kind
from apps.users.models import User
from apps.websocket import store
from tests.support import database
from tests.support.inbox_books import Books, books
from tests.support.inbox_copy import Copy
from tests.support.inbox_model import Inbox
from tests.websocket import support
from tests.websocket.support import DEADLINE, Client, eventually

pytestmark = pytest.mark.django_db(transaction=True)
STEPS = 70
TIMES = ("seen_at", "read_at", "archived_at", "snoozed_until", "acted_at")
AN_HOUR = timedelta(hours=1)


class Tab:
    """A client with a copy of the inbox, whose line may break after any frame."""

    def __init__(self, user: User) -> None:
        self.copy = Copy()
        self.patience: int | None = None  # frames until its line breaks
        self.shown: dict[str, int] = {}  # the number under which each item came
        self._user = user
        self._client: Client | None = None
        self._reading: asyncio.Task[None] | None = None
        self._last = -1  # number of the last event of this connection
        self._refs = itertools.count()
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}

    @property
    def is_open(self) -> bool:
        return self._client is not None

    async def open(self, patience: int | None = None) -> None:
        """Connect and go on from what it has; the line breaks after so many frames."""
        self._client, self._last, self.patience = Client(), -1, patience
        assert await self._client.connect() == (True, None)
        await self._client.send(type="authenticate", token=support.token(self._user), since=self.copy.last)
        self._reading = asyncio.create_task(self._read(self._client))

    async def close(self) -> None:
        """What is on its way is lost. Raises what went wrong while it read."""
        if self._client is not None and self._reading is not None:
            client, self._client = self._client, None
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading
            await client.leave()

    async def ask(self, **message: Any) -> dict[str, Any]:
        """Send this; its answer. Raises what went wrong while it read."""
        assert self._client is not None and self._reading is not None
        ref = f"r{next(self._refs)}"
        answer = self._answers[ref] = asyncio.get_running_loop().create_future()
        await self._client.send(ref=ref, **message)
        await asyncio.wait({answer, self._reading}, timeout=DEADLINE, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done() and self._reading.done():
            self._reading.result()
        return answer.result()

    async def _read(self, client: Client) -> None:
        while self.patience is None or self.patience > 0:
            frame = await client.any_frame()
            self.patience = self.patience and self.patience - 1
            await self._take(frame)

    async def _take(self, frame: dict[str, Any]) -> None:
        assert frame["type"] != "error" or frame.get("ref"), frame
        if frame["type"] == "resync":
            await self._read_anew()
        elif "sequence" in frame:
            assert frame["sequence"] > self._last, "numbers go up"
            self._last = frame["sequence"]
        if frame["type"] == "notification":
            id, number = frame["item"]["id"], frame["item"]["sequence"]
            assert number > self.shown.get(id, 0), "shown once, unless it has come back"
            self.shown[id] = number
        self.copy.apply(frame)
        if answer := self._answers.pop(frame.get("ref", ""), None):
            answer.set_result(frame)

    async def _read_anew(self) -> None:
        """As over HTTP. What is newer than the frame's head comes once more: that was not yet to be shown."""
        now = await sync_to_async(books)(self._user.pk)
        shown = [row.shown() for row in now.rows if row.recalled_at is None]
        self.copy.read_anew(shown, now.counts.as_json())
        self.shown = {}


class Work:
    """What is done with one inbox by two tabs and from outside."""

    def __init__(self, user: User, seed: int) -> None:
        self.user, self.chance = user, random.Random(seed)
        self.model = Inbox()
        self.tabs = [Tab(user), Tab(user)]
        self.until = datetime.now(UTC).replace(microsecond=0) + AN_HOUR
        self._steps: list[Callable[[], Awaitable[None]]] = [
            self.items_come, self.items_come, self.some_are_recalled, self.they_come_back,
            self.a_line_breaks, self.a_line_breaks, self.it_is_changed_elsewhere,
            *[self.a_tab_changes] * 5,
        ]  # fmt: skip

    async def step(self) -> None:
        await self.chance.choice(self._steps)()

    async def items_come(self) -> None:
        count = self.chance.choice([1, 2, 3, 20])
        made = await support.deliver(self.user, count, actions=BUTTONS)
        self.model.deliver(made)
        await self._hint()

    async def some_are_recalled(self) -> None:
        ids = [id for id in self._some(3) if not self.model.items[id].recalled]
        if ids:
            await support.recall(*ids)
            self.model.recall(ids)

    async def they_come_back(self) -> None:
        await sync_to_async(_come_back)()
        self.model.come_back(datetime.max.replace(tzinfo=UTC))

    async def a_line_breaks(self) -> None:
        """And is there again, perhaps for a few frames only."""
        tab = self.chance.choice(self.tabs)
        await tab.close()
        if self.chance.random() < 0.7:
            await tab.open(patience=self.chance.choice([None, 3, 4, 6, 12]))

    async def it_is_changed_elsewhere(self) -> None:
        wanted = self.wanted()
        fields = {"up_to": wanted.up_to, "until": wanted.until}
        done = await support.change(self.user, wanted.kind, *(wanted.ids or ()), **fields)
        assert (done.changed, done.counts) == (self.model.change(wanted), self.model.counts)

    async def a_tab_changes(self) -> None:
        """With a line that stays until the answer is here; what is told is what the model says."""
        tab = self.chance.choice(self.tabs)
        if not tab.is_open or tab.patience is not None:
            await tab.close()
            await tab.open()
        if self.model.items and self.chance.random() < 0.2:
            await self._press(tab)
            return
        wanted = self.wanted()
        told = await tab.ask(**message_of(wanted))
        assert told["type"] == "ack", told
        assert (told["changed"], told["counts"]) == (self.model.change(wanted), self.model.counts.as_json())

    async def _press(self, tab: Tab) -> None:
        (id,), action = self._some(1), self.chance.choice(ACTIONS)
        told, item = await tab.ask(type="act", id=str(id), action=action), self.model.items[id]
        if item.recalled:
            assert told["code"] == "not_found"
        elif item.action not in ("", action):
            assert told["code"] == "already_acted"
        else:
            assert (told["changed"], told["counts"]["head"]) == (self.model.act(id, action), self.model.head)

    def wanted(self) -> Change:
        kind = self.chance.choice(list(Kind))
        until = self.until + self.chance.randint(0, 3) * AN_HOUR if kind is Kind.SNOOZE else None
        if self.model.items and self.chance.random() < 0.7:
            return Change(kind=kind, ids=self._some(4), until=until)
        return Change(kind=kind, up_to=self.chance.randint(0, self.model.head), until=until)

    def _some(self, most: int) -> list[UUID]:
        known = list(self.model.items)
        return self.chance.sample(known, min(most, len(known)))

    async def _hint(self) -> None:
        """Unless it is lost."""
        if self.chance.random() < 0.8:
            await support.hint({self.user.pk: self.model.head})

    async def end(self) -> Books:
        """All lines stand, and everything has come."""
        for tab in self.tabs:
            await tab.close()
            await tab.open()
        now = await sync_to_async(books)(self.user.pk)
        await eventually(lambda: all(tab.copy.last == now.counts.head for tab in self.tabs))
        return now


ACTIONS = ("approve", "decline")
BUTTONS = '[{"id": "approve", "label": "Yes", "link": ""}, {"id": "decline", "label": "No", "link": ""}]'


def message_of(wanted: Change) -> dict[str, Any]:
    given = {"ids": [str(id) for id in wanted.ids]} if wanted.ids is not None else {"up_to": wanted.up_to}
    until = {"until": wanted.until.isoformat()} if wanted.until else {}
    return {"type": wanted.kind.value, **given, **until}


def _come_back() -> None:
    database.move_clock(24 * 3_600)
    try:
        inbox.return_snoozed(1_000)
    finally:
        database.move_clock(0)


def assert_has_it_all(tab: Tab, now: Books) -> None:
    present = {str(row.id): row.shown() for row in now.rows if row.recalled_at is None}
    assert tab.copy.items.keys() == present.keys()
    for id, item in tab.copy.items.items():
        times = {name: _moment(item[name]) for name in TIMES}
        state = (item["sequence"], item["action"] or "", times)
        row = present[id]
        assert state == (row["sequence"], row["action"], {name: row[name] for name in TIMES})
    assert tab.copy.counts == now.counts.as_json()


def _moment(value: Any) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


@pytest.mark.parametrize("most_behind", [store.MOST_BEHIND, 25], ids=["replay", "resync"])
@pytest.mark.parametrize("seed", range(6))
async def test_both_tabs_have_what_the_model_has(
    monkeypatch: pytest.MonkeyPatch, seed: int, most_behind: int
) -> None:
    monkeypatch.setattr(store, "MOST_BEHIND", most_behind)
    work = Work(await support.new_user(), seed)
    await support.hearing()
    for _ in range(STEPS):
        await work.step()
    now = await work.end()
    now.assert_exact()
    now.assert_like(work.model)
    for tab in work.tabs:
        assert_has_it_all(tab, now)
        await tab.close()


@pytest.mark.parametrize("seed", range(3))
async def test_both_tabs_agree_after_work_at_once(seed: int) -> None:
    work = Work(await support.new_user(), seed)
    await support.hearing()
    await work.items_come()
    for _ in range(STEPS // 5):
        for tab in work.tabs:
            await tab.close()
            await tab.open()
        asked = [tab.ask(**message_of(work.wanted())) for tab in work.tabs for _ in range(3)]
        await asyncio.gather(*asked, work.items_come(), work.some_are_recalled(), work.they_come_back())
    now = await work.end()
    now.assert_exact()
    for tab in work.tabs:
        assert_has_it_all(tab, now)
        await tab.close()
