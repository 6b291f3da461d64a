"""Release of what is held, when its time has come."""

from __future__ import annotations

from apps.notifications import transitions
from project import db

_DUE = """
SELECT id, coalesce(expires_at <= carillon_now(), false) FROM notifications_notificationtarget
WHERE held_until <= carillon_now() ORDER BY held_until, id LIMIT %s FOR UPDATE SKIP LOCKED
"""


def release_due(limit: int) -> int:
    """held → queued, or expired if it is too late by now; how many were looked at."""
    with db.one_transaction():
        found = db.rows(_DUE, [limit])
        late = [id for id, expired in found if expired]
        if late:
            transitions.expire(late)
        transitions.release([id for id, expired in found if not expired])
    return len(found)
