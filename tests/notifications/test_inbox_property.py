"""The inbox is exact: whatever is done with it, in any order and at once, it is what the model is."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connections, transaction
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from apps.notifications import inbox, inbox_changes
from apps.notifications.inbox_changes import AlreadyActed, Change, Kind, SequenceAhead, UnknownItems
from apps.notifications.inbox_models import InboxItem, InboxState
from project import clock, ids
from tests.support import database, rows
from tests.support.inbox_books import Books, Row, books
from tests.support.inbox_copy import Copy
from tests.support.inbox_model import Inbox

pytestmark = pytest.mark.django_db(transaction=True)
ACTIONS = ("approve", "decline")
BUTTONS = '[{"id": "approve", "label": "Yes", "link": ""}, {"id": "decline", "label": "No", "link": ""}]'
HOUR = timedelta(hours=1)

whose = st.integers(0, 1)
hands = st.integers(0, 1)
kinds = st.sampled_from(Kind)
places = st.lists(st.integers(0, 30), min_size=1, max_size=5)
hours = st.integers(0, 4)


def deliver(people: list[int]) -> list[UUID]:
    """One item for each, by one statement, committed. Their targets."""
    made = sorted(ids.target_id() for _ in people)
    notification = ids.uuid7()
    inbox.add(
        [
            inbox.Entry(target, user, notification, "t", f"News {target}", "Body", actions=BUTTONS)
            for target, user in zip(made, people, strict=True)
        ]
    )
    return made


def recall(targets: list[UUID]) -> int:
    with transaction.atomic():
        return len(inbox.recall(targets)[0])


@contextmanager
def hand() -> Iterator[ThreadPoolExecutor]:
    """A thread with a connection of its own."""
    with ThreadPoolExecutor(1) as thread:
        yield thread
        thread.submit(connections.close_all).result()


class TwoInboxes(RuleBasedStateMachine):
    """Two people, by two connections, beside the model. Each step is committed before the next begins."""

    def __init__(self) -> None:
        super().__init__()
        InboxItem.objects.all().delete()  # what an example before has snoozed would come back in this one
        InboxState.objects.all().delete()
        self._stack = ExitStack()
        self._hands = [self._stack.enter_context(hand()) for _ in range(2)]
        self._people = [person.pk for person in rows.people(2)]
        self._models = [Inbox(), Inbox()]
        self._before: list[Books] = [books(person) for person in self._people]
        self._copies: list[list[Copy]] = [[Copy()], [Copy()]]  # of each number ever, as a client had it then
        self._slow = [Copy(), Copy()]  # a client whose connection breaks after every second event
        self._offset = 0  # hours
        self._noon = clock.now() + HOUR / 2  # snoozed until half past, and the clock moves by whole hours

    def teardown(self) -> None:
        self._stack.close()

    def _by(self, hand: int, work: Callable[..., Any], *arguments: Any) -> Any:
        return self._hands[hand].submit(work, *arguments).result(30)

    def _pick(self, who: int, places: list[int]) -> list[UUID]:
        known = list(self._models[who].items)
        return [known[place % len(known)] for place in places]

    def _has_items(self) -> bool:
        return all(model.items for model in self._models)

    # --- what happens --------------------------------------------------------------------------------------

    @rule(hand=hands, people=st.lists(whose, min_size=1, max_size=5))
    def items_come(self, hand: int, people: list[int]) -> None:
        made = self._by(hand, deliver, [self._people[who] for who in people])
        for who in (0, 1):
            self._models[who].deliver(id for id, of in zip(made, people, strict=True) if of == who)

    @precondition(_has_items)
    @rule(hand=hands, who=whose, kind=kinds, places=places, at=hours)
    def some_are_changed(self, hand: int, who: int, kind: Kind, places: list[int], at: int) -> None:
        until = self._noon + at * HOUR if kind is Kind.SNOOZE else None
        self._change(hand, who, Change(kind=kind, ids=self._pick(who, places), until=until))

    @precondition(_has_items)
    @rule(hand=hands, who=whose, kind=kinds, share=st.floats(0, 1), at=hours)
    def all_up_to_are_changed(self, hand: int, who: int, kind: Kind, share: float, at: int) -> None:
        until = self._noon + at * HOUR if kind is Kind.SNOOZE else None
        up_to = round(self._models[who].head * share)
        self._change(hand, who, Change(kind=kind, up_to=up_to, until=until))

    def _change(self, hand: int, who: int, wanted: Change) -> None:
        done = self._by(hand, inbox_changes.change, self._people[who], wanted)
        assert done.changed == self._models[who].change(wanted)
        assert done.counts == self._models[who].counts

    @precondition(_has_items)
    @rule(hand=hands, who=whose, place=st.integers(0, 30), action=st.sampled_from(ACTIONS))
    def a_button_is_pressed(self, hand: int, who: int, place: int, action: str) -> None:
        (id,) = self._pick(who, [place])
        item = self._models[who].items[id]
        arguments = (inbox_changes.act, self._people[who], id, action)
        if item.recalled:
            with pytest.raises(UnknownItems):
                self._by(hand, *arguments)
        elif item.action not in ("", action):
            with pytest.raises(AlreadyActed):
                self._by(hand, *arguments)
        else:
            done = self._by(hand, *arguments)
            assert done == (self._models[who].act(id, action), self._models[who].counts)

    @precondition(_has_items)
    @rule(hand=hands, mine=places, others=places)
    def some_are_recalled(self, hand: int, mine: list[int], others: list[int]) -> None:
        chosen = [self._pick(0, mine), self._pick(1, others)]
        gone = sum(model.recall(set(picked)) for model, picked in zip(self._models, chosen, strict=True))
        assert self._by(hand, recall, chosen[0] + chosen[1]) == gone

    @rule(hand=hands, hours=st.integers(0, 2))
    def time_goes_by(self, hand: int, hours: int) -> None:
        self._offset += hours
        for one in (0, 1):
            self._by(one, database.move_clock, self._offset * 3_600)
        now = self._noon - HOUR / 2 + self._offset * HOUR + HOUR / 4
        due = sum(model.come_back(now) for model in self._models)
        assert self._by(hand, inbox.return_snoozed, 1_000) == due

    @precondition(_has_items)
    @rule(hand=hands, who=whose, kind=kinds, places=places, ahead=st.integers(1, 3))
    def what_is_not_there_changes_nothing(
        self, hand: int, who: int, kind: Kind, places: list[int], ahead: int
    ) -> None:
        until = self._noon if kind is Kind.SNOOZE else None
        ids = [*self._pick(who, places), *self._pick(1 - who, places)]
        with pytest.raises(UnknownItems) as unknown:
            self._by(hand, inbox_changes.change, self._people[who], Change(kind=kind, ids=ids, until=until))
        assert set(unknown.value.ids) == set(self._pick(1 - who, places))
        change = Change(kind=kind, up_to=self._models[who].head + ahead, until=until)
        with pytest.raises(SequenceAhead):
            self._by(hand, inbox_changes.change, self._people[who], change)

    # --- what holds after each step ------------------------------------------------------------------------

    @invariant()
    def it_is_what_the_model_is(self) -> None:
        for who, person in enumerate(self._people):
            now, before = books(person), self._before[who]
            now.assert_exact()
            now.assert_like(self._models[who])
            self._numbers_are_new(before, now)
            self._replay_is_exact(self._copies[who], now)
            self._replay_may_be_cut(self._slow[who], now)
            self._before[who] = now

    def _numbers_are_new(self, before: Books, now: Books) -> None:
        """What changed has one number each, the next ones; all else is as it was, to the microsecond."""
        known = {row.id: row for row in before.rows}
        changed = [row for row in now.rows if row != known.get(row.id)]
        first = before.counts.head + 1
        assert sorted(row.number for row in changed) == list(range(first, first + len(changed)))
        assert now.counts.head == before.counts.head + len(changed)
        for row in changed:
            self._times_stay(known.get(row.id), row)

    def _times_stay(self, old: Row | None, new: Row) -> None:
        """What was seen, read or archived stays so since then, until it is not any more."""
        for name in ("seen_at", "read_at", "archived_at", "acted_at"):
            if old and getattr(old, name) and getattr(new, name):
                assert getattr(new, name) == getattr(old, name), name

    def _replay_is_exact(self, copies: list[Copy], now: Books) -> None:
        for copy in copies:
            assert now.brings_up(copy)
        newest = copies[-1].twin()
        for event in now.events(newest.last):
            newest.apply(event)
            copies.append(newest.twin())

    def _replay_may_be_cut(self, slow: Copy, now: Books) -> None:
        """Anywhere: the number of the last event is enough to go on from, whatever has changed since."""
        for event in now.events(slow.last)[:2]:
            slow.apply(event)
        assert now.brings_up(slow)


def test_whatever_is_done_the_inbox_is_what_the_model_is() -> None:
    run_state_machine_as_test(TwoInboxes, settings=settings(max_examples=80, stateful_step_count=25))


# --- at once -----------------------------------------------------------------------------------------------

WORKERS, EACH = 3, 100


class Crowd:
    """Random work on the inboxes of these people, each piece committed by itself."""

    def __init__(self, people: list[int], seed: int) -> None:
        self._people, self._chance = people, random.Random(seed)
        self._noon = clock.now()
        self._works: list[Callable[[], object]] = [
            self._deliver, self._by_ids, self._by_ids, self._up_to, self._act, self._recall, self._return,
        ]  # fmt: skip

    def work(self) -> None:
        for _ in range(EACH):
            self._chance.choice(self._works)()

    def _known(self, person: int, most: int) -> list[UUID]:
        known = list(InboxItem.objects.filter(user_id=person).values_list("target_id", flat=True))
        return self._chance.sample(known, min(most, len(known)))

    def _kind(self) -> tuple[Kind, datetime | None]:
        kind = self._chance.choice(list(Kind))
        hours = self._chance.choice([-1, 1]) * HOUR  # some come back at once
        return kind, self._noon + hours if kind is Kind.SNOOZE else None

    def _deliver(self) -> None:
        deliver(self._chance.choices(self._people, k=4))

    def _by_ids(self) -> None:
        person, (kind, until) = self._chance.choice(self._people), self._kind()
        inbox_changes.change(person, Change(kind=kind, ids=self._known(person, 4), until=until))

    def _up_to(self) -> None:
        person, (kind, until) = self._chance.choice(self._people), self._kind()
        up_to = self._chance.randint(0, books(person).counts.head)
        inbox_changes.change(person, Change(kind=kind, up_to=up_to, until=until))

    def _act(self) -> None:
        person = self._chance.choice(self._people)
        for id in self._known(person, 1):
            with suppress(AlreadyActed, UnknownItems):  # by another worker
                inbox_changes.act(person, id, self._chance.choice(ACTIONS))

    def _recall(self) -> None:
        recall([id for person in self._people for id in self._known(person, 1)])

    def _return(self) -> None:
        inbox.return_snoozed(5)


def watch(person: int, over: threading.Event) -> tuple[Copy, int]:
    """Follow an inbox as a client does until it is over: its copy, and how often there was something new."""
    copy, times = Copy(), 0
    while True:
        last = over.is_set()
        now = books(person)
        now.assert_exact()
        events = now.events(copy.last)
        for event in events:
            copy.apply(event)
        times += bool(events)
        if last:
            return copy, times


@pytest.mark.parametrize("seed", range(3))
def test_who_works_at_once_leaves_it_exact(seed: int) -> None:
    people = [person.pk for person in rows.people(2)]
    deliver(people * 5)
    over, working = threading.Event(), threading.Semaphore(0)

    def run(number: int) -> tuple[Copy, int] | None:
        if number >= WORKERS:
            return watch(people[number - WORKERS], over)
        try:
            Crowd(people, seed * WORKERS + number).work()
        finally:
            working.release()
            if number == 0:
                for _ in range(WORKERS):
                    working.acquire()
                over.set()
        return None

    watched = [one for one in database.in_threads(WORKERS + len(people), run) if one is not None]
    for person, (copy, times) in zip(people, watched, strict=True):
        now = books(person)
        now.assert_exact()
        assert now.counts.head > EACH and times > 10
        assert now.brings_up(copy) and copy.last == now.counts.head
