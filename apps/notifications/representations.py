"""What the API answers about notifications, targets and attempts. The classes are its OpenAPI."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

from apps.content.segments import measure
from apps.notifications import planning
from apps.notifications.consequences import COUNTED
from apps.notifications.contents import Rendered, sms_text
from apps.notifications.intake import Accepted
from apps.notifications.models import SUMMARY_ABOVE, DeliveryAttempt, Notification, NotificationTarget
from apps.notifications.schemas import RelatedObject
from apps.notifications.statuses import SETTLED, Status
from apps.notifications.transitions import Planned
from apps.users.people import Person
from project import db


class Summary(BaseModel):
    """How many targets there are, by status. `in_progress`: queued, sending, retrying or unknown.

    `settled`: none is on its way or held, and none is still to be planned.
    """

    targets: int
    in_progress: int
    held: int
    skipped: int
    sent: int
    delivered: int
    failed: int
    dead: int
    cancelled: int
    expired: int
    settled: bool


class SmsSize(BaseModel):
    """What a text is by SMS. `characters` are Unicode's; `segments` are the messages it takes, and costs."""

    encoding: Literal["GSM-7", "UCS-2"]
    characters: int
    segments: int


class NotificationOutput(BaseModel):
    """A notification as it was accepted."""

    id: UUID
    type: str | None
    critical: bool
    title: str
    body: str
    template: str | None
    payload: dict[str, Any]
    channels: list[str] | Literal["all"]
    priority: str
    scheduled_at: datetime | None
    local_time: str | None
    expires_at: datetime | None
    dedupe_key: str | None
    collapse_key: str | None
    related_object: RelatedObject | None
    metadata: dict[str, Any]
    recipients: int
    created_at: datetime


class NotificationDetail(NotificationOutput):
    """A notification and where its targets stand. `cancelled_at`: when that was first asked for."""

    cancelled_at: datetime | None
    summary: Summary


class PlannedTarget(BaseModel):
    """What was decided for one recipient and channel, and why."""

    id: UUID
    user: int
    channel: str
    status: Status
    reason: str | None
    held_until: datetime | None


class AcceptedOutput(NotificationOutput):
    """The answer to a POST: accepted and committed, one row per target.

    `sms`: what each SMS of it is, where its words are its own and somebody is to get it by SMS.
    """

    targets: list[PlannedTarget]
    sms: SmsSize | None


class ChannelPreview(BaseModel):
    """What one channel carries: `subject` is the title in-app. `sms` is null by every other channel."""

    channel: str
    subject: str
    text: str
    html: str
    sms: SmsSize | None


class PreviewOutput(BaseModel):
    """What the first target would get. `user` is null for one whom the request would create."""

    user: int | None
    channels: list[ChannelPreview]


class TargetOutput(BaseModel):
    """One recipient × channel × address.

    `opened_at`, `clicked_at`, `complained_at` and `bounced_at` are when it first happened, says the provider;
    of the first two also our own tracking, where the template asks for it. They stand beside the status: only
    a bounce changes it, to `failed`, where nothing proves that it arrived. `recalled_at`: when a cancellation
    took it out of the inbox; it stays `delivered`.
    """

    id: UUID
    user: int
    channel: str
    address: str
    status: Status
    reason: str | None
    attempts: int
    attempts_allowed: int
    next_attempt_at: datetime | None
    held_until: datetime | None
    expires_at: datetime | None
    created_at: datetime
    sent_at: datetime | None
    delivered_at: datetime | None
    recalled_at: datetime | None
    settled_at: datetime | None
    bounced_at: datetime | None
    opened_at: datetime | None
    clicked_at: datetime | None
    complained_at: datetime | None


class AttemptOutput(BaseModel):
    """One call to one provider. `finished_at` is null if nobody lived to see its end.

    `route`: why this provider. `unknown_at`: when it became unknown how it ended; it stays when a receipt
    tells later. `cost`: what the provider takes for it, a decimal in the currency of its account, if it
    accepted the message and has a price here. `answer`: what the provider said, where that is not understood,
    without what may be an address or a secret.
    """

    id: UUID
    target: UUID
    number: int
    provider: str
    route: str | None
    started_at: datetime
    finished_at: datetime | None
    outcome: str
    unknown_at: datetime | None
    code: str | None
    provider_message_id: str | None
    cost: str | None
    answer: str | None


def accepted(one: Accepted) -> dict[str, Any]:
    """`AcceptedOutput`."""
    order = one.order
    return {
        "id": one.id,
        "type": order.type.slug if order.type else None,
        "critical": order.critical,
        "title": order.title,
        "body": order.body,
        "template": order.template or None,
        "payload": order.payload,
        "channels": "all" if order.all_channels else order.channels,
        "priority": order.priority,
        "scheduled_at": order.scheduled_at,
        "local_time": order.local_time or None,
        "expires_at": order.expires_at,
        "dedupe_key": order.dedupe_key or None,
        "collapse_key": order.collapse_key or None,
        "related_object": _related(order.related_type, order.related_id),
        "metadata": order.metadata,
        "recipients": one.recipients,
        "created_at": one.created_at,
        "targets": [_planned(target) for target in one.targets],
        "sms": _sms_of(one),
    }


def preview(person: Person, rendered: Mapping[str, Rendered]) -> dict[str, Any]:
    """`PreviewOutput`, of what was rendered by channel."""
    channels = [
        {
            "channel": channel,
            "subject": parts.subject,
            "text": parts.text,
            "html": parts.html,
            "sms": sms_size(parts.text) if channel == "sms" else None,
        }
        for channel, parts in rendered.items()
    ]
    return {"user": person.id or None, "channels": channels}


def sms_size(text: str) -> dict[str, Any]:
    """`SmsSize`."""
    measured = measure(text)
    return {"encoding": measured.encoding, "characters": len(text), "segments": measured.segments}


def notification(row: Notification, summary: dict[str, Any]) -> dict[str, Any]:
    """`NotificationDetail`."""
    return {
        "id": row.id,
        "type": row.type or None,
        "critical": row.critical,
        "title": row.title,
        "body": row.body,
        "template": row.template or None,
        "payload": _json(row.payload),
        "channels": "all" if row.all_channels else row.channels,
        "priority": row.priority,
        "scheduled_at": row.scheduled_at,
        "local_time": row.local_time or None,
        "expires_at": row.expires_at,
        "dedupe_key": row.dedupe_key or None,
        "collapse_key": row.collapse_key or None,
        "related_object": _related(row.related_type, row.related_id),
        "metadata": _json(row.metadata),
        "recipients": row.recipient_count,
        "created_at": row.created_at,
        "cancelled_at": row.cancelled_at,
        "summary": summary,
    }


def target(row: NotificationTarget) -> dict[str, Any]:
    """`TargetOutput`."""
    names = TargetOutput.model_fields.keys() - {"user", "reason"}
    return {
        "user": row.user_id,
        "reason": row.reason or None,
        **{name: getattr(row, name) for name in TargetOutput.model_fields if name in names},
    }


def attempt(row: DeliveryAttempt) -> dict[str, Any]:
    """`AttemptOutput`."""
    return {
        "id": row.id,
        "target": row.target_id,
        "number": row.number,
        "provider": row.provider,
        "route": row.route or None,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "outcome": row.outcome,
        "unknown_at": row.unknown_at,
        "code": row.code or None,
        "provider_message_id": row.provider_message_id or None,
        "cost": None if row.cost is None else f"{row.cost:f}",
        "answer": row.answer or None,
    }


def _json(value: Any) -> Any:
    """As it was sent. Postgres keeps 1e22 with all its zeros, and Python reads that as an integer."""
    if isinstance(value, dict):
        return {name: _json(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_json(inner) for inner in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:  # more than JSON's readers agree on
        return float(value)
    return value


def _related(type: str, id: str) -> dict[str, str] | None:
    return {"type": type, "id": id} if id else None


def _sms_of(one: Accepted) -> dict[str, Any] | None:
    order = one.order
    if order.template or not any(_goes_by_sms(target) for target in one.targets):
        return None
    return sms_size(sms_text(order.title, order.body))


def _goes_by_sms(target: Planned) -> bool:
    return target.channel == "sms" and target.status is not Status.SKIPPED


def _planned(one: Planned) -> dict[str, Any]:
    return {
        "id": one.id,
        "user": one.user_id,
        "channel": one.channel,
        "status": one.status.value,
        "reason": one.reason or None,
        "held_until": one.at if one.status is Status.HELD else None,
    }


# Of an audience that workers are still planning there are chunks left: it is not settled, whatever its
# targets say so far. The table is empty but while one is planned.
_PLANNING = "planning"
_KEPT = f"""
SELECT notification_id, planned, {", ".join(status.value for status in COUNTED)},
       EXISTS (SELECT 1 FROM notifications_audiencechunk c WHERE c.notification_id = s.notification_id)
FROM notifications_notificationsummary s WHERE notification_id = ANY(%s::uuid[])
"""
_DERIVED = f"""
SELECT notification_id, status, count(*) FROM notifications_notificationtarget
WHERE notification_id = ANY(%(ids)s::uuid[]) GROUP BY notification_id, status
UNION ALL
SELECT DISTINCT notification_id, '{_PLANNING}', 0 FROM notifications_audiencechunk
WHERE notification_id = ANY(%(ids)s::uuid[])
"""


def summaries(rows: Iterable[Notification]) -> dict[UUID, dict[str, Any]]:
    """Where the targets of these notifications stand: kept for big ones, derived for the others.

    Which are big is known only of those that cannot be: how many devices people had is written nowhere.
    """
    most = {row.id: planning.most(row.recipient_count, row.channels) for row in rows}
    kept = _kept([id for id, targets in most.items() if targets > SUMMARY_ABOVE])
    return kept | _derived([id for id in most if id not in kept])


def _kept(ids: list[UUID]) -> dict[UUID, dict[str, Any]]:
    found = db.rows(_KEPT, [ids]) if ids else []
    return {
        id: _summary(targets, dict(zip(COUNTED, values, strict=True)), planning=planning)
        for id, targets, *values, planning in found
    }


def _derived(ids: list[UUID]) -> dict[UUID, dict[str, Any]]:
    counts: dict[UUID, dict[str, int]] = {id: {} for id in ids}
    for id, status, number in db.rows(_DERIVED, {"ids": ids}) if ids else ():
        counts[id][status] = number
    return {id: _summary(sum(one.values()), one, planning=_PLANNING in one) for id, one in counts.items()}


def _summary(targets: int, counts: Mapping[str, int], *, planning: bool) -> dict[str, Any]:
    counted = {status.value: counts.get(status, 0) for status in COUNTED}
    return {
        "targets": targets,
        "in_progress": targets - sum(counted.values()),
        **counted,
        "settled": not planning and targets == sum(counted[status] for status in SETTLED),
    }
