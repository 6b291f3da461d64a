"""The address providers report to: signed and committed, or refused and nothing written."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

import orjson
import pytest
from django.db import connection
from django.test import Client

from apps.delivery import receipts
from apps.delivery.models import Receipt
from apps.notifications.statuses import Status
from project import counting, ids
from tests.api_helpers import problem
from tests.support import rows
from tests.support.database import capture, eventually, in_threads, other_connection
from tests.support.listening import Asked, listening
from tests.support.receivers import KEY, ScriptedReceiver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("reporting", "read_already")]
ADDRESS = f"/api/receipts/{KEY}/"


def post(body: object, address: str = ADDRESS, *, word: str = "sesame", **named: Any) -> Any:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    options = {"content_type": "application/json", "HTTP_X_WORD": word} | named
    return Client(raise_request_exception=False).post(address, data, **options)


def events(targets: Iterable[UUID], kind: str = "delivered") -> list[dict[str, str]]:
    return [{"id": f"{kind} {id}", "kind": kind, "attempt": str(ids.attempt_id(id, 1))} for id in targets]


def test_signed_events_are_committed_and_then_the_bell_is_rung(rung: list[str]) -> None:
    targets = rows.targets(rows.notification(), Status.SENT, 3)
    with capture() as statements:
        response = post(events(targets))
    assert (response.status_code, response.content, rung) == (204, b"", ["receipts"])
    assert len(statements) == 1 and "INSERT INTO delivery_receipt" in statements[0]
    assert not response.cookies
    assert sorted(Receipt.objects.values_list("target_id", flat=True)) == targets
    assert receipts.apply(500) == 3
    assert rows.statuses(targets) == ["delivered"] * 3


def test_a_repeated_request_is_answered_the_same_and_writes_nothing(rung: list[str]) -> None:
    body = events(rows.targets(rows.notification(), Status.SENT, 3))
    assert [post(body).status_code for _ in range(2)] == [204, 204]
    assert Receipt.objects.count() == 3


def test_no_events_are_no_statement(rung: list[str]) -> None:
    with capture() as statements:
        assert post([]).status_code == 204
    assert statements == []


@pytest.mark.parametrize("address", ["/api/receipts/nobody/", "/api/receipts/unconfigured/"])
def test_of_a_provider_that_is_not_configured_there_is_nothing_here(address: str, rung: list[str]) -> None:
    with capture() as statements:
        problem(post([], address), 404, "not_found")
    assert (statements, rung) == ([], [])


def test_what_is_not_signed_is_refused_without_a_look_at_the_database(rung: list[str]) -> None:
    with capture() as statements:
        problem(post(events([ids.target_id()]), word="open"), 403, "bad_signature")
    assert (statements, rung, Receipt.objects.exists()) == ([], [], False)


def test_what_is_signed_but_unreadable_is_refused(rung: list[str]) -> None:
    problem(post(b"nonsense"), 400, "bad_receipt")
    assert (rung, Receipt.objects.exists()) == ([], False)


@pytest.mark.parametrize(("size", "status"), [(100, 204), (101, 413)])
def test_a_body_has_its_limit(size: int, status: int, rung: list[str], settings) -> None:
    settings.RECEIPT_MAX_BYTES = 100
    response = post(b"[]" + b" " * (size - 2))
    assert response.status_code == status
    if status == 413:
        problem(response, 413, "body_too_large")


def test_a_body_without_a_length_is_not_taken_for_an_empty_one(rung: list[str]) -> None:
    response = post([], CONTENT_LENGTH="", HTTP_TRANSFER_ENCODING="chunked")
    problem(response, 411, "length_required")


@pytest.mark.parametrize(
    ("public", "wanted"),
    [
        ("", "http://testserver/api/receipts/scripted/?a=1&b=%20"),
        ("https://notify.example.com", "https://notify.example.com/api/receipts/scripted/?a=1&b=%20"),
    ],
)
def test_the_receiver_sees_the_address_the_provider_called(
    public: str, wanted: str, rung: list[str], settings, reporting: type[ScriptedReceiver]
) -> None:
    settings.PUBLIC_URL = public
    assert post([], f"{ADDRESS}?a=1&b=%20").status_code == 204
    (request,) = reporting.verified
    assert (request.url, request.body) == (wanted, b"[]")
    assert request.headers["x-word"] == "sesame"


@pytest.mark.parametrize(
    "named",
    [
        {"HTTP_ACCEPT": "text/html"},
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": ""},
    ],
)
def test_whatever_it_accepts_or_calls_its_body(named: dict[str, str], rung: list[str]) -> None:
    assert post([], **named).status_code == 204


@pytest.mark.django_db(transaction=True)
def test_without_a_database_the_provider_is_told_to_try_again(rung: list[str]) -> None:
    body = events([ids.target_id()])
    port = connection.settings_dict["PORT"]
    connection.close()
    connection.settings_dict["PORT"] = "1"
    try:
        problem(post(body), 503, "unavailable")
    finally:
        connection.settings_dict["PORT"] = port
        connection.close()
    assert rung == []
    assert post(body).status_code == 204


@pytest.mark.django_db(transaction=True)
def test_a_restart_of_the_database_since_the_last_request_is_not_noticed(rung: list[str]) -> None:
    post(events([ids.target_id()]))
    own = connection.connection.info.backend_pid
    with other_connection() as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [own])
    assert post(events([ids.target_id()])).status_code == 204
    assert Receipt.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_the_answer_comes_after_the_commit(rung: list[str], monkeypatch) -> None:
    target = ids.target_id()
    assert post(events([target])).status_code == 204
    with other_connection() as other:
        assert other.execute("SELECT target_id FROM delivery_receipt").fetchall() == [(target,)]


@pytest.mark.django_db(transaction=True)
def test_requests_with_the_same_events_at_the_same_time_write_each_once(rung: list[str]) -> None:
    """In opposite orders: neither waits for the other while the other waits for it."""
    body = events([ids.target_id() for _ in range(200)])
    turn = threading.Barrier(4)

    def send(number: int) -> list[int]:
        codes = []
        for _ in range(5):
            turn.wait(10)
            codes.append(post(body if number % 2 else body[::-1]).status_code)
        return codes

    assert in_threads(4, send) == [[204] * 5] * 4
    assert Receipt.objects.count() == 200


# --- Beginning to report ---------------------------------------------------------------------------------


@pytest.fixture
def vendor() -> Iterator[Asked]:
    with listening() as asked:
        yield asked


def test_a_provider_that_asks_for_it_is_confirmed(rung: list[str], vendor: Asked, caplog) -> None:
    assert post([], HTTP_X_CONFIRM=f"{vendor.url}/confirm?token=a%2Fb").status_code == 204
    eventually(lambda: vendor.paths == ["/confirm?token=a%2Fb"])
    eventually(lambda: "confirmed to the provider" in caplog.text)


def test_what_is_not_signed_confirms_nothing(rung: list[str], vendor: Asked) -> None:
    problem(post([], word="open", HTTP_X_CONFIRM=f"{vendor.url}/confirm"), 403, "bad_signature")
    assert vendor.paths == []


def test_while_the_vendors_certificate_cannot_be_had_it_is_to_come_again(
    rung: list[str], reporting: type[ScriptedReceiver], monkeypatch
) -> None:
    def verify(receiver: ScriptedReceiver, request: object) -> None:
        raise OSError("no certificate")

    monkeypatch.setattr(reporting, "verify", verify)
    response = post(events([ids.target_id()]))
    problem(response, 503, "certificate_unavailable")
    assert response["Retry-After"] and not Receipt.objects.exists()


def test_one_that_cannot_be_confirmed_is_told_of(rung: list[str], caplog) -> None:
    assert post([], HTTP_X_CONFIRM="http://127.0.0.1:1/").status_code == 204
    eventually(lambda: "not confirmed" in caplog.text)


def test_what_is_refused_and_what_is_not_understood_is_counted(rung: list[str], monkeypatch) -> None:
    counted: list[str] = []
    monkeypatch.setattr(counting, "count", counted.append)
    post([], word="open")
    post(b"nonsense")
    post([*events([ids.target_id()], "other"), *events([ids.target_id()])])
    assert counted == [f"receipts.{what}.{KEY}" for what in ("refused", "unreadable", "other")]
