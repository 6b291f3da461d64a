"""Where a link to unsubscribe leads: a mail client's one click, and the page for people."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from apps.content.models import NotificationType
from apps.preferences import choices, unsubscribing
from apps.preferences.choices import Wanted
from apps.preferences.models import Choice
from apps.users.models import User
from project import clock, ids
from tests.support import rows
from tests.support.database import capture, move_clock
from tests.users.test_database_away import nowhere

TARGET = ids.target_id()
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
def ada(db: None) -> User:
    (person,) = rows.people(email="ada@example.com", timezone="Asia/Tokyo")
    return person


def link(person: User, type: str = "news") -> str:
    return unsubscribing.url(TARGET, person.pk, type=type, public_url="")


def ask(method: str, path: str, data: Any = None, **more: Any) -> Any:
    """The answer to somebody without cookies, whom CSRF checks would stop."""
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    response = getattr(client, method)(path, data, **more)
    assert not response.cookies and "Cookie" not in response.get("Vary", "")
    assert response["Cache-Control"] == "no-store" and response["X-Robots-Tag"] == "noindex"
    assert response["Referrer-Policy"] == "no-referrer"
    return response


def written() -> list[tuple[Any, ...]]:
    return list(Choice.objects.order_by("type", "channel").values_list("type", "channel", "how", "source"))


def page(response: Any, status: int = 200) -> str:
    """The page's text, which a strict policy lets show."""
    text: str = response.content.decode()
    assert response.status_code == status and response["Content-Type"].startswith("text/html")
    policy = response["Content-Security-Policy"]
    (nonce,) = re.findall(r"style-src 'nonce-([^']+)'", policy)
    assert f'<style nonce="{nonce}">' in text and "default-src 'none'" in policy
    assert "<script" not in text and " style=" not in text and " src=" not in text
    return text


# --- One click -------------------------------------------------------------------------------------------


def as_form(path: str) -> Any:
    body = "List-Unsubscribe=One-Click"
    return ask("post", path, body, content_type="application/x-www-form-urlencoded")


def as_multipart(path: str) -> Any:
    return ask("post", path, ONE_CLICK)


@pytest.mark.parametrize("post", [as_form, as_multipart])
@pytest.mark.parametrize(("type", "scope"), [("news", ("news", "email")), ("", ("", "email"))])
def test_one_click_switches_it_off_by_email(post: Any, type: str, scope: Any, ada: User) -> None:
    for _ in range(2):
        response = post(link(ada, type))
        assert (response.status_code, response.content) == (200, b"Unsubscribed.\n")
        assert "Location" not in response and response["Content-Type"].startswith("text/plain")
        assert written() == [(*scope, "off", "mail_client")]


def test_one_click_leaves_the_reason_that_was_given(ada: User) -> None:
    told = Wanted("news", "email", "off", reason="too many")
    choices.write(ada.pk, [told], source="link")
    before = Choice.objects.values().get()
    as_form(link(ada))
    assert Choice.objects.values().get() == before


def test_one_click_makes_a_pause_last(ada: User) -> None:
    pause = Wanted("news", "email", "off", clock.now() + timedelta(days=1))
    choices.write(ada.pk, [pause], source="link")
    as_form(link(ada))
    assert Choice.objects.get().until is None


def test_who_has_to_decide_anew_is_told_once(ada: User) -> None:
    told: list[Any] = []

    def hear(user_ids: Any, **more: Any) -> None:
        assert connection.in_atomic_block
        told.append(user_ids)

    choices.changed.connect(hear)
    try:
        as_form(link(ada))
        as_form(link(ada))
    finally:
        choices.changed.disconnect(hear)
    assert told == [[ada.pk]]


def test_it_is_logged_by_ids_alone(ada: User, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        as_form(link(ada))
        ask("post", link(ada), {"what": "nonsense"})
        ask("get", link(ada)[:-1])
    (record,) = caplog.records
    assert (record.message, record.user_id, record.target_id, record.source) == (  # type: ignore[attr-defined]
        *("unsubscribed", ada.pk),
        *(str(TARGET), "mail_client"),
    )


# --- Who looks changes nothing ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["get", "head"])
def test_looking_changes_nothing(method: str, ada: User) -> None:
    with capture() as statements:
        response = ask(method, f"{link(ada)}?List-Unsubscribe=One-Click&what=everything")
    assert response.status_code == 200 and written() == []
    assert statements and all(sql.startswith("SELECT") for sql in statements)


@pytest.mark.parametrize("method", ["put", "patch", "delete", "options"])
def test_nothing_else_is_taken(method: str, ada: User) -> None:
    response = ask(method, link(ada))
    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD, POST")
    assert written() == []


@pytest.mark.parametrize("method", ["get", "head", "post"])
@pytest.mark.parametrize("what", ["cut", "longer", "another's", "deleted", "inactive"])
def test_a_link_that_leads_nowhere(what: str, method: str, ada: User) -> None:
    path = {"cut": link(ada)[:-1], "longer": f"{link(ada)}/more", "another's": f"/u/{'x' * 80}"}.get(what)
    path = path or link(ada)
    if what == "deleted":
        ada.delete()
    if what == "inactive":
        User.objects.filter(pk=ada.pk).update(is_active=False)
    response = ask(method, path, ONE_CLICK if method == "post" else None)
    assert response.status_code == 404 and written() == []
    assert method == "head" or "Not found" in page(response, 404)


def test_without_the_database_a_client_is_told_to_come_back(ada: User) -> None:
    path = link(ada)
    with nowhere():
        response = ask("post", path, ONE_CLICK)
    assert (response.status_code, response["Retry-After"]) == (503, "5")


# --- The page --------------------------------------------------------------------------------------------


def test_the_page_says_what_it_is_about_in_human_words(ada: User) -> None:
    NotificationType.objects.create(slug="news", name="The <system's> news", category="marketing")
    text = page(ask("get", link(ada)))
    assert "ada@example.com" in text and "“The &lt;system&#x27;s&gt; news”" in text
    NotificationType.objects.create(
        slug="news", name="Our news", category="marketing", organization_id=ada.organization_id
    )
    assert "“Our news” by e-mail" in page(ask("get", link(ada)))
    assert "“other”" in page(ask("get", link(ada, "other")))  # a type that has gone


def test_every_field_has_a_label_and_every_group_a_legend(ada: User) -> None:
    text = page(ask("get", link(ada)))
    fields = set(re.findall(r'<(?:input|textarea)[^>]*\bid="(\w+)"', text))
    assert fields == {"until", "reason"} <= set(re.findall(r'<label[^>]*\bfor="(\w+)"', text))
    assert len(re.findall(r'<label class="choice"><input type="radio"', text)) == 4
    assert "<legend>" in text and '<html lang="en">' in text and "viewport" in text


def test_a_mail_of_no_type_offers_no_type(ada: User) -> None:
    assert re.findall(r'name="what" value="(\w+)"', page(ask("get", link(ada, "")))) == [
        "email",
        "everything",
    ]
    assert ask("post", link(ada, ""), {"what": "type"}).status_code == 400
    assert written() == []


@pytest.mark.parametrize(
    ("what", "scope"),
    [
        ("type_email", ("news", "email")),
        ("type", ("news", "")),
        ("email", ("", "email")),
        ("everything", ("", "")),
    ],
)
def test_each_choice_writes_its_row_and_no_other(what: str, scope: tuple[str, str], ada: User) -> None:
    kept = Wanted("other", "sms", "weekly")
    choices.write(ada.pk, [kept], source="person")
    text = page(ask("post", link(ada), {"what": what, "reason": " too\r\nmany ", "until": ""}))
    assert 'role="status"' in text and f'name="again" value="{what}"' in text
    assert f'name="what" value="{what}"' not in text  # it is off
    assert written() == sorted([(*scope, "off", "link"), ("other", "sms", "weekly", "person")])
    row = Choice.objects.get(type=scope[0], channel=scope[1])
    assert (row.reason, row.until) == ("too\nmany", None)


@pytest.mark.parametrize("what", ["type_email", "everything"])
def test_subscribing_again_removes_the_row_it_names(what: str, ada: User) -> None:
    for each in ("type_email", "everything"):
        ask("post", link(ada), {"what": each})
    text = page(ask("post", link(ada), {"again": what}))
    left = {"type_email": ("", ""), "everything": ("news", "email")}[what]
    assert written() == [(*left, "off", "link")]
    assert f'name="what" value="{what}"' in text


@pytest.mark.parametrize("how", ["on", "daily", "weekly"])
def test_subscribing_again_takes_nothing_that_is_not_off(how: str, ada: User) -> None:
    choices.write(ada.pk, [Wanted("news", "email", how)], source="person")
    page(ask("post", link(ada), {"again": "type_email"}))
    assert written() == [("news", "email", how, "person")]


# Midnight in Tokyo is 15:00 UTC of the day before.
def test_a_pause_ends_when_the_day_begins_where_the_person_is(ada: User) -> None:
    today = clock.now() + timedelta(hours=9)
    day = today.date() + timedelta(days=3)
    text = page(ask("post", link(ada), {"what": "everything", "until": day.isoformat()}))
    begins = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=9)
    assert Choice.objects.get().until == begins
    assert f"until {day.day} {day:%B %Y}" in text and "Asia/Tokyo" in text
    move_clock((begins - clock.now()).total_seconds() + 60)
    assert "You do not get" not in page(ask("get", link(ada)))


@pytest.mark.parametrize("zone", ["", "Nowhere/Nope", "../etc/passwd"])
def test_somebody_whose_time_zone_is_none_has_utc(zone: str, ada: User) -> None:
    User.objects.filter(pk=ada.pk).update(timezone=zone)
    assert "(UTC)" in page(ask("get", link(ada)))


@pytest.mark.parametrize(("days", "status"), [(-1, 400), (0, 400), (1, 200), (365, 200), (366, 400)])
def test_a_pause_is_in_the_future_and_a_year_at_most(days: int, status: int, ada: User) -> None:
    today = (clock.now() + timedelta(hours=9)).date()
    given = {"what": "email", "until": (today + timedelta(days=days)).isoformat()}
    text = page(ask("post", link(ada), given), status)
    assert len(written()) == (status == 200)
    assert status == 200 or ('id="wrong-until"' in text and f'value="{given["until"]}"' in text)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({}, ["what"]),
        ({"what": "nonsense"}, ["what"]),
        ({"again": "nonsense"}, ["what"]),
        ({"List-Unsubscribe": "Two-Clicks"}, ["what"]),
        ({"what": "email", "until": "tomorrow"}, ["until"]),
        ({"what": "email", "until": "2027-02-30"}, ["until"]),
        ({"what": "email", "until": "9999-12-31"}, ["until"]),
        ({"what": "email", "reason": "x" * 501}, ["reason"]),
        ({"what": "", "until": "\0", "reason": "<b>" * 200}, ["what", "until", "reason"]),
    ],
)
def test_every_wrong_field_is_named_at_once_and_nothing_written(given: Any, wrong: Any, ada: User) -> None:
    text = page(ask("post", link(ada), given), 400)
    assert re.findall(r'id="wrong-(\w+)"', text) == wrong
    assert 'role="alert"' in text and "<b>" not in text and written() == []


@pytest.mark.parametrize("reason", ["x" * 500, "é🎉" * 250, "a\r\n" * 250, "nul\0"])
def test_a_reason_of_500_characters_is_kept(reason: str, ada: User) -> None:
    page(ask("post", link(ada), {"what": "email", "reason": reason}))
    assert Choice.objects.get().reason == reason.replace("\r\n", "\n").replace("\0", "").strip()


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"List-Unsubscribe=One-Click", "text/plain"),
        (b'{"List-Unsubscribe": "One-Click"}', "application/json"),
        (b"List-Unsubscribe=One-Click", "multipart/form-data"),
        (b"--x\r\nnonsense", "multipart/form-data; boundary=x"),
        (b"List-Unsubscribe=One-Click", "application/x-www-form-urlencoded; charset=utf-16"),
        (b"&".join(b"a%d=" % n for n in range(1_001)), "application/x-www-form-urlencoded"),
        (b"", "application/x-www-form-urlencoded"),
    ],
)
def test_a_body_that_is_no_form_is_refused(body: bytes, content_type: str, ada: User) -> None:
    page(ask("post", link(ada), body, content_type=content_type), 400)
    assert written() == []


def test_statements(ada: User) -> None:
    """Who; their lock, the time and what is off; the choice, which locks for itself; what waits, under it."""
    with capture() as clicked:
        as_form(link(ada))
    assert len(clicked) == 8, clicked
    with capture() as again:
        as_form(link(ada))
    assert not [sql for sql in again if sql.startswith(("INSERT", "UPDATE", "DELETE"))]
