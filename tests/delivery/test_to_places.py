"""Deliveries to devices and endpoints: where they lead is looked up just before the message leaves."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from cryptography.fernet import Fernet

from apps.delivery import engine
from apps.integrations.contract import PermanentFailure
from apps.notifications.statuses import Status
from apps.preferences import suppression
from apps.users import places
from apps.users.models import Device, User
from project import clock
from tests.support import rows
from tests.support.adapters import accepting, always
from tests.support.places import device, endpoint

pytestmark = pytest.mark.django_db
PUSH, HOOKS = "push.normal", "webhook.normal"


def queued_to(user: User, place: object, lane: str = PUSH, **fields: Any) -> UUID:
    """A target that is queued for this place."""
    known = {"user_id": user.pk, "channel": lane.partition(".")[0], "address": str(place), "lane": lane}
    (target,) = rows.targets(rows.notification(payload={"order": 7}), Status.QUEUED, **(known | fields))
    return target


def test_a_device_is_sent_to_by_its_token_with_what_programs_want(adapter) -> None:
    scripted = adapter(accepting)
    (ada,) = rows.people(external_id="ada")
    target = queued_to(ada, device(ada, token="the-token"))
    engine.work(PUSH)
    assert rows.statuses([target]) == ["sent"]
    (message,) = scripted.sent
    assert (message.address, message.secrets, message.urgent) == ("the-token", (), False)
    assert (message.subject, message.text) == ("Title", "Body")
    assert message.data["payload"] == {"order": 7} and message.data["recipient"] == "ada"
    assert message.data["target_id"] == str(target)


def test_a_webhook_is_called_by_its_url_with_its_secrets(adapter) -> None:
    scripted = adapter(accepting)
    (ada,) = rows.people()
    queued_to(ada, endpoint(ada, address="https://example.com/hook"), HOOKS)
    engine.work(HOOKS)
    (message,) = scripted.sent
    assert message.address == "https://example.com/hook"
    assert len(message.secrets) == 1 and message.secrets[0].startswith("whsec_")


@pytest.mark.parametrize(("urgency", "urgent"), [("critical", True), ("high", True), ("low", False)])
def test_what_is_urgent_says_so_and_until_when_it_is_of_use(adapter, urgency: str, urgent: bool) -> None:
    scripted = adapter(accepting)
    (ada,) = rows.people()
    until = clock.now() + timedelta(hours=1)
    queued_to(ada, device(ada), f"push.{urgency}", expires_at=until)
    engine.work(f"push.{urgency}")
    (message,) = scripted.sent
    assert (message.urgent, message.expires_at) == (urgent, until)


@pytest.mark.parametrize("gone", ["deactivated", "deleted"])
def test_what_is_gone_meanwhile_is_skipped_and_its_neighbour_is_not(adapter, gone: str) -> None:
    scripted = adapter(accepting)
    (ada,) = rows.people()
    old, new = device(ada), device(ada)
    targets = [queued_to(ada, old), queued_to(ada, new)]
    if gone == "deleted":
        old.delete()
    else:
        places.deactivate([str(old)], "removed")
    engine.work(PUSH)
    assert rows.statuses(targets) == ["skipped", "sent"]
    assert rows.row(targets[0])["reason"] == "gone" and rows.row(targets[0])["attempts"] == 0
    assert len(scripted.sent) == 1


def test_what_cannot_be_opened_waits_for_an_operator_without_an_attempt(adapter, settings) -> None:
    scripted = adapter(accepting)
    (ada,) = rows.people()
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    locked = endpoint(ada)
    settings.ENCRYPTION_KEYS = []
    targets = [queued_to(ada, locked, HOOKS), queued_to(ada, endpoint(ada), HOOKS)]
    engine.work(HOOKS)
    assert rows.statuses(targets) == ["retrying", "sent"]
    waits = rows.row(targets[0])
    assert (waits["reason"], waits["attempts"]) == ("locked", 0)
    assert waits["next_attempt_at"] > clock.now() + timedelta(seconds=50)
    assert len(scripted.sent) == 1


def test_a_dead_token_deactivates_its_device_and_is_suppressed(adapter) -> None:
    adapter(always(PermanentFailure("unregistered", address_is_dead=True)))
    (ada,) = rows.people()
    dead, other = device(ada), device(ada)
    target = queued_to(ada, dead)
    engine.work(PUSH)
    assert rows.statuses([target]) == ["failed"]
    kept = Device.objects.get(pk=dead.pk)
    assert (kept.is_active, kept.deactivated_reason) == (False, "unregistered")
    assert Device.objects.get(pk=other.pk).is_active
    assert suppression.among([("push", str(dead))]) == {(ada.organization_id, "push", str(dead))}
    assert places.places([ada.pk], ["push"]) == {(ada.pk, "push"): [str(other)]}


def test_a_refusal_that_says_nothing_of_the_address_leaves_the_device(adapter) -> None:
    adapter(always(PermanentFailure("too_large")))
    (ada,) = rows.people()
    phone = device(ada)
    queued_to(ada, phone)
    engine.work(PUSH)
    assert Device.objects.get(pk=phone.pk).is_active
    assert suppression.among([("push", str(phone))]) == set()
