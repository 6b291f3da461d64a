"""The templates' pages: mistakes are told where they are; the preview shows and lets nothing run."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from apps.content.models import NotificationTemplate
from apps.users.models import User
from project import db
from tests.support.database import capture

pytestmark = pytest.mark.django_db
LIST = "/admin/content/notificationtemplate/"
EVIL = '"><script>alert(1)</script>'


@pytest.fixture
def browser() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def make(**fields: Any) -> NotificationTemplate:
    values = {"name": "shipping", "channel": "email", "body": "Order {{ order }}", "variables": ["order"]}
    return NotificationTemplate.objects.create(**(values | fields))


def form(**fields: str) -> dict[str, str]:
    values = {"name": "hello", "channel": "email", "subject": "", "body": "Hi", "html": "", "variables": ""}
    return values | {"organization": "1"} | fields


def preview(browser: Client, template: NotificationTemplate, payload: object = None) -> str:
    query = {"payload": json.dumps(payload)} if payload is not None else {}
    response = browser.get(f"{LIST}{template.pk}/preview/", query)
    assert response.status_code == 200
    return str(response.content.decode())


# --- List and form ---------------------------------------------------------------------------------------


def test_the_list_costs_the_same_for_any_number(browser: Client) -> None:
    make()
    browser.get(LIST)
    with capture() as few:
        browser.get(LIST)
    for number in range(20):
        make(name=f"t{number}")
    with capture() as many:
        assert "t19" in browser.get(LIST).content.decode()
    assert len(few) == len(many) == 4  # session, user, how many, the page
    assert not any("COUNT(" in statement for statement in many)


def test_saved_with_variables_between_commas(browser: Client) -> None:
    response = browser.post(f"{LIST}add/", form(body="{{ order }}", variables="order, total,order"))
    assert response.status_code == 302
    assert NotificationTemplate.objects.get().variables == ["order", "total"]


@pytest.mark.parametrize(
    ("field", "source", "told"),
    [
        ("body", "one\n{% if x %}", "expected tag endif"),
        ("body", "one\n{{ order | shout }}", "Line 2, column 12: there is no filter “shout”."),
        ("subject", "{{ order", "Line 1: {{ without }} soon after."),
        ("html", "<p>\n{{ order | safe }}", "Line 2, column 12: there is no filter “safe”."),
    ],
)
def test_a_mistake_is_told_at_its_field(browser: Client, field: str, source: str, told: str) -> None:
    response = browser.post(f"{LIST}add/", form(**{field: source}))
    assert response.status_code == 200 and not NotificationTemplate.objects.exists()
    assert told in " ".join(response.context["adminform"].form.errors[field])


def test_an_unknown_channel_is_refused(browser: Client) -> None:
    assert browser.post(f"{LIST}add/", form(channel="pigeon")).status_code == 200
    assert not NotificationTemplate.objects.exists()


def test_what_has_no_html_of_an_e_mail_cannot_be_tracked(browser: Client) -> None:
    for fields in ({}, {"channel": "sms", "html": "<p>x</p>"}):
        response = browser.post(f"{LIST}add/", form(track="on", **fields))
        assert "There is no HTML" in " ".join(response.context["adminform"].form.errors["track"])
    assert not NotificationTemplate.objects.exists()
    assert browser.post(f"{LIST}add/", form(track="on", html="<p>x</p>")).status_code == 302
    assert NotificationTemplate.objects.get().track is True


def test_what_an_older_version_writes_is_not_tracked() -> None:
    db.execute(
        "INSERT INTO content_notificationtemplate"
        " (organization_id, name, channel, subject, body, html, variables)"
        " VALUES (1, 'old', 'email', '', 'x', '<p>x</p>', '{}')"
    )
    assert NotificationTemplate.objects.get().track is False


# --- Preview ---------------------------------------------------------------------------------------------


def test_the_preview_starts_with_a_sample_of_the_variables(browser: Client) -> None:
    page = preview(browser, make())
    assert "Order order" in page
    assert '{\n  "order": "order"\n}' in html.unescape(page)


def test_the_preview_renders_every_part(browser: Client) -> None:
    template = make(subject="No. {{ order }}", html="<b>{{ order }}</b> for {{ recipient.name }}")
    page = preview(browser, template, {"order": "A&B"})
    assert "No. A&amp;B" in page and "Order A&amp;B" in page
    assert html.unescape(page).count("<b>A&amp;B</b> for Ada Lovelace") == 2  # the frame, and its source


def test_html_is_shown_in_a_frame_where_nothing_runs(browser: Client) -> None:
    page = preview(browser, make(html=f"<p>{EVIL}</p>{{{{ order }}}}"), {"order": EVIL})
    frames = re.findall(r"<iframe[^>]*>", page)
    assert len(frames) == 1
    assert ' sandbox="" ' in frames[0] and "allow" not in frames[0]
    assert "<script>alert(1)" not in page  # neither the template's nor the payload's, outside of the frame


def test_text_parts_and_errors_are_escaped(browser: Client) -> None:
    template = make(name="x", subject=f"{EVIL}{{{{ order }}}}", body=f"{EVIL}{{{{ 1 | divided_by: order }}}}")
    page = preview(browser, template, {"order": 0, EVIL: EVIL})
    assert "divide by 0" in page and "<script>alert(1)" not in page


@pytest.mark.parametrize(
    ("order", "size"),
    [
        ("1", "GSM-7, 7 characters, 1 segment."),
        ("€" * 80, "GSM-7, 86 characters, 2 segments."),
        ("“1”", "UCS-2, 9 characters, 1 segment."),
    ],
)
def test_an_sms_is_measured(browser: Client, order: str, size: str) -> None:
    template = make(channel="sms", subject="S", html="<p>H</p>")
    assert preview(browser, template, {"order": order}).count(f"As an SMS: {size}") == 1


def test_nothing_else_is_measured(browser: Client) -> None:
    assert "As an SMS" not in preview(browser, make(), {"order": "1"})
    broken = make(name="broken", channel="sms", body="{{ 1 | divided_by: order }}")
    page = preview(browser, broken, {"order": 0})
    assert "divide by 0" in page and "As an SMS" not in page


def test_what_is_missing_and_what_is_not_declared(browser: Client) -> None:
    page = preview(browser, make(body="{{ order }} {{ footer }}"), {})
    assert "it lacks order." in page
    assert "so empty where a payload lacks it: footer." in page


@pytest.mark.parametrize(
    "payload", ["{", "[1]", "1", '"text"', "null", f'{{"a": "{"x" * 6000}"}}', "\x00", "[" * 4000]
)
def test_a_sample_that_is_no_object_is_told(browser: Client, payload: str) -> None:
    response = browser.get(f"{LIST}{make().pk}/preview/", {"payload": payload})
    assert response.status_code == 200
    assert "errorlist" in response.content.decode()
    assert response.context["parts"] == []


def test_an_unknown_template_has_no_preview(browser: Client) -> None:
    assert browser.get(f"{LIST}4711/preview/").status_code == 404


def test_who_may_look(browser: Client) -> None:
    template = make()
    person = User.objects.create(login="ann", is_staff=True)
    client = Client()
    assert client.get(f"{LIST}{template.pk}/preview/").status_code == 302  # to the login
    client.force_login(person)
    assert client.get(f"{LIST}{template.pk}/preview/").status_code == 403
    assert client.get(LIST).status_code == 403
    person.user_permissions.add(Permission.objects.get(codename="view_notificationtemplate"))
    assert client.get(f"{LIST}{template.pk}/preview/").status_code == 200
    assert client.post(f"{LIST}add/", form()).status_code == 403
