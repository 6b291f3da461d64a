"""Opens and clicks on their way to the database, in the background: no reader of an e-mail waits for that.

They are of little worth: while the database is away, or when a process ends, what is on its way is lost.
"""

from __future__ import annotations

import logging
import threading
import time
from uuid import UUID

from django.db import connection

from apps.notifications import engagement
from apps.users.authentication import first_read

logger = logging.getLogger(__name__)

MOST = 10_000  # waiting in a process; what comes beyond is not counted
GATHER_SECONDS = 0.1  # what comes meanwhile is written together
IDLE_SECONDS = 10.0  # without anything to count, until the thread and its connection are given up


class _Counter:
    """One thread per process, while there is something to count."""

    def __init__(self) -> None:
        self._opened: set[UUID] = set()
        self._clicked: set[UUID] = set()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None

    def count(self, target: UUID, *, clicked: bool) -> None:
        with self._wake:
            if len(self._opened) + len(self._clicked) >= MOST:
                return
            (self._clicked if clicked else self._opened).add(target)
            if self._thread is None or not self._thread.is_alive():  # also in a child after a fork
                self._thread = threading.Thread(target=self._run, name="counter", daemon=True)
                self._thread.start()
            self._wake.notify()

    def _run(self) -> None:
        try:
            while taken := self._take():
                _write(*taken)
                time.sleep(GATHER_SECONDS)
        finally:
            connection.close()

    def _take(self) -> tuple[set[UUID], set[UUID]] | None:
        """What is to be counted; None if nothing came for long, and then this thread is no longer the one."""
        with self._wake:
            if not self._wake.wait_for(lambda: self._opened or self._clicked, IDLE_SECONDS):
                self._thread = None
                return None
            taken = self._opened, self._clicked
            self._opened, self._clicked = set(), set()
            return taken


def _write(opened: set[UUID], clicked: set[UUID]) -> None:
    try:
        first_read(lambda: engagement.happened(opened=opened, clicked=clicked))
    except Exception as error:  # whatever it is: those to come are counted
        count = len(opened) + len(clicked)
        logger.warning("opens and clicks not counted", extra={"count": count, "error": type(error).__name__})
        connection.close()


_counter = _Counter()


def count(target: UUID, *, clicked: bool = False) -> None:
    """Say that a target was opened, or a link in it clicked. Returns at once; only the first time counts."""
    _counter.count(target, clicked=clicked)
