"""Why targets wait whose lane waits. That is said of the lane, never written to a million targets."""

from __future__ import annotations

from collections.abc import Sequence

from apps.notifications.models import NotificationTarget
from apps.notifications.statuses import Status
from project import queues


def tell(targets: Sequence[NotificationTarget]) -> None:
    """Give those of these that are queued the reason of their lane; one question to the broker, or none."""
    queued = [target for target in targets if target.status == Status.QUEUED and not target.reason]
    reasons = queues.waiting({target.lane for target in queued})
    for target in queued:
        target.reason = reasons.get(target.lane, "")
