"""The query parameters the lists take beside the paging's."""

from __future__ import annotations

from typing import Literal

from apps.notifications.schemas import Name, Priority
from apps.notifications.statuses import Status
from apps.users.schemas import ExternalId
from project.fields import QueryTime
from project.paging import NoFilters
from project.queues import CHANNELS


class NotificationFilters(NoFilters):
    """Of the list of notifications."""

    related_type: Name | None = None
    related_id: ExternalId | None = None
    priority: Priority | None = None
    template: Name | None = None
    created_after: QueryTime | None = None
    created_before: QueryTime | None = None


class TargetFilters(NoFilters):
    """Of a notification's targets."""

    status: Status | None = None
    channel: Literal[CHANNELS] | None = None  # type: ignore[valid-type]
