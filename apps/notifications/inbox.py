"""What comes into inboxes and is taken out of them again, and the hints that tell the socket servers to look.

What people do with what they have is in `inbox_changes.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from channels.layers import get_channel_layer
from django.conf import settings

from apps.notifications import inbox_numbers
from project import db, loop

logger = logging.getLogger(__name__)

INBOX_GROUP = "inbox"  # every socket server listens; the hint names who has news

# The numbers are given out under the lock of the person's state row, taken in the order of user ids.
_ADD = """
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(%b::uuid[], %b::bigint[], %b::uuid[], %b::text[], %b::text[], %b::text[], %b::text[],
                         %b::text[], %b::jsonb[])
      AS g(target_id, user_id, notification_id, type, title, body, link, avatar, actions)
), heads AS (
    INSERT INTO notifications_inboxstate AS s (user_id, head, unread, unseen)
    SELECT user_id, count(*), count(*), count(*) FROM given GROUP BY user_id ORDER BY user_id
    ON CONFLICT (user_id) DO UPDATE SET
        head = s.head + excluded.head, unread = s.unread + excluded.unread,
        unseen = s.unseen + excluded.unseen
    RETURNING user_id, head
), added AS (
    INSERT INTO notifications_inboxitem
        (target_id, user_id, notification_id, type, title, body, link, avatar, actions, sequence)
    SELECT g.target_id, g.user_id, g.notification_id, g.type, g.title, g.body, g.link, g.avatar, g.actions,
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
    type: str
    title: str
    body: str
    link: str = ""
    avatar: str = ""
    actions: str | None = None


def add(items: Sequence[Entry]) -> dict[int, int]:
    """Put these into the inboxes, in the caller's transaction; the new head per user."""
    columns = [list(column) for column in zip(*items, strict=True)]
    return dict(db.rows(_ADD, columns))


# The words go; the row stays, and from its number those who have the item learn that it is gone.
_RECALL = inbox_numbers.statement(
    chosen="i.target_id = ANY(%(targets)b::uuid[])",
    changed="i.recalled_at IS NULL",
    set="""recalled_at = carillon_now(), title = '', body = '', link = '', avatar = '', actions = NULL,
           snoozed_until = NULL, change = was.number""",
)
_OWNERS = """
SELECT target_id, user_id FROM notifications_inboxitem
WHERE target_id = ANY(%b::uuid[]) AND recalled_at IS NULL
"""
_MARK = """
UPDATE notifications_notificationtarget SET recalled_at = carillon_now() WHERE id = ANY(%b::uuid[])
"""


def recall(targets: Sequence[UUID]) -> tuple[set[UUID], dict[int, int]]:
    """Take the items of these targets out of the inboxes: those that were, and the new head per user.

    The targets' locks are the caller's: delivered stays delivered, with `recalled_at`.
    """
    owners: dict[UUID, int] = dict(db.rows(_OWNERS, [list(targets)]))
    if not owners:
        return set(), {}
    gone = list(owners)
    db.execute(_MARK, [gone])
    inbox_numbers.lock({*owners.values()})
    moved = inbox_numbers.apply(_RECALL, {"targets": gone})
    return set(gone), {one.user_id: one.head for one in moved}


_DUE = """
SELECT user_id, target_id FROM notifications_inboxitem
WHERE snoozed_until <= carillon_now() ORDER BY snoozed_until LIMIT %s
"""
_RETURN = inbox_numbers.statement(
    chosen="i.target_id = ANY(%(targets)b::uuid[])",
    changed="i.snoozed_until <= carillon_now()",
    set=inbox_numbers.COME_BACK,
)


def return_snoozed(limit: int) -> int:
    """Items whose time has come are as if they were new; how many were due, `limit` at most."""
    due = db.rows(_DUE, [limit])
    if not due:
        return 0
    with db.one_transaction():
        inbox_numbers.lock({user_id for user_id, _ in due})
        moved = inbox_numbers.apply(_RETURN, {"targets": [target for _, target in due]})
    hint({one.user_id: one.head for one in moved})
    return len(due)


def hint(heads: Mapping[int, int]) -> None:
    """Tell the socket servers whose inbox has moved, and to where. One message for all; call it after COMMIT.

    Returns at once, and may be lost: the rows are the truth, and every socket server looks for itself from
    time to time.
    """
    if heads:
        loop.run(_tell({str(user_id): head for user_id, head in heads.items()}))


async def _tell(heads: Mapping[str, int]) -> None:
    layer = get_channel_layer()
    try:
        message = {"type": "inbox.moved", "heads": heads}
        await asyncio.wait_for(layer.group_send(INBOX_GROUP, message), settings.REDIS_TIMEOUT)
    except Exception as error:  # the layer lets every error of its transport through
        logger.warning("inbox hint not sent", extra={"error": type(error).__name__})
