"""What people did with a message, and that it came back: times beside the status, which they never change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from project import db


class Stamps(NamedTuple):
    """When what first happened to a target, as reported; None: not reported."""

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

    In the caller's transaction, which holds the targets' locks. Each target once.
    """
    if stamps:
        db.execute(_STAMP, [list(column) for column in zip(*stamps, strict=True)])
