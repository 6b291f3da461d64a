"""HELP by SMS: answered once, by the ordinary way, in the transaction that applies the receipt."""

from __future__ import annotations

import threading
from itertools import count
from typing import Any

import pytest

from apps.delivery import engine, helping, receipts
from apps.delivery.models import Receipt
from apps.integrations.contract import ReceiptEvent, ReceiptKind
from apps.notifications.models import Notification, NotificationTarget
from apps.notifications.statuses import Status
from apps.preferences import suppression
from apps.preferences.suppression import Cause, Fact
from apps.users.models import DEFAULT_ORGANIZATION_ID as OURS
from apps.users.models import User
from project import clock, ids
from tests.api_helpers import make_organization
from tests.support import rows
from tests.support.adapters import accepting
from tests.support.database import in_threads, move_clock
from tests.support.receivers import KEY

pytestmark = pytest.mark.django_db
PHONE, TEXT = "+4930123456", "Carillon, shop@example.com. Reply STOP to stop."
_event_ids = count()


@pytest.fixture(autouse=True)
def by_sms(reporting: Any, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """The scripted provider takes texts, and there is something to answer."""
    monkeypatch.setattr(reporting, "channel", "sms")
    settings.SMS_HELP_TEXT = TEXT


def asks(number: str = PHONE, **more: Any) -> ReceiptEvent:
    event_id = f"help-{next(_event_ids)}"
    return ReceiptEvent(event_id=event_id, kind=ReceiptKind.ASKED_HELP, address=number, **more)


def tell(*events: ReceiptEvent) -> list[str]:
    """Store and apply these; what each did."""
    receipts.store(KEY, events)
    receipts.apply(500)
    did = dict(Receipt.objects.values_list("event_id", "applied"))
    return [did[event.event_id] for event in events]


def test_help_is_answered_by_a_critical_sms(rung: list[str], adapter: Any) -> None:
    (person,) = rows.people(phone=PHONE)
    assert tell(asks()) == ["answered"]
    note, target = Notification.objects.get(), NotificationTarget.objects.get()
    assert (note.organization_id, note.client_id, note.body, note.title) == (OURS, None, TEXT, "")
    assert (note.channels, note.priority, note.recipient_count) == (["sms"], "critical", 1)
    assert (note.related_type, note.related_id) == ("inbound-help", str(person.pk))
    assert (target.user_id, target.address, target.lane) == (person.pk, PHONE, "sms.critical")
    assert target.status == "queued" and (target.expires_at - clock.now()).total_seconds() == 3600
    assert rung == ["sms.critical"]
    scripted = adapter(accepting)
    engine.work("sms.critical")
    (message,) = scripted.sent
    assert (message.address, message.text, message.subject) == (PHONE, TEXT, "")


def test_nothing_is_answered_where_there_is_no_text(rung: list[str], settings: Any) -> None:
    settings.SMS_HELP_TEXT = ""
    rows.people(phone=PHONE)
    assert tell(asks()) == ["no_target"]
    assert not Notification.objects.exists() and rung == []


@pytest.mark.parametrize("person", [{"phone": "+4930999"}, {"phone": PHONE, "is_active": False}])
def test_a_number_of_nobody_is_not_answered(person: dict[str, Any], rung: list[str]) -> None:
    rows.people(**person)
    assert tell(asks(), asks("")) == ["no_target", "no_target"]
    assert not Notification.objects.exists() and rung == []


def test_what_does_not_come_by_sms_is_not_answered(rung: list[str], reporting: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(reporting, "channel", "email")
    rows.people(phone=PHONE)
    assert tell(asks()) == ["no_target"]
    assert not Notification.objects.exists()


def test_of_several_with_one_number_the_first_is_answered(rung: list[str]) -> None:
    other = make_organization()
    users = [
        User.objects.create(organization_id=of, phone=PHONE, is_active=active)
        for of, active in ((OURS, False), (other.pk, True), (OURS, True))
    ]
    assert tell(asks()) == ["answered"]
    assert NotificationTarget.objects.get().user_id == users[1].pk
    assert Notification.objects.get().organization_id == other.pk


def test_a_number_is_answered_once_an_hour(rung: list[str]) -> None:
    rows.people(phone=PHONE)
    rows.people(phone="+4930777")
    assert tell(asks(), asks(), asks("+4930777")) == ["answered", "already", "answered"]
    assert tell(asks()) == ["already"]
    move_clock(3599)
    assert tell(asks()) == ["already"]
    move_clock(3601)
    assert tell(asks()) == ["answered"]
    assert Notification.objects.count() == 3
    assert rung == ["sms.critical"] * 2


def test_what_a_service_says_of_the_same_person_is_no_answer(rung: list[str]) -> None:
    (person,) = rows.people(phone=PHONE)
    rows.notification(related_type="help", related_id=str(person.pk))
    rows.notification(
        organization_id=make_organization().pk, related_type=helping.RELATED, related_id=str(person.pk)
    )
    assert tell(asks()) == ["answered"]


def test_who_told_us_to_stop_is_not_answered_but_it_is_on_record(rung: list[str]) -> None:
    rows.people(phone=PHONE)
    suppression.suppress([Fact(None, "sms", PHONE, Cause.OPTED_OUT)])
    assert tell(asks(), asks()) == ["skipped", "already"]
    target = NotificationTarget.objects.get()
    assert (target.status, target.reason) == ("skipped", "suppressed") and rung == []


def test_help_in_reply_to_a_message_is_answered_to_its_address(rung: list[str]) -> None:
    rows.people(phone=PHONE)
    (target,) = rows.targets(rows.notification(kept=True), Status.UNKNOWN, channel="sms", address=PHONE)
    assert tell(asks("", target=target, attempt=ids.attempt_id(target, 1))) == ["answered"]
    assert rows.statuses([target]) == ["sent"]  # it has arrived somewhere
    assert Notification.objects.filter(related_type="inbound-help").count() == 1
    rows.assert_books_balance()


def test_a_receipt_that_is_repeated_is_answered_once(rung: list[str]) -> None:
    rows.people(phone=PHONE)
    event = asks()
    assert tell(event) == ["answered"]
    assert receipts.store(KEY, [event]) == 0 and receipts.apply(10) == 0
    assert Notification.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_what_is_not_committed_is_neither_answered_nor_rung(rung: list[str], monkeypatch: Any) -> None:
    rows.people(phone=PHONE)

    def fail(heard: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(receipts.addresses, "learn", fail)
    event = asks()
    with pytest.raises(KeyboardInterrupt):
        tell(event)
    assert not Notification.objects.exists() and rung == []
    monkeypatch.undo()


@pytest.mark.django_db(transaction=True)
def test_of_two_that_are_applied_at_once_one_is_answered(rung: list[str], monkeypatch: Any) -> None:
    rows.people(phone=PHONE)
    receipts.store(KEY, [asks(), asks()])
    both, real = threading.Barrier(2), helping.answer

    def answer(asked: Any) -> Any:
        both.wait(10)
        return real(asked)

    monkeypatch.setattr(helping, "answer", answer)
    in_threads(2, lambda number: receipts.apply(1))
    assert sorted(Receipt.objects.values_list("applied", flat=True)) == ["already", "answered"]
    assert Notification.objects.count() == 1
