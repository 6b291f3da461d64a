from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from apps.notifications import partitions
from project import db, ids


def test_months_go_on_over_the_end_of_the_year() -> None:
    names = [f"{month:%Y-%m}" for month in partitions.months(datetime(2026, 11, 30, 23, 59, tzinfo=UTC))]

    assert names == ["2026-11", "2026-12", "2027-01", "2027-02"]


@pytest.mark.django_db
def test_the_migration_made_this_month_and_the_next_two() -> None:
    assert partitions.ensure(datetime.now(UTC)) == []


@pytest.mark.django_db
def test_what_is_missing_is_made_once() -> None:
    later = datetime(2031, 6, 15, tzinfo=UTC)

    assert partitions.ensure(later) == [f"notifications_deliveryattempt_20310{month}" for month in (6, 7, 8)]
    assert partitions.ensure(later) == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("moment", "partition"),
    [
        (datetime(2031, 6, 1, tzinfo=UTC), "203106"),
        (datetime(2031, 6, 30, 23, 59, 59, 999000, tzinfo=UTC), "203106"),
        (datetime(2031, 7, 1, tzinfo=UTC), "203107"),
        (datetime(2001, 1, 1, tzinfo=UTC), "default"),
    ],
)
def test_an_attempt_lies_in_the_month_its_target_was_made_in(moment: datetime, partition: str) -> None:
    partitions.ensure(datetime(2031, 6, 15, tzinfo=UTC))
    target = UUID(int=partitions.first_id(moment).int | 7 << 76 | 2 << 62)

    ((table,),) = db.rows(_INSERT, [ids.attempt_id(target, 1), target])

    assert table == f"notifications_deliveryattempt_{partition}"


_INSERT = """
INSERT INTO notifications_deliveryattempt
    (id, target_id, number, provider, worker, started_at, outcome, code, provider_message_id)
VALUES (%s, %s, 1, 'p', 'w', now(), 'accepted', '', '') RETURNING tableoid::regclass::text
"""
