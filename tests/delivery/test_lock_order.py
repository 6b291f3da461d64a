"""Every write of several rows locks them in the order of their ids: in any other, two of them deadlock.

While the first row is held elsewhere, a write that waits for it must not hold the second one yet.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest
from django.db import connection, transaction

from apps.delivery import claims, receipts, settling
from apps.integrations.contract import Accepted, ReceiptEvent, ReceiptKind
from apps.notifications import cancelling, inbox, inbox_changes, transitions
from apps.notifications.inbox_changes import Change, Kind
from apps.notifications.models import InboxState, NotificationTarget
from apps.notifications.statuses import Status
from apps.notifications.transitions import Due, Settled
from apps.preferences import suppression
from apps.preferences.suppression import Cause, Fact
from project import clock, db, ids
from tests.support import inboxes, rows
from tests.support.database import move_clock, other_connection
from tests.support.rows import CLAIM, LANE

pytestmark = pytest.mark.django_db(transaction=True)

TARGET = "SELECT 1 FROM notifications_notificationtarget WHERE id = %s FOR UPDATE"
SUMMARY = "SELECT 1 FROM notifications_notificationsummary WHERE notification_id = %s FOR UPDATE"
STATE = "SELECT 1 FROM notifications_inboxstate WHERE user_id = %s FOR UPDATE"
_WAITING = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"


def free_while_waiting(
    act: Callable[[], object], lock: str, first: object, second: object, *, then: str | None = None
) -> bool:
    """Whether the second row can be locked while the act waits for the first, held by somebody else.

    then: how to lock the second, if it is of another table.
    """
    pids: list[int] = []

    def run() -> None:
        ((pid,),) = db.rows("SELECT pg_backend_pid()")
        pids.append(pid)
        with db.one_transaction():
            act()
        connection.close()

    with other_connection() as holder, other_connection() as prober:
        prober.autocommit = True
        holder.execute(lock, [first])
        thread = threading.Thread(target=run)
        thread.start()
        deadline = time.monotonic() + 10
        while not (pids and prober.execute(_WAITING, [pids[0]]).fetchall()):
            assert time.monotonic() < deadline, "it does not wait for the first row"
        try:
            prober.execute(f"{then or lock} NOWAIT", [second])
            free = True
        except psycopg.errors.LockNotAvailable:
            free = False
        holder.rollback()
    thread.join(10)
    return free


def settled(ids: list[UUID]) -> object:
    return transitions.settle(CLAIM, [Settled(id, Status.SENT, "", None, 1) for id in ids])


def delivered(ids: list[UUID]) -> object:
    return transitions.deliver_in_app([(id, Status.DELIVERED, "") for id in ids])


def cancelled(ids: list[UUID]) -> object:
    """As a page of a cancellation, read in whatever order."""
    page = sorted(cancelling._stands(cancelling._WHERE, [ids]), reverse=True)
    return cancelling._stop(UUID(int=0), cancelling._locked(page))


def reported(targets: list[UUID]) -> None:
    """Receipts that prove different things, in the order of the targets."""
    kinds = (ReceiptKind.BOUNCED, ReceiptKind.DELIVERED)
    for kind, target in zip(kinds * len(targets), targets, strict=False):
        attempt = ids.attempt_id(target, 1)
        receipts.store("p", [ReceiptEvent(event_id=str(attempt), kind=kind, attempt=attempt)])
    receipts._apply([receipts.Told(*row) for row in db.rows(receipts._TAKE, [500])])


ACTS: dict[str, tuple[Status, Callable[[list[UUID]], object]]] = {
    "settle": (Status.SENDING, settled),
    "deliver in-app": (Status.QUEUED, delivered),
    "give back": (Status.SENDING, lambda ids: transitions.give_back(ids, CLAIM)),
    "cancel": (Status.QUEUED, transitions.cancel),
    "cancel a notification": (Status.QUEUED, cancelled),
    "receipts": (Status.SENT, reported),
    "accept": (Status.DEAD, lambda ids: transitions.prove(accepted=ids)),
}


@pytest.mark.parametrize("name", ACTS)
def test_targets_are_locked_in_the_order_of_their_ids(name: str) -> None:
    status, act = ACTS[name]
    first, *_, last = rows.targets(rows.notification(), status, 5)
    backwards = [last, first]
    assert free_while_waiting(lambda: act(backwards), TARGET, first, last)


@pytest.mark.parametrize("name", [name for name in ACTS if name != "give back"])
def test_summaries_are_locked_in_the_order_of_their_notifications(name: str) -> None:
    status, act = ACTS[name]
    first, second = sorted((rows.notification(kept=True) for _ in range(2)), key=lambda note: note.pk)
    ids = rows.targets(second, status, 2) + rows.targets(first, status, 2)
    assert free_while_waiting(lambda: act(ids), SUMMARY, first.pk, second.pk)


@pytest.mark.parametrize("name", [name for name in ACTS if name != "give back"])
def test_summaries_are_locked_after_every_target(name: str) -> None:
    status, act = ACTS[name]
    note = rows.notification(kept=True)
    ids = rows.targets(note, status, 3)
    assert free_while_waiting(lambda: act(ids), TARGET, ids[-1], note.pk, then=SUMMARY)


def test_inbox_states_are_locked_in_the_order_of_their_people() -> None:
    for user in (1, 2):
        InboxState.objects.create(user_id=user, head=0)
    note = rows.notification().pk
    items = [
        inbox.Entry(id, user, note, "", "t", "b")
        for user, id in zip((2, 1), rows.targets(rows.notification(), count=2), strict=True)
    ]
    assert free_while_waiting(lambda: inbox.add(items), STATE, 1, 2)


def test_a_recall_locks_inbox_states_in_the_order_of_their_people() -> None:
    (hers,), (his,) = inboxes.deliver(2), inboxes.deliver(1)
    assert free_while_waiting(lambda: inbox.recall([hers, his]), STATE, 1, 2)


def test_snoozed_items_that_come_back_lock_inbox_states_in_the_order_of_their_people(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inbox, "hint", lambda heads: None)
    for minutes, user in ((1, 2), (2, 1)):  # the second person's is due first
        until = clock.now() + timedelta(minutes=minutes)
        inbox_changes.change(user, Change(kind=Kind.SNOOZE, ids=inboxes.deliver(user), until=until))
    monkeypatch.setattr(db, "one_transaction", transaction.atomic)  # it is within the test's

    def come_back() -> None:
        move_clock(300)
        assert inbox.return_snoozed(10) == 2

    assert free_while_waiting(come_back, STATE, 1, 2)
    assert inboxes.there(1) and inboxes.there(2)


def test_a_settle_of_a_claim_locks_in_order_whatever_order_its_outcomes_came_in() -> None:
    ids = rows.targets(rows.notification(), Status.QUEUED, 4)
    claim = claims.take(LANE, "scripted", 10)
    assert claim is not None
    targets = sorted(claim.targets, key=lambda target: target.id, reverse=True)
    ended = [settling.Ended(target, Accepted(), clock.now()) for target in targets]
    assert free_while_waiting(lambda: settling.settle(claim, ended), TARGET, ids[0], ids[-1])


def test_a_claim_locks_the_summaries_of_all_it_drops_in_order_whatever_the_reasons() -> None:
    """A statement for each reason would take their summaries as the reasons come."""
    notes = sorted((rows.notification(kept=True) for _ in range(3)), key=lambda note: note.pk)
    rows.targets(notes[0], expires_at=clock.now())
    rows.targets(notes[1], cancel_asked_at=clock.now())
    rows.targets(notes[2], address="gone@example.com")
    suppression.suppress([Fact(None, "email", "gone@example.com", Cause.BOUNCED)])

    def drop() -> object:
        found = transitions.claim(Due(LANE, 10), CLAIM)
        return claims._without_dropped(CLAIM, LANE, found, suppressed=claims._suppressed(LANE, found))

    assert free_while_waiting(drop, SUMMARY, notes[0].pk, notes[2].pk)
    assert not NotificationTarget.objects.filter(status="sending").exists()
