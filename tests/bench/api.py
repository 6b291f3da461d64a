"""Durable POSTs per second at 16 connections, and notifications per second in POSTs of 500."""

from __future__ import annotations

import itertools
from typing import Any

import orjson

from tests.bench.load import Result, post, run
from tests.bench.stage import Stage, make_people, stage

SECONDS = 8.0
CONNECTIONS = 16
BULK = 500
BULK_CONNECTIONS = 4
WORKERS = 2


def main(_argv: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    with stage() as built:
        user_ids = make_people(10_000)
        key = make_key()
        floor = measure(
            built,
            "tests.bench.bare:application",
            lambda: post("/1/", b"{}"),
            lambda: post(f"/{BULK}/", b"{}"),
        )
        numbers = itertools.count()
        authorization = f"Authorization: Bearer {key}\r\n"

        def single() -> bytes:
            number = next(numbers)
            row = notification(user_ids[number % len(user_ids)])
            keyed = f"{authorization}Idempotency-Key: bench-{number}\r\n"
            return post("/api/notifications/", orjson.dumps(row), keyed)

        def bulk() -> bytes:
            first = next(numbers) * BULK
            rows = [notification(user_ids[(first + n) % len(user_ids)]) for n in range(BULK)]
            keyed = f"{authorization}Idempotency-Key: bulk-{first}\r\n"
            return post("/api/notifications/bulk/", orjson.dumps({"notifications": rows}), keyed)

        figures = measure(built, "project.wsgi:application", single, bulk)
    return figures, floor


def notification(user_id: int) -> dict[str, Any]:
    return {
        "title": "Your order is on its way",
        "body": "It should reach you on Tuesday.",
        "targets": [user_id],
        "channels": ["in_app", "email"],
        "related_object": {"type": "order", "id": f"A-{user_id}"},
    }


def measure(built: Stage, app: str, single: Any, bulk: Any) -> dict[str, Any]:
    """Figures of one application on the server, after a second of warming up."""
    port = built.port + 1
    built.processes.api(port, workers=WORKERS, app=app)
    built.processes.wait_for(f"http://127.0.0.1:{port}/", "api")
    run(port, single, connections=CONNECTIONS, seconds=1)
    one = run(port, single, connections=CONNECTIONS, seconds=SECONDS)
    many = run(port, bulk, connections=BULK_CONNECTIONS, seconds=SECONDS)
    built.processes.stop(["api"])
    return {**told("single", one, 1), **told("bulk", many, BULK)}


def told(name: str, result: Result, rows: int) -> dict[str, Any]:
    return {name: round(result.per_second * rows), f"{name}_p99_ms": round(result.p99_ms, 1)}


def make_key() -> str:
    """An API key's secret text."""
    from apps.users.models import ApiKey, ServiceClient

    return ApiKey.issue(ServiceClient.objects.create(name="bench"))[1]
