"""Keeps the providers' health: every batch that says something of it, written down with what it changed."""

from __future__ import annotations

import logging
from datetime import datetime

from django.conf import settings
from django.db import Error

from apps.delivery import health, providers
from apps.delivery.health import Event, Health, Kind, Tally
from apps.delivery.providers import Account
from apps.delivery.routing import Mode
from project import clock, db

logger = logging.getLogger(__name__)

PROBE_SECONDS = 15  # after which another may try

_ENSURE = """
INSERT INTO delivery_providerhealth (provider, factor, failures, open_seconds) VALUES (%s, 100, 0, 0)
ON CONFLICT DO NOTHING
"""
_LOCK = """
SELECT factor, failures, open_seconds, open_until, stepped_at
FROM delivery_providerhealth WHERE provider = %s FOR UPDATE
"""
_CHANGE = """
UPDATE delivery_providerhealth
SET factor = %s, failures = %s, open_seconds = %s, open_until = %s, stepped_at = %s, probe_until = NULL
WHERE provider = %s
"""
_EVENT = "INSERT INTO delivery_providerevent (provider, kind, detail, user_id) VALUES (%s, %s, %s, %s)"


def report(account: Account, seen: Tally) -> None:
    """Note what a batch, or receipts, say of a provider. A good one that changes nothing costs nothing.

    After the settle, in a transaction of its own: all workers write this one row. It is advice: without the
    database it is not noted.
    """
    if not seen.bad and not (account.is_ailing and seen.good):
        return
    try:
        with db.one_transaction():
            events = _note(account.name, seen, clock.now())
    except Error as error:
        logger.warning("health not noted", extra={"provider": account.name, "error": type(error).__name__})
        return
    providers.forget()
    for event in events:
        level = logging.ERROR if event.kind is Kind.OPENED else logging.WARNING
        logger.log(
            level, "provider %s", event.kind.value, extra={"provider": account.name, "why": event.detail}
        )


def _note(name: str, seen: Tally, now: datetime) -> list[Event]:
    db.execute(_ENSURE, [name])
    ((factor, failures, open_seconds, open_until, stepped_at),) = db.rows(_LOCK, [name])
    old = Health(
        factor=factor,
        failures=failures,
        open_seconds=open_seconds,
        open_until=open_until,
        stepped_at=stepped_at,
    )
    new, events = health.after(old, seen, now, open_seconds=settings.BREAKER_SECONDS)
    db.execute(_CHANGE, [new.factor, new.failures, new.open_seconds, new.open_until, new.stepped_at, name])
    for event in events:
        record(name, event)
    return events


def record(name: str, event: Event, *, user_id: int | None = None) -> None:
    """Write an event down, in the caller's transaction if there is one."""
    db.execute(_EVENT, [name, event.kind.value, event.detail[:200], user_id])


_BEGIN_PROBE = """
UPDATE delivery_providerhealth SET probe_until = carillon_now() + make_interval(secs => %s)
WHERE provider = %s AND open_seconds > 0 AND open_until <= carillon_now()
  AND (probe_until IS NULL OR probe_until <= carillon_now())
"""


def begin_probe(account: Account) -> bool:
    """Whether this process may try an open provider with one message: one at a time may, when it is time."""
    if not account.is_open or account.mode is Mode.DRAINED or account.seconds_left() > 0:
        return False
    return db.execute(_BEGIN_PROBE, [PROBE_SECONDS, account.name]) == 1


def end_probe(name: str) -> None:
    """There was no message to try it with."""
    db.execute("UPDATE delivery_providerhealth SET probe_until = NULL WHERE provider = %s", [name])


_RESET = """
UPDATE delivery_providerhealth
SET factor = 100, failures = 0, open_seconds = 0, open_until = NULL, probe_until = NULL, stepped_at = NULL
WHERE provider = %s AND (factor <> 100 OR failures > 0 OR open_seconds > 0)
"""


def reset(name: str) -> bool:
    """Forget what went wrong: its breaker is closed and its share whole. Whether there was anything."""
    return db.execute(_RESET, [name]) == 1
