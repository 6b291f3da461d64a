"""POST /api/tokens/ and the tokens themselves."""

from __future__ import annotations

import base64
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from apps.users import tokens
from apps.users.models import Scope, ServiceClient, User
from tests.api_helpers import Api, fields, make_key, make_organization, problem

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(api: Api) -> dict[str, Any]:
    return api.put("/api/users/ada/", {"name": "Ada"}).json()


@pytest.mark.parametrize("by", ["id", "external_id"])
def test_mint(api: Api, ada: dict[str, Any], by: str) -> None:
    response = api.post("/api/tokens/", {"user": ada[by], "expires_in": 60})
    assert (response.status_code, response["Cache-Control"]) == (201, "no-store")
    body = response.json()
    assert body["user"] == ada
    left = datetime.fromisoformat(body["expires_at"]) - datetime.now(UTC)
    assert timedelta(seconds=55) < left <= timedelta(seconds=60)
    found = tokens.user_of(body["token"])
    assert found is not None and found.pk == ada["id"]


def test_longest_by_default(api: Api, ada: dict[str, Any], settings) -> None:
    body = api.post("/api/tokens/", {"user": "ada"}).json()
    left = datetime.fromisoformat(body["expires_at"]) - datetime.now(UTC)
    assert 0 <= settings.USER_TOKEN_SECONDS - left.total_seconds() < 5


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({}, {"user": "required"}),
        ({"user": "nobody"}, {"user": "unknown_user"}),
        ({"user": 2**62}, {"user": "unknown_user"}),
        ({"user": 2**63}, {"user": "invalid"}),
        ({"user": 0}, {"user": "invalid"}),
        ({"user": True}, {"user": "invalid"}),
        ({"user": 1.0}, {"user": "invalid"}),
        ({"user": None}, {"user": "invalid"}),
        ({"user": ""}, {"user": "invalid"}),
        ({"user": "ada", "expires_in": 0}, {"expires_in": "invalid"}),
        ({"user": "ada", "expires_in": 3601}, {"expires_in": "invalid"}),
        ({"user": "ada", "expires_in": "60"}, {"expires_in": "invalid"}),
        ({"user": "ada", "expires_in": True}, {"expires_in": "invalid"}),
        ({"user": "ada", "expires_at": "soon"}, {"expires_at": "unknown_field"}),
    ],
)
def test_refused(api: Api, ada: dict[str, Any], body: object, found: dict[str, str]) -> None:
    assert fields(api.post("/api/tokens/", body)) == found


def test_a_deactivated_person(api: Api, ada: dict[str, Any]) -> None:
    token = api.post("/api/tokens/", {"user": "ada"}).json()["token"]
    User.objects.update(is_active=False)
    assert fields(api.post("/api/tokens/", {"user": "ada"})) == {"user": "inactive_user"}
    assert tokens.user_of(token) is None
    problem(Api(token).get("/api/inbox/"), 401, "invalid_credentials")


def test_another_organizations_person(api: Api) -> None:
    stranger = User.objects.create(organization=make_organization(), external_id="bob")
    for user in (stranger.pk, "bob"):
        assert fields(api.post("/api/tokens/", {"user": user})) == {"user": "unknown_user"}


def test_the_scope_it_needs(service: ServiceClient) -> None:
    others = Api(make_key(service, [scope for scope in Scope.values if scope != Scope.TOKENS]))
    problem(others.post("/api/tokens/", {"user": "ada"}), 403, "missing_scope")


def test_statements(api: Api, ada: dict[str, Any], django_assert_num_queries) -> None:
    with django_assert_num_queries(2):  # the key; the person
        api.post("/api/tokens/", {"user": "ada"})


def test_nothing_of_it_is_logged(api: Api, ada: dict[str, Any], caplog) -> None:
    caplog.set_level(logging.DEBUG)
    token = api.post("/api/tokens/", {"user": "ada"}).json()["token"]
    api.post("/api/tokens/", {"user": "nobody"})
    assert token not in caplog.text


# --- The tokens ------------------------------------------------------------------------------------------


def forged(*, key: bytes | None = None, algorithm: str = "HS256", **changes: Any) -> str:
    """A token of user 1 with these changes; None takes a claim away."""
    claims = {"sub": "1", "aud": "carillon", "exp": datetime.now(UTC) + timedelta(minutes=1)} | changes
    kept = {name: value for name, value in claims.items() if value is not None}
    secret = None if algorithm == "none" else key or tokens._key()
    return jwt.encode(kept, secret, algorithm=algorithm)


def test_the_forgery_would_pass_unchanged() -> None:
    assert tokens.claims_of(forged()) is not None


@pytest.mark.parametrize(
    "text",
    [
        lambda: forged(exp=datetime.now(UTC) - timedelta(seconds=1)),
        lambda: forged(exp=None),
        lambda: forged(sub=None),
        lambda: forged(sub="ada"),
        lambda: forged(sub="-1"),
        lambda: forged(aud="another"),
        lambda: forged(aud=None),
        lambda: forged(key=b"k" * 32),
        lambda: forged(algorithm="none"),
        lambda: forged(algorithm="HS384"),
        lambda: forged()[:-2],
        lambda: forged().rsplit(".", 1)[0] + ".",
        lambda: "",
        lambda: "a.b.c",
        lambda: "\udc80.ü.x",
        lambda: forged(padding="x" * 1_000),
        lambda: base64.urlsafe_b64encode(b"[" * 300).decode() + ".e30.x",
        lambda: base64.urlsafe_b64encode(b"[" * 100_000).decode() + ".e30.x",
    ],
    ids=range(18),
)
def test_no_token(text) -> None:
    assert tokens.claims_of(text()) is None
    assert tokens.user_of(text()) is None


def test_a_key_of_the_sites_other_signatures_is_not_ours(settings) -> None:
    assert tokens.claims_of(forged(key=settings.SECRET_KEY.encode())) is None
