"""An adapter that breaks its contract costs its own messages at most, never its batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from apps.delivery import engine
from apps.delivery.models import Claim
from apps.integrations.contract import (
    Accepted,
    Message,
    Outcomes,
    PermanentFailure,
    TemporaryFailure,
)
from project import ids
from tests.support import rows
from tests.support.adapters import by_target
from tests.support.rows import LANE

pytestmark = pytest.mark.django_db


@pytest.fixture
def short(settings) -> None:
    settings.CLAIM_MARGIN = 0.1


async def breaking_after_the_first(messages: Sequence[Message]) -> AsyncIterator[Outcomes]:
    yield [(messages[0], Accepted())]
    raise RuntimeError("an adapter must not do this")


async def hanging_after_the_first(messages: Sequence[Message]) -> AsyncIterator[Outcomes]:
    yield [(messages[0], Accepted())]
    await asyncio.sleep(3600)


async def ending_after_the_first(messages: Sequence[Message]) -> AsyncIterator[Outcomes]:
    yield [(messages[0], Accepted())]


@pytest.mark.parametrize(
    "script", [breaking_after_the_first, hanging_after_the_first, ending_after_the_first]
)
def test_what_an_adapter_leaves_untold_is_unknown(script, adapter, short) -> None:
    scripted = adapter(script, timeout=0.1)
    targets = rows.queued(3)
    engine.work(LANE)
    told = scripted.sent[0].target
    untold = [target for target in targets if target != told]
    assert rows.statuses([told]) == ["sent"]
    assert [rows.attempted(target) for target in untold] == [("unknown", "untold", "unknown", "untold")] * 2
    assert Claim.objects.get().target_ids == untold


def test_a_hanging_call_is_cancelled(adapter, short) -> None:
    cancelled = []

    async def hang(messages: Sequence[Message]) -> AsyncIterator[Outcomes]:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        yield []

    adapter(hang, timeout=0.1)
    rows.queued()
    engine.work(LANE)
    for _ in range(100):
        if cancelled:
            break
        asyncio.run(asyncio.sleep(0.01))
    assert cancelled


async def telling_each_twice_at_once(messages: Sequence[Message]) -> AsyncIterator[Outcomes]:
    yield [(message, Accepted("first")) for message in messages]
    yield [(message, PermanentFailure("second")) for message in messages]


async def telling_each_twice_in_one_group(messages: Sequence[Message]) -> AsyncIterator[Outcomes]:
    for message in messages:
        yield [(message, Accepted("first")), (message, PermanentFailure("second"))]


async def telling_each_twice_with_a_pause(messages: Sequence[Message]) -> AsyncIterator[Outcomes]:
    for message in messages:
        yield [(message, Accepted("first"))]
        yield [(message, PermanentFailure("second"))]
        await asyncio.sleep(engine.GATHER_SECONDS * 1.5)


@pytest.mark.parametrize(
    "script", [telling_each_twice_at_once, telling_each_twice_in_one_group, telling_each_twice_with_a_pause]
)
def test_of_an_outcome_told_twice_the_first_counts(script, adapter) -> None:
    adapter(script)
    targets = rows.queued(3)
    engine.work(LANE)
    assert rows.statuses(targets) == ["sent"] * 3
    assert [attempt["provider_message_id"] for attempt in rows.attempts(targets)] == ["first"] * 3
    rows.assert_books_balance()


def test_an_outcome_for_a_message_nobody_sent_is_passed_over(adapter) -> None:
    stranger = Message(target=ids.target_id(), attempt=ids.uuid7(), address="x", text="x")

    async def script(messages: Sequence[Message]) -> AsyncIterator[Outcomes]:
        yield [(stranger, Accepted()), *((message, Accepted()) for message in messages)]

    adapter(script)
    targets = rows.queued(2)
    engine.work(LANE)
    assert rows.statuses(targets) == ["sent", "sent"]


def test_an_empty_group_of_outcomes_is_not_the_end(adapter) -> None:
    async def script(messages: Sequence[Message]) -> AsyncIterator[Outcomes]:
        yield []
        await asyncio.sleep(engine.GATHER_SECONDS * 3)
        yield [(message, Accepted()) for message in messages]

    adapter(script)
    targets = rows.queued(2)
    engine.work(LANE)
    assert rows.statuses(targets) == ["sent", "sent"]


@pytest.mark.parametrize(
    "outcome",
    [
        Accepted("i\0d" + "x" * 300),
        PermanentFailure("c\0de" + "x" * 300),
        TemporaryFailure("x", float("inf")),
    ],
)
def test_an_outcome_that_does_not_fit_the_columns_does_not_block_its_batch(outcome, adapter) -> None:
    targets = rows.queued(2)
    adapter(by_target({targets[0]: outcome, targets[1]: Accepted("good")}))
    engine.work(LANE)
    assert rows.statuses([targets[1]]) == ["sent"]
    assert rows.statuses([targets[0]])[0] in {"sent", "failed", "retrying"}
