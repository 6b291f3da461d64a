"""Choices of people, as rows: written here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from django.dispatch import Signal

from apps.users import people
from project import db

# Sent inside the transaction that changes what people want, or their time zone: `user_ids`. What waits for
# them is decided anew.
changed = Signal()


class Wanted(NamedTuple):
    """What a person wants of a type by a channel. how None: as the defaults have it."""

    type: str  # slug; empty: every type
    channel: str  # empty: every channel
    how: str | None  # of `models.How`
    until: datetime | None = None  # UTC; None: for good
    reason: str = ""  # in the person's own words


_FORGET = """
DELETE FROM preferences_choice
WHERE user_id = %s AND (type, channel) IN (SELECT * FROM unnest(%b::text[], %b::text[]))
"""
_KEEP = """
INSERT INTO preferences_choice AS c (user_id, type, channel, how, until, reason, source)
SELECT %s, type, channel, how, until, reason, %s
FROM unnest(%b::text[], %b::text[], %b::text[], %b::timestamptz[], %b::text[])
  AS g(type, channel, how, until, reason)
ON CONFLICT (user_id, type, channel) DO UPDATE
SET (how, until, reason, source, created_at)
  = (excluded.how, excluded.until, excluded.reason, excluded.source, excluded.created_at)
"""


def write(user_id: int, wanted: Iterable[Wanted], *, source: str) -> None:
    """Write these down in the caller's transaction; of the same type and channel the last one counts.

    source: who said so (person, service, link, mail_client, admin). Counts from the commit, also for what is
    queued and has not left yet.
    """
    given = list(wanted)
    if given:
        people.lock(user_id)
        record(user_id, given, source=source)
        changed.send(sender=None, user_ids=[user_id])


def record(user_id: int, wanted: Iterable[Wanted], *, source: str) -> None:
    """As `write`, for a caller that holds the person's lock, and sends `changed` once for all it does."""
    last = {(one.type, one.channel): one for one in wanted}
    forget = [one for one in last.values() if one.how is None]
    if forget:
        db.execute(_FORGET, [user_id, [one.type for one in forget], [one.channel for one in forget]])
    keep = [one for one in last.values() if one.how is not None]
    if keep:
        db.execute(_KEEP, [user_id, source, *_columns(keep)])


def _columns(rows: Sequence[Wanted]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
