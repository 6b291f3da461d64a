"""The one clock: Postgres.

`carillon_now()` is the transaction's time; tests move it with the setting `carillon.clock_offset`.
"""

from __future__ import annotations

from datetime import datetime

from django.db import connection, models

# STABLE, so that an index condition may use it; inlined, so that it costs nothing.
CREATE_SQL = """
CREATE FUNCTION carillon_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT now() + coalesce(nullif(current_setting('carillon.clock_offset', true), ''), '0')::interval
$$
"""


class Now(models.Func):
    """`carillon_now()` in the ORM."""

    function = "carillon_now"
    template = "%(function)s()"
    output_field = models.DateTimeField()


def now() -> datetime:
    """The transaction's time, UTC."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT carillon_now()")
        time: datetime = cursor.fetchone()[0]
        return time
