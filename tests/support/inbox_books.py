"""The inbox's rows, read in one statement, and what follows from them: events, counts, lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from apps.notifications.inbox_numbers import Counts
from project import db
from tests.support.inbox_copy import Copy
from tests.support.inbox_model import Inbox


class Row(NamedTuple):
    """An item, under the names of the protocol, and what the protocol does not show."""

    id: UUID
    sequence: int
    seen_at: datetime | None
    read_at: datetime | None
    archived_at: datetime | None
    snoozed_until: datetime | None
    action: str
    acted_at: datetime | None
    change: int
    recalled_at: datetime | None
    title: str

    @property
    def number(self) -> int:
        return max(self.sequence, self.change)

    @property
    def in_inbox(self) -> bool:
        return self.archived_at is None and self.snoozed_until is None and self.recalled_at is None

    def shown(self) -> dict[str, Any]:
        return {**self._asdict(), "id": str(self.id)}

    def events(self, since: int, counts: Counts) -> Iterator[dict[str, Any]]:
        """What tells a client that has all up to `since`: that it came, and what has become of it.

        An item that came and was changed is told of by both numbers. By the later one alone, a client that
        was cut off in between would go on from a number at which it lacks the item.
        """
        if self.sequence > since and self.recalled_at is None:
            yield _event("notification", self.sequence, self.shown(), counts)
        if self.change > since and self.recalled_at is None:
            yield _event("changed", self.change, self.shown(), counts)
        elif self.change > since:
            yield _event("recalled", self.change, {"id": str(self.id)}, counts)


def _event(type: str, number: int, item: dict[str, Any], counts: Counts) -> dict[str, Any]:
    return {"type": type, "sequence": number, "item": item, "counts": counts.as_json()}


class Books(NamedTuple):
    """One person's inbox at one moment."""

    counts: Counts
    rows: list[Row]

    def events(self, since: int) -> list[dict[str, Any]]:
        """The replay: the state of each item that came or changed after this number."""
        found = [event for row in self.rows for event in row.events(since, self.counts)]
        return sorted(found, key=lambda event: event["sequence"])

    def brings_up(self, copy: Copy) -> bool:
        """Whether the replay since what it has makes this the present list, with its counts."""
        copy = copy.twin()
        for event in self.events(copy.last):
            copy.apply(event)
        present = {str(row.id): row.shown() for row in self.rows if row.recalled_at is None}
        return copy.items == present and copy.counts == self.counts.as_json()

    def recounted(self) -> Counts:
        shown = [row for row in self.rows if row.in_inbox]
        unread, unseen = sum(row.read_at is None for row in shown), sum(row.seen_at is None for row in shown)
        return Counts(self.counts.head, unread, unseen)

    def assert_exact(self) -> None:
        """The counts are those of the rows, no two rows have a number, and the last given out is the head."""
        assert self.counts == self.recounted()
        numbers = [number for row in self.rows for number in {row.sequence, row.change} - {0}]
        assert len(set(numbers)) == len(numbers)
        assert max(numbers, default=0) == self.counts.head
        assert all(row.seen_at for row in self.rows if row.read_at)

    def assert_like(self, model: Inbox) -> None:
        """Each item is what the model says, and so are the counts."""
        assert self.counts == model.counts
        assert {row.id for row in self.rows} == model.items.keys()
        for row in self.rows:
            item = model.items[row.id]
            assert (row.sequence, row.change) == (item.sequence, item.change)
            assert (row.seen_at is not None, row.read_at is not None) == (item.seen, item.read)
            assert (row.archived_at is not None, row.snoozed_until) == (item.archived, item.snoozed_until)
            assert (row.action, row.acted_at is not None) == (item.action, bool(item.action))
            assert (row.recalled_at is not None, row.title == "") == (item.recalled, item.recalled)


_BOOKS = """
SELECT s.head, s.unread, s.unseen, i.target_id, i.sequence, i.seen_at, i.read_at, i.archived_at,
       i.snoozed_until, i.action, i.acted_at, i.change, i.recalled_at, i.title
FROM notifications_inboxstate s LEFT JOIN notifications_inboxitem i USING (user_id)
WHERE s.user_id = %s
"""


def books(user_id: int) -> Books:
    """All of it, by one snapshot."""
    found: Sequence[tuple[Any, ...]] = db.rows(_BOOKS, [user_id])
    counts = Counts(*found[0][:3]) if found else Counts(0, 0, 0)
    return Books(counts, [Row(*row[3:]) for row in found])
