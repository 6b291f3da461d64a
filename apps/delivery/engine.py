"""One bell, one batch: claim, render, send, settle. The way of everything that needs a provider."""

from __future__ import annotations

import asyncio
import logging
import queue
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

from django.conf import settings

from apps.delivery import claims, in_app, providers
from apps.delivery.claims import Claim
from apps.delivery.settling import Ended, settle, until_committed
from apps.integrations.contract import Adapter, Message, Outcomes, UnknownOutcome
from apps.notifications import contents, transitions
from apps.notifications.statuses import Reason, Status
from apps.notifications.transitions import Claimed, Settled
from project import db, ids, loop, queues

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.05  # outcomes that come within this of the first are settled together


def work(lane: str) -> int:
    """Answer the lane's bell with one batch; how many targets were claimed."""
    queues.answered(lane)
    channel = lane.split(".", maxsplit=1)[0]
    if channel == "in_app":
        return in_app.deliver(lane)
    adapter = providers.adapter_of(channel)
    limit = min(adapter.batch_size, settings.BULK_BATCH) if adapter else settings.BULK_BATCH
    claim = claims.take(lane, adapter.key if adapter else "", limit)
    if claim is None:
        return 0
    if claim.full:
        queues.ring_now(lane)  # before sending: so that every worker of the lane wakes
    if not claim.targets:
        return claim.dropped
    if adapter is None:
        nowhere = [_dead(target, Reason.NO_PROVIDER) for target in claim.targets]
        _End(claim, claim.taken_at, given_up=nowhere).settle([], last=True)
    else:
        _deliver(claim, adapter)
    return len(claim.targets) + claim.dropped


def _deliver(claim: Claim, adapter: Adapter) -> None:
    messages, broken = _compose(claim)
    asked = time.monotonic()
    started = claims.start(claim, messages)
    if started and time.monotonic() - asked > settings.CLAIM_LEASE - adapter.timeout - settings.CLAIM_MARGIN:
        started = None  # this process stood still for so long that the sweeper may have the claim by now
    at, stay = started or (claim.taken_at, messages.keys())
    end = _End(claim, at, stayed=[id for id in messages if id in stay], given_up=broken)
    leaving = [message for id, message in messages.items() if id not in stay]
    for outcomes, last in _gathered(adapter, leaving):
        end.settle(outcomes, last=last)
    if not leaving:
        end.settle([], last=True)


class _End:
    """The settling of one claim, group by group; the last one closes it in the same transaction."""

    def __init__(
        self, claim: Claim, at: datetime, *, stayed: Sequence[UUID] = (), given_up: Sequence[Settled] = ()
    ) -> None:
        self._claim = claim
        self._started_at = at
        self._targets = {target.id: target for target in claim.targets}
        self._stayed = stayed
        self._given_up = given_up
        self._unknown: set[UUID] = set()

    def settle(self, told: Outcomes, *, last: bool) -> None:
        ended = [Ended(self._targets[message.target], outcome, self._started_at) for message, outcome in told]
        self._unknown |= until_committed(lambda: self._write(ended, last))

    def _write(self, ended: Sequence[Ended], last: bool) -> set[UUID]:
        with db.one_transaction():
            unknown = settle(self._claim, ended, given_up=self._given_up if last else ())
            if last:
                if self._stayed:
                    transitions.give_back(self._stayed, self._claim.id)
                claims.close(self._claim.id, self._unknown | unknown)
        return unknown


def _compose(claim: Claim) -> tuple[dict[UUID, Message], list[Settled]]:
    """A message per target, and what could not be rendered."""
    messages: dict[UUID, Message] = {}
    broken = []
    for target, parts in contents.for_targets(claim.targets, claim.channel):
        if parts is None:
            broken.append(_dead(target, Reason.RENDERING))
            continue
        messages[target.id] = Message(
            target=target.id,
            attempt=ids.attempt_id(target.id, target.attempts + 1),
            address=target.address,
            subject=parts.subject,
            text=parts.text,
            html=parts.html,
        )
    return messages, broken


def _dead(target: Claimed, reason: Reason) -> Settled:
    return Settled(target.id, Status.DEAD, reason.value, None, target.attempts)


def _gathered(adapter: Adapter, messages: list[Message]) -> Iterator[tuple[Outcomes, bool]]:
    """The outcomes as they become known, and whether they are the last, gathered to be worth a commit.

    Whatever the adapter has not told when its time is up may have been sent: its outcome is unknown.
    """
    if not messages:
        return
    told: queue.SimpleQueue[Outcomes | None] = queue.SimpleQueue()
    sending = loop.run(_pump(adapter, messages, told))
    deadline = time.monotonic() + adapter.timeout + settings.CLAIM_MARGIN
    waiting = {message.target: message for message in messages}
    while waiting and (group := _next_group(told, deadline)) is not None:
        group = [pair for pair in group if waiting.pop(pair[0].target, None)]  # each of ours, once
        if group:
            yield group, not waiting
    sending.cancel()
    if waiting:
        logger.error("adapter left outcomes untold", extra={"provider": adapter.key, "count": len(waiting)})
        yield [(message, UnknownOutcome("untold")) for message in waiting.values()], True


def _next_group(told: queue.SimpleQueue[Outcomes | None], deadline: float) -> Outcomes | None:
    """The next outcomes; None if there are no more or the time is up."""
    try:
        return told.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        return None


async def _pump(adapter: Adapter, messages: list[Message], told: queue.SimpleQueue[Outcomes | None]) -> None:
    """Send, and tell of what becomes known within GATHER_SECONDS at once.

    It is gathered here, on the loop: to wake the worker's other thread for each would cost both of them.
    """
    gathered: Outcomes = []
    left = len(messages)

    def tell() -> None:
        if gathered:
            told.put(gathered.copy())
            gathered.clear()

    try:
        async for outcomes in adapter.send_batch(messages):
            if outcomes and not gathered:
                asyncio.get_running_loop().call_later(GATHER_SECONDS, tell)
            gathered += outcomes
            left -= len(outcomes)
            if left <= 0:
                tell()
    except Exception:  # an adapter raises nothing; one that does has told us nothing about the rest
        logger.exception("adapter broke its contract", extra={"provider": adapter.key})
    finally:
        tell()
        told.put(None)
