"""Big audiences: a worker takes a chunk of people, plans it and deletes it, in one transaction.

So a crash resumes with the chunks that are left, and several workers share one audience.
"""

from __future__ import annotations

from uuid import UUID

from django.db import InterfaceError, OperationalError

from apps.content import catalog, versions
from apps.content.catalog import TypeRules
from apps.notifications import targeting
from apps.notifications.planning import Wish
from apps.notifications.statuses import Status
from apps.users import people
from project import clock, db, queues

_TAKE = """
DELETE FROM notifications_audiencechunk
WHERE id = (SELECT id FROM notifications_audiencechunk ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, notification_id, user_ids
"""
_TO_THE_END = """
UPDATE notifications_audiencechunk
SET id = nextval(pg_get_serial_sequence('notifications_audiencechunk', 'id'))
WHERE id = %s
"""
_MORE = "SELECT EXISTS (SELECT 1 FROM notifications_audiencechunk)"
_WISH = """
SELECT id, organization_id, type, template_version, channels, all_channels, priority, bulk, scheduled_at,
       expires_at, max_attempts, critical, local_time, dedupe_key, created_at
FROM notifications_notification WHERE id = %s
"""


def plan_chunk() -> bool:
    """Answer the planning bell with one chunk; whether there was one.

    A chunk that cannot be planned goes to the end, so that it does not hold up those behind it, and the error
    is raised. The sweeper rings for it again.
    """
    queues.answered(queues.PLANNING)
    chunk_id = None
    try:
        with db.one_transaction():
            taken = db.rows(_TAKE)
            if not taken:
                return False
            ((chunk_id, notification_id, user_ids),) = taken
            lanes = _plan(notification_id, user_ids)
            more = db.rows(_MORE)[0][0]
    except (OperationalError, InterfaceError):
        raise  # the database's fault, not the chunk's
    except Exception:
        db.execute(_TO_THE_END, [chunk_id])
        raise
    queues.ring(*lanes, *([queues.PLANNING] if more else []))
    return True


_NAMES = (
    *("channels", "all_channels", "priority", "bulk", "scheduled_at", "expires_at", "max_attempts"),
    *("critical", "local_time", "dedupe_key", "accepted_at"),
)


def _plan(notification_id: UUID, user_ids: list[int]) -> set[str]:
    ((id, organization_id, slug, version_id, *values),) = db.rows(_WISH, [notification_id])
    type = _type(organization_id, slug, version_id) if slug else None
    named = dict(zip(_NAMES, values, strict=True))
    wish = Wish(notification_id=id, organization_id=organization_id, type=type, **named)
    reached = people.reach(organization_id, ids=user_ids)
    found = targeting.places_of([(wish.reach, reached)])
    (targets,) = targeting.plan([(wish, reached)], clock.now(), found=found)
    targeting.create(targets, summarised={id})  # if one is kept
    return {target.lane for target in targets if target.status is Status.QUEUED}


def _type(organization_id: int, slug: str, version_id: int | None) -> TypeRules:
    """As it is now. One that is gone is still what people have opted out of."""
    type = catalog.find(organization_id, types=[slug]).types.get(slug, TypeRules(slug))
    if not type.fallback or version_id is None:
        return type
    return type.among(versions.load([version_id])[version_id].channels)
