"""Where links and pixels of ours lead, and what is counted of them."""

from __future__ import annotations

import logging
import threading
from contextlib import nullcontext
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError, connection
from django.test import Client

from apps.notifications import counting, engagement, tracking
from apps.notifications.statuses import Status
from project import clock, ids
from tests.support import rows
from tests.support.database import capture, move_clock, other_connection, until
from tests.users.test_database_away import nowhere

pytestmark = pytest.mark.django_db
TARGET = ids.target_id()
URL = "https://shop.example/p?a=1&b=2#c"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[UUID, bool]]:
    """What was counted, and whether as a click."""
    found: list[tuple[UUID, bool]] = []
    monkeypatch.setattr(counting, "count", lambda id, clicked=False: found.append((id, clicked)))
    return found


def link(url: str = URL, target: UUID = TARGET) -> str:
    return f"/t/c/{tracking._token('click', target, url)}"


def picture(target: UUID = TARGET) -> str:
    return f"/t/o/{tracking._token('open', target)}.gif"


def ask(path: str, method: str = "GET", **headers: str) -> Any:
    """The answer, for which nothing was asked of the database."""
    with capture() if connection.connection else nullcontext([]) as statements:
        response = Client(raise_request_exception=False).generic(method, path, **headers)
    assert statements == [] and not response.cookies
    return response


# --- Links -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "location"),
    [
        (URL, URL),
        ("http://a.example", "http://a.example"),
        ("https://a.example/%20?x=%2F", "https://a.example/%20?x=%2F"),
        ("https://a.example/ü ä", "https://a.example/%C3%BC%20%C3%A4"),
        ("https://a.example/\r\nSet-Cookie: x=1", "https://a.example/%0D%0ASet-Cookie:%20x=1"),
        ("https://a.example/".ljust(2_000, "x"), "https://a.example/".ljust(2_000, "x")),
    ],
)
def test_a_link_leads_to_where_it_was_signed_for(url: str, location: str, counted: list[Any]) -> None:
    response = ask(link(url))
    assert (response.status_code, response["Location"], response.content) == (302, location, b"")
    assert response["Cache-Control"] == "no-store" and response["X-Robots-Tag"] == "noindex"
    assert response["Referrer-Policy"] == "no-referrer"
    assert counted == [(TARGET, True)]


def test_a_picture_is_a_gif_nobody_keeps(counted: list[Any]) -> None:
    response = ask(picture())
    assert (response.status_code, response["Content-Type"]) == (200, "image/gif")
    assert response.content[:6] == b"GIF89a" and response.content[6:10] == b"\x01\0\x01\0"
    assert response["Cache-Control"] == "no-store"
    assert counted == [(TARGET, False)]


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("HEAD", {}),
        ("GET", {"HTTP_SEC_PURPOSE": "prefetch;prerender"}),
        ("GET", {"HTTP_PURPOSE": "prefetch"}),
    ],
)
def test_who_only_looks_ahead_is_answered_and_not_counted(method, headers, counted: list[Any]) -> None:
    assert ask(link(), method, **headers)["Location"] == URL
    assert ask(picture(), method, **headers).status_code == 200
    assert counted == []


def forged() -> list[str]:
    token = link().removeprefix("/t/c/")
    pixel = picture().removeprefix("/t/o/").removesuffix(".gif")
    return [
        "/t/c/x",
        f"/t/c/{token[:-1]}",
        f"/t/c/{token}/",
        f"/t/c/{token}/more",
        f"/t/c/{pixel}",
        f"/t/o/{token}.gif",
        "/t/o/x.gif",
        f"/t/c/https://evil.example/?{token}",
        "/t/c/%00%ff",
    ]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("number", range(len(forged())))
def test_what_we_have_not_signed_leads_nowhere_and_is_not_logged(
    number: int, method: str, counted: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        response = ask(forged()[number], method)
    assert response.status_code == 404 and "Location" not in response.headers
    assert response["Content-Type"].startswith("text/html") and response["X-Robots-Tag"] == "noindex"
    assert counted == [] and caplog.text == ""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_else_than_looking_is_taken(
    method: str, counted: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    for path in (link(), picture()):
        response = Client(enforce_csrf_checks=True).generic(method, path)
        assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")
        assert "Location" not in response.headers
    assert counted == [] and caplog.text == ""


# --- Counting --------------------------------------------------------------------------------------------


def times(id: UUID) -> tuple[Any, Any, str]:
    row = rows.row(id)
    return row["opened_at"], row["clicked_at"], row["status"]


@pytest.mark.django_db
def test_the_first_time_stays_and_the_status_too() -> None:
    both, open_only, neither = rows.targets(rows.notification(), Status.SENT, 3)
    first = clock.now()
    engagement.happened(opened={both, open_only, ids.target_id()}, clicked={both})
    assert [times(id) for id in (both, open_only, neither)] == [
        (first, first, "sent"),
        (first, None, "sent"),
        (None, None, "sent"),
    ]
    move_clock(60)
    engagement.happened(opened={both}, clicked={both, open_only})
    assert times(both) == (first, first, "sent")
    assert times(open_only) == (first, clock.now(), "sent")


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, 100])
def test_any_number_costs_two_statements(count: int) -> None:
    targets = rows.targets(rows.notification(), Status.SENT, count)
    with capture() as statements:
        engagement.happened(opened=targets, clicked=targets)
    assert len(statements) == 2


@pytest.fixture
def short_lived(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread gives up its connection at once, so that the database of the tests can go."""
    monkeypatch.setattr(counting, "IDLE_SECONDS", 0.05)


def gave_up() -> bool:
    return not any(thread.name == "counter" for thread in threading.enumerate())


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("short_lived")
def test_opens_and_clicks_are_counted_in_the_background() -> None:
    opened, clicked = rows.targets(rows.notification(), Status.SENT, 2)
    for _ in range(3):
        ask(picture(opened))
        assert ask(link(target=clicked)).status_code == 302
    until(lambda: times(opened)[0] and times(clicked)[1])
    assert times(opened)[1] is None and times(clicked)[0] is None
    until(gave_up)
    first = times(opened)[0]
    ask(picture(clicked))  # by a new thread
    until(lambda: times(clicked)[0])
    assert times(opened)[0] == first
    until(gave_up)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("short_lived")
def test_without_a_database_the_link_leads_on_and_those_to_come_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (target,) = rows.targets(rows.notification(), Status.SENT)
    with nowhere():
        assert ask(link(target=target))["Location"] == URL
        assert ask(picture(target)).status_code == 200
        until(lambda: "not counted" in caplog.text)
    assert times(target)[:2] == (None, None)
    ask(link(target=target))
    until(lambda: times(target)[1])
    until(gave_up)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("short_lived")
def test_a_target_that_is_locked_holds_up_nobody() -> None:
    (target,) = rows.targets(rows.notification(), Status.SENT)
    with other_connection() as holder:
        holder.execute("SELECT 1 FROM notifications_notificationtarget WHERE id = %s FOR UPDATE", [target])
        assert ask(link(target=target)).status_code == 302
        assert ask(link(target=target)).status_code == 302
        assert times(target)[1] is None
        holder.rollback()
    until(lambda: times(target)[1])
    until(gave_up)


def test_what_is_more_than_can_wait_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[set[UUID], set[UUID]]] = []
    held, going = threading.Event(), threading.Event()

    def write(opened: set[UUID], clicked: set[UUID]) -> None:
        taken.append((opened, clicked))
        going.set()
        held.wait(10)

    monkeypatch.setattr(counting, "_write", write)
    monkeypatch.setattr(counting, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(counting, "MOST", 3)
    targets = ids.target_ids(6)
    counting.count(targets[0])
    assert going.wait(10)
    for target in targets[1:]:
        counting.count(target, clicked=True)
    held.set()
    until(lambda: len(taken) == 2)
    assert taken == [({targets[0]}, set()), (set(), set(targets[1:4]))]
    until(gave_up)


def test_whatever_goes_wrong_is_told_without_the_target(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**given: object) -> None:
        raise OperationalError(f"no such thing as {TARGET}")

    monkeypatch.setattr(engagement, "happened", fail)
    counting._write({TARGET}, {TARGET})
    (record,) = caplog.records
    assert (record.__dict__["count"], record.__dict__["error"]) == (2, "OperationalError")
    assert str(TARGET) not in caplog.text
