"""What follows from a move, in its transaction: dead letters and the kept summaries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol
from uuid import UUID

from apps.notifications.statuses import SETTLED, Status
from project import db


class Move(Protocol):
    """What is needed to know of a move."""

    @property
    def id(self) -> UUID: ...
    @property
    def notification_id(self) -> UUID: ...
    @property
    def organization_id(self) -> int: ...
    @property
    def old(self) -> str | None: ...
    @property
    def new(self) -> str: ...


_OPEN = """
INSERT INTO notifications_deadletter (target_id, organization_id, reason, resolution)
SELECT t.id, t.organization_id, g.reason, ''
FROM unnest(%b::uuid[], %b::text[]) AS g(id, reason) JOIN notifications_notificationtarget t ON t.id = g.id
ON CONFLICT DO NOTHING
"""

# One probe per target: left to itself the planner may read all open dead letters in the order of their ids.
# Their targets are locked by now, so nobody else resolves them.
_CLOSE = """
UPDATE notifications_deadletter SET resolved_at = carillon_now(), resolution = %s, resolved_by_id = %s
WHERE id IN (
    SELECT d.id FROM unnest(%b::uuid[]) AS g(target_id) CROSS JOIN LATERAL (
        SELECT id FROM notifications_deadletter
        WHERE target_id = g.target_id AND resolved_at IS NULL LIMIT 1
    ) d
)
"""


def open_dead_letters(reasons: Mapping[UUID, str]) -> None:
    """A dead letter for each of these targets, with its reason."""
    if reasons:
        db.execute(_OPEN, [list(reasons), list(reasons.values())])


def close_dead_letters(moved: Sequence[Move], resolution: str, by: int | None = None) -> None:
    """Resolve the open dead letters of those that were dead."""
    was_dead = [move.id for move in moved if move.old == Status.DEAD]
    if was_dead:
        db.execute(_CLOSE, [resolution, by, was_dead])


# A summary counts what is held or settled; everything else is on its way and not counted anywhere.
COUNTED = (Status.HELD, *SETTLED)
_COLUMNS = ", ".join(status.value for status in COUNTED)
_SUMMARISE = f"""
UPDATE notifications_notificationsummary s
SET planned = s.planned + g.planned, {", ".join(f"{c} = s.{c} + g.{c}" for c in COUNTED)}
FROM (
    SELECT * FROM unnest(%b::uuid[], %b::int[], {", ".join(["%b::int[]"] * len(COUNTED))})
      AS g(id, planned, {_COLUMNS})
) g
WHERE s.notification_id = g.id
"""


def summed(*statuses: str) -> str:
    """Two CTEs that add what a statement's `moved` rows became to the summaries, in the order of theirs.

    For moves whose source states are not counted.
    """
    counts = ", ".join(f"count(*) FILTER (WHERE status = '{status}') AS {status}" for status in statuses)
    sets = ", ".join(f"{status} = s.{status} + c.{status}" for status in statuses)
    counted = ", ".join(f"'{status}'" for status in statuses)
    return f"""counted AS MATERIALIZED (
    SELECT notification_id, {counts} FROM moved WHERE status IN ({counted})
    GROUP BY notification_id ORDER BY notification_id
), summed AS (
    UPDATE notifications_notificationsummary s SET {sets}
    FROM counted c WHERE s.notification_id = c.notification_id
)"""


def summarise(moves: Iterable[tuple[UUID, str | None, str]]) -> None:
    """Add the moves (notification, old status, new status) up in the summaries that are kept."""
    changes: dict[UUID, Counter[str]] = {}
    for notification_id, old, new in moves:
        change = changes.setdefault(notification_id, Counter())
        change[new] += 1
        change["planned" if old is None else old] += 1 if old is None else -1
    counted = sorted(
        (notification_id, change)
        for notification_id, change in changes.items()
        if any(change[name] for name in ("planned", *COUNTED))
    )
    if counted:
        names = ("planned", *(status.value for status in COUNTED))
        db.execute(
            _SUMMARISE,
            [[notification_id for notification_id, _ in counted]]
            + [[change[name] for _, change in counted] for name in names],
        )
