"""Who imports whom: the contracts in pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.architecture.sources import ROOT

LINT = Path(sys.executable).with_name("lint-imports")


def test_imports_go_downwards_only() -> None:
    """In a process of its own: import-linter cannot work in one where Twisted was imported."""
    run = subprocess.run(
        [LINT, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 broken" in run.stdout
