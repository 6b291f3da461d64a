"""Receipts: what the providers report, written down as it comes and applied in batches by its own lane."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError

from apps.delivery import addresses, evidence, helping, providers, watch
from apps.delivery.addresses import Heard
from apps.delivery.evidence import Effect, Known, Told, Verdict
from apps.delivery.health import Tally
from apps.integrations.contract import ReceiptEvent, ReceiptKind
from apps.notifications import engagement, transitions
from apps.notifications.models import target_of
from apps.notifications.statuses import Status
from project import db, queues

logger = logging.getLogger(__name__)

BATCH = 500  # receipts one bell applies
_POSTPONED = 3600  # seconds, for one that nobody foresaw

# --- As they come ----------------------------------------------------------------------------------------

_STORE = """
INSERT INTO delivery_receipt
    (provider, event_id, kind, target_id, attempt_id, provider_message_id, address, code, address_is_dead,
     occurred_at, raw, applied)
SELECT %s, g.*, ''
FROM unnest(%b::text[], %b::text[], %b::uuid[], %b::uuid[], %b::text[], %b::text[], %b::text[], %b::boolean[],
            %b::timestamptz[], %b::bytea[]) AS g
ON CONFLICT (provider, event_id) DO NOTHING
"""


def store(provider: str, events: Iterable[ReceiptEvent]) -> int:
    """Write these down, each event once however often it comes; how many were new.

    One statement, which outside a transaction commits by itself. Its rows come in the order of their event
    ids, so that two requests with the same events do not wait for each other in a circle.
    """
    rows = [_row(event) for event in sorted(events, key=attrgetter("event_id"))]
    if not rows:
        return 0
    return db.execute(_STORE, [provider, *(list(column) for column in zip(*rows, strict=True))])


def _row(event: ReceiptEvent) -> tuple[object, ...]:
    target = event.target or (target_of(event.attempt) if event.attempt else None)
    ours = event.attempt is not None and target == target_of(event.attempt)
    return (
        db.text(event.event_id, 200),
        event.kind.value,
        target,
        event.attempt if ours else None,
        db.text(event.provider_message_id, 200),
        db.text(event.address, 320),
        db.text(event.code, 60),
        event.address_is_dead,
        event.occurred_at,
        event.raw,
    )


# --- Applying --------------------------------------------------------------------------------------------

_TAKE = """
SELECT id, provider, kind, target_id, attempt_id, address, code, address_is_dead,
       least(occurred_at, received_at)
FROM delivery_receipt WHERE due_at <= carillon_now() ORDER BY due_at, id LIMIT %s FOR UPDATE SKIP LOCKED
"""
_LOCK = """
SELECT t.id, t.organization_id, t.channel, t.address, t.status, t.attempts, t.bounced_at, t.sent_at
FROM unnest(%b::uuid[]) AS g(id) JOIN notifications_notificationtarget t ON t.id = g.id
ORDER BY t.id FOR UPDATE OF t
"""
_APPLIED = """
UPDATE delivery_receipt r SET due_at = NULL, applied = g.applied
FROM unnest(%b::bigint[], %b::text[]) AS g(id, applied) WHERE r.id = g.id
"""
_POSTPONE = """
UPDATE delivery_receipt SET due_at = carillon_now() + make_interval(secs => %s) WHERE id = %s
"""


def work() -> int:
    """Answer the bell with one batch; how many receipts were applied."""
    queues.answered(queues.RECEIPTS)
    return apply(BATCH)


def apply(limit: int) -> int:
    """Apply up to `limit` due receipts in one transaction; how many were taken.

    If they cannot be applied for a reason nobody foresaw, each is tried alone, and that one again in an hour.
    """
    told: list[Told] = []
    then = Afterwards()
    try:
        with db.one_transaction():
            told = [Told(*row) for row in db.rows(_TAKE, [limit])]
            if told:
                if len(told) == limit:
                    queues.ring(queues.RECEIPTS)  # before the work, so that every worker of the lane wakes
                then = _apply(told)
    except (OperationalError, InterfaceError):
        raise  # the database's fault, not the receipts'
    except Exception:
        if not told:
            raise
        logger.exception("receipts not applied", extra={"count": len(told)})
        return _one_by_one(told)
    if then.lanes:
        queues.ring(*then.lanes)
    for (channel, provider), pace in then.paces.items():
        if account := providers.named(channel, provider):
            watch.report(account, pace)
    return len(told)


def _one_by_one(told: Sequence[Told]) -> int:
    if len(told) > 1:
        return sum(apply(1) for _ in told)
    return db.execute(_POSTPONE, [_POSTPONED, told[0].id])


Paces = dict[tuple[str, str], Tally]  # by channel and provider


class Afterwards(NamedTuple):
    """What is to be done after COMMIT: bells to ring, and what was learned of how fast the providers are."""

    lanes: set[str] = set()
    paces: Paces = {}


def _apply(told: Sequence[Told]) -> Afterwards:
    targets = _locked({one.target_id for one in told if one.target_id})
    clear_unknown({one.attempt_id for one in told if one.attempt_id and one.target_id in targets})
    verdicts, effects = _weigh(told, targets)
    helped, lanes = helping.answer(_asking(told, targets))
    effects |= helped
    engagement.stamp([verdict.stamps for verdict in verdicts.values() if verdict.stamps])
    db.execute(_APPLIED, [list(effects), [effect.value for effect in effects.values()]])
    _move(verdicts)
    addresses.learn(_heard(told, targets))
    return Afterwards(lanes, _paces(told, targets))


def _paces(told: Sequence[Told], targets: dict[UUID, Known]) -> Paces:
    """How many deliveries each provider made in time."""
    slow: dict[tuple[str, str], list[bool]] = {}
    for one in told:
        target = targets.get(one.target_id) if one.target_id else None
        if one.kind == ReceiptKind.DELIVERED and target is not None and target.sent_at is not None:
            seconds = (one.at - target.sent_at).total_seconds()
            slow.setdefault((target.channel, one.provider), []).append(seconds > settings.SLOW_RECEIPT)
    return {
        key: Tally(good=late.count(False), bad=late.count(True), receipts=True) for key, late in slow.items()
    }


def _locked(ids: Collection[UUID]) -> dict[UUID, Known]:
    """Of these the targets that there are, locked in the order of their ids."""
    return {row[0]: Known(*row) for row in db.rows(_LOCK, [sorted(ids)])}


def _weigh(told: Sequence[Told], targets: dict[UUID, Known]) -> tuple[dict[UUID, Verdict], dict[int, Effect]]:
    """What becomes of each target, and what each receipt did."""
    of: dict[UUID, list[Told]] = {}
    effects: dict[int, Effect] = {}
    for one in told:
        if one.target_id in targets:
            of.setdefault(one.target_id, []).append(one)
        else:
            effects[one.id] = Effect.ADDRESS if _channel(one) else Effect.NO_TARGET
    verdicts = {id: evidence.weigh(targets[id], receipts) for id, receipts in of.items()}
    for id, verdict in verdicts.items():
        effects |= {one.id: effect for one, effect in zip(of[id], verdict.effects, strict=True)}
    return verdicts, effects


def _move(verdicts: dict[UUID, Verdict]) -> None:
    ids: dict[Status | None, list[UUID]] = {}
    for id, verdict in verdicts.items():
        ids.setdefault(verdict.status, []).append(id)
    transitions.prove(
        accepted=ids.get(Status.SENT, ()),
        delivered=ids.get(Status.DELIVERED, ()),
        bounced={id: verdicts[id].reason for id in ids.get(Status.FAILED, ())},
    )


_OPTS = frozenset({ReceiptKind.OPTED_OUT, ReceiptKind.OPTED_IN})
_ABOUT_ADDRESSES = _OPTS | {ReceiptKind.COMPLAINED}


def _channel(one: Told) -> str:
    """The channel of a receipt that answers no message, but says of an address what counts for everybody."""
    return _came_by(one) if one.kind in _OPTS else ""


def _came_by(one: Told) -> str:
    """The channel by which a person wrote to us, without a message of ours that they answer."""
    if one.target_id or not one.address:
        return ""
    receiver = providers.receiver_of(one.provider)
    return receiver.channel if receiver else ""


def _asking(told: Iterable[Told], targets: dict[UUID, Known]) -> Iterable[helping.Asked]:
    for one in told:
        if one.kind == ReceiptKind.ASKED_HELP:
            target = targets.get(one.target_id) if one.target_id else None
            channel = target.channel if target else _came_by(one)
            if channel == helping.CHANNEL:
                yield helping.Asked(one.id, target.address if target else one.address)


def _heard(told: Iterable[Told], targets: dict[UUID, Known]) -> Iterable[Heard]:
    for one in told:
        target = targets.get(one.target_id) if one.target_id else None
        if target is not None:
            if one.kind in _ABOUT_ADDRESSES or (one.kind == ReceiptKind.BOUNCED and one.address_is_dead):
                yield Heard(one.at, one.kind, target.organization_id, target.channel, target.address)
        elif channel := _channel(one):
            yield Heard(one.at, one.kind, None, channel, one.address)


# Whoever has such a row locked is its late settle, which corrects it; waiting for it would be a deadlock. One
# that is not written yet asks for its receipts when it is (`settling.settle`).
_CLEAR = """
WITH unknown AS MATERIALIZED (
    SELECT a.id, a.target_id FROM unnest(%b::uuid[]) AS g(id) CROSS JOIN LATERAL (
        SELECT id, target_id FROM notifications_deliveryattempt
        WHERE id = g.id AND outcome = 'unknown' FOR UPDATE SKIP LOCKED
    ) a
), proven AS MATERIALIZED (
    SELECT u.id, r.message_id FROM unknown u CROSS JOIN LATERAL (
        SELECT max(provider_message_id) AS message_id FROM delivery_receipt
        WHERE target_id = u.target_id AND attempt_id = u.id
    ) r WHERE r.message_id IS NOT NULL
)
UPDATE notifications_deliveryattempt a
SET outcome = 'accepted', code = '', finished_at = coalesce(a.finished_at, carillon_now()),
    provider_message_id = coalesce(
        nullif(a.provider_message_id, ''), (SELECT message_id FROM proven WHERE id = a.id))
WHERE a.id = ANY(ARRAY(SELECT id FROM proven))
"""


def clear_unknown(attempts: Collection[UUID]) -> None:
    """Of these attempts, those with an unknown outcome of which there is any receipt were accepted."""
    if attempts:
        db.execute(_CLEAR, [sorted(attempts)])


# --- Forgetting ------------------------------------------------------------------------------------------

_FORGET = """
DELETE FROM delivery_receipt WHERE id IN (
    SELECT id FROM delivery_receipt
    WHERE received_at < carillon_now() - make_interval(secs => %s) AND due_at IS NULL
    ORDER BY received_at LIMIT %s FOR UPDATE SKIP LOCKED
)
"""


def forget_old(limit: int) -> int:
    """Drop applied receipts past their time; how many."""
    return db.execute(_FORGET, [settings.RECEIPTS_KEPT.total_seconds(), limit])
