"""Types over the API: written whole or in part, with every mistake told; each by whose they are."""

from __future__ import annotations

from typing import Any

import pytest

from apps.content.models import NotificationType
from apps.users.models import DEFAULT_ORGANIZATION_ID as OURS
from apps.users.models import Scope, ServiceClient
from tests.api_helpers import Api, fields, make_key, make_organization, problem
from tests.support.database import capture
from tests.support.templates import forget_seeds, template, type_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("unseeded")]
PATH = "/api/types/"
ONE = f"{PATH}orders/"
LEAST: dict[str, Any] = {"name": "Your orders", "category": "immediate"}
WHOLE: dict[str, Any] = {
    "name": "Your orders",
    "description": "What becomes of them",
    "category": "marketing",
    "channels": ["email", "sms"],
    "critical": False,
    "dedupe_window": 60,
    "cap_per_hour": 5,
    "cap_per_day": 1_000,
    "overflow": "fallback",
    "fallback": ["in_app", "email"],
}


@pytest.fixture
def unseeded(db: None) -> None:
    forget_seeds()


def ok(response: Any, status: int = 200) -> Any:
    assert response.status_code == status, response.content
    return response.json() if response.content else None


def test_a_type_is_created_with_what_is_usual(api: Api) -> None:
    made = ok(api.post(PATH, {"slug": "orders", **LEAST}), 201)
    assert made == {
        **LEAST,
        "slug": "orders",
        "system": False,
        "description": "",
        "channels": [],
        "critical": False,
        "dedupe_window": 86_400,
        "cap_per_hour": None,
        "cap_per_day": None,
        "overflow": "skip",
        "fallback": [],
        "created_at": made["created_at"],
    }
    assert ok(api.get(ONE)) == made and ok(api.get(PATH))["items"] == [made]
    problem(api.post(PATH, {"slug": "orders", **LEAST}), 409, "slug_taken")


def test_put_creates_it_and_replaces_it_whole(api: Api) -> None:
    made = ok(api.put(ONE, WHOLE), 201)
    assert {name: made[name] for name in WHOLE} == WHOLE
    again = ok(api.put(ONE, LEAST))
    assert (again["cap_per_hour"], again["fallback"], again["created_at"]) == (None, [], made["created_at"])
    assert NotificationType.objects.count() == 1
    problem(api.put(f"{PATH}{'x' * 101}/", LEAST), 404, "not_found")
    assert fields(api.put(ONE, LEAST | {"slug": "other"})) == {"slug": "unknown_field"}


def test_patch_changes_what_it_names(api: Api) -> None:
    ok(api.put(ONE, WHOLE), 201)
    changed = ok(api.send("PATCH", ONE, {"cap_per_hour": None, "name": "Orders"}))
    assert {name: changed[name] for name in WHOLE} == WHOLE | {"cap_per_hour": None, "name": "Orders"}
    assert fields(api.send("PATCH", ONE, {"fallback": []})) == {"fallback": "invalid"}  # overflow needs it
    assert fields(api.send("PATCH", ONE, {"slug": "x", "name": ""})) == {
        "slug": "unknown_field",
        "name": "invalid",
    }
    assert ok(api.get(ONE)) == changed


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"slug": "a b"}, {"slug": "invalid"}),
        ({"category": "spam"}, {"category": "invalid"}),
        ({"channels": ["fax", "email"]}, {"channels[0]": "invalid"}),
        ({"channels": ["email", "email"]}, {"channels": "invalid"}),
        ({"fallback": ["sms", "sms"]}, {"fallback": "invalid"}),
        ({"cap_per_hour": 0}, {"cap_per_hour": "invalid"}),
        ({"cap_per_day": 1_001}, {"cap_per_day": "invalid"}),
        ({"cap_per_day": True}, {"cap_per_day": "invalid"}),
        ({"dedupe_window": -1}, {"dedupe_window": "invalid"}),
        ({"dedupe_window": 2_592_001}, {"dedupe_window": "invalid"}),
        ({"overflow": "fallback"}, {"fallback": "invalid"}),
        ({"overflow": "digest", "critical": True}, {"overflow": "invalid"}),
        ({"critical": 1}, {"critical": "invalid"}),
        ({"critical": True, "category": "marketing"}, {"critical": "invalid"}),
        ({"name": "a\nb", "description": "x" * 501}, {"name": "invalid", "description": "too_long"}),
        ({"id": 1, "name": None}, {"id": "unknown_field", "name": "invalid"}),
    ],
)
def test_every_bad_field_is_named_and_nothing_written(api: Api, values: Any, wrong: Any) -> None:
    assert fields(api.post(PATH, {"slug": "orders", **LEAST, **values})) == wrong
    assert not NotificationType.objects.exists()


@pytest.mark.parametrize("values", [{"cap_per_hour": 1, "cap_per_day": 1_000, "dedupe_window": 0},
                                    {"dedupe_window": 2_592_000, "overflow": "digest"}])  # fmt: skip
def test_limits_are_within(api: Api, values: Any) -> None:
    ok(api.put(ONE, LEAST | values), 201)


def test_ours_takes_the_place_of_the_systems(api: Api) -> None:
    type_of("orders", organization_id=None, name="System's")
    assert ok(api.get(ONE))["system"]
    for method in ("PATCH", "DELETE"):
        problem(api.send(method, ONE, {}), 403, "permission_denied")
    ok(api.put(ONE, LEAST), 201)
    (item,) = ok(api.get(PATH))["items"]
    assert (item["system"], item["name"]) == (False, "Your orders")
    ok(api.send("DELETE", ONE), 204)
    assert ok(api.get(ONE))["name"] == "System's"


def test_another_organizations_is_not_there(api: Api) -> None:
    type_of("orders", organization_id=make_organization().pk)
    for method in ("GET", "PATCH", "DELETE"):
        problem(api.send(method, ONE, {} if method == "PATCH" else None), 404, "not_found")
    assert ok(api.get(PATH))["items"] == [] and NotificationType.objects.count() == 1


def test_a_type_stays_while_a_template_would_be_left_without(api: Api) -> None:
    type_of("orders")
    other = make_organization().pk
    template("theirs", {"email": {"body": "x"}}, type="orders", organization_id=other)
    used = template("shipped", {"email": {"body": "x"}}, type="orders").template
    assert "shipped" in problem(api.send("DELETE", ONE), 409, "type_in_use")["detail"]
    type_of("orders", organization_id=None)
    ok(api.send("DELETE", ONE), 204)  # the system's is still there for it
    NotificationType.objects.all().delete()
    type_of("orders")
    used.type = ""
    used.save()
    ok(api.send("DELETE", ONE), 204)


def test_each_needs_its_scope(service: ServiceClient) -> None:
    type_of("orders")
    reader, writer = Api(make_key(service, [Scope.READ])), Api(make_key(service, [Scope.TEMPLATES]))
    others = Api(make_key(service, set(Scope) - {Scope.READ, Scope.TEMPLATES}))
    for path in (PATH, ONE):
        ok(reader.get(path))
        ok(writer.get(path))
        problem(others.get(path), 403, "missing_scope")
    for method, path in (("POST", PATH), ("PUT", ONE), ("PATCH", ONE), ("DELETE", ONE)):
        problem(reader.send(method, path, {}), 403, "missing_scope")
    ok(writer.send("DELETE", ONE), 204)


def test_a_page_is_two_statements(api: Api) -> None:
    for number in range(30):
        type_of(f"t{number:02}", organization_id=(OURS, None)[number % 2])
    with capture() as statements:
        page = ok(api.get(PATH))
    assert [item["slug"] for item in page["items"]] == [f"t{number:02}" for number in range(20)]
    assert len(statements) == 2
