"""GET /api/inbox/ and the paging that every list shares."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIRequestFactory, force_authenticate

from apps.notifications import inbox
from apps.notifications.inbox_api import InboxView
from apps.notifications.models import Notification, NotificationTarget
from apps.users import tokens
from apps.users.models import DEFAULT_ORGANIZATION_ID, ApiKey, Organization, ServiceClient, User
from project import ids
from project.paging import encode_cursor, paginate

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


def person() -> User:
    Organization.objects.get_or_create(id=DEFAULT_ORGANIZATION_ID)
    return User.objects.create()


def fill(user: User, count: int, **fields: object) -> list[NotificationTarget]:
    """Items 1 to `count`, each with its target."""
    notification = Notification.objects.create(
        organization_id=user.organization_id, channels=["in_app"], priority="normal", max_attempts=1,
        recipient_count=1,
    )  # fmt: skip
    targets = [
        NotificationTarget(
            id=target, notification=notification, organization_id=user.organization_id, user=user,
            channel="in_app", lane="in_app.normal", status="delivered", attempts_allowed=1, **fields,
        )
        for target in sorted(ids.target_id() for _ in range(count))
    ]  # fmt: skip
    NotificationTarget.objects.bulk_create(targets)
    inbox.add([inbox.Entry(target.pk, user.pk, notification.pk, "Title", "Body") for target in targets])
    return targets


def get(user: User | None, **query: object):
    headers = {"authorization": f"Bearer {tokens.mint(user, 60)[0]}"} if user else {}
    response = InboxView.as_view()(APIRequestFactory().get("/api/inbox/", query, headers=headers))
    response.render()
    return response


def sequences(response) -> list[int]:
    assert response.status_code == 200, response.data
    return [item["sequence"] for item in response.data["items"]]


def test_the_newest_come_first_with_what_the_socket_sends_and_more():
    user = person()
    targets = fill(user, 2, read_at=NOW)
    response = get(user)
    assert sequences(response) == [2, 1]
    item = response.data["items"][0]
    assert item["id"] == targets[1].pk and item["notification_id"] == targets[1].notification_id
    assert (item["title"], item["body"], item["read_at"], item["seen_at"]) == ("Title", "Body", NOW, None)
    assert response.data["page_info"] == {"after": None, "before": None, "page_size": 20}


def test_an_item_has_all_that_a_frame_has():
    from apps.websocket.store import Item

    user = person()
    fill(user, 1)
    assert set(Item._fields) <= get(user).data["items"][0].keys()


def test_nobody_sees_another_persons_inbox():
    user, other = person(), person()
    fill(user, 1)
    assert sequences(get(other)) == []


def test_pages_there_and_back():
    user = person()
    fill(user, 7)
    first = get(user, page_size=3)
    second = get(user, page_size=3, after=first.data["page_info"]["after"])
    third = get(user, page_size=3, after=second.data["page_info"]["after"])
    assert [sequences(page) for page in (first, second, third)] == [[7, 6, 5], [4, 3, 2], [1]]
    assert first.data["page_info"]["before"] is None and third.data["page_info"]["after"] is None
    back = get(user, page_size=3, before=third.data["page_info"]["before"])
    assert sequences(back) == [4, 3, 2]
    again = get(user, page_size=3, before=back.data["page_info"]["before"])
    assert sequences(again) == [7, 6, 5] and again.data["page_info"]["before"] is None
    assert again.data["page_info"]["after"] == first.data["page_info"]["after"]


def test_a_page_that_just_fits_says_there_is_no_next():
    user = person()
    fill(user, 3)
    assert get(user, page_size=3).data["page_info"]["after"] is None


def test_a_list_may_be_by_uuid_oldest_first_and_of_models():
    targets = fill(person(), 3)
    rows = NotificationTarget.objects.all()
    first = paginate({"page_size": "2"}, rows, "id", newest_first=False)
    second = paginate({"after": first.page_info["after"]}, rows, "id", newest_first=False)
    assert first.items + second.items == targets
    back = paginate({"before": second.page_info["before"], "page_size": "1"}, rows, "id", newest_first=False)
    assert back.items == targets[1:2]


def test_what_arrives_meanwhile_is_neither_doubled_nor_skipped():
    user = person()
    fill(user, 4)
    first = get(user, page_size=2)
    fill(user, 3)
    assert sequences(get(user, page_size=2, after=first.data["page_info"]["after"])) == [2, 1]


def test_since_gives_only_what_is_newer():
    user = person()
    fill(user, 5)
    assert sequences(get(user, since=3)) == [5, 4]
    assert sequences(get(user, since=0)) == [5, 4, 3, 2, 1]


GOOD = encode_cursor("sequence", 3)
BAD = {
    "nonsense": ({"after": "???"}, ["after"]),
    "empty": ({"before": ""}, ["before"]),
    "changed": ({"after": GOOD[:-2] + ("AA" if GOOD[-2:] != "AA" else "BB")}, ["after"]),
    "padded": ({"after": GOOD + "="}, ["after"]),
    "of another list": ({"after": encode_cursor("id", ids.uuid7())}, ["after"]),
    "of another type": ({"after": encode_cursor("sequence", "x")}, ["after"]),
    "both": ({"after": GOOD, "before": GOOD}, ["before"]),
    "none": ({"page_size": 0}, ["page_size"]),
    "too many": ({"page_size": 101}, ["page_size"]),
    "negative": ({"page_size": -1}, ["page_size"]),
    "a word": ({"page_size": "all"}, ["page_size"]),
    "other digits": ({"page_size": "٣"}, ["page_size"]),
    "since": ({"since": "x"}, ["since"]),
    "huge since": ({"since": 10**18}, ["since"]),
    "everything": ({"since": -1, "after": "x", "page_size": "x"}, ["since", "after", "page_size"]),
}


@pytest.mark.parametrize(("query", "fields"), BAD.values(), ids=BAD)
def test_every_wrong_parameter_is_named(query, fields):
    response = get(person(), **query)
    assert response.status_code == 400
    assert [error["field"] for error in response.data["errors"]] == fields


def test_a_cursor_beyond_any_number_is_an_empty_page():
    user = person()
    fill(user, 1)
    assert sequences(get(user, before=encode_cursor("sequence", 10**30))) == []


def test_without_a_token_it_is_401():
    assert get(None).status_code == 401


def test_a_services_key_is_not_a_person():
    Organization.objects.get_or_create(id=DEFAULT_ORGANIZATION_ID)
    _, key = ApiKey.issue(ServiceClient.objects.create(name="shop"))
    request = APIRequestFactory().get("/api/inbox/", headers={"authorization": f"Bearer {key}"})
    assert InboxView.as_view()(request).status_code == 401


def test_a_page_of_our_own_site_needs_no_token():
    user = person()
    fill(user, 1)
    request = APIRequestFactory().get("/api/inbox/")
    force_authenticate(request, user)
    assert sequences(InboxView.as_view()(request)) == [1]


def test_a_page_is_one_query_whatever_its_size_and_place():
    user = person()
    fill(user, 30)
    after = get(user, page_size=20).data["page_info"]["after"]
    with CaptureQueriesContext(
        connection,
    ) as queries:
        get(user, page_size=20, after=after)
    rows = [query["sql"] for query in queries if "inboxitem" in query["sql"]]
    assert len(queries) == 2 and len(rows) == 1  # the person, and the page
    assert "OFFSET" not in rows[0] and "COUNT" not in rows[0].upper()


def test_the_schema_names_the_parameters_and_the_page():
    from django.urls import path
    from drf_spectacular.generators import SchemaGenerator

    schema = SchemaGenerator(patterns=[path("api/inbox/", InboxView.as_view())]).get_schema(public=True)
    operation = schema["paths"]["/api/inbox/"]["get"]
    assert {one["name"] for one in operation["parameters"]} == {"after", "before", "page_size", "since"}
    page = schema["components"]["schemas"]["InboxPage"]["properties"]
    assert set(page) == {"items", "page_info"}
