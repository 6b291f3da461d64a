"""Digests: what waited for one, as a notification with one target, made in the transaction that merges it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from apps.content import catalog
from apps.content.catalog import Catalog
from apps.content.rendering import RenderingError
from apps.notifications import contents, intake, transitions
from apps.notifications.coalescing import Waiting
from apps.notifications.contents import Content
from apps.notifications.intake import Accepted, Order
from apps.notifications.statuses import Status
from apps.notifications.transitions import Planned
from project import ids
from project.queues import lane_of

SLUG = "digest_email"  # of the type and of the template that digests have, by every channel
ITEMS = 100  # in the payload of one; how many more there are is said
_TEXT = 500  # characters of an item's title, and of its body


class Collected(NamedTuple):
    """What one person has waiting for one digest, oldest first. period: of `preferences.How`."""

    period: str
    waiting: Sequence[Waiting]


def make(groups: Sequence[Collected], now: datetime) -> dict[UUID, Planned]:
    """Make a digest of each group, in the caller's transaction; the target each of their targets went into.

    What does not render is left out, to end by itself; so is a group of which fewer than two are left, or for
    whose channel the digest's template has nothing.
    """
    if not groups:
        return {}
    waiting = [one for group in groups for one in group.waiting]
    found = _catalogs(waiting)
    texts = contents.load({one.notification_id for one in waiting})
    people = contents.recipients({one.user_id for one in waiting})
    made: dict[UUID, Planned] = {}
    written: list[Accepted] = []
    for group in groups:
        first = group.waiting[0]
        known = found[first.organization_id]
        items = _items(group.waiting, texts, people.get(first.user_id, {}), known)
        digest = _digest(group, items, known, now)
        if digest:
            written.append(digest)
            made |= {one.id: digest.targets[0] for one, _ in items}
    if written:
        intake.write(written)
        transitions.create([target for one in written for target in one.targets], summarised=())
    return made


def _catalogs(waiting: Sequence[Waiting]) -> dict[int, Catalog]:
    """Of each organization: the digest's template, and the types of what is collected."""
    types: dict[int, set[str]] = {}
    for one in waiting:
        types.setdefault(one.organization_id, {SLUG}).add(one.type)
    return {id: catalog.find(id, templates=[SLUG], types=slugs - {""}) for id, slugs in types.items()}


_Items = list[tuple[Waiting, dict[str, Any]]]


def _items(
    waiting: Sequence[Waiting], texts: Mapping[UUID, Content], recipient: Mapping[str, str], known: Catalog
) -> _Items:
    items: _Items = []
    for one in waiting:
        try:
            items.append((one, _item(one, texts[one.notification_id], recipient, known)))
        except RenderingError:
            continue
    return items


def _item(one: Waiting, content: Content, recipient: Mapping[str, str], known: Catalog) -> dict[str, Any]:
    """In its in-app words, which are short, if it has such."""
    short = content.version is not None and "in_app" in content.version.channels
    words = contents.rendered(content, "in_app" if short else one.channel, recipient)
    type = known.types.get(one.type)
    return {
        "title": (words.subject or words.text.split("\n", 1)[0])[:_TEXT],
        "body": words.text[:_TEXT],
        "link": words.link,
        "type": one.type,
        "type_name": type.name if type else "",
        "created_at": one.accepted_at.isoformat(timespec="seconds"),
        "notification_id": str(one.notification_id),
    }


def _digest(group: Collected, items: _Items, known: Catalog, now: datetime) -> Accepted | None:
    first, template = group.waiting[0], known.templates.get(SLUG)
    if template is None or first.channel not in template.version.channels or len(items) < 2:
        return None
    latest = [item for _, item in items][-ITEMS:]
    order = Order(
        organization_id=first.organization_id,
        type=known.types.get(SLUG),
        template=SLUG,
        version_id=template.version.id,
        payload={
            "period": group.period,
            "count": len(items),
            "items": latest,
            "more": len(items) - len(latest),
        },
        channels=[first.channel],
    )
    id = ids.uuid7()
    target = _target(id, first, order.priority, now)
    return Accepted(
        id=id, order=order, created_at=now, recipients=1, bulk=False, summarised=False, targets=[target]
    )


def _target(notification_id: UUID, first: Waiting, priority: str, now: datetime) -> Planned:
    return Planned(
        id=ids.target_id(),
        notification_id=notification_id,
        organization_id=first.organization_id,
        user_id=first.user_id,
        channel=first.channel,
        address=first.address,
        lane=lane_of(first.channel, priority),
        status=Status.QUEUED,
        at=now,
        attempts_allowed=first.attempts_allowed,
    )
