"""The probe: what a container's liveness check is told, and how soon."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from project import alive
from project.dev.machine import REPOSITORY
from tests.e2e.conftest import wait_for


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "email.alive"
    monkeypatch.setenv("ALIVE_FILE", str(path))
    monkeypatch.delenv("WORKER_STUCK_AFTER", raising=False)
    return path


def probe(**environ: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "project.alive"]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=os.environ | environ, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def aged(path: Path, seconds: float) -> None:
    os.utime(path, times=(time.time() - seconds,) * 2)


def test_one_that_was_touched_is_alive(file: Path) -> None:
    alive.touch()
    code, told = probe()
    assert code == 0 and "alive" in told


def test_one_that_was_not_touched_for_too_long_is_stuck(file: Path) -> None:
    alive.touch()
    aged(file, 59)
    assert probe()[0] == 0
    aged(file, 61)
    code, told = probe()
    assert code == 1 and "61." in told and "stuck (the limit is 60 s)" in told
    assert probe(WORKER_STUCK_AFTER="90")[0] == 0
    alive.touch()
    assert probe()[0] == 0


def test_one_whose_first_canary_is_not_through_is_not_alive(file: Path) -> None:
    code, told = probe()
    assert code == 1 and "no canary has come through yet" in told and str(file) in told


def test_asking_without_a_file_is_a_mistake() -> None:
    code, told = probe(ALIVE_FILE="")
    assert code == 1 and "ALIVE_FILE is not set" in told


def test_the_probe_loads_nothing_of_ours_and_is_there_at_once(file: Path) -> None:
    show = "import sys, project.alive; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", show], cwd=REPOSITORY, text=True).split()
    assert not {"django", "celery", "logging", "asyncio"} & set(modules)
    assert {name for name in modules if name.startswith("project")} == {"project", "project.alive"}
    alive.touch()
    began = resource_seconds()
    assert probe()[0] == 0
    assert resource_seconds() - began < 0.1  # of the processor: the clock on the wall is shared


def resource_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system


def test_who_holds_on_is_alive_for_as_long_as_that_lasts(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alive, "HOLDING", 0.01)
    with alive.holding_on():
        wait_for(file.exists, seconds=5, what="touched")
        aged(file, 100)
        wait_for(lambda: os.stat(file).st_mtime > time.time() - 50, seconds=5, what="touched again")
    for thread in threading.enumerate():
        if thread.name == "alive":
            thread.join(5)
    aged(file, 100)
    time.sleep(0.05)
    assert os.stat(file).st_mtime < time.time() - 50


def test_without_a_file_nothing_is_touched_and_nobody_holds_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALIVE_FILE", raising=False)
    alive.touch()
    with alive.holding_on():
        assert "alive" not in {thread.name for thread in threading.enumerate()}


def test_a_file_that_cannot_be_touched_is_in_nobodys_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ALIVE_FILE", str(tmp_path / "nowhere" / "file"))
    alive.touch()
    assert list(tmp_path.iterdir()) == []
