"""The database from a test's side: its clock, its statements, its plans, and other connections to it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from django.db import connection
from django.test.utils import CaptureQueriesContext
from psycopg.adapt import PyFormat, Transformer

T = TypeVar("T")


def move_clock(seconds: float) -> None:
    """Set this connection's clock so many seconds ahead of the real one."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET carillon.clock_offset = '{seconds} seconds'")


@contextmanager
def capture() -> Iterator[list[str]]:
    """The statements run meanwhile, without those that only mark a savepoint."""
    found: list[str] = []
    with CaptureQueriesContext(connection) as queries:
        yield found
    texts = [query["sql"] or "(not shown)" for query in queries]
    found += [text for text in texts if "SAVEPOINT" not in text]


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def other_connection() -> psycopg.Connection[Any]:
    """A connection of its own to the test's database, with the settings' options."""
    values = connection.get_connection_params()
    keep = ("dbname", "user", "password", "host", "port", "options")
    return psycopg.connect(**{name: values[name] for name in keep if values.get(name)})


def in_threads(count: int, work: Callable[[int], T]) -> list[T]:
    """Run `work(number)` in so many threads, started together, each with a connection of its own."""
    results: dict[int, T] = {}
    errors: list[BaseException] = []
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            connection.ensure_connection()
            barrier.wait(10)
            results[number] = work(number)
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    if errors:
        raise errors[0]
    return [results[number] for number in range(count)]


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for it to become true. Raises AssertionError if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.005)


def waits_for_a_lock(observer: psycopg.Connection[Any], pid: int) -> bool:
    """Whether the other connection's backend stands still before somebody's lock."""
    sql = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
    found = bool(observer.execute(sql, [pid]).fetchall())
    observer.rollback()
    return found


_PLACEHOLDER = re.compile(r"%(?:\((\w+)\))?[sb]")


class Prepared:
    """A statement prepared as the driver prepares it, so that it runs by its generic plan."""

    def __init__(self, name: str, sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> None:
        self._name = name
        text, self._values = _numbered(sql, parameters)
        with connection.cursor() as cursor:
            cursor.execute(f"PREPARE {name}{self._types()} AS {text}".replace("%", "%%"), [])

    def _types(self) -> str:
        transformer = Transformer(connection.connection)
        transformer.dump_sequence(self._values, [PyFormat.AUTO] * len(self._values))
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT coalesce(nullif(format_type(o, NULL), '-'), 'unknown')"
                " FROM unnest(%s::oid[]) WITH ORDINALITY AS g(o, n) ORDER BY n",
                [list(transformer.types or ())],
            )
            names = [name for (name,) in cursor.fetchall()]
        return f"({', '.join(names)})" if names else ""

    def nodes(self) -> list[dict[str, Any]]:
        """All nodes of the plan it runs by."""
        places = ", ".join(["%s"] * len(self._values))
        with connection.cursor() as cursor:
            cursor.execute(
                f"EXPLAIN (FORMAT JSON) EXECUTE {self._name}{f'({places})' if places else ''}", self._values
            )
            ((plan,),) = cursor.fetchall()
        return list(_walk(plan[0]["Plan"]))

    def run(self) -> None:
        places = ", ".join(["%s"] * len(self._values))
        with connection.cursor() as cursor:
            cursor.execute(f"EXECUTE {self._name}{f'({places})' if places else ''}", self._values)


def _numbered(sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> tuple[str, list[Any]]:
    if not isinstance(parameters, Mapping):
        numbers = iter(range(1, len(parameters) + 1))
        return _PLACEHOLDER.sub(lambda _: f"${next(numbers)}", sql), list(parameters)
    names: dict[str, int] = {}
    text = _PLACEHOLDER.sub(lambda match: f"${names.setdefault(match[1], len(names) + 1)}", sql)
    return text, [parameters[name] for name in names]


def _walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _walk(child)
