"""Counts of what is refused or not understood, kept in Redis: for operators, and never in anybody's way."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter

import redis

from project import queues

logger = logging.getLogger(__name__)

KEY = "carillon:counts"
PAUSE = 0.5  # seconds; what is counted meanwhile is written together


class _Writer:
    """Writes in the background, one thread per process, while there is something to write."""

    def __init__(self) -> None:
        self._waiting: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, name: str) -> None:
        with self._lock:
            self._waiting[name] += 1
            if self._thread is None or not self._thread.is_alive():  # also in a child after a fork
                self._thread = threading.Thread(target=self._run, name="counting", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(PAUSE)
            with self._lock:
                counted, self._waiting = self._waiting, Counter()
                if not counted:
                    self._thread = None
                    return
            self._write(counted)

    def _write(self, counted: Counter[str]) -> None:
        try:
            with queues.broker().pipeline(transaction=False) as pipe:
                for name, number in counted.items():
                    pipe.hincrby(KEY, name, number)
                pipe.execute()
        except redis.RedisError:
            logger.warning("not counted", extra={"count": counted.total()})


_writer = _Writer()


def count(name: str) -> None:
    """One more of these. Returns at once; without Redis it is lost."""
    _writer.add(name)


def counts(*names: str) -> dict[str, int]:
    """How many of each there have been, since Redis last lost its data; nothing if it cannot be asked."""
    try:
        found = queues.broker().hmget(KEY, list(names))
    except redis.RedisError:
        return {}
    return {name: int(number or 0) for name, number in zip(names, found, strict=True)}
