"""A worker's canary: proof, every few seconds, that what is sent to this worker gets through it.

A process that runs proves little: after a reconnect a consumer may listen to nothing (celery#7276, #10205),
a main process may be deadlocked, every child may hang. So each worker has a queue of its own, drops a canary
into it every CANARY_INTERVAL seconds, and the child that gets it touches the worker's ALIVE_FILE. A young
file means: published, kept by the broker, consumed, given to a child, run. With several children it means
that at least one of them works; a child that holds on (project.alive) counts as one that works.

A worker without ALIVE_FILE has no canary: nobody would look.
"""

from __future__ import annotations

import logging
import secrets
import socket
import threading
from pathlib import Path
from typing import Any, ClassVar

from celery import Celery, bootsteps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from kombu import Exchange, Queue

from project import alive, queues

logger = logging.getLogger(__name__)


def keep(app: Celery, group: str) -> str:
    """Give this process, soon a worker of the group, a canary; the name of its queue.

    The worker must listen to that queue before all others, or its canaries would wait behind its work.
    Raises ImproperlyConfigured where healthy workers would be taken for stuck ones, or the file be useless.
    """
    _check()
    name = f"{queues.CANARY}{group}@{socket.gethostname()}.{secrets.token_hex(4)}"
    own = Queue(name, no_ack=True, expires=settings.WORKER_STUCK_AFTER)
    app.amqp.queues.add(own)
    own.exchange = Exchange("")  # Celery's default one would remember the binding for ever

    class Canary(_Sender):
        queue = own

    app.steps["worker"].add(Canary)
    return name


def _check() -> None:
    busy = settings.PROVIDER_TIMEOUT + settings.CLAIM_MARGIN + settings.CANARY_INTERVAL
    if busy >= settings.WORKER_STUCK_AFTER:
        raise ImproperlyConfigured(
            f"WORKER_STUCK_AFTER={settings.WORKER_STUCK_AFTER:g}, but a child may be busy for {busy:g} s:"
            " PROVIDER_TIMEOUT + CLAIM_MARGIN + CANARY_INTERVAL. Raise it well above that."
        )
    path = Path(alive.file())
    try:
        path.touch()
        path.unlink()  # an earlier worker's: it says nothing about this one
    except OSError as error:
        raise ImproperlyConfigured(f"ALIVE_FILE={path} cannot be written: {error.strerror}.") from error


class _Sender(bootsteps.StartStopStep):
    """Sends the canaries, from a thread of the worker's main process.

    It starts after the children, who must not be forked with a lock of this thread held, and before the
    consumer, which waits for the broker. For the sake of children forked later it shares no connection.
    """

    requires = ("celery.worker.components:Pool",)
    queue: ClassVar[Queue]

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._app: Celery = worker.app
        self._stopped = threading.Event()

    def start(self, worker: Any) -> None:
        threading.Thread(target=self._run, name="canary", daemon=True).start()

    def stop(self, worker: Any) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._send()
            except Exception as error:  # whatever the transport raises
                # The broker is away, and a restart of ours does not bring it back.
                logger.warning("canary not sent", extra={"error": type(error).__name__})
                alive.touch()
            self._stopped.wait(settings.CANARY_INTERVAL)

    def _send(self) -> None:
        """Drop a canary in place of the one that nobody heard: there is never more than one."""
        quickly = {"socket_timeout": settings.REDIS_TIMEOUT, "max_retries": 0}
        with self._app.connection_for_write(transport_options=quickly) as connection:
            self.queue(connection.default_channel).purge()
            producer = self._app.amqp.Producer(connection)
            self._app.send_task(queues.CANARY_TASK, queue=self.queue.name, producer=producer, retry=False)
