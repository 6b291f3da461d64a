"""Idempotency-Key: one effect and one answer per key, whatever happens meanwhile."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from apps.notifications import idempotency
from apps.notifications.models import IdempotencyKey, Notification, NotificationTarget
from apps.users.models import Scope, ServiceClient, User
from project import db
from tests.api_helpers import Api, fields, make_key, make_service, problem
from tests.notifications.api_support import BULK, SEND, everything, send
from tests.support import rows
from tests.support.database import in_threads, other_connection

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rung")]
BODY = {"title": "Ünïcode", "targets": ["ada"], "channels": ["email", "sms"], "metadata": {"n": 1e22}}
ROWS = {"notifications": [BODY, {"title": "x", "targets": ["nobody", {"external_id": "new"}]}]}


@pytest.fixture(autouse=True)
def ada(db: None) -> User:
    return rows.people(external_id="ada", phone="")[0]


def replayed(response: Any) -> bool:
    return response.headers.get("Idempotency-Replayed") == "true"


# --- The same again --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "body"), [(SEND, BODY), (BULK, ROWS)])
def test_a_repeat_gets_the_same_bytes_and_has_no_effect(
    api: Api, rung: list[str], path: str, body: object
) -> None:
    first = api.post(path, body, idempotency_key="one")
    assert first.status_code == 202 and not replayed(first)
    before = everything()
    rung.clear()
    for _ in range(2):
        again = api.post(path, body, idempotency_key="one")
        assert (again.status_code, again.content) == (202, first.content) and replayed(again)
        assert again["Content-Type"] == first["Content-Type"] == "application/json"
    assert everything() == before and rung == []


def test_with_a_key_the_answer_is_what_it_is_without(api: Api) -> None:
    with_key = api.post(SEND, BODY, idempotency_key="one")
    without = api.post(SEND, BODY)
    assert (
        with_key.json().keys() == without.json().keys() and with_key.headers.keys() == without.headers.keys()
    )


def test_the_answer_stays_as_it_was_when_people_change(api: Api, ada: User) -> None:
    first = api.post(SEND, BODY, idempotency_key="one")
    User.objects.filter(pk=ada.pk).update(is_active=False, phone="+4930123456")
    assert api.post(SEND, BODY, idempotency_key="one").content == first.content


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (SEND, BODY | {"title": "other"}),
        (SEND, {"title": 5}),  # although it is wrong, too
        (SEND, b'{"title":"x", "targets":["ada"]}'),
        (BULK, BODY),
        (BULK, {"notifications": [BODY]}),
    ],
)
def test_another_request_under_the_key_is_refused(api: Api, path: str, body: object) -> None:
    api.post(SEND, BODY, idempotency_key="one")
    before = everything()
    response = api.post(path, body, idempotency_key="one")
    if path == BULK and body == BODY:  # its shape is looked at first
        assert response.status_code == 400
    else:
        problem(response, 422, "idempotency_key_reused")
    assert everything() == before
    assert replayed(api.post(SEND, BODY, idempotency_key="one"))


def test_the_bytes_count_not_what_they_mean(api: Api) -> None:
    api.post(SEND, b'{"title":"x","targets":["ada"]}', idempotency_key="one")
    spaced = api.post(SEND, b'{"title": "x","targets":["ada"]}', idempotency_key="one")
    problem(spaced, 422, "idempotency_key_reused")


def test_the_method_counts() -> None:
    from django.test import RequestFactory
    from rest_framework.request import Request

    make = RequestFactory()
    prints = {idempotency.fingerprint(Request(make.generic(method, SEND))) for method in ("POST", "PUT")}
    assert len(prints) == 2


def test_keys_are_each_services_own(api: Api) -> None:
    other = Api(make_key(make_service()))
    first, second = (caller.post(SEND, BODY, idempotency_key="one") for caller in (api, other))
    assert not replayed(second) and first.json()["id"] != second.json()["id"]


def test_two_credentials_of_a_service_share_its_keys(service: ServiceClient) -> None:
    first, second = (Api(make_key(service)).post(SEND, BODY, idempotency_key="one") for _ in range(2))
    assert replayed(second) and first.content == second.content


def test_a_repeat_needs_the_scope(service: ServiceClient, api: Api) -> None:
    api.post(SEND, BODY, idempotency_key="one")
    reader = Api(make_key(service, [Scope.READ]))
    problem(reader.post(SEND, BODY, idempotency_key="one"), 403, "missing_scope")


# --- The key itself --------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["x", "x" * 255, "a b", '"quoted"', "~!@#$%^&*()", "1:2"])
def test_keys_that_can_be(api: Api, key: str) -> None:
    assert api.post(SEND, BODY, idempotency_key=key).status_code == 202
    assert replayed(api.post(SEND, BODY, idempotency_key=key))


@pytest.mark.parametrize("key", ["", "x" * 256, "ü", "a\tb", "a\x7fb", "☃"])
def test_keys_that_cannot(api: Api, key: str) -> None:
    before = everything()
    assert fields(api.post(SEND, BODY, idempotency_key=key)) == {"Idempotency-Key": "invalid"}
    assert everything() == before


def test_keys_do_not_run_into_each_other(service: ServiceClient) -> None:
    """Service 1 with key "1:x" and service 11 with key "x" are two."""
    one = Api(make_key(service))
    one.post(SEND, BODY, idempotency_key=f"{service.pk}:x")
    assert not replayed(one.post(SEND, BODY, idempotency_key="x"))


# --- What is kept, and for how long ----------------------------------------------------------------------


def test_a_refusal_is_not_kept(api: Api) -> None:
    bad = BODY | {"targets": ["late"]}
    assert fields(api.post(SEND, bad, idempotency_key="one")) == {"targets[0]": "unknown_user"}
    assert not IdempotencyKey.objects.exists()
    rows.people(external_id="late")
    response = api.post(SEND, bad, idempotency_key="one")
    assert response.status_code == 202 and not replayed(response)


def age(hours: float) -> None:
    db.execute(
        "UPDATE notifications_idempotencykey SET created_at = created_at - make_interval(secs => %s)",
        [hours * 3600],
    )


def test_after_a_day_the_key_is_free(api: Api) -> None:
    first = api.post(SEND, BODY, idempotency_key="one")
    age(23.99)
    assert replayed(api.post(SEND, BODY, idempotency_key="one"))
    age(0.02)
    again = api.post(SEND, BODY | {"title": "other"}, idempotency_key="one")
    assert again.status_code == 202 and not replayed(again)
    assert again.json()["id"] != first.json()["id"] and Notification.objects.count() == 2
    kept = api.post(SEND, BODY | {"title": "other"}, idempotency_key="one")
    assert replayed(kept) and kept.content == again.content


def test_old_keys_are_forgotten_some_at_a_time(api: Api) -> None:
    for number in range(3):
        api.post(SEND, BODY, idempotency_key=f"old-{number}")
    age(25)
    api.post(SEND, BODY, idempotency_key="new")
    assert [idempotency.forget_old(2) for _ in range(3)] == [2, 1, 0]
    assert list(IdempotencyKey.objects.values_list("key", flat=True)) == ["new"]


# --- At the same time ------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("path", "body"), [(SEND, BODY), (BULK, ROWS)])
def test_of_eight_at_once_one_has_its_effect(path: str, body: object) -> None:
    key = make_key()
    responses = in_threads(8, lambda _: Api(key).post(path, body, idempotency_key="one"))
    found = Counter("replay" if replayed(response) else str(response.status_code) for response in responses)
    assert found["202"] == 1 and set(found) <= {"202", "409", "replay"}, found
    assert Notification.objects.count() == IdempotencyKey.objects.count() == 1
    (first,) = (r for r in responses if r.status_code == 202 and not replayed(r))
    for response in responses:
        if response.status_code == 409:
            problem(response, 409, "idempotency_key_in_use")
            assert response["Retry-After"] == "1"
        else:
            assert response.content == first.content
    assert replayed(Api(key).post(path, body, idempotency_key="one"))


@pytest.mark.django_db(transaction=True)
def test_different_keys_do_not_wait_for_each_other() -> None:
    key = make_key()
    responses = in_threads(4, lambda number: Api(key).post(SEND, BODY, idempotency_key=f"key-{number}"))
    assert [response.status_code for response in responses] == [202] * 4


@pytest.mark.django_db(transaction=True)
def test_while_the_first_is_in_flight_it_is_409(api: Api, service: ServiceClient) -> None:
    with other_connection() as first:
        name = f"{service.pk}:one"
        first.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])
        before = everything()
        problem(api.post(SEND, BODY, idempotency_key="one"), 409, "idempotency_key_in_use")
        assert everything() == before
        assert api.post(SEND, BODY, idempotency_key="two").status_code == 202
    assert api.post(SEND, BODY, idempotency_key="one").status_code == 202


@pytest.mark.django_db(transaction=True)
def test_an_answer_committed_between_look_and_lock_is_409_and_no_second_effect(
    api: Api, rung: list[str], monkeypatch
) -> None:
    first = api.post(SEND, BODY, idempotency_key="one")
    look = idempotency._look
    monkeypatch.setattr(idempotency, "_look", lambda *args: (look(*args)[0], None))  # an older snapshot
    before = everything()
    rung.clear()
    problem(api.post(SEND, BODY, idempotency_key="one"), 409, "idempotency_key_in_use")
    assert everything() == before and rung == []
    monkeypatch.undo()
    assert api.post(SEND, BODY, idempotency_key="one").content == first.content


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "statement", ["INSERT INTO notifications_idempotencykey", "INSERT INTO notifications_n"]
)
def test_a_crash_before_the_commit_leaves_nothing(
    api: Api, rung: list[str], monkeypatch, statement: str
) -> None:
    execute = db.execute

    def crashing(sql: str, *args: Any) -> int:
        count = execute(sql, *args)
        if statement in sql:
            raise RuntimeError("crash")
        return count

    before = everything()
    with monkeypatch.context() as patched:
        patched.setattr(db, "execute", crashing)
        bringing = BODY | {"targets": [{"external_id": "new"}, {"external_id": "ada", "name": "Changed"}]}
        problem(api.post(SEND, bringing, idempotency_key="one"), 500, "internal_error")
        problem(api.post(BULK, {"notifications": [bringing]}, idempotency_key="two"), 500, "internal_error")
    assert everything() == before and rung == []
    assert not replayed(api.post(SEND, bringing, idempotency_key="one"))
    assert NotificationTarget.objects.count() == 4


def test_a_key_on_reading_says_nothing(api: Api) -> None:
    assert send(api, targets=["ada"], headers={"idempotency-key": "one"}).status_code == 202
    response = api.get(SEND, idempotency_key="one")
    assert response.status_code == 200 and not replayed(response)
