"""What the relay reads: everything after a number, by the index."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from apps.notifications import inbox, inbox_changes, inbox_numbers
from apps.notifications.inbox_changes import Change, Kind
from apps.users.models import User
from apps.websocket import store
from project import db, ids
from tests.support import rows
from tests.support.database import Prepared, capture

_FILL = """
INSERT INTO notifications_inboxitem (target_id, user_id, notification_id, sequence, change, title, body)
SELECT gen_random_uuid(), u, gen_random_uuid(), n, CASE WHEN n %% 2 = 0 THEN 5000 + n ELSE 0 END, '', ''
FROM generate_series(1, 5000) n, unnest(%s::bigint[]) u
"""
_FILL_STATES = """
INSERT INTO notifications_inboxstate (user_id, head) SELECT u, 10000 FROM unnest(%s::bigint[]) u
"""


def put(user: User, count: int) -> list[Any]:
    """So many items, oldest first."""
    targets = sorted(ids.target_id() for _ in range(count))
    inbox.add([inbox.Entry(target, user.pk, ids.uuid7(), "comment", "Title", "Body") for target in targets])
    return targets


@pytest.mark.django_db
@pytest.mark.parametrize("prepared", ["while the table was empty", "on a full one"])
def test_each_half_walks_its_own_index_and_reads_a_page_at_most(prepared):
    users = [user.pk for user in rows.people(3)]
    parameters = [users, [9_500, 9_000, 0]]
    if prepared == "on a full one":
        fill(users)
    nodes = Prepared("events", store._EVENTS, parameters).nodes()
    items = [node for node in nodes if node.get("Relation Name") == "notifications_inboxitem"]
    assert sorted(node["Index Name"] for node in items) == ["inbox_item_change", "inbox_item_sequence"]
    for node, column in ((node, node["Index Name"].removeprefix("inbox_item_")) for node in items):
        condition = node["Index Cond"]
        assert "user_id = place.user_id" in condition and f"{column} > place.last" in condition
    for node in nodes:
        if node["Node Type"] in (
            "Sort",
            "Incremental Sort",
        ):  # of two pages, or of what was read: never of items
            assert node["Plans"][0].get("Relation Name") != "notifications_inboxitem"
    assert sum(node["Node Type"] == "Limit" for node in nodes) == 3


@pytest.mark.django_db
def test_a_page_is_a_hundred_events_of_a_long_inbox():
    users = [user.pk for user in rows.people(3)]
    fill(users)
    pages = store.events_after(list(zip(users, [9_500, 9_000, 0], strict=True)))
    assert [len(page.events) for page in pages] == [store.PAGE, store.PAGE, 0]
    assert [event.number for event in pages[0].events] == list(range(9_502, 9_702, 2))


def fill(users: list[int]) -> None:
    """5,000 items for each, every other one changed."""
    with connection.cursor() as cursor:
        cursor.execute(_FILL, [users])
        cursor.execute(_FILL_STATES, [users])
        cursor.execute("ANALYZE notifications_inboxitem, notifications_inboxstate")


@pytest.mark.django_db(transaction=True)
def test_one_statement_for_many_people_and_their_counts():
    ada, bob, eve = rows.people(3)
    put(ada, 2)
    put(bob, 1)
    places = [(ada.pk, 1), (bob.pk, 1), (eve.pk, 0), (ada.pk, 0)]
    with capture() as statements:
        pages = store.events_after(places)
    assert len(statements) == 1
    assert [[event.number for event in page.events] for page in pages] == [[2], [], [], [1, 2]]
    assert [page.counts for page in pages] == [(2, 2, 2), (1, 1, 1), (0, 0, 0), (2, 2, 2)]
    assert all(page.is_last for page in pages)


@pytest.mark.django_db(transaction=True)
def test_an_item_comes_under_its_own_number_and_under_that_of_its_last_change():
    (ada,) = rows.people()
    first, second, third = put(ada, 3)
    inbox_changes.change(ada.pk, Change(kind=Kind.READ, ids=[first]))
    inbox_changes.change(ada.pk, Change(kind=Kind.UNREAD, ids=[first]))
    with db.one_transaction():
        inbox.recall([second])
    (page,) = store.events_after([(ada.pk, 0)])
    assert [(event.number, event.sequence, event.id) for event in page.events] == [
        (1, 1, first),
        (3, 3, third),
        (5, 1, first),
        (6, 2, second),
    ]
    assert [event.is_coming for event in page.events] == [True, True, False, False]
    assert [event.is_recalled for event in page.events] == [False, False, False, True]
    assert page.counts == inbox_numbers.counts_of(ada.pk) == (6, 2, 1)


@pytest.mark.django_db(transaction=True)
def test_a_page_is_cut_between_what_came_and_what_changed_in_the_order_of_numbers():
    (ada,) = rows.people()
    before = put(ada, 80)
    inbox_changes.change(ada.pk, Change(kind=Kind.READ, ids=before[:60]))
    put(ada, 60)
    (page,) = store.events_after([(ada.pk, 0)])
    assert [event.number for event in page.events] == list(range(1, 101))
    assert not page.is_last
    (page,) = store.events_after([(ada.pk, 60)])
    assert [event.number for event in page.events] == [*range(61, 81), *range(81, 141), *range(141, 161)]
    assert not page.is_last
    (page,) = store.events_after([(ada.pk, 160)])
    assert [event.number for event in page.events] == list(range(161, 201))
    assert page.is_last


@pytest.mark.django_db(transaction=True)
def test_of_who_is_too_far_behind_nothing_is_read():
    (ada,) = rows.people()
    put(ada, store.MOST_BEHIND + 1)
    far, near = store.events_after([(ada.pk, 0), (ada.pk, 1)])
    assert far == ((store.MOST_BEHIND + 1,) * 3, [])
    assert len(near.events) == store.PAGE
