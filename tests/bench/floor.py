"""The floor of the pipeline: the same rows inserted, claimed and settled by bare SQL.

Same tables, indexes, batch sizes and number of connections; no rendering, no provider, no Python per row.
"""

from __future__ import annotations

import os
import threading
import time
from uuid import UUID

import psycopg

from project import ids

PLANNED_AT_ONCE = 1_000
OPTIONS = "-c plan_cache_mode=force_generic_plan -c jit=off -c enable_seqscan=off -c enable_hashjoin=off"
BATCH = {"email": 500, "push": 256, "in_app": 500, "sms": 128}

# A UUIDv7 made by SQL; the last byte is zero, as in ours.
_ID = """
overlay(overlay(
    lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0')
    || substr(replace(gen_random_uuid()::text, '-', ''), 13) PLACING '7' FROM 13) PLACING '00' FROM 31)::uuid
"""

PLAN = f"""
INSERT INTO notifications_notificationtarget (id, notification_id, organization_id, user_id, channel, address,
    lane, status, reason, next_attempt_at, attempts, attempts_allowed)
SELECT {_ID}, %(notification)s, 1, 1 + n %% %(people)s, %(channel)s, 'person' || n || '@example.com',
       %(lane)s, 'queued', '', carillon_now(), 0, 6
FROM generate_series(%(first)s::int, %(last)s::int) AS g(n)
"""

# What stays in the tables for good: for `growth`. A thousand targets to a notification.
SETTLED = f"""
WITH made AS (
    INSERT INTO notifications_notificationtarget (id, notification_id, organization_id, user_id, channel,
        address, lane, status, reason, attempts, attempts_allowed, sent_at, settled_at)
    SELECT {_ID}, md5((n / 1000)::text)::uuid, 1, n, 'email', 'person' || n || '@example.com', 'email.bulk',
           'sent', '', 1, 6, carillon_now(), carillon_now()
    FROM generate_series(%(first)s::int, %(last)s::int) AS g(n) RETURNING id
)
INSERT INTO notifications_deliveryattempt
    (id, target_id, number, provider, worker, started_at, finished_at, outcome, code, provider_message_id)
SELECT overlay(id::text PLACING '01' FROM 35)::uuid, id, 1, 'floor', 'floor', carillon_now(), carillon_now(),
       'accepted', '', id::text
FROM made
"""

_CLAIM = """
WITH due AS MATERIALIZED (
    SELECT id FROM notifications_notificationtarget
    WHERE lane = %(lane)s AND next_attempt_at <= carillon_now()
    ORDER BY next_attempt_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE notifications_notificationtarget t SET status = 'sending', claim_id = 1, next_attempt_at = NULL
    FROM due WHERE t.id = due.id RETURNING t.id
)
SELECT array_agg(id) FROM claimed
"""

_CLAIM_ROW = """
INSERT INTO delivery_claim (lane, provider, worker, target_ids, lease_until)
VALUES (%s, 'floor', 'floor', %s::uuid[], carillon_now()) RETURNING id
"""

_ATTEMPTS = """
INSERT INTO notifications_deliveryattempt
    (id, target_id, number, provider, worker, started_at, finished_at, outcome, code, provider_message_id)
SELECT overlay(id::text PLACING '01' FROM 35)::uuid, id, 1, 'floor', 'floor', carillon_now(), carillon_now(),
       'accepted', '', id::text
FROM unnest(%s::uuid[]) AS g(id)
"""

_SETTLE = """
UPDATE notifications_notificationtarget t
SET status = 'sent', attempts = 1, claim_id = NULL, sent_at = carillon_now(), settled_at = carillon_now()
FROM unnest(%s::uuid[]) AS g(id) WHERE t.id = g.id AND t.status = 'sending' AND t.claim_id = 1
"""

_DELIVER = """
WITH due AS MATERIALIZED (
    SELECT id, user_id FROM notifications_notificationtarget
    WHERE lane = %(lane)s AND next_attempt_at <= carillon_now()
    ORDER BY next_attempt_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), moved AS (
    UPDATE notifications_notificationtarget t
    SET status = 'delivered', next_attempt_at = NULL, sent_at = carillon_now(), delivered_at = carillon_now(),
        settled_at = carillon_now()
    FROM due WHERE t.id = due.id RETURNING t.id, t.user_id
), states AS (
    INSERT INTO notifications_inboxstate AS s (user_id, head) SELECT user_id + 1000000000, 1 FROM moved
    ON CONFLICT (user_id) DO UPDATE SET head = s.head + 1 RETURNING user_id, head
), items AS (
    INSERT INTO notifications_inboxitem (target_id, user_id, notification_id, title, body, sequence)
    SELECT moved.id, moved.user_id + 1000000000, %(notification)s, 'Person, your order is on its way',
           repeat('Hello, your order has left our warehouse. ', 7), head
    FROM moved JOIN states ON states.user_id = moved.user_id + 1000000000 RETURNING 1
)
SELECT count(*) FROM items
"""


class _Floor:
    def __init__(self, channel: str, targets: int) -> None:
        self.lane = f"floor.{channel}"
        self.values = {
            "notification": ids.uuid7(),
            "channel": channel,
            "lane": self.lane,
            "people": targets,
        }
        self.channel = channel
        self.limit = BATCH[channel]
        self.planned = iter(range(0, targets, PLANNED_AT_ONCE))
        self.targets = targets
        self.left = targets
        self.lock = threading.Lock()

    def work(self) -> None:
        """One connection: plan while there is something to plan, then claim and settle."""
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, options=OPTIONS) as connection:
            while self._plan(connection) or self._deliver(connection) or self.left > 0:
                pass

    def _plan(self, connection: psycopg.Connection) -> bool:
        with self.lock:
            first = next(self.planned, None)
        if first is None:
            return False
        last = min(first + PLANNED_AT_ONCE, self.targets)
        connection.execute(PLAN, {**self.values, "first": first + 1, "last": last})
        return True

    def _deliver(self, connection: psycopg.Connection) -> bool:
        done = self._in_app(connection) if self.channel == "in_app" else self._provider(connection)
        with self.lock:
            self.left -= done
        return done > 0

    def _in_app(self, connection: psycopg.Connection) -> int:
        ((done,),) = connection.execute(_DELIVER, {**self.values, "limit": self.limit}).fetchall()
        return int(done)

    def _provider(self, connection: psycopg.Connection) -> int:
        with connection.transaction():
            ((found,),) = connection.execute(_CLAIM, {"lane": self.lane, "limit": self.limit}).fetchall()
            if not found:
                return 0
            ((claim_id,),) = connection.execute(_CLAIM_ROW, [self.lane, found]).fetchall()
        connection.execute(
            "UPDATE delivery_claim SET call_started_at = carillon_now() WHERE id = %s", [claim_id]
        )
        with connection.transaction():
            ordered: list[UUID] = sorted(found)
            connection.execute(_ATTEMPTS, [ordered])
            connection.execute(_SETTLE, [ordered])
            connection.execute("DELETE FROM delivery_claim WHERE id = %s", [claim_id])
        return len(found)


def measure(channel: str, targets: int, *, connections: int) -> float:
    """Targets per second of bare SQL."""
    one = _Floor(channel, targets)
    threads = [threading.Thread(target=one.work) for _ in range(connections)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return targets / (time.monotonic() - started)
