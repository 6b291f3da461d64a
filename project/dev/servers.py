"""A private Postgres and a private Redis, for development, tests and benchmarks; never for production.

`start()` uses the servers that DATABASE_URL and REDIS_URL name, and starts its own where one is not set. What
it starts listens on 127.0.0.1 only, wants a password, and ends with this process, even after kill -9.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from project.dev import programs
from project.dev.folders import Folder, open_folder
from project.dev.machine import Command, Process, ServersError, end, home, spawn

__all__ = ["Servers", "ServersError", "default_data", "erase", "spawn", "start"]

SLOWEST_START = 120.0  # seconds; Postgres may have to recover first

POSTGRES_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # one door, and it wants a password
    "timezone": "UTC",  # initdb writes down this machine's own
    "max_connections": "200",  # API threads, worker processes, sockets and a test run side by side
    "shared_buffers": "256MB",  # the due targets of a benchmark and their indexes; the default is 128MB
    "max_wal_size": "2GB",  # with the next line: no checkpoint in the middle of a measurement
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",  # SSD or page cache; the default, 4, is for spinning disks
    "jit": "off",  # compiling costs more than our short queries take
}
# A test's database is thrown away: nothing in it has to survive a crash of the machine.
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

# Not a superuser, so that tests notice what production would refuse; CREATEDB is for the test databases.
CREATE_DATABASE = """CREATE ROLE carillon LOGIN CREATEDB PASSWORD '{password}';
CREATE DATABASE carillon OWNER carillon;
"""

REDIS_CONFIG = """bind 127.0.0.1
port {port}
requirepass {password}
pidfile pid
save ""
appendonly {appendonly}
appendfsync everysec
maxmemory-policy noeviction
"""


Start = Callable[[contextlib.ExitStack], tuple[Process, str]]  # the process and its URL


@dataclass
class Servers:
    """The addresses of a Postgres and a Redis, and the processes of those that we started."""

    database_url: str
    redis_url: str
    made_by_us: bool  # the database is ours to erase
    processes: dict[str, Process]
    _cleanup: contextlib.ExitStack
    _starts: dict[str, Start]

    @property
    def environ(self) -> dict[str, str]:
        return {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}

    def restart(self, name: str) -> None:
        """Start "postgres" or "redis", which has ended, again on its data. From the main thread only.

        Its port is the same unless somebody took it meanwhile. Raises KeyError for one we did not start.
        """
        self.processes[name], url = self._starts[name](self._cleanup)
        if name == "postgres":
            self.database_url = url
        else:
            self.redis_url = url

    def stop(self) -> None:
        self._cleanup.close()

    def __enter__(self) -> "Servers":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(data: Path | None = None, *, durable: bool) -> Servers:
    """Start what the environment does not name. From the main thread only (see `spawn`).

    data: a folder that keeps data, ports and passwords for the next start; None for one that stop() removes.
    durable: an acknowledged commit survives a crash of the machine (bin/dev, benchmarks; tests do without).
    """
    database_url, redis_url = os.environ.get("DATABASE_URL", ""), os.environ.get("REDIS_URL", "")
    processes: dict[str, Process] = {}
    starts: dict[str, Start] = {}
    with contextlib.ExitStack() as cleanup:
        if not (database_url and redis_url):
            folder = open_folder(data, cleanup)
        if not database_url:
            starts["postgres"] = partial(_start_postgres, folder, durable)
            processes["postgres"], database_url = starts["postgres"](cleanup)
        if not redis_url:
            starts["redis"] = partial(_start_redis, folder, durable)
            processes["redis"], redis_url = starts["redis"](cleanup)
        stopping = cleanup.pop_all()
    return Servers(database_url, redis_url, "postgres" in processes, processes, stopping, starts)


def default_data(name: str) -> Path:
    """The folder for data that is kept, e.g. `dev`."""
    return home() / name


def erase(data: Path) -> None:
    """Remove a data folder with its database. Refuses one that is in use, or that we did not make."""
    if data.exists():
        with contextlib.ExitStack() as cleanup:
            open_folder(data, cleanup)
            shutil.rmtree(data)


# ---------------------------------------------------------------- the servers


def _start_postgres(folder: Folder, durable: bool, cleanup: contextlib.ExitStack) -> tuple[Process, str]:
    bin_folder, version = programs.find_postgres(folder.account)
    data = folder.path / "postgres"
    if not data.exists():
        _create_database(folder, bin_folder, durable)
    made_by = (data / "PG_VERSION").read_text().strip()
    if made_by != str(version[0]):
        raise ServersError(f"{data} is Postgres {made_by}'s, not {version[0]}'s: set PG_BIN, or remove it.")
    settings = POSTGRES_SETTINGS if durable else POSTGRES_SETTINGS | NOT_DURABLE
    options = [f"--{name}={value}" for name, value in settings.items()]

    def launch(port: int, log: int) -> Process:
        command: Command = [bin_folder / "postgres", "-D", data, f"--port={port}", *options]
        process = folder.spawn(command, signal.SIGINT, cwd=data, stdin=subprocess.DEVNULL, stdout=log)
        cleanup.callback(end, process, signal.SIGINT)  # do not wait for clients
        return process

    def is_ready(pid: int, _port: int) -> bool:
        with contextlib.suppress(FileNotFoundError):
            lines = (data / "postmaster.pid").read_text().splitlines()
            return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"
        return False

    process, port = _launch_on_a_port(folder, "postgres", launch, is_ready)
    return process, f"postgresql://carillon:{folder.secret('database')}@127.0.0.1:{port}/carillon"


def _create_database(folder: Folder, bin_folder: Path, durable: bool) -> None:
    """Beside its place, so that one half made is never taken for a whole one."""
    shutil.rmtree(folder.path / "postgres.new", ignore_errors=True)
    data = folder.make("postgres.new")
    password_file = folder.path / "pwfile"
    password_file.touch(mode=0o600)
    password_file.write_text(secrets.token_hex(16))  # the superuser's: nobody needs it again
    folder.own(password_file)
    options = ["--username=postgres", "--encoding=UTF8", "--auth=scram-sha-256", f"--pwfile={password_file}"]
    initdb: Command = [bin_folder / "initdb", "-D", data, *options, *([] if durable else ["--no-sync"])]
    try:
        folder.run([*initdb, "--locale=C.UTF-8"], cwd=data)
    except ServersError as error:
        if "locale" not in str(error):
            raise
        folder.run([*initdb, "--locale=C"], cwd=folder.make("postgres.new"))  # older macOS has no C.UTF-8
    password_file.unlink()
    sql = CREATE_DATABASE.format(password=folder.secret("database"))
    answer = folder.run([bin_folder / "postgres", "--single", "-D", data, "postgres"], cwd=data, stdin=sql)
    if "ERROR" in answer:  # which it survives
        raise ServersError(f"The database could not be made:\n{answer}")
    data.rename(folder.path / "postgres")


def _start_redis(folder: Folder, durable: bool, cleanup: contextlib.ExitStack) -> tuple[Process, str]:
    program = programs.find_redis(folder.account)
    data, password = folder.make("redis"), folder.secret("redis")

    def launch(port: int, log: int) -> Process:
        appendonly = "yes" if durable else "no"
        config = REDIS_CONFIG.format(port=port, password=password, appendonly=appendonly)
        # By standard input: a command line shows the password to everybody.
        process = folder.spawn([program, "-"], signal.SIGTERM, cwd=data, stdin=subprocess.PIPE, stdout=log)
        cleanup.callback(end, process, signal.SIGTERM)
        assert process.stdin
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(config.encode())
        return process

    def is_ready(_pid: int, port: int) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
                with connection.makefile() as answers:
                    return [answers.readline(), answers.readline()] == ["+OK\n", "+PONG\n"]
        except OSError:
            return False

    process, port = _launch_on_a_port(folder, "redis", launch, is_ready)
    return process, f"redis://:{password}@127.0.0.1:{port}/0"


def _launch_on_a_port(
    folder: Folder, name: str, launch: Callable[[int, int], Process], is_ready: Callable[[int, int], bool]
) -> tuple[Process, int]:
    """Launch on the remembered port or a free one; on the next when somebody took it meanwhile."""
    log = folder.path / f"{name}.log"
    for port in _free_ports(folder.memory.get(f"{name}_port", 0)):
        with log.open("wb") as output:  # emptied at each start: nothing else keeps it from growing
            process = launch(port, output.fileno())
        deadline = time.monotonic() + SLOWEST_START
        while process.poll() is None and time.monotonic() < deadline:
            if is_ready(process.pid, port):
                folder.remember(**{f"{name}_port": port})
                return process, port
            time.sleep(0.01)
        if "in use" not in log.read_text(errors="replace"):
            break
    raise ServersError(f"{name} did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _free_ports(remembered: int) -> Iterator[int]:
    """Some ports of 127.0.0.1 that nobody listens on just now."""
    for wanted in (remembered, 0, 0, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", wanted))
                port = probe.getsockname()[1]
                probe.close()  # before it is used
                yield port
