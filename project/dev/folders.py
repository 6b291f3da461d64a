"""The folder that holds the servers' data: locked, and removed after use where it is a temporary one."""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from project.dev import machine
from project.dev.machine import Command, Process, ServersError, home, make_folder

MARKER = "servers.json"  # ports and passwords; a folder without it was not made by us


class Folder:
    """A locked folder with the servers' data, and what is remembered in it."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.lock = lock  # the servers inherit this descriptor: it is free when the last of them has ended
        self.account = machine.server_account()
        path.chmod(0o711 if self.account else 0o700)  # the account passes through, and cannot look around
        marker = path / MARKER
        self.memory: dict[str, Any] = json.loads(marker.read_text()) if marker.exists() else {}
        self.remember()

    def remember(self, **facts: Any) -> None:
        self.memory |= facts
        fresh = self.path / f"{MARKER}.new"
        with open(os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            json.dump(self.memory, file)
        fresh.rename(self.path / MARKER)

    def secret(self, name: str) -> str:
        if name not in self.memory:
            self.remember(**{name: secrets.token_hex(16)})
        return str(self.memory[name])

    def own(self, path: Path) -> Path:
        """Make it the servers' account's, and nobody else's."""
        if self.account:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)
        path.chmod(0o700 if path.is_dir() else 0o600)
        return path

    def make(self, name: str) -> Path:
        (self.path / name).mkdir(mode=0o700, exist_ok=True)
        return self.own(self.path / name)

    def spawn(self, command: Command, dies_by: signal.Signals, **popen: Any) -> Process:
        popen |= {"account": self.account, "pass_fds": [self.lock], "env": machine.server_environ()}
        return machine.spawn(command, dies_by=dies_by, stderr=subprocess.STDOUT, **popen)

    def run(self, command: Command, *, cwd: Path, stdin: str = "") -> str:
        """Run a short command. Returns its output, or raises with it."""
        pipe = subprocess.PIPE
        process = self.spawn(command, signal.SIGKILL, cwd=cwd, stdin=pipe, stdout=pipe)
        output = process.communicate(stdin.encode())[0].decode(errors="replace")
        if process.returncode:
            who = f" as {self.account.pw_name}, which is how root runs it," if self.account else ""
            raise ServersError(f"{Path(command[0]).name}{who} failed in {cwd}:\n{output}")
        return output


def open_folder(data: Path | None, cleanup: contextlib.ExitStack) -> Folder:
    if data is None:
        return _open_temporary(make_folder(home() / "tmp"), cleanup)
    data = make_folder(data.absolute())
    if not (data / MARKER).exists() and {file.name for file in data.iterdir()} - {"lock"}:
        raise ServersError(f"{data} was not made by Carillon: name a new folder or an empty one.")
    return Folder(data, _lock(data, cleanup))


def _open_temporary(home: Path, cleanup: contextlib.ExitStack) -> Folder:
    """Removes the folders of killed runs too."""
    with contextlib.ExitStack() as briefly:  # so that nobody removes our new folder before it is locked
        _lock(home, briefly, queue=True)
        for left in home.glob("run-*"):
            with contextlib.suppress(ServersError), contextlib.ExitStack() as its:
                _lock(left, its, seconds=0)
                shutil.rmtree(left, ignore_errors=True)
        path = Path(tempfile.mkdtemp(prefix="run-", dir=home))
        cleanup.callback(shutil.rmtree, path, ignore_errors=True)
        return Folder(path, _lock(path, cleanup))


def _lock(path: Path, cleanup: contextlib.ExitStack, *, queue: bool = False, seconds: float = 60) -> int:
    """Lock a folder. If its holder is dead, wait for the servers it left; if it lives, only with `queue`."""
    lock = os.open(path / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    cleanup.callback(os.close, lock)
    deadline = time.monotonic() + seconds
    while not _try_lock(lock):
        holder = int(os.pread(lock, 10, 0) or 0)
        alive = machine.is_alive(holder)
        if not (alive or machine.PRCTL):
            _end_left_servers(path)
        if time.monotonic() > deadline or (alive and not queue):
            raise ServersError(f"{path} is in use by process {holder}: stop that one first.")
        time.sleep(0.02)
    _name_holder(lock, os.getpid())
    cleanup.callback(_name_holder, lock, 0)  # what still holds it then is no more than the end of a server
    return lock


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _name_holder(lock: int, pid: int) -> None:
    os.pwrite(lock, f"{pid:<10}".encode(), 0)


def _end_left_servers(path: Path) -> None:
    """They hold the lock, so the pids in their files are still theirs."""
    for file in (path / "postgres/postmaster.pid", path / "redis/pid"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            os.kill(int(file.read_text().splitlines()[0]), signal.SIGINT)
