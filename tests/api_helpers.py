"""How tests call the API: over Django's whole stack, with a key of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from django.test import Client

from apps.users.models import DEFAULT_ORGANIZATION_ID, ApiKey, Organization, Scope, ServiceClient

JSON = "application/json"


def make_organization(name: str = "Other") -> Organization:
    return Organization.objects.create(name=name)


def make_service(organization: Organization | None = None, **fields: Any) -> ServiceClient:
    """A service; of the default organization, which a flushed database has lost, unless another is given."""
    if organization is None:
        organization, _ = Organization.objects.get_or_create(id=DEFAULT_ORGANIZATION_ID)
    return ServiceClient.objects.create(name="shop", organization=organization, **fields)


def make_key(service: ServiceClient | None = None, scopes: Iterable[str] = Scope.values) -> str:
    return ApiKey.issue(service or make_service(), list(scopes))[1]


class Api:
    """A caller with this credential; without one if it is None."""

    def __init__(self, credential: str | None) -> None:
        self._client = Client(raise_request_exception=False)
        self._headers = {"authorization": f"Bearer {credential}"} if credential else {}

    def get(self, path: str, **headers: str) -> Any:
        return self.send("GET", path, headers=headers)

    def put(self, path: str, body: object = None, **headers: str) -> Any:
        return self.send("PUT", path, body, headers=headers)

    def post(self, path: str, body: object = None, **headers: str) -> Any:
        return self.send("POST", path, body, headers=headers)

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """`body` as it is if it is bytes, else as JSON."""
        data = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        sent = self._headers | {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        return self._client.generic(method, path, data, content_type=content_type, headers=sent)


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """The response's body, which must be this problem in full."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = orjson.loads(response.content)
    assert (body["type"], body["status"], body["code"]) == ("about:blank", status, code)
    assert body["title"] and body["detail"]
    return body


def fields(response: Any, status: int = 400, code: str = "invalid_request") -> dict[str, str]:
    """The bad fields of this problem and the code of each."""
    return {error["field"]: error["code"] for error in problem(response, status, code)["errors"]}
