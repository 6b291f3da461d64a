"""The real processes on the test's database, with the simulator in place of the providers."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.conf import settings

from apps.users import people
from apps.users.models import ApiKey, Organization, ServiceClient
from apps.users.schemas import UserInput
from project import db
from project.dev.demo import PERSON, Demo
from project.dev.processes import Processes, free_port, simulated

# Short waits: time goes into what is tested.
QUICK = {
    "PROVIDER_TIMEOUT": "2",
    "CLAIM_MARGIN": "0.5",
    "CLAIM_LEASE": "4",
    "UNKNOWN_GRACE": "1",
    "SWEEP_INTERVAL": "0.25",
    "RETRY_BASE": "0.2",
}


class Running:
    """Processes of a test. Workers are started by the test, by name."""

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self.port, self.smtp_port, self.api_port, self.socket_port = (free_port() for _ in range(4))
        self.ledger_file = folder / "ledger.jsonl"
        usual = QUICK | simulated(self.port, self.smtp_port) | same_servers()
        self.processes = Processes(folder / "logs", usual | dict(environ or {}))
        self.processes.simulator(self.port, self.smtp_port, self.ledger_file)
        self.processes.wait_for(f"http://127.0.0.1:{self.port}/counts", "simulator")

    def start_api(self) -> None:
        self.processes.api(self.api_port)
        self.processes.sockets(self.socket_port)
        self.processes.wait_for(f"http://127.0.0.1:{self.api_port}/api/tokens/", "api")
        self.processes.wait_for(f"http://127.0.0.1:{self.socket_port}/", "sockets")

    def demo(self) -> Demo:
        """What the demo calls with, on these processes."""
        client = ServiceClient.objects.create(name="demo", organization_id=1)
        return Demo(
            f"http://127.0.0.1:{self.api_port}",
            f"http://127.0.0.1:{self.socket_port}",
            ApiKey.issue(client)[1],
            people.upsert(1, [UserInput.model_validate(PERSON)])[PERSON["external_id"]].id,
        )

    def ledger(self) -> list[dict[str, Any]]:
        """What the simulator has accepted, oldest first."""
        return [orjson.loads(line) for line in self.ledger_file.read_bytes().splitlines()]

    def answer_slowly(self, *, milliseconds: int) -> None:
        """Let the providers take so long for each answer; what they accept, they accept before that."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/latency",
            data=orjson.dumps({"provider": "*", "ms": milliseconds}),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=5).close()

    def kill(self, name: str) -> None:
        """kill -9, with its children."""
        self.processes.kill(name)


def same_servers() -> dict[str, str]:
    """The URLs of the test's own database and broker, and what the settings insist on."""
    from django.db import connection

    values = connection.get_connection_params()
    secret = f":{values['password']}" if values.get("password") else ""
    address = f"{values['user']}{secret}@{values['host']}:{values['port']}"
    return {
        "DATABASE_URL": f"postgresql://{address}/{values['dbname']}",
        "REDIS_URL": settings.REDIS_URL,
        "DEBUG": "1",
        "LOG_LEVEL": "WARNING",
    }


@pytest.fixture
def running(transactional_db: None, tmp_path: Path) -> Iterator[Running]:
    """The simulator; everything else is the test's to start."""
    Organization.objects.get_or_create(pk=1, defaults={"name": "Default"})  # a flush takes it along
    started = Running(tmp_path)
    try:
        yield started
    finally:
        started.processes.stop()


@pytest.fixture
def statuses() -> Callable[[], dict[str, int]]:
    """How many targets there are by status."""
    return lambda: dict(db.rows("SELECT status, count(*) FROM notifications_notificationtarget GROUP BY 1"))


def wait_for(condition: Callable[[], Any], *, seconds: float = 60, what: str = "") -> Any:
    """Until the condition is true; its value. Fails with `what` if it does not become so."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        time.sleep(0.02)
    return value
