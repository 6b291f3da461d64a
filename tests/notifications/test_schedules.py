"""Schedules as the sweeper sees them: each occurrence once, in time, and what happens when it cannot be."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db import OperationalError

from apps.content.models import NotificationTemplate
from apps.delivery import sweeper
from apps.notifications import intake, schedules
from apps.notifications.caller import Caller
from apps.notifications.models import Notification, NotificationTarget
from apps.notifications.schedule_models import Schedule, ScheduleRun
from apps.notifications.schedule_schemas import read
from apps.users.models import ServiceClient, User
from project import clock, db
from tests.notifications.api_support import everything, template
from tests.support import rows
from tests.support.database import capture, in_threads, move_clock, other_connection

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rung")]
HELLO = {"title": "Hello", "body": "Test", "targets": ["ada"], "channels": ["email"]}
HOURS = 3600


@pytest.fixture
def ada(service: ServiceClient) -> User:
    (person,) = rows.people(external_id="ada")
    return person


@pytest.fixture
def caller(service: ServiceClient, ada: User) -> Caller:
    return Caller(service.organization_id, service.pk, keeps_lane=False)


def hourly(caller: Caller, **fields: Any) -> Schedule:
    """One that began an hour ago, so that its next occurrence is an hour from now at the latest."""
    start = (clock.now() - timedelta(hours=1)).replace(tzinfo=None, microsecond=0)
    given = {"name": "Hourly", "notification": HELLO, "rrule": "FREQ=HOURLY", "timezone": "UTC"}
    reading = read(given | {"starts_at": start.isoformat()} | fields)
    return schedules.create(caller, reading, clock.now())


def again(row: Schedule) -> Schedule:
    return Schedule.objects.get(pk=row.pk)


def runs(row: Schedule) -> list[tuple[datetime, str]]:
    return list(row.runs.order_by("occurrence").values_list("occurrence", "status"))


def go_to(at: datetime) -> None:
    """Set the clock to this moment and a little."""
    move_clock(0)
    move_clock((at - clock.now()).total_seconds() + 0.1)


def due(row: Schedule, later: timedelta = timedelta(0)) -> datetime:
    """Set the clock to its next occurrence, or later; the occurrence."""
    at = again(row).next_at
    assert at is not None
    go_to(at + later)
    return at


def test_it_is_made_in_time_and_once(caller: Caller, rung: list[str], ada: User) -> None:
    row = hourly(caller)
    assert schedules.make_due(10) == 0 and not Notification.objects.exists()
    at = due(row)
    assert schedules.make_due(10) == 1
    note = Notification.objects.get()
    assert (note.title, note.client_id, note.organization_id) == (
        "Hello",
        caller.client_id,
        caller.organization_id,
    )
    target = NotificationTarget.objects.get()
    assert (target.user_id, target.status, target.notification_id) == (ada.pk, "queued", note.pk)
    assert rung == [target.lane]
    run = ScheduleRun.objects.get()
    assert (run.occurrence, run.status, run.notification_id, run.errors) == (at, "made", note.pk, None)
    assert run.wall == at.replace(tzinfo=None).isoformat()
    row = again(row)
    assert (row.next_at, row.last_at) == (at + timedelta(hours=1), at)
    assert row.next_wall == (at + timedelta(hours=1)).replace(tzinfo=None).isoformat()
    assert schedules.make_due(10) == 0 and Notification.objects.count() == 1


def test_not_a_second_before_its_time(caller: Caller) -> None:
    row = hourly(caller)
    assert row.next_at is not None
    go_to(row.next_at - timedelta(seconds=1))
    assert schedules.make_due(10) == 0
    assert runs(row) == []


def test_the_sweeper_makes_several_and_rings(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [hourly(caller) for _ in range(3)]
    at = due(made[-1], timedelta(seconds=1))
    sweeper.sweep()
    assert Notification.objects.count() == 3
    assert all(runs(row) == [(at, "made")] for row in made)


def test_no_more_than_asked_and_the_longest_due_first(caller: Caller) -> None:
    later, sooner = (
        hourly(caller, rrule=None, cron="30 * * * *"),
        hourly(caller, rrule=None, cron="0 * * * *"),
    )
    Schedule.objects.filter(pk=sooner.pk).update(next_at=clock.now() - timedelta(minutes=2))
    Schedule.objects.filter(pk=later.pk).update(next_at=clock.now() - timedelta(minutes=1))
    schedules.make_due(1)
    assert again(sooner).next_at > clock.now() > again(later).next_at


def test_after_its_last_occurrence_it_has_ended(caller: Caller) -> None:
    row = hourly(caller, rrule="FREQ=HOURLY;COUNT=3")
    due(row)
    assert schedules.make_due(10) == 1
    assert (again(row).next_at, again(row).next_wall) == (None, "")
    move_clock(9 * HOURS)
    assert schedules.make_due(10) == 0 and len(runs(row)) == 1


def test_a_paused_one_makes_nothing_and_goes_on_from_when_it_is_resumed(caller: Caller) -> None:
    row = hourly(caller)
    assert schedules.pause([row.pk], paused=True) == 1
    assert schedules.pause([row.pk], paused=True) == 0
    assert again(row).next_at is None and again(row).paused_at is not None
    move_clock(3 * HOURS)
    assert schedules.make_due(10) == 0
    assert schedules.pause([row.pk], paused=False) == 1
    assert schedules.make_due(10) == 0 and runs(row) == []
    assert clock.now() < again(row).next_at <= clock.now() + timedelta(hours=1)


# --- What was missed -------------------------------------------------------------------------------------


def after_downtime(caller: Caller, missed: str, hours: int) -> tuple[Schedule, datetime]:
    """Its occurrences were due 0 to `hours` hours ago, and nothing ran."""
    row = hourly(caller, missed=missed)
    first = due(row, timedelta(hours=hours, minutes=5))
    while schedules.make_due(1):
        pass
    return row, first


def test_once_makes_the_latest_and_tells_of_the_others(caller: Caller) -> None:
    row, first = after_downtime(caller, "once", 3)
    statuses = ["missed", "missed", "missed", "made"]
    assert runs(row) == [(first + timedelta(hours=n), status) for n, status in enumerate(statuses)]
    assert Notification.objects.count() == 1


def test_all_makes_each_in_order_in_a_transaction_of_its_own(caller: Caller) -> None:
    row, first = after_downtime(caller, "all", 3)
    assert runs(row) == [(first + timedelta(hours=n), "made") for n in range(4)]
    made = list(row.runs.order_by("occurrence").values_list("notification_id", "created_at"))
    assert made == sorted(made) and Notification.objects.count() == 4
    assert again(row).next_at == first + timedelta(hours=4)


def test_all_makes_the_latest_hundred_at_most(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "MOST_MISSED", 3)
    row, first = after_downtime(caller, "all", 5)
    assert runs(row) == [(first + timedelta(hours=n), "made") for n in (3, 4, 5)]


def test_skip_makes_none_that_is_late(caller: Caller) -> None:
    row, first = after_downtime(caller, "skip", 1)
    assert runs(row) == [(first, "missed"), (first + timedelta(hours=1), "missed")]
    assert not Notification.objects.exists() and again(row).last_at is None
    at = due(row, schedules.LATE - timedelta(seconds=1))
    assert schedules.make_due(1) == 1
    assert runs(row)[-1] == (at, "made")


def test_years_of_downtime_are_over_soon(caller: Caller) -> None:
    row = hourly(caller, rrule="FREQ=MINUTELY;INTERVAL=5")
    due(row, timedelta(days=400))
    assert schedules.make_due(1) == 1
    assert len(runs(row)) == schedules.MOST_MISSED and Notification.objects.count() == 1


# --- What cannot be made ---------------------------------------------------------------------------------


def failed(row: Schedule) -> dict[str, str]:
    """Make it, which must fail and go on; the fields and codes that are told."""
    at = due(row)
    before = everything()
    assert schedules.make_due(10) == 1
    after = everything()
    assert after.pop("ScheduleRun") == before.pop("ScheduleRun") + 1
    assert after == before
    run = row.runs.get(occurrence=at)
    assert (run.status, run.notification_id) == ("failed", None)
    assert again(row).next_at == at + timedelta(hours=1) and again(row).last_at == at
    return {error["field"]: error["code"] for error in run.errors or ()}


def test_a_user_or_template_that_is_gone(caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    template("hello", email=[])
    targets = ["ada", {"external_id": "new", "email": "new@example.com"}]
    row = hourly(caller, notification={"template": "hello", "targets": targets, "channels": ["email"]})
    User.objects.update(external_id="somebody else")
    NotificationTemplate.objects.filter(slug="hello").update(slug="gone")
    assert failed(row) == {
        "notification.targets[0]": "unknown_user", "notification.template": "unknown_template",
    }  # fmt: skip
    (record,) = [record for record in caplog.records if record.message == "schedule run failed"]
    assert record.levelname == "WARNING" and record.schedule == row.pk
    assert record.codes == ["unknown_template", "unknown_user"]
    assert "example.com" not in caplog.text
    rows.people(external_id="ada")
    template("hello", email=[])
    due(row)
    schedules.make_due(1)
    assert [status for _, status in runs(row)] == ["failed", "made"]


def test_a_service_that_is_deactivated(caller: Caller) -> None:
    row = hourly(caller)
    ServiceClient.objects.update(is_active=False)
    assert failed(row) == {"client": "inactive_client"}


def test_what_nobody_foresaw_does_not_stop_the_others(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = hourly(caller, notification=HELLO | {"title": "bad"}), hourly(caller)
    accept = intake.accept

    def broken(orders: Any, now: datetime) -> Any:
        made = accept(orders, now)
        if orders[0][0].title == "bad":
            db.execute("SELECT 1 / 0")  # and the transaction with it, but for the savepoint
        return made

    monkeypatch.setattr(intake, "accept", broken)
    at = due(good)
    assert schedules.make_due(10) == 2
    assert runs(bad) == [(at, "failed")] and runs(good) == [(at, "made")]
    assert bad.runs.get().errors[0]["code"] == "internal_error"
    assert list(Notification.objects.values_list("title", flat=True)) == ["Hello"]
    assert schedules.make_due(10) == 0
    assert "schedule run failed" in caplog.messages


def test_a_rule_that_can_be_read_no_longer_stops(caller: Caller) -> None:
    row, good = hourly(caller), hourly(caller)
    Schedule.objects.filter(pk=row.pk).update(timezone="Mars/Olympus")
    due(good)
    assert schedules.make_due(10) == 2
    assert again(row).next_at is None and runs(row) == []
    assert len(runs(good)) == 1


def test_a_database_that_is_away_is_tried_again(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    row = hourly(caller)

    def away(*_: Any) -> Any:
        raise OperationalError("gone")

    due(row)
    with monkeypatch.context() as patch:
        patch.setattr(schedules, "resolve", away)
        with pytest.raises(OperationalError):
            schedules.make_due(10)
    assert runs(row) == []
    schedules.make_due(10)
    assert [status for _, status in runs(row)] == ["made"]


def test_an_occurrence_that_was_made_is_not_made_again(caller: Caller) -> None:
    """Should the clock of a new primary be behind that of the old one, say."""
    row = hourly(caller)
    at = due(row)
    schedules.make_due(10)
    Schedule.objects.filter(pk=row.pk).update(next_at=at)
    assert schedules.make_due(10) == 1
    assert runs(row) == [(at, "made")] and Notification.objects.count() == 1
    assert again(row).next_at == at + timedelta(hours=1)


# --- Where each person is --------------------------------------------------------------------------------


def test_each_persons_own_time(caller: Caller) -> None:
    User.objects.update(timezone="Pacific/Kiritimati")
    rows.people(external_id="bob", timezone="America/New_York")
    body = HELLO | {"targets": ["ada", "bob"]}
    row = hourly(
        caller, timezone="recipient", rrule="FREQ=DAILY;BYHOUR=9;BYMINUTE=0;BYSECOND=0", notification=body
    )
    at = due(row)
    schedules.make_due(10)
    assert Notification.objects.get().local_time == row.next_wall
    status = dict(NotificationTarget.objects.values_list("user__external_id", "status"))
    assert status == {"ada": "queued", "bob": "held"}
    bob = NotificationTarget.objects.get(user__external_id="bob")
    assert timedelta(hours=18) <= bob.held_until - at <= timedelta(hours=19)


def test_it_is_due_when_the_first_on_earth_get_there(caller: Caller) -> None:
    row = hourly(caller, timezone="recipient", cron="0 9 * * *", rrule=None)
    assert row.next_at.hour == 19 and row.next_wall.endswith("T09:00:00")
    wall = datetime.fromisoformat(row.next_wall)
    assert row.next_at.replace(tzinfo=None) == wall - timedelta(hours=14)


# --- Several sweepers ------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_two_sweepers_make_each_once_and_wait_for_nobody(caller: Caller) -> None:
    made = [hourly(caller) for _ in range(12)]
    offset = 61 * 60

    def work(_: int) -> int:
        move_clock(offset)
        found = 0
        while schedules.make_due(1):
            found += 1
        return found

    with other_connection() as other:
        other.execute("SELECT 1 FROM notifications_schedule WHERE id = %s FOR UPDATE", [made[0].pk])
        assert sum(in_threads(3, work)) == 11
        assert runs(made[0]) == []
    work(0)
    assert Notification.objects.count() == 12
    assert all(len(runs(row)) == 1 for row in made)


def test_how_many_statements_it_takes(caller: Caller) -> None:
    row = hourly(caller)
    with capture() as idle:
        schedules.make_due(1)
    assert len(idle) == 2  # the time, and nothing due
    due(row)
    with capture() as busy:
        schedules.make_due(1)
    assert len(busy) <= 12, busy


def test_they_are_found_by_their_index(caller: Caller) -> None:
    found = Schedule.objects.filter(next_at__lte=clock.now()).order_by("next_at", "id")[:1]
    assert "schedule_due" in found.explain()


def test_occurrences_to_come_are_five_and_in_order(caller: Caller) -> None:
    row = hourly(caller, excluded=[])
    found = schedules.coming(row)
    assert len(found) == 5 and found[0].at == row.next_at
    assert all(later.at - earlier.at == timedelta(hours=1) for earlier, later in pairwise(found))
