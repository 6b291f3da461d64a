"""A provider that hangs holds nobody else up: not even what is as urgent, by another channel."""

from __future__ import annotations

import time
import urllib.request

import orjson

from apps.notifications import intake
from apps.notifications.intake import Order
from project import queues
from project.queues import WORKER_GROUPS
from tests.e2e.conftest import Running, wait_for

FOR_MAILS = 6.0  # seconds in which every mail hangs: three times the provider's timeout
AT_ONCE = 1.5  # seconds for a critical SMS; less than one call that hangs


def test_a_hanging_mail_provider_does_not_hold_up_a_critical_sms(running: Running) -> None:
    for group, lanes in WORKER_GROUPS.items():
        if any(lane.endswith(".critical") for lane in lanes):
            running.processes.worker(group)
    _send(running, "sms")  # the workers are up

    _hang(running, "sendgrid", seconds=FOR_MAILS)
    until = time.monotonic() + FOR_MAILS - AT_ONCE
    while time.monotonic() < until:
        _post("email")  # so that the next mail is always waiting
        assert _send(running, "sms") < AT_ONCE


def _send(running: Running, channel: str) -> float:
    """Seconds until the provider has one more of this channel."""
    before, began = _accepted(running, channel), time.monotonic()
    _post(channel)
    wait_for(lambda: _accepted(running, channel) > before, what=f"a critical {channel}")
    return time.monotonic() - began


def _post(channel: str) -> None:
    from apps.users import people
    from apps.users.schemas import UserInput
    from project import clock, db
    from project.dev.demo import PERSON

    person = people.upsert(1, [UserInput.model_validate(PERSON)])[PERSON["external_id"]]
    order = Order(organization_id=1, channels=[channel], title="Your code", body="4711", priority="critical")
    with db.one_transaction():
        intake.accept([(order, [person])], clock.now())
    queues.ring_now(f"{channel}.critical")


def _accepted(running: Running, channel: str) -> int:
    return sum(entry["channel"] == channel for entry in running.ledger())


def _hang(running: Running, provider: str, *, seconds: float) -> None:
    wanted = {"provider": provider, "fault": "hang", "times": 1_000, "seconds": seconds}
    request = urllib.request.Request(f"http://127.0.0.1:{running.port}/faults", data=orjson.dumps(wanted))
    urllib.request.urlopen(request, timeout=5).close()
