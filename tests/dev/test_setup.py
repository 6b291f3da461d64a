"""bin/_setup.sh, in a repository of its own that needs no package: none of this uses the network."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from project.dev.machine import REPOSITORY

BIN = REPOSITORY / "bin"
# The Python behind our own .venv: made by one in a temporary folder, a .venv would depend on it.
PYTHON = str(Path(sys.executable).resolve())


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    clone = tmp_path / "a clone"
    (clone / "bin").mkdir(parents=True)
    shutil.copy(BIN / "_setup.sh", clone / "bin")
    (clone / "requirements-dev.txt").write_text("# nothing\n")
    return clone


def setup(clone: Path, python: str = PYTHON, then: str = "") -> subprocess.CompletedProcess[str]:
    script = f'. "{clone}/bin/_setup.sh"; {then}'
    environ = {"PATH": os.environ["PATH"], "PYTHON": python, "PIP_NO_INDEX": "1"}
    return subprocess.run(["bash", "-c", script], env=environ, text=True, capture_output=True, check=False)


def fake_python(path: Path, refuses: str) -> str:
    path.write_text(f'#!/bin/sh\ncase "$*" in *{refuses}*) exit 1;; esac\nexec "{PYTHON}" "$@"\n')
    path.chmod(0o755)
    return str(path)


def test_makes_a_venv_once_and_again_when_it_must(clone: Path) -> None:
    first = setup(clone, then='"$python" -c "import sys; print(sys.prefix)"; pwd')
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines() == [f"{clone}/.venv", f"{clone}"]
    assert "installing" in first.stderr

    assert setup(clone).stderr == ""  # nothing to do

    (clone / "requirements-dev.txt").write_text("# nothing, said differently\n")
    assert "installing" in setup(clone).stderr

    moved = clone.rename(clone.with_name("moved"))
    assert "installing" in setup(moved).stderr
    assert str(moved) in (moved / ".venv/bin/pip").read_text()


@pytest.mark.parametrize(
    ("refuses", "help_text"),
    [
        ("version_info", "Python 3.11 or newer is needed"),
        ("ensurepip", "apt-get install python3-venv"),
    ],
)
def test_says_what_is_missing(clone: Path, tmp_path: Path, refuses: str, help_text: str) -> None:
    answer = setup(clone, python=fake_python(tmp_path / "python", refuses))
    assert answer.returncode == 1
    assert help_text in answer.stderr
    assert not (clone / ".venv").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_somebody_elses_clone(clone: Path) -> None:
    clone.chmod(0o555)
    answer = setup(clone)
    assert answer.returncode == 1
    assert "use a clone of your own" in answer.stderr


def test_shellcheck_has_nothing_to_say() -> None:
    scripts = [path for path in sorted(BIN.iterdir()) if "bash" in path.read_text().splitlines()[0]]
    answer = subprocess.run(
        ["shellcheck", "--external-sources", *scripts],
        cwd=REPOSITORY,
        text=True,
        capture_output=True,
        check=False,
    )
    assert answer.stdout == ""
