"""The inbox: rows numbered per person, their recall, and the hints that tell the socket servers to look."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from channels.layers import get_channel_layer
from django.conf import settings

from project import db, loop

logger = logging.getLogger(__name__)

INBOX_GROUP = "inbox"  # every socket server listens; the hint names who has news

# The numbers are given out under the lock of the person's state row, taken in the order of user ids.
_ADD = """
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(%b::uuid[], %b::bigint[], %b::uuid[], %b::text[], %b::text[], %b::text[],
                         %b::jsonb[])
      AS g(target_id, user_id, notification_id, title, body, link, actions)
), heads AS (
    INSERT INTO notifications_inboxstate AS s (user_id, head)
    SELECT user_id, count(*) FROM given GROUP BY user_id ORDER BY user_id
    ON CONFLICT (user_id) DO UPDATE SET head = s.head + excluded.head
    RETURNING user_id, head
), added AS (
    INSERT INTO notifications_inboxitem
        (target_id, user_id, notification_id, title, body, link, actions, sequence)
    SELECT g.target_id, g.user_id, g.notification_id, g.title, g.body, g.link, g.actions,
           heads.head + 1 - row_number() OVER (PARTITION BY g.user_id ORDER BY g.target_id DESC)
    FROM given g JOIN heads USING (user_id)
)
SELECT user_id, head FROM heads
"""


class Entry(NamedTuple):
    """What goes into an inbox. actions: JSON, a list of {"id", "label", "link"}; None: none."""

    target: UUID
    user_id: int
    notification_id: UUID
    title: str
    body: str
    link: str = ""
    actions: str | None = None


def add(items: Sequence[Entry]) -> dict[int, int]:
    """Put these into the inboxes, in the caller's transaction; the new head per user."""
    columns = [list(column) for column in zip(*items, strict=True)]
    return dict(db.rows(_ADD, columns))


class Recalled(NamedTuple):
    """An item that was in an inbox, and is not there any more."""

    target: UUID
    user_id: int
    sequence: int


# Its number is not given out again: the person's head stays.
_RECALL = """
WITH gone AS (
    DELETE FROM notifications_inboxitem WHERE target_id = ANY(%b::uuid[])
    RETURNING target_id, user_id, sequence
), marked AS (
    UPDATE notifications_notificationtarget t SET recalled_at = carillon_now()
    FROM gone WHERE t.id = gone.target_id
)
SELECT target_id, user_id, sequence FROM gone
"""


def recall(targets: Sequence[UUID]) -> list[Recalled]:
    """Take the items of these targets out of the inboxes. Their locks are the caller's: delivered stays
    delivered, with `recalled_at`."""
    return [Recalled(*row) for row in db.rows(_RECALL, [list(targets)])]


def hint(heads: Mapping[int, int]) -> None:
    """Tell the socket servers whose inbox has moved, and to where. One message for all; call it after COMMIT.

    Returns at once, and may be lost: the rows are the truth, and every socket server looks for itself from
    time to time.
    """
    if heads:
        moved = {str(user_id): head for user_id, head in heads.items()}
        loop.run(_tell({"type": "inbox.moved", "heads": moved}))


def hint_recalled(items: Sequence[Recalled]) -> None:
    """Tell the socket servers what is gone. As `hint`; but nobody looks for it: if it is lost, a client sees
    it when it next reads the inbox."""
    if items:
        gone = [[one.user_id, str(one.target), one.sequence] for one in items]
        loop.run(_tell({"type": "inbox.recalled", "items": gone}))


async def _tell(message: Mapping[str, Any]) -> None:
    layer = get_channel_layer()
    try:
        await asyncio.wait_for(layer.group_send(INBOX_GROUP, message), settings.REDIS_TIMEOUT)
    except Exception as error:  # the layer lets every error of its transport through
        logger.warning("inbox hint not sent", extra={"error": type(error).__name__})
