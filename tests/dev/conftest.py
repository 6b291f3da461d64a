import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from project.dev import servers


@pytest.fixture(autouse=True)
def no_servers_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "PG_BIN", "REDIS_BIN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """One folder for all, as making a database takes a second; where root's server account can reach it."""
    path = servers.default_data(f"test-{os.getpid()}")
    yield path
    servers.erase(path)
