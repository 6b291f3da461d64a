"""Big audiences: planned chunk by chunk, each person once, whoever crashes and however many plan."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

import pytest

from apps.notifications import audiences, intake, planning
from apps.notifications.intake import Order
from apps.notifications.models import AudienceChunk, Notification, NotificationSummary, NotificationTarget
from project import db, queues
from tests.support import rows
from tests.support.database import in_threads, other_connection

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def rung(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The bells rung, instead of ringing them."""
    heard: list[tuple[str, ...]] = []
    monkeypatch.setattr(queues, "ring", lambda *lanes: heard.append(lanes))
    return heard


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "CHUNK", 10)


def asked(user_ids: list[int], **fields: Any) -> UUID:
    order = Order(**({"organization_id": 1, "channels": ["email"], "title": "Hello"} | fields))
    return intake.accept_audience(order, user_ids)


def people(count: int, **fields: Any) -> list[int]:
    return [user.pk for user in rows.people(count, **fields)]


def plan_all() -> int:
    chunks = 0
    while audiences.plan_chunk():
        chunks += 1
    return chunks


def reached() -> list[int]:
    return sorted(NotificationTarget.objects.values_list("user_id", flat=True))


def test_accepting_writes_the_chunks_and_plans_nothing_yet(rung) -> None:
    id = asked(people(25))
    assert Notification.objects.get().pk == id
    assert Notification.objects.get().recipient_count == 25
    sizes = [len(chunk.user_ids) for chunk in AudienceChunk.objects.order_by("id")]
    assert (sizes, reached(), rung) == ([10, 10, 5], [], [("planning",)])


def test_every_person_is_planned_once_and_the_chunks_are_gone() -> None:
    ids = people(25)
    asked(ids)
    assert plan_all() == 3
    assert reached() == ids and not AudienceChunk.objects.exists()


def test_whoever_is_named_twice_gets_it_once() -> None:
    ids = people(3)
    asked(ids + ids)
    plan_all()
    assert reached() == ids and Notification.objects.get().recipient_count == 3


def test_an_audience_of_nobody_is_done_at_once() -> None:
    people(0)
    asked([])
    assert audiences.plan_chunk() is False


@pytest.mark.parametrize("count", [100, 101])
def test_from_101_targets_on_the_summary_is_kept_and_right(count: int) -> None:
    asked(people(count))
    plan_all()
    assert NotificationSummary.objects.count() == (count > 100)
    assert [summary.planned for summary in NotificationSummary.objects.all()] == [101] * (count > 100)
    rows.assert_books_balance()


def test_people_of_another_organization_and_people_who_are_gone_get_nothing() -> None:
    ids = people(2)
    from apps.users.models import Organization

    other = Organization.objects.create(name="Other")
    asked(ids + people(1, organization=other) + [10**12])
    plan_all()
    assert reached() == ids


def test_the_bells_of_the_lanes_follow_and_of_planning_while_there_is_more(rung) -> None:
    asked(people(15), channels=["email", "in_app"])
    rung.clear()
    plan_all()
    assert [sorted(lanes) for lanes in rung] == [
        ["email.normal", "in_app.normal", "planning"],
        ["email.normal", "in_app.normal"],
    ]


def test_nothing_is_rung_for_a_chunk_that_waits_for_its_time(rung) -> None:
    from datetime import timedelta

    from project import clock

    asked(people(3), scheduled_at=clock.now() + timedelta(hours=1))
    rung.clear()
    plan_all()
    assert rung == [()]


def test_a_big_audience_goes_by_the_bulk_lane_as_a_whole() -> None:
    ids = people(12)
    asked(ids + list(range(10**9, 10**9 + 990)))
    plan_all()
    assert set(NotificationTarget.objects.values_list("lane", flat=True)) == {"email.bulk"}


@pytest.mark.django_db(transaction=True)
def test_a_crash_in_the_middle_of_a_chunk_leaves_it_to_the_next(monkeypatch) -> None:
    ids = people(25)
    asked(ids)
    audiences.plan_chunk()
    real = planning.plan

    def crash(*arguments: Any, **options: Any) -> Any:
        real(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(planning, "plan", crash)
    with pytest.raises(KeyboardInterrupt):
        audiences.plan_chunk()
    assert len(reached()) == 10 and AudienceChunk.objects.count() == 2
    monkeypatch.setattr(planning, "plan", real)
    assert plan_all() == 2
    assert reached() == ids


@pytest.mark.django_db(transaction=True)
def test_a_chunk_in_another_planners_hands_keeps_nobody_from_the_next() -> None:
    ids = people(20)
    asked(ids)
    with other_connection() as other:
        other.execute("SELECT 1 FROM notifications_audiencechunk ORDER BY id LIMIT 1 FOR UPDATE")
        db.execute("SET lock_timeout = '300ms'")
        assert audiences.plan_chunk() is True
        assert audiences.plan_chunk() is False
        assert reached() == ids[10:]
        other.rollback()
    assert plan_all() == 1
    assert reached() == ids


@pytest.mark.django_db(transaction=True)
def test_several_planners_share_an_audience() -> None:
    ids = people(150)
    asked(ids)

    def plan(number: int) -> int:
        done = idle = 0
        while idle < 3:
            found = audiences.plan_chunk()
            done += found
            idle = 0 if found else idle + 1
        return done

    shares = in_threads(3, plan)
    assert sum(shares) == 15
    assert Counter(reached()) == Counter(ids)
    rows.assert_books_balance()
    assert NotificationSummary.objects.get().planned == 150


def test_a_chunk_that_cannot_be_planned_does_not_hold_up_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = (asked(people(1)) for _ in range(2))
    real = audiences._plan

    def plan(notification_id: UUID, user_ids: list[int]) -> set[str]:
        if notification_id == bad:
            raise ValueError("nobody foresaw this")
        return real(notification_id, user_ids)

    monkeypatch.setattr(audiences, "_plan", plan)

    with pytest.raises(ValueError, match="nobody foresaw this"):
        audiences.plan_chunk()
    assert audiences.plan_chunk()
    assert [chunk.notification_id for chunk in AudienceChunk.objects.all()] == [bad]
    assert NotificationTarget.objects.get().notification_id == good
