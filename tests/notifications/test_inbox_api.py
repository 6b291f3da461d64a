"""Reading the inbox over HTTP, and the paging that every list shares."""

from __future__ import annotations

from uuid import UUID

import pytest
from rest_framework.test import APIRequestFactory, force_authenticate

from apps.notifications import inbox, inbox_changes, inbox_numbers
from apps.notifications.inbox_api import InboxView
from apps.notifications.inbox_models import InboxItem
from apps.notifications.inbox_numbers import Counts
from apps.notifications.models import NotificationTarget
from apps.users import tokens
from apps.users.models import DEFAULT_ORGANIZATION_ID, ApiKey, Organization, ServiceClient, User
from project import ids
from project.paging import encode_cursor, paginate
from tests.api_helpers import Api, problem
from tests.support.database import capture
from tests.support.inboxes import ACTIONS, counts, deliver, do, item

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hinted")]


def person() -> User:
    Organization.objects.get_or_create(id=DEFAULT_ORGANIZATION_ID)
    return User.objects.create()


def fill(user: User, count: int, **entry: object) -> list[UUID]:
    """Items 1 to `count`; their ids."""
    return deliver(user.pk, count, **entry)


def get(user: User | None, **query: object):
    headers = {"authorization": f"Bearer {tokens.mint(user, 60)[0]}"} if user else {}
    response = InboxView.as_view()(APIRequestFactory().get("/api/inbox/", query, headers=headers))
    response.render()
    return response


def sequences(response) -> list[int]:
    assert response.status_code == 200, response.data
    return [item["sequence"] for item in response.data["items"]]


def test_the_newest_come_first_and_whole():
    user = person()
    _, second = fill(user, 2, type="comment", link="/x", avatar="/a.png", actions=ACTIONS)
    response = get(user)
    assert sequences(response) == [2, 1]
    row = item(second)
    assert response.data["items"][0] == {
        "sequence": 2, "id": second, "notification_id": row["notification_id"], "type": "comment",
        "title": "Title", "body": "Body", "link": "/x", "avatar": "/a.png", "actions": row["actions"],
        "created_at": row["created_at"], "seen_at": None, "read_at": None, "archived_at": None,
        "snoozed_until": None, "action": None, "acted_at": None,
    }  # fmt: skip
    assert [action["id"] for action in row["actions"]] == ["yes", "no"]
    assert response.data["page_info"] == {"after": None, "before": None, "page_size": 20}
    assert response.data["counts"] == {"head": 2, "unread": 2, "unseen": 2}


def test_what_was_done_with_an_item_is_told():
    user = person()
    (one,) = fill(user, 1, actions=ACTIONS)
    inbox_changes.act(user.pk, one, "yes")
    (told,) = get(user).data["items"]
    row = item(one)
    assert (told["action"], told["acted_at"], told["read_at"]) == ("yes", row["acted_at"], row["read_at"])
    assert told["seen_at"] == row["seen_at"] is not None and told["sequence"] == 1


def test_who_never_had_an_item_has_an_empty_list():
    response = get(person())
    assert sequences(response) == [] and response.data["counts"] == {"head": 0, "unread": 0, "unseen": 0}


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
    fill(person(), 3)
    rows = NotificationTarget.objects.all()
    targets = list(rows.order_by("id"))
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


def test_since_gives_only_what_has_come_or_changed():
    user = person()
    first, *_ = fill(user, 5)
    assert sequences(get(user, since=3)) == [5, 4]
    assert sequences(get(user, since=0)) == [5, 4, 3, 2, 1]
    do("read", first, user=user.pk)
    assert sequences(get(user, since=4)) == [5, 1] and sequences(get(user, since=5)) == [1]
    assert sequences(get(user, since=6)) == sequences(get(user, since=2**63 - 1)) == []


@pytest.fixture
def sorted_out():
    """A person's items by what was done with them, each of another type."""
    user = person()
    found = {}
    for what in ("unread", "read", "archived", "snoozed", "recalled", "archived and read"):
        (found[what],) = fill(user, 1, type=what.replace(" ", "-"))
    for kind, what in (
        ("read", "read"), ("archive", "archived"), ("snooze", "snoozed"), ("archive", "archived and read"),
        ("read", "archived and read"),
    ):  # fmt: skip
        do(kind, found[what], user=user.pk)
    inbox.recall([found["recalled"]])
    return user


FILTERS = [
    ({}, ["read", "unread"]),
    ({"unread": "true"}, ["unread"]),
    ({"unread": "false"}, ["read"]),
    ({"archived": "true"}, ["archived-and-read", "archived"]),
    ({"archived": "false"}, ["read", "unread"]),
    ({"archived": "true", "unread": "true"}, ["archived"]),
    ({"snoozed": "true"}, ["snoozed"]),
    ({"snoozed": "true", "unread": "false"}, []),
    ({"type": "read"}, ["read"]),
    ({"type": "archived"}, []),
    ({"type": "archived", "archived": "true", "since": "6"}, ["archived"]),
    ({"type": "recalled"}, []),
    ({"since": "6"}, ["read"]),
    ({"since": "2", "unread": "true"}, []),
    ({"archived": "true", "since": "9"}, ["archived-and-read"]),
]


@pytest.mark.parametrize(("query", "types"), FILTERS, ids=str)
def test_filters(sorted_out: User, query, types):
    response = get(sorted_out, **query)
    assert [item["type"] for item in response.data["items"]] == types
    # whatever is listed
    assert response.data["counts"] == {"head": counts(sorted_out.pk)[0], "unread": 1, "unseen": 1}


def test_one_item_is_told_as_in_the_list(sorted_out: User):
    api = Api(tokens.mint(sorted_out, 60)[0])
    for place in ("", "?archived=true", "?snoozed=true"):
        for listed in api.get(f"/api/inbox/{place}").json()["items"]:
            assert api.get(f"/api/inbox/{listed['id']}/").json() == listed


def test_what_was_recalled_is_anothers_or_nobodys_is_not_there(sorted_out: User):
    api = Api(tokens.mint(sorted_out, 60)[0])
    (theirs,) = fill(person(), 1)
    recalled = InboxItem.objects.get(type="recalled").pk
    answers = [
        problem(api.get(f"/api/inbox/{id}/"), 404, "not_found") for id in (recalled, theirs, ids.uuid7())
    ]
    assert answers[0] == answers[1] == answers[2]


def test_the_counts_alone(sorted_out: User):
    body = Api(tokens.mint(sorted_out, 60)[0]).get("/api/inbox/counts/").json()
    head, unread, unseen = counts(sorted_out.pk)
    assert body == {
        "head": head, "unread": unread, "unseen": unseen, "unread_count": unread, "unseen_count": unseen,
    }  # fmt: skip
    assert (head, unread, unseen) == (12, 1, 1)


def test_the_counts_are_read_before_the_items():
    """What comes between the two is listed, and a socket tells it again: nothing is missed."""
    user = person()
    fill(user, 1)
    real = inbox_numbers.counts_of

    def late(user_id: int) -> Counts:
        found = real(user_id)
        fill(user, 1)
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(inbox_numbers, "counts_of", late)
        response = get(user)
    assert response.data["counts"]["head"] == 1 and sequences(response) == [2, 1]


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
    "huge since": ({"since": 2**63}, ["since"]),
    "neither": ({"unread": "maybe"}, ["unread"]),
    "two places": ({"archived": "true", "snoozed": "true"}, ["snoozed"]),
    "no type": ({"type": ""}, ["type"]),
    "a null": ({"type": "a\0b"}, ["type"]),
    "unknown": ({"unraed": "true"}, ["unraed"]),
    "everything": (
        {"since": -1, "archived": "x", "unraed": 1, "after": "x", "page_size": "x"},
        ["archived", "since", "unraed", "after", "page_size"],
    ),
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


def test_a_page_is_two_queries_whatever_its_size_and_place():
    user = person()
    fill(user, 30)
    after = get(user, page_size=20).data["page_info"]["after"]
    with capture() as found:
        get(user, page_size=20, after=after)
    assert len(found) == 3, found  # the person, the counts, and the page
    assert "OFFSET" not in found[2] and "COUNT" not in found[2].upper()


def test_the_schema_names_the_parameters_and_the_page():
    from django.urls import path
    from drf_spectacular.generators import SchemaGenerator

    schema = SchemaGenerator(patterns=[path("api/inbox/", InboxView.as_view())]).get_schema(public=True)
    operation = schema["paths"]["/api/inbox/"]["get"]
    assert {one["name"] for one in operation["parameters"]} == {
        "after", "before", "page_size", "unread", "archived", "snoozed", "type", "since",
    }  # fmt: skip
    page = schema["components"]["schemas"]["InboxPage"]["properties"]
    assert set(page) == {"items", "page_info", "counts"}
