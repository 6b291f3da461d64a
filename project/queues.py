"""Every lane once, who listens to it, and the bell.

A lane is channel x urgency and a Celery queue of the same name. A bell says only "there is work in this
lane": losing, repeating or reordering one is harmless, because the rows are in Postgres and the sweeper
rings again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import cast

import redis
from django.conf import settings

logger = logging.getLogger(__name__)

CHANNELS = ("in_app", "email", "sms", "push", "webhook", "chat")
PRIORITIES = ("critical", "high", "normal", "low")
URGENCIES = (*PRIORITIES, "bulk")
CONTROL = "control"  # ticks
PLANNING = "planning"  # expansion of big audiences
RECEIPTS = "receipts"  # what the providers reported
DELIVERY_LANES = tuple(f"{channel}.{urgency}" for channel in CHANNELS for urgency in URGENCIES)
LANES = (*DELIVERY_LANES, PLANNING, RECEIPTS, CONTROL)

# Worker groups, each its own processes, so that a hung SMS provider cannot hold e-mail and a newsletter
# cannot hold a one-time code; nor can a hung e-mail provider hold a code that goes by SMS. A group drains its
# lanes in the order given.
WORKER_GROUPS = {
    **{f"critical_{channel}": (f"{channel}.critical",) for channel in CHANNELS},
    **{channel: tuple(f"{channel}.{urgency}" for urgency in URGENCIES[1:]) for channel in CHANNELS},
    PLANNING: (PLANNING,),
    RECEIPTS: (RECEIPTS,),
    CONTROL: (CONTROL,),
}

_URGENT_FIRST = (*URGENCIES, PLANNING, RECEIPTS, CONTROL)
_RING_ORDER = {lane: _URGENT_FIRST.index(lane.split(".")[-1]) for lane in LANES}


def lanes_of(groups: Iterable[str]) -> list[str]:
    """The lanes of these groups, in the order in which one worker drains them."""
    return sorted((lane for group in groups for lane in WORKER_GROUPS[group]), key=_RING_ORDER.__getitem__)


CANARY = "canary."  # begins the name of a worker's own queue, which no group lists (project.canary)

WORK_TASK = "delivery.work"
PLAN_TASK = "notifications.plan"
CANARY_TASK = "delivery.canary"
RECEIPTS_TASK = "delivery.receipts"
_OWN_TASKS = {PLANNING: PLAN_TASK, RECEIPTS: RECEIPTS_TASK}  # of the lanes that have one
RING_PAUSE = 0.005  # seconds; what comes meanwhile is rung together: a ring was a fifth of a POST's price
BELL_SECONDS = 2  # a bell that never reached a worker stops the next one no longer than this


def lane_of(channel: str, priority: str, *, bulk: bool = False) -> str:
    """The lane of a target. Bulk outranks any priority but critical."""
    return f"{channel}.{'bulk' if bulk and priority != 'critical' else priority}"


def broker() -> redis.Redis:
    """One small pool per process, with short timeouts: a dead broker must not hold anything up."""
    return _client(settings.REDIS_URL, settings.REDIS_TIMEOUT)


@cache
def _client(url: str, timeout: float) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout)


def _key(lane: str) -> str:
    return f"carillon:bell:{lane}"


def ring_now(lane: str) -> bool:
    """Publish the lane's bell unless one is on its way. False if the broker could not be reached."""
    from project.celery import app

    try:
        if broker().set(_key(lane), 1, nx=True, ex=BELL_SECONDS):
            try:
                app.send_task(
                    _OWN_TASKS.get(lane, WORK_TASK),
                    args=() if lane in _OWN_TASKS else (lane,),
                    queue=lane,
                    retry=False,
                    ignore_result=True,
                )
            except Exception:
                broker().delete(_key(lane))
                raise
    except Exception as error:  # whatever the transport raises: a bell is in nobody's way
        logger.warning("bell not rung", extra={"lane": lane, "error": type(error).__name__})
        return False
    return True


def answered(lane: str) -> None:
    """The first act of whoever heard the bell: from here on new work may ring again."""
    try:
        broker().delete(_key(lane))
    except redis.RedisError:
        logger.warning("bell not cleared", extra={"lane": lane})


def _waiting_key(lane: str) -> str:
    return f"carillon:waiting:{lane}"


WAITING_TOLD = 3.0  # seconds longer than the wait, in which somebody looks again


def wait(lane: str, reason: str, seconds: float) -> None:
    """The lane's work cannot be done now: ring it again then, and let `waiting` tell why."""
    ring_after(lane, seconds)
    try:
        broker().set(_waiting_key(lane), reason, px=int((seconds + WAITING_TOLD) * 1000))
    except redis.RedisError:
        logger.warning("waiting not told", extra={"lane": lane})


def waiting(lanes: Collection[str]) -> dict[str, str]:
    """Which of these lanes wait, and why; nothing if the broker cannot be asked."""
    wanted = sorted(lanes)
    if not wanted:
        return {}
    try:
        found = cast("list[bytes | None]", broker().mget([_waiting_key(lane) for lane in wanted]))
    except redis.RedisError:
        return {}
    return {lane: reason.decode() for lane, reason in zip(wanted, found, strict=True) if reason}


class _Ringer:
    """Rings in the background, one thread per process: no request ever waits for the broker."""

    def __init__(self) -> None:
        self._wanted: set[str] = set()
        self._later: dict[str, float] = {}  # lane -> when to ring it, by the monotonic clock
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None

    def ring(self, lanes: set[str], later: Mapping[str, float] | None = None) -> None:
        with self._wake:
            self._wanted |= lanes
            self._later.update(later or {})
            if self._thread is None or not self._thread.is_alive():  # also in a child after a fork
                self._thread = threading.Thread(target=self._run, name="ringer", daemon=True)
                self._thread.start()
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._wanted and (wait := self._sleep()) != 0:
                    self._wake.wait(wait)
                lanes, self._wanted = self._wanted | self._due(), set()
            for lane in sorted(lanes, key=_RING_ORDER.__getitem__):
                ring_now(lane)
            time.sleep(RING_PAUSE)

    def _sleep(self) -> float | None:
        """Seconds until the next lane that is to be rung later; None if there is none."""
        return max(0.0, min(self._later.values()) - time.monotonic()) if self._later else None

    def _due(self) -> set[str]:
        due = {lane for lane, at in self._later.items() if at <= time.monotonic()}
        for lane in due:
            del self._later[lane]
        return due


_ringer = _Ringer()


def ring(*lanes: str) -> None:
    """Say that there is work in these lanes. Returns at once; call it after COMMIT."""
    _ringer.ring(set(lanes))


def ring_after(lane: str, seconds: float) -> None:
    """Say so later. Returns at once; if this process ends before, the sweeper rings."""
    _ringer.ring(set(), {lane: time.monotonic() + seconds})
