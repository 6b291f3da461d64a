"""Who may open a socket, and for how long."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import jwt
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.test import Client as HttpClient

from apps.users import tokens
from apps.websocket.messages import Close
from tests.websocket.support import ORIGIN, PATH, Client, deliver, hearing, hint, new_user, opened, token

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


@sync_to_async
def session_cookie(user) -> str:
    browser = HttpClient()
    browser.force_login(user)
    return (
        f"{django_settings.SESSION_COOKIE_NAME}={browser.cookies[django_settings.SESSION_COOKIE_NAME].value}"
    )


def ends(text: str) -> str:
    """When the token ends, as frames say it."""
    claims = tokens.claims_of(text)
    return datetime.fromtimestamp(claims["exp"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_a_token_among_the_subprotocols():
    user = await new_user()
    client = Client(offer=["carillon", f"bearer.{token(user)}"], headers={"Origin": ORIGIN})
    assert await client.connect() == (True, "carillon")
    hello = await client.frame()
    assert (hello["type"], hello["user"], hello["head"]) == ("hello", user.pk, 0)
    await client.leave()


async def test_a_token_in_the_first_message():
    user = await new_user()
    await deliver(user, 3)
    client = Client()
    assert await client.connect() == (True, None)
    text = token(user)
    await client.send(type="authenticate", token=text)
    assert await client.frame() == {
        "type": "hello",
        "user": user.pk,
        "head": 3,
        "counts": {"head": 3, "unread": 3, "unseen": 3},
        "expires_at": ends(text),
        "reconnect_within": 1.0,
    }
    await client.leave()


async def test_a_session_of_an_allowed_page():
    user = await new_user(login="ada")
    client = Client(headers={"Origin": ORIGIN, "Cookie": await session_cookie(user)})
    assert (await client.connect())[0]
    assert (await client.frame())["user"] == user.pk
    await client.leave()


@pytest.mark.parametrize(
    ("origin", "allowed"), [(None, ["localhost"]), (ORIGIN, ["*"]), (None, ["*"])], ids=str
)
async def test_a_session_opens_nothing_without_a_page_that_is_named(settings, origin, allowed):
    settings.WEBSOCKET_ALLOWED_ORIGINS = allowed
    settings.WEBSOCKET_AUTH_SECONDS = 0.2
    user = await new_user(login="ada")
    headers = {"Cookie": await session_cookie(user)} | ({"Origin": origin} if origin else {})
    client = Client(headers=headers)
    assert (await client.connect())[0]  # a token may still come
    assert await client.closed() == Close.UNAUTHENTICATED


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:8000",
        "https://localhost",
        "https://shop.example.com:8443",
        "https://example.org",
        "HTTPS://A.Example.ORG",
        None,
    ],
)
async def test_pages_that_may_connect(origin):
    client = Client(headers={"Origin": origin} if origin else {})
    assert (await client.connect())[0]
    await client.leave()


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://localhost.evil.example",
        "https://shop.example.com",  # another port than the one named
        "https://notexample.org",
        "null",
        "",
        "http://[",
        "file://",
    ],
)
async def test_pages_that_may_not_connect_even_with_a_good_token(origin):
    user = await new_user()
    client = Client(offer=["carillon", f"bearer.{token(user)}"], headers={"Origin": origin})
    assert await client.connect() == (False, Close.REFUSED)


@pytest.mark.parametrize("name", ["token", "access_token", "TOKEN"])
async def test_a_token_in_the_url_is_refused_even_if_good(name):
    user = await new_user()
    client = Client(path=f"{PATH}?{name}={token(user)}", offer=["carillon", f"bearer.{token(user)}"])
    assert await client.connect() == (False, Close.REFUSED)


def forged(user, **changed) -> str:
    claims = {"sub": str(user.pk), "aud": "carillon", "exp": int(time.time()) + 60} | changed
    return jwt.encode(claims, tokens._key(), algorithm="HS256")


BAD_TOKENS = {
    "nonsense": lambda user: "a.b.c",
    "empty": lambda user: "",
    "expired": lambda user: forged(user, exp=int(time.time()) - 1),
    "no expiry": lambda user: jwt.encode({"sub": str(user.pk), "aud": "carillon"}, tokens._key(), "HS256"),
    "alg none": lambda user: jwt.encode(
        {"sub": str(user.pk), "aud": "carillon", "exp": int(time.time()) + 60}, None, algorithm="none"
    ),
    "another key": lambda user: jwt.encode(
        {"sub": str(user.pk), "aud": "carillon", "exp": int(time.time()) + 60}, "x" * 32, algorithm="HS256"
    ),
    "another audience": lambda user: forged(user, aud="elsewhere"),
    "cut": lambda user: token(user)[:-4],
}


@pytest.mark.parametrize("make", BAD_TOKENS.values(), ids=BAD_TOKENS)
async def test_bad_tokens_close_the_socket(make):
    user = await new_user()
    client = Client()
    await client.connect()
    await client.send(type="authenticate", token=make(user))
    assert await client.closed() == Close.UNAUTHENTICATED


@pytest.mark.parametrize("bad", [None, 5, {"a": 1}, ["x"]], ids=str)
async def test_tokens_of_another_type_close_the_socket(bad):
    client = Client()
    await client.connect()
    await client.send(type="authenticate", token=bad)
    assert await client.closed() == Close.UNAUTHENTICATED


async def test_a_bad_token_among_the_subprotocols_is_told_by_a_close_code():
    client = Client(offer=["carillon", "bearer.a.b.c"])
    assert await client.connect() == (True, "carillon")
    assert await client.closed() == Close.UNAUTHENTICATED


async def test_who_says_nothing_is_closed(settings):
    settings.WEBSOCKET_AUTH_SECONDS = 0.1
    client = Client()
    await client.connect()
    assert await client.closed() == Close.UNAUTHENTICATED


@pytest.mark.parametrize("fields", [{"is_active": False}, None], ids=["deactivated", "gone"])
async def test_a_good_token_of_somebody_who_may_not(fields):
    user = await new_user(**(fields or {}))
    text = token(user)
    if fields is None:
        await user.adelete()
    client = Client()
    await client.connect()
    await client.send(type="authenticate", token=text)
    assert await client.closed() == Close.UNAUTHENTICATED


async def test_the_socket_ends_with_its_token():
    client = await opened(await new_user(), seconds=2)
    assert await client.closed() == Close.UNAUTHENTICATED


async def test_a_new_token_keeps_the_socket_open():
    user = await new_user()
    client = await opened(user, seconds=2)
    began = time.monotonic()
    text = token(user, 4)
    await client.send(type="authenticate", token=text)
    assert await client.frame() == {"type": "authenticated", "expires_at": ends(text)}
    assert await client.closed() == Close.UNAUTHENTICATED
    assert time.monotonic() - began > 2.5  # the first token ended before


async def test_a_new_token_keeps_the_place():
    user = await new_user()
    await deliver(user, 3)
    client = await opened(user, since=3)
    assert (await client.frame())["type"] == "subscribed"
    await hearing()
    await client.send(type="authenticate", token=token(user), since=0)
    assert (await client.frame())["type"] == "authenticated"
    await deliver(user)
    await hint({user.pk: 4})
    assert await client.sequences(1) == [4]
    await client.leave()


async def test_a_new_token_of_another_person_closes_the_socket():
    client = await opened(await new_user())
    await client.send(type="authenticate", token=token(await new_user()))
    assert await client.closed() == Close.UNAUTHENTICATED


async def test_a_person_who_is_deactivated_is_noticed(settings):
    settings.WEBSOCKET_CATCH_UP_SECONDS = 0.1
    user = await new_user()
    client = await opened(user)
    user.is_active = False
    await user.asave()
    assert await client.closed() == Close.UNAUTHENTICATED
