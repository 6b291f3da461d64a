"""Raw SQL where the ORM would cost too much: parameters bound and statements prepared by the server.

Goes through Django's connection (its transactions, its errors, its query log), not through its
client-side binding, which would send the text of every statement to be parsed and planned each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections, transaction

Row = tuple[Any, ...]
Parameters = Sequence[Any] | Mapping[str, Any]


def rows(sql: str, parameters: Parameters = ()) -> list[Row]:
    """Run one statement and return all its rows. Raises Django's database errors."""
    django = connections[DEFAULT_DB_ALIAS]  # once: looking it up costs as much as half a statement
    with _cursor(django) as cursor, django.wrap_database_errors:
        cursor.execute(sql, parameters)
        found: list[Row] = cursor.fetchall()
        return found


def execute(sql: str, parameters: Parameters = ()) -> int:
    """Run one statement that returns nothing; how many rows it wrote."""
    django = connections[DEFAULT_DB_ALIAS]
    with _cursor(django) as cursor, django.wrap_database_errors:
        cursor.execute(sql, parameters)
        count: int = cursor.rowcount
        return count


def _cursor(django: Any) -> Any:
    django.ensure_connection()
    django.validate_no_broken_transaction()
    cursor: Any = psycopg.Cursor(django.connection)
    if django.queries_logged:
        return django.make_debug_cursor(cursor)
    return django.make_cursor(cursor) if django.execute_wrappers else cursor


def text(value: str, most: int) -> str:
    """What others sent, as Postgres takes it: so many characters at most, no U+0000, no half of a pair."""
    return value[:most].encode(errors="replace").decode().replace("\0", "")


FEW = 4


@dataclass(frozen=True)
class Columns:
    """Rows to give to a statement: their columns' names and types, as `INSERT … SELECT … FROM {given}`."""

    types: tuple[tuple[str, str], ...]

    def given(self, rows: Sequence[Sequence[Any]]) -> tuple[str, list[Any]]:
        """The FROM item `g` of these rows, and its parameters.

        An array per column for many; VALUES for a few: an array of one costs twice its element.
        """
        if len(rows) > FEW:
            return _arrays(self.types), [list(column) for column in zip(*rows, strict=True)]
        return _values(self.types, len(rows)), [value for row in rows for value in row]


@cache
def _arrays(types: tuple[tuple[str, str], ...]) -> str:
    arrays = ", ".join(f"%b::{type}[]" for _, type in types)
    return f"unnest({arrays}) AS g({', '.join(name for name, _ in types)})"


@cache
def _values(types: tuple[tuple[str, str], ...], count: int) -> str:
    row = ", ".join(f"%s::{type}" for _, type in types)
    return f"(VALUES {', '.join([f'({row})'] * count)}) AS g({', '.join(name for name, _ in types)})"


@contextmanager
def one_transaction() -> Iterator[None]:
    """All or nothing, and the outermost: a caller that has one open already has made a mistake."""
    with transaction.atomic(durable=True):
        yield
