"""Why a target was held, released, merged or skipped, kept for whoever asks later."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from apps.notifications.because import Made
from apps.notifications.explaining import Choices, key_of
from apps.notifications.models import NotificationTarget, TargetDecision
from apps.preferences.models import Choice, How
from project import db

LATEST = 100  # decisions of a target that are read


class Decision(NamedTuple):
    """What was decided about a target. until: UTC, of one held. detail: what it was decided by, as JSON.

    reason: of `statuses.Reason`, by its value. The shapes that `detail` has are in `because.py`.
    """

    target_id: UUID
    status: str
    reason: str
    until: datetime | None
    detail: Mapping[str, Any]


_RECORD = """
INSERT INTO notifications_targetdecision (target_id, status, reason, until, detail)
SELECT target_id, status, reason, until, detail FROM {given}
"""
_COLUMNS = db.Columns(
    (
        ("target_id", "uuid"),
        ("status", "text"),
        ("reason", "text"),
        ("until", "timestamptz"),
        ("detail", "jsonb"),
    )
)


def record(decisions: Sequence[Decision]) -> None:
    """Keep these, in the caller's transaction and their order; one statement, none for none."""
    if decisions:
        rows = [(*one[:4], orjson.dumps(dict(one.detail)).decode()) for one in decisions]
        given, values = _COLUMNS.given(rows)
        db.execute(_RECORD.format(given=given), values)


_OF = """
SELECT d.* FROM unnest(%s::uuid[]) t(id) CROSS JOIN LATERAL (
    SELECT * FROM notifications_targetdecision WHERE target_id = t.id ORDER BY id DESC LIMIT %s
) d
ORDER BY d.id
"""


def of(target_ids: Collection[UUID]) -> dict[UUID, list[TargetDecision]]:
    """The latest decisions about these targets, oldest first; one statement. Who has none is not in it."""
    found: dict[UUID, list[TargetDecision]] = {}
    for row in TargetDecision.objects.raw(_OF, [list(target_ids), LATEST]):
        found.setdefault(row.target_id, []).append(row)
    return found


def choices_behind(
    targets: Iterable[NotificationTarget], decided: Mapping[UUID, Sequence[TargetDecision]]
) -> Choices:
    """The choices that still stand of those these decisions were made by; one statement, or none."""
    keys = {
        key_of(target, decision)
        for target in targets
        for decision in decided.get(target.pk, ())
        if decision.detail.get("rule") == "choice"
    }
    if not keys:
        return {}
    users, types, channels = map(set, zip(*keys, strict=True))
    rows = Choice.objects.filter(user__in=users, type__in=types, channel__in=channels, how=How.OFF)
    return {(row.user_id, row.type, row.channel): Made(row.created_at, row.source) for row in rows}
