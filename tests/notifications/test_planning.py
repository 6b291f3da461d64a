"""Who gets what, where and when: the plan of every combination, before anything is written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.notifications import intake, planning
from apps.notifications.intake import Order
from apps.notifications.planning import Wish
from apps.notifications.statuses import Status
from apps.users.people import Person
from project import ids
from project.queues import DELIVERY_LANES, lane_of

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
CHANNELS = ["in_app", "email", "sms"]


def wish(**fields: Any) -> Wish:
    values: dict[str, Any] = {
        "notification_id": ids.uuid7(),
        "organization_id": 3,
        "channels": ["email"],
        "all_channels": False,
        "priority": "normal",
        "bulk": False,
        "scheduled_at": None,
        "expires_at": None,
        "max_attempts": 4,
    }
    return Wish(**(values | fields))


def person(
    id: int = 7, *, email: str = "a@example.com", phone: str = "+4930123", active: bool = True
) -> Person:
    return Person(id, None, "A", email, phone, "UTC", "en", active, NOW, NOW)


def test_a_target_carries_all_that_sending_it_needs() -> None:
    asked = wish(expires_at=NOW + HOUR)
    (target,) = planning.plan(asked, [person()], NOW)
    assert (target.notification_id, target.organization_id) == (asked.notification_id, 3)
    assert (target.user_id, target.channel, target.address) == (7, "email", "a@example.com")
    assert (target.lane, target.status, target.reason, target.at) == ("email.normal", Status.QUEUED, "", NOW)
    assert (target.expires_at, target.attempts_allowed) == (NOW + HOUR, 4)
    assert target.id.int & 0xFF == 0


def test_everybody_gets_every_channel_and_every_target_an_id_of_its_own() -> None:
    planned = planning.plan(wish(channels=CHANNELS), [person(1), person(2)], NOW)
    assert [(target.user_id, target.channel) for target in planned] == [
        (id, channel) for id in (1, 2) for channel in CHANNELS
    ]
    assert len({target.id for target in planned}) == 6


@pytest.mark.parametrize(
    ("channel", "address"), [("in_app", "7"), ("email", "a@example.com"), ("sms", "+4930123")]
)
def test_each_channel_has_its_address(channel: str, address: str) -> None:
    assert planning.addresses_of(channel, person()) == (address,)


@pytest.mark.parametrize("channel", ["email", "sms"])
def test_a_channel_named_without_an_address_for_it_is_skipped_and_says_so(channel: str) -> None:
    (target,) = planning.plan(wish(channels=[channel]), [person(email="", phone="")], NOW)
    assert (target.status, target.reason, target.at) == (Status.SKIPPED, "no_address", None)


@pytest.mark.parametrize(
    ("email", "phone", "channels"),
    [
        ("a@example.com", "+4930123", CHANNELS),
        ("a@example.com", "", ["in_app", "email"]),
        ("", "+4930123", ["in_app", "sms"]),
        ("", "", ["in_app"]),
    ],
)
def test_all_channels_are_those_there_is_an_address_for(email: str, phone: str, channels: list[str]) -> None:
    planned = planning.plan(
        wish(channels=CHANNELS, all_channels=True), [person(email=email, phone=phone)], NOW
    )
    assert [(target.channel, target.status) for target in planned] == [(c, Status.QUEUED) for c in channels]


@pytest.mark.parametrize(
    ("scheduled_at", "status", "reason", "at"),
    [
        (None, Status.QUEUED, "", NOW),
        (NOW - HOUR, Status.QUEUED, "", NOW),  # as soon as possible, not back then
        (NOW, Status.QUEUED, "", NOW),
        (NOW + HOUR, Status.HELD, "scheduled", NOW + HOUR),
    ],
)
def test_what_is_scheduled_is_held_until_its_time(
    scheduled_at: datetime | None, status: Status, reason: str, at: datetime
) -> None:
    (target,) = planning.plan(wish(scheduled_at=scheduled_at), [person()], NOW)
    assert (target.status, target.reason, target.at) == (status, reason, at)


@pytest.mark.parametrize("fields", [{}, {"email": ""}])
def test_a_person_who_is_deactivated_gets_nothing_whatever_else_holds(fields: dict[str, str]) -> None:
    (target,) = planning.plan(wish(scheduled_at=NOW + HOUR), [person(active=False, **fields)], NOW)
    assert (target.status, target.reason, target.at) == (Status.SKIPPED, "inactive", None)


def test_without_an_address_nothing_is_held_for_later() -> None:
    (target,) = planning.plan(wish(scheduled_at=NOW + HOUR), [person(email="")], NOW)
    assert (target.status, target.reason) == (Status.SKIPPED, "no_address")


@pytest.mark.parametrize(
    ("priority", "bulk", "lane"),
    [
        ("critical", False, "sms.critical"),
        ("high", False, "sms.high"),
        ("normal", False, "sms.normal"),
        ("low", False, "sms.low"),
        ("high", True, "sms.bulk"),
        ("low", True, "sms.bulk"),
        ("critical", True, "sms.critical"),  # a one-time code is never a newsletter
    ],
)
def test_the_lane_is_the_channel_and_its_urgency(priority: str, bulk: bool, lane: str) -> None:
    (target,) = planning.plan(wish(channels=["sms"], priority=priority, bulk=bulk), [person()], NOW)
    assert target.lane == lane == lane_of("sms", priority, bulk=bulk)
    assert lane in DELIVERY_LANES


@pytest.mark.parametrize(
    ("targets", "keep", "bulk"), [(1000, False, False), (1001, False, True), (9999, True, False)]
)
def test_more_than_a_thousand_targets_are_bulk(targets: int, keep: bool, bulk: bool) -> None:
    assert intake.is_bulk(Order(organization_id=1, channels=CHANNELS, keep_lane=keep), targets) is bulk


def test_nobody_is_no_plan() -> None:
    assert planning.plan(wish(), [], NOW) == []


def test_of_all_channels_none_reaches_and_each_says_so() -> None:
    """An SMS-only template for somebody without a phone: an answer without a row would explain nothing."""
    (target,) = planning.plan(wish(channels=["sms"], all_channels=True), [person(phone="")], NOW)

    assert (target.channel, target.status, target.reason) == ("sms", Status.SKIPPED, "no_address")
