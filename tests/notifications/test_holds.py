"""What is held is released at its time: not before, not twice, and not when it is too late."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection

from apps.notifications import holds, transitions
from apps.notifications.statuses import Status
from apps.notifications.transitions import Redecided
from project import clock
from tests.support import rows
from tests.support.database import in_threads, move_clock, other_connection

pytestmark = pytest.mark.django_db


def test_it_is_released_to_the_second_and_becomes_due_then() -> None:
    at = clock.now() + timedelta(hours=3)
    (target,) = rows.targets(rows.notification(kept=True), Status.HELD, held_until=at)
    move_clock(3 * 3600 - 1)
    assert holds.release_due(10) == 0
    assert rows.statuses([target]) == ["held"]
    move_clock(3 * 3600)
    assert holds.release_due(10) == 1
    row = rows.row(target)
    assert (row["status"], row["reason"], row["held_until"]) == ("queued", "", None)
    assert row["next_attempt_at"] == at
    rows.assert_books_balance()
    rows.assert_shapes_hold()


def test_what_is_too_late_by_then_expires_instead() -> None:
    note, now = rows.notification(kept=True), clock.now()
    (late,) = rows.targets(note, Status.HELD, held_until=now, expires_at=now)
    (in_time,) = rows.targets(note, Status.HELD, held_until=now, expires_at=now + timedelta(seconds=1))
    assert holds.release_due(10) == 2
    assert rows.statuses([late, in_time]) == ["expired", "queued"]
    rows.assert_books_balance()


def test_those_that_waited_longest_are_released_first_and_no_more_than_asked() -> None:
    note, now = rows.notification(), clock.now()
    third, first, second = (  # each of another person
        rows.targets(note, Status.HELD, held_until=now - timedelta(minutes=minutes))[0]
        for minutes in (1, 3, 2)
    )
    assert holds.release_due(2) == 2
    assert rows.statuses([first, second, third]) == ["queued", "queued", "held"]
    assert holds.release_due(2) == 1
    assert holds.release_due(2) == 0


def test_a_hold_put_off_waits_for_its_new_time() -> None:
    (target,) = rows.targets(rows.notification(), Status.HELD)
    later = Redecided(target, Status.HELD, "quiet_hours", clock.now() + timedelta(minutes=1))
    transitions.redecide([later])
    assert holds.release_due(10) == 0
    move_clock(60)
    assert holds.release_due(10) == 1
    assert rows.statuses([target]) == ["queued"]


@pytest.mark.django_db(transaction=True)
def test_two_at_once_release_each_once_and_wait_for_nobody() -> None:
    ids = rows.targets(rows.notification(kept=True), Status.HELD, 60)

    def release(number: int) -> int:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '200ms'")
        released = 0
        while count := holds.release_due(7):
            released += count
        return released

    with other_connection() as other:
        other.execute(
            "SELECT 1 FROM notifications_notificationtarget WHERE id = ANY(%s) ORDER BY id FOR UPDATE",
            [ids[:5]],
        )
        assert sum(in_threads(2, release)) == 55
        other.rollback()
    assert release(0) == 5
    assert set(rows.statuses(ids)) == {"queued"}
    rows.assert_books_balance()
