"""Servers of a test's own, ended with it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from django.conf import settings

from project.dev.programs import find_redis

READY = 20.0  # seconds


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def listening(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + READY
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            assert process.poll() is None, f"it ended with {process.returncode}"
            assert time.monotonic() < end, "it does not listen"
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


class Redis:
    """A Redis that may be killed, stopped and started again on its port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        command = [str(find_redis(None)), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        await listening(self.port, self._process)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Daphne:
    """The socket server as it is run, on the test's database."""

    def __init__(self, log: Path, **environ: str) -> None:
        self.port = free_port()
        self.url = f"ws://127.0.0.1:{self.port}/ws/notifications/"
        database = settings.DATABASES["default"]
        place = f"{database['HOST']}:{database['PORT'] or 5432}/{database['NAME']}"
        login = ":".join(filter(None, (database["USER"], database["PASSWORD"])))
        self._environ = os.environ | {"DATABASE_URL": f"postgresql://{login}@{place}"} | environ
        self._log = log
        self.process: subprocess.Popen[bytes]

    async def start(self) -> None:
        command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(self.port)]
        command += ["--websocket-max-message-size", "16384", "--websocket-max-frame-size", "16384"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "project.asgi:application"], env=self._environ, stdout=log, stderr=log
            )
        await listening(self.port, self.process)

    def stop(self) -> str:
        """End it as a deployment does. Its log."""
        self.process.terminate()
        self.process.wait(20)
        return self._log.read_text()

    def memory(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024
