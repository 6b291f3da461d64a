"""POST /api/notifications/preview/: what delivery would render, nothing written; and the size of an SMS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from apps.content import catalog
from apps.content.models import NotificationTemplate, TemplateVersion
from apps.content.segments import measure
from apps.delivery import providers
from apps.notifications import contents
from apps.notifications.models import Notification
from apps.users.models import DEFAULT_ORGANIZATION_ID, Scope, User
from tests.api_helpers import Api, fields, make_key, make_organization, make_service, problem
from tests.notifications.api_support import BULK, SEND, accepted, everything, send
from tests.notifications.test_api_any_body import ANYTHING, BODIES
from tests.notifications.test_openapi import check, described  # noqa: F401 (a fixture)
from tests.support import rows
from tests.support.database import capture
from tests.support.templates import version

pytestmark = [pytest.mark.django_db]
PREVIEW = "/api/notifications/preview/"
HELLO = "Hello {{ recipient.name }}, {{ recipient.email }} {{ recipient.phone }} {{ recipient.language }}"


@pytest.fixture(autouse=True)
def nothing_comes_of_it(rung: list[str]) -> Iterator[None]:
    yield
    assert rung == []


def template(channel: str, body: str = "B {{ order }}", **parts: Any) -> None:
    """The template, by this channel too."""
    needs = parts.pop("variables", [])
    known = TemplateVersion.objects.filter(template__slug="news").order_by("-number").first()
    content = {**(known.content if known else {}), channel: {"en": {"body": body, **parts}}}
    of, _ = NotificationTemplate.objects.get_or_create(slug="news", organization_id=DEFAULT_ORGANIZATION_ID)
    version(of, content, needs=needs)


def preview(api: Api, **body: Any) -> Any:
    """Ask for a preview, which must leave every table as it is."""
    before = everything()
    response = api.post(PREVIEW, body)
    assert everything() == before
    return response


def channels(response: Any) -> dict[str, dict[str, Any]]:
    """The parts by channel."""
    assert response.status_code == 200, response.content
    found = response.json()["channels"]
    assert len(found) == len({part["channel"] for part in found})
    return {part.pop("channel"): part for part in found}


def text_for(api: Api, *targets: Any, channel: str = "email") -> str:
    response = preview(api, template="news", targets=list(targets), channels=[channel])
    return str(channels(response)[channel]["text"])


# --- What it would say -----------------------------------------------------------------------------------


def test_own_words(api: Api) -> None:
    (person,) = rows.people()
    response = preview(api, title="Hello", body="Your “order” is here.", targets=[person.pk])
    assert response.json()["user"] == person.pk
    text = "Hello\nYour “order” is here."
    assert channels(response) == {
        "in_app": {"subject": "Hello", "text": "Your “order” is here.", "html": "", "sms": None},
        "email": {"subject": "Hello", "text": "Your “order” is here.", "html": "", "sms": None},
        "sms": {
            "subject": "",
            "text": text,
            "html": "",
            "sms": {"encoding": "UCS-2", "characters": len(text), "segments": 1},
        },
    }


def test_each_channel_of_a_template(api: Api) -> None:
    (person,) = rows.people(name="Ada")
    for channel in ("email", "in_app", "sms"):
        template(
            channel,
            "{{ recipient.name }}: {{ order }}",
            subject=f"No. {{{{ order }}}}\nby {channel}",
            html="<b>{{ order }}</b>",
        )
    response = preview(api, template="news", payload={"order": "A&B"}, targets=[person.pk])
    size = {"encoding": "GSM-7", "characters": 8, "segments": 1}
    assert channels(response) == {
        "email": {"subject": "No. A&B by email", "text": "Ada: A&B", "html": "<b>A&amp;B</b>", "sms": None},
        "in_app": {"subject": "No. A&B by in_app", "text": "Ada: A&B", "html": "", "sms": None},
        "sms": {"subject": "", "text": "Ada: A&B", "html": "", "sms": size},
    }


@pytest.mark.parametrize(
    ("body", "size"),
    [
        ("a" * 160, ("GSM-7", 160, 1)),
        ("a" * 161, ("GSM-7", 161, 2)),
        ("€" * 80, ("GSM-7", 80, 1)),
        ("€" * 81, ("GSM-7", 81, 2)),
        ("🎉" * 36, ("UCS-2", 36, 2)),
        (" ", ("GSM-7", 1, 1)),
    ],
)
def test_the_size_of_an_sms(api: Api, body: str, size: tuple[str, int, int]) -> None:
    (person,) = rows.people()
    [part] = channels(preview(api, body=body, targets=[person.pk], channels=["sms"])).values()
    assert tuple(part["sms"].values()) == size and part["text"] == body


def test_a_template_that_renders_to_nothing_is_no_sms(api: Api) -> None:
    (person,) = rows.people()
    template("sms", "{{ nothing }}")
    [part] = channels(preview(api, template="news", targets=[person.pk])).values()
    assert part["sms"] == {"encoding": "GSM-7", "characters": 0, "segments": 0}


def test_it_is_what_delivery_renders(api: Api, rung: list[str]) -> None:
    ada, _ = rows.people(2)
    template("email", HELLO, subject="{{ order | upcase }}", html="<p>{{ order }}</p>")
    template("sms", HELLO)
    body = {"template": "news", "payload": {"order": "<a> 1e3"}, "targets": [ada.pk]}
    seen = channels(preview(api, **body))
    sent = accepted(api.post(SEND, body))
    content = contents.load([Notification.objects.get().pk])[Notification.objects.get().pk]
    recipient = contents.recipients([ada.pk])[ada.pk]
    assert {target["channel"] for target in sent["targets"]} == set(seen) == {"email", "sms"}
    for channel, part in seen.items():
        rendered = contents.rendered(content, channel, recipient)
        assert (part["subject"], part["text"], part["html"]) == tuple(rendered)[:3]
    rung.clear()


# --- For whom --------------------------------------------------------------------------------------------


def test_the_first_target_counts(api: Api) -> None:
    ada, ben = rows.people(2)
    User.objects.filter(pk=ben.pk).update(external_id="ben", name="Ben")
    template("email", "{{ recipient.name }}")
    assert text_for(api, "ben", ada.pk) == text_for(api, ben.pk) == "Ben"
    assert text_for(api, ada.pk, "ben") == ada.name


def test_somebody_new_is_not_written(api: Api) -> None:
    template("email", HELLO)
    new = {"external_id": "cleo", "name": "Cleo", "email": "Cleo@Example.COM", "language": "de"}
    response = preview(api, template="news", targets=[new], channels=["email"])
    assert response.json()["user"] is None and not User.objects.filter(external_id="cleo").exists()
    assert channels(response)["email"]["text"] == "Hello Cleo, Cleo@example.com  de"


def test_somebody_new_of_whom_nothing_is_said(api: Api) -> None:
    template("email", "{{ recipient.external_id }} {{ recipient.timezone }} {{ recipient.language }}")
    assert text_for(api, {"external_id": "cleo"}) == "cleo UTC en"


def test_somebody_known_is_seen_as_the_request_would_leave_them(api: Api) -> None:
    rows.people(external_id="ada", name="Ada", email="ada@example.com")
    template("email", "{{ recipient.name }} {{ recipient.email }}")
    given = {"external_id": "ada", "email": "new@example.com"}
    pk = User.objects.get(external_id="ada").pk
    for targets in ([given], ["ada", given], [pk, given], [given, {"external_id": "ben", "name": "Ben"}]):
        assert text_for(api, *targets) == "Ada new@example.com"
    assert text_for(api, given, {"external_id": "ada", "name": "Later"}) == "Later new@example.com"
    assert text_for(api, {"external_id": "ada", "name": None}) == " ada@example.com"
    assert User.objects.get(external_id="ada").email == "ada@example.com"


def test_somebody_without_an_external_id(api: Api) -> None:
    (person,) = rows.people(external_id=None)
    template("email", "[{{ recipient.external_id }}]")
    assert text_for(api, person.pk) == "[]"


@pytest.mark.parametrize(
    ("person", "found"),
    [
        ({"phone": ""}, {"in_app", "email"}),
        ({"email": ""}, {"in_app", "sms"}),
        ({"email": "", "phone": ""}, {"in_app"}),
        ({}, {"in_app", "email", "sms"}),
    ],
)
def test_all_is_where_they_are_reached(api: Api, person: dict[str, str], found: set[str]) -> None:
    (user,) = rows.people(**person)
    assert set(channels(preview(api, title="x", targets=[user.pk]))) == found
    assert set(channels(preview(api, title="x", targets=[user.pk], channels=["sms"]))) == {"sms"}


def test_of_somebody_new_by_the_addresses_they_bring(api: Api) -> None:
    new = {"external_id": "cleo", "phone": "+4930123456"}
    assert set(channels(preview(api, title="x", targets=[new]))) == {"in_app", "sms"}


# --- What is wrong ---------------------------------------------------------------------------------------


def test_every_channel_that_does_not_render_is_named(api: Api) -> None:
    (person,) = rows.people()
    template("email", "fine", html="one\n{{ 1 | divided_by: order }}")
    template("sms", "{{ 2 | divided_by: order }}")
    template("in_app", "{{ order }}")
    response = preview(api, template="news", payload={"order": 0}, targets=[person.pk])
    assert fields(response, 422, "not_rendered") == {
        "template.email": "not_rendered",
        "template.sms": "not_rendered",
    }
    email, _ = response.json()["errors"]
    assert email["detail"].startswith("Line 2, column") and "divide by 0" in email["detail"]


def test_a_part_the_channel_does_not_carry_counts_all_the_same(api: Api) -> None:
    """Delivery renders it too, and fails."""
    (person,) = rows.people()
    template("sms", "fine", subject="{{ 1 | divided_by: 0 }}")
    response = preview(api, template="news", targets=[person.pk])
    assert fields(response, 422, "not_rendered") == {"template.sms": "not_rendered"}


WRONG: tuple[Any, ...] = (
    {},
    {"title": "x", "targets": []},
    {"title": "x", "targets": ["nobody", True], "channels": ["fax"]},
    {"title": "x", "targets": ["theirs"]},
    {"title": "x", "targets": [{"external_id": "new", "email": "no"}]},
    {"title": "x", "template": "news", "targets": ["ada"]},
    {"template": "none", "targets": ["ada"]},
    {"template": "news", "targets": ["ada"], "channels": ["sms"]},
    {"template": "news", "payload": {}, "targets": ["ada"]},
    {"title": "x", "targets": ["ada"], "expires_at": "2020-01-01T00:00:00Z"},
    {"title": "x", "targets": ["ada"], "preview": True},
    [],
    5,
)


@pytest.mark.parametrize("body", WRONG, ids=str)
def test_the_same_faults_as_sending(api: Api, body: Any) -> None:
    rows.people(external_id="ada")
    rows.people(external_id="theirs", organization=make_organization())
    template("email", variables=["order"])
    before = everything()
    told, sent = api.post(PREVIEW, body), api.post(SEND, body)
    assert told.status_code == sent.status_code == 400 and told.json() == sent.json()
    assert everything() == before


def test_credentials() -> None:
    body = {"title": "x", "targets": [{"external_id": "new"}]}
    problem(Api(None).post(PREVIEW, body), 401, "not_authenticated")
    service = make_service()
    for scope in (Scope.SEND, Scope.READ):
        assert Api(make_key(service, [scope])).post(PREVIEW, body).status_code == 200
    others = [scope for scope in Scope if scope not in (Scope.SEND, Scope.READ)]
    refused = problem(Api(make_key(service, others)).post(PREVIEW, body), 403, "missing_scope")
    assert "notifications:write or notifications:read" in refused["detail"]
    problem(Api(make_key(service)).get(PREVIEW), 405, "method_not_allowed")


def test_another_organizations_people_and_templates_are_unknown(api: Api) -> None:
    rows.people(external_id="ada")
    template("email", "secret")
    other = Api(make_key(make_service(make_organization())))
    found = fields(preview(other, template="news", targets=["ada"]))
    assert found == {"targets[0]": "unknown_user", "template": "unknown_template"}
    response = preview(other, title="x", targets=[{"external_id": "ada"}])
    assert response.json()["user"] is None


# --- How -------------------------------------------------------------------------------------------------


def test_it_reads_and_calls_nobody(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def adapter_of(channel: str) -> None:
        raise AssertionError(channel)

    monkeypatch.setattr(providers, "adapter_of", adapter_of)
    rows.people(external_id="ada")
    template("email", HELLO)
    catalog.find(DEFAULT_ORGANIZATION_ID, templates=["news"])  # this process has met the version
    with capture() as statements:
        response = api.post(PREVIEW, {"template": "news", "targets": ["ada", {"external_id": "new"}]})
    assert response.status_code == 200
    assert len(statements) == 5, statements  # the key, the time, the people, the template, the first person
    assert all(statement.lstrip().startswith(("SELECT", "WITH")) for statement in statements)


def test_a_key_is_not_kept(api: Api) -> None:
    (person,) = rows.people()
    before = everything()
    body = {"title": "x", "targets": [person.pk]}
    for title in ("x", "y"):
        answer = api.post(PREVIEW, body | {"title": title}, idempotency_key="one")
        assert answer.status_code == 200 and "Idempotency-Replayed" not in answer
    assert everything() == before


@settings(
    max_examples=80,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(BODIES | ANYTHING)
def test_any_body(api: Api, rung: list[str], body: object) -> None:
    if not User.objects.filter(external_id="ada").exists():
        rows.people(external_id="ada")
        template("email", variables=["edition"])
    data = json.dumps(body).encode()
    told, sent = api.post(PREVIEW, data), api.post(SEND, data)
    assert (told.status_code, sent.status_code) in ((200, 202), (400, 400))
    if told.status_code == 400:
        assert told.json() == sent.json()
    rung.clear()


def test_answers_are_as_described(described: dict[str, Any], api: Api) -> None:  # noqa: F811
    (person,) = rows.people()
    template("email", "{{ 1 | divided_by: 0 }}")
    for body, status in (
        ({"title": "x", "targets": [person.pk]}, 200),
        ({"title": "x", "targets": [{"external_id": "new"}]}, 200),
        ({"template": "news", "targets": [person.pk]}, 422),
        ({}, 400),
    ):
        response = api.post(PREVIEW, body)
        assert response.status_code == status
        check(described, PREVIEW, "post", response)


# --- The size of an SMS, when it is sent -----------------------------------------------------------------


def size_of(response: Any, rung: list[str]) -> Any:
    rung.clear()
    return accepted(response)["sms"]


def test_an_sms_of_own_words_is_measured(api: Api, rung: list[str]) -> None:
    (person,) = rows.people()
    size = size_of(send(api, title="€" * 80, body="a", targets=[person.pk], channels=["sms"]), rung)
    assert size == {"encoding": "GSM-7", "characters": 82, "segments": 2}
    assert measure("€" * 80 + "\na").segments == 2


def test_the_same_of_a_row_in_bulk(api: Api, rung: list[str]) -> None:
    (person,) = rows.people()
    given = {"title": "x", "targets": [person.pk]}
    results = api.post(BULK, {"notifications": [given, given | {"channels": ["email"]}]}).json()["results"]
    sizes = [result["notification"]["sms"] for result in results]
    assert sizes == [{"encoding": "GSM-7", "characters": 1, "segments": 1}, None]
    rung.clear()


@pytest.mark.parametrize(
    ("person", "asked"),
    [
        ({}, {"channels": ["email", "in_app"]}),
        ({"phone": ""}, {}),
        ({"phone": ""}, {"channels": ["sms"]}),
        ({"is_active": False}, {"channels": ["sms"]}),
        ({}, {"template": "news", "title": ""}),
    ],
)
def test_nothing_is_measured_that_is_no_sms_or_has_yet_to_be_rendered(
    api: Api, rung: list[str], person: dict[str, Any], asked: dict[str, Any]
) -> None:
    (user,) = rows.people(**person)
    template("sms", "{{ recipient.name }}")
    assert size_of(send(api, **({"title": "x"} | asked), targets=[user.pk]), rung) is None


def test_a_replay_says_the_same(api: Api, rung: list[str]) -> None:
    (person,) = rows.people()
    sizes = [
        size_of(send(api, {"idempotency-key": "one"}, title="ü", targets=[person.pk]), rung) for _ in range(2)
    ]
    assert sizes == [{"encoding": "GSM-7", "characters": 1, "segments": 1}] * 2
