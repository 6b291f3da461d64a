"""Digests: what waited for one, as a notification with one target, made in the transaction that merges it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
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
_BODY = 500  # characters of an item


def make(groups: Sequence[Sequence[Waiting]], now: datetime) -> dict[UUID, Planned]:
    """Make a digest of each group, in the caller's transaction; the target each of their targets went into.

    What does not render is left out, to end by itself; so is a group for whose channel the digest's template
    has nothing.
    """
    if not groups:
        return {}
    found = {one: catalog.find(one, templates=[SLUG]) for one in {g[0].organization_id for g in groups}}
    texts = contents.load({one.notification_id for group in groups for one in group})
    people = contents.recipients({group[0].user_id for group in groups})
    made: dict[UUID, Planned] = {}
    written: list[Accepted] = []
    for group in groups:
        items = _items(group, texts, people.get(group[0].user_id, {}))
        digest = _digest(group[0], items, found[group[0].organization_id], now)
        if digest:
            written.append(digest)
            made |= {one.id: digest.targets[0] for one, _ in items}
    intake.write(written)
    transitions.create([target for one in written for target in one.targets], summarised=())
    return made


_Items = list[tuple[Waiting, dict[str, Any]]]


def _items(group: Sequence[Waiting], texts: Mapping[UUID, Content], recipient: Mapping[str, str]) -> _Items:
    items: _Items = []
    for one in group:
        content = texts[one.notification_id]
        try:
            items.append((one, _item(one, content, recipient)))
        except RenderingError:
            continue
    return items


def _item(one: Waiting, content: Content, recipient: Mapping[str, str]) -> dict[str, Any]:
    """In its in-app words, which are short, if it has such."""
    short = content.version is not None and "in_app" in content.version.channels
    words = contents.rendered(content, "in_app" if short else one.channel, recipient)
    return {
        "title": words.subject or words.text.split("\n", 1)[0][:_BODY],
        "body": words.text[:_BODY],
        "link": words.link,
        "type": one.type,
        "created_at": one.accepted_at.isoformat(timespec="seconds"),
        "notification_id": str(one.notification_id),
    }


def _digest(first: Waiting, items: _Items, found: Catalog, now: datetime) -> Accepted | None:
    template = found.templates.get(SLUG)
    if template is None or first.channel not in template.version.channels or len(items) < 2:
        return None
    id, channel = ids.uuid7(), first.channel
    latest = [item for _, item in items][-ITEMS:]
    order = Order(
        organization_id=first.organization_id,
        type=found.types.get(template.type),
        template=SLUG,
        version_id=template.version.id,
        payload={"count": len(items), "items": latest, "more": len(items) - len(latest)},
        channels=[channel],
    )
    target = Planned(
        id=ids.target_id(),
        notification_id=id,
        organization_id=first.organization_id,
        user_id=first.user_id,
        channel=channel,
        address=first.address,
        lane=lane_of(channel, order.priority),
        status=Status.QUEUED,
        at=now,
        attempts_allowed=first.attempts_allowed,
    )
    return Accepted(
        id=id, order=order, created_at=now, recipients=1, bulk=False, summarised=False, targets=[target]
    )
