"""Every lane once: declared, listened to, and rung by tasks that exist."""

from __future__ import annotations

from collections import Counter

import pytest

from project import queues
from project.celery import app


def test_every_lane_is_listened_to_by_exactly_one_group() -> None:
    assert Counter(lane for lanes in queues.WORKER_GROUPS.values() for lane in lanes) == Counter(queues.LANES)


def test_every_lane_is_a_declared_queue_and_no_other_is() -> None:
    assert Counter(queue.name for queue in app.conf.task_queues) == Counter(queues.LANES)
    assert app.conf.task_create_missing_queues is False
    assert app.conf.task_default_queue in queues.LANES


@pytest.mark.parametrize("channel", queues.CHANNELS)
@pytest.mark.parametrize("priority", queues.PRIORITIES)
@pytest.mark.parametrize("bulk", [False, True])
def test_every_target_has_a_lane_that_exists(channel: str, priority: str, bulk: bool) -> None:
    assert queues.lane_of(channel, priority, bulk=bulk) in queues.DELIVERY_LANES


def test_no_group_mixes_channels_or_anything_with_what_is_critical() -> None:
    for lanes in queues.WORKER_GROUPS.values():
        assert len({lane.partition(".")[0] for lane in lanes}) == 1
        assert len({lane.endswith(".critical") for lane in lanes}) == 1


def test_a_group_drains_its_most_urgent_lane_first() -> None:
    for lanes in queues.WORKER_GROUPS.values():
        order = [queues._URGENT_FIRST.index(lane.split(".")[-1]) for lane in lanes]
        assert order == sorted(order)


def test_every_task_that_is_rung_or_ticked_exists() -> None:
    app.loader.import_default_modules()
    ticks = app.conf.beat_schedule.values()
    assert {
        queues.WORK_TASK,
        queues.PLAN_TASK,
        queues.RECEIPTS_TASK,
        *(tick["task"] for tick in ticks),
    } <= set(app.tasks)
    assert {tick["options"]["queue"] for tick in ticks} <= set(queues.LANES)
    assert all(0 < tick["options"]["expires"] <= 3600 for tick in ticks)  # a backlog of ticks is of no use
    assert all(tick["options"]["expires"] > 300 for tick in ticks)  # a worker's clock may be minutes ahead


def test_celery_is_a_bell_only() -> None:
    own = [task for name, task in app.tasks.items() if not name.startswith("celery.")]
    assert own and not any(
        task.acks_late or task.autoretry_for for task in own if hasattr(task, "autoretry_for")
    )
    assert app.conf.task_ignore_result and not app.conf.task_acks_late


def test_no_lane_looks_like_the_queue_of_a_canary() -> None:
    assert not [lane for lane in queues.LANES if lane.startswith(queues.CANARY)]
    assert queues.CANARY_TASK in app.tasks


def test_a_worker_takes_only_what_its_children_can_begin_and_acknowledges_nothing() -> None:
    """A lost acknowledgement would make it deaf (docs/decisions/0007-deaf-workers.md)."""
    assert app.conf.worker_disable_prefetch is True
    assert all(queue.no_ack for queue in app.conf.task_queues)
