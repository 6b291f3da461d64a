from __future__ import annotations

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from project.celery import app
from project.queues import WORKER_GROUPS


class Command(BaseCommand):
    """A worker of one group: Celery, listening to the group's lanes in their order."""

    help = "Run a worker of a group until told to stop."
    requires_system_checks = ()  # `migrate` made them; they would be a third of a worker's start

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("group", choices=sorted(WORKER_GROUPS))
        parser.add_argument("--concurrency", type=int, default=2, help="processes")

    def handle(self, *args: Any, group: str, concurrency: int, **options: Any) -> None:
        os.environ.setdefault("CELERY_SKIP_CHECKS", "1")
        app.worker_main(
            [
                "worker",
                f"--hostname={group}@%h",
                f"--queues={','.join(WORKER_GROUPS[group])}",
                f"--concurrency={concurrency}",
                "--without-gossip",  # workers need nothing of each other
                "--without-mingle",
                "--loglevel=WARNING",
            ]
        )
