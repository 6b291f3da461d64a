"""Which due rows of a lane are taken, and in what order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from apps.notifications.unwanted import unwanted

_TARGET = "notifications_notificationtarget"

# The oldest due rows, and a fifth from the newest: so that what has just come due (a retry, a small
# notification in a lane that a big one fills) does not wait for all that came before it. Claimed rows leave
# entries behind in the index until they are vacuumed, which a transaction held open elsewhere can prevent for
# long: so each end is looked at past what was taken there last, and the newest one also from its very end.
_KEY = "(next_attempt_at, id)"
_MICROSECONDS = "(extract(epoch FROM next_attempt_at) * 1000000)::bigint"
_ROWS = f"""
    SELECT ctid AS place, id, {_MICROSECONDS} AS due FROM {_TARGET}
    WHERE lane = %(lane)s AND next_attempt_at <= carillon_now()"""
_NEWEST_FIRST = "ORDER BY next_attempt_at DESC, id DESC"


def _mark(name: str) -> str:
    return f"('epoch'::timestamptz + %({name})s * interval '1us', %({name}_id)s::uuid)"


DUE = f"""
head AS MATERIALIZED ({_ROWS} AND {_KEY} > {_mark("after")}
    ORDER BY next_attempt_at, id LIMIT %(oldest)s FOR UPDATE SKIP LOCKED
), fresh AS MATERIALIZED ({_ROWS} AND {_KEY} > {_mark("above")}
    {_NEWEST_FIRST} LIMIT %(newest)s FOR UPDATE SKIP LOCKED
), tail AS MATERIALIZED ({_ROWS} AND {_KEY} < {_mark("below")}
    {_NEWEST_FIRST} LIMIT %(newest)s - (SELECT count(*) FROM fresh) FOR UPDATE SKIP LOCKED
), picked AS MATERIALIZED (SELECT * FROM head UNION SELECT * FROM fresh UNION SELECT * FROM tail)"""

# Of a row that was found: what `transitions.Claimed` has.
CLAIMED = f"""t.id, t.notification_id, t.user_id, t.address, t.attempts, t.attempts_allowed, t.expires_at,
    picked.due, t.organization_id,
    CASE WHEN t.cancel_asked_at IS NOT NULL THEN 'cancelled'
         WHEN t.expires_at IS NOT NULL AND t.expires_at <= carillon_now() THEN 'expired'
         WHEN {unwanted("t")} THEN 'skipped' END,
    t.ctid"""

Key = tuple[int, UUID]  # when it was due (microseconds since 1970) and id
START: Key = (0, UUID(int=0))


class Marks(NamedTuple):
    """A lane's watermarks, how far it has been taken: its oldest end to `after`, its newest from `below` to
    `above`."""

    after: Key = START
    above: Key = START
    below: Key = START


NO_MARKS = Marks()


@dataclass(frozen=True, slots=True)
class Due:
    """Which due rows to take: the lane, how many, and past which marks."""

    lane: str
    limit: int
    marks: Marks = NO_MARKS

    @property
    def oldest(self) -> int:
        """How many from the oldest; the rest from the newest."""
        return self.limit - self.limit // 5

    def parameters(self) -> dict[str, object]:
        values: dict[str, object] = {
            "lane": self.lane,
            "oldest": self.oldest,
            "newest": self.limit - self.oldest,
        }
        for name, (due, id) in self.marks._asdict().items():
            values |= {name: due, f"{name}_id": id}
        return values

    def marks_past(self, taken: Iterable[Key]) -> Marks:
        """The marks after as many rows as were asked for have been taken."""
        keys = sorted(taken)
        newest = keys[self.oldest :] or [START]
        return Marks(after=keys[self.oldest - 1], above=newest[-1], below=newest[0])
