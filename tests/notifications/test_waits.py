"""A lane that waits says why on its targets, without a write to any of them."""

from __future__ import annotations

import pytest

from apps.notifications.models import NotificationTarget
from apps.notifications.statuses import Status
from project import queues
from tests.api_helpers import Api
from tests.support import rows

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "ring_after", lambda lane, seconds: None)
    queues.wait("email.normal", "rate_limited", 5.0)
    yield
    queues.broker().delete("carillon:waiting:email.normal")


def reasons(api: Api, note) -> dict[str, str | None]:
    answer = api.get(f"/api/notifications/{note.pk}/targets/").json()
    return {one["status"]: one["reason"] for one in answer["items"]}


def test_what_is_queued_in_it_says_why_and_nothing_else_does(api: Api) -> None:
    note = rows.notification()
    for status in (Status.QUEUED, Status.RETRYING, Status.SENT, Status.DEAD):
        rows.targets(note, status)
    told = reasons(api, note)
    assert told["queued"] == "rate_limited"
    assert (told["retrying"], told["sent"], told["dead"]) == ("rate_limited", None, "attempts_used_up")
    assert NotificationTarget.objects.filter(status="queued", reason="").count() == 1


def test_in_another_lane_there_is_no_reason(api: Api) -> None:
    note = rows.notification()
    rows.targets(note, Status.QUEUED, lane="email.critical")
    assert reasons(api, note) == {"queued": None}


def test_without_a_broker_there_is_no_reason_and_no_error(api: Api, settings) -> None:
    note = rows.notification()
    rows.targets(note, Status.QUEUED)
    settings.REDIS_URL, settings.REDIS_TIMEOUT = "redis://127.0.0.1:1/0", 0.2
    assert reasons(api, note) == {"queued": None}


def test_a_lane_that_goes_on_no_longer_says_so_in_time() -> None:
    assert queues.waiting(["email.normal"]) == {"email.normal": "rate_limited"}
    assert 5_000 < queues.broker().pttl("carillon:waiting:email.normal") <= 8_000
    assert queues.waiting([]) == {}
