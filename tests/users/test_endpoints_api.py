"""/api/endpoints/: where webhooks and chat messages go, and the secrets that are shown once."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from apps.users import places, tokens
from apps.users.models import Endpoint, Scope, ServiceClient, User
from apps.users.places import MAX_ENDPOINTS
from project import ids, sealing
from tests.api_helpers import Api, fields, make_key, make_organization, problem
from tests.support import rows
from tests.support.database import capture
from tests.support.places import endpoint

pytestmark = pytest.mark.django_db
ENDPOINTS = "/api/endpoints/"
URL = "https://ada.example.com/hooks/9f8a7c"
ADDRESSES = {
    "webhook": URL,
    "slack": "C024BE91L",
    "slack_webhook": "https://hooks.slack.com/services/T0/B0/xyz",
    "teams": "https://prod-1.westeurope.logic.azure.com:443/workflows/abc?sig=x",
    "apprise": "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
}


@pytest.fixture
def ada(service: ServiceClient) -> User:
    return rows.people(external_id="ada")[0]


def add(api: Api, status: int = 201, **given: Any) -> dict[str, Any]:
    response = api.post(ENDPOINTS, {"user": "ada", "kind": "webhook", "address": URL} | given)
    assert response.status_code == status, response.content
    assert response["Cache-Control"] == "no-store"
    body: dict[str, Any] = response.json()
    return body


@pytest.mark.parametrize("kind", ADDRESSES)
def test_every_kind_is_sealed_and_leads_where_it_should(api: Api, ada: User, kind: str) -> None:
    body = add(api, kind=kind, address=ADDRESSES[kind])
    row = Endpoint.objects.get()
    assert (row.user_id, row.organization_id, row.kind, str(row.pk)) == (ada.pk, 1, kind, body["id"])
    assert ADDRESSES[kind] not in row.address and sealing.unseal(row.address) == ADDRESSES[kind]
    address = f"{kind}:{body['id']}"
    assert places.places([ada.pk], places.CHANNELS) == {(ada.pk, places.ENDPOINT_KINDS[kind]): [address]}
    assert places.destinations([address])[address].address == ADDRESSES[kind]
    assert (body["secret"] is not None) == (kind == "webhook")


def test_the_secret_of_a_webhook_is_shown_once(api: Api, ada: User) -> None:
    body = add(api)
    assert body["secret"].startswith("whsec_") and len(base64.b64decode(body["secret"][6:])) == 32
    assert body["secret"] not in Endpoint.objects.get().secrets
    address = f"webhook:{body['id']}"
    assert places.destinations([address])[address].secrets == (body["secret"],)
    assert add(api, 200) == body | {"secret": None}
    assert "secret" not in api.get(f"{ENDPOINTS}?external_id=ada").json()["items"][0]


def test_what_comes_back_after_it_was_deactivated_is_new(api: Api, ada: User) -> None:
    first = add(api)
    places.deactivate([f"webhook:{first['id']}"], "gone")
    second = add(api)
    assert second["id"] != first["id"] and second["secret"] not in (None, first["secret"])
    row = Endpoint.objects.get()
    assert (row.is_active, row.deactivated_at, row.deactivated_reason) == (True, None, "")


def test_the_same_address_for_two_people_and_by_two_kinds(api: Api, ada: User) -> None:
    rows.people(external_id="ben")
    add(api)
    add(api, user="ben")
    add(api, kind="teams")
    assert Endpoint.objects.count() == 3


def test_who_has_twenty_must_remove_one(api: Api, ada: User) -> None:
    add(api)
    for _ in range(MAX_ENDPOINTS - 1):
        endpoint(ada)
    response = api.post(ENDPOINTS, {"user": "ada", "kind": "slack", "address": "C024BE91L"})
    assert "20" in problem(response, 409, "too_many_endpoints")["detail"]
    add(api, 200)


BAD_URLS = [
    *("", "x", "http://example.com/", "ftp://example.com/", "https://", "https:///x", "https:example.com"),
    *("https://user@example.com/", "https://u:p@example.com/", "https://example.com/#x", "https://[::1/"),
    *(
        "https://example.com:x/",
        "https://example.com:99999/",
        "https://exam ple.com/",
        " https://example.com",
    ),
    *("https://example.com/\n", "https://exämple.com/", "https://example.com\\@evil.example/", "https://@/"),
]


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        *(("webhook", url) for url in BAD_URLS),
        *((kind, "http://example.com/") for kind in ("slack_webhook", "teams")),
        *(("slack", address) for address in ("", "general", "#general", "c024be91l", "X024BE91L", URL)),
        *(
            ("apprise", address)
            for address in ("", "x", "discord:/x", "://x", "a b://x", "discord://", "x://ü")
        ),
    ],
)
def test_what_is_no_address(api: Api, ada: User, kind: str, address: str) -> None:
    response = api.post(ENDPOINTS, {"user": "ada", "kind": kind, "address": address})
    assert fields(response) == {"address": "invalid"}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({}, {"user": "required", "kind": "required", "address": "required"}),
        ({"user": 0, "kind": "fax", "address": "?"}, {"user": "invalid", "kind": "invalid"}),
        ({"user": "ada", "kind": "fcm", "address": URL}, {"kind": "invalid"}),
        ({"user": "ada", "kind": "webhook", "address": URL + "x" * 2048}, {"address": "too_long"}),
        ({"user": "nobody", "kind": "webhook", "address": URL}, {"user": "unknown_user"}),
        ({"user": "gone", "kind": "webhook", "address": URL}, {"user": "inactive_user"}),
        ({"user": "ada", "kind": "webhook", "address": URL, "secret": "x"}, {"secret": "unknown_field"}),
    ],
)
def test_every_bad_field_is_named(api: Api, ada: User, body: dict[str, Any], found: dict[str, str]) -> None:
    rows.people(external_id="gone", is_active=False)
    assert fields(api.post(ENDPOINTS, body)) == found
    assert not Endpoint.objects.exists()


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("webhook", "https://ada.example.com/…"),
        ("slack", "C024…"),
        ("slack_webhook", "https://hooks.slack.com/…"),
        ("teams", "https://prod-1.westeurope.logic.azure.com:443/…"),
        ("apprise", "discord://…"),
    ],
)
def test_of_an_address_only_the_beginning_is_shown(api: Api, ada: User, kind: str, seen: str) -> None:
    body = add(api, kind=kind, address=ADDRESSES[kind])
    (one,) = api.get(f"{ENDPOINTS}?user={ada.pk}").json()["items"]
    assert one["address"] == body["address"] == seen
    assert one == {name: value for name, value in body.items() if name != "secret"}


def test_what_cannot_be_opened_can_still_be_listed_and_removed(api: Api, ada: User, settings: Any) -> None:
    settings.ENCRYPTION_KEYS = ["4oEQkWQgwoqG0GjqXzsrYwKQdPbMk9GFIoI8gDbkq0s="]
    made = add(api)
    settings.ENCRYPTION_KEYS = []
    (one,) = api.get(f"{ENDPOINTS}?user={ada.pk}").json()["items"]
    assert (one["id"], one["address"]) == (made["id"], "…")
    assert api.send("DELETE", f"{ENDPOINTS}{made['id']}/").status_code == 204


def test_listed_newest_first_page_by_page_with_what_was_deactivated(api: Api, ada: User) -> None:
    made = [endpoint(ada) for _ in range(3)]
    places.deactivate([str(made[0])], "gone")
    page = api.get(f"{ENDPOINTS}?user={ada.pk}&page_size=2").json()
    rest = api.get(f"{ENDPOINTS}?user={ada.pk}&after={page['page_info']['after']}").json()
    found = page["items"] + rest["items"]
    assert [one["id"] for one in found] == [str(one.pk) for one in made[::-1]]
    assert [(one["is_active"], one["deactivated_reason"]) for one in found] == [
        *[(True, None)] * 2,
        (False, "gone"),
    ]
    assert fields(api.get(ENDPOINTS)) == {"user": "required"}


def test_rotated_both_sign(api: Api, ada: User) -> None:
    made = add(api)
    response = api.post(f"{ENDPOINTS}{made['id']}/rotate/")
    assert (response.status_code, response["Cache-Control"]) == (200, "no-store")
    secret = response.json()["secret"]
    assert secret.startswith("whsec_") and secret != made["secret"]
    address = f"webhook:{made['id']}"
    assert places.destinations([address])[address].secrets == (secret, made["secret"])


def test_only_a_webhook_of_ones_own_is_rotated_or_removed(api: Api, ada: User) -> None:
    (eve,) = rows.people(organization=make_organization())
    chat, theirs = endpoint(ada, "slack"), endpoint(eve)
    for id in (chat.pk, theirs.pk, ids.uuid7()):
        problem(api.post(f"{ENDPOINTS}{id}/rotate/"), 404, "not_found")
    for id in (theirs.pk, ids.uuid7()):
        problem(api.send("DELETE", f"{ENDPOINTS}{id}/"), 404, "not_found")
    assert fields(api.post(f"{ENDPOINTS}{chat.pk}/rotate/", {"secret": "x"})) == {"secret": "unknown_field"}
    assert Endpoint.objects.count() == 2


def test_forgotten(api: Api, ada: User) -> None:
    made = add(api)
    response = api.send("DELETE", f"{ENDPOINTS}{made['id']}/")
    assert (response.status_code, response.content, Endpoint.objects.count()) == (204, b"", 0)
    assert add(api)["secret"] != made["secret"]


def test_the_scope_it_needs_and_no_person(service: ServiceClient, ada: User) -> None:
    others = Api(make_key(service, [scope for scope in Scope.values if scope != Scope.USERS]))
    person = Api(tokens.mint(ada, 60)[0])
    one = f"{ENDPOINTS}{endpoint(ada).pk}/"
    calls = (("GET", ENDPOINTS), ("POST", ENDPOINTS), ("DELETE", one), ("POST", f"{one}rotate/"))
    for method, path in calls:
        assert "users:write" in problem(others.send(method, path), 403, "missing_scope")["detail"]
        problem(person.send(method, path), 401, "invalid_credentials")
        problem(Api(None).send(method, path), 401, "not_authenticated")


def test_statements(api: Api, ada: User) -> None:
    with capture() as statements:
        made = add(api)
    assert len(statements) == 4  # the key, the person, their row's lock, the endpoint
    with capture() as statements:
        api.post(f"{ENDPOINTS}{made['id']}/rotate/")
    assert len(statements) == 4  # the key, the endpoint, the time, the secrets
