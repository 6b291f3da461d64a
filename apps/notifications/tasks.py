"""The planning bell, and the hourly look at the partitions."""

from __future__ import annotations

from apps.notifications import audiences, partitions
from project import clock
from project.celery import app
from project.queues import PLAN_TASK


@app.task(name=PLAN_TASK)
def plan() -> None:
    audiences.plan_chunk()


@app.task(name="notifications.partitions")
def make_partitions() -> None:
    partitions.ensure(clock.now())
