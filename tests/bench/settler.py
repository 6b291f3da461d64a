"""A process that claims and settles rows in one database by the engine's functions; it tells the cost."""

from __future__ import annotations

import multiprocessing
import os
import time
from multiprocessing.connection import Connection
from typing import NamedTuple

import django

from tests.bench.floor import PLAN

LANE = "email.bulk"
BATCH = 500


class Cost(NamedTuple):
    """Of one row."""

    buffers: float
    seconds: float


class Settler:
    """The process, to be told what to do. It ends with us."""

    def __init__(self, url: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        context.Process(target=_serve, args=[theirs, url], daemon=True).start()

    def plan(self, batches: int) -> None:
        """Put so many batches into the lane."""
        self._pipe.send(("plan", batches))
        self._pipe.recv()

    def settle(self, batches: int) -> Cost:
        """Claim and settle so many."""
        self._pipe.send(("settle", batches))
        cost: Cost = self._pipe.recv()
        return cost


def _serve(pipe: Connection, url: str) -> None:
    """Until the other end is gone."""
    os.environ["DATABASE_URL"] = url
    django.setup()
    notification = _accept()
    while True:
        try:
            wanted, batches = pipe.recv()
        except EOFError:
            return
        pipe.send(_plan(notification, batches) if wanted == "plan" else _settle(batches))


def _accept() -> object:
    """A notification that is big enough for a summary of its own; the rows come by SQL."""
    from apps.notifications import intake
    from apps.notifications.intake import Order

    return intake.accept_audience(
        Order(organization_id=1, channels=["email"], title="Hello"), range(1, 1_001)
    )


def _plan(notification: object, batches: int) -> None:
    from project import db

    rows = batches * BATCH
    values = {"notification": notification, "channel": "email", "lane": LANE, "people": rows}
    db.execute(PLAN, {**values, "first": 1, "last": rows})


def _settle(batches: int) -> Cost:
    touched, started = _touched(), time.perf_counter()
    for _ in range(batches):
        _claim_and_settle()
    seconds = time.perf_counter() - started
    return Cost((_touched() - touched) / (batches * BATCH), seconds / (batches * BATCH))


def _claim_and_settle() -> None:
    """As `engine.work`, with a provider that takes everything at once."""
    from apps.delivery import claims
    from apps.delivery.settling import Ended, settle
    from apps.integrations.contract import Accepted
    from project import db

    claim = claims.take(LANE, "bench", BATCH)
    assert claim is not None and len(claim.targets) == BATCH
    started = claims.start(claim, [target.id for target in claim.targets])
    assert started is not None
    ended = [Ended(target, Accepted(str(target.id)), started[0]) for target in claim.targets]
    with db.one_transaction():
        settle(claim, ended)
        claims.close(claim.id, ())


def _touched() -> int:
    """Blocks of all tables, their indexes and TOAST so far, this connection's last ones included."""
    from project import db

    db.rows("SELECT pg_stat_force_next_flush()")
    ((touched,),) = db.rows(_TOUCHED)
    return int(touched)


_KINDS = ("heap", "idx", "toast", "tidx")
_TOUCHED = f"""
SELECT sum({" + ".join(f"coalesce({kind}_blks_{how}, 0)" for kind in _KINDS for how in ("read", "hit"))})
FROM pg_statio_user_tables
"""
