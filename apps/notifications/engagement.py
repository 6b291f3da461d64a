"""What people did with a message, and that it came back: times beside the status, which they never change.

Of a message in an inbox its item has them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from apps.notifications.inbox_models import InboxItem
from apps.notifications.models import NotificationTarget
from project import clock, db


class Stamps(NamedTuple):
    """When what first happened to a target, as far as we heard; None: not heard of."""

    id: UUID
    opened_at: datetime | None
    clicked_at: datetime | None
    complained_at: datetime | None
    bounced_at: datetime | None


_COLUMNS = Stamps._fields[1:]
_NEW = ", ".join(f"least(t.{column}, g.{column})" for column in _COLUMNS)
_STAMP = f"""
UPDATE notifications_notificationtarget t SET ({", ".join(_COLUMNS)}) = ROW({_NEW})
FROM unnest(%b::uuid[], {", ".join(["%b::timestamptz[]"] * len(_COLUMNS))}) AS g(id, {", ".join(_COLUMNS)})
WHERE t.id = g.id AND ({_NEW}) IS DISTINCT FROM ({", ".join(f"t.{column}" for column in _COLUMNS)})
"""


def stamp(stamps: Sequence[Stamps]) -> None:
    """Write these times where there is none yet, or a later one: reports come in any order.

    Each target once. In the caller's transaction, which holds the targets' locks; or in the order of their
    ids.
    """
    if stamps:
        db.execute(_STAMP, [list(column) for column in zip(*stamps, strict=True)])


def happened(*, opened: Collection[UUID], clicked: Collection[UUID]) -> None:
    """Write down that these were opened and clicked now, where that is the first time. Two statements."""
    now = clock.now()
    stamp(
        [
            Stamps(
                id,
                opened_at=now if id in opened else None,
                clicked_at=now if id in clicked else None,
                complained_at=None,
                bounced_at=None,
            )
            for id in sorted({*opened, *clicked})
        ]
    )


_DONE = ("seen_at", "read_at", "archived_at", "action", "acted_at")


def in_inbox(targets: Iterable[NotificationTarget]) -> dict[UUID, InboxItem]:
    """By target the item that is, or was, in an inbox, with what its person did; one statement, or none."""
    ids = [target.pk for target in targets if target.channel == "in_app"]
    return InboxItem.objects.only(*_DONE).in_bulk(ids) if ids else {}
