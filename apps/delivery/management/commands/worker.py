from __future__ import annotations

import os
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from project import alive, canary
from project.celery import app
from project.queues import WORKER_GROUPS


class Command(BaseCommand):
    """A worker of one group: Celery, listening to the group's lanes in their order, after its canary."""

    help = "Run a worker of a group until told to stop."
    requires_system_checks = ()  # `migrate` made them; they would be a third of a worker's start

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("group", choices=sorted(WORKER_GROUPS))
        parser.add_argument("--concurrency", type=int, default=2, help="processes")

    def handle(self, *args: Any, group: str, concurrency: int, **options: Any) -> None:
        os.environ.setdefault("CELERY_SKIP_CHECKS", "1")
        try:
            own = (canary.keep(app, group),) if alive.file() else ()
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        app.worker_main(
            [
                "worker",
                f"--hostname={group}@%h",
                f"--queues={','.join((*own, *WORKER_GROUPS[group]))}",
                f"--concurrency={concurrency}",
                "--without-gossip",  # workers need nothing of each other
                "--without-mingle",
                "--loglevel=WARNING",
            ]
        )
