from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from apps.notifications import partitions
from project import clock


class Command(BaseCommand):
    """By hand what the control worker does every hour."""

    help = "Make the attempts' partitions of this month and the next two."

    def handle(self, *args: Any, **options: Any) -> None:
        made = partitions.ensure(clock.now())
        self.stdout.write(", ".join(made) or "all there")
