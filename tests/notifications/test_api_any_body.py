"""Whatever the body is, it is accepted or its faults are named; alone and in bulk the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from apps.notifications.models import Notification
from apps.notifications.schemas import NotificationInput
from tests.api_helpers import Api
from tests.notifications.api_support import BULK, SEND, template
from tests.support import rows

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rung")]

# Lone surrogates are no text, and U+0000 is named by the parser, before any row of a bulk is looked at.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
PERSON = st.fixed_dictionaries(
    {},
    optional={"external_id": TEXTS | st.just("ada"), "email": TEXTS | st.just("a@example.com"), "x": SCALARS},
)
TIMES = (
    st.datetimes().map(lambda time: time.isoformat() + "Z") | st.just("9999-12-31T23:59:59-23:59") | SCALARS
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "title": TEXTS | ANYTHING,
        "body": TEXTS | ANYTHING,
        "template": st.sampled_from(["news", "none", None]) | ANYTHING,
        "payload": st.dictionaries(st.sampled_from(["edition", "x"]), ANYTHING) | ANYTHING,
        "targets": st.lists(st.just("ada") | PERSON | ANYTHING, max_size=4) | ANYTHING,
        "channels": st.lists(st.sampled_from(["email", "sms", "fax"]) | SCALARS) | st.just("all") | ANYTHING,
        "priority": st.sampled_from(["low", "bulk"]) | ANYTHING,
        "scheduled_at": TIMES,
        "expires_at": TIMES,
        "max_attempts": st.integers(-1, 300) | ANYTHING,
        "related_object": st.fixed_dictionaries({"type": TEXTS, "id": TEXTS}) | ANYTHING,
        "metadata": st.dictionaries(TEXTS, ANYTHING) | ANYTHING,
        "": ANYTHING,
        "Targets": ANYTHING,
    },
)


def unlike(body: dict[str, Any]) -> dict[str, Any]:
    """What is not of this one notification alone, nor told only when it is sent."""
    own = ("id", "created_at", "targets", "sms")
    return {name: value for name, value in body.items() if name not in own}


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example({"title": "x", "targets": ["ada"], "metadata": {"n": [1e300, -(10**400)]}})
@example({"title": "x", "targets": ["ada"], "metadata": {"n": 5e-324}})
@given(BODIES | ANYTHING)
def test_any_body(api: Api, body: object) -> None:
    if not Notification.objects.exists():
        rows.people(external_id="ada")
        template("news", email=["edition"])
        rows.notification()
    alone = api.post(SEND, json.dumps(body).encode())
    bulk = api.post(BULK, json.dumps({"notifications": [body]}).encode())
    if alone.status_code == 400 and alone.json()["code"] == "not_json":
        assert bulk.json()["code"] == "not_json"  # a number beyond any float
        return
    assert bulk.status_code == 202, bulk.content
    (result,) = bulk.json()["results"]
    if alone.status_code == 202:
        assert unlike(result["notification"]) == unlike(alone.json())
        read = api.get(f"{SEND}{alone.json()['id']}/").json()
        assert unlike(read) == unlike(alone.json()) | {"summary": read["summary"], "cancelled_at": None}
        return
    assert alone.status_code == 400, alone.content
    errors = alone.json()["errors"]
    assert errors == result["errors"]
    named = [(error["field"], error["code"]) for error in errors]
    assert named and len(named) == len(set(named))
    if isinstance(body, dict):
        unknown = {error["field"] for error in errors if error["code"] == "unknown_field"}
        assert {name for name in body.keys() - NotificationInput.model_fields.keys() if name} <= unknown
