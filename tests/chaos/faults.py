"""The faults: how each begins and how it is healed. Called from the main thread only."""

from __future__ import annotations

import contextlib
import os
import signal
from functools import cached_property
from typing import Any

import psycopg
import redis

from tests.chaos import simulator
from tests.chaos.fault import API, BROKER, DATABASE, PROOF, SCHEDULE, Effect, Fault, of_group
from tests.chaos.link_faults import BlackHole, ProviderRefuses, ResetLink, SlowLink
from tests.chaos.plan import SENDING
from tests.chaos.probes import Path
from tests.chaos.provider_faults import (
    CredentialsRefused,
    ProviderDrained,
    ProviderErrors,
    ProviderLimited,
    ProviderSilent,
)

SKEW = 300  # seconds
SKEW_SEEN = 50  # where there are providers that refuse tokens and signatures a minute off


class KillWorker(Fault):
    @property
    def effect(self) -> Effect:
        return of_group(self.variant)

    def start(self) -> None:
        self.stage.kill(self.variant)


class KillApi(Fault):
    effect = API

    def start(self) -> None:
        processes = _children(self.stage.processes.running["api"].pid)
        if self.variant == "one" and processes:
            os.kill(self.chance.choice(processes), signal.SIGKILL)
        else:
            self.stage.kill("api")


class KillBeat(Fault):
    effect = SCHEDULE

    def start(self) -> None:
        self.stage.kill(self.variant)


class KillDaphne(Fault):
    effect = Effect(Path(()))

    def start(self) -> None:
        self.stage.kill("sockets")


class KillPostgres(Fault):
    effect = DATABASE

    def start(self) -> None:
        self.stage.kill_server("postgres")


class KillBroker(Fault):
    effect = BROKER

    def start(self) -> None:
        self.stage.kill_server("redis")


class FlushBroker(Fault):
    effect = Effect(BROKER.path)  # it is there, so the critical lane has to be as fast as ever

    def start(self) -> None:
        with contextlib.suppress(redis.RedisError), self.stage.broker() as broker:  # it may be down just now
            broker.flushall()


class PauseBroker(Fault):
    effect = BROKER

    def start(self) -> None:
        self.stage.servers.processes["redis"].send_signal(signal.SIGSTOP)

    def heal(self) -> None:
        self.stage.servers.processes["redis"].send_signal(signal.SIGCONT)


class BrokerGone(Fault):
    effect = BROKER

    def start(self) -> None:
        self.stage.held_down["redis"] += 1
        self.stage.kill_server("redis")

    def heal(self) -> None:
        self.stage.held_down["redis"] -= 1


class CutConnections(Fault):
    effect = Effect(DATABASE.path, air=DATABASE.air)  # Postgres is there

    def start(self) -> None:
        with contextlib.suppress(psycopg.OperationalError), self.stage.connection() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = current_user AND pid <> pg_backend_pid()"
            )


class LongTransaction(Fault):
    """It keeps every dead row from being vacuumed: idle after a write, or in one long statement."""

    effect = Effect(Path(("email",), "critical"))
    _connection: psycopg.Connection[Any] | None = None

    def start(self) -> None:
        with contextlib.suppress(psycopg.OperationalError):
            self._connection = self.stage.connection()
            self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            self._connection.execute("CREATE TABLE chaos_long ()")
            if self.variant == "running":
                self._connection.pgconn.send_query(b"SELECT pg_sleep(3600)")

    def heal(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.OperationalError):
                self._connection.cancel()
            self._connection.close()


class ReceiptsDisturbed(Fault):
    effect = PROOF

    def start(self) -> None:
        simulator.report(self.stage, delay_ms=500, jitter_ms=3_000, duplicates=0.5, shuffle=True)

    def heal(self) -> None:
        simulator.report(self.stage)


class ClockOff(Fault):
    """The worker is killed and started again with a wrong clock, and at the end with the right one."""

    @property
    def effect(self) -> Effect:
        return of_group(self.variant[1:])

    def start(self) -> None:
        seconds = SKEW_SEEN if "push" in self.variant else SKEW
        self._restart("-m", "tests.chaos.skewed", f"{self.variant[0]}{seconds}")

    def heal(self) -> None:
        self._restart()

    def _restart(self, *launcher: str) -> None:
        group = self.variant[1:]
        self.stage.kill(group)
        self.stage.start_worker(group, *launcher)


class WorkerStops(Fault):
    """SIGSTOP: `paused` goes on after its lease ran out; `stuck` does not, and has to be noticed.

    It hits channels without receipts, where nothing but the claim tells what became of their calls.
    """

    @cached_property
    def group(self) -> str:
        return self.chance.choice([group for group in SENDING if group != self.stage.reporting])

    @property
    def effect(self) -> Effect:
        return of_group(self.group)

    @property
    def seconds(self) -> float:
        return self.planned.seconds if self.variant == "paused" else 0.0

    def start(self) -> None:
        self._process = self.stage.processes.running[self.group]
        self._signal(signal.SIGSTOP)

    def heal(self) -> None:
        if self.variant == "paused":
            self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)


FAULTS: dict[str, type[Fault]] = {
    "kill-worker": KillWorker,
    "kill-api": KillApi,
    "kill-beat": KillBeat,
    "kill-daphne": KillDaphne,
    "kill-postgres": KillPostgres,
    "kill-broker": KillBroker,
    "flush-broker": FlushBroker,
    "pause-broker": PauseBroker,
    "broker-gone": BrokerGone,
    "cut-connections": CutConnections,
    "long-transaction": LongTransaction,
    "slow-link": SlowLink,
    "reset-link": ResetLink,
    "black-hole": BlackHole,
    "provider-errors": ProviderErrors,
    "provider-refuses": ProviderRefuses,
    "provider-silent": ProviderSilent,
    "credentials-refused": CredentialsRefused,
    "provider-drained": ProviderDrained,
    "provider-limited": ProviderLimited,
    "receipts-disturbed": ReceiptsDisturbed,
    "clock-off": ClockOff,
    "worker-stops": WorkerStops,
}


def _children(pid: int) -> list[int]:
    """The processes of a process (Linux; elsewhere none are found)."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]
    return []
