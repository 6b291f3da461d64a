from __future__ import annotations

import threading

import pytest

from project import counting, queues
from tests.support.database import eventually


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    queues.broker().delete(counting.KEY)


def test_what_is_counted_arrives_once_from_any_thread() -> None:
    threads = [threading.Thread(target=lambda: [counting.count("a") for _ in range(100)]) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counting.count("b")
    eventually(lambda: counting.counts("a", "b", "c") == {"a": 500, "b": 1, "c": 0})


def test_without_redis_it_is_lost_and_in_nobodys_way(settings, caplog) -> None:
    settings.REDIS_URL, settings.REDIS_TIMEOUT = "redis://127.0.0.1:1/0", 0.2
    counting.count("a")
    assert counting.counts("a") == {}
    eventually(lambda: "not counted" in caplog.text)
