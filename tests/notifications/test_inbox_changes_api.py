"""Changing an inbox over HTTP: what is taken, what is answered, and what is refused with nothing written."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.test import Client

from apps.notifications import inbox
from apps.notifications.inbox_changes import Kind
from apps.notifications.inbox_models import InboxItem, InboxState
from apps.notifications.inbox_schemas import MAX_IDS
from apps.users import tokens
from apps.users.models import User
from project import clock, ids
from tests.api_helpers import Api, fields, make_key, problem
from tests.support import inboxes, rows
from tests.support.database import capture, move_clock
from tests.support.inboxes import ACTIONS, counts, deliver, do, item

INBOX = "/api/inbox/"
ALIASES = {"mark_read": "read", "mark_unread": "unread", "mark_seen": "seen"}
NAMES = [*Kind, *ALIASES]
BEFORE = {Kind.UNREAD: Kind.READ, Kind.UNARCHIVE: Kind.ARCHIVE, Kind.UNSNOOZE: Kind.SNOOZE}
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hinted")]


@pytest.fixture
def ada() -> User:
    return rows.people()[0]


@pytest.fixture
def me(ada: User) -> Api:
    """Ada, with a token of hers."""
    return Api(tokens.mint(ada, 60)[0])


def in_an_hour() -> str:
    return (clock.now() + timedelta(hours=1)).isoformat()


def body_of(name: str, **which: Any) -> dict[str, Any]:
    return which | ({"until": in_an_hour()} if name == Kind.SNOOZE else {})


def prepared(name: str, user: User) -> list[UUID]:
    """Two items in the state that the change leads out of."""
    made = deliver(user.pk, 2)
    if before := BEFORE.get(Kind(ALIASES.get(name, name))):
        do(before, *made, user=user.pk)
    return made


def everything() -> list[Any]:
    return [*InboxItem.objects.order_by("pk").values(), *InboxState.objects.order_by("pk").values()]


# --- Answered --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_change_by_ids_and_again(name: str, me: Api, ada: User, hinted: list[dict[int, int]]) -> None:
    made = prepared(name, ada)
    body = body_of(name, ids=[str(id) for id in made])
    hinted.clear()
    for changed in (2, 0):
        response = me.post(f"{INBOX}{name}/", body)
        assert response.status_code == 200, response.content
        head, unread, unseen = counts(ada.pk)
        assert response.json() == {
            "changed": changed, "counts": {"head": head, "unread": unread, "unseen": unseen},
        }  # fmt: skip
    assert hinted == [{ada.pk: head}]
    inboxes.assert_books_balance()


@pytest.mark.parametrize("name", NAMES)
def test_a_change_of_all_up_to_a_number(name: str, me: Api, ada: User) -> None:
    prepared(name, ada)
    head, _, _ = counts(ada.pk)
    late = deliver(ada.pk)[0]
    before = item(late)
    assert me.post(f"{INBOX}{name}/", body_of(name, up_to=head)).json()["changed"] == 2
    assert item(late) == before
    inboxes.assert_books_balance()


@pytest.mark.parametrize("name", NAMES)
def test_a_change_of_one_item_answers_with_it(name: str, me: Api, ada: User) -> None:
    one, other = prepared(name, ada)
    before = item(other)
    for changed in (1, 0):
        response = me.post(f"{INBOX}{one}/{name}/", body_of(name) or None)
        assert response.status_code == 200, response.content
        body = response.json()
        assert body["changed"] == changed and body["item"] == me.get(f"{INBOX}{one}/").json()
        assert tuple(body["counts"].values()) == counts(ada.pk)
    assert item(other) == before


def test_what_is_archived_has_left_the_list_and_can_come_back(me: Api, ada: User) -> None:
    one, other = deliver(ada.pk, 2)

    def listed(query: str = "") -> list[str]:
        return [item["id"] for item in me.get(f"{INBOX}{query}").json()["items"]]

    assert me.post(f"{INBOX}{one}/archive/").json()["item"]["archived_at"]
    assert (listed(), listed("?archived=true")) == ([str(other)], [str(one)])
    assert me.post(f"{INBOX}{one}/unarchive/").json()["item"]["archived_at"] is None
    assert (listed(), listed("?archived=true")) == ([str(other), str(one)], [])


def test_a_snoozed_item_says_until_when_and_comes_back(me: Api, ada: User) -> None:
    (one,) = deliver(ada.pk)
    until = clock.now().replace(microsecond=0) + timedelta(hours=1)
    body = me.post(f"{INBOX}{one}/snooze/", {"until": until.isoformat()}).json()
    assert body["item"]["snoozed_until"] == until.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert body["counts"] == {"head": 2, "unread": 0, "unseen": 0}
    move_clock(3601)
    assert inbox.return_snoozed(10) == 1
    (found,) = me.get(INBOX).json()["items"]
    assert (found["sequence"], found["snoozed_until"], found["read_at"]) == (3, None, None)


def test_a_button(me: Api, ada: User, hinted: list[dict[int, int]]) -> None:
    (one,) = deliver(ada.pk, actions=ACTIONS)
    for changed in (1, 0):
        body = me.post(f"{INBOX}{one}/actions/yes/").json()
        assert body["changed"] == changed and body["item"]["action"] == "yes" and body["item"]["acted_at"]
        assert body["counts"] == {"head": 2, "unread": 0, "unseen": 0}
    before = everything()
    problem(me.post(f"{INBOX}{one}/actions/no/"), 409, "already_acted")
    assert everything() == before and hinted == [{ada.pk: 2}]


def test_most_ids_at_once_are_five_hundred(me: Api, ada: User) -> None:
    made = [str(id) for id in deliver(ada.pk, MAX_IDS)]
    assert me.post(f"{INBOX}read/", {"ids": made}).json()["changed"] == MAX_IDS
    response = me.post(f"{INBOX}unread/", {"ids": [*made, made[0]]})
    assert fields(response) == {"ids": "too_many"} and counts(ada.pk)[1] == 0


@pytest.mark.parametrize("count", [1, 300])
def test_a_change_costs_the_same_for_any_number(count: int, me: Api, ada: User) -> None:
    made = [str(id) for id in deliver(ada.pk, count)]
    with capture() as found:
        me.post(f"{INBOX}read/", {"ids": made})
    assert len(found) == 4, found  # who it is; the lock, the ids, the change
    with capture() as found:
        me.post(f"{INBOX}{made[0]}/unread/")
    assert len(found) == 5, found  # and the item


# --- Refused ---------------------------------------------------------------------------------------------

ID = str(UUID(int=7))  # the same in every process that collects tests
UNTIL, LATE = "2100-01-01T00:00:00Z", "2020-01-01T00:00:00Z"
BAD: dict[str, tuple[str, Any, dict[str, str]]] = {
    "nothing": ("read", {}, {"ids": "required"}),
    "no body": ("read", None, {"ids": "required"}),
    "null": ("read", {"ids": None, "up_to": None}, {"ids": "required"}),
    "both": ("read", {"ids": [ID], "up_to": 0}, {"ids": "conflict"}),
    "no ids": ("read", {"ids": []}, {"ids": "too_few"}),
    "an id": ("read", {"ids": ID}, {"ids": "invalid"}),
    "bad ids": ("read", {"ids": [ID, "x", 7]}, {"ids[1]": "invalid", "ids[2]": "invalid"}),
    "negative": ("archive", {"up_to": -1}, {"up_to": "invalid"}),
    "a text": ("archive", {"up_to": "1"}, {"up_to": "invalid"}),
    "true": ("archive", {"up_to": True}, {"up_to": "invalid"}),
    "a fraction": ("archive", {"up_to": 1.5}, {"up_to": "invalid"}),
    "not given out": ("seen", {"up_to": 3}, {"up_to": "sequence_ahead"}),
    "beyond a bigint": ("seen", {"up_to": 2**64 - 1}, {"up_to": "sequence_ahead"}),
    "unknown": ("read", {"up_to": 1, "all": True}, {"all": "unknown_field"}),
    "until of a read": ("read", {"up_to": 1, "until": UNTIL}, {"until": "unknown_field"}),
    "a snooze for ever": ("snooze", {"up_to": 1}, {"until": "required"}),
    "past": ("snooze", {"up_to": 1, "until": LATE}, {"until": "past"}),
    "too late": ("snooze", {"up_to": 1, "until": UNTIL}, {"until": "out_of_range"}),
    "no offset": ("snooze", {"up_to": 1, "until": "2100-01-01T00:00:00"}, {"until": "invalid"}),
    "a number": ("snooze", {"up_to": 1, "until": 4_102_444_800}, {"until": "invalid"}),
    "everything": (
        "snooze",
        {"ids": ["x"], "up_to": -1, "until": LATE, "all": 1},
        {"up_to": "invalid", "ids[0]": "invalid", "until": "past", "all": "unknown_field"},
    ),
    "a list": ("read", [ID], {"(body)": "invalid"}),
}


@pytest.mark.parametrize("name", BAD)
def test_every_bad_field_is_named_and_nothing_is_written(name: str, me: Api, ada: User) -> None:
    deliver(ada.pk, 2)
    before = everything()
    route, body, wrong = BAD[name]
    assert fields(me.post(f"{INBOX}{route}/", body)) == wrong
    assert everything() == before


def test_a_snooze_may_last_a_leap_year_and_no_longer(me: Api, ada: User) -> None:
    (one,) = deliver(ada.pk)
    longest = clock.now() + timedelta(days=366)
    response = me.post(f"{INBOX}snooze/", {"ids": [str(one)], "until": longest.isoformat()})
    assert response.json()["changed"] == 1
    longer = longest + timedelta(seconds=1)
    response = me.post(f"{INBOX}snooze/", {"ids": [str(one)], "until": longer.isoformat()})
    assert fields(response) == {"until": "out_of_range"}
    assert fields(me.post(f"{INBOX}{one}/snooze/", {"until": longer.isoformat()})) == {
        "until": "out_of_range"
    }


@pytest.mark.parametrize("name", NAMES)
def test_anothers_ids_are_refused_exactly_as_those_nobody_has(name: str, me: Api, ada: User) -> None:
    (mine, *_), (theirs,) = prepared(name, ada), deliver(ada.pk + 1)
    nobodys, before = ids.target_id(), everything()
    answers = []
    for unknown in (theirs, nobodys):
        response = me.post(f"{INBOX}{name}/", body_of(name, ids=[str(mine), str(unknown), str(unknown)]))
        assert fields(response) == {"ids[1]": "not_found", "ids[2]": "not_found"}
        single = problem(me.post(f"{INBOX}{unknown}/{name}/", body_of(name) or None), 404, "not_found")
        answers.append((response.json(), single))
    assert answers[0] == answers[1] and everything() == before


def test_a_button_that_is_not_there_is_not_found(me: Api, ada: User) -> None:
    (bare,), (one,), (theirs,) = (
        deliver(ada.pk), deliver(ada.pk, actions=ACTIONS), deliver(ada.pk + 1, actions=ACTIONS),
    )  # fmt: skip
    before = everything()
    paths = [f"{bare}/actions/yes/", f"{one}/actions/maybe/", f"{one}/actions/%00/", f"{theirs}/actions/yes/"]
    answers = [problem(me.post(f"{INBOX}{path}"), 404, "not_found") for path in paths]
    assert all(answer == answers[0] for answer in answers) and everything() == before


@pytest.mark.parametrize("path", ["read/", "actions/yes/", "archive/"])
def test_what_was_recalled_is_not_found_and_stays_as_it_is(path: str, me: Api, ada: User) -> None:
    (one,) = deliver(ada.pk, actions=ACTIONS)
    inbox.recall([one])
    before = everything()
    problem(me.post(f"{INBOX}{one}/{path}"), 404, "not_found")
    # Among others it is no error: who reads it a moment later has done nothing wrong.
    assert me.post(f"{INBOX}read/", {"ids": [str(one)]}).json()["changed"] == 0
    assert everything() == before


@pytest.mark.parametrize("path", ["read/", "snooze/", "actions/yes/"])
def test_an_item_has_no_ids_in_its_body(path: str, me: Api, ada: User) -> None:
    (one,) = deliver(ada.pk, actions=ACTIONS)
    before = everything()
    wrong = {"until": "required"} if path == "snooze/" else {}
    response = me.post(f"{INBOX}{one}/{path}", {"ids": [str(one)], "up_to": 1})
    assert fields(response) == {"ids": "unknown_field", "up_to": "unknown_field"} | wrong
    assert everything() == before


@pytest.mark.parametrize("path", ["", "counts/", f"{ID}/"])
def test_what_is_read_is_not_posted(path: str, me: Api) -> None:
    problem(me.post(f"{INBOX}{path}", {}), 405, "method_not_allowed")


@pytest.mark.parametrize("path", ["read/", f"{ID}/read/", f"{ID}/actions/yes/"])
def test_what_changes_is_not_read(path: str, me: Api) -> None:
    problem(me.get(f"{INBOX}{path}"), 405, "method_not_allowed")


# --- Who -------------------------------------------------------------------------------------------------


def test_a_service_has_no_inbox(ada: User) -> None:
    (one,) = deliver(ada.pk)
    service = Api(make_key())
    for path in ("read/", f"{one}/read/", f"{one}/actions/yes/"):
        problem(service.post(f"{INBOX}{path}", {"up_to": 1}), 401, "invalid_credentials")
    assert counts(ada.pk) == (1, 1, 1)


def test_a_page_of_ours_changes_with_its_session_and_csrf_token(ada: User) -> None:
    """A page of another origin can make a browser send the cookie, and cannot know the token."""
    deliver(ada.pk)
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(ada)
    body = {"data": b'{"up_to": 1}', "content_type": "application/json"}
    assert browser.post(f"{INBOX}read/", **body).status_code == 403 and counts(ada.pk) == (1, 1, 1)
    browser.cookies[settings.CSRF_COOKIE_NAME] = "x" * 32
    response = browser.post(f"{INBOX}read/", **body, headers={"X-CSRFToken": "x" * 32})
    assert response.status_code == 200 and counts(ada.pk) == (2, 0, 0)
