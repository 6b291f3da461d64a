from __future__ import annotations

import logging
import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import InterfaceError, OperationalError, connection

from apps.delivery.sweeper import sweep

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    """The sweeper as a process of its own: it needs neither Celery nor the broker to be well."""

    requires_system_checks = ()
    help = "Sweep every SWEEP_INTERVAL seconds until told to stop."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        while not stop.is_set():
            try:
                sweep()
            except (OperationalError, InterfaceError) as error:
                logger.warning("sweep failed", extra={"error": type(error).__name__})
                connection.close()
            stop.wait(settings.SWEEP_INTERVAL)
