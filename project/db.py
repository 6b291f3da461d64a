"""Raw SQL where the ORM would cost too much: parameters bound and statements prepared by the server.

Goes through Django's connection (its transactions, its errors, its query log), not through its
client-side binding, which would send the text of every statement to be parsed and planned each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection, transaction

Row = tuple[Any, ...]
Parameters = Sequence[Any] | Mapping[str, Any]


def rows(sql: str, parameters: Parameters = ()) -> list[Row]:
    """Run one statement and return all its rows. Raises Django's database errors."""
    with _cursor() as cursor:
        cursor.execute(sql, parameters)
        found: list[Row] = cursor.fetchall()
        return found


def execute(sql: str, parameters: Parameters = ()) -> int:
    """Run one statement that returns nothing; how many rows it wrote."""
    with _cursor() as cursor:
        cursor.execute(sql, parameters)
        count: int = cursor.rowcount
        return count


def _cursor() -> Any:
    connection.ensure_connection()
    cursor: Any = psycopg.Cursor(connection.connection)
    return (
        connection.make_debug_cursor(cursor) if connection.queries_logged else connection.make_cursor(cursor)
    )


@contextmanager
def one_transaction() -> Iterator[None]:
    """All or nothing, and the outermost: a caller that has one open already has made a mistake."""
    with transaction.atomic(durable=True):
        yield
