"""Real servers: each test starts its own, whatever the run itself was started with."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from project.dev import folders, machine, servers

AS_ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def started() -> Iterator[servers.Servers]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATABASE_URL", raising=False)
        patch.delenv("REDIS_URL", raising=False)
        running = servers.start(durable=False)
    with running:
        yield running


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def ask(url: str, question: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(question).fetchone()
        return row[0] if row else None


def keep(url: str, what: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS kept")
        connection.execute(f"CREATE TABLE kept AS SELECT {what} AS what")


def hear_ctrl_c() -> None:
    """Also where the tests are a background job, whose children inherit that it is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def supervised(*options: str, command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """The supervisor as a process of its own, which we can kill."""
    line = [sys.executable, "-m", "project.dev", "servers", *options, "--", *command]
    options_ = {"stdout": subprocess.PIPE, "text": True, "cwd": machine.REPOSITORY}
    with subprocess.Popen(line, preexec_fn=hear_ctrl_c, **options_) as process:  # noqa: PLW1509
        try:
            yield process
        finally:
            process.kill()


def descendants(pid: int) -> list[int]:
    """All processes below one, from Linux's /proc."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [one for child in children for one in descendants(child)]


def is_gone(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


# ---------------------------------------------------------------- what is started


def test_database_is_ours_and_in_utf8(started: servers.Servers) -> None:
    url = started.database_url
    assert started.made_by_us
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
    assert ask(url, owner) == "carillon"
    assert ask(url, "SELECT current_setting('server_encoding')") == "UTF8"
    assert ask(url, "SELECT rolcreatedb AND NOT rolsuper FROM pg_roles WHERE rolname = current_user") is True


def test_the_role_can_make_a_test_database(started: servers.Servers) -> None:
    with psycopg.connect(started.database_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE test_carillon_gw0")
        connection.execute("DROP DATABASE test_carillon_gw0")


def test_redis_answers(started: servers.Servers) -> None:
    with redis.Redis.from_url(started.redis_url) as client:
        assert client.ping()
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


@pytest.mark.parametrize("user", ["carillon", "postgres"])
def test_postgres_refuses_a_wrong_password(started: servers.Servers, user: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(started.database_url, user=user, password="wrong")


def test_redis_refuses_no_password(started: servers.Servers) -> None:
    without = "redis://" + started.redis_url.partition("@")[2]
    with redis.Redis.from_url(without) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_both_listen_on_this_machine_only(started: servers.Servers) -> None:
    assert ask(started.database_url, "SELECT current_setting('listen_addresses')") == "127.0.0.1"
    with redis.Redis.from_url(started.redis_url) as client:
        assert client.config_get("bind") == {"bind": "127.0.0.1"}


def test_no_password_in_a_command_line(started: servers.Servers) -> None:
    passwords = {urlsplit(url).password or "" for url in started.environ.values()}
    for process in started.processes.values():
        line = Path(f"/proc/{process.pid}/cmdline").read_text()
        assert not [password for password in passwords if password in line]


@pytest.mark.skipif(not AS_ROOT, reason="only root has to")
def test_root_runs_them_as_somebody_else(started: servers.Servers) -> None:
    for process in started.processes.values():
        uids = re.search(r"Uid:\s(.*)", Path(f"/proc/{process.pid}/status").read_text())
        assert uids
        assert "0" not in uids[1].split()


@pytest.mark.parametrize(("durable", "fsync", "appendonly"), [(True, "on", "yes"), (False, "off", "no")])
def test_durability(data: Path, durable: bool, fsync: str, appendonly: str) -> None:
    with servers.start(data, durable=durable) as running:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            assert ask(running.database_url, f"SELECT current_setting('{name}')") == fsync
        with redis.Redis.from_url(running.redis_url) as client:
            assert client.config_get("appendonly") == {"appendonly": appendonly}


# ---------------------------------------------------------------- what is kept


def test_a_restart_keeps_data_ports_and_passwords(data: Path) -> None:
    with servers.start(data, durable=True) as first:
        keep(first.database_url, 42)
        redis.Redis.from_url(first.redis_url).set("kept", 42)
    with servers.start(data, durable=True) as second:
        assert second.environ == first.environ
        assert ask(second.database_url, "SELECT what FROM kept") == 42
        assert redis.Redis.from_url(second.redis_url).get("kept") == b"42"
    assert (data / folders.MARKER).stat().st_mode & 0o777 == 0o600


def test_another_port_when_the_remembered_one_is_taken(data: Path) -> None:
    with servers.start(data, durable=False) as first:
        port = urlsplit(first.database_url).port
    with socket.create_server(("127.0.0.1", port)), servers.start(data, durable=False) as second:
        assert second.database_url != first.database_url
        assert ask(second.database_url, "SELECT 1") == 1


def test_another_port_when_it_is_taken_meanwhile(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free_ports = servers._free_ports

        def late(remembered: int) -> Iterator[int]:
            yield taken.getsockname()[1]
            yield from free_ports(remembered)

        monkeypatch.setattr(servers, "_free_ports", late)
        with servers.start(data, durable=False) as running:
            assert ask(running.database_url, "SELECT 1") == 1
            assert redis.Redis.from_url(running.redis_url).ping()


def test_a_folder_is_used_by_one_at_a_time(data: Path) -> None:
    with servers.start(data, durable=False):
        with pytest.raises(servers.ServersError, match="in use by process"):
            servers.start(data, durable=False)
        with pytest.raises(servers.ServersError, match="in use by process"):
            servers.erase(data)


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("precious")
    for attempt in (partial(servers.start, durable=False), servers.erase):
        with pytest.raises(servers.ServersError, match="was not made by Carillon"):
            attempt(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["diary.txt"]


def test_a_temporary_folder_is_removed() -> None:
    with servers.start(durable=False) as running:
        folder = Path(os.readlink(f"/proc/{running.processes['redis'].pid}/cwd")).parent
        assert folder.exists()
    assert not folder.exists()


# ---------------------------------------------------------------- nothing is left running


@pytest.fixture
def supervisor(data: Path) -> Iterator[subprocess.Popen[str]]:
    with supervised("--data", str(data), command=["sh", "-c", "echo ready; exec sleep 60"]) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_process_outlives_the_supervisor(
    supervisor: subprocess.Popen[str], number: signal.Signals
) -> None:
    family = descendants(supervisor.pid)
    assert len(family) > 5  # the command, Redis, Postgres and its helpers
    supervisor.send_signal(number)
    assert within(10, lambda: supervisor.poll() is not None and all(map(is_gone, family)))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_reaches_the_command(
    supervisor: subprocess.Popen[str], number: signal.Signals, code: int
) -> None:
    supervisor.send_signal(number)
    assert supervisor.wait(timeout=10) == code


def test_a_signal_during_the_start() -> None:
    data = servers.default_data(f"test-{os.getpid()}-half")
    with supervised("--data", str(data), command=["true"]) as process:
        assert within(10, (data / "postgres.new").exists)
        family = descendants(process.pid)
        process.terminate()
        assert process.wait(timeout=10) == 128 + signal.SIGTERM
    assert within(10, lambda: all(map(is_gone, family)))
    with servers.start(data, durable=False) as running:  # half a database is no hindrance
        assert ask(running.database_url, "SELECT 1") == 1
    servers.erase(data)


def test_an_exception_stops_what_had_started(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = descendants(os.getpid())
    monkeypatch.setenv("REDIS_BIN", "/nonexistent")
    with pytest.raises(servers.ServersError):
        servers.start(data, durable=False)
    assert descendants(os.getpid()) == before


def test_data_survives_a_kill_of_the_supervisor(data: Path) -> None:
    with supervised(
        "--durable", "--data", str(data), command=["sh", "-c", "echo $DATABASE_URL; exec sleep 60"]
    ) as process:
        assert process.stdout
        keep(process.stdout.readline().strip(), 44)
        process.kill()
    with servers.start(data, durable=True) as running:  # at once, while the old servers are still ending
        assert ask(running.database_url, "SELECT what FROM kept") == 44


def test_data_survives_a_kill_of_the_servers(data: Path) -> None:
    with servers.start(data, durable=True) as running:
        keep(running.database_url, 43)
        for process in running.processes.values():
            process.kill()
            process.wait()
    with servers.start(data, durable=True) as running:
        assert ask(running.database_url, "SELECT what FROM kept") == 43


def test_a_killed_server_is_started_again_on_its_data_and_port() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATABASE_URL", raising=False)
        patch.delenv("REDIS_URL", raising=False)
        running = servers.start(durable=True)
    with running:
        urls = (running.database_url, running.redis_url)
        keep(running.database_url, 5)
        redis.Redis.from_url(running.redis_url).set("kept", 6)
        for name in ("postgres", "redis"):
            running.processes[name].kill()
            running.processes[name].wait()
            running.restart(name)
        assert (running.database_url, running.redis_url) == urls
        assert ask(running.database_url, "SELECT what FROM kept") == 5
        assert redis.Redis.from_url(running.redis_url).get("kept") == b"6"


def test_left_servers_are_ended_where_nothing_told_them(data: Path) -> None:
    """As on macOS: no signal at the parent's death."""
    start = "import sys, pathlib; from project.dev import machine, servers; machine.PRCTL = None; "
    start += (
        "s = servers.start(pathlib.Path(sys.argv[1]), durable=False); print('ready', flush=True); input()"
    )
    line = [sys.executable, "-c", start, str(data)]
    pipe = subprocess.PIPE
    with subprocess.Popen(line, stdin=pipe, stdout=pipe, text=True, cwd=machine.REPOSITORY) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        family = descendants(process.pid)
        process.kill()
    assert not any(map(is_gone, family))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "PRCTL", None)
        servers.start(data, durable=False).stop()
    assert within(10, lambda: all(map(is_gone, family)))


# ---------------------------------------------------------------- what is used


def test_named_servers_are_used_and_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:mine@db.example/mine")
    monkeypatch.setenv("REDIS_URL", "redis://redis.example")
    with servers.start(durable=True) as running:
        assert running.database_url == "postgresql://me:mine@db.example/mine"
        assert running.redis_url == "redis://redis.example"
        assert not running.processes
        assert not running.made_by_us


def test_each_is_named_on_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:mine@db.example/mine")
    with servers.start(durable=False) as running:
        assert list(running.processes) == ["redis"]
        assert redis.Redis.from_url(running.redis_url).ping()


def test_only_the_main_thread_may_start_children() -> None:
    with ThreadPoolExecutor(1) as other_thread, pytest.raises(RuntimeError, match="die with that thread"):
        other_thread.submit(servers.start, durable=False).result()
