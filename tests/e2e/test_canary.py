"""A worker that hears nothing is noticed and replaced; one whose servers are away is left alone."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from project import db, queues
from project.celery import app
from project.dev.dev import look_after
from tests.e2e.conftest import Running, same_servers, wait_for
from tests.support import rows
from tests.support.forwarder import Forwarder

STUCK_AFTER = 4.0
QUICK = {
    "CANARY_INTERVAL": "0.2",
    "WORKER_STUCK_AFTER": str(STUCK_AFTER),
    "PROVIDER_TIMEOUT": "1.5",
    "CLAIM_MARGIN": "0.25",
    "REDIS_TIMEOUT": "0.5",
}
LANE = "email.normal"


class Worker:
    """One e-mail worker with one child, and what leads to its servers."""

    def __init__(self, folder: Path) -> None:
        servers = same_servers()
        self.database = Forwarder(urlsplit(servers["DATABASE_URL"]).port or 0)
        self.broker = Forwarder(urlsplit(servers["REDIS_URL"]).port or 0)
        environ = QUICK | {
            "DATABASE_URL": _through(self.database, servers["DATABASE_URL"]),
            "REDIS_URL": _through(self.broker, servers["REDIS_URL"]),
        }
        self.running = Running(folder, environ)
        self.processes = self.running.processes
        self.file = folder / "logs" / "email.alive"
        self.processes.worker("email")
        wait_for(self.file.exists, what="the first canary")

    @property
    def pid(self) -> int:
        return self.processes.running["email"].pid

    def is_left_alone(self, seconds: float) -> None:
        """Assert that for so long nobody calls it stuck."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.processes.stuck() is None, self.processes.log("email")
            time.sleep(0.05)

    def is_found_stuck(self) -> None:
        wait_for(self.processes.stuck, seconds=5 * STUCK_AFTER, what="found stuck")
        assert self.processes.stuck() == "email"


def _through(forwarder: Forwarder, url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{forwarder.port}"))


@pytest.fixture
def worker(transactional_db: None, tmp_path: Path) -> Iterator[Worker]:
    one = Worker(tmp_path)
    try:
        yield one
    finally:
        one.database.mend()
        one.broker.mend()
        one.processes.stop()
        one.database.cut()
        one.broker.cut()


def own_queues() -> list[str]:
    """The queues of canaries that hold one now."""
    return [key.decode() for key in queues.broker().scan_iter(f"{queues.CANARY}*")]


def unanswered() -> bool:
    """Whether the lane's bell is still to be taken."""
    return bool(queues.broker().llen(LANE))


def test_a_worker_is_alive_for_as_long_as_its_canaries_come_through(worker: Worker) -> None:
    worker.is_left_alone(1)
    assert os.stat(worker.file).st_mtime > time.time() - STUCK_AFTER

    worker.processes.stop(["email"])

    wait_for(lambda: not own_queues(), seconds=2 * STUCK_AFTER, what="nothing left in the broker")
    assert "canary not sent" not in worker.processes.log("email")


def test_one_that_stands_still_is_replaced_and_its_lanes_are_heard_again(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = worker.pid
    os.kill(stopped, signal.SIGSTOP)
    worker.is_found_stuck()
    queues.ring_now(LANE)
    assert unanswered()

    look_after(worker.processes)

    assert "email hears no messages any more; it is killed and started again" in capsys.readouterr().out
    assert worker.pid != stopped
    wait_for(lambda: not unanswered(), what="the bell answered")
    wait_for(worker.file.exists, what="a canary of the new one")
    worker.is_left_alone(0.5)


def test_one_that_runs_but_hears_nothing_is_found(worker: Worker) -> None:
    """What is left of a consumer after some reconnects: connected, answering, consuming nothing."""
    node = f"email@{socket.gethostname()}"
    heard = app.control.inspect([node], timeout=2).active_queues()[node]
    assert heard[0]["name"].startswith(queues.CANARY)
    assert [queue["name"] for queue in heard[1:]] == list(queues.WORKER_GROUPS["email"])

    for queue in heard:
        app.control.cancel_consumer(queue["name"], destination=[node])

    worker.is_found_stuck()
    assert worker.processes.ended() is None
    assert app.control.inspect([node], timeout=2).ping()
    assert queues.broker().llen(heard[0]["name"]) == 1  # they do not pile up
    assert 0 < queues.broker().ttl(heard[0]["name"]) <= STUCK_AFTER


@pytest.mark.parametrize("away", [Forwarder.cut, Forwarder.swallow], ids=["refusing", "silent"])
def test_a_broker_that_is_away_makes_nobody_stuck(worker: Worker, away: Callable[[Forwarder], None]) -> None:
    before = worker.pid
    away(worker.broker)
    worker.is_left_alone(1.5 * STUCK_AFTER)
    assert "canary not sent" in worker.processes.log("email")

    worker.broker.mend()

    worker.is_left_alone(1.2 * STUCK_AFTER)
    queues.ring_now(LANE)
    wait_for(lambda: not unanswered(), seconds=5, what="the bell answered")
    assert worker.processes.ended() is None and worker.pid == before


@pytest.mark.parametrize("away", [Forwarder.cut, Forwarder.hold], ids=["refusing", "standing_still"])
def test_one_that_holds_outcomes_while_postgres_is_away_is_left_alone(
    worker: Worker, statuses: Callable[[], dict[str, int]], away: Callable[[Forwarder], None]
) -> None:
    worker.running.answer_slowly(milliseconds=1_000)
    before = worker.pid
    rows.queued()
    queues.ring_now(LANE)
    wait_for(worker.running.ledger, what="accepted by the provider")

    away(worker.database)
    worker.is_left_alone(1.3 * STUCK_AFTER)
    assert statuses() == {"sending": 1}
    worker.database.mend()

    wait_for(lambda: statuses() == {"sent": 1}, seconds=30, what="settled")
    assert len(worker.running.ledger()) == 1
    assert db.rows("SELECT outcome FROM notifications_deliveryattempt") == [("accepted",)]
    assert worker.pid == before
