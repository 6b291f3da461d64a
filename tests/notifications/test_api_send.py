"""POST /api/notifications/: what is accepted, for whom, by which channels, and when."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from apps.content.models import TemplateVersion
from apps.notifications.models import Notification, NotificationTarget
from apps.notifications.statuses import Status
from apps.users.models import Scope, User
from project import clock
from project.queues import CHANNELS, PRIORITIES
from tests.api_helpers import Api, make_key, make_service
from tests.notifications.api_support import SEND, accepted, lanes, send, targets_of, template
from tests.support import places, rows

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rung")]


def later(**distance: float) -> str:
    return (clock.now() + timedelta(**distance)).isoformat()


# --- What is kept and answered ---------------------------------------------------------------------------


def test_the_call_of_the_readme(api: Api) -> None:
    (person,) = rows.people()
    body = {"title": "Hello", "body": "Test", "targets": [person.pk], "channels": ["in_app", "email"]}
    answer = accepted(api.post(SEND, body))
    assert targets_of(answer) == [
        (person.pk, "in_app", "queued", None),
        (person.pk, "email", "queued", None),
    ]
    assert answer["recipients"] == 1 and answer["channels"] == ["in_app", "email"]


def test_the_answer_is_what_is_in_the_database(api: Api) -> None:
    ada, ben = rows.people(2)
    User.objects.filter(pk=ben.pk).update(email="")
    answer = accepted(
        send(
            api,
            targets=[ada.pk, ben.pk],
            channels=["email", "in_app"],
            priority="high",
            scheduled_at=later(hours=1),
            expires_at=later(hours=2),
            max_attempts=3,
            related_object={"type": "order", "id": "A-17"},
            metadata={"a": [1, 2.5, None, True, {"ü": "☃"}]},
        )
    )
    row = Notification.objects.get()
    assert str(row.pk) == answer["id"] and row.max_attempts == 3 and row.recipient_count == 2
    same = ("title", "body", "payload", "channels", "priority", "metadata")
    assert {name: getattr(row, name) for name in same} == {name: answer[name] for name in same}
    for name in ("scheduled_at", "expires_at", "created_at"):
        assert answer[name].endswith("Z") and datetime.fromisoformat(answer[name]) == getattr(row, name)
    kept = {str(target.pk): target for target in NotificationTarget.objects.all()}
    assert len(kept) == len(answer["targets"]) == 4
    for told in answer["targets"]:
        target = kept[told["id"]]
        assert (target.user_id, target.channel, target.status) == (
            told["user"],
            told["channel"],
            told["status"],
        )
        assert (target.reason or None) == told["reason"] and target.attempts_allowed == 3
        assert target.notification_id == row.pk and target.expires_at == row.expires_at
        held = told["held_until"] and datetime.fromisoformat(told["held_until"])
        assert held == target.held_until == (row.scheduled_at if target.status == "held" else None)


def test_what_is_read_is_what_was_answered(api: Api) -> None:
    (person,) = rows.people()
    template(email=["order"])
    answer = accepted(
        send(
            api,
            template="order-shipped",
            payload={"order": {"id": 1e22, "huge": 2**70, "n": -(2**63)}},
            metadata={"numbers": [1e300, 2**64 - 1, 0.1, 10**30]},
            targets=[person.pk],
            scheduled_at="2101-01-01T12:00:00.123456+02:00",
            related_object={"type": "order", "id": "ü 17"},
        )
    )
    del answer["targets"], answer["sms"]
    read = api.get(f"{SEND}{answer['id']}/").json()
    summary = read.pop("summary")
    assert read.pop("cancelled_at") is None
    assert read == answer
    assert read["scheduled_at"] == "2101-01-01T10:00:00.123456Z"
    assert (summary["targets"], summary["held"]) == (1, 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"title": "x" * 500, "body": "x" * 100_000},
        {"title": "Grüße 👋 \u202e", "body": "line\nline\ttab\r\x01\x7f"},
        {"title": "only a title"},
        {"body": "only a body"},
        {"title": "", "body": "x"},
        {"metadata": {"": "", "a" * 5_000: [[]], "\u2028": "\ufffe"}},
        {"payload": {"unused": 1}},
        {"template": None, "title": "x", "scheduled_at": None, "expires_at": None, "related_object": None},
        {"max_attempts": 1},
        {"max_attempts": 255},
        {"max_attempts": None},
        {"related_object": {"type": "t" * 100, "id": "i" * 200}},
    ],
)
def test_edges_that_are_right(api: Api, fields: dict[str, object]) -> None:
    rows.people()
    answer = accepted(send(api, targets=[User.objects.get().pk], **fields))
    read = api.get(f"{SEND}{answer['id']}/").json()
    assert {name: read[name] for name in fields if name in read} == {
        name: value for name, value in fields.items() if name in read
    }


def test_without_max_attempts_the_settings_decide(api: Api, settings) -> None:
    settings.MAX_ATTEMPTS = 4
    (person,) = rows.people()
    accepted(send(api, targets=[person.pk]))
    assert set(NotificationTarget.objects.values_list("attempts_allowed", flat=True)) == {4}


# --- For whom --------------------------------------------------------------------------------------------


def test_ids_external_ids_and_new_people_together(api: Api) -> None:
    (ada,) = rows.people(external_id="ada")
    (ben,) = rows.people(external_id="ben")
    new = {"external_id": "cleo", "email": "Cleo@Example.com", "name": "Cleo"}
    answer = accepted(send(api, targets=[ben.pk, "ada", new], channels=["email"]))
    cleo = User.objects.get(external_id="cleo")
    assert [target["user"] for target in answer["targets"]] == [ben.pk, ada.pk, cleo.pk]
    assert NotificationTarget.objects.get(user=cleo).address == "Cleo@example.com"


def test_a_person_named_in_several_ways_gets_it_once(api: Api) -> None:
    (ada,) = rows.people(external_id="ada")
    answer = accepted(
        send(api, targets=[ada.pk, "ada", ada.pk, {"external_id": "ada"}, "ada"], channels=["email"])
    )
    assert answer["recipients"] == len(answer["targets"]) == 1


@pytest.mark.parametrize("first", [True, False])
def test_it_goes_to_the_address_sent_with_it_however_else_the_person_is_named(api: Api, first: bool) -> None:
    (ada,) = rows.people(external_id="ada")
    targets = [{"external_id": "ada", "email": "new@example.com"}, ada.pk]
    accepted(send(api, targets=targets if first else targets[::-1], channels=["email"]))
    assert NotificationTarget.objects.get().address == "new@example.com"


def test_a_number_as_text_is_an_external_id(api: Api) -> None:
    (ada,) = rows.people()
    (ben,) = rows.people(external_id=str(ada.pk))
    answer = accepted(send(api, targets=[str(ada.pk)], channels=["in_app"]))
    assert targets_of(answer) == [(ben.pk, "in_app", "queued", None)]


def test_somebody_deactivated_is_skipped(api: Api) -> None:
    ada, ben = rows.people(2)
    User.objects.filter(pk=ada.pk).update(is_active=False)
    answer = accepted(send(api, targets=[ada.pk, ben.pk], channels=["email"]))
    assert targets_of(answer) == [
        (ada.pk, "email", "skipped", "inactive"),
        (ben.pk, "email", "queued", None),
    ]


def test_a_thousand_people(api: Api) -> None:
    people = rows.people(1_000)
    answer = accepted(send(api, targets=[person.pk for person in people], channels=["in_app"]))
    assert [target["user"] for target in answer["targets"]] == [person.pk for person in people]


# --- By which channels -----------------------------------------------------------------------------------


def test_who_has_no_address_is_skipped_and_the_others_go(api: Api) -> None:
    ada, ben = rows.people(2)
    User.objects.filter(pk=ada.pk).update(phone="")
    answer = accepted(send(api, targets=[ada.pk, ben.pk], channels=["sms", "email"]))
    assert targets_of(answer) == [
        (ada.pk, "sms", "skipped", "no_address"),
        (ada.pk, "email", "queued", None),
        (ben.pk, "sms", "queued", None),
        (ben.pk, "email", "queued", None),
    ]


@pytest.mark.parametrize("fields", [{}, {"channels": "all"}])
def test_all_is_every_channel_the_person_has_an_address_for(api: Api, fields: dict[str, str]) -> None:
    ada, ben = rows.people(2)
    User.objects.filter(pk=ada.pk).update(phone="")
    places.device(ada)
    places.everywhere(ben)
    answer = accepted(send(api, targets=[ada.pk, ben.pk], **fields))
    assert answer["channels"] == "all"
    found = {(user, channel) for user, channel, *_ in targets_of(answer)}
    assert found == {
        (ada.pk, "in_app"),
        (ada.pk, "email"),
        (ada.pk, "push"),
        *((ben.pk, channel) for channel in CHANNELS),
    }


def test_a_channel_named_twice_is_one(api: Api) -> None:
    (person,) = rows.people()
    answer = accepted(send(api, targets=[person.pk], channels=["sms", "email", "sms"]))
    assert answer["channels"] == ["sms", "email"] and len(answer["targets"]) == 2


def test_all_channels_of_a_template_are_those_it_has_content_for(api: Api) -> None:
    (person,) = rows.people()
    template(email=["order"], sms=[])
    answer = accepted(send(api, template="order-shipped", payload={"order": 1}, targets=[person.pk]))
    assert [channel for _, channel, *_ in targets_of(answer)] == ["email", "sms"]
    version = TemplateVersion.objects.get(template__slug="order-shipped")
    assert Notification.objects.get().template_version == version.pk


# --- When, and how urgently ------------------------------------------------------------------------------


@pytest.mark.parametrize("priority", PRIORITIES)
def test_priority_and_channel_are_the_lane(api: Api, rung: list[str], priority: str) -> None:
    (person,) = rows.people()
    places.everywhere(person)
    accepted(send(api, targets=[person.pk], priority=priority))
    assert lanes() == {f"{channel}.{priority}" for channel in CHANNELS} == set(rung)


def test_a_time_to_come_is_waited_for_and_rings_nothing(api: Api, rung: list[str]) -> None:
    (person,) = rows.people()
    answer = accepted(send(api, targets=[person.pk], channels=["email"], scheduled_at=later(hours=1)))
    assert targets_of(answer) == [(person.pk, "email", "held", "scheduled")]
    assert rung == []


def test_a_time_past_is_now(api: Api, rung: list[str]) -> None:
    (person,) = rows.people()
    answer = accepted(send(api, targets=[person.pk], channels=["email"], scheduled_at=later(hours=-1)))
    assert targets_of(answer) == [(person.pk, "email", "queued", None)]
    assert NotificationTarget.objects.get().next_attempt_at == Notification.objects.get().created_at
    assert rung == ["email.normal"]


def test_only_lanes_with_something_queued_are_rung(api: Api, rung: list[str]) -> None:
    (person,) = rows.people(phone="")
    accepted(send(api, targets=[person.pk], channels=["sms", "email"]))
    assert rung == ["email.normal"]


@pytest.mark.parametrize(
    ("priority", "keeps", "urgency"),
    [
        ("high", False, "bulk"),
        ("high", True, "high"),
        ("critical", False, "critical"),
        ("critical", True, "critical"),
    ],
)
def test_more_than_a_thousand_targets_go_by_the_bulk_lanes(
    rung: list[str], priority: str, keeps: bool, urgency: str
) -> None:
    scopes = [Scope.SEND, *([Scope.KEEP_LANE] if keeps else [])]
    api = Api(make_key(make_service(), scopes))
    people = [person.pk for person in rows.people(501)]
    accepted(send(api, targets=people[:500], channels=["email", "in_app"], priority=priority))
    assert lanes() == {f"email.{priority}", f"in_app.{priority}"}
    NotificationTarget.objects.all().delete()
    rung.clear()
    accepted(send(api, targets=people, channels=["email", "in_app"], priority=priority))
    assert lanes() == {f"email.{urgency}", f"in_app.{urgency}"} == set(rung)


def test_expires_at_is_on_every_target(api: Api) -> None:
    people = rows.people(2)
    accepted(send(api, targets=[person.pk for person in people], expires_at=later(seconds=1)))
    times = set(NotificationTarget.objects.values_list("expires_at", flat=True))
    assert times == {Notification.objects.get().expires_at}


def test_times_are_taken_with_any_offset_and_precision(api: Api) -> None:
    (person,) = rows.people()
    for given, kept in (
        ("2101-01-01T00:00:00Z", "2101-01-01T00:00:00Z"),
        ("2101-01-01t00:00:00.5z", "2101-01-01T00:00:00.500000Z"),
        ("2101-01-01 00:00:00-05:30", "2101-01-01T05:30:00Z"),
        ("2101-01-01T00:00:00.1234567Z", "2101-01-01T00:00:00.123456Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
    ):
        answer = accepted(send(api, targets=[person.pk], scheduled_at=given))
        assert answer["scheduled_at"] == kept
        assert api.get(f"{SEND}{answer['id']}/").json()["scheduled_at"] == kept


def test_nothing_but_these_statuses_comes_of_a_post(api: Api) -> None:
    (person,) = rows.people(phone="")
    accepted(send(api, targets=[person.pk], channels=["sms", "email"]))
    accepted(send(api, targets=[person.pk], channels=["email"], scheduled_at=later(days=1)))
    found = set(NotificationTarget.objects.values_list("status", flat=True))
    assert found == {Status.QUEUED, Status.HELD, Status.SKIPPED}
