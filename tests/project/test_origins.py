"""Pages of other origins: which may call the API, with what, and what they may call."""

from __future__ import annotations

from typing import Any

import pytest

from apps.users import tokens
from project.origins import matches
from tests.api_helpers import Api, make_key
from tests.support import rows

ALLOWED, REFUSED = "https://shop.example.com:8443", "https://evil.example"
CALLED = ["/api/inbox/", "/api/inbox/counts/", "/api/inbox/read/", "/api/devices/", "/api/preferences/"]
NOT_CALLED = [
    "/api/notifications/",
    "/api/users/a/preferences/",
    "/api/preferences/x",
    "/api/tokens/",
    "/admin/",
]
ANSWER = "Access-Control-Allow-Origin"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def allowed(settings: Any) -> None:
    settings.WEBSOCKET_ALLOWED_ORIGINS = [ALLOWED, ".example.org"]


def preflight(path: str, origin: str) -> Any:
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    return Api(None).send("OPTIONS", path, headers=headers)


@pytest.mark.parametrize("path", CALLED)
@pytest.mark.parametrize("origin", [ALLOWED, "https://app.example.org"])
def test_an_allowed_page_may_send_a_token_and_json(path: str, origin: str) -> None:
    response = preflight(path, origin)
    assert response.status_code == 200 and response.content == b""
    assert response[ANSWER] == origin
    assert response["Access-Control-Allow-Headers"] == "authorization, content-type"
    assert {"GET", "POST", "PATCH", "DELETE"} <= set(response["Access-Control-Allow-Methods"].split(", "))
    assert "Access-Control-Allow-Credentials" not in response  # our cookies stay at home
    assert "origin" in response["Vary"].lower()


def test_it_reads_the_answer_and_the_problem() -> None:
    (ada,) = rows.people()
    api = Api(tokens.mint(ada, 60)[0])
    for response, status in (
        (api.get("/api/inbox/", origin=ALLOWED), 200),
        (api.post("/api/inbox/read/", {}, origin=ALLOWED), 400),
        (Api(None).get("/api/inbox/", origin=ALLOWED), 401),
    ):
        assert (response.status_code, response[ANSWER]) == (status, ALLOWED)
        assert response["Access-Control-Expose-Headers"] == "retry-after"
        assert "Access-Control-Allow-Credentials" not in response


@pytest.mark.parametrize("path", CALLED)
@pytest.mark.parametrize(
    "origin", [REFUSED, "https://shop.example.com", "null", "http://[", "https://example.org.evil"]
)
def test_another_page_is_told_nothing(path: str, origin: str) -> None:
    (ada,) = rows.people()
    answers = [preflight(path, origin), Api(tokens.mint(ada, 60)[0]).get(path, origin=origin)]
    for response in answers:
        assert not [name for name in response.headers if name.lower().startswith("access-control-")]
    assert all("origin" in response["Vary"].lower() for response in answers)  # a cache must not mix them up


@pytest.mark.parametrize("path", NOT_CALLED)
def test_what_services_and_our_own_pages_call_is_not_for_others(path: str) -> None:
    for response in (preflight(path, ALLOWED), Api(make_key()).get(path, origin=ALLOWED)):
        assert not [name for name in response.headers if name.lower().startswith("access-control-")]


def test_our_own_pages_and_apps_without_an_origin_are_not_hindered() -> None:
    (ada,) = rows.people()
    response = Api(tokens.mint(ada, 60)[0]).get("/api/inbox/")
    assert response.status_code == 200 and ANSWER not in response


@pytest.mark.parametrize(
    ("origin", "entries", "expected"),
    [
        ("https://a.example", ["a.example"], True),
        ("http://a.example:81", ["a.example"], True),
        ("https://a.example", ["A.EXAMPLE"], True),
        ("https://b.a.example", ["a.example"], False),
        ("https://b.a.example", [".a.example"], True),
        ("https://a.example", [".a.example"], True),
        ("https://ba.example", [".a.example"], False),
        ("https://a.example", ["https://a.example"], True),
        ("http://a.example", ["https://a.example"], False),
        ("https://a.example:444", ["https://a.example"], False),
        ("http://[::1]:8000", ["[::1]"], True),
        ("https://any.example", ["*"], True),
        ("null", ["*"], False),
        ("", ["*"], False),
        ("https://a.example", [], False),
    ],
)
def test_an_entry_is_a_host_or_an_origin(origin: str, entries: list[str], expected: bool) -> None:
    assert matches(origin, entries) is expected
