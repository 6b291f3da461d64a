"""Who may call."""

from __future__ import annotations

import logging

import pytest
from django.utils import timezone

from apps.users import authentication
from apps.users.authentication import find_key
from apps.users.models import ApiKey, Scope, ServiceClient, User
from apps.users.tokens import mint
from project import db
from tests.api_helpers import Api, make_key, make_service, problem

pytestmark = pytest.mark.django_db
ADDRESS = "/api/users/ada/"


def refused(response, code: str = "invalid_credentials") -> None:
    body = problem(response, 401, code)
    assert response["WWW-Authenticate"] == "Bearer"
    assert "ck_" not in str(body)


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Token abc", "ck_12345678_secret"]
)
def test_no_credentials(db, header: str | None) -> None:
    headers = {} if header is None else {"authorization": header}
    refused(Api(None).send("GET", ADDRESS, headers=headers), "not_authenticated")


@pytest.mark.parametrize(
    "credential",
    [
        "x",
        "ck_",
        "ck_12345678",
        "ck_12345678_" + "a" * 42,
        "ck_12345678_" + "a" * 44,
        "ck_1234567g_" + "a" * 43,
        "ck_12345678_" + "ü" * 43,
        "ck_12345678_" + "a" * 42 + "\x00",
        "a b",
        "x" * 7_000,
    ],
)
def test_what_is_no_key_does_not_reach_the_database(credential: str, django_assert_num_queries) -> None:
    with django_assert_num_queries(0):
        refused(Api(credential).get(ADDRESS))


def test_unknown_key(service: ServiceClient, django_assert_num_queries) -> None:
    key = make_key(service)
    with django_assert_num_queries(1):
        refused(Api("ck_00000000" + key[11:]).get(ADDRESS))
    refused(Api(key[:-1] + ("A" if key[-1] != "A" else "B")).get(ADDRESS))


def test_revoked_key(service: ServiceClient) -> None:
    key, other = make_key(service), make_key(service)
    ApiKey.objects.filter(prefix=key[:11]).update(revoked_at=timezone.now())
    refused(Api(key).get(ADDRESS))
    problem(Api(other).get(ADDRESS), 404, "not_found")


def test_deactivated_service(service: ServiceClient) -> None:
    key = make_key(service)
    ServiceClient.objects.update(is_active=False)
    refused(Api(key).get(ADDRESS))


def test_scheme_in_any_case(service: ServiceClient) -> None:
    key = make_key(service)
    for scheme in ("bearer", "BEARER", "Bearer "):
        response = Api(None).send("GET", ADDRESS, headers={"authorization": f"{scheme} {key}"})
        problem(response, 404, "not_found")


def test_a_persons_token_is_no_key_and_a_key_is_no_token(service: ServiceClient) -> None:
    token = mint(User.objects.create(external_id="ada"), 60)[0]
    refused(Api(token).get(ADDRESS))
    refused(Api(make_key(service)).get("/api/inbox/"))


def test_missing_scope(service: ServiceClient) -> None:
    key = Api(make_key(service, [Scope.SEND]))
    assert "users:write" in problem(key.put(ADDRESS, {}), 403, "missing_scope")["detail"]
    problem(Api(make_key(service, [])).put(ADDRESS, {}), 403, "missing_scope")


def test_a_method_there_is_not(api: Api) -> None:
    for method in ("DELETE", "PATCH", "POST", "TRACE", "PURGE"):
        response = api.send(method, ADDRESS)
        problem(response, 405, "method_not_allowed")
        assert response["Allow"] == "GET, PUT, HEAD, OPTIONS"
    refused(Api(None).send("DELETE", ADDRESS), "not_authenticated")


def test_head_is_a_get(api: Api) -> None:
    api.put(ADDRESS, {})
    response = api.send("HEAD", ADDRESS)
    assert (response.status_code, response.content) == (200, b"")


def test_only_a_hash_is_kept(service: ServiceClient) -> None:
    key, text = ApiKey.issue(service)
    stored = " ".join(str(value) for value in ApiKey.objects.values_list().get(pk=key.pk))
    assert text not in stored and text[12:] not in stored
    assert set(key.scopes) == set(Scope.values) - {Scope.KEEP_LANE}


def test_the_key_is_not_logged(service: ServiceClient, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    key = make_key(service)
    Api(key).get(ADDRESS)
    Api(key[:-1] + "x").get(ADDRESS)
    assert key[12:-1] not in caplog.text


def test_one_indexed_statement(django_assert_num_queries) -> None:
    service = make_service()
    texts = [make_key(service) for _ in range(200)]
    db.execute("ANALYZE users_apikey, users_serviceclient")
    with django_assert_num_queries(1):
        key = find_key(texts[7])
        assert key is not None and key.client.organization_id == 1
    plan = "\n".join(row[0] for row in db.rows("EXPLAIN " + authentication._FIND_KEY, [texts[7][:11]]))
    assert "Index Scan using users_apikey_prefix" in plan and "Seq Scan" not in plan
