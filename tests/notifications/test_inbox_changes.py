"""What people do with their items: each change once, numbered, and counted exactly."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from apps.notifications import inbox, inbox_changes, inbox_numbers
from apps.notifications.inbox_changes import (
    AlreadyActed,
    Change,
    Kind,
    NoSuchAction,
    SequenceAhead,
    UnknownItems,
)
from apps.notifications.inbox_models import InboxItem, InboxState
from project import clock, ids
from tests.support import inboxes
from tests.support.database import move_clock
from tests.support.inboxes import ACTIONS, ADA, BOB, counts, deliver, do, item, soon, there

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hinted")]


def everything() -> list[Any]:
    """All that a change may write."""
    return [*InboxItem.objects.order_by("pk").values(), *InboxState.objects.order_by("pk").values()]


# --- Each kind -------------------------------------------------------------------------------------------

# Kind -> what was done with an item before, what the change writes, the unread and unseen it leaves of two.
SET = "set"
KINDS: dict[Kind, tuple[Kind | None, dict[str, Any], tuple[int, int]]] = {
    Kind.READ: (None, {"read_at": SET, "seen_at": SET}, (0, 0)),
    Kind.UNREAD: (Kind.READ, {"read_at": None}, (2, 0)),
    Kind.SEEN: (None, {"seen_at": SET}, (2, 0)),
    Kind.ARCHIVE: (None, {"archived_at": SET}, (0, 0)),
    Kind.UNARCHIVE: (Kind.ARCHIVE, {"archived_at": None}, (2, 2)),
    Kind.SNOOZE: (None, {"snoozed_until": "until"}, (0, 0)),
    Kind.UNSNOOZE: (Kind.SNOOZE, {"snoozed_until": None}, (2, 2)),
}


def prepared(kind: Kind) -> list[UUID]:
    """Two items in the state that the change leads out of."""
    made = deliver(ADA, 2)
    if (before := KINDS[kind][0]) is not None:
        do(before, *made)
    return made


@pytest.mark.parametrize("by", ["ids", "up_to"])
@pytest.mark.parametrize("kind", Kind)
def test_a_change_writes_its_columns_numbers_and_counts(
    kind: Kind, by: str, hinted: list[dict[int, int]]
) -> None:
    made = prepared(kind)
    before, (head, _, _) = [item(id) for id in made], counts(ADA)
    hinted.clear()
    move_clock(5)
    done = do(kind, *made) if by == "ids" else do(kind, up_to=head)
    unread, unseen = KINDS[kind][2]
    assert done == (2, (head + 2, unread, unseen)) and counts(ADA) == done.counts
    assert hinted == [{ADA: head + 2}]
    meant = {SET: clock.now(), "until": soon()}
    for number, (id, was) in enumerate(zip(made, before, strict=True), start=head + 1):
        place = {"sequence": number, "change": 0} if kind is Kind.UNSNOOZE else {"change": number}
        written = {name: meant.get(value, value) for name, value in KINDS[kind][1].items()}
        assert item(id) == was | written | place
    inboxes.assert_books_balance()


@pytest.mark.parametrize("by", ["ids", "up_to"])
@pytest.mark.parametrize("kind", Kind)
def test_again_it_makes_no_difference(kind: Kind, by: str, hinted: list[dict[int, int]]) -> None:
    made = prepared(kind)
    done = do(kind, *made)
    before = everything()
    hinted.clear()
    again = do(kind, *made, *made) if by == "ids" else do(kind, up_to=done.counts.head)
    assert again == (0, done.counts) and everything() == before
    assert hinted == []


@pytest.mark.parametrize("kind", Kind)
def test_up_to_is_by_the_number_an_item_came_with(kind: Kind) -> None:
    first, second = prepared(kind)
    limit = item(first)["sequence"]
    assert do(kind, up_to=limit).changed == 1
    numbered = item(second)
    do("seen", first)  # a change is no new place
    assert do(kind, up_to=limit).changed == 0 and item(second) == numbered
    inboxes.assert_books_balance()


def test_what_is_read_is_seen_and_one_seen_before_stays_as_it_was() -> None:
    (one,) = deliver(ADA)
    do("seen", one)
    seen_at = item(one)["seen_at"]
    move_clock(60)
    do("read", one)
    found = item(one)
    assert (found["seen_at"], found["read_at"]) == (seen_at, clock.now())
    assert seen_at < clock.now()


def test_only_what_differs_takes_a_number() -> None:
    made = deliver(ADA, 4)
    do("read", made[1])
    assert do("read", *made) == (3, (8, 0, 0))
    assert [item(id)["change"] for id in made] == [6, 5, 7, 8]


def test_of_everything_only_what_a_person_sees_there_is_changed() -> None:
    """Not what is archived, snoozed or recalled; to take out of the archive is about what is in it."""
    shown, archived, snoozed, recalled = deliver(ADA, 4)
    do("archive", archived)
    do("snooze", snoozed)
    inbox.recall([recalled])
    assert do("read", up_to=4).changed == 1
    assert [id for id in (shown, archived, snoozed, recalled) if item(id)["read_at"]] == [shown]
    assert do("unarchive", up_to=4).changed == 1 and there(ADA) == [shown, archived]
    inboxes.assert_books_balance()


def test_archived_and_snoozed_items_do_not_count_and_are_changed_by_their_ids() -> None:
    archived, snoozed, _ = deliver(ADA, 3)
    do("archive", archived)
    do("snooze", snoozed)
    assert counts(ADA) == (5, 1, 1)
    assert do("read", archived, snoozed) == (2, (7, 1, 1))
    assert do("unarchive", archived).counts == (8, 1, 1)  # it is read
    assert do("unread", archived).counts == (9, 2, 1)
    inboxes.assert_books_balance()


def test_archived_and_snoozed_are_never_both() -> None:
    (one,) = deliver(ADA)
    do("snooze", one)
    do("archive", one)
    assert item(one)["archived_at"] and not item(one)["snoozed_until"]
    do("snooze", one)
    assert item(one)["snoozed_until"] and not item(one)["archived_at"]
    inboxes.assert_books_balance()


def test_who_has_no_inbox_yet_changes_nothing(hinted: list[dict[int, int]]) -> None:
    assert do("read", up_to=0) == (0, inbox_numbers.NOTHING)
    assert everything() == [] and hinted == []


# --- Refused ---------------------------------------------------------------------------------------------


def refused(wrong: type[Exception], act: Callable[[], object]) -> Any:
    """The error that the act ends with, having written and told nothing."""
    before = everything()
    with pytest.raises(wrong) as caught:
        act()
    assert everything() == before
    return caught.value


@pytest.mark.parametrize("kind", Kind)
def test_another_persons_ids_are_as_unknown_as_those_nobody_has(kind: Kind) -> None:
    mine, (theirs,), nobodys = prepared(kind), deliver(BOB), ids.target_id()
    error = refused(UnknownItems, lambda: do(kind, *mine, theirs, nobodys))
    assert set(error.ids) == {theirs, nobodys}


def test_another_persons_numbers_are_theirs() -> None:
    deliver(ADA)
    (theirs,) = deliver(BOB)
    before = item(theirs)
    assert do("read", up_to=1).changed == 1
    assert item(theirs) == before and counts(BOB) == (1, 1, 1)


def test_a_number_not_given_out_yet_is_refused() -> None:
    deliver(ADA, 2)
    assert refused(SequenceAhead, lambda: do("read", up_to=3)).head == 2
    assert refused(SequenceAhead, lambda: do("read", up_to=1, user=BOB)).head == 0


@pytest.mark.parametrize("kind", Kind)
def test_what_was_recalled_is_known_and_stays_as_it_is(kind: Kind) -> None:
    made = prepared(kind)
    inbox.recall(made)
    before = everything()
    assert do(kind, *made).changed == 0 and everything() == before


# --- Buttons ---------------------------------------------------------------------------------------------


def test_the_first_button_counts_and_the_item_is_read(hinted: list[dict[int, int]]) -> None:
    (one,) = deliver(ADA, actions=ACTIONS)
    assert inbox_changes.act(ADA, one, "no") == (1, (2, 0, 0))
    now, found = clock.now(), item(one)
    assert (found["action"], found["acted_at"], found["read_at"], found["seen_at"]) == ("no", now, now, now)
    assert found["change"] == 2 and hinted == [{ADA: 2}]
    before = everything()
    assert inbox_changes.act(ADA, one, "no") == (0, (2, 0, 0))
    assert everything() == before and hinted == [{ADA: 2}]
    assert refused(AlreadyActed, lambda: inbox_changes.act(ADA, one, "yes")).action == "no"
    inboxes.assert_books_balance()


def test_a_button_that_is_not_there_is_not_pressed() -> None:
    (bare,), (one,), (theirs,) = deliver(ADA), deliver(ADA, actions=ACTIONS), deliver(BOB, actions=ACTIONS)
    refused(NoSuchAction, lambda: inbox_changes.act(ADA, bare, "yes"))
    refused(NoSuchAction, lambda: inbox_changes.act(ADA, one, "maybe"))
    refused(UnknownItems, lambda: inbox_changes.act(ADA, theirs, "yes"))
    refused(UnknownItems, lambda: inbox_changes.act(ADA, ids.target_id(), "yes"))
    inbox.recall([one])
    refused(UnknownItems, lambda: inbox_changes.act(ADA, one, "yes"))


def test_a_button_of_an_archived_item_leaves_it_there() -> None:
    (one,) = deliver(ADA, actions=ACTIONS)
    do("archive", one)
    assert inbox_changes.act(ADA, one, "yes") == (1, (3, 0, 0))
    assert item(one)["archived_at"] and there(ADA) == []
    inboxes.assert_books_balance()


# --- Snoozed ---------------------------------------------------------------------------------------------


def test_a_snoozed_item_comes_back_as_a_new_one(hinted: list[dict[int, int]]) -> None:
    first, second, third = deliver(ADA, 3)
    (his,) = deliver(BOB)
    do("read", first, second)
    do("snooze", first, third)
    do("snooze", his, user=BOB)
    hinted.clear()
    move_clock(3599)
    assert inbox.return_snoozed(100) == 0 and there(ADA) == [second] and hinted == []
    move_clock(3601)
    assert inbox.return_snoozed(100) == 3
    assert there(ADA) == [second, first, third] and there(BOB) == [his]
    for id, number in ((first, 8), (third, 9)):
        found = item(id)
        assert (found["sequence"], found["change"], found["snoozed_until"]) == (number, 0, None)
        assert found["read_at"] is found["seen_at"] is None
    assert (counts(ADA), counts(BOB)) == ((9, 2, 2), (3, 1, 1)) and hinted == [{ADA: 9, BOB: 3}]
    assert inbox.return_snoozed(100) == 0
    inboxes.assert_books_balance()


def test_they_come_back_so_many_at_once_the_first_first() -> None:
    made = deliver(ADA, 5)
    for minutes, id in enumerate(reversed(made), start=1):
        later = clock.now() + timedelta(minutes=minutes)
        inbox_changes.change(ADA, Change(kind=Kind.SNOOZE, ids=[id], until=later))
    move_clock(3600)
    assert [inbox.return_snoozed(2) for _ in range(4)] == [2, 2, 1, 0]
    assert set(there(ADA)[:2]) == {made[4], made[3]} and there(ADA)[4] == made[0]


def test_snoozed_again_it_comes_at_the_later_time() -> None:
    (one,) = deliver(ADA)
    do("snooze", one)
    move_clock(1800)
    assert do("snooze", one).changed == 1
    move_clock(3601)
    assert inbox.return_snoozed(10) == 0
    move_clock(5401)
    assert inbox.return_snoozed(10) == 1


def test_snoozed_again_while_it_comes_back_it_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody is faster, between what is due being read and the inbox being locked."""
    again, due = deliver(ADA, 2)
    do("snooze", again, due)
    move_clock(3601)
    real = inbox_numbers.lock

    def late(people: set[int]) -> Any:
        InboxItem.objects.filter(pk=again).update(snoozed_until=soon())
        return real(people)

    monkeypatch.setattr(inbox_numbers, "lock", late)
    assert inbox.return_snoozed(10) == 2 and there(ADA) == [due]
    assert item(again)["snoozed_until"] == soon() and counts(ADA) == (5, 1, 1)
