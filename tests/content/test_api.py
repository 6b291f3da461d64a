"""Templates over the API: written, published, rolled back, compared, looked at; each by whose they are."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from apps.content.models import NotificationTemplate, TemplateUse, TemplateVersion
from apps.content.named import customised
from apps.users.models import DEFAULT_ORGANIZATION_ID as OURS
from apps.users.models import Scope, ServiceClient
from project import clock
from tests.api_helpers import Api, fields, make_key, make_organization, problem
from tests.support import rows
from tests.support.database import capture
from tests.support.templates import forget_seeds, template, type_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("unseeded")]
PATH = "/api/templates/"
ONE = f"{PATH}shipped/"
EMAIL = {"email": {"en": {"subject": "Order {{ order }}", "body": "Hello {{ recipient.name }}"}}}
NEEDS = {"type": "object", "required": ["order"], "properties": {"order": {"type": "string"}}}
DRAFT: dict[str, Any] = {"content": EMAIL, "schema": NEEDS, "example": {"order": "A-17"}}


@pytest.fixture
def unseeded(db: None) -> None:
    forget_seeds()


def ok(response: Any, status: int = 200) -> Any:
    assert response.status_code == status, response.content
    return response.json() if response.content else None


def published(api: Api, **draft: Any) -> Any:
    """A draft saved and published."""
    ok(api.put(f"{ONE}draft/", {**DRAFT, **draft}))
    return ok(api.post(f"{ONE}publish/"))


def new(api: Api) -> None:
    ok(api.post(PATH, {"slug": "shipped"}), 201)


def subject(text: str) -> dict[str, Any]:
    return {"email": {"en": {"subject": text, "body": "x"}}}


def everything() -> tuple[int, int]:
    return NotificationTemplate.objects.count(), TemplateVersion.objects.count()


# --- From nothing to a publication -----------------------------------------------------------------------


def test_a_template_is_created_written_and_published(api: Api) -> None:
    type_of("orders")
    made = ok(api.post(PATH, {"slug": "shipped", "type": "orders", "default_language": "DE-at"}), 201)
    assert made == {
        "slug": "shipped",
        "system": False,
        "type": "orders",
        "default_language": "de-AT",
        "current": None,
        "draft": None,
        "uses": 0,
        "last_used_at": None,
        "created_at": made["created_at"],
    }
    ok(api.send("PATCH", ONE, {"default_language": "en"}))
    draft = ok(api.put(f"{ONE}draft/", {**DRAFT, "note": "first"}))
    assert (draft["number"], draft["published_at"], draft["current"]) == (1, None, False)
    assert (draft["content"], draft["schema"], draft["note"]) == (EMAIL, NEEDS, "first")
    after = ok(api.post(f"{ONE}publish/"))
    assert (after["current"], after["draft"]) == (1, None)
    version = ok(api.get(f"{ONE}versions/1/"))
    assert version["current"] and version["published_at"] and version["published_by"] is None
    problem(api.post(f"{ONE}publish/"), 409, "no_draft")


def test_a_slug_is_taken_once_but_each_organization_has_its_own(api: Api) -> None:
    template("shipped", {"email": {"body": "x"}}, organization_id=make_organization().pk)
    new(api)
    problem(api.post(PATH, {"slug": "shipped"}), 409, "slug_taken")


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, {"slug": "required"}),
        ({"slug": "a b"}, {"slug": "invalid"}),
        ({"slug": "a\n"}, {"slug": "invalid"}),
        ({"slug": "x" * 101}, {"slug": "too_long"}),
        ({"slug": "a", "type": "none"}, {"type": "unknown_type"}),
        ({"slug": "", "default_language": "english please", "x": 1},
         {"slug": "invalid", "default_language": "invalid", "x": "unknown_field"}),
    ],
)  # fmt: skip
def test_a_bad_template_is_told_and_not_written(api: Api, body: Any, wrong: dict[str, str]) -> None:
    assert fields(api.post(PATH, body)) == wrong
    assert everything() == (0, 0)


@pytest.mark.parametrize(
    ("draft", "wrong"),
    [
        ({}, {"content": "required"}),
        ({"content": []}, {"content": "invalid"}),
        ({"content": {"email": {"en": "text"}}}, {"content.email.en": "invalid"}),
        ({"content": EMAIL, "schema": 1, "track": "yes", "note": "x" * 501, "by": 1},
         {"schema": "invalid", "track": "invalid", "note": "too_long", "by": "unknown_field"}),
    ],
)  # fmt: skip
def test_a_draft_of_the_wrong_shape_is_told(api: Api, draft: Any, wrong: dict[str, str]) -> None:
    new(api)
    assert fields(api.put(f"{ONE}draft/", draft)) == wrong
    assert everything() == (1, 0)


def test_every_fault_of_a_wording_is_told_with_its_place_and_nothing_saved(api: Api) -> None:
    new(api)
    draft = {
        "content": {"email": {"en": {"subject": "{{ a | shout }}", "body": "one\n{% if x %}"}}},
        "schema": NEEDS,
        "example": {},
    }
    body = problem(api.put(f"{ONE}draft/", draft), 400, "invalid_request")
    told = {error["field"]: error["detail"] for error in body["errors"]}
    assert {"content.email.en.subject", "content.email.en.body", "example.order"} <= told.keys()
    assert "Line 1, column 8" in told["content.email.en.subject"]
    assert everything() == (1, 0)


def test_a_draft_with_faults_is_not_published(api: Api) -> None:
    new(api)
    content = subject("{% if x %}")
    TemplateVersion.objects.create(template=NotificationTemplate.objects.get(), number=1, content=content)
    assert set(fields(api.post(f"{ONE}publish/"))) == {"content.email.en.subject"}
    assert ok(api.get(ONE))["current"] is None


def test_a_name_nobody_declared_is_said_of_the_draft(api: Api) -> None:
    new(api)
    draft = ok(api.put(f"{ONE}draft/", {**DRAFT, "content": subject("{{ order }} {{ footer }}")}))
    assert draft["undeclared"] == ["footer"]


def test_a_draft_is_replaced_whole_and_discarded(api: Api) -> None:
    new(api)
    problem(api.get(f"{ONE}draft/"), 404, "not_found")
    problem(api.send("DELETE", f"{ONE}draft/"), 404, "not_found")
    ok(api.put(f"{ONE}draft/", {**DRAFT, "note": "first"}))
    ok(api.put(f"{ONE}draft/", {"content": subject("x")}))
    draft = ok(api.get(f"{ONE}draft/"))
    assert (draft["content"], draft["schema"], draft["note"]) == (subject("x"), {}, "")
    assert everything() == (1, 1)
    ok(api.send("DELETE", f"{ONE}draft/"), 204)
    assert everything() == (1, 0) and ok(api.get(ONE))["draft"] is None


# --- Whose ------------------------------------------------------------------------------------------------


def test_saving_a_draft_under_the_systems_slug_begins_ones_own(api: Api) -> None:
    type_of("orders", organization_id=None)
    system = template("shipped", {"email": {"body": "system's"}}, organization_id=None, type="orders")
    before = ok(api.get(ONE))
    assert before["system"] and before["current"] == 1 and before["uses"] is None
    ok(api.put(f"{ONE}draft/", DRAFT))
    after = ok(api.get(ONE))
    assert (after["system"], after["type"], after["current"], after["draft"]) == (False, "orders", None, 1)
    own = NotificationTemplate.objects.get(organization=OURS)
    assert own.pk != system.template_id and not TemplateVersion.objects.filter(
        template=system.template_id, published_at=None
    )
    assert published(api)["current"] == 1


def test_two_that_begin_their_own_at_once_begin_one(api: Api) -> None:
    system = template("shipped", {"email": {"body": "system's"}}, organization_id=None).template
    first, second = (customised(OURS, system) for _ in range(2))
    assert first == second and NotificationTemplate.objects.count() == 2


def test_what_is_the_systems_is_seen_but_not_changed(api: Api) -> None:
    template("shipped", {"email": {"body": "system's"}}, organization_id=None)
    for method, path, body in (
        ("PATCH", ONE, {"type": ""}),
        ("DELETE", ONE, None),
        ("DELETE", f"{ONE}draft/", None),
        ("POST", f"{ONE}publish/", None),
        ("POST", f"{ONE}rollback/", {"version": 1}),
    ):
        problem(api.send(method, path, body), 403, "permission_denied")
    assert ok(api.get(f"{ONE}versions/1/"))["content"] == {"email": {"en": {"body": "system's"}}}


def test_another_organizations_is_not_there(api: Api) -> None:
    template("shipped", {"email": {"body": "x"}}, organization_id=make_organization().pk)
    before = everything()
    for method, path, body in (
        ("GET", ONE, None),
        ("PATCH", ONE, {"type": ""}),
        ("DELETE", ONE, None),
        ("GET", f"{ONE}versions/", None),
        ("GET", f"{ONE}versions/1/", None),
        ("GET", f"{ONE}draft/", None),
        ("PUT", f"{ONE}draft/", DRAFT),
        ("DELETE", f"{ONE}draft/", None),
        ("POST", f"{ONE}publish/", None),
        ("POST", f"{ONE}rollback/", {"version": 1}),
        ("GET", f"{ONE}compare/?from=1&to=1", None),
        ("POST", f"{ONE}preview/", {}),
    ):
        problem(api.send(method, path, body), 404, "not_found")
    assert ok(api.get(PATH))["items"] == [] and everything() == before


def test_each_needs_its_scope(service: ServiceClient) -> None:
    template("shipped", {"email": {"body": "x"}})
    reader, writer = Api(make_key(service, [Scope.READ])), Api(make_key(service, [Scope.TEMPLATES]))
    others = Api(make_key(service, set(Scope) - {Scope.READ, Scope.TEMPLATES}))
    for path in (PATH, ONE, f"{ONE}versions/", f"{ONE}versions/1/", f"{ONE}compare/?from=1&to=1"):
        for able in (reader, writer):
            ok(able.get(path))
        problem(others.get(path), 403, "missing_scope")
    ok(reader.post(f"{ONE}preview/", {}))
    for method, path in (
        ("POST", PATH),
        ("PATCH", ONE),
        ("DELETE", ONE),
        ("PUT", f"{ONE}draft/"),
        ("DELETE", f"{ONE}draft/"),
        ("POST", f"{ONE}publish/"),
        ("POST", f"{ONE}rollback/"),
    ):
        problem(reader.send(method, path, {}), 403, "missing_scope")
    ok(writer.put(f"{ONE}draft/", DRAFT))


# --- Versions ---------------------------------------------------------------------------------------------


def test_versions_are_listed_newest_first_page_by_page(api: Api) -> None:
    new(api)
    for number in range(3):
        published(api, note=f"n{number}")
    ok(api.put(f"{ONE}draft/", DRAFT))
    first = ok(api.get(f"{ONE}versions/?page_size=3"))
    assert [item["number"] for item in first["items"]] == [4, 3, 2]
    assert [item["current"] for item in first["items"]] == [False, True, False]
    assert "content" not in first["items"][0] and first["items"][1]["note"] == "n2"
    rest = ok(api.get(f"{ONE}versions/?{urlencode({'after': first['page_info']['after']})}"))
    assert [item["number"] for item in rest["items"]] == [1]
    problem(api.get(f"{ONE}versions/9/"), 404, "not_found")
    problem(api.get(f"{ONE}versions/{10**20}/"), 404, "not_found")
    assert fields(api.get(f"{ONE}versions/?page=1")) == {"page": "unknown_field"}


def test_an_earlier_version_comes_back(api: Api) -> None:
    new(api)
    for text in ("one", "two"):
        published(api, content=subject(text))
    back = ok(api.post(f"{ONE}rollback/", {"version": 1}))
    of = NotificationTemplate.objects.get()
    assert of.current is not None and of.current.content == subject("one")
    assert back["current"] == of.current.number and back["draft"] is None


@pytest.mark.parametrize("asked", [2, 9, 2**31 - 1])
def test_only_what_was_published_comes_back(api: Api, asked: int) -> None:
    new(api)
    published(api)
    ok(api.put(f"{ONE}draft/", DRAFT))
    assert fields(api.post(f"{ONE}rollback/", {"version": asked})) == {"version": "unknown_version"}
    assert ok(api.get(ONE))["current"] == 1


@pytest.mark.parametrize("asked", ["1", 0, 2**31, None, True, "draft"])
def test_a_rollback_names_a_number(api: Api, asked: Any) -> None:
    new(api)
    published(api)
    assert fields(api.post(f"{ONE}rollback/", {"version": asked})) == {"version": "invalid"}


def test_what_changed_between_two_versions(api: Api) -> None:
    new(api)
    for text in ("one", "two"):
        published(api, content=subject(text))
    ok(api.put(f"{ONE}draft/", {**DRAFT, "content": subject("two") | {"sms": {"en": {"body": "s"}}}}))
    told = ok(api.get(f"{ONE}compare/?from=1&to=2"))
    assert (told["before"], told["after"]) == (1, 2)
    assert [(d["before"], d["after"]) for d in told["differences"]] == [("one", "two")]
    (added,) = ok(api.get(f"{ONE}compare/?from=current&to=draft"))["differences"]
    assert (added["path"], added["before"], added["after"]) == ("content.sms.en.body", None, "s")
    assert ok(api.get(f"{ONE}compare/?from=2&to=current"))["differences"] == []


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("", {"from": "required", "to": "required"}),
        ("from=x&to=-1&by=2", {"from": "invalid", "to": "invalid", "by": "unknown_field"}),
        ("from=9&to=1", {"from": "unknown_version"}),
        ("from=1&to=draft", {"to": "unknown_version"}),
    ],
)
def test_a_bad_comparison_is_told(api: Api, query: str, wrong: dict[str, str]) -> None:
    new(api)
    published(api)
    assert fields(api.get(f"{ONE}compare/?{query}")) == wrong


# --- Settings and deletion -------------------------------------------------------------------------------


def test_its_type_can_change_its_language_until_it_is_published(api: Api) -> None:
    type_of("orders")
    new(api)
    assert ok(api.send("PATCH", ONE, {"default_language": "de"}))["default_language"] == "de"
    assert ok(api.send("PATCH", ONE, {"type": "orders"}))["default_language"] == "de"
    assert ok(api.send("PATCH", ONE, {}))["type"] == "orders"
    ok(api.send("PATCH", ONE, {"default_language": "en"}))
    published(api)
    problem(api.send("PATCH", ONE, {"default_language": "de", "type": ""}), 409, "published")
    assert ok(api.get(ONE))["type"] == "orders"
    ok(api.send("PATCH", ONE, {"default_language": "en", "type": ""}))
    assert fields(api.send("PATCH", ONE, {"type": "none", "slug": "x"})) == {"slug": "unknown_field"}
    assert fields(api.send("PATCH", ONE, {"type": "none"})) == {"type": "unknown_type"}


def test_only_what_was_never_published_is_deleted(api: Api) -> None:
    new(api)
    ok(api.put(f"{ONE}draft/", DRAFT))
    ok(api.send("DELETE", ONE), 204)
    assert everything() == (0, 0)
    new(api)
    published(api)
    problem(api.send("DELETE", ONE), 409, "template_in_use")
    assert everything() == (1, 1)


# --- Preview ----------------------------------------------------------------------------------------------


def test_a_preview_is_in_every_channel_and_language(api: Api) -> None:
    new(api)
    content = {
        "email": {
            language: {
                "subject": f"{language} {{{{ order }}}}",
                "body": "Hi {{ recipient.name }}",
                "html": "<b>{{ order }}</b>",
            }
            for language in ("en", "de")
        },
        "sms": {"en": {"body": "{{ order }}"}},
    }
    ok(api.put(f"{ONE}draft/", {**DRAFT, "content": content}))
    body = ok(api.post(f"{ONE}preview/", {"version": "draft"}))
    assert (body["version"], body["faults"]) == (1, [])
    assert {(w["channel"], w["language"]): w["text"] for w in body["words"]} == {
        ("email", "en"): "Hi Ada Lovelace",
        ("email", "de"): "Hi Ada Lovelace",
        ("sms", "en"): "A-17",
    }
    (person,) = rows.people(external_id="bob", name="Bob")
    for who in (person.pk, "bob"):
        asked = {"version": 1, "payload": {"order": "<1>"}, "user": who}
        words = ok(api.post(f"{ONE}preview/", asked))["words"]
        (german,) = (w for w in words if w["language"] == "de")
        assert (german["subject"], german["text"]) == ("de <1>", "Hi Bob")
        assert german["html"] == "<b>&lt;1&gt;</b>" and german["error"] is None
    assert everything() == (1, 1)


def test_a_preview_has_what_an_in_app_message_has_beside_its_words(api: Api) -> None:
    new(api)
    parts = {"body": "x", "link": "/{{ order }}", "avatar": "https://a.example/{{ order }}.png"}
    content = {"in_app": {"en": parts}, "sms": {"en": {"body": "x"}}}
    ok(api.put(f"{ONE}draft/", {**DRAFT, "content": content}))
    words = {w["channel"]: w for w in ok(api.post(f"{ONE}preview/", {"version": "draft"}))["words"]}
    assert (words["in_app"]["link"], words["in_app"]["avatar"]) == ("/A-17", "https://a.example/A-17.png")
    assert (words["sms"]["link"], words["sms"]["avatar"]) == ("", "")


def test_a_preview_tells_what_is_wrong_and_shows_the_rest(api: Api) -> None:
    new(api)
    content = subject("{{ 1 | divided_by: order }}") | {"sms": {"en": {"body": "x"}}}
    ok(api.put(f"{ONE}draft/", {"content": content, "schema": NEEDS, "example": {"order": "1"}}))
    body = ok(api.post(f"{ONE}preview/", {"version": "draft", "payload": {}}))
    assert [(fault["field"], fault["code"]) for fault in body["faults"]] == [("payload.order", "required")]
    words = {one["channel"]: one for one in body["words"]}
    assert words["sms"]["text"] == "x" and "divide" in words["email"]["error"]


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ({}, {"version": "unknown_version"}),  # nothing is current
        ({"version": 2}, {"version": "unknown_version"}),
        ({"version": "newest"}, {"version": "invalid"}),
        ({"version": "draft", "user": "nobody"}, {"user": "unknown_user"}),
        ({"version": "draft", "payload": []}, {"payload": "invalid"}),
    ],
)
def test_a_bad_preview_is_told(api: Api, asked: Any, wrong: dict[str, str]) -> None:
    new(api)
    ok(api.put(f"{ONE}draft/", DRAFT))
    assert fields(api.post(f"{ONE}preview/", asked)) == wrong


# --- The list, and what it costs -------------------------------------------------------------------------


def test_the_list_has_each_slug_once_ours_before_the_systems(api: Api) -> None:
    other = make_organization().pk
    for slug, whose in (("a", None), ("b", None), ("b", OURS), ("b", other), ("c", OURS), ("d", other)):
        template(slug, {"email": {"body": "x"}}, organization_id=whose)
    items = ok(api.get(PATH))["items"]
    assert [(item["slug"], item["system"]) for item in items] == [("a", True), ("b", False), ("c", False)]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_pages_hold_every_slug_once_both_ways(api: Api, size: int) -> None:
    slugs = [f"t{number}" for number in range(5)]
    for slug in slugs:
        template(slug, {"email": {"body": "x"}}, organization_id=None)
    template("t2", {"email": {"body": "x"}})
    there, cursor = [], None
    while True:
        page = ok(api.get(f"{PATH}?{urlencode({'page_size': size} | ({'after': cursor} if cursor else {}))}"))
        there += [item["slug"] for item in page["items"]]
        if not (cursor := page["page_info"]["after"]):
            break
    assert there == slugs
    back: list[str] = []
    cursor = page["page_info"]["before"]
    while cursor:
        page = ok(api.get(f"{PATH}?{urlencode({'page_size': size, 'before': cursor})}"))
        back = [item["slug"] for item in page["items"]] + back
        cursor = page["page_info"]["before"]
    assert back == slugs[: len(back)] and len(back) >= 5 - size


def test_the_list_says_how_much_each_was_used_in_three_statements(api: Api) -> None:
    now = clock.now()
    for number in range(12):
        version = template(f"t{number}", {"email": {"body": "x"}})
        TemplateUse.objects.create(version=version, count=number, last_at=now)
    again = TemplateVersion.objects.create(template=version.template, number=2)
    TemplateUse.objects.create(version=again, count=100, last_at=now)
    with capture() as statements:
        items = {item["slug"]: item for item in ok(api.get(PATH))["items"]}
    assert len(statements) == 3  # the key, the page, where they stand
    assert (items["t11"]["uses"], items["t11"]["draft"], items["t11"]["current"]) == (111, 2, 1)
    assert items["t3"]["uses"] == 3 and items["t3"]["last_used_at"]


def test_the_statements_of_each(api: Api) -> None:
    new(api)
    published(api)
    costs = {}
    for name, ask in {
        "one": lambda: api.get(ONE),
        "versions": lambda: api.get(f"{ONE}versions/"),
        "preview": lambda: api.post(f"{ONE}preview/", {}),
        "compare": lambda: api.get(f"{ONE}compare/?from=1&to=1"),
    }.items():
        with capture() as statements:
            ok(ask())
        costs[name] = len(statements)
    # Each begins with the key and the template.
    assert costs == {"one": 3, "versions": 4, "preview": 3, "compare": 4}
