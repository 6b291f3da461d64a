"""The published description: complete, true, and readable without credentials or another host."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import orjson
import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.urls import resolve

from apps.content.models import NotificationType
from apps.delivery import providers
from apps.delivery.models import Provider
from apps.notifications.inbox_api import NAMES
from apps.notifications.models import DeliveryAttempt
from apps.notifications.schedule_models import ScheduleRun
from apps.notifications.schemas import NotificationInput
from apps.users.models import ServiceClient, User
from apps.users.tokens import mint
from project import api as project_api
from project import clock, ids
from project.queues import CHANNELS
from tests.api_helpers import Api
from tests.notifications.api_support import BULK, SEND, accepted, send, template
from tests.support import inboxes, rows

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rung")]
METHODS = {"get", "put", "post", "patch", "delete"}
SCHEDULES = "/api/schedules/"
STREAM = "/api/inbox/stream/"


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The whole API's description, without a warning."""
    file = tmp_path_factory.mktemp("schema") / "schema.json"
    options = {"fail_on_warn": True, "validate": True, "format": "openapi-json"}
    call_command("spectacular", file=str(file), **options)
    found: dict[str, Any] = orjson.loads(file.read_bytes())
    return found


def operations(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in described["paths"].items():
        for method in methods.keys() & METHODS:
            yield path, method, methods[method]


# --- Complete --------------------------------------------------------------------------------------------


def test_every_status_of_every_operation_has_a_schema(described: dict[str, Any]) -> None:
    for path, method, operation in operations(described):
        assert {"400", "401", "403", "503"} <= operation["responses"].keys(), (path, method)
        for status, response in operation["responses"].items():
            if status == "204":
                assert "content" not in response
                continue
            good = "text/event-stream" if path == STREAM else "application/json"
            kind = good if status.startswith("2") else "application/problem+json"
            assert response["content"].keys() == {kind}, (path, method, status)
            name = response["content"][kind]["schema"]["$ref"].rpartition("/")[2]
            assert described["components"]["schemas"][name]["properties"]


def test_every_operation_says_what_it_does_and_needs(described: dict[str, Any]) -> None:
    names = [operation["operationId"] for *_, operation in operations(described)]
    assert len(names) == len(set(names))
    for path, method, operation in operations(described):
        assert operation["security"], (path, method)
        if path.startswith("/api/notifications/"):
            scope = "write" if method == "post" else "read"
            assert f"`notifications:{scope}`" in operation["description"]
        if path.startswith(SCHEDULES):
            scope = "read" if method == "get" else "write"
            assert f"`notifications:{scope}`" in operation["description"]
        if path.startswith(("/api/types/", "/api/templates/")):
            assert "`templates:write`" in operation["description"]
        if path.startswith("/api/suppressions/"):
            scope = "notifications:read" if method == "get" else "suppressions:write"
            assert f"`{scope}`" in operation["description"]


def test_every_creating_post_takes_an_idempotency_key(described: dict[str, Any]) -> None:
    takes = {
        path: parameter
        for path, method, operation in operations(described)
        for parameter in operation.get("parameters", ())
        if method == "post" and (parameter["name"], parameter["in"]) == ("Idempotency-Key", "header")
    }
    assert takes.keys() == {SEND, BULK, SCHEDULES, "/api/templates/{slug}/test/"}
    assert all(parameter["description"] and "required" not in parameter for parameter in takes.values())


def test_every_parameter_a_list_takes_is_described(described: dict[str, Any]) -> None:
    of = {
        path: {parameter["name"] for parameter in methods["get"].get("parameters", ())}
        for path, methods in described["paths"].items()
        if "get" in methods
    }
    paging = {"after", "before", "page_size"}
    filters = {"related_type", "related_id", "priority", "template", "created_after", "created_before"}
    assert of[SEND] == paging | filters
    assert of["/api/notifications/{id}/targets/"] == paging | {"id", "status", "channel"}
    assert of["/api/notifications/{id}/attempts/"] == paging | {"id"}
    assert of["/api/inbox/"] == paging | {"unread", "archived", "snoozed", "type", "since"}
    assert of["/api/suppressions/"] == paging | {"channel", "address", "cause"}


# --- True ------------------------------------------------------------------------------------------------


def check(described: dict[str, Any], path: str, method: str, response: Any) -> dict[str, Any]:
    """The answer, which must be as described, with no field that is not."""
    content = described["paths"][path][method]["responses"][str(response.status_code)]["content"]
    schema = content[response["Content-Type"]]["schema"]
    body: dict[str, Any] = response.json()
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(
        schema | {"components": described["components"]}, format_checker=checker
    ).validate(body)
    name = schema["$ref"].rpartition("/")[2]
    assert body.keys() <= described["components"]["schemas"][name]["properties"].keys()
    return body


def examples(described: dict[str, Any]) -> list[dict[str, Any]]:
    content = described["paths"][SEND]["post"]["requestBody"]["content"]["application/json"]
    name = content["schema"]["$ref"].rpartition("/")[2]
    found: list[dict[str, Any]] = described["components"]["schemas"][name]["examples"]
    return found


def test_the_examples_work(described: dict[str, Any], api: Api) -> None:
    (person,) = rows.people()
    User.objects.filter(pk=person.pk).update(id=1)
    rows.people(external_id="customer-42")
    template("order-shipped", email=["order"], sms=["order"])
    given = examples(described)
    assert (
        given and {"title": "Hello", "body": "Test", "targets": [1], "channels": ["in_app", "email"]} in given
    )
    for example in given:
        soon = {} if "scheduled_at" not in example else {
            "scheduled_at": f"2101{example['scheduled_at'][4:]}",
            "expires_at": f"2101{example['expires_at'][4:]}",
        }  # fmt: skip
        check(described, SEND, "post", api.post(SEND, example | soon))
    check(described, BULK, "post", api.post(BULK, {"notifications": given}))


def test_answers_are_as_described(described: dict[str, Any], api: Api, service: ServiceClient) -> None:
    rows.people(external_id="ada", phone="")
    body = accepted(
        send(
            api,
            targets=["ada"],
            channels=["sms", "email", "in_app"],
            scheduled_at="2101-01-01T00:00:00Z",
            related_object={"type": "order", "id": "17"},
        )
    )
    target = UUID(body["targets"][0]["id"])
    DeliveryAttempt.objects.create(
        id=ids.attempt_id(target, 1), target_id=target, number=1, provider="smtp", worker="w",
        started_at=clock.now(), outcome="accepted",
    )  # fmt: skip
    one = "/api/notifications/{id}/"
    for path in (SEND, one, f"{one}targets/", f"{one}attempts/"):
        check(described, path, "get", api.get(path.replace("{id}", body["id"])))
    assert api.get(f"{SEND}{body['id']}/attempts/").json()["items"]
    cancelled = api.post(f"{SEND}{body['id']}/cancel/")
    assert check(described, f"{one}cancel/", "post", cancelled)["targets"]
    check(described, f"{one}cancel/", "post", api.post(f"{SEND}{ids.uuid7()}/cancel/"))
    bad = check(described, SEND, "post", send(api, targets=[True], channels=["fax"]))
    assert bad["errors"]
    bulk = {"notifications": [{"title": "x", "targets": ["ada"]}, 5]}
    check(described, BULK, "post", api.post(BULK, bulk))
    check(described, SEND, "get", api.get(f"{SEND}?page_size=x"))
    check(described, SEND, "post", Api(None).post(SEND, {}))


def test_answers_about_inboxes_are_as_described(described: dict[str, Any]) -> None:
    (person,) = rows.people()
    me, inbox = Api(mint(person, 60)[0]), "/api/inbox/"
    first, second = inboxes.deliver(person.pk, 2, type="comment", actions=inboxes.ACTIONS)
    until = {"until": (clock.now() + timedelta(hours=1)).isoformat()}
    names = [path.split("/")[3] for path in described["paths"] if re.fullmatch(r"/api/inbox/[a-z_]+/", path)]
    assert set(names) == {*NAMES, "counts", "stream"}
    for name in NAMES:
        body = until if name == "snooze" else {}
        for asked in (body | {"ids": [str(first)]}, body | {"up_to": 1}, body):
            check(described, f"{inbox}{name}/", "post", me.post(f"{inbox}{name}/", asked))
        for id in (second, ids.uuid7()):
            check(described, f"{inbox}{{id}}/{name}/", "post", me.post(f"{inbox}{id}/{name}/", body))
    act = f"{inbox}{{id}}/actions/{{action}}/"
    answers = [me.post(act.format(id=first, action=action)) for action in ("yes", "no", "maybe")]
    assert [answer.status_code for answer in answers] == [200, 409, 404]
    for answer in answers:
        check(described, act, "post", answer)
    (listed, *_) = check(described, inbox, "get", me.get(inbox))["items"]
    check(described, inbox, "get", me.get(f"{inbox}?since=x"))
    assert check(described, f"{inbox}{{id}}/", "get", me.get(f"{inbox}{listed['id']}/")) == listed
    check(described, f"{inbox}counts/", "get", me.get(f"{inbox}counts/"))


def test_the_other_names_of_changes_are_described_as_such(described: dict[str, Any]) -> None:
    for alias, name in (("mark_read", "read"), ("mark_unread", "unread"), ("mark_seen", "seen")):
        for path in ("/api/inbox/", "/api/inbox/{id}/"):
            one, other = (described["paths"][f"{path}{each}/"]["post"] for each in (alias, name))
            assert one["description"].startswith(f"Another name of `{name}`. ")
            assert one["description"].endswith(other["description"])
            assert one["responses"] == other["responses"]
            assert one.get("requestBody") == other.get("requestBody")


def test_answers_about_suppressions_are_as_described(described: dict[str, Any], api: Api) -> None:
    path, one = "/api/suppressions/", "/api/suppressions/{id}/"
    content = described["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    name = content["schema"]["$ref"].rpartition("/")[2]
    given = described["components"]["schemas"][name]["examples"]
    entered = [check(described, path, "post", api.post(path, example)) for example in given]
    assert len(entered) == 2 and api.post(path, given[0]).status_code == 200
    check(described, path, "post", api.post(path, given[0]))
    check(described, path, "post", api.post(path, {}))
    assert len(check(described, path, "get", api.get(path))["items"]) == 2
    check(described, one, "get", api.get(f"{path}{entered[0]['id']}/"))
    check(described, one, "delete", api.send("DELETE", f"{path}4711/"))
    assert api.send("DELETE", f"{path}{entered[0]['id']}/").status_code == 204


def test_the_key_of_web_push_is_as_described(described: dict[str, Any], api: Api) -> None:
    path = "/api/devices/web-push-key/"
    options = {"subject": "mailto:push@carillon.example", "private_key": "A" * 42 + "E"}
    assert check(described, path, "get", api.get(path))["code"] == "no_web_push"
    Provider.objects.create(name="webpush", adapter="webpush", channel="push", options=options)
    providers.forget()
    assert check(described, path, "get", api.get(path))["public_key"]
    providers.forget()


def test_answers_about_preferences_are_as_described(described: dict[str, Any], api: Api) -> None:
    (person,) = rows.people(external_id="ada")
    for slug in ("status_update", "news"):
        NotificationType.objects.get_or_create(slug=slug, organization=None, defaults={"category": "system"})
    own, of = "/api/preferences/", "/api/users/{external_id}/preferences/"
    me, path = Api(mint(person, 60)[0]), "/api/users/ada/preferences/"
    content = described["paths"][own]["put"]["requestBody"]["content"]["application/json"]
    schema = content["schema"] | {"components": described["components"]}
    name = content["schema"]["$ref"].rpartition("/")[2]
    for example in described["components"]["schemas"][name]["examples"]:
        jsonschema.Draft202012Validator(schema).validate(example)
        for method in ("put", "patch"):
            check(described, own, method, me.send(method.upper(), own, example))
            check(described, of, method, api.send(method.upper(), path, example))
    assert check(described, own, "get", me.get(own)) == check(described, of, "get", api.get(path))
    assert check(described, own, "patch", me.send("PATCH", own, {"types": {"spam": "off"}}))["errors"]
    check(described, of, "get", api.get("/api/users/nobody/preferences/"))


def test_answers_about_schedules_are_as_described(described: dict[str, Any], api: Api) -> None:
    rows.people(external_id="customer-42")
    one, runs = f"{SCHEDULES}{{id}}/", f"{SCHEDULES}{{id}}/runs/"
    content = described["paths"][SCHEDULES]["post"]["requestBody"]["content"]["application/json"]
    name = content["schema"]["$ref"].rpartition("/")[2]
    given = described["components"]["schemas"][name]["examples"]
    made = [check(described, SCHEDULES, "post", api.post(SCHEDULES, example)) for example in given]
    assert len(made) == 2 and all(len(schedule["next"]) == 5 for schedule in made)
    check(described, SCHEDULES, "post", api.post(SCHEDULES, {}))
    assert len(check(described, SCHEDULES, "get", api.get(SCHEDULES))["items"]) == 2
    path = f"{SCHEDULES}{made[0]['id']}/"
    check(described, one, "patch", api.send("PATCH", path, {"paused": True}))
    check(described, one, "get", api.get(path))
    errors = [{"field": "client", "code": "inactive_client", "detail": "It is deactivated."}]
    for number, fields in enumerate(({"status": "made"}, {"status": "failed", "errors": errors})):
        ScheduleRun.objects.create(
            schedule_id=made[0]["id"], occurrence=clock.now() + timedelta(hours=number),
            wall="2026-01-01T09:00:00", **fields,
        )  # fmt: skip
    assert len(check(described, runs, "get", api.get(f"{path}runs/"))["items"]) == 2
    check(described, one, "delete", api.send("DELETE", f"{SCHEDULES}{ids.uuid7()}/"))
    patched = described["paths"][one]["patch"]["requestBody"]["content"]["application/json"]["schema"]
    patched = described["components"]["schemas"][patched["$ref"].rpartition("/")[2]]
    assert "required" not in patched and not [f for f in patched["properties"].values() if "default" in f]
    body = described["components"]["schemas"][name]
    assert set(body["required"]) == {"name", "notification", "timezone"}
    assert body["properties"].keys() == patched["properties"].keys()


def test_answers_about_types_and_templates_are_as_described(described: dict[str, Any], api: Api) -> None:
    rows.people(external_id="ada")

    def ask(
        method: str, path: str, body: object = None, status: int = 200, query: str = ""
    ) -> dict[str, Any]:
        response = api.send(
            method.upper(), path.replace("{slug}", slug).replace("{number}", "1") + query, body
        )
        assert response.status_code == status, response.content
        return check(described, path, method, response)

    def example(path: str, method: str = "post") -> dict[str, Any]:
        content = described["paths"][path][method]["requestBody"]["content"]["application/json"]
        name = content["schema"]["$ref"].rpartition("/")[2]
        (found,) = described["components"]["schemas"][name]["examples"]
        return dict(found)

    types, one_type = "/api/types/", "/api/types/{slug}/"
    slug = example(types)["slug"]
    ask("post", types, example(types), 201)
    ask("post", types, example(types), 409)
    assert ask("get", types)["items"] and ask("patch", one_type, {"critical": True})["critical"]
    ask("get", one_type)
    ask("put", one_type, {}, 400)
    templates, one = "/api/templates/", "/api/templates/{slug}/"
    slug = example(templates)["slug"]
    ask("post", templates, example(templates), 201)
    ask("put", f"{one}draft/", example(f"{one}draft/", "put"))
    ask("get", f"{one}draft/")
    assert ask("post", f"{one}publish/")["current"] == 1
    ask("post", f"{one}rollback/", {"version": 1})
    ask("patch", one, {})
    ask("get", f"{one}versions/{{number}}/")
    assert ask("get", templates)["items"] and ask("get", f"{one}versions/")["items"]
    ask("get", f"{one}compare/", query="?from=1&to=current")
    assert ask("post", f"{one}preview/", {"user": "ada"})["words"]
    assert ask("post", f"{one}test/", {"user": "ada"}, 202)["targets"]
    assert ask("post", f"{one}impact/", {})["ok"] == 1
    ask("delete", one, status=409)


def test_what_is_described_as_allowed_is(described: dict[str, Any]) -> None:
    published = described["components"]["schemas"]["NotificationInputRequest"]
    assert published["properties"].keys() == NotificationInput.model_fields.keys()
    assert published["required"] == ["targets"] and published["additionalProperties"] is False
    (a_list, everything) = published["properties"]["channels"]["oneOf"]
    assert a_list["items"]["enum"] == list(CHANNELS) and everything["const"] == "all"


# --- Open, and from this host alone ----------------------------------------------------------------------


def test_the_description_needs_no_credentials() -> None:
    response = Api(None).get("/api/schema/")
    assert response.status_code == 200 and b"/api/notifications/bulk/" in response.content


def test_the_page_needs_no_credentials_and_no_other_host() -> None:
    response = Api(None).get("/api/docs/")
    assert response.status_code == 200
    page = response.content.decode()
    loaded = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page)
    assert len(loaded) >= 3
    for address in loaded:
        assert address.startswith("/static/"), address
        assert finders.find(address.removeprefix("/static/")), address
    assert not re.search(r"""https?:|["']//""", page)
    assert re.search(r'url: "/api/schema/"', page) and resolve("/api/schema/")


# --- The codes in docs/api.md ----------------------------------------------------------------------------


def sources() -> Iterator[ast.Module]:
    for folder in ("apps", "project"):
        for file in sorted(Path(settings.BASE_DIR, folder).rglob("*.py")):
            if "migrations" not in file.parts:
                yield ast.parse(file.read_text())


def codes(function: str) -> set[str]:
    """The literal second arguments of all calls of this function."""
    return {
        node.args[1].value
        for tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == function
        and len(node.args) > 1
        and isinstance(node.args[1], ast.Constant)
    }


def documented(heading: str, end: str) -> list[str]:
    text = (settings.BASE_DIR / "docs" / "api.md").read_text()
    part = text[text.index(heading) :]
    table = part[: part.index(end)] if end else part
    column = 2 if "| status |" in table else 1
    lines = [line.split("|") for line in table.splitlines() if line.startswith("|")][2:]
    return [code for line in lines for code in re.findall(r"`([a-z_]+)`", line[column])]


def test_every_code_of_a_field_is_documented() -> None:
    found = documented("Of a field:", "")
    assert len(found) == len(set(found))
    assert set(found) == codes("field_error") | set(project_api._CODES.values())


def test_every_code_of_a_problem_is_documented() -> None:
    found = documented("## Errors", "Of a field:")
    assert len(found) == len(set(found))
    tables = {code for code, _ in project_api._KNOWN.values()}
    tables |= {code for _, code, _ in project_api._BUILT_IN.values()}
    assert set(found) == codes("Problem") | tables | {"invalid_credentials"}
