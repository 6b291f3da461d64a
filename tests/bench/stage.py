"""What a benchmark stands on: a fresh database, people, the simulator, and processes as in production."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import orjson
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from project.dev import providers
from project.dev.processes import SLOWEST_START, Processes, free_port, simulated
from project.dev.providers import Simulated
from project.queues import CHANNELS

DATABASE = "carillon_bench"
# Processes of each worker group, as production would run them on two cores.
GROUPS = {
    **{f"critical_{channel}": 1 for channel in CHANNELS},
    "in_app": 1,
    "email": 2,
    "sms": 2,
    "push": 2,
    "webhook": 1,
    "chat": 1,
    "planning": 1,
    "control": 1,
}


class Stage:
    """The running pieces. Django is set up on the fresh database when this exists."""

    def __init__(self, folder: Path) -> None:
        self.port, self.smtp_port = free_port(), free_port()
        self.ledger = folder / "ledger.jsonl"
        os.environ |= {"DATABASE_URL": _fresh_database(), **simulated(self.port, self.smtp_port)}
        os.environ.setdefault("LOG_LEVEL", "WARNING")
        self.processes = Processes(folder / "logs", {})
        self.processes.manage("migrate", "-v0")
        import django

        django.setup()

    def let_push_by_fcm(self, user_ids: list[int]) -> None:
        """One device for each of these, and the provider that reaches them."""
        providers.install(Simulated(self.simulator_url(""), ""), {"fcm"})
        make_devices(user_ids)

    def start_simulator(self) -> None:
        self.processes.simulator(self.port, self.smtp_port, self.ledger)
        self.processes.wait_for(self.simulator_url("/counts"), "simulator")

    def start_everything(self) -> None:
        """The simulator, every worker group and the beat, all ready to work."""
        self.start_simulator()
        for group, concurrency in GROUPS.items():
            self.processes.worker(group, concurrency=concurrency)
        self.processes.beat()
        wait_for_workers()

    def start_api(self, *, app: str = "project.wsgi:application") -> str:
        """Two processes of the HTTP server, answering; the base URL."""
        port = free_port()
        self.processes.api(port, workers=2, app=app)
        self.processes.wait_for(f"http://127.0.0.1:{port}/", "api")
        return f"http://127.0.0.1:{port}"

    def start_sockets(self, app: str = "project.asgi:application") -> tuple[int, int]:
        """One Daphne, listening; its port and its pid."""
        port = free_port()
        daphne = ("-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "--no-server-name", app)
        process = self.processes.start("sockets", *daphne)
        self.processes.wait_for(f"http://127.0.0.1:{port}/", "sockets")
        return port, process.pid

    def simulator_url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def accepted(self) -> int:
        """How many messages the simulator has accepted."""
        with urllib.request.urlopen(self.simulator_url("/counts"), timeout=5) as answer:
            return int(orjson.loads(answer.read())["accepted"])


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """A stage, taken down at the end however it comes."""
    with tempfile.TemporaryDirectory(prefix="carillon-bench-", ignore_cleanup_errors=True) as folder:
        built = Stage(Path(folder))
        try:
            yield built
        finally:
            built.processes.stop()


def _fresh_database() -> str:
    """The URL of an empty database of our own beside the one we were given."""
    given = os.environ["DATABASE_URL"]
    with psycopg.connect(given, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {DATABASE}")
    parts = conninfo_to_dict(make_conninfo(given))
    secret = f":{parts['password']}" if parts.get("password") else ""
    return f"postgresql://{parts.get('user', '')}{secret}@{parts['host']}:{parts['port']}/{DATABASE}"


def wait_for_workers() -> None:
    """Until each delivery lane's bell has been taken. Raises TimeoutError."""
    from project import queues

    for lane in queues.DELIVERY_LANES:
        queues.ring_now(lane)
    deadline = time.monotonic() + SLOWEST_START
    while any(queues.broker().llen(lane) for lane in queues.DELIVERY_LANES):
        if time.monotonic() > deadline:
            raise TimeoutError("the workers do not take their bells")
        time.sleep(0.05)


def make_key() -> str:
    """An API key's secret text."""
    from apps.users.models import ApiKey, ServiceClient

    return ApiKey.issue(ServiceClient.objects.create(name="bench"))[1]


def make_people(number: int) -> list[int]:
    """So many people with a name, an e-mail address and a phone; their ids."""
    from project import db

    found = db.rows(
        """
        INSERT INTO users_user (organization_id, external_id, name, email, phone, timezone, language,
            password, is_active, is_staff, is_superuser)
        SELECT 1, 'person-' || n, 'Person ' || n, 'person' || n || '@example.com',
               '+4930' || lpad(n::text, 7, '0'), 'UTC', 'en', '!', true, false, false
        FROM generate_series(1, %s) AS g(n) RETURNING id
        """,
        [number],
    )
    return [row[0] for row in found]


def make_devices(user_ids: list[int]) -> None:
    """One registered with FCM for each of these people."""
    from project import db

    db.execute(
        """
        INSERT INTO users_device (id, organization_id, user_id, kind, token, digest, name, is_active,
            created_at, updated_at, deactivated_reason)
        SELECT gen_random_uuid(), 1, id, 'fcm', 'token-' || id || repeat('x', 150), md5(id::text), '', true,
               carillon_now(), carillon_now(), ''
        FROM unnest(%b::bigint[]) AS g(id)
        """,
        [user_ids],
    )
