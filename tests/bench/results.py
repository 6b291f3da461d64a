"""What was measured on this machine: JSON lines in a file outside the repository; a row's newest counts."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psycopg
import redis

from project.dev.machine import home, make_folder

FILE = "bench.jsonl"
PACKAGES = ("django", "celery", "channels", "daphne", "granian", "psycopg", "aiohttp", "orjson")


def keep(line: Mapping[str, Any], on: Mapping[str, str]) -> None:
    """Append a row's line, with its date and the machine it was measured on."""
    dated = {**line, "at": f"{datetime.now(UTC):%Y-%m-%d}", "on": on}
    with (make_folder(home()) / FILE).open("a") as file:
        file.write(json.dumps(dated) + "\n")


def latest(path: Path | None = None) -> dict[str, dict[str, Any]]:
    """The newest line of each row, of those measured on the same machine and versions as the newest."""
    path = path or home() / FILE
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {line["name"]: line for line in lines if line["on"] == lines[-1]["on"]}


def machine() -> dict[str, str]:
    """The processor, and the versions of all that has a part in the figures."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        postgres = str(connection.execute("SHOW server_version").fetchall()[0][0])
    broker = redis.Redis.from_url(os.environ["REDIS_URL"]).info("server")
    return {
        "cores": f"{os.cpu_count()} × {_processor()}",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "postgres": postgres.split(" ", maxsplit=1)[0],
        broker.get("server_name", "redis"): str(broker.get("valkey_version") or broker["redis_version"]),
        **{name: metadata.version(name) for name in PACKAGES},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
