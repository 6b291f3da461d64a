"""What the tests of the notifications API share."""

from __future__ import annotations

import json
from typing import Any

from django.apps import apps

from apps.notifications.models import NotificationTarget
from apps.users.models import User
from tests.api_helpers import Api
from tests.support import templates

SEND = "/api/notifications/"
BULK = "/api/notifications/bulk/"


def send(api: Api, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    """POST a notification with some words, and these fields."""
    words = {} if fields.keys() & {"title", "body", "template"} else {"title": "Title", "body": "Body"}
    # Not by orjson: it cannot write what a hostile caller can.
    return api.send("POST", SEND, json.dumps(words | fields).encode(), headers=headers)


def accepted(response: Any) -> dict[str, Any]:
    """The body of a 202."""
    assert response.status_code == 202, response.content
    body: dict[str, Any] = response.json()
    return body


def everything() -> dict[str, Any]:
    """How many rows each table has, and all that is known of people."""
    counts = {model.__name__: model._default_manager.count() for model in apps.get_models()}
    return counts | {"people": list(User.objects.order_by("id").values())}


def targets_of(body: dict[str, Any]) -> list[tuple[int, str, str, str | None]]:
    """Person, channel, status and reason of each planned target, as answered."""
    return [(t["user"], t["channel"], t["status"], t["reason"]) for t in body["targets"]]


def lanes() -> set[str]:
    """The lanes of all targets there are."""
    return set(NotificationTarget.objects.values_list("lane", flat=True))


def template(name: str = "order-shipped", **channels: list[str]) -> None:
    """A template with content for these channels, which together need these variables."""
    needs = sorted({variable for variables in channels.values() for variable in variables})
    body = "Hello {{ recipient.name }}"
    parts = {channel: {"subject": f"About {channel}", "body": body} for channel in channels}
    templates.template(name, parts, needs=needs)
