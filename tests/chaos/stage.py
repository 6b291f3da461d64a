"""What a run stands on: servers that can be killed, every process as production runs it, proxies in between.

Also the supervisor: whatever has ended is started again within a second, and what is stuck is killed first.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis

from project import loop
from project.dev import servers
from project.dev.machine import is_alive
from project.dev.processes import WORKERS, Processes, free_port, simulated
from tests.chaos import observe
from tests.chaos.evidence import Drain
from tests.chaos.plan import PROVIDERS, SENDING
from tests.chaos.proxy import Proxy
from tests.chaos.wire import Http2

LEASE, GRACE, SWEEP, TIMEOUT, RETRY_CAP = 4.0, 2.0, 0.5, 1.5, 3.0
# Short waits, so that time goes into faults. Enough attempts for most targets to live through them.
SHORT = {
    "PROVIDER_TIMEOUT": str(TIMEOUT),
    "CLAIM_MARGIN": "0.5",
    "CLAIM_LEASE": str(LEASE),
    "UNKNOWN_GRACE": str(GRACE),
    "SWEEP_INTERVAL": str(SWEEP),
    "RETRY_BASE": "0.3",
    "RETRY_CAP": str(RETRY_CAP),
    "MAX_ATTEMPTS": "40",  # each provider that is tried counts
    "BREAKER_SECONDS": "1",
    "REDIS_TIMEOUT": "1",
    "DATABASE_CONNECT_TIMEOUT": "2",
    "WEBSOCKET_CATCH_UP_SECONDS": "2",
    "CANARY_INTERVAL": "1",
    "WORKER_STUCK_AFTER": "8",
    "HOLD_SPREAD": "0",
}
AS_IN_PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "project.settings",
    "DEBUG": "0",
    "ALLOWED_HOSTS": "localhost,127.0.0.1",
    "SSL_REDIRECT": "0",  # there is no proxy in front that would end TLS
    "LOG_LEVEL": "WARNING",
}
IDLE = 1.5  # seconds to wait for work
BEATS = ("beat", "beat-2")
PAUSE = 1.0  # seconds from a start to the next one of the same name: what cannot start must not spin
HTTP2 = "apns"  # the provider that speaks nothing else


class Stage:
    """The running pieces. From the main thread only, as children die with the thread that started them."""

    def __init__(self, folder: Path, started: servers.Servers, chance: random.Random) -> None:
        self.folder, self.servers = folder, started
        self.ledger = folder / "ledger.jsonl"
        ports = (free_port() for _ in range(5))
        self.simulator_port, self.http2_port, self.api_port, self.socket_port, smtp_port = ports
        self.links = self._links(chance)
        own = AS_IN_PRODUCTION | {"SECRET_KEY": secrets.token_hex(32)}
        os.environ |= own | SHORT | started.environ  # ours go to the servers themselves
        self.processes = Processes(
            folder / "logs",
            simulated(self.simulator_port, smtp_port, self.api_url)
            | {
                "DATABASE_URL": _through(started.database_url, self.links["database"]),
                "REDIS_URL": _through(started.redis_url, self.links["broker"]),
            },
        )
        self.processes.simulator(self.simulator_port, smtp_port, self.ledger, http2_port=self.http2_port)
        self.reporting = "email"  # the channel whose providers send receipts just now
        self.arguments: dict[str, dict[str, Any]] = {}  # of the providers, as they should be
        self.drained: dict[str, float] = {}  # providers, and since when
        self.drains: list[Drain] = []  # those that are over
        self.restarts: Counter[str] = Counter()  # of what had ended, by name
        self.stuck: Counter[str] = Counter()  # workers that were replaced, by name
        self.held_down: Counter[str] = Counter()  # by name: not to be started again just now
        self._started_at: dict[str, float] = {}

    def _links(self, chance: random.Random) -> dict[str, Proxy]:
        """The proxies, listening: before the servers, and one before each provider."""
        servers = {"database": self.servers.database_url, "broker": self.servers.redis_url}
        links = {name: Proxy(urlsplit(url).port or 0, chance=chance) for name, url in servers.items()}
        for name in PROVIDERS:
            if name == HTTP2:
                links[name] = Proxy(self.http2_port, chance=chance, wire=partial(Http2, TIMEOUT / 2))
            else:
                links[name] = Proxy(self.simulator_port, chance=chance)
        for link in links.values():
            loop.run(link.start()).result()
        return links

    def link_url(self, name: str) -> str:
        """Where a provider is reached."""
        return f"http://127.0.0.1:{self.links[name].port}"

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    def start(self, prepare: Callable[[], None]) -> None:
        """Everything, ready. `prepare` writes what has to be in the database before."""
        self.processes.manage("migrate", "-v0")
        with self.connection() as connection:
            observe.install(connection)
        prepare()
        self.processes.sockets(self.socket_port)
        self.processes.api(self.api_port, workers=2)
        for group in WORKERS:
            self.start_worker(group)
        for name in BEATS:
            self.processes.start(name, "-m", "celery", "-A", "project.celery", "beat", "--loglevel=WARNING")
        self.processes.wait_for(f"http://127.0.0.1:{self.simulator_port}/counts", "simulator")
        self.processes.wait_for(f"{self.api_url}/api/tokens/", "api")
        self.processes.wait_for(f"http://127.0.0.1:{self.socket_port}/", "sockets")

    def start_worker(self, group: str, *launcher: str) -> None:
        """A worker of the group, by the launcher if one is given."""
        processes = max(len(group.split("+")), 2 if group in SENDING else 1)
        self.processes.worker(group, *launcher, concurrency=processes)

    def connection(self, **options: Any) -> psycopg.Connection[Any]:
        """A connection to Postgres itself. Raises psycopg.OperationalError while it is down."""
        return psycopg.connect(self.servers.database_url, autocommit=True, connect_timeout=2, **options)

    def insist(self, sql: str, values: Sequence[object]) -> float:
        """Run a statement of one transaction until it is known to be committed; when it was (since 1970)."""
        while True:
            try:
                with self.connection() as connection:
                    connection.execute(sql, values)
                return time.time()
            except psycopg.OperationalError:
                self.tick()  # which starts Postgres again
                time.sleep(0.1)

    def broker(self) -> redis.Redis:
        """A client of the broker itself."""
        return redis.Redis.from_url(self.servers.redis_url, socket_timeout=1, socket_connect_timeout=1)

    # --- the supervisor ------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Look at everything once: kill what is stuck, start again what has ended."""
        self._restart_servers()
        if (stuck := self.processes.stuck()) is not None:
            self.stuck[stuck] += 1
            self.processes.restart(stuck)
        while (name := self._ended()) is not None:
            self.restarts[name] += 1
            self._started_at[name] = time.monotonic()
            self.kill(name)  # children it may have left
            self.processes.restart(name)

    def _ended(self) -> str | None:
        now = time.monotonic()
        return next(
            (
                name
                for name, process in self.processes.running.items()
                if process.poll() is not None
                and not self.held_down[name]
                and now - self._started_at.get(name, 0) > PAUSE
            ),
            None,
        )

    def _restart_servers(self) -> None:
        for name, link in (("postgres", "database"), ("redis", "broker")):
            if self.servers.processes[name].poll() is not None and not self.held_down[name]:
                self.servers.restart(name)
                url = self.servers.database_url if name == "postgres" else self.servers.redis_url
                self.links[link].upstream = urlsplit(url).port or 0

    # --- what faults do ------------------------------------------------------------------------------------

    def wait_for_work(self, lanes: tuple[str, ...]) -> None:
        """Until calls of these lanes are in the air, for a while: to hit who is idle proves little."""
        deadline = time.monotonic() + IDLE
        with contextlib.suppress(psycopg.OperationalError), self.connection() as connection:
            while not observe.is_at_work(connection, lanes) and time.monotonic() < deadline:
                time.sleep(0.01)

    def kill(self, name: str) -> None:
        """kill -9 of a process of ours with its children. It stays known, so the supervisor restarts it."""
        process = self.processes.running[name]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def kill_server(self, name: str) -> None:
        """kill -9 of "postgres", with every process it has, or "redis"."""
        children = self._backends() if name == "postgres" else []
        process = self.servers.processes[name]
        process.send_signal(signal.SIGKILL)
        process.wait()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while any(map(is_alive, children)) and time.monotonic() < deadline:
            time.sleep(0.01)

    def _backends(self) -> list[int]:
        try:
            with self.connection() as connection:
                return [row[0] for row in connection.execute("SELECT pid FROM pg_stat_activity")]
        except psycopg.OperationalError:  # it is just recovering from another fault
            return []


def _through(url: str, link: Proxy) -> str:
    """The URL with the link's port."""
    parts = urlsplit(url)
    netloc = f"{parts.netloc.rpartition(':')[0]}:{link.port}"
    return urlunsplit(parts._replace(netloc=netloc))


@contextlib.contextmanager
def stage(chance: random.Random) -> Iterator[Stage]:
    """A stage, taken down at the end however it comes. Its servers are its own."""
    os.environ.pop("DATABASE_URL", None)
    os.environ.pop("REDIS_URL", None)
    folder = Path(tempfile.mkdtemp(prefix="carillon-chaos-"))
    with servers.start(durable=True) as started:
        built = Stage(folder, started, chance)
        try:
            yield built
        finally:
            for process in built.processes.running.values():  # one that was stopped could not hear the end
                process.send_signal(signal.SIGCONT)
            built.processes.stop()
            for link in built.links.values():
                loop.run(link.close()).result()
