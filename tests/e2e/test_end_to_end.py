"""The main job with the real processes: from the POST to the WebSocket client and the providers."""

from __future__ import annotations

from project.dev import demo
from project.queues import WORKER_GROUPS
from tests.e2e.conftest import Running


def test_a_notification_goes_from_the_post_to_the_socket_and_to_every_provider(running: Running) -> None:
    running.start_api()
    for group in WORKER_GROUPS:
        running.processes.worker(group)
    running.processes.beat()
    called = running.demo()
    demo.prepare_templates()

    deliveries, seconds = demo.send(called)

    assert {one.channel: one.status for one in deliveries} == {
        "in_app": "delivered",
        "email": "sent",
        "sms": "sent",
    }
    assert seconds is not None
    assert sorted(entry["address"] for entry in running.ledger()) == ["+4930123456", "ada@example.com"]
    email = next(entry for entry in running.ledger() if entry["channel"] == "email")
    assert email["subject"] == "Ada Lovelace, your order is on its way"
    assert "your order A-1001 should reach you on Tuesday" in email["text"]
    assert running.processes.ended() is None
