"""Decisions about targets: kept, and told by the API and the admin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from django.test import Client

from apps.notifications import cancelling, decisions, inbox_changes
from apps.notifications.decisions import Decision
from apps.notifications.models import DeliveryAttempt, Notification, NotificationTarget, TargetDecision
from apps.notifications.statuses import Status
from apps.preferences.models import Choice
from apps.users.models import Scope, ServiceClient, User
from project import clock, db, ids
from tests.api_helpers import Api, make_key, make_organization, problem
from tests.notifications.api_support import SEND
from tests.notifications.test_openapi import check, described  # noqa: F401 (a fixture)
from tests.support import inboxes, rows
from tests.support.database import Prepared, capture

ADA = 7
AT = datetime(2026, 11, 20, 22, tzinfo=UTC)
LATER = AT + timedelta(hours=9)  # 07:00 UTC
MINUTE = timedelta(minutes=1)
_names = count()
QUIET = {"rule": "quiet", "window": "22:00–08:00", "zone": "Europe/Berlin", "level": "person"}
OFF = {"rule": "choice", "type": "status_update", "channel": "email", "level": "person", "until": None}


# --- Kept ------------------------------------------------------------------------------------------------


def decision(target_id: UUID, status: str = "held", **fields: Any) -> Decision:
    values = {"reason": "quiet_hours", "until": LATER, "detail": QUIET}
    return Decision(target_id=target_id, status=status, **(values | fields))


@pytest.mark.django_db
def test_a_decision_is_kept_as_it_was_made() -> None:
    one, other = ids.target_id(), ids.target_id()
    decisions.record(
        [decision(one), decision(other, "skipped", reason="", until=None, detail=MappingProxyType({}))]
    )
    decisions.record([decision(one, "queued", until=None, detail={"into": one, "at": AT})])
    found = decisions.of([one, other, ids.target_id()])
    told = {id: [(d.status, d.reason, d.until, d.detail) for d in rows] for id, rows in found.items()}
    assert told == {
        one: [
            ("held", "quiet_hours", LATER, QUIET),
            ("queued", "quiet_hours", None, {"into": str(one), "at": AT.isoformat()}),
        ],
        other: [("skipped", "", None, {})],
    }
    assert {row.at for row in TargetDecision.objects.all()} == {clock.now()}


@pytest.mark.django_db
@pytest.mark.parametrize("number", [1, 4, 500])
def test_any_number_is_one_statement(number: int) -> None:
    targets = [ids.target_id() for _ in range(number)]
    with capture() as statements:
        decisions.record([decision(one, until=None) for one in targets])
        assert decisions.of(targets).keys() == set(targets)
    assert len(statements) == 2


@pytest.mark.django_db
def test_no_decisions_are_no_statement() -> None:
    with capture() as statements:
        decisions.record([])
        assert decisions.choices_behind([], {}) == {}
    assert statements == []


@pytest.mark.django_db
def test_of_very_many_the_latest_are_read() -> None:
    one = ids.target_id()
    decisions.record([decision(one, detail={"n": n}) for n in range(decisions.LATEST + 5)])
    found = [row.detail["n"] for row in decisions.of([one])[one]]
    assert found == list(range(5, decisions.LATEST + 5))


_FILL = """
INSERT INTO notifications_targetdecision (target_id, status, reason, detail)
SELECT gen_random_uuid(), 'held', '', '{}' FROM generate_series(1, 5000) n
"""


@pytest.mark.django_db
@pytest.mark.parametrize("full", [False, True])
def test_reading_goes_by_the_index(full: bool) -> None:
    if full:
        db.execute(_FILL)
        db.execute("ANALYZE notifications_targetdecision")
    values = [[ids.target_id() for _ in range(10)], decisions.LATEST]
    nodes = Prepared(f"decisions_{next(_names)}", decisions._OF, values).nodes()
    (scan,) = [node for node in nodes if "Index Name" in node]
    assert scan["Index Name"] == "decision_of_target" and "target_id" in scan["Index Cond"]
    assert scan["Scan Direction"] == "Backward" and "Seq Scan" not in {n["Node Type"] for n in nodes}


@pytest.mark.django_db
def test_the_choices_behind_decisions_are_found_and_no_others() -> None:
    (ada, ben) = rows.people(2)
    told = [NotificationTarget(id=ids.target_id(), user_id=user.pk, channel="email") for user in (ada, ben)]
    for user, channel, how in ((ada, "email", "off"), (ada, "sms", "off"), (ben, "email", "on")):
        Choice.objects.create(user=user, type="status_update", channel=channel, how=how, source="link")
    found = decisions.choices_behind(
        told, {one.pk: [TargetDecision(status="skipped", detail=OFF)] for one in told}
    )
    assert {key: made.source for key, made in found.items()} == {(ada.pk, "status_update", "email"): "link"}
    with capture() as statements:
        assert (
            decisions.choices_behind(told, {told[0].pk: [TargetDecision(status="held", detail=QUIET)]}) == {}
        )
    assert statements == []


# --- By the API ------------------------------------------------------------------------------------------


def path_of(of: Notification, target_id: object) -> str:
    return f"{SEND}{of.pk}/targets/{target_id}/"


@pytest.fixture
def held(db: None) -> tuple[Notification, UUID]:
    """A target held for the night, which two others went into, and which was tried before."""
    note = rows.notification(type="status_update", critical=False)
    (one,) = rows.targets(
        note, Status.HELD, reason="quiet_hours", user_id=ADA, held_until=clock.now() + MINUTE
    )
    decisions.record([decision(one, until=clock.now() + MINUTE)])
    rows.targets(rows.notification(), Status.SKIPPED, 2, merged_into=one)
    DeliveryAttempt.objects.create(
        id=ids.attempt_id(one, 1),
        target_id=one,
        number=1,
        provider="smtp",
        worker="w",
        started_at=clock.now(),
        outcome="temporary_failure",
    )
    rows.targets(note)  # whose attempts and decisions are not told
    return note, one


def test_the_target_is_told_with_its_story(
    api: Api,
    held: tuple[Notification, UUID],
    described: dict[str, Any],  # noqa: F811
) -> None:
    note, one = held
    body = check(
        described, "/api/notifications/{id}/targets/{target_id}/", "get", api.get(path_of(note, one))
    )
    listed = api.get(f"{SEND}{note.pk}/targets/").json()["items"][0]
    assert body["target"] == listed and listed["id"] == str(one)
    assert (body["notification"], body["type"], body["critical"]) == (str(note.pk), "status_update", False)
    (told,) = body["decisions"]
    assert (told["status"], told["reason"], told["reason_text"]) == (
        "held", "quiet_hours", "waits for the end of the person's quiet hours",
    )  # fmt: skip
    assert told["detail"] == QUIET and told["until"] == listed["held_until"]
    assert body["attempts"] == api.get(f"{SEND}{note.pk}/attempts/").json()["items"]
    into = NotificationTarget.objects.filter(merged_into=one).order_by("id").values_list("id", flat=True)
    assert body["merged"] == [str(id) for id in into] and len(into) == 2
    assert (body["merged_more"], body["merged_into"]) == (False, None)
    assert body["explanation"][0].startswith("Accepted ") and "quiet hours" in " ".join(body["explanation"])


def test_what_its_person_did_with_it_in_the_inbox_is_told(api: Api) -> None:
    note = rows.notification()
    (one,) = inboxes.deliver(inboxes.ADA, of=note, actions=inboxes.ACTIONS)
    inboxes.do("seen", one)
    inbox_changes.act(inboxes.ADA, one, "no")
    with capture() as found:
        told = " ".join(api.get(path_of(note, one)).json()["explanation"])
    for sentence in ("Seen in the inbox at ", "Read in the inbox at ", "Its button no was pressed at "):
        assert sentence in told
    items = [sql for sql in found if "inboxitem" in sql]
    assert len(items) == 1 and "title" not in items[0]  # one cheap read more
    cancelling.cancel(note.pk)
    assert "Read in the inbox at " in " ".join(api.get(path_of(note, one)).json()["explanation"])


def test_of_what_is_not_in_app_no_inbox_is_read(api: Api, held: tuple[Notification, UUID]) -> None:
    with capture() as found:
        api.get(path_of(*held))
    assert not [sql for sql in found if "inboxitem" in sql]


def test_one_that_went_out_with_another_says_with_which(api: Api, held: tuple[Notification, UUID]) -> None:
    _, one = held
    merged = NotificationTarget.objects.filter(merged_into=one).select_related("notification")[0]
    body = api.get(path_of(merged.notification, merged.pk)).json()
    assert (body["merged_into"], body["merged"], body["type"]) == (str(one), [], None)
    assert body["decisions"] == body["attempts"] == []


def test_of_many_merged_the_first_hundred_are_told(api: Api) -> None:
    note = rows.notification()
    (one,) = rows.targets(note, Status.SENT)
    merged = rows.targets(rows.notification(), Status.SKIPPED, 101, merged_into=one)
    body = api.get(path_of(note, one)).json()
    assert body["merged"] == [str(id) for id in merged[:100]] and body["merged_more"] is True
    rows.change(merged[:1], merged_into=None)
    body = api.get(path_of(note, one)).json()
    assert body["merged"] == [str(id) for id in merged[1:]] and body["merged_more"] is False


def test_what_is_not_ours_or_of_another_notification_is_not_there(api: Api) -> None:
    theirs = rows.notification(organization_id=make_organization().pk)
    (their_target,) = rows.targets(theirs)
    ours, other = rows.notification(), rows.notification()
    (our_target,) = rows.targets(ours)
    for note, one in (
        (theirs, their_target),
        (other, our_target),
        (ours, their_target),
        (ours, ids.target_id()),
    ):
        problem(api.get(path_of(note, one)), 404, "not_found")
    problem(api.get(path_of(ours, 17)), 404, "unknown_route")
    assert api.get(path_of(ours, our_target)).status_code == 200


def test_reading_needs_its_scope(service: ServiceClient, held: tuple[Notification, UUID]) -> None:
    path = path_of(*held)
    assert Api(make_key(service, [Scope.READ])).get(path).status_code == 200
    problem(Api(make_key(service, [Scope.SEND])).get(path), 403, "missing_scope")
    problem(Api(None).get(path), 401, "not_authenticated")


def test_it_costs_four_statements_beside_the_key(api: Api, held: tuple[Notification, UUID]) -> None:
    note, one = held
    api.get(path_of(note, one))
    with capture() as statements:
        api.get(path_of(note, one))
    assert len(statements) == 5  # the key, the target with its notification, decisions, attempts, merged ones
    decisions.record([decision(one, "skipped", detail=OFF)])
    with capture() as more:
        api.get(path_of(note, one))
    assert len(more) == len(statements) + 1  # the choice


# --- In the admin ----------------------------------------------------------------------------------------


@pytest.fixture
def browser(db: None) -> Client:
    rows.people(1)
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def test_the_page_explains_each_target(browser: Client) -> None:
    (ada,) = rows.people()
    Choice.objects.create(user=ada, type="status_update", channel="email", how="off", source="mail_client")
    note = rows.notification()
    (one,) = rows.targets(note, Status.SKIPPED, user_id=ada.pk, reason="opted_out")
    evil = "<script>alert(1)</script>"
    decisions.record(
        [
            decision(one, "skipped", until=None, detail=OFF),
            decision(one, detail={"rule": "merge", "into": evil}),
        ]
    )
    page = browser.get(f"/admin/notifications/notification/{note.pk}/change/").content.decode()
    assert "the person turned off status_update by email on" in page and "(by a mail client)" in page
    assert "<script>alert(1)" not in page and "&lt;script&gt;alert(1)" in page


def test_the_page_costs_the_same_for_any_number_of_decisions(browser: Client) -> None:
    note = rows.notification()

    def cost(number: int) -> int:
        for person, one in zip(rows.people(number), rows.targets(note, count=number), strict=True):
            rows.change([one], user_id=person.pk)
            decisions.record([decision(one, detail=OFF), decision(one)])
        with capture() as statements:
            response = browser.get(f"/admin/notifications/notification/{note.pk}/change/")
        assert (
            response.content.decode().count("quiet hours 22:00–08:00") == NotificationTarget.objects.count()
        )
        return len(statements)

    cost(1)
    assert cost(1) == cost(20)
