"""The attempts of a notification, without an index of their own: by the ids of its targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from apps.notifications.models import DeliveryAttempt, Notification, target_of
from project.paging import Page, paginate_by

# An attempt's id is its target's with a number in the last byte, so those of a target are a short range.
_READ = """
SELECT a.* FROM notifications_notificationtarget t CROSS JOIN LATERAL (
    SELECT * FROM notifications_deliveryattempt a
    WHERE a.id > t.id AND a.id <= overlay(t.id::text placing 'ff' from 35)::uuid
      AND a.id {beyond} %(key)s::uuid
    ORDER BY a.id {direction}
) a
WHERE t.notification_id = %(notification)s AND t.id {from_} %(target)s::uuid
ORDER BY t.id {direction}, a.id {direction} LIMIT %(limit)s
"""
_FORWARDS = _READ.format(beyond=">", from_=">=", direction="ASC")
_BACKWARDS = _READ.format(beyond="<", from_="<=", direction="DESC")
_ENDS = {False: UUID(int=0), True: UUID(int=2**128 - 1)}


def attempts_page(
    notification: Notification, query: Mapping[str, str], errors: Sequence[Mapping[str, str]] = ()
) -> Page:
    """A page of the notification's attempts, oldest target first, as the query parameters ask."""

    def read(key: UUID | None, backwards: bool, limit: int) -> list[DeliveryAttempt]:
        key = key or _ENDS[backwards]
        values: dict[str, Any] = {"key": key, "notification": notification.pk, "target": target_of(key)}
        sql = _BACKWARDS if backwards else _FORWARDS
        return list(DeliveryAttempt.objects.raw(sql, {**values, "limit": limit}))

    return paginate_by(query, read, column="id", parse=UUID, errors=errors)
