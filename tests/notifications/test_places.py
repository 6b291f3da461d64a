"""Push, webhook and chat: one target per place, each with an address that tells nothing."""

from __future__ import annotations

from typing import Any

import pytest

from apps.notifications import audiences, intake, planning
from apps.notifications.intake import Order
from apps.notifications.models import SUMMARY_ABOVE, Notification, NotificationSummary, NotificationTarget
from apps.notifications.planning import Known
from apps.notifications.statuses import Status
from apps.preferences import suppression
from apps.preferences.suppression import Cause, Fact
from apps.users.models import DEFAULT_ORGANIZATION_ID as OURS
from apps.users.models import Scope, User
from apps.users.places import MAX_DEVICES, deactivate
from tests.api_helpers import Api, make_key, make_service
from tests.notifications.api_support import BULK, SEND, accepted, lanes, send, targets_of, template
from tests.notifications.test_planning import NOW, person, wish
from tests.support import rows
from tests.support.database import capture
from tests.support.places import device, endpoint, everywhere

PLACES = {(7, "push"): ["fcm:a", "apns:b"], (7, "chat"): ["slack:c"], (8, "push"): ["fcm:d"]}
ALL = ["in_app", "email", "sms", "push", "webhook", "chat"]


def planned(*people: Any, **fields: Any) -> list[tuple[int, str, str, str]]:
    found = planning.plan(wish(**fields), people, NOW, Known(places=PLACES))
    return [(one.user_id, one.channel, one.address, one.reason) for one in found]


# --- Planning, pure --------------------------------------------------------------------------------------


def test_each_place_is_a_target_of_its_own() -> None:
    assert planned(person(7), person(8), channels=["email", "push", "chat"]) == [
        (7, "email", "a@example.com", ""),
        (7, "push", "fcm:a", ""),
        (7, "push", "apns:b", ""),
        (7, "chat", "slack:c", ""),
        (8, "email", "a@example.com", ""),
        (8, "push", "fcm:d", ""),
        (8, "chat", "", "no_address"),
    ]


def test_a_person_without_a_place_is_one_skipped_target() -> None:
    (target,) = planning.plan(wish(channels=["push"]), [person(9)], NOW, Known(places=PLACES))
    assert (target.status, target.reason, target.at) == (Status.SKIPPED, "no_address", None)


def test_all_channels_are_those_with_a_place() -> None:
    found = planned(person(7, phone=""), person(9, email=""), channels=ALL, all_channels=True)
    assert [one[:2] for one in found] == [
        *((7, channel) for channel in ("in_app", "email", "push", "push", "chat")),
        *((9, channel) for channel in ("in_app", "sms")),
    ]
    assert [one[1:] for one in planned(person(9), channels=["push", "chat"], all_channels=True)] == [
        ("push", "", "no_address"),
        ("chat", "", "no_address"),
    ]


def test_of_several_devices_only_the_suppressed_is_skipped() -> None:
    found = planning.plan(
        wish(channels=["push"]), [person(7)], NOW, Known(places=PLACES, suppressed={(3, "push", "apns:b")})
    )
    assert [(one.status, one.reason) for one in found] == [
        (Status.QUEUED, ""),
        (Status.SKIPPED, "suppressed"),
    ]


def test_who_is_deactivated_gets_nothing_at_any_place() -> None:
    assert [one[3] for one in planned(person(7, active=False), channels=["push"])] == ["inactive"] * 2


def test_suppressions_are_asked_for_places_too() -> None:
    found = planning.addresses(["in_app", "push", "chat"], [person(7), person(9)], PLACES)
    assert found == {("push", "fcm:a"), ("push", "apns:b"), ("chat", "slack:c")}


@pytest.mark.parametrize("all_channels", [True, False])
def test_the_count_is_what_is_planned(all_channels: bool) -> None:
    people = [person(7), person(8), person(9)]
    plan = planned(*people, channels=ALL, all_channels=all_channels)
    assert planning.count(ALL, people, PLACES, all_channels=all_channels) == len(plan)
    assert len(plan) <= planning.most(3, ALL)


# --- Accepted --------------------------------------------------------------------------------------------


def queued(body: dict[str, Any]) -> dict[str, int]:
    found = [t["channel"] for t in body["targets"] if t["status"] == "queued"]
    return {channel: found.count(channel) for channel in found}


@pytest.mark.django_db
def test_the_answer_has_each_place_and_the_target_its_address(api: Api, rung: list[str]) -> None:
    ada, ben = rows.people(2)
    first, second, hook = device(ada), device(ada, "apns"), endpoint(ada)
    body = accepted(send(api, targets=[ada.pk, ben.pk], channels=["push", "webhook"], priority="high"))
    assert targets_of(body) == [
        (ada.pk, "push", "queued", None),
        (ada.pk, "push", "queued", None),
        (ada.pk, "webhook", "queued", None),
        (ben.pk, "push", "skipped", "no_address"),
        (ben.pk, "webhook", "skipped", "no_address"),
    ]
    assert len({target["id"] for target in body["targets"]}) == 5 and body["recipients"] == 2
    kept = NotificationTarget.objects.filter(user=ada.pk).values_list("address", flat=True).order_by("id")
    assert set(kept) == {str(first), str(second), str(hook)}
    assert lanes() == {"push.high", "webhook.high"} == set(rung)
    listed = api.get(f"{SEND}{body['id']}/targets/?channel=push").json()["items"]
    assert {one["address"] for one in listed} == {str(first), str(second), ""}


@pytest.mark.django_db
def test_a_deactivated_device_gets_nothing(api: Api, rung: list[str]) -> None:
    (ada,) = rows.people()
    gone, there = device(ada), device(ada)
    deactivate([str(gone)], "unregistered")
    accepted(send(api, targets=[ada.pk], channels=["push"]))
    assert NotificationTarget.objects.get().address == str(there)


@pytest.mark.django_db
def test_a_suppressed_place_is_skipped(api: Api, rung: list[str]) -> None:
    (ada,) = rows.people()
    one, other = endpoint(ada), endpoint(ada)
    suppression.suppress([Fact(OURS, "webhook", str(one), Cause.INVALID)])
    accepted(send(api, targets=[ada.pk], channels=["webhook"]))
    found = dict(NotificationTarget.objects.values_list("address", "reason"))
    assert found == {str(one): "suppressed", str(other): ""}


@pytest.mark.django_db
def test_a_person_brought_along_is_asked_about_too(api: Api, rung: list[str]) -> None:
    (ada,) = rows.people(external_id="ada")
    device(ada)
    body = accepted(send(api, targets=[{"external_id": "ada", "name": "Ada"}, {"external_id": "new"}]))
    assert queued(body) == {"in_app": 2, "email": 1, "sms": 1, "push": 1}


@pytest.mark.django_db
def test_one_statement_for_all_rows_that_may_go_to_places(api: Api, rung: list[str]) -> None:
    ada, ben = rows.people(2)
    everywhere(ada)
    device(ben)
    row = {"title": "x", "targets": [ada.pk, ben.pk]}
    bodies = [row | {"channels": channels} for channels in (["email"], ["push"], ["chat", "sms"])]
    with capture() as statements:
        answer = api.post(BULK, {"notifications": bodies}).json()
    assert sum("users_device WHERE" in sql or "users_endpoint WHERE" in sql for sql in statements) == 1
    found = [queued(result["notification"]) for result in answer["results"]]
    assert found == [{"email": 2}, {"push": 2}, {"chat": 1, "sms": 2}]


@pytest.mark.django_db
def test_templates_have_words_for_them(api: Api, rung: list[str]) -> None:
    (ada,) = rows.people()
    everywhere(ada)
    template(push=[], webhook=["order"])
    body = accepted(send(api, template="order-shipped", payload={"order": 1}, targets=[ada.pk]))
    assert queued(body) == {"push": 1, "webhook": 1}


# --- Many: bulk and summaries ----------------------------------------------------------------------------


def devices(people: list[User], each: int) -> None:
    for user in people:
        for _ in range(each):
            device(user)


@pytest.mark.django_db
@pytest.mark.parametrize(("each", "lane"), [(2, "push.normal"), (3, "push.bulk")])
def test_devices_count_when_a_thousand_is_exceeded(
    rung: list[str], monkeypatch: pytest.MonkeyPatch, each: int, lane: str
) -> None:
    monkeypatch.setattr(intake, "INLINE", 10)
    api = Api(make_key(make_service(), [Scope.SEND]))
    people = rows.people(5)
    devices(people, each)
    accepted(send(api, targets=[user.pk for user in people], channels=["push"]))
    assert lanes() == {lane}
    assert Notification.objects.get().bulk is lane.endswith("bulk")


@pytest.mark.django_db
def test_channels_that_reach_nobody_make_nothing_bulk(
    rung: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "INLINE", 10)
    api = Api(make_key(make_service(), [Scope.SEND]))
    people = rows.people(3)  # by six channels, of which three reach them
    accepted(send(api, targets=[user.pk for user in people]))
    assert lanes() == {"in_app.normal", "email.normal", "sms.normal"}


def summary_of(api: Api, id: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"{SEND}{id}/").json()["summary"]
    (listed,) = [one["summary"] for one in api.get(SEND).json()["items"] if one["id"] == id]
    assert found == listed
    return found


@pytest.mark.django_db
@pytest.mark.parametrize(("people", "each"), [(6, 17), (5, MAX_DEVICES)])
def test_a_summary_is_kept_exactly_above_a_hundred_targets(
    api: Api, rung: list[str], people: int, each: int
) -> None:
    users = rows.people(people)
    devices(users, each)
    body = accepted(send(api, targets=[user.pk for user in users], channels=["push"]))
    assert NotificationSummary.objects.exists() is (people * each > SUMMARY_ABOVE)
    summary = summary_of(api, body["id"])
    assert (summary["targets"], summary["in_progress"]) == (people * each, people * each)
    rows.assert_books_balance()


@pytest.mark.django_db
@pytest.mark.parametrize("each", [0, 1, 17])
def test_of_an_audience_the_summary_is_right_however_many_devices(
    api: Api, rung: list[str], each: int
) -> None:
    users = rows.people(6)
    devices(users, each)
    order = Order(organization_id=OURS, channels=["push", "email"], title="Hello")
    id = intake.accept_audience(order, [user.pk for user in users])
    assert audiences.plan_chunk()
    assert summary_of(api, str(id))["targets"] == 6 * (each or 1) + 6
    rows.assert_books_balance()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("channels", "asks"), [(["email", "push"], 1), (["chat", "webhook"], 1), (["email", "sms", "in_app"], 0)]
)
def test_a_chunk_asks_for_places_once_and_only_for_those_channels(
    rung: list[str], channels: list[str], asks: int
) -> None:
    order = Order(organization_id=OURS, channels=channels, title="Hello")
    intake.accept_audience(order, [user.pk for user in rows.people(5)])
    with capture() as statements:
        audiences.plan_chunk()
    assert sum("users_device WHERE" in sql or "users_endpoint WHERE" in sql for sql in statements) == asks


@pytest.mark.django_db
def test_big_and_small_are_told_apart_in_a_list(api: Api, rung: list[str]) -> None:
    many, few = rows.people(6), rows.people(6)
    devices(many, 17)
    devices(few, 1)
    for users in (many, few):
        accepted(send(api, targets=[user.pk for user in users], channels=["push"]))
    with capture() as statements:
        listed = api.get(SEND).json()["items"]
    assert [one["summary"]["targets"] for one in listed] == [6, 102]
    assert len(statements) == 4  # the key, the page, kept summaries, derived ones
