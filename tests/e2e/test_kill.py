"""kill -9 of a worker in the middle of its work: nothing lost, nothing doubled that is not owned up to."""

from __future__ import annotations

import urllib.request
from collections import Counter
from collections.abc import Callable

import orjson

from apps.notifications import intake
from apps.notifications.intake import Order
from apps.notifications.statuses import SETTLED
from project import db
from tests.e2e.conftest import Running, wait_for

KILLS = 3
EMAILS = 12_000
SMS = 1_500
PROCESSES = 2
IN_THE_AIR = {"email": 500, "sms": 128}  # per process: a batch


def test_killing_the_email_worker_loses_nothing_and_doubles_nothing(
    running: Running, statuses: Callable[[], dict[str, int]]
) -> None:
    _kill_and_check(running, statuses, channel="email", targets=EMAILS)


def test_killing_the_sms_worker_loses_nothing_and_doubles_nothing(
    running: Running, statuses: Callable[[], dict[str, int]]
) -> None:
    _kill_and_check(running, statuses, channel="sms", targets=SMS)


def _kill_and_check(
    running: Running, statuses: Callable[[], dict[str, int]], *, channel: str, targets: int
) -> None:
    running.answer_slowly(milliseconds=50)  # so that there is something in the air to kill
    running.processes.worker("planning")
    running.processes.worker("control")
    running.processes.beat()
    running.processes.worker(channel, concurrency=PROCESSES)
    order = Order(organization_id=1, channels=[channel], title="Hello", body="It is on its way.")
    intake.accept_audience(order, _people(targets))

    for kill in range(1, KILLS + 1):
        enough = targets * kill // (KILLS + 2)
        wait_for(lambda enough=enough: _accepted(running) > enough, what=f"{enough} accepted")
        running.kill(channel)
        running.processes.worker(channel, concurrency=PROCESSES)

    settled = {status.value for status in SETTLED}
    wait_for(
        lambda: sum(statuses().values()) == targets and statuses().keys() <= settled,
        seconds=120,
        what="all settled",
    )
    _check(running, targets, most_unknown=KILLS * PROCESSES * IN_THE_AIR[channel])


def _check(running: Running, targets: int, *, most_unknown: int) -> None:
    accepted = Counter(entry["target"] for entry in running.ledger())
    rows = db.rows(_FATES)
    assert len(rows) == targets
    assert {str(id) for id, *_ in rows} >= accepted.keys()
    assert [id for id, status, _, _ in rows if status == "sent" and not accepted[str(id)]] == []
    assert [id for id, _, unknown, _ in rows if accepted[str(id)] > 1 + unknown] == []
    assert {status for _, status, _, _ in rows} <= {"sent", "dead"}
    # Not critical, so what nobody knows is left to a person: one open dead letter for each, and for no other.
    assert [row for row in rows if (row[1] == "dead") != (row[2:] == (1, 1))] == []
    assert 0 < sum(unknown for _, _, unknown, _ in rows) <= most_unknown
    assert db.rows("SELECT count(*) FROM delivery_claim") == [(0,)]


_FATES = """
SELECT t.id, t.status,
       (SELECT count(*) FROM notifications_deliveryattempt a
        WHERE a.target_id = t.id AND a.outcome = 'unknown' AND a.id > t.id
          AND a.id <= overlay(t.id::text placing 'ff' from 35)::uuid),
       (SELECT count(*) FROM notifications_deadletter d WHERE d.target_id = t.id AND d.resolved_at IS NULL)
FROM notifications_notificationtarget t
"""


def _accepted(running: Running) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{running.port}/counts", timeout=5) as answer:
        return int(orjson.loads(answer.read())["accepted"])


def _people(number: int) -> list[int]:
    from tests.bench.stage import make_people

    return make_people(number)
