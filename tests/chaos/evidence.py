"""What a run leaves behind, side by side: the database, the simulator's ledger, and what clients saw.

Loaded by plain selects and one pass over the ledger's file; what it means is decided in `checks`. For 200,000
deliveries this is some 100 MB.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import psycopg

from apps.users import places
from tests.chaos import inboxes
from tests.chaos.inboxes import Inboxes, Listened


class Target(NamedTuple):
    notification: UUID
    user: int
    channel: str
    lane: str
    address: str
    status: str
    delivered_at: float | None  # seconds since 1970, as all times here
    recalled: bool = False  # a cancellation took it out of the inbox
    reason: str = ""
    merged_into: UUID | None = None  # the target that went out in its place


class Typed(NamedTuple):
    """What a notification that has a type says of itself."""

    type: str
    dedupe_key: str = ""
    collapse_key: str = ""


class Digest(NamedTuple):
    """What a digest says that it has: how many, and the notifications that are listed."""

    notification: UUID
    size: int
    listed: list[UUID]


class Attempt(NamedTuple):
    """Of a target that is dead, whose notification was cancelled, whose address is suppressed or removed, or
    whose person had something off; or of a provider that was drained."""

    target: UUID
    id: UUID
    outcome: str
    started_at: float
    was_unknown: bool
    provider: str = ""


class Entry(NamedTuple):
    """Of the ledger. `key`: by which a repetition is recognised, where there is such a thing."""

    attempt: UUID
    at: float
    provider: str = ""
    key: str = ""


class Drain(NamedTuple):
    """A time in which a provider was drained: from the commit to right before it was resumed."""

    provider: str
    begin: float
    end: float


class Off(NamedTuple):
    """A time in which a person had a type off by a channel: from the answer to right before it was on again.

    begin: infinite if an earlier try to switch it on may have had its effect meanwhile.
    """

    user: int
    type: str
    channel: str
    begin: float
    end: float


class Asked(NamedTuple):
    """Of what attempts are wanted, and since when it was known: by notification, by channel and address, by
    address; the drains, and what people had off."""

    cancelled: dict[UUID, float]
    suppressed: dict[tuple[str, str], float]
    removed: dict[str, float]
    drains: list[Drain]
    offs: list[Off]


class Move(NamedTuple):
    """How often targets went from one status to another, and one that did."""

    old: str
    new: str
    engagement_changed: bool
    times: int
    example: UUID


class Probe(NamedTuple):
    """One target of a critical notification."""

    target: UUID
    channel: str
    answered: float  # when the POST was


class Window(NamedTuple):
    """A time in which the critical lane of a channel is excused, and why."""

    channel: str
    begin: float
    end: float
    why: str


@dataclass(kw_only=True)
class Evidence:
    """All that `checks` looks at."""

    targets: dict[UUID, Target]
    ledger: dict[UUID, list[Entry]]
    unknown: Counter[UUID]  # by target: attempts that ever were unknown
    attempts: dict[UUID, list[Attempt]] = field(default_factory=dict)
    claims: int = 0  # left over
    rows: dict[UUID, str] = field(default_factory=dict)  # notification -> our name of it
    promised: dict[UUID, tuple[str, int]] = field(default_factory=dict)  # -> our name, targets
    wrong: list[str] = field(default_factory=list)  # what clients had to complain of
    moves: list[Move] = field(default_factory=list)
    cancelled: dict[UUID, float] = field(default_factory=dict)  # notification -> known to be committed
    told_cancelled: set[UUID] = field(default_factory=set)  # targets that were answered to be cancelled
    suppressed: dict[tuple[str, str], float] = field(default_factory=dict)  # channel, address -> the same
    removed: dict[str, float] = field(default_factory=dict)  # device's address -> the same
    made_by: dict[UUID, str] = field(default_factory=dict)  # attempt -> its provider
    drains: list[Drain] = field(default_factory=list)
    by_drained: list[Attempt] = field(default_factory=list)  # by drained providers meanwhile
    bad_answers: set[str] = field(default_factory=set)  # addresses that are answered with what tells nothing
    offs: list[Off] = field(default_factory=list)
    typed: dict[UUID, Typed] = field(default_factory=dict)  # by notification
    digests: dict[UUID, Digest] = field(default_factory=dict)  # that the engine has made, by target
    failovers: int = 0  # attempts by another provider than the one before
    listened: list[Listened] = field(default_factory=list)
    inboxes: Inboxes = field(default_factory=Inboxes)
    probes: list[Probe] = field(default_factory=list)
    excused: list[Window] = field(default_factory=list)
    backed_up: list[float] = field(default_factory=list)  # when the bulk lanes were seen to be full
    unanswered: int = 0  # messages in requests that a provider never answered, counted on the wire
    in_the_air: int = 0  # messages in the air when workers or the database were taken away

    def began(self, id: UUID) -> list[float]:
        """When what came of it began, or was in the inbox."""
        target = self.targets[id]
        accepted = {entry.attempt for entry in self.ledger.get(id, ())}
        began = [
            one.started_at
            for one in self.attempts.get(id, ())
            if one.id in accepted or target.channel in places.CHANNELS
        ]
        if target.channel == "in_app" and target.delivered_at is not None:
            began.append(target.delivered_at)
        return began


def read_ledger(path: Path) -> dict[UUID, list[Entry]]:
    """The ledger's entries by target."""
    found: dict[UUID, list[Entry]] = defaultdict(list)
    with path.open("rb") as file:
        for raw in file:
            line = orjson.loads(raw)
            found[UUID(line["target"])].append(
                Entry(UUID(line["attempt"]), line["at"], line["provider"], line.get("key", ""))
            )
    return found


_TARGETS = """
SELECT id, notification_id, user_id, channel, lane, address, status, extract(epoch FROM delivered_at)::float8,
       recalled_at IS NOT NULL, reason, merged_into
FROM notifications_notificationtarget
"""
_ATTEMPTS = """
SELECT a.target_id, a.id, a.outcome, extract(epoch FROM a.started_at)::float8,
       EXISTS (SELECT 1 FROM chaos_unknown u WHERE u.attempt_id = a.id), a.provider
FROM notifications_deliveryattempt a JOIN notifications_notificationtarget t ON t.id = a.target_id
"""
_WANTED = (
    _ATTEMPTS
    + """
WHERE t.status = 'dead' OR t.notification_id = ANY(%s::uuid[]) OR t.address = ANY(%s::text[])
   OR (t.channel, t.address) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
   OR t.user_id = ANY(%s::bigint[])
"""
)
_BY_DRAINED = (
    _ATTEMPTS
    + """
JOIN unnest(%s::text[], %s::float8[], %s::float8[]) AS d(provider, begin, until)
  ON a.provider = d.provider AND a.started_at BETWEEN to_timestamp(d.begin) AND to_timestamp(d.until)
"""
)
_TYPED = "SELECT id, type, dedupe_key, collapse_key FROM notifications_notification WHERE type <> ''"
# Nobody has posted them.
_DIGESTS = """
SELECT t.id, n.id, (n.payload->>'count')::int,
       ARRAY(SELECT (item->>'notification_id')::uuid FROM jsonb_array_elements(n.payload->'items') AS item)
FROM notifications_notification n JOIN notifications_notificationtarget t ON t.notification_id = n.id
WHERE n.template = 'digest_email' AND n.client_id IS NULL
"""
_FAILOVERS = "SELECT count(*) FROM notifications_deliveryattempt WHERE route LIKE 'failover%'"
_MOVES = """
SELECT old, new, engagement_changed, count(*), (array_agg(target_id))[1] FROM chaos_move GROUP BY 1, 2, 3
"""


def read_database(connection: psycopg.Connection[Any], asked: Asked) -> Evidence:
    """What the database says, all at one moment; the rest of the evidence is its caller's to add."""
    run = connection.execute
    run("CREATE INDEX ON chaos_unknown (attempt_id)")
    run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")  # receipts may still be coming in
    found = Evidence(
        targets={id: Target(*values) for id, *values in run(_TARGETS)},
        ledger={},
        unknown=Counter(
            dict(run("SELECT target_id, count(DISTINCT attempt_id) FROM chaos_unknown GROUP BY 1").fetchall())
        ),
        cancelled=asked.cancelled,
        suppressed=asked.suppressed,
        removed=asked.removed,
        drains=asked.drains,
        offs=asked.offs,
        typed={id: Typed(*values) for id, *values in run(_TYPED)},
        digests={id: Digest(*values) for id, *values in run(_DIGESTS)},
    )
    pairs = [[channel for channel, _ in asked.suppressed], [address for _, address in asked.suppressed]]
    choosing = list({one.user for one in asked.offs})
    for row in run(_WANTED, [list(asked.cancelled), list(asked.removed), *pairs, choosing]):
        found.attempts.setdefault(row[0], []).append(Attempt(*row))
    drains = zip(*asked.drains, strict=True) if asked.drains else ((), (), ())
    found.by_drained = [Attempt(*row) for row in run(_BY_DRAINED, [list(values) for values in drains])]
    names: dict[str, str] = {}  # one text for each provider, and not for each attempt
    for id, name in run("SELECT id, provider FROM notifications_deliveryattempt"):
        found.made_by[id] = names.setdefault(name, name)
    (found.failovers,) = run(_FAILOVERS).fetchone() or (0,)
    found.rows = dict(run("SELECT id, related_id FROM notifications_notification").fetchall())
    found.moves = [Move(*row) for row in run(_MOVES)]
    (found.claims,) = run("SELECT count(*) FROM delivery_claim").fetchone() or (0,)
    found.inboxes = inboxes.read(connection)
    run("COMMIT")
    return found


_KEPT = (
    "notifications_notification",
    "notifications_notificationtarget",
    "notifications_deliveryattempt",
    "notifications_inboxitem",
    "notifications_inboxstate",
    "delivery_claim",
    "delivery_provider",
    "delivery_providerevent",
    "notifications_targetdecision",
    "chaos_move",
    "chaos_unknown",
    "chaos_inbox",
)


def keep(connection: psycopg.Connection[Any], folder: Path) -> None:
    """Write the tables into the folder as CSV, for whoever looks for the cause of a violation."""
    for table in _KEPT:
        copy = f"COPY (SELECT * FROM {table}) TO STDOUT WITH CSV HEADER"
        with (folder / f"{table}.csv").open("wb") as file, connection.cursor().copy(copy) as rows:
            for data in rows:
                file.write(data)
