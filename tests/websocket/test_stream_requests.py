"""Who may have a stream, which pages may read it, and what the others are told."""

from __future__ import annotations

import time

import pytest
from django.db import OperationalError
from django.test import Client as Browser

from apps.users.models import DEFAULT_ORGANIZATION_ID, Organization, User
from apps.users.tokens import mint
from apps.websocket import authentication
from apps.websocket.relay import relay as the_relay
from tests.api_helpers import Api
from tests.websocket.streams import STREAM, Reader
from tests.websocket.support import ORIGIN, new_user, token
from tests.websocket.test_authentication import BAD_TOKENS, session_cookie

pytestmark = [pytest.mark.django_db(transaction=True)]
NAMED = "https://shop.example.com:8443"
FOREIGN = "https://evil.example"


async def refused(status: int, code: str, **request) -> Reader:
    """The answer, which must be this problem; nobody is fed."""
    async with Reader(**request) as reader:
        assert (reader.status, (await reader.problem())["code"]) == (status, code)
    assert the_relay().users == 0
    return reader


# --- Who ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", BAD_TOKENS.values(), ids=BAD_TOKENS)
async def test_bad_tokens_are_refused(make):
    headers = {"Authorization": f"Bearer {make(await new_user())}"}
    reader = await refused(401, "invalid_credentials", headers=headers)
    assert reader.headers["www-authenticate"] == "Bearer"


async def test_a_good_token_by_another_scheme_is_refused():
    headers = {"Authorization": f"Basic {token(await new_user())}"}
    await refused(401, "invalid_credentials", headers=headers)


async def test_without_credentials_there_is_nothing():
    reader = await refused(401, "not_authenticated")
    assert reader.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("name", ["token", "access_token", "TOKEN"])
async def test_a_token_in_the_url_is_refused_even_if_good(name):
    user = await new_user()
    await refused(403, "token_in_url", user=user, query=f"{name}={token(user)}")


@pytest.mark.parametrize("origin", [None, ORIGIN, NAMED], ids=str)
async def test_a_session_of_our_own_page_or_of_one_that_is_named(origin):
    user = await new_user(login="ada")
    headers = {"Cookie": await session_cookie(user)} | ({"Origin": origin} if origin else {})
    async with Reader(headers=headers) as reader:
        assert reader.status == 200
        assert (await reader.event()).data["user"] == user.pk


async def test_a_session_is_of_no_use_to_pages_that_are_not_named(settings):
    settings.WEBSOCKET_ALLOWED_ORIGINS = ["*"]
    headers = {"Cookie": await session_cookie(await new_user(login="ada")), "Origin": FOREIGN}
    reader = await refused(401, "not_authenticated", headers=headers)
    assert "access-control-allow-credentials" not in reader.headers


async def test_a_bad_token_is_not_made_good_by_a_session():
    headers = {"Cookie": await session_cookie(await new_user(login="ada")), "Authorization": "Bearer a.b.c"}
    await refused(401, "invalid_credentials", headers=headers)


async def test_a_session_that_is_gone_is_none():
    await refused(401, "not_authenticated", headers={"Cookie": "sessionid=nothing"})


async def test_a_session_ends_after_a_tokens_longest_life(settings):
    settings.USER_TOKEN_SECONDS = 1
    headers = {"Cookie": await session_cookie(await new_user(login="ada"))}
    async with Reader(headers=headers) as reader:
        await reader.event()
        assert (await reader.last()).data["code"] == 4401


@pytest.mark.parametrize("error", [OperationalError("away"), None], ids=["refuses", "is silent"])
async def test_a_session_that_cannot_be_looked_up(settings, monkeypatch, error):
    async def away(scope):
        if error:
            raise error
        raise TimeoutError

    monkeypatch.setattr(authentication, "get_user", away)
    headers = {"Cookie": await session_cookie(await new_user(login="ada"))}
    reader = await refused(503, "unavailable", headers=headers)
    assert int(reader.headers["retry-after"]) > 0


async def test_what_breaks_on_our_side_is_a_500_without_its_words(monkeypatch, caplog):
    async def broken(scope):
        raise ValueError("eyJhbGciOi")

    monkeypatch.setattr(authentication, "get_user", broken)
    headers = {"Cookie": await session_cookie(await new_user(login="ada"))}
    await refused(500, "internal_error", headers=headers)
    assert "API request failed" in caplog.text


# --- What --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
async def test_other_methods_are_refused(method):
    reader = await refused(405, "method_not_allowed", user=await new_user(), method=method)
    assert reader.headers["allow"] == "GET, OPTIONS"


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "٣", "1" * 19, "null", " "])
async def test_a_place_that_is_no_number_is_refused_wherever_it_stands(number):
    user = await new_user()
    quoted = "".join(f"%{byte:02x}" for byte in number.encode())
    async with Reader(user, query=f"since={quoted}", headers={"Last-Event-ID": f"{number}x"}) as reader:
        problem = await reader.problem()
    assert (reader.status, problem["code"]) == (400, "invalid_request")
    assert [(one["field"], one["code"]) for one in problem["errors"]] == [
        ("since", "invalid"),
        ("Last-Event-ID", "invalid"),
    ]
    assert the_relay().users == 0


# --- Which pages -------------------------------------------------------------------------------------------


async def test_an_allowed_page_may_read_the_stream():
    async with Reader(await new_user(), headers={"Origin": NAMED}) as reader:
        assert reader.status == 200
        assert reader.headers["access-control-allow-origin"] == NAMED
        assert reader.headers["access-control-allow-credentials"] == "true"
        assert reader.headers["vary"] == "Origin"


async def test_any_page_may_if_all_are_allowed_but_not_with_cookies(settings):
    settings.WEBSOCKET_ALLOWED_ORIGINS = ["*"]
    async with Reader(await new_user(), headers={"Origin": FOREIGN}) as reader:
        assert reader.status == 200
        assert reader.headers["access-control-allow-origin"] == FOREIGN
        assert "access-control-allow-credentials" not in reader.headers


async def test_an_allowed_page_may_read_what_is_wrong():
    reader = await refused(401, "not_authenticated", headers={"Origin": NAMED})
    assert reader.headers["access-control-allow-origin"] == NAMED


@pytest.mark.parametrize("origin", [FOREIGN, "https://shop.example.com", "null", "", "http://["])
async def test_other_pages_are_refused_even_with_a_good_token(origin):
    reader = await refused(403, "origin_not_allowed", user=await new_user(), headers={"Origin": origin})
    assert not [name for name in reader.headers if name.startswith("access-control")]
    assert reader.headers["vary"] == "Origin"


async def test_an_app_that_has_no_origin_needs_no_cors():
    async with Reader(await new_user()) as reader:
        assert reader.status == 200
        assert not [name for name in reader.headers if name.startswith("access-control")]


async def preflight(origin: str) -> Reader:
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    async with Reader(method="OPTIONS", headers={"Origin": origin} | asked) as reader:
        assert reader.status == 204
        assert await reader.body() == b""
    return reader


async def test_an_allowed_page_may_ask_with_its_token_and_place():
    headers = (await preflight(NAMED)).headers
    assert headers["access-control-allow-origin"] == NAMED
    assert headers["access-control-allow-methods"] == "GET"
    allowed = headers["access-control-allow-headers"].lower().split(", ")
    assert set(allowed) == {"authorization", "last-event-id"}


async def test_another_page_may_not_even_ask():
    headers = (await preflight(FOREIGN)).headers
    assert not [name for name in headers if name.startswith("access-control")]


# --- Elsewhere ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", ["text/event-stream", "*/*"])
def test_the_api_server_says_that_streams_are_not_here(accept):
    Organization.objects.get_or_create(id=DEFAULT_ORGANIZATION_ID)  # a test with transactions empties it
    text, _ = mint(User.objects.create(), 60)
    answer = Browser().get(STREAM, HTTP_AUTHORIZATION=f"Bearer {text}", HTTP_ACCEPT=accept)
    assert (answer.status_code, answer.json()["code"]) == (501, "not_here")
    assert answer["Content-Type"] == "application/problem+json"


def test_the_api_server_tells_nothing_to_nobody():
    assert Api(None).get(STREAM).status_code == 401
    assert Browser().get(STREAM, HTTP_ACCEPT="text/event-stream").status_code == 401


async def test_other_addresses_are_djangos(settings):
    from asgiref.testing import ApplicationCommunicator

    from project.asgi import application

    for path, status in (("/api/inbox/stream", 404), ("/api/inbox/stream/x", 404), ("/api/inbox/", 401)):
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b""}
        scope |= {"headers": [(b"host", b"localhost")], "root_path": "", "http_version": "1.1"}
        app = ApplicationCommunicator(application, scope)
        await app.send_input({"type": "http.request"})
        assert (await app.receive_output(5))["status"] == status, path
        began = time.monotonic()
        while (await app.receive_output(5)).get("more_body") and time.monotonic() - began < 5:
            pass
        await app.wait(5)
