"""Our own processes, each as production runs it, started and watched by one parent."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from project import alive
from project.dev.forks import Fork, fork
from project.dev.machine import REPOSITORY, Process, end, spawn
from project.queues import WORKER_GROUPS

SLOWEST_START = 60.0  # seconds
# What runs on one machine: the channels of the newest kinds share processes, as a small installation would.
_SHARED = ("push", "webhook", "chat")
WORKERS = (
    *(group for group in WORKER_GROUPS if group.removeprefix("critical_") not in _SHARED),
    "+".join(f"critical_{channel}" for channel in _SHARED),
    "+".join(_SHARED),
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class _Pulse:
    """Whether a worker's file goes on changing, by a clock that stands still while the machine sleeps."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.begin()

    def begin(self) -> None:
        self.file.unlink(missing_ok=True)
        self._last = 0.0
        self._since = time.monotonic()

    def has_stopped(self, after: float) -> bool:
        now, last = time.monotonic(), self.file.stat().st_mtime if self.file.exists() else 0.0
        if last != self._last:
            self._last, self._since = last, now
        return now - self._since > (after if last else max(after, SLOWEST_START))


class Processes:
    """Children by name. They end with us, however we end; each has a log file of its own.

    `by_fork` may be set once this process has imported what they need (see `forks`), for a quick start.
    """

    def __init__(self, logs: Path, environ: Mapping[str, str]) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._environ = dict(os.environ) | dict(environ)
        self.by_fork = False
        self.running: dict[str, Process | Fork] = {}
        self._commands: dict[str, tuple[str, ...]] = {}
        self._pulses: dict[str, _Pulse] = {}  # of the workers

    def start(self, name: str, *arguments: str | Path) -> Process | Fork:
        """Run this Python with the arguments, under a name."""
        command = self._commands[name] = tuple(map(str, arguments))
        environ = self._environ | {"ROLE": name}
        if pulse := self._pulses.get(name):
            pulse.begin()
            environ["ALIVE_FILE"] = str(pulse.file)
        with (self._logs / f"{name}.log").open("ab") as log:
            self.running[name] = (
                fork(command, environ=environ, log=log.fileno())
                if self.by_fork
                else _spawn(command, environ=environ, log=log.fileno())
            )
        return self.running[name]

    def restart(self, name: str) -> None:
        """Start one again, with the arguments it had. If it still runs it is stuck: it would not listen."""
        if self.running[name].poll() is None:
            self.kill(name)
        self.start(name, *self._commands[name])

    def manage(self, *arguments: str) -> None:
        """Run a management command to its end. Raises RuntimeError with its output if it fails."""
        process = self.start("manage", "manage.py", *arguments)
        if process.wait():
            raise RuntimeError(f"manage.py {' '.join(arguments)}:\n{self.log('manage')}")
        del self.running["manage"]

    def worker(self, group: str, *launcher: str, concurrency: int = 1) -> Process | Fork:
        """A worker of a group, or of several with + between them; by the launcher (arguments of Python's) if
        one is given."""
        self._pulses[group] = _Pulse(self._logs.absolute() / f"{group}.alive")
        command = (*launcher, "manage.py", "worker", *group.split("+"), f"--concurrency={concurrency}")
        return self.start(group, *command)

    def beat(self) -> Process | Fork:
        return self.start("beat", "-m", "celery", "-A", "project.celery", "beat", "--loglevel=WARNING")

    def api(self, port: int, *, workers: int = 1, app: str = "project.wsgi:application") -> Process | Fork:
        serve = ("-m", "project.serve", "--port", str(port), "--workers", str(workers), "--app", app)
        return self.start("api", *serve)

    def sockets(self, port: int) -> Process | Fork:
        limits = ("--websocket-max-message-size", "16384", "--websocket-max-frame-size", "16384")
        daphne = ("-m", "daphne", "-b", "127.0.0.1", "-p", str(port), *limits, "project.asgi:application")
        return self.start("sockets", *daphne)

    def product(self, port: int, *, api: str, sockets: str, key: str) -> Process | Fork:
        """The page with an inbox on it; key: the product's API key."""
        self._environ["CARILLON_KEY"] = key
        places = ("--port", str(port), "--api", api, "--sockets", sockets)
        return self.start("product", "-m", "project.dev.product", *places)

    def simulator(self, port: int, smtp_port: int, ledger: Path, *, http2_port: int = 0) -> Process | Fork:
        ports = ("--port", str(port), "--smtp-port", str(smtp_port), "--http2-port", str(http2_port))
        return self.start(
            "simulator", "-m", "apps.integrations.simulator", *ports, "--ledger", ledger, "--parent-death"
        )

    def stop(self, names: Sequence[str] | None = None) -> None:
        """End these, or all, gently; those that do not listen, less so."""
        chosen = [name for name in (names or list(self.running)) if name in self.running]
        for name in chosen:
            self.running[name].send_signal(signal.SIGTERM)
        for name in chosen:
            end(self.running.pop(name), signal.SIGTERM, seconds=15)

    def kill(self, name: str) -> None:
        """kill -9, with its children."""
        process = self.running.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def ended(self) -> str | None:
        """The name of one that has ended although nobody stopped it."""
        return next((name for name, process in self.running.items() if process.poll() is not None), None)

    def stuck(self) -> str | None:
        """The name of a running worker whose canary has not come through for WORKER_STUCK_AFTER seconds.

        It has SLOWEST_START for its first one. It is noticed by asking regularly: what counts is that the
        file has not changed since an earlier look.
        """
        after = alive.stuck_after(self._environ)
        running = [(name, self._pulses[name]) for name in self.running if name in self._pulses]
        return next((name for name, pulse in running if pulse.has_stopped(after)), None)

    def log(self, name: str, *, characters: int = 4_000) -> str:
        """The end of its log."""
        return (self._logs / f"{name}.log").read_text(errors="replace")[-characters:]

    def wait_for(self, url: str, name: str) -> None:
        """Until the URL answers anything below 500. Raises RuntimeError with the log if it does not come."""
        deadline = time.monotonic() + SLOWEST_START
        while time.monotonic() < deadline and self.running[name].poll() is None:
            if _answers(url):
                return
            time.sleep(0.02)
        raise RuntimeError(f"{name} did not start:\n{self.log(name)}")


def _spawn(command: Sequence[str], *, environ: dict[str, str], log: int) -> Process:
    return spawn(
        [sys.executable, *command],
        dies_by=signal.SIGTERM,
        cwd=REPOSITORY,
        env=environ,
        stdout=log,
        stderr=log,
    )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


# With which the simulator's receipts are verified; its signing key is in apps/integrations.
RECEIPT_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEL7XdXUl53+VSa4ebsH4NGXrjEb"
    "liAJczke7hjasia4XZ7X4Rc2b5mUtPQUU1az9Y5U28HTE34kM9wM1YEA09GA=="
)


def simulated(port: int, smtp_port: int, public_url: str = "") -> dict[str, str]:
    """The environment that points every provider at the simulator.

    `public_url` is where the simulator reaches our API, if receipts are to be turned on.
    """
    # Without one there is a callback all the same: it carries our reference to the ledger.
    nowhere = {"TWILIO_STATUS_CALLBACK": f"http://127.0.0.1:{port}/nowhere"}
    return {
        "SENDGRID_API_KEY": "SG.simulated.key",
        "SENDGRID_BASE_URL": f"http://127.0.0.1:{port}",
        "SENDGRID_RECEIPT_KEY": RECEIPT_KEY,
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": "simulated",
        "TWILIO_SENDER": "+15005550006",
        "TWILIO_BASE_URL": f"http://127.0.0.1:{port}",
        "EMAIL_HOST": "127.0.0.1",
        "EMAIL_PORT": str(smtp_port),
        **({"PUBLIC_URL": public_url} if public_url else nowhere),
    }


def turn_receipts_on(port: int, public_url: str, **options: float | bool) -> None:
    """Let the simulator at that port report to our API; `options` are those of its POST /receipts."""
    wanted = {"provider": "*", "url": f"{public_url}/api/receipts/{{provider}}/", **options}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/receipts", data=json.dumps(wanted).encode())
    with urllib.request.urlopen(request, timeout=5):
        pass
