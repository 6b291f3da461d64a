"""What the relay reads, for many people at once: a broadcast costs a few queries, not one per socket."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from apps.notifications.inbox_numbers import Counts
from project import db

PAGE = 100  # events of one person in one read
MOST_BEHIND = 1_000  # numbers: who is further behind reads the list anew

# A person who is deactivated, or gone, has no row here.
_COUNTS = """
SELECT u.id, coalesce(s.head, 0), coalesce(s.unread, 0), coalesce(s.unseen, 0)
FROM unnest(%b::bigint[]) AS wanted(id)
JOIN users_user u ON u.id = wanted.id AND u.is_active
LEFT JOIN notifications_inboxstate s ON s.user_id = u.id
"""

_COLUMNS = """
    i.sequence, i.target_id, i.notification_id, i.type, i.title, i.body, i.link, i.avatar, i.actions::text,
    i.created_at, i.seen_at, i.read_at, i.archived_at, i.snoozed_until, nullif(i.action, ''), i.acted_at,
    i.recalled_at IS NOT NULL
"""
# An item is told of by the number it came with and, if it was changed since, by that of its change: each
# half walks the index of one. By the later one alone, a client that is cut off in between would go on from
# a number at which it lacks the item. What is known to be too far behind walks neither.
_EVENTS = f"""
SELECT place.ordinal, coalesce(s.head, 0), coalesce(s.unread, 0), coalesce(s.unseen, 0), item.*
FROM unnest(%b::bigint[], %b::bigint[]) WITH ORDINALITY AS place(user_id, last, ordinal)
LEFT JOIN notifications_inboxstate s ON s.user_id = place.user_id
LEFT JOIN LATERAL (
    (SELECT i.sequence AS number, {_COLUMNS}
     FROM notifications_inboxitem i
     WHERE i.user_id = place.user_id AND i.sequence > place.last AND i.recalled_at IS NULL
       AND s.head - place.last <= {MOST_BEHIND}
     ORDER BY i.sequence LIMIT {PAGE})
    UNION ALL
    (SELECT i.change AS number, {_COLUMNS}
     FROM notifications_inboxitem i
     WHERE i.user_id = place.user_id AND i.change > place.last AND i.change > 0
       AND s.head - place.last <= {MOST_BEHIND}
     ORDER BY i.change LIMIT {PAGE})
    ORDER BY number LIMIT {PAGE}
) AS item ON true
ORDER BY place.ordinal, item.number
"""


class Event(NamedTuple):
    """An item as it stands, and the number it came with or that of its last change.

    From `sequence` on as in frames.
    """

    number: int
    sequence: int
    id: UUID
    notification_id: UUID
    type: str
    title: str
    body: str
    link: str
    avatar: str
    actions: str | None  # JSON
    created_at: datetime
    seen_at: datetime | None
    read_at: datetime | None
    archived_at: datetime | None
    snoozed_until: datetime | None
    action: str | None
    acted_at: datetime | None
    is_recalled: bool

    @property
    def is_coming(self) -> bool:
        """Whether it tells that the item came; else that it was changed or recalled."""
        return self.number == self.sequence

    def whole(self) -> dict[str, Any]:
        """The item."""
        item = dict(zip(self._fields[1:-1], self[1:-1], strict=True))
        return item | {"actions": orjson.Fragment(self.actions or "[]")}

    def state(self) -> dict[str, Any]:
        """What people change of an item."""
        return {"id": self.id, "sequence": self.sequence} | {name: getattr(self, name) for name in _STATE}


_STATE = ("seen_at", "read_at", "archived_at", "snoozed_until", "action", "acted_at")


class Page(NamedTuple):
    """What comes next for one place, and where the inbox stood when it was read.

    No events although `counts.head` is above the place: the place is more than `MOST_BEHIND` behind.
    """

    counts: Counts
    events: list[Event]

    @property
    def is_last(self) -> bool:
        """Whether nothing follows up to `counts.head`."""
        return len(self.events) < PAGE


def counts_of(user_ids: Sequence[int]) -> dict[int, Counts]:
    """Where the inbox of each active person among these stands."""
    return {user_id: Counts(*counts) for user_id, *counts in db.rows(_COUNTS, [list(user_ids)])}


def events_after(places: Sequence[tuple[int, int]]) -> list[Page]:
    """For each (user id, last number sent) the next events in order, `PAGE` at most."""
    pages: dict[int, Page] = {}
    rows = db.rows(_EVENTS, [[user for user, _ in places], [last for _, last in places]])
    for ordinal, head, unread, unseen, *item in rows:
        page = pages.setdefault(ordinal, Page(Counts(head, unread, unseen), []))
        if item[0] is not None:
            page.events.append(Event(*item))
    return list(pages.values())
