"""What a worker is started with, by its canary. Real workers: tests/e2e/test_canary.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.core.management import CommandError, call_command

from apps.delivery.management.commands import worker
from project import queues


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Celery:
    """In place of ours, which must not be changed; what it was told to run is in `told`."""
    one = Celery("test", set_as_current=False)
    one.told = []
    monkeypatch.setattr(one, "worker_main", one.told.append)
    monkeypatch.setattr(worker, "app", one)
    return one


def heard(app: Celery) -> list[str]:
    return next(part for part in app.told[-1] if part.startswith("--queues=")).partition("=")[2].split(",")


def test_with_a_file_it_hears_a_queue_of_its_own_before_all_others(
    app: Celery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Any
) -> None:
    file = tmp_path / "alive"
    file.touch()
    monkeypatch.setenv("ALIVE_FILE", str(file))
    call_command("worker", "email")

    own, *lanes = heard(app)
    assert own.startswith(f"{queues.CANARY}email@") and lanes == list(queues.WORKER_GROUPS["email"])
    queue = app.amqp.queues[own]
    assert (queue.expires, queue.exchange.name, queue.no_ack) == (settings.WORKER_STUCK_AFTER, "", True)
    assert [step.__name__ for step in app.steps["worker"]] == ["Canary"]
    assert not file.exists()  # an earlier worker's says nothing about this one

    call_command("worker", "email")
    assert heard(app)[0] != own


def test_without_a_file_it_has_no_canary(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALIVE_FILE", raising=False)
    call_command("worker", "sms")
    assert heard(app) == list(queues.WORKER_GROUPS["sms"])
    assert not app.steps["worker"]


@pytest.mark.parametrize("limit", [14.9, 20.0])
def test_a_limit_that_healthy_workers_would_pass_is_refused(
    app: Celery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Any, limit: float
) -> None:
    monkeypatch.setenv("ALIVE_FILE", str(tmp_path / "alive"))
    settings.PROVIDER_TIMEOUT, settings.CLAIM_MARGIN, settings.CANARY_INTERVAL = 10.0, 5.0, 5.0
    settings.WORKER_STUCK_AFTER = limit
    with pytest.raises(CommandError, match=rf"={limit:g}, but a child may be busy for 20 s"):
        call_command("worker", "email")
    assert app.told == []

    settings.WORKER_STUCK_AFTER = 20.1
    call_command("worker", "email")
    assert len(app.told) == 1


def test_a_file_that_cannot_be_written_is_refused(
    app: Celery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ALIVE_FILE", str(tmp_path / "nowhere" / "alive"))
    with pytest.raises(CommandError, match="cannot be written: No such file"):
        call_command("worker", "email")
    assert app.told == []
