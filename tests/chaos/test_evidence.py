"""What is read of the database: a digest the engine has made, and calls to a person who had something off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

from apps.notifications import holds, inbox, inbox_changes, inbox_numbers
from apps.notifications.inbox_changes import Change, Kind
from apps.notifications.inbox_models import InboxItem
from apps.notifications.models import DeliveryAttempt, NotificationTarget
from apps.notifications.statuses import Status
from project import clock, db, ids
from tests.chaos import evidence, observe
from tests.chaos.checks import CHECKS
from tests.chaos.evidence import Asked, Entry, Evidence, Off, Typed
from tests.support import database, rows, templates

pytestmark = pytest.mark.django_db(transaction=True)
_DROP = """
DROP FUNCTION chaos_note_move, chaos_note_unknown, chaos_note_inbox CASCADE;
DROP TABLE chaos_move, chaos_unknown, chaos_inbox
"""


@pytest.fixture
def watched() -> Iterator[psycopg.Connection[Any]]:
    with database.other_connection() as connection:
        connection.autocommit = True
        observe.install(connection)
        try:
            yield connection
        finally:
            connection.execute(_DROP)


@pytest.fixture
def waiting() -> list[UUID]:
    """Two updates of one person, whose digest's time has come."""
    person = rows.people()[0].pk  # first, as the organization is made with them
    templates.type_of("digest_email", category="digest")
    words = {"email": {"subject": "News", "body": "{{ count }}"}}
    templates.template("digest_email", words, type="digest_email")
    sent = [rows.notification(type="status_update", related_id=f"key-{n}", collapse_key=n) for n in "ab"]
    return [rows.targets(one, Status.HELD, user_id=person, reason="digest")[0] for one in sent]


def read(watched: psycopg.Connection[Any], *offs: Off) -> Evidence:
    return evidence.read_database(watched, Asked({}, {}, {}, [], list(offs)))


def violated(seen: Evidence) -> set[str]:
    """All that does not hold, but for what is not sent and not measured here."""
    found = {one.invariant for check in CHECKS for one in check(seen)}
    return found - {"I1", "I8"}


def test_a_digest_is_no_stranger(watched: psycopg.Connection[Any], waiting: list[UUID]) -> None:
    assert holds.release_due(10) == 2
    seen = read(watched)
    ((id, digest),) = seen.digests.items()
    for one in waiting:
        assert (seen.targets[one].reason, seen.targets[one].merged_into) == ("merged", id)
    notifications = [seen.targets[one].notification for one in waiting]
    assert (digest.size, sorted(digest.listed)) == (2, sorted(notifications))
    assert [seen.typed[one] for one in notifications] == [Typed("status_update", "", key) for key in "ab"]
    assert violated(seen) == set()
    NotificationTarget.objects.filter(id=waiting[0]).update(merged_into=None)
    assert violated(read(watched)) == {"I12"}


def test_inboxes_are_read_with_every_step(watched: psycopg.Connection[Any]) -> None:
    user = rows.people()[0].pk
    note = rows.notification(related_id="key-1")
    made = rows.targets(note, Status.DELIVERED, 3, user_id=user, channel="in_app", lane="in_app.normal")
    inbox.add([inbox.Entry(target, user, note.pk, "", "Title", "Body") for target in made])
    inbox_changes.change(user, Change(kind=Kind.READ, ids=made[:1]))
    with db.one_transaction():
        inbox.recall(made[1:2])
    seen = read(watched)
    assert seen.inboxes.standings == {user: inbox_numbers.counts_of(user)} == {user: (5, 1, 1)}
    assert seen.inboxes.items[user].keys() == {made[0], made[2]}
    assert seen.inboxes.items[user][made[0]].read_at is not None
    steps = [(step.number, step.target, step.recalled) for step in seen.inboxes.steps[user]]
    assert steps == [(1, made[0], False), (2, made[1], False), (3, made[2], False), (4, made[0], False),
                     (5, made[1], True)]  # fmt: skip
    assert seen.inboxes.steps[user][3].item == seen.inboxes.items[user][made[0]]
    assert violated(seen) == set()
    InboxItem.objects.filter(pk=made[2]).update(read_at=clock.now())  # past the numbers and the counts
    assert violated(read(watched)) == {"I13"}


def test_a_call_to_one_who_has_it_off_is_seen(watched: psycopg.Connection[Any], waiting: list[UUID]) -> None:
    target = NotificationTarget.objects.get(id=waiting[0])
    started = clock.now()
    attempt = ids.attempt_id(target.id, 1)
    DeliveryAttempt.objects.create(
        id=attempt, target_id=target.id, number=1, provider="ses", worker="w",
        started_at=started, outcome="accepted",
    )  # fmt: skip
    off = Off(target.user_id, "status_update", "email", started.timestamp() - 1, started.timestamp() + 1)
    for one, wrong in ((off, {"I10"}), (off._replace(channel="sms"), set())):
        seen = read(watched, one)
        seen.ledger[target.id] = [Entry(attempt, started.timestamp(), "ses")]
        assert violated(seen) == wrong
