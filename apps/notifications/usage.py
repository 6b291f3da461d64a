"""How often each version of a template is used: counted from what was accepted, not while it is.

A row that every request updates would make them wait for each other. Once a minute the sweeper adds up what
came since, by id: it is a UUIDv7, so the primary key is in the order of time. Up to a horizon, so that no
transaction that began before and commits after is missed.
"""

from __future__ import annotations

from project import db

HORIZON = 120  # seconds; longer than any transaction that accepts something, and clocks that differ
EVERY = 60  # seconds

# The first UUIDv7 of the millisecond that was so many seconds ago.
_AGO = """(
    lpad(to_hex((extract(epoch FROM carillon_now() - make_interval(secs => {})) * 1000)::bigint), 12, '0')
    || repeat('0', 20)
)::uuid"""

# Nothing, if it is not time yet or another sweeper is at it.
_DUE = f"""
SELECT last, {_AGO.format(HORIZON)} FROM notifications_usecursor
WHERE last < {_AGO.format(HORIZON + EVERY)} FOR UPDATE SKIP LOCKED
"""

# The place is the last one seen or, where no more are left, the horizon. A draft that was tried may be gone.
_COUNT = """
WITH seen AS MATERIALIZED (
    SELECT id, template_version, created_at FROM notifications_notification
    WHERE id > %(last)s::uuid AND id < %(until)s::uuid ORDER BY id LIMIT %(limit)s::bigint
), counted AS (
    INSERT INTO content_templateuse AS u (version_id, count, last_at)
    SELECT template_version, count(*), max(created_at) FROM seen
    WHERE template_version IN (SELECT id FROM content_templateversion WHERE id = template_version)
    GROUP BY template_version ORDER BY template_version
    ON CONFLICT (version_id) DO UPDATE
    SET count = u.count + excluded.count, last_at = greatest(u.last_at, excluded.last_at)
)
UPDATE notifications_usecursor SET last = coalesce(
    (SELECT id FROM seen ORDER BY id OFFSET %(limit)s::bigint - 1), %(until)s::uuid
) RETURNING (SELECT count(*) FROM seen)
"""


def count_uses(limit: int) -> int:
    """Add so many notifications at most to the uses of their versions; how many there were."""
    with db.one_transaction():
        for last, until in db.rows(_DUE):
            ((count,),) = db.rows(_COUNT, {"last": last, "until": until, "limit": limit})
            return int(count)
    return 0
