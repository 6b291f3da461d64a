"""The in-app channel: it needs no provider, so claim, inbox row and `delivered` are one transaction."""

from __future__ import annotations

import orjson
from django.conf import settings

from apps.delivery import claims
from apps.notifications import contents, inbox, transitions
from apps.notifications.contents import Rendered
from apps.notifications.due import Due
from apps.notifications.inbox import Entry
from apps.notifications.statuses import Reason, Status
from apps.notifications.transitions import Claimed
from project import db, queues


def deliver(lane: str) -> int:
    """Deliver one batch of the lane; how many targets were taken."""
    limit = settings.BULK_BATCH
    with db.one_transaction():
        targets = claims.due_rows(Due(lane, limit), transitions.lock_due)
        if not targets:
            return 0
        heads = _deliver(targets)
    if len(targets) >= limit:
        queues.ring_now(lane)
    inbox.hint(heads)
    return len(targets)


def _deliver(targets: list[Claimed]) -> dict[int, int]:
    ended = [(target.id, end) for target in targets if (end := claims.moot(target))]
    results = [(id, status, reason.value) for id, (status, reason) in ended]
    items: list[Entry] = []
    for target, parts in contents.for_targets([t for t in targets if not t.moot], "in_app"):
        if parts is None:
            results.append((target.id, Status.DEAD, Reason.RENDERING.value))
            continue
        results.append((target.id, Status.DELIVERED, ""))
        items.append(_entry(target, parts))
    heads = inbox.add(items) if items else {}
    transitions.deliver_in_app(results)  # after the inbox: summaries are locked last
    return heads


def _entry(target: Claimed, parts: Rendered) -> Entry:
    actions = orjson.dumps([one._asdict() for one in parts.actions]).decode() if parts.actions else None
    return Entry(
        target.id,
        target.user_id,
        target.notification_id,
        parts.type,
        parts.subject,
        parts.text,
        parts.link,
        parts.avatar,
        actions,
    )
