"""The intake service: from a wish to rows. What the API, the admin and the benchmarks call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings

from apps.content.catalog import TypeRules
from apps.notifications import consequences, planning, targeting
from apps.notifications.models import SUMMARY_ABOVE
from apps.notifications.planning import Places, Recipient, Wish
from apps.notifications.statuses import Status
from apps.notifications.transitions import Planned
from project import clock, db, ids, queues

INLINE = 1_000  # recipients planned in the caller's transaction; more are planned by workers, in chunks
CHUNK = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A notification to accept, its words and people already resolved."""

    organization_id: int
    client_id: int | None = None
    title: str = ""
    body: str = ""
    type: TypeRules | None = None
    template: str = ""  # slug
    version_id: int | None = None  # what is current of the template
    payload: dict[str, Any] = field(default_factory=dict)
    channels: Sequence[str]
    all_channels: bool = False  # of these, those each person has an address for
    priority: str = "normal"
    keep_lane: bool = False  # a big audience stays in the lane of its priority
    scheduled_at: datetime | None = None
    local_time: str = ""  # where each person is, as `localtime.parse_local` takes it
    expires_at: datetime | None = None
    dedupe_key: str = ""  # the event, told to each person once
    collapse_key: str = ""  # of those with the same one that wait for a person the newest goes out
    max_attempts: int | None = None
    related_type: str = ""
    related_id: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def critical(self) -> bool:
        """Whether it goes out whatever people have chosen: its type says so; without one its priority."""
        return self.type.critical if self.type else self.priority == "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A notification as it was written. `targets` is empty where planning is left to workers."""

    id: UUID
    order: Order
    created_at: datetime
    recipients: int
    bulk: bool
    summarised: bool  # a summary of its targets is kept
    targets: list[Planned]

    @property
    def lanes(self) -> set[str]:
        """Whose bells to ring after COMMIT."""
        return {target.lane for target in self.targets if target.status is Status.QUEUED}


def accept(orders: Sequence[tuple[Order, Sequence[Recipient]]], now: datetime) -> list[Accepted]:
    """Write notifications and their targets, in the caller's transaction: two statements for any number, two
    for big ones, and what `targeting.plan` looks up. now: the transaction's time."""
    found = targeting.places_of([(planning.reach(o.channels, o.type), people) for o, people in orders])
    wishes = [
        wish_of(ids.uuid7(), order, bulk=is_bulk(order, _count(order, people, found)))
        for order, people in orders
    ]
    everyone = [people for _, people in orders]
    planned = targeting.plan(list(zip(wishes, everyone, strict=True)), now, found=found)
    accepted = [
        _accepted(wish, order, now, recipients=len(people), targets=targets)
        for wish, (order, people), targets in zip(wishes, orders, planned, strict=True)
    ]
    big = write(accepted)
    targeting.create([target for targets in planned for target in targets], summarised=big)
    return accepted


def accept_audience(order: Order, user_ids: Sequence[int]) -> UUID:
    """Write a notification for any number of people; workers plan them, chunk by chunk. Rings its bell.

    Must not be called inside a transaction.
    """
    id = ids.uuid7()
    everyone = list(dict.fromkeys(user_ids))
    chunks = [everyone[start : start + CHUNK] for start in range(0, len(everyone), CHUNK)]
    with db.one_transaction():
        now = clock.now()
        write([_unplanned(id, order, now, recipients=len(everyone))])
        for chunk in chunks:
            db.execute(
                "INSERT INTO notifications_audiencechunk (notification_id, user_ids) VALUES (%s, %s)",
                [id, chunk],
            )
    queues.ring(queues.PLANNING)
    return id


def wish_of(id: UUID, order: Order, *, bulk: bool) -> Wish:
    """What planning needs of an order."""
    return Wish(
        notification_id=id,
        organization_id=order.organization_id,
        channels=order.channels,
        all_channels=order.all_channels,
        priority=order.priority,
        bulk=bulk,
        scheduled_at=order.scheduled_at,
        expires_at=order.expires_at,
        max_attempts=order.max_attempts or settings.MAX_ATTEMPTS,
        type=order.type,
        critical=order.critical,
        local_time=order.local_time,
        dedupe_key=order.dedupe_key,
    )


def is_bulk(order: Order, targets: int) -> bool:
    """More than 1,000 targets go by the bulk lanes, unless the caller may keep them in the priority's."""
    return targets > INLINE and not order.keep_lane


def keeps_summary(recipients: int, channels: Sequence[str], *, targets: int) -> bool:
    """Whether the summary is kept: always with so many targets, and with as many people × channels, though
    fewer were planned: processes of the version before go by that, and may still run beside us."""
    return max(recipients * len(channels), targets) > SUMMARY_ABOVE


def _accepted(
    wish: Wish, order: Order, now: datetime, *, recipients: int, targets: list[Planned]
) -> Accepted:
    return Accepted(
        id=wish.notification_id,
        order=order,
        created_at=now,
        recipients=recipients,
        bulk=wish.bulk,
        summarised=keeps_summary(recipients, order.channels, targets=len(targets)),
        targets=targets,
    )


def _count(order: Order, people: Sequence[Recipient], places: Places) -> int:
    """How many targets there will be; the most there may be where that is not worth counting."""
    most = planning.most(len(people), order.channels)
    if most <= INLINE:
        return most
    return planning.count(order.channels, people, places, all_channels=order.all_channels)


def _unplanned(id: UUID, order: Order, now: datetime, *, recipients: int) -> Accepted:
    """One whose people are not known yet: its lanes go by people × channels."""
    most = planning.most(recipients, order.channels)
    return Accepted(
        id=id,
        order=order,
        created_at=now,
        recipients=recipients,
        bulk=is_bulk(order, recipients * len(order.channels)),
        summarised=keeps_summary(recipients, order.channels, targets=most),
        targets=[],
    )


_INSERT = """
INSERT INTO notifications_notification (
    id, organization_id, client_id, title, body, type, critical, template, template_version, payload,
    channels, all_channels, priority, bulk, scheduled_at, local_time, expires_at, dedupe_key,
    collapse_key, max_attempts, related_type, related_id, metadata, recipient_count)
SELECT id, organization_id, client_id, title, body, type, critical, template, template_version, payload,
       string_to_array(channels, ','), all_channels,
       priority, bulk, scheduled_at, local_time, expires_at, dedupe_key, collapse_key, max_attempts,
       related_type, related_id, metadata, recipients
FROM {given}
"""
_COLUMNS = db.Columns(
    (
        ("id", "uuid"),
        ("organization_id", "bigint"),
        ("client_id", "bigint"),
        ("title", "text"),
        ("body", "text"),
        ("type", "text"),
        ("critical", "boolean"),
        ("template", "text"),
        ("template_version", "bigint"),
        ("payload", "jsonb"),
        ("channels", "text"),
        ("all_channels", "boolean"),
        ("priority", "text"),
        ("bulk", "boolean"),
        ("scheduled_at", "timestamptz"),
        ("local_time", "text"),
        ("expires_at", "timestamptz"),
        ("dedupe_key", "text"),
        ("collapse_key", "text"),
        ("max_attempts", "smallint"),
        ("related_type", "text"),
        ("related_id", "text"),
        ("metadata", "jsonb"),
        ("recipients", "int"),
    )
)

_SUMMARY = """
INSERT INTO notifications_notificationsummary (notification_id, planned, {columns})
SELECT id, 0, {zeros} FROM unnest(%b::uuid[]) AS g(id)
""".format(
    columns=", ".join(status.value for status in consequences.COUNTED),
    zeros=", ".join("0" for _ in consequences.COUNTED),
)


def write(accepted: Sequence[Accepted]) -> set[UUID]:
    """Write the notifications, in the caller's transaction; those whose summary is kept."""
    given, values = _COLUMNS.given([*map(_row, accepted)])
    db.execute(_INSERT.format(given=given), values)
    big = {one.id for one in accepted if one.summarised}
    if big:
        db.execute(_SUMMARY, [list(big)])
    return big


def _row(one: Accepted) -> tuple[object, ...]:
    order = one.order
    return (
        one.id,
        order.organization_id,
        order.client_id,
        order.title,
        order.body,
        order.type.slug if order.type else "",
        order.critical,
        order.template,
        order.version_id,
        _json(order.payload),
        ",".join(order.channels),
        order.all_channels,
        order.priority,
        one.bulk,
        order.scheduled_at,
        order.local_time,
        order.expires_at,
        order.dedupe_key,
        order.collapse_key,
        order.max_attempts or settings.MAX_ATTEMPTS,
        order.related_type,
        order.related_id,
        _json(order.metadata),
        one.recipients,
    )


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
