"""A POST and the world around it: its statements, the bells, a broker or a database that is away."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection

from apps.notifications import transitions
from apps.notifications.models import Notification, NotificationTarget
from project import queues
from tests.api_helpers import Api, problem
from tests.notifications.api_support import BULK, SEND, everything, send
from tests.support import rows
from tests.support.database import capture, other_connection
from tests.users.test_database_away import nowhere

pytestmark = pytest.mark.django_db(transaction=True)
AT_ONCE = 1.0  # seconds a POST may take while the broker is away: less than one timeout of it

KEY, LOOK, PEOPLE, PLACES, SUPPRESSED, WISHES, NOTIFICATION, TARGETS, ANSWER = (
    "FROM users_apikey",
    "pg_try_advisory_xact_lock",
    "FROM unnest(%(ids)s",
    "FROM users_device WHERE user_id",
    "FROM preferences_suppression",
    "FROM preferences_choice",
    "INSERT INTO notifications_notification ",
    "INSERT INTO notifications_notificationtarget ",
    "INSERT INTO notifications_idempotencykey",
)


def assert_statements(found: list[str], expected: list[str]) -> None:
    assert len(found) == len(expected), found
    for sql, part in zip(found, expected, strict=True):
        assert part.split("%")[0] in sql, (part, sql)


def test_the_statements_of_a_post_with_a_key(api: Api, rung: list[str]) -> None:
    (person,) = rows.people()
    with capture() as statements:
        send(api, targets=[person.pk], headers={"idempotency-key": "one"})
    asked = [KEY, "BEGIN", LOOK, PEOPLE, PLACES, SUPPRESSED]
    assert_statements(statements, [*asked, NOTIFICATION, TARGETS, ANSWER, "COMMIT"])


def test_the_statements_of_a_post_without_a_key(api: Api, rung: list[str]) -> None:
    (person,) = rows.people()
    with capture() as statements:
        send(api, targets=[person.pk])
    asked = [KEY, "BEGIN", "carillon_now()", PEOPLE, PLACES, SUPPRESSED]
    assert_statements(statements, [*asked, NOTIFICATION, TARGETS, "COMMIT"])


@pytest.mark.parametrize(
    ("channels", "places"), [(["in_app", "email", "sms"], []), (["email", "push", "chat"], [PLACES])]
)
def test_devices_and_endpoints_are_asked_for_only_where_it_may_go_to_them(
    api: Api, rung: list[str], channels: list[str], places: list[str]
) -> None:
    (person,) = rows.people()
    with capture() as statements:
        send(api, targets=[person.pk], channels=channels)
    asked = [KEY, "BEGIN", "carillon_now()", PEOPLE, *places, SUPPRESSED]
    assert_statements(statements, [*asked, NOTIFICATION, TARGETS, "COMMIT"])


def test_what_only_goes_in_app_asks_for_no_suppressed_address(api: Api, rung: list[str]) -> None:
    (person,) = rows.people()
    with capture() as statements:
        send(api, targets=[person.pk], channels=["in_app"])
    asked = [KEY, "BEGIN", "carillon_now()", PEOPLE, WISHES]
    assert_statements(statements, [*asked, NOTIFICATION, TARGETS, "COMMIT"])


def test_of_a_critical_one_it_is_not_asked_what_they_want(api: Api, rung: list[str]) -> None:
    (person,) = rows.people()
    with capture() as statements:
        send(api, targets=[person.pk], channels=["sms"], priority="critical")
    asked = [KEY, "BEGIN", "carillon_now()", PEOPLE, SUPPRESSED]
    assert_statements(statements, [*asked, NOTIFICATION, TARGETS, "COMMIT"])


def test_the_statements_of_a_replay(api: Api, rung: list[str]) -> None:
    (person,) = rows.people()
    send(api, targets=[person.pk], headers={"idempotency-key": "one"})
    with capture() as statements:
        send(api, targets=[person.pk], headers={"idempotency-key": "one"})
    assert_statements(statements, [KEY, "BEGIN", LOOK, "COMMIT"])


@pytest.mark.parametrize("headers", [{}, {"idempotency_key": "one"}])
def test_bulk_is_one_transaction(api: Api, rung: list[str], headers: dict[str, str]) -> None:
    (person,) = rows.people()
    row = {"title": "x", "targets": [person.pk, {"external_id": "new"}]}
    with capture() as statements:
        api.post(BULK, {"notifications": [row, {**row, "title": 5}, row]}, **headers)
    assert [sql for sql in statements if sql in ("BEGIN", "COMMIT")] == ["BEGIN", "COMMIT"]
    assert statements[1] == "BEGIN" and statements[-1] == "COMMIT"
    assert Notification.objects.count() == 2


# --- Bells -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [SEND, BULK])
def test_bells_ring_when_it_is_committed(api: Api, monkeypatch, path: str) -> None:
    (person,) = rows.people(phone="")
    seen: list[tuple[tuple[str, ...], int]] = []

    def ring(*lanes: str) -> None:
        assert not connection.in_atomic_block
        with other_connection() as other:
            row = other.execute("SELECT count(*) FROM notifications_notificationtarget").fetchone()
            assert row is not None
            seen.append((tuple(sorted(lanes)), row[0]))

    monkeypatch.setattr(queues, "ring", ring)
    body = {"title": "x", "targets": [person.pk]}
    assert api.post(path, body if path == SEND else {"notifications": [body]}).status_code == 202
    assert seen == [(("email.normal", "in_app.normal"), 2)]


@pytest.mark.parametrize("path", [SEND, BULK])
def test_what_is_rolled_back_rings_nothing(api: Api, monkeypatch, rung: list[str], path: str) -> None:
    (person,) = rows.people()
    body = {"title": "x", "targets": [person.pk, {"external_id": "new"}]}
    create = transitions.create

    def crash(*args: object, **named: object) -> None:
        create(*args, **named)  # type: ignore[arg-type]
        raise RuntimeError("crash")

    monkeypatch.setattr(transitions, "create", crash)
    before = everything()
    response = api.post(path, body if path == SEND else {"notifications": [body]})
    problem(response, 500, "internal_error")
    assert everything() == before and rung == []


def test_the_bell_arrives_in_the_broker(api: Api) -> None:
    """Unless it is still on its way from an earlier one."""
    (person,) = rows.people()
    broker = queues.broker()
    broker.delete("sms.low", queues._key("sms.low"))
    for _ in range(2):
        send(api, targets=[person.pk], channels=["sms"], priority="low")
    assert broker.blpop(["sms.low"], timeout=5) is not None
    assert broker.llen("sms.low") == 0


# --- The broker is away ----------------------------------------------------------------------------------


@contextmanager
def closed_port() -> Iterator[int]:
    with socket.socket() as taken:  # bound, not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@contextmanager
def silent_server() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("broker", [closed_port, silent_server])
def test_without_a_broker_a_post_is_accepted_at_once(api: Api, settings, monkeypatch, broker) -> None:
    (person,) = rows.people()
    send(api, targets=[person.pk])  # whatever the first request has to load
    monkeypatch.setattr(queues, "_ringer", queues._Ringer())
    tried: list[tuple[str, bool]] = []
    ring_now = queues.ring_now
    monkeypatch.setattr(queues, "ring_now", lambda lane: tried.append((lane, ring_now(lane))))
    settings.REDIS_TIMEOUT = 2.0
    with broker() as port:
        settings.REDIS_URL = f"redis://127.0.0.1:{port}/0"
        for _ in range(5):  # also while the bell of the one before is still waiting
            start = time.monotonic()
            response = send(api, targets=[person.pk], channels=["email"], priority="low")
            assert response.status_code == 202 and time.monotonic() - start < AT_ONCE
        wait_until(lambda: "email.low" in dict(tried))
    assert dict(tried)["email.low"] is False
    assert NotificationTarget.objects.filter(status="queued", lane="email.low").count() == 5


def wait_until(condition) -> None:
    """Look again and again, ten seconds at most."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- The database is away --------------------------------------------------------------------------------


def test_without_a_database_it_is_503_and_rings_nothing(api: Api, rung: list[str]) -> None:
    (person,) = rows.people()
    send(api, targets=[person.pk])
    rung.clear()
    with nowhere():
        for path in (SEND, BULK):
            response = api.post(path, {"title": "x", "targets": [person.pk]}, idempotency_key="one")
            problem(response, 503, "unavailable")
            assert response["Retry-After"] == "5"
        problem(api.get(SEND), 503, "unavailable")
    assert rung == []
    assert send(api, targets=[person.pk], headers={"idempotency-key": "one"}).status_code == 202
    assert Notification.objects.count() == 2


def test_a_database_that_goes_away_before_the_commit_leaves_nothing(
    api: Api, rung: list[str], monkeypatch
) -> None:
    (person,) = rows.people()
    create = transitions.create

    def cut_off(*args: object, **named: object) -> None:
        create(*args, **named)  # type: ignore[arg-type]
        own = connection.connection.info.backend_pid
        with other_connection() as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [own])

    before = everything()
    with monkeypatch.context() as patched:
        patched.setattr(transitions, "create", cut_off)
        response = send(api, targets=[person.pk], headers={"idempotency-key": "one"})
    problem(response, 503, "unavailable")
    assert everything() == before and rung == []
    response = send(api, targets=[person.pk], headers={"idempotency-key": "one"})
    assert response.status_code == 202 and "Idempotency-Replayed" not in response.headers
