"""/api/devices/web-push-key/: what browsers subscribe with, for people and for services."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from apps.delivery import providers
from apps.delivery.models import Provider
from apps.integrations.webpush.encryption import point
from apps.integrations.webpush.vapid import decoded, encoded
from apps.users import tokens
from apps.users.models import Scope, ServiceClient, User
from project import sealing
from tests.api_helpers import Api, make_key, problem
from tests.support import rows
from tests.support.database import capture

pytestmark = pytest.mark.django_db
PATH = "/api/devices/web-push-key/"
ONE, OTHER = encoded(bytes(range(1, 33))), encoded(bytes(range(2, 34)))


def public(private: str) -> str:
    key = ec.derive_private_key(int.from_bytes(decoded(private), "big"), ec.SECP256R1())
    return encoded(point(key.public_key()))


def provider(name: str = "webpush", key: str = ONE, **fields: Any) -> None:
    usual = {
        "adapter": "webpush",
        "channel": "push",
        "options": {"subject": "mailto:push@carillon.example"},
        "credentials": {"private_key": sealing.seal(key)},
    }
    Provider.objects.create(name=name, **usual | fields)
    providers.forget()


@pytest.fixture
def ada(service: ServiceClient) -> Api:
    return Api(tokens.mint(rows.people()[0], 60)[0])


def test_people_and_services_are_told_the_public_key(api: Api, ada: Api) -> None:
    provider()
    for caller in (ada, api):
        response = caller.get(PATH)
        assert (response.status_code, response.json()) == (200, {"public_key": public(ONE)})
    assert len(decoded(public(ONE))) == 65


def test_of_several_providers_it_is_that_of_the_first_by_name(ada: Api) -> None:
    Provider.objects.create(name="apple", adapter="apns", channel="push")  # has no such key
    provider("second", OTHER)
    provider("first")
    assert ada.get(PATH).json() == {"public_key": public(ONE)}
    Provider.objects.filter(name="first").update(is_active=False)
    providers.forget()
    assert ada.get(PATH).json() == {"public_key": public(OTHER)}


def test_without_a_provider_of_web_push_there_is_none(ada: Api) -> None:
    problem(ada.get(PATH), 404, "no_web_push")
    Provider.objects.create(name="apple", adapter="apns", channel="push")
    provider(is_active=False)
    problem(ada.get(PATH), 404, "no_web_push")


@pytest.mark.parametrize(
    "credentials", [{}, {"private_key": "env:NO_SUCH_VARIABLE"}, {"private_key": "sealed otherwise"}]
)
def test_a_provider_whose_key_cannot_be_had_is_passed_over(
    ada: Api, credentials: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    provider("a", credentials=credentials)
    problem(ada.get(PATH), 404, "no_web_push")
    assert "public key not told" in caplog.text
    provider("b")
    assert ada.get(PATH).json() == {"public_key": public(ONE)}


def test_a_key_that_is_none_is_not_logged(ada: Api, caplog: pytest.LogCaptureFixture) -> None:
    provider(key="not-a-key-but-secret")
    body = problem(ada.get(PATH), 404, "no_web_push")
    assert "secret" not in str(body) and "public key not told" in caplog.text
    assert not [record for record in caplog.records if "not-a-key" in str(vars(record))]


def test_who_may_ask_and_how(service: ServiceClient, ada: Api) -> None:
    provider()
    others = Api(make_key(service, [scope for scope in Scope.values if scope != Scope.USERS]))
    assert "users:write" in problem(others.get(PATH), 403, "missing_scope")["detail"]
    problem(Api(None).get(PATH), 401, "not_authenticated")
    problem(Api("nonsense").get(PATH), 401, "invalid_credentials")
    problem(ada.post(PATH, {}), 405, "method_not_allowed")
    User.objects.update(is_active=False)
    problem(ada.get(PATH), 401, "invalid_credentials")


def test_it_costs_two_statements_and_then_one(ada: Api) -> None:
    provider()
    for statements in (2, 1):  # who asks; the providers, once a second
        with capture() as seen:
            ada.get(PATH)
        assert len(seen) == statements
