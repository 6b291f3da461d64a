from __future__ import annotations

import os
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from project import alive, canary
from project.celery import app
from project.queues import WORKER_GROUPS, lanes_of


class Command(BaseCommand):
    """A worker of one group or several: Celery, listening to their lanes in order, after its canary."""

    help = "Run a worker of a group until told to stop; of several groups, which then hold each other up."
    requires_system_checks = ()  # `migrate` made them; they would be a third of a worker's start

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("groups", nargs="+", choices=sorted(WORKER_GROUPS), metavar="group")
        parser.add_argument("--concurrency", type=int, default=2, help="processes")

    def handle(self, *args: Any, groups: list[str], concurrency: int, **options: Any) -> None:
        name = "-".join(groups)
        os.environ.setdefault("CELERY_SKIP_CHECKS", "1")
        try:
            own = (canary.keep(app, name),) if alive.file() else ()
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        app.worker_main(
            [
                "worker",
                f"--hostname={name}@%h",
                f"--queues={','.join((*own, *lanes_of(groups)))}",
                f"--concurrency={concurrency}",
                "--without-gossip",  # workers need nothing of each other
                "--without-mingle",
                "--loglevel=WARNING",
            ]
        )
