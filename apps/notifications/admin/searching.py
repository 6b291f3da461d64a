"""Finding notifications without reading their table: a search or a filter reads a bounded number of rows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import QuerySet, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from apps.notifications.models import Notification, NotificationTarget, target_of
from project import clock, db
from project.queues import CHANNELS, PRIORITIES

NEWEST = 50_000  # rows looked through where no index serves
FOUND = 200  # notifications a search finds at most

HELP = (
    "The id of a notification, a target or an attempt; a related id; or a recipient's external id "
    f"(among the newest {NEWEST:,} targets and the person's inbox)."
)


def ids_matching(text: str) -> list[UUID]:
    """The notifications a search means, newest first, `FOUND` at most."""
    text = text.strip()
    try:
        return _by_id(UUID(text))
    except ValueError:
        found = {row[0] for row in db.rows(_BY_RELATED, {"id": text, "most": FOUND})}
        found |= {row[0] for row in db.rows(_BY_RECIPIENT, {"id": text, "newest": NEWEST, "most": FOUND})}
        return sorted(found, reverse=True)[:FOUND]


def _by_id(id: UUID) -> list[UUID]:
    """As a notification's, a target's or an attempt's id."""
    of_target = NotificationTarget.objects.filter(pk=target_of(id)).values_list("notification_id", flat=True)
    return [id, *of_target]


# The index begins with organization and type: every pair of them is found by jumping from one to the next.
_BY_RELATED = """
WITH RECURSIVE pair AS (
    (SELECT organization_id, related_type FROM notifications_notification WHERE related_id <> ''
     ORDER BY organization_id, related_type LIMIT 1)
    UNION ALL
    SELECT next.* FROM pair CROSS JOIN LATERAL (
        SELECT organization_id, related_type FROM notifications_notification n
        WHERE related_id <> ''
          AND (n.organization_id, n.related_type) > (pair.organization_id, pair.related_type)
        ORDER BY organization_id, related_type LIMIT 1
    ) next
)
SELECT found.id FROM (SELECT * FROM pair LIMIT 1000) pair CROSS JOIN LATERAL (
    SELECT id FROM notifications_notification n
    WHERE n.organization_id = pair.organization_id AND n.related_type = pair.related_type
      AND n.related_id = %(id)s AND related_id <> ''
    ORDER BY id DESC LIMIT %(most)s
) found LIMIT %(most)s
"""

_BY_RECIPIENT = """
WITH person AS MATERIALIZED (SELECT id FROM users_user WHERE external_id = %(id)s LIMIT 100)
(SELECT notification_id FROM (
    SELECT notification_id, user_id FROM notifications_notificationtarget
    WHERE EXISTS (SELECT 1 FROM person) ORDER BY id DESC LIMIT %(newest)s
 ) newest WHERE user_id IN (SELECT id FROM person) LIMIT %(most)s)
UNION
(SELECT item.notification_id FROM person CROSS JOIN LATERAL (
    SELECT notification_id FROM notifications_inboxitem i WHERE i.user_id = person.id
    ORDER BY sequence DESC LIMIT %(most)s
 ) item)
"""


def among_newest(rows: QuerySet[Notification]) -> QuerySet[Notification]:
    """These rows, none older than the newest `NEWEST` notifications."""
    oldest = Notification.objects.order_by("-pk").values("pk")[NEWEST : NEWEST + 1]
    return rows.filter(pk__gt=Coalesce(oldest, Value(UUID(int=0))))


class _Among(SimpleListFilter):
    """A filter no index serves: it looks at the newest rows only, and its title says so."""

    values: tuple[str, ...]
    condition: str

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: ModelAdmin[Any]) -> None:
        self.title = f"{self.parameter_name} (newest {NEWEST:,})"
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [(value, value) for value in self.values]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Notification]) -> QuerySet[Notification]:
        if self.value() not in self.values:
            return queryset
        return among_newest(queryset.filter(**{self.condition: self.condition_value()}))

    def condition_value(self) -> Any:
        return self.value()


class PriorityFilter(_Among):
    parameter_name = "priority"
    condition = "priority"
    values = PRIORITIES


class ChannelFilter(_Among):
    parameter_name = "channel"
    condition = "channels__contains"
    values = CHANNELS

    def condition_value(self) -> list[str]:
        return [str(self.value())]


class AcceptedFilter(SimpleListFilter):
    """By time of acceptance: an id begins with its milliseconds."""

    title = "accepted"
    parameter_name = "accepted"
    spans = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [(name, f"in the last {name}") for name in self.spans]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Notification]) -> QuerySet[Notification]:
        span = self.spans.get(self.value() or "")
        if span is None:
            return queryset
        since = clock.now() - span
        return queryset.filter(pk__gte=UUID(int=int(since.timestamp() * 1000) << 80))
