"""How often a version is used: each notification counted once, and none that may still be on its way."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from apps.content.models import TemplateUse, TemplateVersion
from apps.delivery import sweeper
from apps.notifications import usage
from apps.notifications.models import Notification, UseCursor
from apps.notifications.usage import EVERY, HORIZON, count_uses
from project import clock, ids
from tests.support import rows
from tests.support.database import Prepared, capture, in_threads, move_clock
from tests.support.templates import template

pytestmark = pytest.mark.django_db
LATER = HORIZON + EVERY + 1


@pytest.fixture(autouse=True)
def from_the_first_on() -> None:
    UseCursor.objects.update_or_create(defaults={"last": UUID(int=0)})


def version(slug: str = "news") -> TemplateVersion:
    return template(slug, {"sms": {"body": "x"}})


def used(of: TemplateVersion | None, count: int = 1, **fields: Any) -> list[Notification]:
    return [rows.notification(template_version=of.pk if of else None, **fields) for _ in range(count)]


def uses() -> dict[int, int]:
    return dict(TemplateUse.objects.values_list("version_id", "count"))


def test_each_is_counted_once_under_its_version() -> None:
    one, two = version("one"), version("two")
    used(one, 3)
    used(two)
    used(None, 2)
    move_clock(LATER)
    assert count_uses(100) == 6
    assert uses() == {one.pk: 3, two.pk: 1}
    assert count_uses(100) == 0
    move_clock(2 * LATER)
    assert count_uses(100) == 0
    assert uses() == {one.pk: 3, two.pk: 1}


def test_a_draft_that_was_tried_and_discarded_stops_nothing() -> None:
    news = version()
    draft = TemplateVersion.objects.create(template=news.template, number=2)
    used(draft)
    used(news)
    draft.delete()
    move_clock(LATER)
    assert count_uses(100) == 2
    assert uses() == {news.pk: 1}


def test_later_ones_are_added() -> None:
    news = version()
    first = max(used(news, 2), key=lambda one: one.pk)
    move_clock(LATER)
    count_uses(100)
    assert uses() == {news.pk: 2}
    UseCursor.objects.update(last=first.pk)  # the clock was moved, the ids are of the real time
    (last,) = used(news, id=UUID(int=first.pk.int + 1))
    move_clock(2 * LATER)
    assert count_uses(100) == 1
    assert uses() == {news.pk: 3}
    last.refresh_from_db()
    assert TemplateUse.objects.get().last_at == last.created_at


def test_what_may_still_be_on_its_way_waits() -> None:
    news = version()
    used(news)
    assert count_uses(100) == 0  # it is time, but they are younger than the horizon
    move_clock(HORIZON - 30)
    assert count_uses(100) == 0
    assert uses() == {}
    move_clock(2 * HORIZON + EVERY)
    assert count_uses(100) == 1
    assert uses() == {news.pk: 1}


def test_once_a_minute() -> None:
    move_clock(LATER)
    assert count_uses(100) == 0
    place = UseCursor.objects.get().last
    assert abs(ids.time_of(place) - (clock.now() - timedelta(seconds=HORIZON))) < timedelta(seconds=1)
    move_clock(LATER + EVERY - 5)
    count_uses(100)
    assert UseCursor.objects.get().last == place
    move_clock(LATER + EVERY + 1)
    count_uses(100)
    assert UseCursor.objects.get().last > place


def test_so_many_at_once() -> None:
    news = version()
    used(news, 5)
    move_clock(LATER)
    assert [count_uses(2), count_uses(2), count_uses(2), count_uses(2)] == [2, 2, 1, 0]
    assert uses() == {news.pk: 5}


def test_of_as_many_as_there_are_none_is_counted_twice() -> None:
    news = version()
    used(news, 4)
    move_clock(LATER)
    assert [count_uses(2), count_uses(2), count_uses(2)] == [2, 2, 0]
    assert uses() == {news.pk: 4}


@pytest.mark.parametrize("count", [0, 3, 60])
def test_two_statements_and_one_if_it_is_not_time(count: int) -> None:
    for number in range(count):
        used(version(f"t{number}"), 2)
    move_clock(LATER)
    with capture() as statements:
        assert count_uses(1_000) == 2 * count
    assert len(statements) == 2
    with capture() as statements:
        assert count_uses(1_000) == 0
    assert len(statements) == 1


def test_the_sweeper_does_it() -> None:
    news = version()
    used(news, 3)
    move_clock(LATER)
    sweeper.sweep()
    assert uses() == {news.pk: 3}


def test_it_goes_by_the_primary_key() -> None:
    used(version(), 20)
    asked = {"last": UUID(int=0), "until": ids.uuid7(), "limit": 1_000}
    nodes = Prepared("uses", usage._COUNT, asked).nodes()
    (scan,) = (node for node in nodes if node.get("Relation Name") == "notifications_notification")
    assert (scan["Node Type"], scan["Index Name"]) == ("Index Scan", "notifications_notification_pkey")
    assert scan["Index Cond"].count("id") >= 2  # from where, and until where
    versions = [node for node in nodes if node.get("Relation Name") == "content_templateversion"]
    assert {node["Index Name"] for node in versions} == {"content_templateversion_pkey"}


@pytest.mark.django_db(transaction=True)
def test_sweepers_at_once_count_once() -> None:
    rows.people()  # and their organization, which a test before may have flushed
    news = version()
    used(news, 50)

    def work(number: int) -> int:
        move_clock(LATER)
        return sum(count_uses(10) for _ in range(8))

    counted = in_threads(4, work)
    move_clock(LATER)
    while count := count_uses(10):
        counted.append(count)
    assert sum(counted) == 50
    assert uses() == {news.pk: 50}
