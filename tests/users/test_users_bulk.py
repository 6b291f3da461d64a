"""PUT /api/users/: many at once."""

from __future__ import annotations

import pytest

from apps.users.models import User
from tests.api_helpers import Api, fields, problem

pytestmark = pytest.mark.django_db


def test_a_result_for_each_in_order(api: Api) -> None:
    api.put("/api/users/b/", {"name": "Old", "email": "b@example.com"})
    response = api.put(
        "/api/users/", {"users": [{"external_id": "z", "name": "Z"}, {"external_id": "b", "name": "B"}]}
    )
    assert response.status_code == 200
    results = response.json()["results"]
    assert [(row["index"], row["status"]) for row in results] == [(0, "ok"), (1, "ok")]
    assert [row["user"]["external_id"] for row in results] == ["z", "b"]
    assert results[1]["user"] == api.get("/api/users/b/").json()
    assert results[1]["user"]["email"] == "b@example.com"


def test_a_bad_row_fails_alone(api: Api) -> None:
    rows = [
        {"external_id": "a"},
        {"external_id": "b", "email": "?", "nickname": "B"},
        {"name": "nobody"},
        "c",
        {"external_id": ""},
        {"external_id": "d"},
    ]
    results = api.put("/api/users/", {"users": rows}).json()["results"]
    assert [row["status"] for row in results] == ["ok", "error", "error", "error", "error", "ok"]
    found = [{error["field"]: error["code"] for error in row.get("errors", [])} for row in results]
    assert found == [
        {},
        {"email": "invalid", "nickname": "unknown_field"},
        {"external_id": "required"},
        {"(body)": "invalid"},
        {"external_id": "invalid"},
        {},
    ]
    assert set(User.objects.values_list("external_id", flat=True)) == {"a", "d"}


def test_the_same_person_twice_is_merged_and_the_last_wins(api: Api) -> None:
    rows = [
        {"external_id": "a", "name": "First", "email": "a@example.com"},
        {"external_id": "a", "name": "Last", "phone": "+4930123456"},
    ]
    first, last = (row["user"] for row in api.put("/api/users/", {"users": rows}).json()["results"])
    assert first == last
    assert (last["name"], last["email"], last["phone"]) == ("Last", "a@example.com", "+4930123456")


def test_all_bad(api: Api) -> None:
    response = api.put("/api/users/", {"users": [{}]})
    assert response.status_code == 200
    assert response.json()["results"][0]["status"] == "error"


def test_how_many(api: Api) -> None:
    thousand = [{"external_id": f"u{number}"} for number in range(1_000)]
    response = api.put("/api/users/", {"users": thousand})
    assert {row["status"] for row in response.json()["results"]} == {"ok"}
    assert User.objects.count() == 1_000
    assert fields(api.put("/api/users/", {"users": [*thousand, {}]})) == {"users": "too_many"}
    assert fields(api.put("/api/users/", {"users": []})) == {"users": "too_few"}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({}, {"users": "required"}),
        ({"users": {"external_id": "a"}}, {"users": "invalid"}),
        ({"users": [{"external_id": "a"}], "dry_run": True}, {"dry_run": "unknown_field"}),
    ],
)
def test_a_bad_body(api: Api, body: object, found: dict[str, str]) -> None:
    assert fields(api.put("/api/users/", body)) == found


def test_larger_bodies_than_elsewhere(api: Api, settings) -> None:
    settings.MAX_BODY_BYTES = 1_000
    rows = [{"external_id": f"u{number}", "name": "x" * 100} for number in range(50)]
    assert api.put("/api/users/", {"users": rows}).status_code == 200
    problem(api.put("/api/users/u1/", {"name": "x" * 1_000}), 413, "body_too_large")


def test_statements(api: Api, django_assert_num_queries) -> None:
    rows = [{"external_id": f"u{number}"} for number in range(100)]
    with django_assert_num_queries(2):  # the key; all the people
        api.put("/api/users/", {"users": rows})
    with django_assert_num_queries(1):
        api.put("/api/users/", {"users": [{}]})
