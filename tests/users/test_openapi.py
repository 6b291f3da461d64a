"""The published description says what these endpoints take and answer."""

from __future__ import annotations

from typing import Any

import pytest
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.settings import patched_settings
from drf_spectacular.validation import validate_schema

from apps.users import urls
from apps.users.models import User
from apps.users.people import Person
from apps.users.schemas import UserOutput

OURS = {("/users/", "put"), ("/users/{external_id}/", "get"), ("/users/{external_id}/", "put")}
OURS |= {("/tokens/", "post")}
OURS |= {("/devices/", "get"), ("/devices/", "post"), ("/devices/{id}/", "delete")}
OURS |= {("/endpoints/", "get"), ("/endpoints/", "post"), ("/endpoints/{id}/", "delete")}
OURS |= {("/endpoints/{id}/rotate/", "post")}
WITHOUT_BODY = {"/endpoints/{id}/rotate/"}


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    with patched_settings({"OAS_VERSION": "3.1.0"}):
        found: dict[str, Any] = SchemaGenerator(patterns=urls.urlpatterns).get_schema(public=True)
        validate_schema(found)
    return found


def test_every_endpoint_and_no_other(described: dict[str, Any]) -> None:
    assert {(path, method) for path, methods in described["paths"].items() for method in methods} == OURS


@pytest.mark.parametrize(("path", "method"), sorted(OURS))
def test_an_endpoint_in_full(described: dict[str, Any], path: str, method: str) -> None:
    operation = described["paths"][path][method]
    people_too = [{"UserToken": []}] if path.startswith("/devices/") else []
    assert operation["security"] == [{"ApiKey": []}, *people_too]
    assert "scope" in operation["description"] and operation["operationId"] and operation["tags"]
    without_body = method in ("get", "delete") or path in WITHOUT_BODY
    assert without_body == ("requestBody" not in operation)
    for status, response in operation["responses"].items():
        if status == "204":
            assert "content" not in response
            continue
        kind = "application/json" if status.startswith("2") else "application/problem+json"
        assert "$ref" in response["content"][kind]["schema"], (status, response)
    assert {"400", "401", "403", "503"} <= set(operation["responses"])


def test_left_out_is_not_null(described: dict[str, Any]) -> None:
    body = described["paths"]["/users/{external_id}/"]["put"]["requestBody"]["content"]["application/json"]
    schema = described["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]
    assert schema["additionalProperties"] is False and "required" not in schema
    assert not [name for name, field in schema["properties"].items() if "default" in field]


def test_callers(described: dict[str, Any]) -> None:
    scheme = described["components"]["securitySchemes"]["ApiKey"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")


def test_a_person_is_answered_as_described() -> None:
    person = Person(*[None] * len(Person._fields))  # type: ignore[arg-type]
    assert set(person.as_json()) == set(UserOutput.model_fields)
    assert set(UserOutput.model_fields) <= {field.name for field in User._meta.get_fields()}
