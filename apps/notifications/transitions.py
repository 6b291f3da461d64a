"""The one owner of `NotificationTarget.status`: every legal move, and nothing else.

Each move is one conditional UPDATE over a batch, with the source states in its WHERE; it returns what
moved. A row that somebody else moved first is not among them: an answer, not an error. The table is in
docs/states.md and in `statuses.MOVES`, which the tests walk.

The moves of the hot path (`create`, `claim`, `settle`) are statements of their own; all others share one.
Rows are locked in the order of their ids, then the summaries, last, in the order of theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from apps.notifications import consequences
from apps.notifications.due import CLAIMED, DUE, Due
from apps.notifications.statuses import MOVES, Reason, Status
from project import db

_TARGET = "notifications_notificationtarget"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A target as the planner wants it: queued with a time, held until one, or skipped."""

    id: UUID
    notification_id: UUID
    organization_id: int
    user_id: int
    channel: str
    address: str
    lane: str
    status: Status
    reason: str = ""
    at: datetime | None = None  # of the next attempt (queued) or the release (held), UTC
    detail: Mapping[str, Any] | None = None  # what that was decided by, where it needs explaining
    expires_at: datetime | None = None
    attempts_allowed: int

    @property
    def held(self) -> bool:
        return self.status is Status.HELD


class Claimed(NamedTuple):
    """A row as a claim returns it: all the engine needs to send it."""

    id: UUID
    notification_id: UUID
    user_id: int
    address: str
    attempts: int
    attempts_allowed: int
    expires_at: datetime | None
    due: int  # when it was to be sent: microseconds since 1970 UTC (a datetime would cost 6 µs each)
    organization_id: int
    moot: str | None = None  # what it has to become instead of being sent: cancelled, expired, skipped
    place: str = ""  # of the row as the claim wrote it (its ctid)


class Settled(NamedTuple):
    """Where an attempt leaves its target. `at` is set exactly for retrying."""

    id: UUID
    status: Status
    reason: str
    at: datetime | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Moved:
    id: UUID
    notification_id: UUID
    organization_id: int
    old: str
    new: str


_CREATE = f"""
INSERT INTO {_TARGET} (id, notification_id, organization_id, user_id, channel, address, lane, status, reason,
                       next_attempt_at, held_until, expires_at, attempts, attempts_allowed, settled_at)
SELECT id, notification_id, organization_id, user_id, channel, address, lane, status, reason,
       CASE WHEN status = 'queued' THEN at END, CASE WHEN status = 'held' THEN at END, expires_at, 0,
       allowed, CASE WHEN status = 'skipped' THEN carillon_now() END
FROM {{given}}
"""
_COLUMNS = db.Columns(
    (
        ("id", "uuid"),
        ("notification_id", "uuid"),
        ("organization_id", "bigint"),
        ("user_id", "bigint"),
        ("channel", "text"),
        ("address", "text"),
        ("lane", "text"),
        ("status", "text"),
        ("reason", "text"),
        ("at", "timestamptz"),
        ("expires_at", "timestamptz"),
        ("allowed", "smallint"),
    )
)
_CREATED = attrgetter(
    *("id", "notification_id", "organization_id", "user_id", "channel", "address", "lane", "status.value"),
    *("reason", "at", "expires_at", "attempts_allowed"),
)


def create(targets: Sequence[Planned], *, summarised: Collection[UUID]) -> None:
    """– → queued, held or skipped: the targets as planned. Inside the transaction of what asked for them.

    summarised: the notifications among theirs whose summary is kept.
    """
    if not targets:
        return
    given, values = _COLUMNS.given([*map(_CREATED, targets)])
    db.execute(_CREATE.format(given=given), values)
    counted = (t for t in targets if t.notification_id in summarised)
    consequences.summarise((t.notification_id, None, t.status.value) for t in counted)


_CLAIM = f"""
WITH {DUE}
UPDATE {_TARGET} t
SET status = 'sending', claim_id = %(claim)s, next_attempt_at = NULL
FROM picked WHERE t.ctid = picked.place AND t.status IN ('queued', 'retrying')
RETURNING {CLAIMED}
"""


def claim(due: Due, claim_id: int) -> list[Claimed]:
    """queued, retrying (due) → sending, under this claim."""
    return [Claimed(*row) for row in db.rows(_CLAIM, {**due.parameters(), "claim": claim_id})]


# What `lock_due` has locked, where it lies.
_CLAIM_EACH = f"""
UPDATE {_TARGET} t SET status = 'sending', claim_id = g.claim, next_attempt_at = NULL
FROM unnest(%b::tid[], %b::bigint[]) AS g(place, claim)
WHERE t.ctid = g.place AND t.status IN ('queued', 'retrying')
RETURNING t.id, t.ctid
"""


def claim_each(claims: Sequence[tuple[Claimed, int]]) -> list[Claimed]:
    """queued, retrying → sending, each under its claim; of rows that `lock_due` found in this transaction."""
    values = [[target.place for target, _ in claims], [claim_id for _, claim_id in claims]]
    places: dict[UUID, str] = dict(db.rows(_CLAIM_EACH, values))
    return [target._replace(place=places[target.id]) for target, _ in claims if target.id in places]


_POSTPONE = f"""
UPDATE {_TARGET} t SET next_attempt_at = carillon_now() + make_interval(secs => %s), reason = %s
FROM unnest(%b::tid[]) AS g(place) WHERE t.ctid = g.place AND t.status IN ('queued', 'retrying')
"""


def postpone(targets: Sequence[Claimed], *, seconds: float, reason: str) -> None:
    """No move: of what `lock_due` found in this transaction, this is due later. Uses no attempt."""
    db.execute(_POSTPONE, [seconds, reason, [target.place for target in targets]])


# The join runs over the given rows in their order, each by primary key: locks come in id order. What moved is
# counted here too: half of a settle's price was in telling Python of rows that had moved as they should.
# A retry of what was asked to be cancelled is due at once: the next claim does it.
_SETTLE = f"""
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(%(ids)b::uuid[], %(statuses)b::text[], %(reasons)b::text[], %(ats)b::timestamptz[],
                         %(attempts)b::smallint[]) AS g(id, status, reason, at, attempts)
), moved AS (
    UPDATE {_TARGET} t
    SET status = g.status, reason = g.reason, attempts = g.attempts,
        next_attempt_at = CASE WHEN t.cancel_asked_at IS NULL THEN g.at
                               WHEN g.at IS NOT NULL THEN carillon_now() END,
        claim_id = CASE WHEN g.status = 'unknown' THEN t.claim_id END,
        sent_at = CASE WHEN g.status = 'sent' THEN carillon_now() END,
        settled_at = CASE WHEN g.status NOT IN ('retrying', 'unknown') THEN carillon_now() END
    FROM given g
    WHERE t.id = g.id AND t.status = 'sending' AND t.claim_id = %(claim)s
    RETURNING t.id, t.notification_id, t.status
), {consequences.summed("sent", "failed", "dead", "skipped", "expired", "cancelled")}
SELECT id FROM given WHERE id NOT IN (SELECT id FROM moved)
"""


def settle(claim_id: int, results: Sequence[Settled]) -> set[UUID]:
    """sending → sent, retrying, failed, dead or unknown: how the claim's attempts ended; or, without one,
    → skipped, expired or cancelled: what the claim found in its own transaction must not be sent.

    Returns the ids that did not move: they are no longer this claim's.
    """
    ordered = sorted(results, key=_by_id)
    given = {
        "ids": [r.id for r in ordered],
        "statuses": [r.status.value for r in ordered],
        "reasons": [r.reason for r in ordered],
        "ats": [r.at for r in ordered],
        "attempts": [r.attempts for r in ordered],
        "claim": claim_id,
    }
    stayed = {id for (id,) in db.rows(_SETTLE, given)}
    dead = {r.id: r.reason for r in ordered if r.status is Status.DEAD and r.id not in stayed}
    consequences.open_dead_letters(dead)
    return stayed


_by_id = attrgetter("id")


def _summarised(moved: list[Moved]) -> list[Moved]:
    consequences.summarise((move.notification_id, move.old, move.new) for move in moved)
    return moved


def _move(name: str, ids: Iterable[UUID], sets: str, *, where: str = "", **parameters: object) -> list[Moved]:
    """The statement of every move off the hot path, and the summaries."""
    return _summarised(_moved(name, ids, sets, where=where, **parameters))


def _moved(
    name: str, ids: Iterable[UUID], sets: str, *, where: str = "", **parameters: object
) -> list[Moved]:
    """Rows that no source state fits stay as they are."""
    sources, (target, *_) = MOVES[name]
    sql = f"""
    WITH old AS MATERIALIZED (
        SELECT id, status FROM {_TARGET}
        WHERE id = ANY(%(ids)b::uuid[]) AND status = ANY(%(sources)b::text[]) {where}
        ORDER BY id FOR UPDATE
    )
    UPDATE {_TARGET} t SET status = %(target)s, {sets}
    FROM old WHERE t.id = old.id
    RETURNING t.id, t.notification_id, t.organization_id, old.status, t.status
    """
    values = {
        "ids": list(ids),
        "sources": [source.value for source in sources if source],
        "target": target.value,
    }
    return [Moved(*row) for row in db.rows(sql, values | parameters)]


_QUEUED_NOW = "next_attempt_at = carillon_now(), held_until = NULL, claim_id = NULL, settled_at = NULL"
_SETTLED_NOW = "next_attempt_at = NULL, held_until = NULL, claim_id = NULL, settled_at = carillon_now()"


class Redecided(NamedTuple):
    """What becomes of one that is held. until: of one held on. into: the target it goes out with."""

    id: UUID
    status: Status
    reason: str = ""
    until: datetime | None = None
    into: UUID | None = None


_REDECIDE = f"""
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(%b::uuid[], %b::text[], %b::text[], %b::timestamptz[], %b::uuid[])
      AS g(id, status, reason, until, merged_into)
)
UPDATE {_TARGET} t
SET status = g.status, reason = g.reason, merged_into = g.merged_into,
    next_attempt_at = CASE WHEN g.status = 'queued' THEN carillon_now() END,
    held_until = CASE WHEN g.status = 'held' THEN g.until END,
    settled_at = CASE WHEN g.status IN ('skipped', 'expired') THEN carillon_now() END
FROM given g WHERE t.id = g.id AND t.status = 'held'
RETURNING t.id, t.notification_id, t.organization_id, 'held', t.status
"""


def redecide(decided: Iterable[Redecided]) -> list[Moved]:
    """held → queued, held (longer, or for another reason), skipped or expired: rows the caller has locked."""
    columns = [list(column) for column in zip(*sorted(decided, key=_by_id), strict=True)]
    return _summarised([Moved(*row) for row in db.rows(_REDECIDE, columns)]) if columns else []


def give_back(ids: Iterable[UUID], claim_id: int) -> list[Moved]:
    """sending → queued: claimed but never started. Uses no attempt."""
    return _move("give_back", ids, _QUEUED_NOW, where="AND claim_id = %(claim)s", claim=claim_id)


# Each proves that the provider took it, so that an attempt was made: a receipt may overtake the settle.
_TAKEN = f"""{_SETTLED_NOW}, sent_at = coalesce(t.sent_at, carillon_now()),
    attempts = t.attempts + (old.status = 'sending')::int"""
_NOT_BOUNCED = "AND (status <> 'failed' OR bounced_at IS NULL)"  # of a bounced one it is no news
_BOUNCED = """bounced_at = coalesce(t.bounced_at, carillon_now()),
    reason = (%(reasons)b::text[])[array_position(%(ids)b::uuid[], t.id)]"""


def prove(
    *,
    accepted: Iterable[UUID] = (),
    delivered: Iterable[UUID] = (),
    bounced: Mapping[UUID, str] | None = None,
) -> list[Moved]:
    """accept (→ sent), deliver, bounce (→ failed, each with its reason): proof counts however late it comes.

    Closes open dead letters. Whoever proves more than one of these holds the locks of all their targets.
    """
    reasons = bounced or {}
    return _summarised(
        _proven("accept", "accepted", accepted, f"{_TAKEN}, reason = ''", where=_NOT_BOUNCED)
        + _proven("deliver", "delivered", delivered, f"{_TAKEN}, reason = '', delivered_at = carillon_now()")
        + _proven("bounce", "bounced", reasons, f"{_TAKEN}, {_BOUNCED}", reasons=[*reasons.values()])
    )


def _proven(name: str, proof: str, ids: Iterable[UUID], sets: str, **more: Any) -> list[Moved]:
    given = list(ids)
    moved = _moved(name, given, sets, **more) if given else []
    consequences.close_dead_letters(moved, proof)
    return moved


def repeat_unknown(ids: Iterable[UUID], *, at: datetime, reason: str) -> list[Moved]:
    """unknown → retrying: the channel's policy repeats."""
    sets = "next_attempt_at = %(at)s, claim_id = NULL, reason = %(reason)s"
    return _move("repeat_unknown", ids, sets, at=at, reason=reason)


def bury_unknown(ids: Iterable[UUID], *, reason: str) -> list[Moved]:
    """unknown → dead: whether to repeat is left to a person."""
    moved = _move("bury_unknown", ids, f"{_SETTLED_NOW}, reason = %(reason)s", reason=reason)
    consequences.open_dead_letters({move.id: reason for move in moved})
    return moved


def cancel(ids: Iterable[UUID]) -> list[Moved]:
    """queued, held, retrying, unknown → cancelled. Of an unknown one it stops the repeat."""
    return _move("cancel", ids, f"{_SETTLED_NOW}, reason = %(reason)s", reason=Reason.CANCELLED.value)


def expire(ids: Iterable[UUID]) -> list[Moved]:
    """queued, held, retrying, unknown → expired: too late to be useful."""
    return _move("expire", ids, f"{_SETTLED_NOW}, reason = %(reason)s", reason=Reason.EXPIRES_AT.value)


def skip(ids: Iterable[UUID], *, reason: str) -> list[Moved]:
    """queued, held, retrying, unknown → skipped: their choice, or what we know of the address, changed."""
    return _move("skip", ids, f"{_SETTLED_NOW}, reason = %(reason)s", reason=reason)


def redrive(ids: Iterable[UUID], *, more_attempts: int, by: int | None) -> list[Moved]:
    """failed, dead → queued: a person tries again. Attempts never fall; what is allowed rises."""
    sets = f"""{_QUEUED_NOW}, reason = '', sent_at = NULL, cancel_asked_at = NULL,
    attempts_allowed = greatest(attempts_allowed, least(attempts + %(more)s, 255))"""
    moved = _move("redrive", ids, sets, where="AND attempts < 255", more=more_attempts)
    consequences.close_dead_letters(moved, "re-driven", by)
    return moved


_LOCK_DUE = f"""
WITH {DUE}
SELECT {CLAIMED}
FROM picked JOIN {_TARGET} t ON t.ctid = picked.place WHERE t.status IN ('queued', 'retrying')
"""

_DELIVER_IN_APP = f"""
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(%b::uuid[], %b::text[], %b::text[]) AS g(id, status, reason)
), moved AS (
    UPDATE {_TARGET} t
    SET status = g.status, reason = g.reason, next_attempt_at = NULL, settled_at = carillon_now(),
        sent_at = CASE WHEN g.status = 'delivered' THEN carillon_now() END,
        delivered_at = CASE WHEN g.status = 'delivered' THEN carillon_now() END
    FROM given g
    WHERE t.id = g.id AND t.status IN ('queued', 'retrying')
    RETURNING t.id, t.notification_id, t.status
), {consequences.summed("delivered", "dead", "skipped", "expired", "cancelled")}
SELECT id FROM given WHERE id NOT IN (SELECT id FROM moved)
"""


def lock_due(due: Due) -> list[Claimed]:
    """Lock due rows of an in-app lane until the transaction ends: a claim that needs no lease."""
    return [Claimed(*row) for row in db.rows(_LOCK_DUE, due.parameters())]


def deliver_in_app(results: Sequence[tuple[UUID, Status, str]]) -> set[UUID]:
    """queued, retrying → delivered; dead, if it does not render; skipped, expired or cancelled, if it must
    not be delivered any more. In the transaction of the inbox rows.

    Returns the ids that did not move; none, if they are ours since `lock_due`.
    """
    ordered = sorted(results)
    columns = [list(column) for column in zip(*((i, s.value, r) for i, s, r in ordered), strict=True)]
    stayed = {id for (id,) in db.rows(_DELIVER_IN_APP, columns)}
    dead = {id: reason for id, status, reason in ordered if status is Status.DEAD and id not in stayed}
    consequences.open_dead_letters(dead)
    return stayed
