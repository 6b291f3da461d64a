"""Schedules over HTTP, and on the admin's pages."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from apps.notifications import schedules
from apps.notifications.models import Notification
from apps.notifications.schedule_models import Schedule, ScheduleRun
from apps.users.models import Scope, ServiceClient, User
from project import clock, ids
from tests.api_helpers import Api, fields, make_key, make_organization, make_service, problem
from tests.notifications.api_support import everything
from tests.support import rows
from tests.support.database import move_clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rung")]
PATH = "/api/schedules/"
HELLO = {"title": "Hello", "body": "Test", "targets": ["ada"], "channels": ["email"]}
DAILY = {"name": "Daily", "notification": HELLO, "cron": "0 9 * * *", "timezone": "Europe/Berlin"}
HOSTILE = "FREQ=MINUTELY;INTERVAL=5;BYMONTH=2;BYMONTHDAY=30"


@pytest.fixture(autouse=True)
def ada(service: ServiceClient) -> User:
    (person,) = rows.people(external_id="ada")
    return person


def made(api: Api, **changes: Any) -> dict[str, Any]:
    response = api.post(PATH, DAILY | changes)
    assert response.status_code == 201, response.content
    body: dict[str, Any] = response.json()
    return body


def patch(api: Api, id: str, **changes: Any) -> Any:
    return api.send("PATCH", f"{PATH}{id}/", changes)


def test_one_is_created_and_read(api: Api, service: ServiceClient) -> None:
    body = made(api, starts_at="2100-03-27T09:00", excluded=["2100-03-29"])
    assert body["name"] == "Daily" and body["notification"] == HELLO and body["client"] == service.pk
    assert (body["rrule"], body["cron"], body["missed"]) == (None, "0 9 * * *", "once")
    assert (body["starts_at"], body["ends_at"]) == ("2100-03-27T09:00:00", None)
    assert (body["paused"], body["paused_at"], body["last_at"]) == (False, None, None)
    assert [one["wall"] for one in body["next"]] == [
        f"2100-03-{day}T09:00:00" for day in (27, 28, 30, 31)
    ] + ["2100-04-01T09:00:00"]
    # 09:00 in Berlin: the clock is put forward on the 28th.
    assert [one["at"][-9:] for one in body["next"]] == ["08:00:00Z"] + ["07:00:00Z"] * 4
    assert api.get(f"{PATH}{body['id']}/").json() == body
    assert api.get(PATH).json()["items"] == [body]
    assert not Notification.objects.exists()


def test_it_starts_now_by_the_clock_of_its_zone(api: Api) -> None:
    body = made(api, cron=None, rrule="FREQ=DAILY", timezone="Asia/Kolkata")
    local = (clock.now() + timedelta(hours=5, minutes=30)).replace(tzinfo=None)
    assert abs(local - datetime.fromisoformat(body["starts_at"])) < timedelta(minutes=1)
    assert len(body["next"]) == 5


def test_nothing_is_written_of_a_schedule_that_is_wrong(api: Api) -> None:
    before = everything()
    inline = {"external_id": "new", "email": "new@example.com"}
    response = api.post(PATH, {
        "notification": {"title": "x", "targets": ["nobody", inline], "channels": ["fax"],
                         "scheduled_at": "x"},
        "rrule": "FREQ=SECONDLY", "timezone": "UTC", "missed": "never", "colour": "red",
        "excluded": ["2027-01-01", "2027-02-30"],
    })  # fmt: skip
    assert fields(response) == {
        "name": "required", "rrule": "invalid", "missed": "invalid", "colour": "unknown_field",
        "excluded[1]": "invalid", "notification.targets[0]": "unknown_user",
        "notification.channels[0]": "unknown_channel", "notification.scheduled_at": "conflict",
    }  # fmt: skip
    assert everything() == before


def test_users_that_are_brought_along_are_written_when_it_occurs(api: Api) -> None:
    body = made(api, notification=HELLO | {"targets": [{"external_id": "new", "email": "n@example.com"}]})
    assert not User.objects.filter(external_id="new").exists()
    move_clock(25 * 3600)
    assert schedules.make_due(1) == 1
    assert User.objects.filter(external_id="new").exists()
    (run,) = api.get(f"{PATH}{body['id']}/runs/").json()["items"]
    assert run["status"] == "made" and run["wall"] == body["next"][0]["wall"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rrule": "FREQ=DAILY"}, {"cron": "conflict"}),
        ({"cron": None}, {"rrule": "required"}),
        ({"cron": ""}, {"rrule": "required"}),
        ({"cron": "* * * * *"}, {"cron": "too_often"}),
        ({"cron": None, "rrule": "FREQ=MINUTELY"}, {"rrule": "too_often"}),
        ({"cron": "0 0 30 2 *"}, {"cron": "invalid"}),
        ({"cron": "x" * 301}, {"cron": "too_long"}),
        ({"cron": None, "rrule": "x" * 1001}, {"rrule": "too_long"}),
        ({"cron": None, "rrule": HOSTILE}, {"rrule": "no_occurrence"}),
        ({"cron": None, "rrule": "FREQ=DAILY;UNTIL=20200101"}, {"rrule": "no_occurrence"}),
        ({"cron": None, "rrule": "FREQ=DAILY;COUNT=0"}, {"rrule": "invalid"}),
        ({"timezone": "Mars/Olympus"}, {"timezone": "invalid"}),
        ({"timezone": ""}, {"timezone": "invalid"}),
        ({"starts_at": "2027-01-01T09:00:00Z"}, {"starts_at": "invalid"}),
        ({"starts_at": "1999-12-31T09:00:00"}, {"starts_at": "invalid"}),
        ({"starts_at": "2026-W01-4T09:00"}, {"starts_at": "invalid"}),
        ({"starts_at": "2101-01-01T09:00", "ends_at": "2101-01-01T08:59"}, {"ends_at": "conflict"}),
        ({"ends_at": "2020-01-01T09:00", "starts_at": "2019-01-01T09:00"}, {"cron": "no_occurrence"}),
        ({"excluded": ["2027-01-01"] * 501}, {"excluded": "too_many"}),
        ({"notification": []}, {"notification": "invalid"}),
        ({"notification": {}}, {"notification.targets": "required", "notification.title": "required"}),
        ({"notification": HELLO | {"local_time": "09:00"}}, {"notification.local_time": "conflict"}),
        ({"notification": HELLO | {"template": "t"}}, {
            "notification.template": "unknown_template"}),
        ({"name": None}, {"name": "invalid"}),
        ({"paused": "yes"}, {"paused": "invalid"}),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(api: Api, changes: dict[str, Any], expected: dict[str, str]) -> None:
    started = time.process_time()
    found = fields(api.post(PATH, DAILY | changes))
    assert expected.items() <= found.items() and len(found) <= len(expected) + 1
    assert time.process_time() - started < 3
    assert not Schedule.objects.exists()


def test_once_per_key(api: Api) -> None:
    first = api.post(PATH, DAILY, Idempotency_Key="a")
    again = api.post(PATH, DAILY, Idempotency_Key="a")
    assert (first.status_code, again.status_code) == (201, 201) and first.content == again.content
    assert again["Idempotency-Replayed"] == "true" and Schedule.objects.count() == 1


def test_changes(api: Api) -> None:
    body = made(api)
    changed = patch(api, body["id"], name="Other", missed="all").json()
    assert changed == body | {"name": "Other", "missed": "all"}
    changed = patch(api, body["id"], rrule="FREQ=WEEKLY;BYDAY=MO;BYHOUR=8;BYMINUTE=0;BYSECOND=0").json()
    assert changed["cron"] is None and changed["next"][0]["wall"].endswith("T08:00:00")
    assert fields(patch(api, body["id"], rrule="x", notification={"targets": ["no"], "title": "x"})) == {
        "rrule": "invalid", "notification.targets[0]": "unknown_user",
    }  # fmt: skip
    assert fields(patch(api, body["id"], rrule=None)) == {"rrule": "required"}
    assert api.get(f"{PATH}{body['id']}/").json() == changed


def test_what_is_due_stays_due_unless_its_times_change(api: Api) -> None:
    body = made(api)
    move_clock(25 * 3600)
    assert patch(api, body["id"], name="Other", cron=DAILY["cron"]).json()["next"] == body["next"]
    assert patch(api, body["id"], excluded=["2100-01-01"]).json()["next"][0]["at"] > body["next"][0]["at"]
    assert schedules.make_due(1) == 0


def test_pause_and_resume(api: Api) -> None:
    body = made(api)
    paused = patch(api, body["id"], paused=True).json()
    assert paused["paused"] and paused["paused_at"] and paused["next"] == []
    assert patch(api, body["id"], paused=True).json() == paused
    User.objects.update(external_id="gone")  # what was accepted before is not judged again
    move_clock(50 * 3600)
    assert schedules.make_due(1) == 0
    resumed = patch(api, body["id"], paused=False).json()
    assert not resumed["paused"] and resumed["next"][0]["at"] > body["next"][1]["at"]


def test_who_gives_the_notification_answers_for_it(api: Api) -> None:
    body = made(api)
    other = make_service(is_active=True)
    colleague = Api(make_key(other))
    assert patch(colleague, body["id"], name="Other").json()["client"] == body["client"]
    assert patch(colleague, body["id"], notification=HELLO).json()["client"] == other.pk


def test_delete_leaves_what_it_made(api: Api) -> None:
    body, other = made(api), made(api)
    move_clock(25 * 3600)
    assert schedules.make_due(5) == 2
    response = api.send("DELETE", f"{PATH}{body['id']}/")
    assert response.status_code == 204 and not response.content
    assert Notification.objects.count() == 2
    assert [str(run.schedule_id) for run in ScheduleRun.objects.all()] == [other["id"]]
    problem(api.send("DELETE", f"{PATH}{body['id']}/"), 404, "not_found")
    problem(api.get(f"{PATH}{body['id']}/runs/"), 404, "not_found")


def test_pages(api: Api) -> None:
    made_ids = [made(api)["id"] for _ in range(3)]
    first = api.get(f"{PATH}?page_size=2").json()
    assert [one["id"] for one in first["items"]] == made_ids[:0:-1]
    rest = api.get(f"{PATH}?page_size=2&after={first['page_info']['after']}").json()
    assert [one["id"] for one in rest["items"]] == made_ids[:1]
    assert fields(api.get(f"{PATH}?colour=red")) == {"colour": "unknown_field"}


def test_runs_are_paged_latest_first(api: Api) -> None:
    body = made(api, missed="all")
    move_clock(4 * 86_400 + 60)
    while schedules.make_due(1):
        pass
    path = f"{PATH}{body['id']}/runs/?page_size=3"
    first = api.get(path).json()
    rest = api.get(f"{path}&after={first['page_info']['after']}").json()
    found = [run["occurrence"] for run in first["items"] + rest["items"]]
    assert len(found) >= 4 and found == sorted(found, reverse=True) and len(set(found)) == len(found)
    assert {run["status"] for run in first["items"]} == {"made"}


def test_scopes_and_organizations(api: Api) -> None:
    body = made(api)
    one = f"{PATH}{body['id']}/"
    reader, writer = Api(make_key(scopes=[Scope.READ])), Api(make_key(scopes=[Scope.SEND]))
    for method, path in (("POST", PATH), ("PATCH", one), ("DELETE", one)):
        problem(reader.send(method, path, {}), 403, "missing_scope")
    for path in (PATH, one, f"{one}runs/"):
        problem(writer.get(path), 403, "missing_scope")
    stranger = Api(make_key(make_service(make_organization())))
    assert stranger.get(PATH).json()["items"] == []
    for method, path in (("GET", one), ("GET", f"{one}runs/"), ("PATCH", one), ("DELETE", one)):
        problem(stranger.send(method, path, {} if method == "PATCH" else None), 404, "not_found")
    problem(api.get(f"{PATH}{ids.uuid7()}/"), 404, "not_found")


# --- The admin -------------------------------------------------------------------------------------------

ADMIN = "/admin/notifications/schedule/"


def browser(*permissions: str) -> Client:
    person = User.objects.create(login="staff", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(person)
    return client


def act(client: Client, action: str, id: str) -> Any:
    return client.post(ADMIN, {"action": action, "_selected_action": id}, follow=True)


def test_the_admin_shows_and_pauses(api: Api) -> None:
    body = made(api, name='"><script>alert(1)</script>', missed="all")
    move_clock(49 * 3600)
    schedules.make_due(1)
    User.objects.filter(external_id="ada").update(external_id="gone")
    schedules.make_due(1)
    client = browser("view_schedule", "pause_schedule")
    page = client.get(ADMIN).content.decode()
    assert "0 9 * * *" in page and "<script>alert" not in page
    page = client.get(f"{ADMIN}{body['id']}/change/").content.decode()
    assert "notification.targets[0]: unknown_user" in page and str(Notification.objects.get().pk) in page
    assert "<script>alert" not in page
    assert "Paused: 1." in act(client, "pause", body["id"]).content.decode()
    assert api.get(f"{PATH}{body['id']}/").json()["paused"]
    assert "Resumed: 1." in act(client, "resume", body["id"]).content.decode()
    assert not api.get(f"{PATH}{body['id']}/").json()["paused"]


def test_who_may_only_look_does_not_pause(api: Api) -> None:
    body = made(api)
    act(browser("view_schedule"), "pause", body["id"])
    assert not api.get(f"{PATH}{body['id']}/").json()["paused"]


# --- The documentation -----------------------------------------------------------------------------------


def test_the_examples_in_the_documentation(api: Api, settings: Any) -> None:
    rows.people(external_id="customer-42")
    text = (settings.BASE_DIR / "docs" / "schedules.md").read_text()
    given, expected = (json.loads(block.split("```")[0]) for block in text.split("```json")[1:])
    response = api.post(PATH, given)
    assert response.status_code == 201 and response.json()["next"] == expected
    rules = re.findall(r"^\| `((?:FREQ=|[0-9]+ )[^`]+)`", text, re.MULTILINE)
    assert len(rules) == 9
    for rule in rules:
        made(api, **({"cron": None, "rrule": rule} if "FREQ" in rule else {"cron": rule}))
