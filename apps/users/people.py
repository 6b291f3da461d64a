"""People as rows: written by the services that know them, found by id or external_id."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from django.db import transaction

from apps.users import signals
from apps.users.models import User
from apps.users.normalise import DEFAULT_LANGUAGE, DEFAULT_TIMEZONE
from apps.users.schemas import UserInput
from project import db

_TABLE = User._meta.db_table
_FIELDS = {"name": "", "email": "", "phone": "", "timezone": DEFAULT_TIMEZONE, "language": DEFAULT_LANGUAGE}


class Person(NamedTuple):
    """A row of a person, as planning and the API need it."""

    id: int
    external_id: str | None  # None for one made in the admin
    name: str
    email: str
    phone: str
    timezone: str
    language: str
    is_active: bool
    created_at: datetime
    updated_at: datetime
    created: bool = False  # by the statement that returned it
    moved: bool = False  # into another time zone, by that statement

    def as_json(self) -> dict[str, Any]:
        """`schemas.UserOutput`."""
        fields = self._asdict()
        del fields["is_active"], fields["created"], fields["moved"]
        return fields


class Reach(NamedTuple):
    """Where a person is reached, and when."""

    id: int
    external_id: str | None
    email: str
    phone: str
    timezone: str
    is_active: bool


def _each(pattern: str) -> str:
    return ", ".join(pattern.format(field=field, default=default) for field, default in _FIELDS.items())


_CHANGE = "{field} = coalesce((SELECT people FROM sent) -> excluded.external_id ->> '{field}', u.{field})"
_COLUMNS = ", ".join(Person._fields[:-2])

# Rows that would stay as they are are read, not written: callers send the same people with every request,
# and a row lock held until the caller commits would make those requests wait for each other. What is written
# is written in the order of external_id, so that two requests with the same people cannot deadlock.
# A row that appears between our snapshot and our insert is a conflict like any other: the update looks up
# what was given and leaves the rest of the row alone.
# LATERAL … LIMIT 1 is one probe of the unique index per person, whatever the statistics say: without it a
# planner that takes the table for small read 300,000 rows 1,000 times.
# Who moves is looked up as a key of a document: two CTEs of 1,000 rows would be joined row by row.
_UPSERT = f"""
WITH sent AS MATERIALIZED (SELECT %(people)s::jsonb AS people),
known AS MATERIALIZED (
    SELECT g.key, g.value, u.*,
        ({_each("coalesce(g.value ->> '{field}', u.{field})")}) = ({_each("u.{field}")}) AS same
    FROM sent
    CROSS JOIN LATERAL jsonb_each(people) g
    LEFT JOIN LATERAL (
        SELECT {_COLUMNS} FROM {_TABLE}
        WHERE organization_id = %(organization_id)s::bigint AND external_id = g.key LIMIT 1
    ) u ON true
),
written AS (
    INSERT INTO {_TABLE} AS u (organization_id, external_id, {_each("{field}")},
        password, is_active, is_staff, is_superuser, created_at, updated_at)
    SELECT %(organization_id)s::bigint, key, {_each("coalesce(value ->> '{field}', '{default}')")},
        '!', true, false, false, carillon_now(), carillon_now()
    FROM known WHERE same IS NOT TRUE
    ORDER BY key COLLATE "C"
    ON CONFLICT (organization_id, external_id) DO UPDATE SET
        {_each(_CHANGE)},
        updated_at = carillon_now()
    RETURNING {_COLUMNS}, xmax = 0 AS created
),
moving AS MATERIALIZED (
    SELECT coalesce(jsonb_object_agg(key, true), '{{}}') AS keys
    FROM known WHERE value ->> 'timezone' IS DISTINCT FROM timezone AND value ? 'timezone'
)
SELECT {_COLUMNS}, created, NOT created AND (SELECT keys FROM moving) ? external_id FROM written
UNION ALL
SELECT {_COLUMNS}, false, false FROM known WHERE same
"""

_FIND = """
SELECT {columns} FROM unnest(%(ids)b::bigint[]) g (given)
CROSS JOIN LATERAL (SELECT * FROM {table} WHERE id = g.given LIMIT 1) u
WHERE organization_id = %(organization_id)s::bigint
UNION
SELECT {columns} FROM unnest(%(external_ids)b::text[]) g (given)
CROSS JOIN LATERAL (
    SELECT * FROM {table}
    WHERE organization_id = %(organization_id)s::bigint AND external_id = g.given LIMIT 1
) u
"""
_FIND_PERSON = _FIND.format(columns=_COLUMNS, table=_TABLE)
_FIND_REACH = _FIND.format(columns=", ".join(Reach._fields), table=_TABLE)


def unwritten(external_id: str, now: datetime) -> Person:
    """Somebody nothing is known of, as `upsert` would create them, without an id."""
    fields: dict[str, Any] = {**_FIELDS, "is_active": True, "created_at": now, "updated_at": now}
    return Person(0, external_id, **fields)


def upsert(organization_id: int, people: Iterable[UserInput]) -> dict[str, Person]:
    """Create or change these people in one statement; what they are now, by external_id.

    Only the fields that were sent change. The same external_id twice: merged, the later field wins.
    `updated_at` moves when something did. Whose time zone changed is told (`signals.moved`) in the same
    transaction: the caller's, or one of its own.
    """
    given: dict[str, dict[str, str]] = {}
    for person in people:
        given.setdefault(person.external_id, {}).update(person.given())
    if not given:
        return {}
    document = orjson.dumps(given).decode()
    with _together(given):
        rows = db.rows(_UPSERT, {"organization_id": organization_id, "people": document})
        found = {row[1]: Person(*row) for row in rows}
        _tell([person.id for person in found.values() if person.moved])
    return found


def _together(given: Mapping[str, Mapping[str, str]]) -> AbstractContextManager[None]:
    """One transaction for the write and those who are told of it; none of its own where nobody can move."""
    may_move = any("timezone" in fields for fields in given.values())
    return transaction.atomic(savepoint=False) if may_move else nullcontext()


def _tell(moved: Collection[int]) -> None:
    if moved:
        signals.moved.send(sender=None, user_ids=sorted(moved))


_SETTLE = f"""
UPDATE {_TABLE} AS u
SET language = coalesce(%(language)s::text, u.language),
    timezone = coalesce(%(timezone)s::text, u.timezone),
    updated_at = carillon_now()
FROM (SELECT id, timezone FROM {_TABLE} WHERE id = %(id)s::bigint FOR NO KEY UPDATE) before
WHERE u.id = before.id
  AND (coalesce(%(language)s::text, u.language), coalesce(%(timezone)s::text, u.timezone))
    <> (u.language, u.timezone)
RETURNING u.timezone <> before.timezone
"""


def settle(user_id: int, *, language: str | None = None, timezone: str | None = None) -> bool:
    """Write a person's language and time zone, in their one spelling, in the caller's transaction.

    None leaves it. Whether the time zone changed: then `signals.moved` was sent.
    """
    given = {"id": user_id, "language": language, "timezone": timezone}
    moved = any(row[0] for row in db.rows(_SETTLE, given))
    _tell([user_id] if moved else [])
    return moved


def find(
    organization_id: int, *, ids: Collection[int] = (), external_ids: Collection[str] = ()
) -> list[Person]:
    """Those of the organization's people who are there, in one statement, in no order."""
    return [Person(*row) for row in db.rows(_FIND_PERSON, _named(organization_id, ids, external_ids))]


def reach(
    organization_id: int, *, ids: Collection[int] = (), external_ids: Collection[str] = ()
) -> list[Reach]:
    """As `find`, only what planning needs: two timestamps a person were half of what planning cost."""
    return [Reach(*row) for row in db.rows(_FIND_REACH, _named(organization_id, ids, external_ids))]


def lock(user_id: int) -> None:
    """Let nobody else past this for the same person, until the caller's transaction ends."""
    db.execute(f"SELECT id FROM {_TABLE} WHERE id = %s FOR NO KEY UPDATE", [user_id])


def _named(organization_id: int, ids: Collection[int], external_ids: Collection[str]) -> dict[str, Any]:
    return {"organization_id": organization_id, "ids": list(ids), "external_ids": list(external_ids)}
