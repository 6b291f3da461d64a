"""Targets per second from the call of the intake service to the last one settled, planning included.

One audience at a time on one channel, with a template; the median of three runs. The floor is bare SQL: the
same rows inserted, claimed and settled in the same tables by as many connections, without rendering, provider
and bells.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from project.dev.processes import Processes
from tests.bench import floor
from tests.bench.stage import make_people, stage

# Channel -> targets, processes of its worker group.
RUNS = {"email": (100_000, 3), "in_app": (20_000, 2), "sms": (10_000, 2)}
REPEATS = 3
SLOWEST = 300  # seconds one run may take
BODY = (
    "Hello {{ recipient.name }},\n\nyour order {{ order }} has left our warehouse and should reach you on "
    "{{ day }}. You can follow it under https://shop.example/orders/{{ order }}?c="
    "{{ recipient.external_id }}.\n\nThank you for shopping with us.\nYour team"
)
CONTENT = {"subject": "{{ recipient.name }}, your order is on its way", "body": BODY}


@cache
def version_of(channel: str) -> int:
    """The id of a published version with content for this channel."""
    from tests.support.templates import template

    return template(f"order-shipped-{channel}", {channel: CONTENT}, needs=["order", "day"]).pk


def main(argv: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    chosen = [name for name in RUNS if not argv or name in argv]
    figures, floors = {}, {}
    with stage() as built:
        built.start_simulator()
        user_ids = make_people(max(RUNS[name][0] for name in chosen))
        for name in chosen:
            targets, processes = RUNS[name]
            lowest, ours = [], []
            for _ in range(REPEATS):
                lowest.append(floor.measure(name, targets, connections=processes))
                ours.append(run(built.processes, name, user_ids[:targets], processes, built.accepted))
                print(f"{name}: {ours[-1]:.0f}/s, floor {lowest[-1]:.0f}/s", flush=True)
            floors[name], figures[name] = round(statistics.median(lowest)), round(statistics.median(ours))
    return figures, floors


def run(
    workers: Processes, channel: str, user_ids: list[int], processes: int, accepted: Callable[[], int]
) -> float:
    """Targets per second of one channel. Raises AssertionError unless the provider `accepted` each once."""
    from apps.notifications import intake
    from apps.notifications.intake import Order

    workers.worker("planning")
    workers.worker(channel, concurrency=processes)
    warm_up(channel, user_ids[:10])
    before = accepted()
    order = Order(
        organization_id=1,
        channels=[channel],
        version_id=version_of(channel),
        template="order-shipped",
        payload={"order": "A-1001", "day": "Tuesday"},
    )
    started = time.monotonic()
    id = intake.accept_audience(order, user_ids)
    wait_until_settled(id, len(user_ids))
    seconds = time.monotonic() - started
    workers.stop(["planning", channel])
    if channel != "in_app" and accepted() - before != len(user_ids):
        raise AssertionError(f"{accepted() - before} accepted of {len(user_ids)} sent")
    return len(user_ids) / seconds


def warm_up(channel: str, user_ids: list[int]) -> None:
    """One small audience, so that the clock does not measure how processes start."""
    from apps.notifications import intake
    from apps.notifications.intake import Order

    for _ in range(5):
        id = intake.accept_audience(
            Order(organization_id=1, channels=[channel], title="Warm", keep_lane=True), user_ids
        )
        wait_until_settled(id, len(user_ids))


def wait_until_settled(id: object, targets: int) -> None:
    """Poll, ringing for what is due like the sweeper, until so many are settled. Raises TimeoutError."""
    from apps.delivery.sweeper import due_lanes
    from project import db, queues

    deadline = time.monotonic() + SLOWEST
    rung = time.monotonic()
    while time.monotonic() < deadline:
        ((settled,),) = db.rows(_SETTLED, [id])
        if settled >= targets:
            return
        if time.monotonic() - rung > 1:
            rung = time.monotonic()
            queues.ring(*due_lanes())
        time.sleep(0.02)
    raise TimeoutError(f"{settled} of {targets} settled after {SLOWEST} s")


_SETTLED = """
SELECT coalesce(
    (SELECT sent + delivered FROM notifications_notificationsummary WHERE notification_id = n.id),
    (SELECT count(*) FROM notifications_notificationtarget t
     WHERE t.notification_id = n.id AND t.status IN ('sent', 'delivered')))
FROM notifications_notification n WHERE id = %s
"""
