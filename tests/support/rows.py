"""Rows for tests: people, notifications and targets in any state, made directly."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from apps.notifications.models import (
    DeadLetter,
    DeliveryAttempt,
    Notification,
    NotificationSummary,
    NotificationTarget,
)
from apps.notifications.statuses import Status
from apps.users.models import DEFAULT_ORGANIZATION_ID, Organization, User
from project import clock, ids

CLAIM = 77  # the claim that rows in `sending` and `unknown` belong to
EARLIER = timedelta(hours=1)
LANE = "email.normal"


def people(count: int = 1, **fields: Any) -> list[User]:
    """So many people, reachable by every channel."""
    Organization.objects.get_or_create(id=DEFAULT_ORGANIZATION_ID, defaults={"name": "Default"})
    return User.objects.bulk_create(
        User(**{"email": f"p{n}@example.com", "phone": "+4930123456", "name": f"P{n}"} | fields)
        for n in range(count)
    )


def notification(*, kept: bool = False, **fields: Any) -> Notification:
    """A notification without targets; `kept`: with a summary row, as more than 100 targets have."""
    Organization.objects.get_or_create(id=DEFAULT_ORGANIZATION_ID, defaults={"name": "Default"})
    values = {
        "organization_id": DEFAULT_ORGANIZATION_ID,
        "title": "Title",
        "body": "Body",
        "channels": ["email"],
        "priority": "normal",
        "max_attempts": 6,
        "recipient_count": 1,
    }
    made = Notification.objects.create(**(values | fields))
    if kept:
        NotificationSummary.objects.create(notification=made)
    return made


def shape(status: Status, now: datetime) -> dict[str, Any]:
    """The columns of a target that has been in this status for a while."""
    before = now - EARLIER
    settled: dict[str, Any] = {"settled_at": before}
    shapes: dict[Status, dict[str, Any]] = {
        Status.HELD: {"held_until": before, "reason": "scheduled"},
        Status.QUEUED: {"next_attempt_at": before},
        Status.SENDING: {"claim_id": CLAIM},
        Status.RETRYING: {"next_attempt_at": before, "attempts": 1, "reason": "rate_limited"},
        Status.UNKNOWN: {"claim_id": CLAIM, "attempts": 1, "reason": "timeout"},
        Status.SENT: settled | {"attempts": 1, "sent_at": before},
        Status.DELIVERED: settled | {"attempts": 1, "sent_at": before, "delivered_at": before},
        Status.SKIPPED: settled | {"reason": "no_address"},
        Status.FAILED: settled | {"attempts": 1, "reason": "rejected"},
        Status.DEAD: settled | {"attempts": 1, "reason": "attempts_used_up"},
        Status.CANCELLED: settled | {"reason": "cancelled"},
        Status.EXPIRED: settled | {"reason": "expires_at"},
    }
    return shapes[status]


def targets(of: Notification, status: Status = Status.QUEUED, count: int = 1, **fields: Any) -> list[UUID]:
    """Targets in this status, with all that belongs to it (summary, dead letter); their ids in order."""
    now = clock.now()
    made = sorted(ids.target_id() for _ in range(count))
    values = {
        "notification": of,
        "organization_id": of.organization_id,
        "user_id": people()[0].pk if status is Status.HELD else 1,  # who waits is looked at when it is over
        "channel": "email",
        "address": "p@example.com",
        "lane": LANE,
        "status": status.value,
        "attempts_allowed": 6,
    }
    values |= shape(status, now) | fields
    NotificationTarget.objects.bulk_create(NotificationTarget(id=id, **values) for id in made)
    if status is Status.DEAD:
        DeadLetter.objects.bulk_create(
            DeadLetter(target_id=id, organization_id=of.organization_id, reason="attempts_used_up")
            for id in made
        )
    write_summary(of)
    return made


def queued(count: int = 1, **fields: Any) -> list[UUID]:
    """Due targets of a notification of their own, whose summary is kept."""
    return targets(notification(kept=True), Status.QUEUED, count, **fields)


def change(ids: list[UUID], **fields: Any) -> None:
    """Write these fields of targets."""
    NotificationTarget.objects.filter(id__in=ids).update(**fields)


def write_summary(of: Notification) -> None:
    """Bring the kept summary, if there is one, to what the targets say."""
    NotificationSummary.objects.filter(notification=of).update(**counted(of))


def counted(of: Notification) -> dict[str, int]:
    """What a summary must say, counted from the targets."""
    rows = list(NotificationTarget.objects.filter(notification=of).values_list("status", flat=True))
    names = [field.name for field in NotificationSummary._meta.fields if field.name != "notification"]
    return {name: len(rows) if name == "planned" else rows.count(name) for name in names}


def row(id: UUID) -> dict[str, Any]:
    """Every column of a target."""
    return NotificationTarget.objects.values().get(id=id)


def statuses(ids: list[UUID]) -> list[str]:
    """Where these stand, in the given order."""
    found = dict(NotificationTarget.objects.filter(id__in=ids).values_list("id", "status"))
    return [found[id] for id in ids]


def attempts(ids: list[UUID]) -> list[dict[str, Any]]:
    """All attempts of these targets, in order."""
    return list(DeliveryAttempt.objects.filter(target_id__in=ids).order_by("id").values())


def attempted(id: UUID) -> tuple[str, str, str, str]:
    """Of a target with one attempt: where it stands, why, how the attempt ended, and its code."""
    found, (attempt,) = row(id), attempts([id])
    return found["status"], found["reason"], attempt["outcome"], attempt["code"]


def assert_books_balance() -> None:
    """Kept summaries say what the targets do; each dead target has one open dead letter, others none."""
    for summary in NotificationSummary.objects.select_related("notification"):
        kept = {name: getattr(summary, name) for name in counted(summary.notification)}
        assert kept == counted(summary.notification)
    dead = NotificationTarget.objects.filter(status=Status.DEAD).values_list("id", flat=True)
    letters = DeadLetter.objects.filter(resolved_at=None).values_list("target_id", flat=True)
    assert sorted(dead) == sorted(letters)


def assert_shapes_hold() -> None:
    """No row says two things at once."""
    for target in NotificationTarget.objects.all():
        settled = target.status in {
            "skipped", "sent", "delivered", "failed", "dead", "cancelled", "expired",
        }  # fmt: skip
        assert (target.settled_at is not None) == settled, target.status
        assert (target.claim_id is not None) == (target.status in {"sending", "unknown"}), target.status
        assert (target.next_attempt_at is not None) == (target.status in {"queued", "retrying"})
        assert (target.held_until is not None) == (target.status == "held")
