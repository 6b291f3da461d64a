"""What the run sees of the database meanwhile: every move, every unknown outcome, every step of an inbox,
what is in the air."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg

ENGAGEMENT = ("opened_at", "clicked_at", "complained_at")
_CHANGED = " OR ".join(
    f"(OLD.{name} IS NOT NULL AND NEW.{name} IS DISTINCT FROM OLD.{name})" for name in ENGAGEMENT
)

# Triggers of this database only. clock_timestamp(): the moment itself, not that of its transaction.
_INSTALL = f"""
CREATE TABLE chaos_move (
    target_id uuid, old text, new text, engagement_changed boolean, at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION chaos_note_move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO chaos_move (target_id, old, new, engagement_changed)
    VALUES (NEW.id, OLD.status, NEW.status, {_CHANGED});
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_move AFTER UPDATE ON notifications_notificationtarget FOR EACH ROW
    WHEN (OLD.status <> NEW.status OR {_CHANGED}) EXECUTE FUNCTION chaos_note_move();

CREATE TABLE chaos_unknown (
    attempt_id uuid, target_id uuid, code text, at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION chaos_note_unknown() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO chaos_unknown (attempt_id, target_id, code) VALUES (NEW.id, NEW.target_id, NEW.code);
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_unknown AFTER INSERT OR UPDATE ON notifications_deliveryattempt FOR EACH ROW
    WHEN (NEW.outcome = 'unknown') EXECUTE FUNCTION chaos_note_unknown();

CREATE TABLE chaos_inbox (
    user_id bigint, number bigint, target_id uuid, recalled boolean, sequence bigint,
    seen_at timestamptz, read_at timestamptz, archived_at timestamptz, snoozed_until timestamptz,
    action text, acted_at timestamptz);
CREATE FUNCTION chaos_note_inbox() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO chaos_inbox VALUES (
        NEW.user_id, greatest(NEW.sequence, NEW.change), NEW.target_id, NEW.recalled_at IS NOT NULL,
        NEW.sequence, NEW.seen_at, NEW.read_at, NEW.archived_at, NEW.snoozed_until, NEW.action, NEW.acted_at);
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_inbox AFTER INSERT OR UPDATE ON notifications_inboxitem FOR EACH ROW
    EXECUTE FUNCTION chaos_note_inbox();
"""


def install(connection: psycopg.Connection[Any]) -> None:
    """Write down from now on what moves, what ends unknown, and each step of an inbox."""
    connection.execute(_INSTALL)


_IN_THE_AIR = """
SELECT c.id, count(t.id)
FROM delivery_claim c CROSS JOIN unnest(c.target_ids) AS g(id)
JOIN notifications_notificationtarget t ON t.id = g.id AND t.claim_id = c.id AND t.status = 'sending'
WHERE c.call_started_at IS NOT NULL AND c.lease_until IS NOT NULL AND c.lane = ANY(%s::text[])
GROUP BY 1
"""
_IS_AT_WORK = """
SELECT EXISTS (SELECT 1 FROM delivery_claim
               WHERE call_started_at IS NOT NULL AND lease_until IS NOT NULL AND lane = ANY(%s::text[]))
"""


def is_at_work(connection: psycopg.Connection[Any], lanes: tuple[str, ...]) -> bool:
    """Whether calls of these lanes are in the air."""
    return connection.execute(_IS_AT_WORK, [list(lanes)]).fetchone() == (True,)


_BACKLOG = """
SELECT EXISTS (SELECT 1 FROM notifications_notificationtarget
               WHERE lane LIKE '%.bulk' AND next_attempt_at <= now())
"""
_OPENED = "SELECT provider FROM delivery_providerhealth WHERE open_seconds > 0"
_SUPPRESSED = "SELECT channel, address FROM preferences_suppression"


class Watch:
    """Looks at the database a few times a second, whenever it is there. From the main thread only."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        self._connect = connect
        self._connection: psycopg.Connection[Any] | None = None
        self.air: Counter[int] = Counter()  # by claim: the most of its targets seen in the air
        self._lanes: Counter[str] = Counter()  # by lane: faults on that may leave its calls unknown
        self._over: list[tuple[str, ...]] = []  # of those faults, what they no longer hit
        self.backed_up: list[float] = []  # when the bulk lanes were seen to be full, seconds since 1970
        self.suppressed: dict[tuple[str, str], float] = {}  # channel, address -> when it was first seen
        self.opened: dict[str, list[float]] = {}  # provider -> when its breaker was seen to be open

    def begin(self, lanes: tuple[str, ...]) -> None:
        """From now on calls of these lanes may end unknown."""
        self._lanes.update(lanes)
        self.look()

    def end(self, lanes: tuple[str, ...]) -> None:
        """No longer; but what is in the air is seen once more, as soon as the database can be asked."""
        self._over.append(lanes)
        self.look()

    def look(self) -> None:
        """See what is in the air, whether bulk is backed up, and who is suppressed by now."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            self._look(self._connection)
        except psycopg.OperationalError:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _look(self, connection: psycopg.Connection[Any]) -> None:
        lanes = [lane for lane, faults in self._lanes.items() if faults]
        if lanes:
            for claim, count in connection.execute(_IN_THE_AIR, [lanes]).fetchall():
                self.air[claim] = max(self.air[claim], count)
        while self._over:
            self._lanes.subtract(self._over.pop())
        if connection.execute(_BACKLOG).fetchone() == (True,):
            self.backed_up.append(time.time())
        for (provider,) in connection.execute(_OPENED).fetchall():
            self.opened.setdefault(provider, []).append(time.time())
        for pair in connection.execute(_SUPPRESSED).fetchall():
            self.suppressed.setdefault(pair, time.time())


_OPEN = """
SELECT status, count(*) FROM notifications_notificationtarget
WHERE status NOT IN ('skipped', 'sent', 'delivered', 'failed', 'dead', 'cancelled', 'expired') GROUP BY 1
UNION ALL SELECT 'claim', count(*) FROM delivery_claim HAVING count(*) > 0
UNION ALL SELECT 'receipt', count(*) FROM delivery_receipt WHERE due_at IS NOT NULL HAVING count(*) > 0
UNION ALL
SELECT 'snoozed', count(*) FROM notifications_inboxitem WHERE snoozed_until IS NOT NULL HAVING count(*) > 0
UNION ALL SELECT 'audience chunk', count(*) FROM notifications_audiencechunk HAVING count(*) > 0
"""


def unsettled(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """What is still on its way, by status; empty when all is quiet."""
    return dict(connection.execute(_OPEN).fetchall())
