"""Bells: each task calls one function, and running it twice is harmless."""

from __future__ import annotations

from apps.delivery import engine, sweeper
from project.celery import app
from project.queues import WORK_TASK


@app.task(name=WORK_TASK)
def work(lane: str) -> None:
    engine.work(lane)


@app.task(name="delivery.sweep")
def sweep() -> None:
    sweeper.sweep()
