"""Bells: one on its way at a time, answered before the work, and never in anybody's way."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import orjson
import pytest

from project import queues
from project.celery import app
from tests.support.database import eventually

LANE = "sms.low"  # no other test works in it


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """No bell of another test, in the lanes used here."""
    lanes = (LANE, "sms.bulk", "email.high", queues.PLANNING, queues.RECEIPTS)
    queues.broker().delete(*lanes, *(queues._key(lane) for lane in lanes))
    yield
    queues.broker().delete(*lanes, *(queues._key(lane) for lane in lanes))


def waiting(lane: str = LANE) -> int:
    """Bells in the lane's queue."""
    return int(queues.broker().llen(lane))


def test_a_bell_is_a_task_in_the_lanes_queue_that_says_only_the_lane() -> None:
    assert queues.ring_now(LANE)
    message = orjson.loads(queues.broker().lpop(LANE))
    assert message["headers"]["task"] == queues.WORK_TASK
    assert message["headers"]["argsrepr"] == f"('{LANE}',)"
    assert message["headers"]["eta"] is message["headers"]["expires"] is None


@pytest.mark.parametrize(
    ("lane", "task"), [(queues.PLANNING, queues.PLAN_TASK), (queues.RECEIPTS, queues.RECEIPTS_TASK)]
)
def test_a_lane_with_a_task_of_its_own_names_that(lane: str, task: str) -> None:
    assert queues.ring_now(lane)
    headers = orjson.loads(queues.broker().lpop(lane))["headers"]
    assert (headers["task"], headers["argsrepr"]) == (task, "()")


def test_a_bell_on_its_way_stands_for_all_that_follow() -> None:
    for _ in range(5):
        assert queues.ring_now(LANE)
    assert waiting() == 1


def test_an_answered_bell_makes_room_for_the_next() -> None:
    queues.ring_now(LANE)
    queues.answered(LANE)
    queues.ring_now(LANE)
    assert waiting() == 2


def test_a_bell_that_reached_nobody_stops_the_next_for_two_seconds_at_most() -> None:
    queues.ring_now(LANE)
    assert 0 < queues.broker().pttl(queues._key(LANE)) <= queues.BELL_SECONDS * 1000


def test_lanes_do_not_share_a_bell() -> None:
    queues.ring_now(LANE)
    queues.ring_now("sms.bulk")
    assert (waiting(), waiting("sms.bulk")) == (1, 1)


def test_a_bell_that_could_not_be_published_leaves_room_for_the_next(monkeypatch) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise OSError("the broker went away")

    with monkeypatch.context() as broken:
        broken.setattr(app, "send_task", refuse)
        assert queues.ring_now(LANE) is False
    assert queues.ring_now(LANE) and waiting() == 1


def test_ringing_in_the_background_rings_each_lane_most_urgent_first(monkeypatch) -> None:
    rung: list[str] = []
    gate = threading.Event()

    def ring_now(lane: str) -> bool:
        gate.wait(5)
        rung.append(lane)
        return True

    monkeypatch.setattr(queues, "ring_now", ring_now)
    queues.ring("planning")
    eventually(lambda: not queues._ringer._wanted)
    queues.ring("email.bulk", "sms.critical")
    queues.ring("email.bulk", "in_app.high")
    gate.set()
    eventually(lambda: len(rung) == 4)
    assert rung == ["planning", "sms.critical", "in_app.high", "email.bulk"]


def test_a_lane_the_ringer_choked_on_does_not_silence_the_others(monkeypatch) -> None:
    rung: list[str] = []

    def send_task(name: str, queue: str, **options: object) -> None:
        if queue == "email.high":
            raise RuntimeError("whatever the transport may raise")
        rung.append(queue)

    monkeypatch.setattr(app, "send_task", send_task)
    queues.ring("email.high", LANE)
    eventually(lambda: rung == [LANE])
    assert not queues.broker().exists(queues._key("email.high"))


@pytest.fixture
def deaf(settings) -> Iterator[None]:
    """A Redis that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        settings.REDIS_URL = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        settings.REDIS_TIMEOUT = 0.2
        yield


@pytest.fixture
def gone(settings) -> Iterator[None]:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    settings.REDIS_URL = f"redis://127.0.0.1:{port}/0"
    settings.REDIS_TIMEOUT = 0.2
    yield


@pytest.fixture(params=["deaf", "gone"])
def no_redis(request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(request.param)


def test_without_redis_ringing_returns_at_once_however_often(no_redis) -> None:
    start = time.monotonic()
    for _ in range(100):
        queues.ring(LANE, "email.high")
    assert time.monotonic() - start < 0.5  # a hundred timeouts would be more


def test_without_redis_a_worker_goes_on_to_its_work(no_redis) -> None:
    start = time.monotonic()
    queues.answered(LANE)
    assert queues.ring_now(LANE) is False
    assert time.monotonic() - start < 3.0
