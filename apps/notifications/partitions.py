"""The months of the attempts' table: made ahead, so that the default partition stays empty."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID

from django.db import connection

AHEAD = 2  # months after the present one
_TABLE = "notifications_deliveryattempt"


def first_id(month: datetime) -> UUID:
    """The smallest UUIDv7 of a time: its milliseconds and nothing else."""
    return UUID(int=int(month.timestamp() * 1_000) << 80)


def months(now: datetime) -> list[datetime]:
    """The beginnings, UTC, of the present month, of those ahead, and of the one after them."""
    count = now.year * 12 + now.month - 1
    return [datetime((count + n) // 12, (count + n) % 12 + 1, 1, tzinfo=UTC) for n in range(AHEAD + 2)]


def ensure(now: datetime) -> list[str]:
    """Make the partitions of this month and the next ones where they are missing; the names of those made."""
    edges = months(now.astimezone(UTC))
    made = []
    with connection.cursor() as cursor:
        for start, end in pairwise(edges):
            name = f"{_TABLE}_{start:%Y%m}"
            cursor.execute("SELECT to_regclass(%s)", [name])
            if cursor.fetchone() == (None,):
                cursor.execute(
                    f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF {_TABLE}"
                    f" FOR VALUES FROM ('{first_id(start)}') TO ('{first_id(end)}')"
                )
                made.append(name)
    return made
