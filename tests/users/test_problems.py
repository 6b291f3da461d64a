"""Every error is a problem document that names what is wrong and gives nothing away."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.conf import settings as project_settings
from django.db import DataError, IntegrityError, OperationalError
from django.http import HttpRequest, UnreadablePostError
from pydantic import BaseModel, ConfigDict
from rest_framework import exceptions

from apps.users.models import User
from apps.users.schemas import UserInput
from project import pages
from project.api import MAX_DEPTH, MAX_ERRORS, Problem, as_problem, parse
from tests.api_helpers import Api, fields, problem
from tests.users.routes import CrashView

pytestmark = pytest.mark.django_db
ADDRESS = "/api/users/ada/"


@pytest.fixture(autouse=True)
def routes(settings) -> None:
    settings.ROOT_URLCONF = "tests.users.routes"


# --- The body --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        *(b"{", b"nonsense", b"{'name': 'a'}", b'{"name": NaN}', b'{"name": Infinity}', b'{"name": 1e999}'),
        *(b'{"name": "\xff"}', b'{"name": "\xed\xa0\x80"}', b'{"name": "\\ud800"}', b'{"name": "\x00"}'),
        *(b"[" * 100_000, b'{"name": "a"} {}', b"\xef\xbb\xbf{}", b'{"name": "a\nb"}'),
    ],
)
def test_not_json(api: Api, body: bytes) -> None:
    problem(api.put(ADDRESS, body), 400, "not_json")


@pytest.mark.parametrize("body", [b"[]", b'"name"', b"1", b"null", b"true"])
def test_not_an_object(api: Api, body: bytes) -> None:
    response = api.put(ADDRESS, body)
    assert fields(response) == {"(body)": "invalid"}
    assert response.json()["errors"][0]["detail"] == "Send a JSON object."


def test_nesting(api: Api) -> None:
    def nested(depth: int) -> bytes:
        return b'{"name": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"

    assert fields(api.put(ADDRESS, nested(MAX_DEPTH))) == {"name": "invalid"}
    problem(api.put(ADDRESS, nested(MAX_DEPTH + 1)), 400, "too_deep")
    problem(api.put(ADDRESS, nested(1_000)), 400, "too_deep")
    wide = b'{"users": [' + b",".join([b'{"external_id": "a"}'] * 500) + b"]}"
    assert api.put("/api/users/", wide).status_code == 200


def test_null_characters_are_named_wherever_they_are(api: Api) -> None:
    body = {
        "name": "a\0",
        "users": [{"email": "a"}, {"email": ["\0"]}],
        "key\0": 1,
        "fine": "\\u0000",
    }
    found = {"name", "users[1].email[0]", "(body)"}
    assert fields(api.put(ADDRESS, body)) == dict.fromkeys(found, "null_character")
    problem(api.put(ADDRESS, b'"\\u0000"'), 400, "invalid_request")


def test_a_backslash_is_no_null_character(api: Api) -> None:
    assert api.put(ADDRESS, {"name": "\\u0000"}).json()["name"] == "\\u0000"


def test_too_large(api: Api, settings) -> None:
    settings.MAX_BODY_BYTES = 100
    assert api.put(ADDRESS, b'{"name": "%s"}' % (b"x" * 88)).status_code == 201
    problem(api.put(ADDRESS, b'{"name": "%s"}' % (b"x" * 89)), 413, "body_too_large")


def test_an_empty_body_says_nothing(api: Api) -> None:
    assert api.put(ADDRESS).status_code == 201
    assert fields(api.post("/api/tokens/")) == {"user": "required"}


def test_a_body_without_a_length_is_not_taken_for_an_empty_one(api: Api) -> None:
    response = api.put(ADDRESS, transfer_encoding="chunked")
    problem(response, 411, "length_required")
    assert not User.objects.filter(external_id="ada").exists()


def test_no_more_errors_than_anybody_reads(api: Api) -> None:
    body = {f"field{number}": 1 for number in range(MAX_ERRORS + 1)}
    assert len(fields(api.put(ADDRESS, body))) == MAX_ERRORS


# --- Headers and routes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x", ""]
)
def test_another_content_type(api: Api, content_type: str) -> None:
    response = api.send("PUT", ADDRESS, b"{}", content_type=content_type)
    problem(response, 415, "unsupported_media_type")


def test_json_with_a_charset(api: Api) -> None:
    response = api.send("PUT", ADDRESS, {"name": "Ü"}, content_type="application/json; charset=UTF-8")
    assert response.json()["name"] == "Ü"


@pytest.mark.parametrize("accept", ["text/html", "application/xml"])
def test_an_answer_we_do_not_have(api: Api, accept: str) -> None:
    problem(api.get(ADDRESS, accept=accept), 406, "not_acceptable")


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html, */*;q=0.1"])
def test_an_answer_we_have(api: Api, accept: str) -> None:
    problem(api.get(ADDRESS, accept=accept), 404, "not_found")


@pytest.mark.parametrize(
    "path", ["/api/", "/api/nothing/", "/api/users/a%0Ab/", "/api/users//", "/api/nothing"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("debug", [True, False])
def test_unknown_route(settings, path: str, method: str, debug: bool) -> None:
    settings.DEBUG = debug
    body = problem(Api(None).send(method, path), 404, "unknown_route")
    assert ("slash" in body["detail"]) == (not path.endswith("/"))


def test_without_its_slash_an_address_is_unknown_and_not_redirected(api: Api) -> None:
    problem(api.put("/api/users/ada", {}), 404, "unknown_route")


def test_elsewhere_djangos_pages_stay(db) -> None:
    response = Api(None).get("/nothing/")
    assert (response.status_code, response["Content-Type"]) == (404, "text/html; charset=utf-8")


def test_a_wrong_host(settings) -> None:
    settings.ALLOWED_HOSTS = ["carillon.example"]
    problem(Api(None).get(ADDRESS, host="evil.example"), 400, "bad_request")
    html = Api(None).get("/admin/", host="evil.example")
    assert (html.status_code, html["Content-Type"].split(";")[0]) == (400, "text/html")


def test_forbidden_before_any_endpoint() -> None:
    request = HttpRequest()
    request.path = ADDRESS
    problem(Answer(pages.handler403(request, Exception())), 403, "permission_denied")


class Answer:
    """A response that was not made by a client."""

    def __init__(self, response: Any) -> None:
        self.status_code, self.content, self._response = response.status_code, response.content, response

    def __getitem__(self, name: str) -> str:
        return str(self._response[name])


# --- Our own faults --------------------------------------------------------------------------------------

SECRET = "ada@example.com"


# Of a crash outside of endpoints Django shows its own page to whoever sets DEBUG.
WHERE = [("/api/crash/", False), ("/api/crash/", True), ("/api/crash-outside/", False)]


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("error", [RuntimeError, KeyError, DataError, IntegrityError, RecursionError])
def test_a_crash_is_logged_and_not_told(monkeypatch, caplog, settings, where, error) -> None:
    path, settings.DEBUG = where
    monkeypatch.setattr(CrashView, "error", error(f"(email)=({SECRET})"))
    response = Api(None).get(path)
    problem(response, 500, "internal_error")
    assert SECRET not in response.content.decode() and error.__name__ not in response.content.decode()
    assert any(
        error.__name__ in record.getMessage() for record in caplog.records if record.name == "project.api"
    )
    if issubclass(error, DataError | IntegrityError):
        assert SECRET not in "".join(record.getMessage() for record in caplog.records)


def test_a_crash_tells_where(monkeypatch, caplog) -> None:
    monkeypatch.setattr(CrashView, "error", RuntimeError("why"))
    Api(None).get("/api/crash/")
    logged = "".join(record.getMessage() for record in caplog.records)
    assert "RuntimeError: why" in logged and "routes.py" in logged


def test_listeners_hear_of_a_crash(monkeypatch) -> None:
    from django.core.signals import got_request_exception

    heard: list[object] = []
    got_request_exception.connect(listener := lambda sender, **named: heard.append(named["request"]))
    monkeypatch.setattr(CrashView, "error", RuntimeError())
    Api(None).get("/api/crash/")
    got_request_exception.disconnect(listener)
    assert isinstance(heard[0], HttpRequest)


@pytest.mark.parametrize("message", ["deadlock detected", "no more connections"])
def test_a_database_that_cannot(monkeypatch, message: str) -> None:
    monkeypatch.setattr(CrashView, "error", OperationalError(message))
    response = Api(None).get("/api/crash/")
    assert message not in problem(response, 503, "unavailable")["detail"]
    assert response["Retry-After"] == str(project_settings.DATABASE_DOWN_RETRY_AFTER)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Problem(409, "busy", "It is."), 409, "busy"),
        (exceptions.PermissionDenied("CSRF Failed"), 403, "permission_denied"),
        (UnreadablePostError("gone"), 400, "body_incomplete"),
        (exceptions.Throttled(wait=7), 429, "throttled"),
    ],
)
def test_known_errors(error: Exception, status: int, code: str) -> None:
    found = as_problem(error)
    assert found is not None and (found.status_code, found.code) == (status, code)
    assert found.headers == ({"Retry-After": "7"} if status == 429 else {})


def test_errors_do_not_share_their_headers() -> None:
    first, second = Problem(400, "a", "A."), Problem(400, "b", "B.")
    first.headers["X"] = "1"
    assert second.headers == {}


# --- How fields are named --------------------------------------------------------------------------------


class Street(BaseModel):
    model_config = ConfigDict(extra="forbid")

    street: str
    number: int | str


class Nested(BaseModel):
    model_config = ConfigDict(extra="forbid")

    to: list[int | str | Street]
    interval: int
    strings: dict[str, int]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"interval": "x"}, {"to": "required", "interval": "invalid", "strings": "required"}),
        (
            {"to": [{"street": 1, "number": 1}, 1.5], "interval": 1, "strings": {}},
            {"to[0]": "invalid", "to[0].street": "invalid", "to[1]": "invalid"},
        ),
        (
            {"to": [], "interval": 1, "strings": {"a": "x"}, "int": 1, "Street": 2, "internal": 3},
            dict.fromkeys(("int", "Street", "internal"), "unknown_field") | {"strings.a": "invalid"},
        ),
    ],
)
def test_paths(data: object, found: dict[str, str]) -> None:
    with pytest.raises(Problem) as raised:
        parse(Nested, data)
    assert {error["field"]: error["code"] for error in raised.value.errors} == found


def test_a_value_is_not_repeated() -> None:
    with pytest.raises(Problem) as raised:
        parse(UserInput, {"external_id": "a", "email": SECRET + "\n", "phone": "0301234567"})
    assert SECRET not in str(raised.value.errors) and "0301234567" not in str(raised.value.errors)


def test_nothing_of_the_body_is_logged(api: Api, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    api.put(ADDRESS, {"email": SECRET})
    api.put(ADDRESS, {"email": SECRET + "?"})
    messages = [record.getMessage() for record in caplog.records if record.name != "django.db.backends"]
    assert SECRET not in "".join(messages)
