"""The faults: how each begins and how it is healed. Called from the main thread only."""

from __future__ import annotations

import contextlib
import os
import signal
from abc import abstractmethod
from functools import cached_property
from typing import Any

import psycopg
import redis

from project import loop
from tests.chaos import simulator
from tests.chaos.fault import API, BROKER, CHANNEL, CONTROL, DATABASE, PROOF, Effect, Fault, of_group, of_link
from tests.chaos.probes import Path
from tests.chaos.proxy import Condition
from tests.chaos.stage import TIMEOUT

SKEW = 300  # seconds


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
    effect = CONTROL

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


class OnLink(Fault):
    """A condition of the proxy."""

    condition: Condition

    @property
    def effect(self) -> Effect:
        return of_link(self.variant)

    def start(self) -> None:
        self.condition = self.make()
        loop.run(self.stage.links[self.variant].suffer(self.condition)).result()

    def heal(self) -> None:
        loop.run(self.stage.links[self.variant].heal(self.condition)).result()

    @abstractmethod
    def make(self) -> Condition: ...


class SlowLink(OnLink):
    def make(self) -> Condition:
        most = 0.05 if self.variant == "database" else 0.4  # a transaction is many round trips
        return Condition(latency=most * self.chance.uniform(0.5, 1))


class ResetLink(OnLink):
    def make(self) -> Condition:
        return Condition(resets_every=1.0)


class BlackHole(OnLink):
    def make(self) -> Condition:
        return Condition(silent=True)


class ProviderRefuses(OnLink):
    def make(self) -> Condition:
        return Condition(refuses=True)


class ProviderErrors(Fault):
    """429 with Retry-After, or 503, whatever is asked."""

    effect = Effect(Path(("email", "sms")), ("email", "sms"))

    def start(self) -> None:
        simulator.script(
            self.stage, provider="*", fault=self.variant, times=1_000_000, seconds=self.planned.seconds
        )


class ProviderSilent(Fault):
    """Accepted, and the answer never comes, or after everybody has left."""

    effect = Effect(Path(("email", "sms")), ("email", "sms"))

    def start(self) -> None:
        if self.variant == "late":
            simulator.answer_after(self.stage, TIMEOUT * 1_000 + 500)
            return
        for provider, times in (("sendgrid", 3), ("twilio", 30)):
            simulator.script(
                self.stage,
                provider=provider,
                fault=self.variant,
                times=times,
                seconds=self.planned.seconds,
            )

    def heal(self) -> None:
        if self.variant == "late":
            simulator.answer_after(self.stage, simulator.LATENCY)


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
        self._restart("-m", "tests.chaos.skewed", str(int(f"{self.variant[0]}{SKEW}")))

    def heal(self) -> None:
        self._restart()

    def _restart(self, *launcher: str) -> None:
        group = self.variant[1:]
        self.stage.kill(group)
        self.stage.start_worker(group, *launcher)


class WorkerStops(Fault):
    """SIGSTOP: `paused` goes on after its lease ran out; `stuck` does not, and has to be noticed.

    It hits a channel without receipts, where nothing but the claim tells what became of its calls.
    """

    @cached_property
    def group(self) -> str:
        return next(channel for provider, channel in CHANNEL.items() if provider != self.stage.reporting)

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
    "receipts-disturbed": ReceiptsDisturbed,
    "clock-off": ClockOff,
    "worker-stops": WorkerStops,
}


def _children(pid: int) -> list[int]:
    """The processes of a process (Linux; elsewhere none are found)."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]
    return []
