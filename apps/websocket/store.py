"""What the relay reads, for many people at once: a broadcast costs a few queries, not one per socket."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import orjson
from django.db import connection

PAGE = 100  # items of one person in one read

# A person who is deactivated, or gone, has no row here.
_HEADS = """
SELECT u.id, coalesce(s.head, 0)
FROM unnest(%s::bigint[]) AS wanted(id)
JOIN users_user u ON u.id = wanted.id AND u.is_active
LEFT JOIN notifications_inboxstate s ON s.user_id = u.id
"""

_ITEMS = f"""
SELECT place.number, item.*
FROM unnest(%s::bigint[], %s::bigint[]) WITH ORDINALITY AS place(user_id, last, number)
CROSS JOIN LATERAL (
    SELECT i.sequence, i.target_id, i.notification_id, i.title, i.body, i.link, i.actions::text, i.created_at
    FROM notifications_inboxitem i
    WHERE i.user_id = place.user_id AND i.sequence > place.last
    ORDER BY i.sequence
    LIMIT {PAGE}
) AS item
ORDER BY place.number, item.sequence
"""


class Item(NamedTuple):
    """One in-app notification, under the names the frames give its fields."""

    sequence: int
    id: UUID
    notification_id: UUID
    title: str
    body: str
    link: str
    actions: str | None  # JSON
    created_at: datetime

    def frame(self) -> str:
        frame = {"type": "notification", **self._asdict(), "actions": orjson.Fragment(self.actions or "[]")}
        return orjson.dumps(frame, option=orjson.OPT_UTC_Z).decode()


def heads_of(user_ids: Sequence[int]) -> dict[int, int]:
    """The last sequence of each active person among these."""
    with connection.cursor() as cursor:
        cursor.execute(_HEADS, [list(user_ids)])
        return dict(cursor.fetchall())


def items_after(places: Sequence[tuple[int, int]]) -> list[list[Item]]:
    """For each (user id, last sequence sent) the next items in order, `PAGE` at most."""
    pages: list[list[Item]] = [[] for _ in places]
    with connection.cursor() as cursor:
        cursor.execute(_ITEMS, [[user for user, _ in places], [last for _, last in places]])
        for number, *item in cursor.fetchall():
            pages[number - 1].append(Item(*item))
    return pages
