"""Bells, the tick of the sweeper and the canary: each calls one function; running it twice is harmless."""

from __future__ import annotations

from apps.delivery import engine, receipts, sweeper
from project import alive
from project.celery import app
from project.queues import CANARY_TASK, RECEIPTS_TASK, WORK_TASK


@app.task(name=WORK_TASK)
def work(lane: str) -> None:
    engine.work(lane)


@app.task(name=RECEIPTS_TASK)
def apply_receipts() -> None:
    receipts.work()


@app.task(name="delivery.sweep")
def sweep() -> None:
    sweeper.sweep()


@app.task(name=CANARY_TASK)
def canary() -> None:
    alive.touch()
