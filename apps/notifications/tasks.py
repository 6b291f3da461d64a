"""The planning bell."""

from __future__ import annotations

from apps.notifications import audiences
from project.celery import app
from project.queues import PLAN_TASK


@app.task(name=PLAN_TASK)
def plan() -> None:
    audiences.plan_chunk()
