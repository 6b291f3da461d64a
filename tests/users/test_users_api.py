"""PUT and GET /api/users/{external_id}/."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from apps.users.models import Scope, ServiceClient, User
from project import db
from tests.api_helpers import Api, fields, make_key, make_organization, make_service, problem

pytestmark = pytest.mark.django_db

ADA = {
    "name": "Ada Lovelace",
    "email": "ada@Example.com",
    "phone": "+49 30 123456",
    "timezone": "Europe/Berlin",
    "language": "de-at",
}
KEPT = ADA | {"email": "ada@example.com", "phone": "+4930123456", "language": "de-AT"}


def test_a_new_person(api: Api) -> None:
    response = api.put("/api/users/ada/", ADA)
    assert response.status_code == 201
    body = response.json()
    row = User.objects.get(organization_id=1, external_id="ada")
    assert {field: getattr(row, field) for field in KEPT} == KEPT
    assert row.is_active and not row.is_staff and not row.is_superuser and not row.has_usable_password()
    times = {"created_at": body.pop("created_at"), "updated_at": body.pop("updated_at")}
    assert body == {"id": row.pk, "external_id": "ada", **KEPT}
    assert all(time.endswith("Z") for time in times.values())
    assert datetime.fromisoformat(times["created_at"]) == row.created_at <= datetime.now(UTC)


def test_what_is_not_said_is_default(api: Api) -> None:
    body = api.put("/api/users/ada/", {}).json()
    assert {field: body[field] for field in ADA} == {
        "name": "",
        "email": "",
        "phone": "",
        "timezone": "UTC",
        "language": "en",
    }


def test_only_what_is_said_changes(api: Api) -> None:
    before = api.put("/api/users/ada/", ADA).json()
    db.rows("SELECT set_config('carillon.clock_offset', '1 minute', true)")
    response = api.put("/api/users/ada/", {"name": "Countess"})
    assert response.status_code == 200
    after = response.json()
    assert after == before | {"name": "Countess", "updated_at": after["updated_at"]}
    assert after["updated_at"] > before["updated_at"]


def test_the_same_again_changes_nothing(api: Api) -> None:
    before = api.put("/api/users/ada/", ADA).json()
    response = api.put("/api/users/ada/", ADA)
    assert (response.status_code, response.json()) == (200, before)


@pytest.mark.parametrize("empty", [None, ""])
def test_clearing(api: Api, empty: str | None) -> None:
    api.put("/api/users/ada/", ADA)
    body = api.put("/api/users/ada/", dict.fromkeys(ADA, empty)).json()
    assert [body[field] for field in ADA] == ["", "", "", "UTC", "en"]


def test_every_bad_field_is_named(api: Api) -> None:
    bad = {
        "name": "a\nb",
        "email": "ada",
        "phone": "030123456",
        "timezone": "Mars",
        "language": "deutsch!",
        "id": 5,
        "str": 1,
    }
    assert fields(api.put("/api/users/ada/", bad)) == {
        **dict.fromkeys(("name", "email", "phone", "timezone", "language"), "invalid"),
        "id": "unknown_field",
        "str": "unknown_field",
    }
    assert not User.objects.filter(external_id="ada").exists()


@pytest.mark.parametrize("field", sorted(ADA))
@pytest.mark.parametrize("value", [5, True, ["x"], {"x": "y"}])
def test_a_field_of_another_type(api: Api, field: str, value: object) -> None:
    assert fields(api.put("/api/users/ada/", {field: value})) == {field: "invalid"}


@pytest.mark.parametrize(
    ("field", "longest"), [("name", 200), ("email", 254), ("phone", 40), ("timezone", 64), ("language", 35)]
)
def test_a_field_that_is_too_long(api: Api, field: str, longest: int) -> None:
    assert fields(api.put("/api/users/ada/", {field: "a" * (longest + 1)})) == {field: "too_long"}


@pytest.mark.parametrize(
    "external_id",
    ["a/b", "https://idp.example/u/1", "a b", "ü€😀", "50%", "a?b#c", "a/", "x" * 200, "%2F", ".."],
)
def test_an_external_id_of_any_letters(api: Api, external_id: str) -> None:
    address = f"/api/users/{quote(external_id, safe='')}/"
    created = api.put(address, {"name": "A"})
    assert (created.status_code, created.json()["external_id"]) == (201, external_id)
    assert api.get(address).json() == created.json()


@pytest.mark.parametrize(
    ("external_id", "code"), [("a%00b", "invalid"), ("a%1Fb", "invalid"), ("x" * 201, "too_long")]
)
def test_an_external_id_that_cannot_be(api: Api, external_id: str, code: str) -> None:
    assert fields(api.put(f"/api/users/{external_id}/", {})) == {"external_id": code}
    problem(api.get(f"/api/users/{external_id}/"), 404, "not_found")


def test_unknown_person(api: Api) -> None:
    problem(api.get("/api/users/nobody/"), 404, "not_found")


def test_another_organizations_person(api: Api) -> None:
    stranger = Api(make_key(make_service(make_organization())))
    theirs = stranger.put("/api/users/ada/", ADA).json()
    problem(api.get("/api/users/ada/"), 404, "not_found")
    ours = api.put("/api/users/ada/", {"name": "Another Ada"})
    assert ours.status_code == 201 and ours.json()["id"] != theirs["id"]
    assert stranger.get("/api/users/ada/").json() == theirs


def test_the_scope_it_needs(service: ServiceClient) -> None:
    others = Api(make_key(service, [scope for scope in Scope.values if scope != Scope.USERS]))
    for response in (others.get("/api/users/a/"), others.put("/api/users/a/"), others.put("/api/users/")):
        assert "users:write" in problem(response, 403, "missing_scope")["detail"]


def test_statements(api: Api, django_assert_num_queries) -> None:
    with django_assert_num_queries(2):  # the key; the person
        api.put("/api/users/ada/", ADA)
    with django_assert_num_queries(2):
        api.get("/api/users/ada/")
    with django_assert_num_queries(1):  # refused before the person is looked at
        api.put("/api/users/ada/", {"email": "?"})
