"""One bell, one batch: what becomes of targets, by outcome, text and provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connections

from apps.delivery import claims, engine, providers
from apps.delivery.models import Claim
from apps.integrations.contract import (
    Accepted,
    Message,
    Outcome,
    Outcomes,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.notifications.statuses import Status
from project import clock, db, ids, queues
from tests.support import rows
from tests.support.adapters import accepting, always, answering, by_target
from tests.support.database import move_clock, other_connection
from tests.support.rows import LANE

pytestmark = pytest.mark.django_db


def test_an_accepted_message_is_sent_and_its_attempt_recorded(adapter) -> None:
    scripted = adapter(always(Accepted("id-1")))
    (target,) = rows.queued()
    assert engine.work(LANE) == 1
    assert rows.attempted(target) == ("sent", "", "accepted", "")
    (attempt,) = rows.attempts([target])
    assert (attempt["id"], attempt["number"]) == (ids.attempt_id(target, 1), 1)
    assert (attempt["provider"], attempt["worker"]) == ("scripted", claims.worker_name())
    assert attempt["provider_message_id"] == "id-1"
    assert attempt["started_at"] == attempt["finished_at"] == clock.now()
    (message,) = scripted.sent
    assert (message.target, message.attempt) == (target, attempt["id"])
    assert (message.address, message.subject, message.text) == ("p@example.com", "Title", "Body")
    assert not Claim.objects.exists()
    rows.assert_books_balance()
    rows.assert_shapes_hold()


def test_a_temporary_failure_waits_for_its_next_attempt(adapter) -> None:
    adapter(always(TemporaryFailure("rate_limited", 120.0)))
    (target,) = rows.queued()
    engine.work(LANE)
    assert rows.attempted(target) == ("retrying", "rate_limited", "temporary_failure", "rate_limited")
    assert rows.row(target)["attempts"] == 1
    assert rows.row(target)["next_attempt_at"] >= clock.now() + timedelta(seconds=120)
    assert not Claim.objects.exists()


def test_a_retry_comes_at_its_time_with_the_next_number(adapter) -> None:
    (target,) = rows.queued()
    adapter(always(TemporaryFailure("busy", 60.0)))
    engine.work(LANE)
    scripted = adapter(accepting)
    assert engine.work(LANE) == 0
    move_clock(90)
    assert engine.work(LANE) == 1
    assert [attempt["outcome"] for attempt in rows.attempts([target])] == ["temporary_failure", "accepted"]
    (again,) = scripted.sent
    assert (again.attempt, again.idempotency_key) == (ids.attempt_id(target, 2), str(target))


def test_the_last_temporary_failure_ends_in_a_dead_letter(adapter) -> None:
    adapter(always(TemporaryFailure("busy")))
    (target,) = rows.queued(attempts=5)
    engine.work(LANE)
    assert rows.statuses([target]) == ["dead"]
    assert rows.row(target)["reason"] == "attempts_used_up"
    rows.assert_books_balance()


def test_a_permanent_failure_fails_and_needs_no_person(adapter) -> None:
    adapter(always(PermanentFailure("invalid_address", address_is_dead=True)))
    (target,) = rows.queued()
    engine.work(LANE)
    assert rows.attempted(target) == ("failed", "invalid_address", "permanent_failure", "invalid_address")
    rows.assert_books_balance()


def test_an_unknown_outcome_keeps_its_claim_for_the_grace(adapter, settings) -> None:
    adapter(always(UnknownOutcome("timeout")))
    (target,) = rows.queued()
    engine.work(LANE)
    assert rows.attempted(target) == ("unknown", "timeout", "unknown", "timeout")
    claim = Claim.objects.get()
    assert (claim.target_ids, claim.lease_until) == ([target], None)
    assert claim.grace_until == clock.now() + timedelta(seconds=settings.UNKNOWN_GRACE)
    assert rows.row(target)["claim_id"] == claim.id


def test_each_message_of_a_batch_has_its_own_outcome(adapter) -> None:
    targets = rows.queued(4)
    outcomes: list[Outcome] = [
        Accepted("x"),
        TemporaryFailure("a"),
        PermanentFailure("b"),
        UnknownOutcome("c"),
    ]
    adapter(by_target(dict(zip(targets, outcomes, strict=True))))
    engine.work(LANE)
    assert rows.statuses(targets) == ["sent", "retrying", "failed", "unknown"]
    assert Claim.objects.get().target_ids == [targets[3]]
    rows.assert_books_balance()
    rows.assert_shapes_hold()


def test_outcomes_are_settled_as_they_become_known(adapter, monkeypatch) -> None:
    targets = rows.queued(2)
    seen: list[list[str]] = []
    real = engine.until_committed

    def spy(write: Callable[[], Any]) -> Any:
        result = real(write)
        seen.append(rows.statuses(targets))
        return result

    async def one_by_one(messages: Sequence[Message]) -> AsyncIterator[Outcomes]:
        for message in messages:
            yield [(message, Accepted())]
            await asyncio.sleep(engine.GATHER_SECONDS * 4)

    monkeypatch.setattr(engine, "until_committed", spy)
    adapter(one_by_one)
    engine.work(LANE)
    first, last = seen
    assert sorted(first) == ["sending", "sent"] and last == ["sent", "sent"]


def templated(body: str, **fields: Any) -> list[UUID]:
    parts = {"subject": "Hello", "body": body, "html": ""}
    return rows.targets(rows.notification(content={"email": parts}, **fields), Status.QUEUED)


@pytest.mark.parametrize(
    "body",
    [
        "{{ broken",  # does not parse
        "{% for i in (1..1000000) %}{{ i }}{% endfor %}",  # runs too long
        "{{ code | base64_decode }}",  # raises something that is no error of the template language
        "{{ huge | ceil }}",
    ],
)
def test_a_text_that_does_not_render_is_dead_and_its_batch_goes_out(body, adapter) -> None:
    scripted = adapter(accepting)
    (broken,) = templated(body, payload={"code": "True", "huge": "1e400"})
    (whole,) = rows.queued()
    engine.work(LANE)
    assert rows.statuses([broken, whole]) == ["dead", "sent"]
    assert (rows.row(broken)["reason"], rows.row(broken)["attempts"]) == ("rendering", 0)
    assert rows.attempts([broken]) == []
    assert [message.target for message in scripted.sent] == [whole]
    assert not Claim.objects.exists()
    rows.assert_books_balance()


def test_a_template_without_content_for_the_channel_is_dead_and_its_batch_goes_out(adapter) -> None:
    adapter(accepting)
    (broken,) = rows.targets(rows.notification(content={"sms": {}}), Status.QUEUED)
    (whole,) = rows.queued()
    engine.work(LANE)
    assert rows.statuses([broken, whole]) == ["dead", "sent"]


def test_a_batch_that_renders_nowhere_calls_nobody(adapter) -> None:
    scripted = adapter(accepting)
    (broken,) = templated("{{ broken")
    engine.work(LANE)
    assert (rows.statuses([broken]), scripted.sent) == (["dead"], [])
    assert not Claim.objects.exists()


def test_without_a_provider_targets_are_dead_without_an_attempt(monkeypatch) -> None:
    monkeypatch.setattr(providers, "of_channel", lambda channel: [])
    targets = rows.queued(2)
    assert engine.work(LANE) == 2
    assert rows.statuses(targets) == ["dead", "dead"]
    assert {(rows.row(target)["reason"], rows.row(target)["attempts"]) for target in targets} == {
        ("no_provider", 0)
    }
    assert rows.attempts(targets) == [] and not Claim.objects.exists()
    rows.assert_books_balance()


def test_an_empty_lane_is_no_work(adapter) -> None:
    scripted = adapter(accepting)
    assert engine.work(LANE) == 0
    assert scripted.sent == [] and not Claim.objects.exists()


def test_a_full_claim_rings_again_before_it_sends(adapter, monkeypatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(queues, "ring_now", order.append)
    adapter(answering(lambda message: order.append("sent") or Accepted()), batch_size=2)
    rows.queued(3)
    engine.work(LANE)
    assert order == [LANE, "sent", "sent"]
    order.clear()
    engine.work(LANE)
    assert order == ["sent"]


def test_a_batch_is_no_more_than_the_adapter_or_the_settings_take(adapter, settings) -> None:
    settings.BULK_BATCH = 4
    adapter(accepting, batch_size=3)
    rows.queued(8)
    assert engine.work(LANE) == 3
    adapter(accepting, batch_size=500)
    assert engine.work(LANE) == 4


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_while_the_adapter_sends(adapter) -> None:
    workers = connections["default"]  # the adapter runs in the loop's thread, which has another
    states: list[tuple[bool, str]] = []

    async def script(messages: Sequence[Message]) -> AsyncIterator[Outcomes]:
        for message in messages:
            await asyncio.sleep(engine.GATHER_SECONDS * 2)  # the earlier ones are settled meanwhile
            states.append((workers.in_atomic_block, state_of(pid)))
            yield [(message, Accepted())]

    targets = rows.queued(2)
    ((pid,),) = db.rows("SELECT pg_backend_pid()")
    adapter(script)
    engine.work(LANE)
    assert states == [(False, "idle")] * 2
    assert rows.statuses(targets) == ["sent", "sent"]


def state_of(pid: int) -> str:
    """What Postgres says this connection is doing."""
    with other_connection() as other:
        ((state,),) = other.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", [pid]).fetchall()
        return str(state)


def test_an_answer_that_is_not_understood_is_kept_with_its_attempt(adapter) -> None:
    adapter(always(UnknownOutcome("bad_answer", "<html>It works!</html>")))
    (target,) = rows.queued()
    engine.work(LANE)
    (attempt,) = rows.attempts([target])
    assert (attempt["outcome"], attempt["answer"]) == ("unknown", "<html>It works!</html>")
