"""What is held, decided anew: when its time has come, and when what its person wants has changed.

One who decides for a person has locked their row: so all that is due for them is looked at together, and one
digest is made of it, not two.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from django.db import transaction

from apps.notifications import decisions, regrouping, transitions
from apps.notifications.coalescing import Waiting
from apps.notifications.decisions import Decision
from apps.notifications.regrouping import Fate, Person
from apps.notifications.statuses import Reason, Status
from apps.notifications.transitions import Redecided
from project import clock, db, queues

_DUE = """
SELECT user_id FROM notifications_notificationtarget
WHERE held_until <= carillon_now() ORDER BY held_until, id LIMIT %s
"""


def release_due(limit: int) -> int:
    """held → queued, held again, skipped or expired: all that is due of those people who have waited longest.

    limit: targets that choose the people. How many targets were looked at.
    """
    with db.one_transaction():
        user_ids = sorted({user_id for (user_id,) in db.rows(_DUE, [limit])})
        people = _lock(user_ids, "SKIP LOCKED")
        waiting = _waiting(people, "AND held_until <= carillon_now()") if people else []
        _settle(waiting, people, why="opened")
    return len(waiting)


def decide_anew(user_ids: Collection[int], *, why: str) -> None:
    """Decide for all that these people have waiting, in the caller's transaction. Rings after COMMIT.

    why: what has changed, for whoever asks later.
    """
    people = _lock(sorted(user_ids))
    lanes = _settle(_waiting(people), people, why=why) if people else set()
    if lanes:
        transaction.on_commit(lambda: queues.ring(*lanes))


_LOCK = """
SELECT id, timezone, is_active FROM users_user WHERE id = ANY(%b::bigint[]) ORDER BY id FOR NO KEY UPDATE
"""
_GONE = (
    "SELECT g.id FROM unnest(%b::bigint[]) g(id) WHERE NOT EXISTS (SELECT 1 FROM users_user WHERE id = g.id)"
)


def _lock(user_ids: Sequence[int], more: str = "") -> dict[int, Person]:
    """These people, whom nobody else decides for now. One who is not there any more wants nothing."""
    found = {id: Person(zone, active) for id, zone, active in db.rows(f"{_LOCK} {more}", [user_ids])}
    others = [id for id in user_ids if id not in found]
    gone = db.rows(_GONE, [others]) if others else []
    return found | {id: Person("UTC", False) for (id,) in gone}


# One probe per person of the index of what they have waiting: by that of what is due each batch would read
# all of it, on everybody's morning. LATERAL and the order leave no other choice, as in `unwanted.py`.
_WAITING = """
SELECT t.id, t.notification_id, t.organization_id, t.user_id, t.channel, t.address, t.reason,
       CASE WHEN t.held_until > carillon_now() THEN t.held_until END,
       t.expires_at, coalesce(t.expires_at <= carillon_now(), false), t.lane, t.attempts_allowed,
       n.type, n.critical, n.scheduled_at, n.local_time, n.collapse_key, n.created_at
FROM unnest(%b::bigint[]) AS p(id) CROSS JOIN LATERAL (
    SELECT * FROM notifications_notificationtarget
    WHERE user_id = p.id AND held_until > '2000-01-01 00:00:00+00' {more}
    ORDER BY id FOR UPDATE SKIP LOCKED
) t CROSS JOIN LATERAL (
    SELECT * FROM notifications_notification
    WHERE id BETWEEN t.notification_id AND t.notification_id ORDER BY id OFFSET 0
) n
"""


def _waiting(people: Collection[int], more: str = "") -> list[Waiting]:
    """What they have waiting, locked. What somebody else has at hand, say to cancel it, is left to them."""
    return [Waiting(*row) for row in db.rows(_WAITING.format(more=more), [list(people)])]


def _settle(waiting: Sequence[Waiting], people: dict[int, Person], *, why: str) -> set[str]:
    """Write what becomes of them; the lanes of what can go out."""
    if not waiting:
        return set()
    fates = regrouping.fates(waiting, people, clock.now())
    changed = {one: fates.of[one.id] for one in waiting if _differs(one, fates.of[one.id])}
    transitions.redecide(
        Redecided(one.id, fate.status, fate.reason, fate.until, fate.into) for one, fate in changed.items()
    )
    decisions.record(
        [
            Decision(one.id, fate.status.value, fate.reason, fate.until, detail)
            for one, fate in changed.items()
            if (detail := _detail(one, fate, why))
        ]
    )
    queued = {one.lane for one, fate in changed.items() if fate.status is Status.QUEUED}
    return queued | fates.lanes


def _differs(one: Waiting, fate: Fate) -> bool:
    return fate.status is not Status.HELD or (fate.reason, fate.until) != (one.reason, one.held_until)


def _detail(one: Waiting, fate: Fate, why: str) -> Any:
    """What is to be kept of why. That it came when the caller had asked for it explains itself."""
    if fate.status is Status.QUEUED and one.reason != Reason.SCHEDULED:
        return {"rule": "replanned", "why": why}
    return fate.detail
