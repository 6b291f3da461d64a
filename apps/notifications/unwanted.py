"""What people do not want any more, asked of the targets themselves: by the claim, and by the last check."""

from __future__ import annotations


def unwanted(target: str) -> str:
    """The SQL condition that the person of this target (a table's alias) has switched it off.

    Off is what is off by its type and channel, by either, or altogether. What is critical goes out all the
    same. The notification is looked at only for people who have such a row.

    OFFSET 0 is one probe of an index each, whatever the statistics say, as in `suppression.among`. So is the
    order: only the primary key has it. By `=` a planner that takes the table for small reads another index.
    """
    return f"""EXISTS (
    SELECT 1 FROM preferences_choice c
    WHERE c.user_id = {target}.user_id AND c.channel IN ('', {target}.channel) AND c.how = 'off'
      AND (c.until IS NULL OR c.until > carillon_now())
      AND EXISTS (
          SELECT 1 FROM notifications_notification n
          WHERE n.id BETWEEN {target}.notification_id AND {target}.notification_id
            AND NOT n.critical AND c.type IN ('', n.type)
          ORDER BY n.id OFFSET 0)
    OFFSET 0)"""
