"""Suppressed addresses when a notification is accepted: skipped, and the answer says so."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.notifications import audiences, intake, planning
from apps.notifications.intake import Order
from apps.notifications.models import NotificationTarget
from apps.notifications.planning import Known
from apps.notifications.statuses import Status
from apps.preferences import suppression
from apps.preferences.suppression import Cause, Fact
from apps.users.models import DEFAULT_ORGANIZATION_ID as OURS
from tests.api_helpers import Api, make_organization
from tests.notifications.api_support import accepted, send, targets_of
from tests.notifications.test_planning import NOW, person, wish
from tests.support import rows
from tests.support.database import capture

ADA = ("email", "a@example.com")


# --- Planning, pure --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suppressed", "skipped"),
    [
        (set(), False),
        ({(None, *ADA)}, True),
        ({(3, *ADA)}, True),  # the wish's organization
        ({(4, *ADA)}, False),
        ({(None, "sms", "a@example.com")}, False),
        ({(None, "email", "A@example.com")}, False),
    ],
)
def test_a_suppressed_address_is_skipped(suppressed: suppression.Found, skipped: bool) -> None:
    (target,) = planning.plan(wish(), [person()], NOW, Known(suppressed=suppressed))
    decided = (target.status, target.reason, target.at)
    assert decided == ((Status.SKIPPED, "suppressed", None) if skipped else (Status.QUEUED, "", NOW))


def test_only_the_suppressed_channel_is_skipped() -> None:
    asked = wish(channels=["in_app", "email", "sms"], all_channels=True)
    planned = planning.plan(asked, [person()], NOW, Known(suppressed={(None, *ADA)}))
    assert [(one.channel, one.status) for one in planned] == [
        ("in_app", Status.QUEUED),
        ("email", Status.SKIPPED),
        ("sms", Status.QUEUED),
    ]


def test_what_is_suppressed_is_not_held_either() -> None:
    asked = wish(scheduled_at=NOW + timedelta(hours=1))
    (target,) = planning.plan(asked, [person()], NOW, Known(suppressed={(None, *ADA)}))
    assert (target.status, target.reason, target.at) == (Status.SKIPPED, "suppressed", None)


@pytest.mark.parametrize(
    ("fields", "reason"), [({"active": False}, "inactive"), ({"email": ""}, "no_address")]
)
def test_what_is_wrong_with_the_person_is_told_first(fields: dict[str, object], reason: str) -> None:
    somebody = person(**fields)  # type: ignore[arg-type]
    (target,) = planning.plan(wish(), [somebody], NOW, Known(suppressed={(None, *ADA), (None, "email", "")}))
    assert target.reason == reason


def test_what_is_asked_about_are_the_addresses_at_providers() -> None:
    people = [person(1), person(2), person(3, email="", phone="")]
    assert planning.addresses(["in_app", "email", "sms"], people) == {ADA, ("sms", "+4930123")}
    assert planning.addresses(["in_app"], people) == set()


# --- Accepted --------------------------------------------------------------------------------------------


def suppress(address: str, channel: str = "email", of: int | None = None) -> None:
    suppression.suppress([Fact(of, channel, address, Cause.BOUNCED)])


@pytest.mark.django_db
def test_the_answer_says_which_are_skipped_and_why(api: Api, rung: list[str]) -> None:
    ada, ben = rows.people(2)
    suppress("p0@example.com", of=OURS)
    body = accepted(send(api, targets=[ada.pk, ben.pk], channels=["email", "in_app"]))
    assert targets_of(body) == [
        (ada.pk, "email", "skipped", "suppressed"),
        (ada.pk, "in_app", "queued", None),
        (ben.pk, "email", "queued", None),
        (ben.pk, "in_app", "queued", None),
    ]
    assert rung == ["email.normal", "in_app.normal"]
    summary = api.get(f"/api/notifications/{body['id']}/").json()["summary"]
    assert (summary["skipped"], summary["in_progress"]) == (1, 3)


@pytest.mark.django_db
def test_nothing_is_rung_for_what_is_all_suppressed(api: Api, rung: list[str]) -> None:
    (ada,) = rows.people()
    suppress("p0@example.com")
    accepted(send(api, targets=[ada.pk], channels=["email"]))
    assert rung == []
    assert NotificationTarget.objects.get().settled_at is not None


@pytest.mark.django_db
def test_another_organizations_suppression_is_its_own(api: Api, rung: list[str]) -> None:
    (ada,) = rows.people()
    suppress("p0@example.com", of=make_organization().pk)
    body = accepted(send(api, targets=[ada.pk], channels=["email"]))
    assert targets_of(body) == [(ada.pk, "email", "queued", None)]


@pytest.mark.django_db
def test_a_person_brought_along_is_asked_about_too(api: Api, rung: list[str]) -> None:
    suppress("Ada@example.com")
    ada = {"external_id": "ada", "email": "Ada@EXAMPLE.com"}
    (target,) = accepted(send(api, targets=[ada], channels=["email"]))["targets"]
    assert (target["status"], target["reason"]) == ("skipped", "suppressed")


# --- Audiences -------------------------------------------------------------------------------------------


def order(*channels: str) -> Order:
    return Order(organization_id=OURS, channels=channels, title="Hello")


@pytest.mark.django_db
def test_of_an_audience_the_suppressed_are_skipped(rung: list[str]) -> None:
    people = rows.people(25)
    suppress("p3@example.com")
    suppress("p17@example.com", of=OURS)
    intake.accept_audience(order("email"), [one.pk for one in people])
    assert audiences.plan_chunk()
    skipped = NotificationTarget.objects.filter(status="skipped", reason="suppressed")
    assert sorted(skipped.values_list("user_id", flat=True)) == [people[3].pk, people[17].pk]
    assert NotificationTarget.objects.filter(status="queued").count() == 23


@pytest.mark.django_db
@pytest.mark.parametrize(("channels", "asks"), [(["email", "sms"], 1), (["in_app"], 0)])
def test_a_chunk_asks_once_and_in_app_never(channels: list[str], asks: int, rung: list[str]) -> None:
    intake.accept_audience(order(*channels), [one.pk for one in rows.people(5)])
    with capture() as statements:
        audiences.plan_chunk()
    assert sum("preferences_suppression" in sql for sql in statements) == asks
