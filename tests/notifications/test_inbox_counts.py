"""The counts of inboxes: exact after whatever is done by however many at once, and at a fixed cost."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.notifications import inbox, inbox_changes, inbox_numbers
from apps.notifications.inbox_changes import AlreadyActed, Change, Kind, UnknownItems
from apps.notifications.inbox_models import InboxItem, InboxState
from project import clock, db
from tests.support import inboxes
from tests.support.database import capture, in_threads, move_clock, other_connection, until, waits_for_a_lock
from tests.support.inboxes import ACTIONS, ADA, BOB, counts, deliver, do, item, soon

BEFORE = {Kind.UNREAD: Kind.READ, Kind.UNARCHIVE: Kind.ARCHIVE, Kind.UNSNOOZE: Kind.SNOOZE}
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hinted")]


@pytest.mark.parametrize("count", [1, 300])
@pytest.mark.parametrize("kind", Kind)
def test_a_change_costs_the_same_for_any_number(kind: Kind, count: int) -> None:
    made = deliver(ADA, count, actions=ACTIONS)
    if (before := BEFORE.get(kind)) is not None:
        do(before, *made)
    change = Change(kind=kind, ids=made, until=soon())
    with capture() as found:
        assert inbox_changes.change(ADA, change).changed == count
    assert len(found) == 3, found  # the lock, whether the ids are known, the change
    deliver(ADA, count)
    head, _, _ = counts(ADA)
    with capture() as found:
        do("seen", up_to=head)
    assert len(found) == 2, found


@pytest.mark.parametrize("count", [1, 300])
def test_a_return_costs_the_same_for_any_number(count: int) -> None:
    made = deliver(ADA, count)
    do("snooze", *made)
    move_clock(3601)
    with capture() as found:
        assert inbox.return_snoozed(1000) == count
    assert len(found) == 3, found  # what is due, the locks, the change


def test_a_button_costs_three_statements() -> None:
    (one,) = deliver(ADA, actions=ACTIONS)
    with capture() as found:
        inbox_changes.act(ADA, one, "yes")
    assert len(found) == 3, found


@pytest.mark.django_db(transaction=True)
def test_what_arrives_while_all_is_read_stays_unread() -> None:
    """The delivery has its number, and is not committed yet, when "read all up to 2" begins."""
    deliver(ADA, 2)
    pids: list[int] = []

    def work(number: int) -> None:
        if number:
            with other_connection() as observer, db.one_transaction():
                deliver(ADA)
                until(lambda: pids and waits_for_a_lock(observer, pids[0]))
        else:
            with other_connection() as observer:
                until(lambda: _state_is_locked(observer))
            pids.append(db.rows("SELECT pg_backend_pid()")[0][0])
            assert do("read", up_to=2) == (2, (5, 1, 1))

    in_threads(2, work)
    assert counts(ADA) == (5, 1, 1)
    (late,) = InboxItem.objects.filter(read_at=None)
    assert (late.sequence, late.change) == (3, 0)
    inboxes.assert_books_balance()


def _state_is_locked(observer: Any) -> bool:
    sql = "SELECT 1 FROM notifications_inboxstate WHERE user_id = %s FOR UPDATE SKIP LOCKED"
    free = bool(observer.execute(sql, [ADA]).fetchall())
    observer.rollback()
    return not free


@pytest.mark.django_db(transaction=True)
def test_changes_and_deliveries_at_once_are_counted_right() -> None:
    made = deliver(ADA, 20)
    deliver(BOB, 20)
    kinds = list(Kind)

    def work(number: int) -> int:
        changed = 0
        for turn in range(40):
            kind = kinds[(turn * (number + 1) + number) % len(kinds)]
            if (turn + number) % 4 == 0:
                deliver(ADA if turn % 2 else BOB, 2)
            elif turn % 2:
                changed += do(kind, *made[turn % 20 :: 3]).changed
            else:
                changed += do(kind, up_to=20, user=BOB).changed
        return changed

    before = sum(head for head, _, _ in (counts(ADA), counts(BOB)))
    changed = in_threads(3, work)
    delivered = InboxItem.objects.count() - 40
    assert delivered == 60 and min(changed) > 0
    after = sum(head for head, _, _ in (counts(ADA), counts(BOB)))
    assert after - before == delivered + sum(changed)  # no number twice, none left out
    inboxes.assert_books_balance()


@pytest.mark.django_db(transaction=True)
def test_two_that_press_different_buttons_at_once_have_one_winner() -> None:
    (one,) = deliver(ADA, actions=ACTIONS)

    def press(number: int) -> str:
        try:
            inbox_changes.act(ADA, one, ("yes", "no")[number])
        except AlreadyActed as error:
            return f"lost to {error.action}"
        return "won"

    answers = in_threads(2, press)
    winner = item(one)["action"]
    assert sorted(answers) == [f"lost to {winner}", "won"]
    assert answers[("yes", "no").index(winner)] == "won" and counts(ADA) == (2, 0, 0)


@pytest.mark.django_db(transaction=True)
def test_the_hint_follows_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = deliver(ADA)
    seen: list[tuple[bool, Any]] = []

    def hint(heads: Any) -> None:
        with other_connection() as other:
            found = other.execute("SELECT head FROM notifications_inboxstate").fetchall()
        seen.append((connection.in_atomic_block, found))

    monkeypatch.setattr(inbox, "hint", hint)
    do("read", one)
    assert seen == [(False, [(2,)])]


@pytest.mark.django_db(transaction=True)
def test_a_change_that_does_not_commit_is_told_to_nobody(
    monkeypatch: pytest.MonkeyPatch, hinted: list[dict[int, int]]
) -> None:
    (one,) = deliver(ADA)
    real = inbox_numbers.apply

    def crash(*arguments: Any) -> Any:
        real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(inbox_numbers, "apply", crash)
    with pytest.raises(KeyboardInterrupt):
        do("read", one)
    assert item(one)["read_at"] is None and counts(ADA) == (1, 1, 1) and hinted == []


NUMBERS = st.integers(0, 11)
STEPS = st.one_of(
    st.tuples(st.just("deliver"), st.integers(1, 3)),
    st.tuples(st.just("ids"), st.sampled_from(Kind), st.sets(NUMBERS, min_size=1, max_size=4)),
    st.tuples(st.just("up_to"), st.sampled_from(Kind), st.floats(0, 1)),
    st.tuples(st.just("act"), NUMBERS, st.sampled_from(["yes", "no"])),
    st.tuples(st.just("recall"), NUMBERS),
    st.tuples(st.just("return")),
)


def step(made: list[UUID], what: str, *arguments: Any) -> int:
    """Do it, with some of the items made so far; how many numbers it must have taken."""
    if what == "deliver":
        made += (new := deliver(ADA, *arguments, actions=ACTIONS))
        return len(new)
    if what == "recall":
        return len(inbox.recall([made[arguments[0] % len(made)]])[0])
    if what == "return":
        InboxItem.objects.filter(snoozed_until__isnull=False).update(snoozed_until=clock.now())
        return inbox.return_snoozed(100)
    return changed(made, what, *arguments)


def changed(made: list[UUID], what: str, *arguments: Any) -> int:
    if what == "act":
        with suppress(AlreadyActed, UnknownItems):
            return inbox_changes.act(ADA, made[arguments[0] % len(made)], arguments[1]).changed
        return 0
    kind, which = arguments
    if what == "up_to":
        return do(kind, up_to=int(counts(ADA)[0] * which)).changed
    return do(kind, *{made[number % len(made)] for number in which}).changed


@settings(max_examples=50)
@given(steps=st.lists(STEPS, min_size=5, max_size=25))
def test_whatever_is_done_the_counts_are_those_of_the_table(steps: list[Any]) -> None:
    for model in (InboxItem, InboxState):
        model.objects.all().delete()  # those of the last example
    made = deliver(ADA, 3, actions=ACTIONS)
    for one in steps:
        head, _, _ = counts(ADA)
        assert step(made, *one) == counts(ADA)[0] - head
        inboxes.assert_books_balance()


# --- Counting anew ---------------------------------------------------------------------------------------


def test_wrong_counts_are_mended_and_right_ones_left(capsys: pytest.CaptureFixture[str]) -> None:
    first, *_ = deliver(ADA, 3)
    deliver(BOB, 2)
    do("read", first)
    InboxState.objects.filter(user_id=ADA).update(unread=9, unseen=0)
    call_command("recount_inboxes")
    assert "1 of the counts were wrong" in capsys.readouterr().out
    assert (counts(ADA), counts(BOB)) == ((4, 2, 2), (2, 2, 2))
    call_command("recount_inboxes")
    assert "0 of the counts were wrong" in capsys.readouterr().out
    inboxes.assert_books_balance()


def test_everybody_is_counted_anew_however_many(monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.notifications.management.commands import recount_inboxes

    monkeypatch.setattr(recount_inboxes, "AT_ONCE", 2)
    for user in range(1, 6):
        deliver(user)
    InboxState.objects.update(unread=0)
    call_command("recount_inboxes")
    inboxes.assert_books_balance()


@pytest.mark.django_db(transaction=True)
def test_counting_anew_waits_for_a_change_under_way() -> None:
    """A change that is not committed is neither missed nor counted twice."""
    (one,) = deliver(ADA)
    InboxState.objects.update(unread=5)

    def work(number: int) -> None:
        if number:
            for _ in range(10):
                inbox_changes.recount([ADA])
        else:
            for _ in range(20):
                do("read", one)
                do("unread", one)
                deliver(ADA)

    in_threads(2, work)
    inboxes.assert_books_balance()
