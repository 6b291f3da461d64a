"""Numbers and counts of inboxes: each change takes its person's next number, and moves the counts with it.

`lock` first, `apply` after: a statement sees what was committed before it began, so the lock must be had
before the items are read. Then nobody else changes an item of this person until COMMIT.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from project import db

IN_INBOX = "i.archived_at IS NULL AND i.snoozed_until IS NULL AND i.recalled_at IS NULL"  # as in inbox_models
_UNREAD = f"({IN_INBOX} AND i.read_at IS NULL)::int"
_UNSEEN = f"({IN_INBOX} AND i.seen_at IS NULL)::int"

# A snoozed item comes back as a new one: to the top of the list, unread, under a number of its own.
COME_BACK = "snoozed_until = NULL, read_at = NULL, seen_at = NULL, sequence = was.number, change = 0"


class Counts(NamedTuple):
    """How many items in a person's inbox are unread and unseen, as of a number (`head`)."""

    head: int
    unread: int
    unseen: int

    def as_json(self) -> dict[str, int]:
        return self._asdict()


class Moved(NamedTuple):
    """What a statement has changed in one person's inbox."""

    user_id: int
    items: int
    head: int
    unread: int
    unseen: int

    @property
    def counts(self) -> Counts:
        return Counts(self.head, self.unread, self.unseen)


def statement(*, chosen: str, changed: str, set: str) -> str:
    """The statement that changes the items `i` of which `chosen` and `changed` are true.

    chosen: by what they are found; changed: whether `set` makes a difference to one; set: assignments, in
    which `was.number` is the item's new number. It returns the rows of `Moved`.
    """
    return f"""
WITH was AS MATERIALIZED (
    SELECT i.target_id, {_UNREAD} AS unread, {_UNSEEN} AS unseen,
           s.head + row_number() OVER (PARTITION BY i.user_id ORDER BY i.sequence) AS number
    FROM notifications_inboxitem i JOIN notifications_inboxstate s USING (user_id)
    WHERE {chosen} AND {changed}
), now AS (
    UPDATE notifications_inboxitem i SET {set} FROM was WHERE i.target_id = was.target_id
    RETURNING i.user_id, {_UNREAD} - was.unread AS unread, {_UNSEEN} - was.unseen AS unseen
), sums AS (
    SELECT user_id, count(*) AS items, sum(unread) AS unread, sum(unseen) AS unseen FROM now GROUP BY user_id
)
UPDATE notifications_inboxstate s
SET head = s.head + sums.items, unread = s.unread + sums.unread, unseen = s.unseen + sums.unseen
FROM sums WHERE s.user_id = sums.user_id
RETURNING s.user_id, sums.items, s.head, s.unread, s.unseen
"""


_COUNTS = (
    "SELECT user_id, head, unread, unseen FROM notifications_inboxstate WHERE user_id = ANY(%b::bigint[])"
)
_LOCK = f"{_COUNTS} ORDER BY user_id FOR UPDATE"
NOTHING = Counts(0, 0, 0)


def lock(user_ids: Collection[int]) -> dict[int, Counts]:
    """Hold these people's inboxes until COMMIT; where those stand that ever had an item."""
    return {user_id: Counts(*rest) for user_id, *rest in db.rows(_LOCK, [sorted(user_ids)])}


def counts_of(user_id: int) -> Counts:
    """Where a person's inbox stands."""
    found = db.rows(_COUNTS, [[user_id]])
    return Counts(*found[0][1:]) if found else NOTHING


def apply(sql: str, parameters: Mapping[str, Any]) -> list[Moved]:
    """Run a `statement` on inboxes that are locked."""
    return [Moved(*row) for row in db.rows(sql, parameters)]
