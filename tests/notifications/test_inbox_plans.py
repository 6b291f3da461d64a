"""How the list is read: by an index, in its order, whatever is asked for and however much there is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction

from apps.users import tokens
from project import db
from tests.api_helpers import Api
from tests.support import rows
from tests.support.database import capture

pytestmark = pytest.mark.django_db
_FILL = """
INSERT INTO notifications_inboxitem (target_id, user_id, sequence, change, notification_id, type, title, body,
                                     seen_at, read_at, archived_at, snoozed_until, recalled_at)
SELECT gen_random_uuid(), u, n, CASE WHEN mod(n, 2) = 0 THEN 20000 + n ELSE 0 END, gen_random_uuid(),
       'type-' || mod(n, 7), '', '', now(), CASE WHEN mod(n, 3) > 0 THEN now() END,
       CASE WHEN mod(n, 10) = 0 THEN now() END, CASE WHEN mod(n, 10) = 1 THEN now() + interval '1 day' END,
       CASE WHEN mod(n, 10) = 2 THEN now() END
FROM generate_series(1, %s) n CROSS JOIN generate_series(%s::bigint, %s::bigint) u
"""
MANY = 20_000


# What is asked for -> the indexes it is read by.
IN, CHANGE = "inbox_item_in", "inbox_item_change"
ARCHIVED, SNOOZED = "inbox_item_archived", "inbox_item_snoozed_of"
IN_ORDER = {
    "": IN,
    "?unread=true": IN,
    "?unread=false": IN,
    "?type=type-3": IN,
    "?type=type-3&unread=true": IN,
    "?type=no-such-type": IN,  # all of it, within the index
    "?archived=true": ARCHIVED,
    "?archived=true&unread=true&type=type-1": ARCHIVED,
    "?snoozed=true": SNOOZED,
    "?since=5": IN,
}
NEWS = {"?since=39990": {IN, CHANGE}, "?since=39990&archived=true": {ARCHIVED, CHANGE}}


@pytest.fixture(scope="module")
def plans(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """The nodes of the plan of each list of somebody with a great inbox, among others with small ones."""
    with django_db_blocker.unblock():
        with transaction.atomic():
            (person,) = rows.people()
            db.execute(_FILL, [MANY, person.pk, person.pk])
            db.execute(_FILL, [50, person.pk + 1, person.pk + 400])
            db.execute("ANALYZE notifications_inboxitem")
            api = Api(tokens.mint(person, 60)[0])
            yield {query: _plan(api, query) for query in (*IN_ORDER, *NEWS)}
            transaction.set_rollback(True)
        connection.close()


def _plan(api: Api, query: str) -> list[dict[str, Any]]:
    with capture() as found:
        assert api.get(f"/api/inbox/{query}").status_code == 200
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + found[-1].replace("%", "%%"), [])
        ((plan,),) = cursor.fetchall()
    return list(_nodes(plan[0]["Plan"]))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


@pytest.mark.parametrize("query", IN_ORDER)
def test_a_list_is_read_in_the_order_of_its_index(query: str, plans: dict[str, list[dict[str, Any]]]) -> None:
    limit, scan = plans[query]
    assert (limit["Node Type"], scan["Node Type"]) == ("Limit", "Index Scan")
    assert (scan["Index Name"], scan["Scan Direction"]) == (IN_ORDER[query], "Backward")
    assert "user_id = " in scan["Index Cond"]


@pytest.mark.parametrize("query", NEWS)
def test_what_is_new_is_found_by_its_number_not_among_all_there_is(
    query: str, plans: dict[str, list[dict[str, Any]]]
) -> None:
    scans = [node for node in plans[query] if "Index Name" in node]
    assert {scan["Index Name"] for scan in scans} == NEWS[query]
    assert all("user_id = " in scan["Index Cond"] and " > 39990" in scan["Index Cond"] for scan in scans)
    assert sum(scan["Actual Rows"] for scan in scans) <= 10
