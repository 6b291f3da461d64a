"""Re-driving: a person decides that what failed or is dead is tried again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from apps.notifications import transitions
from apps.notifications.statuses import Status
from apps.users.models import User
from project import db, queues
from project.ids import MAX_ATTEMPT_NUMBER

MOST_AT_ONCE = 1_000
REDRIVEN = "re-driven"


@dataclass(frozen=True, slots=True)
class Redriven:
    """What became of the targets asked for: those queued again, and how many stood elsewhere, by status."""

    ids: list[UUID]
    left: Mapping[str, int]  # a status, or "missing"

    def __str__(self) -> str:
        left = [f"{number} left as it is: {status}" for status, number in sorted(self.left.items())]
        return "; ".join([f"{len(self.ids)} re-driven", *left]) + "."


_LOCK = """
SELECT id, organization_id, lane, status, reason FROM notifications_notificationtarget
WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE
"""


def redrive(ids: Collection[UUID], *, by: User, more_attempts: int) -> Redriven:
    """failed, dead → queued with so many more attempts, in one transaction; then ring their lanes.

    Who did it is kept in the dead letter, for a failed target in one made for this. A target that is neither
    failed nor dead, or has used every attempt there can be, stays as it is. At most `MOST_AT_ONCE` ids; not
    to be called inside a transaction. Raises ValueError for too many ids or a senseless number of attempts.
    """
    if len(set(ids)) > MOST_AT_ONCE:
        raise ValueError(f"at most {MOST_AT_ONCE} at once")
    if not 1 <= more_attempts <= MAX_ATTEMPT_NUMBER:
        raise ValueError(f"{more_attempts} more attempts")
    with db.one_transaction():
        before = {row[0]: row for row in db.rows(_LOCK, [sorted(set(ids))])}
        moved = [m.id for m in transitions.redrive(sorted(before), more_attempts=more_attempts, by=by.pk)]
        _remember([before[id] for id in moved if before[id][3] == Status.FAILED], by)
    queues.ring(*{before[id][2] for id in moved})
    left = Counter(before[id][3] for id in before.keys() - set(moved))
    missing = len(set(ids)) - len(before)
    return Redriven(moved, dict(left) | ({"missing": missing} if missing else {}))


_RESOLVED = """
INSERT INTO notifications_deadletter
    (target_id, organization_id, reason, resolved_at, resolved_by_id, resolution)
SELECT target_id, organization_id, reason, carillon_now(), %s, %s
FROM unnest(%s::uuid[], %s::bigint[], %s::text[]) AS g(target_id, organization_id, reason)
"""


def _remember(failed: list[db.Row], by: User) -> None:
    """Who re-drove those that had no dead letter to say it."""
    if failed:
        ids, organizations, _, _, reasons = zip(*failed, strict=True)
        db.execute(_RESOLVED, [by.pk, REDRIVEN, list(ids), list(organizations), list(reasons)])
