"""Which lane of a worker's is heard next, while all of them are rung all the time."""

from __future__ import annotations

from collections import Counter

from kombu.utils.scheduling import cycle_by_name

from project.celery import app
from project.queues import CHANNELS, WORKER_GROUPS, lanes_of

SHARED = ("push", "webhook", "chat")


def heard(lanes: list[str], times: int, *, rung: set[str]) -> list[str]:
    """The lanes that a worker of these hears, of those that always have a bell."""
    cycle = cycle_by_name(app.conf.broker_transport_options["queue_order_strategy"])()
    cycle.update(lanes)
    found = []
    for _ in range(times):
        lane = next(lane for lane in cycle.consume(len(lanes)) if lane in rung)
        cycle.rotate(lane)
        found.append(lane)
    return found


def test_the_channels_of_one_worker_take_turns() -> None:
    lanes = lanes_of([f"critical_{channel}" for channel in SHARED])
    assert Counter(heard(lanes, 30, rung=set(lanes))) == dict.fromkeys(lanes, 10)


def test_whoever_is_rung_first_again_and_again_holds_nobody_up() -> None:
    lanes = lanes_of([f"critical_{channel}" for channel in SHARED])
    assert heard(lanes, 3, rung={"push.critical", "chat.critical"})[:2] == ["push.critical", "chat.critical"]


def test_what_is_less_urgent_waits_however_often_the_others_were_heard() -> None:
    lanes = lanes_of(SHARED)
    assert set(heard(lanes, 30, rung=set(lanes))) == {f"{channel}.high" for channel in SHARED}
    normal = {f"{channel}.normal" for channel in SHARED}
    assert heard(lanes, 4, rung={"chat.high", *normal}) == ["chat.high"] * 4
    assert set(heard(lanes, 9, rung={*normal, "push.low"})) == normal


def test_a_worker_of_one_group_drains_its_lanes_in_their_order() -> None:
    for channel in CHANNELS:
        lanes = list(WORKER_GROUPS[channel])
        assert heard(lanes, 5, rung=set(lanes)) == [f"{channel}.high"] * 5
        assert heard(lanes, 2, rung=set(lanes[1:])) == [f"{channel}.normal"] * 2


def test_its_canary_comes_first_and_a_lane_it_does_not_have_changes_nothing() -> None:
    lanes = ["canary.push@host.0a1b", *lanes_of(["push"])]
    assert heard(lanes, 2, rung=set(lanes)) == [lanes[0]] * 2
    cycle = cycle_by_name("project.turns:ByUrgency")()
    cycle.update(lanes)
    cycle.rotate("email.high")
    assert cycle.items == lanes
