"""The pages of types and templates: mistakes are told where they are; the preview lets nothing run."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from apps.content.models import NotificationTemplate, NotificationType, TemplateUse, TemplateVersion
from apps.notifications.models import Notification, NotificationTarget
from apps.users.models import DEFAULT_ORGANIZATION_ID, User
from project import clock, queues
from tests.support import rows
from tests.support.database import capture
from tests.support.templates import forget_seeds, template, type_of, version

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("unseeded")]
LIST = "/admin/content/notificationtemplate/"
TYPES = "/admin/content/notificationtype/"
EVIL = '"><script>alert(1)</script>'
VIEWED = ("", "preview/", "compare/?from=1&to=1")
CHANGED = ("draft/", "discard/", "publish/", "rollback/1/", "test/")


@pytest.fixture
def unseeded(db: None) -> None:
    forget_seeds()


@pytest.fixture
def root() -> User:
    rows.people(1)
    return User.objects.create_superuser("root", email="root@example.com")


@pytest.fixture
def browser(root: User) -> Client:
    client = Client(enforce_csrf_checks=False)
    client.force_login(root)
    return client


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    heard: list[str] = []
    monkeypatch.setattr(queues, "ring", lambda *lanes: heard.extend(sorted(lanes)))
    return heard


def make(**parts: str) -> NotificationTemplate:
    return template("shipped", {"email": {"body": "Order {{ order }}"} | parts}, needs=["order"]).template


def page(browser: Client, of: NotificationTemplate, name: str = "") -> str:
    response = browser.get(f"{LIST}{of.pk}/{name or 'change/'}")
    assert response.status_code == 200, response
    return str(response.content.decode())


def text_of(markup: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup)))


def draft_of(of: NotificationTemplate) -> TemplateVersion | None:
    return TemplateVersion.objects.filter(template=of, published_at=None).first()


def sent(*blocks: str, **values: str) -> dict[str, Any]:
    """What the page of the draft sends. A name's __ stands for a dot."""
    return {"block": list(blocks) or ["email.en"], "seen": ""} | {
        name.replace("__", "."): value for name, value in values.items()
    }


def post(browser: Client, of: NotificationTemplate, name: str, **values: Any) -> Any:
    return browser.post(f"{LIST}{of.pk}/{name}", values)


def save(browser: Client, of: NotificationTemplate, *blocks: str, **values: str) -> Any:
    return browser.post(f"{LIST}{of.pk}/draft/", sent(*blocks, **values))


# --- List and settings -----------------------------------------------------------------------------------


def test_the_list_says_where_each_stands_at_the_same_cost_for_any_number(browser: Client) -> None:
    used = make().current
    TemplateUse.objects.create(version=used, count=1234, last_at=clock.now())
    browser.get(LIST)
    with capture() as few:
        shown = text_of(browser.get(LIST).content.decode())
    assert "shipped" in shown and "v1" in shown and "1,234" in shown
    for number in range(20):
        template(f"t{number}", {"email": {"body": "x"}}, organization_id=None)
    with capture() as many:
        assert "every organization" in browser.get(LIST).content.decode()
    assert len(few) == len(many) == 5  # session, user, whether there is more, the page, where they stand
    assert not any("COUNT(" in statement for statement in many)


def test_the_list_is_searched_by_the_beginning_of_a_slug(browser: Client) -> None:
    for slug in ("order-new", "order-gone", "my-order"):
        template(slug, {"email": {"body": "x"}})
    found = browser.get(f"{LIST}?q=order").context["cl"].result_list
    assert [row.slug for row in found] == ["order-gone", "order-new"]


def test_a_template_is_made_and_then_written(browser: Client) -> None:
    type_of("orders")
    values = {"slug": "hello", "type": "orders", "default_language": "PT-br", "organization": "1"}
    wrong = browser.post(f"{LIST}add/", values | {"type": "none", "default_language": "?"})
    assert set(wrong.context["adminform"].form.errors) == {"type", "default_language"}
    response = browser.post(f"{LIST}add/", values)
    made = NotificationTemplate.objects.get()
    assert (made.slug, made.type, made.default_language, made.current) == ("hello", "orders", "pt-BR", None)
    assert response.headers["Location"] == f"{LIST}{made.pk}/draft/"
    assert "email · pt-BR" in text_of(page(browser, made, "draft/"))


@pytest.mark.parametrize("organization", ["1", ""])
def test_a_slug_is_taken_once(browser: Client, organization: str) -> None:
    for path, values in (
        (LIST, {"slug": "a", "default_language": "en"}),
        (TYPES, type_form(slug="a")),
    ):
        sent_twice = values | {"organization": organization}
        assert browser.post(f"{path}add/", sent_twice).status_code == 302
        again = browser.post(f"{path}add/", sent_twice)
        assert again.status_code == 200 and "already exists" in again.content.decode()


def test_its_language_is_fixed_once_it_is_published(browser: Client) -> None:
    of = make()
    type_of("orders")
    post(browser, of, "change/", type="orders", default_language="de", slug="other")
    of.refresh_from_db()
    assert (of.type, of.default_language, of.slug) == ("orders", "en", "shipped")


def test_only_what_was_never_published_is_deleted(browser: Client) -> None:
    of = make()
    assert browser.post(f"{LIST}{of.pk}/delete/", {"post": "yes"}).status_code == 403
    unwritten = NotificationTemplate.objects.create(slug="x")
    assert browser.post(f"{LIST}{unwritten.pk}/delete/", {"post": "yes"}).status_code == 302
    assert list(NotificationTemplate.objects.all()) == [of]


def test_its_page_says_who_wrote_what(browser: Client, root: User) -> None:
    of = template("shipped", {"email": {"body": "x"}}, note="the first", published_by=root).template
    TemplateVersion.objects.create(template=of, number=2, note="shorter", created_by=root)
    shown = text_of(page(browser, of))
    assert "v1 current the first" in shown and "v2 draft shorter" in shown and "by root" in shown


# --- The draft --------------------------------------------------------------------------------------------


def test_a_draft_begins_with_what_is_current_and_is_saved(browser: Client, root: User) -> None:
    of = make()
    assert "Order {{ order }}" in html.unescape(page(browser, of, "draft/"))
    response = save(
        browser,
        of,
        "email.en",
        "sms.de",
        content__email__en__subject="S",
        content__email__en__body="B {{ order }}",
        schema='{"type": "object"}',
        example='{"order": "A-17"}',
        note="better",
    )
    assert response.status_code == 302, response.context["form"].errors
    assert response.headers["Location"].endswith("preview/?version=draft")
    draft = draft_of(of)
    assert draft is not None and draft.number == 2 and draft.created_by == root
    assert draft.content == {"email": {"en": {"subject": "S", "body": "B {{ order }}"}}}
    assert (draft.schema, draft.example, draft.note) == ({"type": "object"}, {"order": "A-17"}, "better")
    assert "better" in page(browser, of, "draft/")


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("content.email.en.body", "one\n{% if x %}", "expected tag endif"),
        ("content.email.en.body", "one\n{{ order | shout }}", "Line 2, column 12: "),
        ("content.email.en.subject", "{{ order", "Line 1: {{ without }} soon after."),
        ("schema", '{\n "a": }', "Line 2, column "),
        ("example", "[1]", "An object: {…}."),
        ("defaults", "nothing", "Line 1, column "),
    ],
)
def test_a_mistake_is_told_at_its_field(browser: Client, field: str, value: str, told: str) -> None:
    of = make()
    values = {"content.email.en.body": "x", field: value}
    response = browser.post(f"{LIST}{of.pk}/draft/", sent() | values)
    assert response.status_code == 200 and draft_of(of) is None
    form = response.context["form"]
    assert told in " ".join(form.errors[field])
    assert html.escape(value.splitlines()[-1]) in response.content.decode()  # what was typed is still there


def test_every_mistake_is_told_at_once(browser: Client) -> None:
    response = save(
        browser,
        make(),
        content__email__en__subject="{{ a",
        content__email__en__body="{% if %}",
        schema="{",
        example="[]",
        note="x" * 501,
    )
    errors = response.context["form"].errors
    assert set(errors) == {
        "content.email.en.subject", "content.email.en.body", "schema", "example", "note",
    }  # fmt: skip
    assert all(len(told) == 1 for told in errors.values())


def test_an_example_that_the_schema_refuses_is_told(browser: Client) -> None:
    of = make()
    values = {"schema": '{"type": "object", "required": ["order"]}', "example": "{}"}
    response = save(browser, of, content__email__en__body="x", **values)
    assert "order" in " ".join(response.context["form"].errors["example"]) and draft_of(of) is None


def test_a_language_is_added_to_the_page_and_nothing_saved(browser: Client) -> None:
    of = make()
    asked = {"add": "Add", "add_channel": "push", "add_language": "PT-br"}
    response = browser.post(f"{LIST}{of.pk}/draft/", sent(content__email__en__body="{% typed") | asked)
    shown = html.unescape(response.content.decode())
    assert 'name="content.push.pt-BR.actions"' in shown and "{% typed" in shown
    assert draft_of(of) is None
    wrong = browser.post(f"{LIST}{of.pk}/draft/", sent() | asked | {"add_language": "x y"})
    assert "Name a channel, and a language" in wrong.content.decode()


def test_what_somebody_else_saved_meanwhile_is_not_lost(browser: Client) -> None:
    of = make()
    save(browser, of, content__email__en__body="theirs")
    response = save(browser, of, content__email__en__body="mine")
    assert "Somebody saved the draft meanwhile" in response.content.decode()
    draft = draft_of(of)
    assert draft is not None and draft.content["email"]["en"]["body"] == "theirs"
    (seen,) = re.findall(r'name="seen" value="(\w+)"', page(browser, of, "draft/"))
    assert save(browser, of, content__email__en__body="mine", seen=seen).status_code == 302


def test_blocks_that_are_none_are_left_out(browser: Client) -> None:
    response = save(browser, make(), "fax.en", "email", "email.en", content__email__en__body="x")
    assert response.status_code == 302


def test_a_draft_is_discarded_after_a_question(browser: Client) -> None:
    of = make()
    assert browser.get(f"{LIST}{of.pk}/discard/").status_code == 404
    version_of_draft = TemplateVersion.objects.create(template=of, number=2)
    assert "will be gone" in page(browser, of, "discard/")
    assert draft_of(of) == version_of_draft
    assert post(browser, of, "discard/").status_code == 302 and draft_of(of) is None


# --- Looking ----------------------------------------------------------------------------------------------


def test_the_preview_is_in_every_language(browser: Client) -> None:
    of = make()
    version(of, {"email": {"en": {"body": "Hi"}, "de": {"body": "Hallo"}}, "sms": {"en": {"body": "“x”"}}})
    shown = text_of(page(browser, of, "preview/"))
    assert "Hi" in shown and "Hallo" in shown and "UCS-2, 3 characters, 1 segment." in shown


def test_an_avatar_is_edited_in_a_line_and_shown_as_an_address(browser: Client) -> None:
    of = make()
    avatar = "https://a.example/{{ order }}.png"
    parts = {"content__in_app__en__body": "x", "content__in_app__en__avatar": avatar}
    more = {"content__email__en__body": "x", "example": '{"order": "A-17"}'}
    assert save(browser, of, "email.en", "in_app.en", **parts, **more).status_code == 302
    draft = draft_of(of)
    assert draft is not None and draft.content["in_app"]["en"] == {"body": "x", "avatar": avatar}
    (field,) = re.findall(r'<textarea name="content.in_app.en.avatar"[^>]*>', page(browser, of, "draft/"))
    assert 'rows="1"' in field
    shown = page(browser, of, "preview/?version=draft")
    assert "Avatar: https://a.example/A-17.png" in text_of(shown) and "<img" not in shown


def test_html_is_shown_in_a_frame_where_nothing_runs(browser: Client) -> None:
    of = make(html=f"<p>{EVIL}</p>{{{{ order }}}}", subject=EVIL)
    shown = page(browser, of, f"preview/?payload={json.dumps({'order': EVIL})}")
    (frame,) = re.findall(r"<iframe[^>]*>", shown)
    assert ' sandbox="" ' in frame and "allow" not in frame
    assert "<script>alert(1)" not in shown
    assert " style=" not in shown and "<style" not in shown.partition('id="content-main"')[2]


@pytest.mark.parametrize("payload", ["{", "[1]", "1", '"text"', "null"])
def test_a_sample_that_is_no_object_is_told(browser: Client, payload: str) -> None:
    response = browser.get(f"{LIST}{make().pk}/preview/", {"payload": payload})
    assert "errorlist" in response.content.decode() and "sides" not in response.context


def test_the_preview_tells_what_a_request_would_be_refused_for(browser: Client) -> None:
    shown = text_of(page(browser, make(subject="{{ footer }}"), "preview/?payload={}"))
    assert "would be refused: order" in shown and "so empty where a payload lacks it: footer." in shown


@pytest.mark.parametrize("query", ["version=9", "version=x", "version=draft", f"version={9**30}"])
def test_a_version_that_is_not_there_is_404(browser: Client, query: str) -> None:
    assert browser.get(f"{LIST}{make().pk}/preview/?{query}").status_code == 404


def test_a_comparison_is_read_without_colour(browser: Client) -> None:
    of = make()
    version(of, {"email": {"en": {"body": "Order {{ order }}\nThank you <b>"}}})
    shown = page(browser, of, "compare/?from=1&to=2")
    assert "<ins>+ Thank you &lt;b&gt;</ins>" in shown and "<span>  Order {{ order }}</span>" in shown
    assert "They are the same." in page(browser, of, "compare/?from=2&to=current")


# --- Publishing, going back, a test ----------------------------------------------------------------------


def test_publishing_shows_its_impact_and_asks(browser: Client, root: User) -> None:
    of = make()
    for payload in ({"order": 1}, {"order": 1, "total": 2}):
        rows.notification(
            template="shipped", template_version=of.current_id, payload=payload, all_channels=True
        )
    content = {"email": {"en": {"body": "{{ total }}"}}}
    draft = TemplateVersion.objects.create(
        template=of,
        number=2,
        content=content,
        schema={"type": "object", "required": ["total"]},
        example={"total": 1},
    )
    shown = text_of(page(browser, of, "publish/"))
    assert "1 of the last 2 notifications" in shown and "payload.total" in shown and "− Order" in shown
    of.refresh_from_db()
    assert of.current != draft
    post(browser, of, "publish/", version="1")  # it was another that was shown
    assert draft_of(of) == draft
    post(browser, of, "publish/", version="2")
    of.refresh_from_db()
    assert of.current == draft and of.current.published_by == root
    assert browser.get(f"{LIST}{of.pk}/publish/").status_code == 302  # there is none any more


def test_a_draft_with_faults_is_not_published(browser: Client) -> None:
    of = make()
    content = {"email": {"en": {"body": "{% if x %}"}}}
    draft = TemplateVersion.objects.create(template=of, number=2, content=content)
    response = browser.post(f"{LIST}{of.pk}/publish/", {"version": "2"}, follow=True)
    assert "content.email.en.body: " in text_of(response.content.decode()) and draft_of(of) == draft


def test_rolling_back_asks_first(browser: Client) -> None:
    of = make()
    version(of, {"email": {"en": {"body": "second"}}})
    assert "second" in text_of(page(browser, of, "rollback/1/"))
    of.refresh_from_db()
    assert of.current is not None and of.current.number == 2
    post(browser, of, "rollback/1/")
    of.refresh_from_db()
    assert of.current.content["email"]["en"]["body"] == "Order {{ order }}"
    assert post(browser, of, "rollback/9/").status_code == 404


def test_a_test_goes_to_oneself_at_once(browser: Client, root: User, rung: list[str]) -> None:
    of = make()
    values = {"payload": '{"order": 7}', "channels": ["email"]}
    response = post(browser, of, "test/", **values)
    row = Notification.objects.get()
    assert response.headers["Location"] == f"/admin/notifications/notification/{row.pk}/change/"
    (target,) = NotificationTarget.objects.all()
    assert (target.user_id, target.address, target.status) == (root.pk, "root@example.com", "queued")
    assert (row.template_version, row.payload, row.metadata) == (of.current_id, {"order": 7}, {"test": True})
    assert row.critical and rung == ["email.critical"]


@pytest.mark.parametrize(
    "values", [{"payload": "{}"}, {"payload": "["}, {"payload": '{"order": 1}', "channels": ["sms"]}]
)
def test_a_test_that_would_be_refused_is_not_sent(browser: Client, values: Any) -> None:
    response = post(browser, make(), "test/", **({"channels": ["email"]} | values))
    assert "errorlist" in response.content.decode() and not Notification.objects.exists()


def test_who_has_no_address_is_told(browser: Client, root: User) -> None:
    User.objects.filter(pk=root.pk).update(email="")
    shown = text_of(page(browser, make(), "test/"))
    assert "You have no e-mail address." in shown and "no channel by which it would reach you" in shown


# --- Who may ----------------------------------------------------------------------------------------------


def test_who_may_look_may_not_change(browser: Client) -> None:
    of = make()
    TemplateVersion.objects.create(template=of, number=2, content={"email": {"en": {"body": "x"}}})
    person = User.objects.create(login="ann", is_staff=True, organization_id=DEFAULT_ORGANIZATION_ID)
    client = Client()
    assert client.get(f"{LIST}{of.pk}/preview/").status_code == 302  # to the login
    client.force_login(person)
    assert {client.get(f"{LIST}{of.pk}/{name or 'change/'}").status_code for name in VIEWED} == {403}
    person.user_permissions.add(Permission.objects.get(codename="view_notificationtemplate"))
    assert {client.get(f"{LIST}{of.pk}/{name or 'change/'}").status_code for name in VIEWED} == {200}
    assert "Publish…" not in client.get(f"{LIST}{of.pk}/change/").content.decode()
    for name in CHANGED:
        assert client.get(f"{LIST}{of.pk}/{name}").status_code == 403
        assert client.post(f"{LIST}{of.pk}/{name}", sent() | {"version": "2"}).status_code == 403
    of.refresh_from_db()
    assert of.current is not None and of.current.number == 1 and draft_of(of) is not None


@pytest.mark.parametrize("name", CHANGED)
def test_what_comes_from_another_page_changes_nothing(root: User, name: str) -> None:
    of = make()
    TemplateVersion.objects.create(template=of, number=2)
    client = Client(enforce_csrf_checks=True)
    client.force_login(root)
    assert client.post(f"{LIST}{of.pk}/{name}", {"version": "2"}).status_code == 403
    assert draft_of(of) is not None


# --- Types ------------------------------------------------------------------------------------------------


def type_form(**values: str) -> dict[str, str]:
    return {
        "slug": "orders", "name": "Orders", "category": "immediate", "dedupe_window": "60",
        "overflow": "skip", "channels": "", "fallback": "", "organization": "1",
    } | values  # fmt: skip


def test_a_type_is_made_by_the_rules_of_the_api(browser: Client) -> None:
    wrong = type_form(
        channels="fax", overflow="fallback", cap_per_hour="0", dedupe_window="-1", category="marketing",
        critical="on",
    )  # fmt: skip
    errors = browser.post(f"{TYPES}add/", wrong).context["adminform"].form.errors
    assert set(errors) == {"channels", "fallback", "cap_per_hour", "dedupe_window", "critical"}
    assert not NotificationType.objects.exists()
    right = type_form(channels="email, sms", fallback="sms,email", overflow="fallback", cap_per_hour="5")
    assert browser.post(f"{TYPES}add/", right).status_code == 302
    made = NotificationType.objects.get()
    assert (made.channels, made.fallback, made.cap_per_hour) == (["email", "sms"], ["sms", "email"], 5)
    assert "orders" in browser.get(TYPES).content.decode()


def test_a_types_slug_stays_and_it_stays_while_it_is_used(browser: Client) -> None:
    row = type_of("orders")
    browser.post(f"{TYPES}{row.pk}/change/", type_form(slug="other", name="New"))
    row.refresh_from_db()
    assert (row.slug, row.name) == ("orders", "New")
    of = template("shipped", {"email": {"body": "x"}}, type="orders").template
    assert browser.post(f"{TYPES}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    NotificationTemplate.objects.filter(pk=of.pk).update(type="")
    assert browser.post(f"{TYPES}{row.pk}/delete/", {"post": "yes"}).status_code == 302
