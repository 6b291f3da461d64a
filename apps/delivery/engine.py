"""One bell, one batch: claim, render, send, settle. The way of everything that needs a provider."""

from __future__ import annotations

import asyncio
import logging
import queue
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.conf import settings

from apps.content import segments
from apps.delivery import claims, dispatch, health, in_app, providers, watch
from apps.delivery.claims import Claim
from apps.delivery.providers import Account
from apps.delivery.settling import Ended, settle, until_committed
from apps.integrations.contract import (
    Adapter,
    Message,
    Outcome,
    Outcomes,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.notifications import contents, transitions
from apps.notifications.contents import Rendered
from apps.notifications.statuses import Reason, Status
from apps.notifications.transitions import Claimed, Settled
from apps.users import places
from apps.users.places import Destination
from project import db, ids, loop, queues

logger = logging.getLogger(__name__)

_URGENT = (".critical", ".high")
LOCKED_WAIT = 60.0  # seconds until it is looked whether somebody has mended the keys
GATHER_SECONDS = 0.05  # outcomes that come within this of the first are settled together


def work(lane: str) -> int:
    """Answer the lane's bell with one batch; how many targets were taken."""
    queues.answered(lane)
    if lane.startswith("in_app."):
        return in_app.deliver(lane)
    batch = dispatch.take(lane)
    if batch.full:
        queues.ring_now(lane)  # before sending: so that every worker of the lane wakes
    if batch.claims:
        _deliver(batch.claims)
    return batch.count


def _deliver(batch: Sequence[Claim]) -> None:
    """Send all claims at once, and settle them as it becomes known how they end."""
    told = Told()
    # Looked up once: a changed provider gets a new adapter, which would close the one that is at work.
    accounts = {name: providers.named(channel, name) for channel, name in _names(batch)}
    flights = {
        claim.id: flight
        for claim in batch
        if (flight := _depart(claim, accounts[claim.provider], told)) is not None
    }
    while flights:
        claim_id, group = told.next(min(flight.deadline for flight in flights.values()))
        if claim_id is None:
            overdue = [id for id, flight in flights.items() if flight.deadline <= time.monotonic()]
            for id in overdue:
                flights.pop(id).give_up()
        elif claim_id in flights and flights[claim_id].land(group):
            del flights[claim_id]


def _names(batch: Sequence[Claim]) -> set[tuple[str, str]]:
    return {(claim.channel, claim.provider) for claim in batch}


def _depart(claim: Claim, account: Account | None, told: Told) -> _Flight | None:
    """Commit that the claim's messages are about to leave, and let them; None if none has left."""
    if account is None:
        _not_sent(claim)
        return None
    adapter = providers.adapter_of(account)
    messages, ended = _compose(claim)
    asked = time.monotonic()
    started = claims.start(claim, messages)
    if started and time.monotonic() - asked > settings.CLAIM_LEASE - adapter.timeout - settings.CLAIM_MARGIN:
        started = None  # this process stood still for so long that the sweeper may have the claim by now
    at, stay = started or (claim.taken_at, messages.keys())
    stayed = [id for id in messages if id in stay]
    end = _End(claim, at, account=account, adapter=adapter, stayed=stayed, given_up=ended)
    leaving = [message for id, message in messages.items() if id not in stay]
    if not leaving:
        end.settle([], last=True)
        return None
    return _Flight(end, adapter, leaving, told)


def _not_sent(claim: Claim) -> None:
    """No provider serves these; or theirs was taken away after the claim, and they are routed anew."""
    if claim.provider:
        end = _End(claim, claim.taken_at, stayed=[target.id for target in claim.targets])
    else:
        dead = [_dead(target, Reason.NO_PROVIDER) for target in claim.targets]
        end = _End(claim, claim.taken_at, given_up=dead)
    end.settle([], last=True)


class _End:
    """The settling of one claim, group by group; the last one closes it in the same transaction."""

    def __init__(
        self,
        claim: Claim,
        at: datetime,
        *,
        account: Account | None = None,
        adapter: Adapter | None = None,
        stayed: Sequence[UUID] = (),
        given_up: Sequence[Settled] = (),
    ) -> None:
        self.claim = claim
        self._account = account
        self._adapter = adapter
        self._started_at = at
        self._outcomes: list[Outcome] = []
        self._targets = {target.id: target for target in claim.targets}
        self._stayed = stayed
        self._given_up = given_up
        self._unknown: set[UUID] = set()

    def settle(self, told: Outcomes, *, last: bool) -> None:
        ended = [
            Ended(self._targets[message.target], outcome, self._started_at, cost=self._cost(message))
            for message, outcome in told
        ]
        self._unknown |= until_committed(lambda: self._write(ended, last))
        self._outcomes += [outcome for _, outcome in told]
        if any(
            isinstance(one.outcome, TemporaryFailure) and one.target.id in self.claim.spare for one in ended
        ):
            queues.ring_now(self.claim.lane)  # the next provider has not to wait for the sweeper
        if last and self._account and self._adapter and self._adapter.is_one_service:
            watch.report(self._account, health.tally(self._outcomes))

    def _cost(self, message: Message) -> Decimal | None:
        """What the provider takes for it: an SMS is billed by the segment."""
        cost = self._account.cost if self._account else None
        if cost is None or self.claim.channel != "sms":
            return cost
        return cost * segments.measure(message.text).segments

    def _write(self, ended: Sequence[Ended], last: bool) -> set[UUID]:
        with db.one_transaction():
            unknown = settle(self.claim, ended, given_up=self._given_up if last else ())
            if last:
                if self._stayed:
                    transitions.give_back(self._stayed, self.claim.id)
                claims.close(self.claim.id, self._unknown | unknown)
        return unknown


def _compose(claim: Claim) -> tuple[dict[UUID, Message], list[Settled]]:
    """A message per target; and what could not be rendered, or leads nowhere."""
    messages: dict[UUID, Message] = {}
    ended = []
    leads = _destinations(claim)
    for target, parts in contents.for_targets(claim.targets, claim.channel):
        if target.address not in leads:
            ended.append(Settled(target.id, Status.SKIPPED, Reason.GONE.value, None, target.attempts))
        elif (leads_to := leads[target.address]) is None:
            later = claim.now + timedelta(seconds=LOCKED_WAIT)
            ended.append(Settled(target.id, Status.RETRYING, Reason.LOCKED.value, later, target.attempts))
        elif parts is None:
            ended.append(_dead(target, Reason.RENDERING))
        else:
            messages[target.id] = _message(claim, target, parts, leads_to)
    return messages, ended


def _destinations(claim: Claim) -> dict[str, Destination | None]:
    """Where the targets' addresses lead: those of devices and endpoints elsewhere, others where they say."""
    addresses = {target.address for target in claim.targets}
    if claim.channel in places.CHANNELS:
        return places.destinations(addresses)
    return {address: Destination(address) for address in addresses}


def _message(claim: Claim, target: Claimed, parts: Rendered, leads_to: Destination) -> Message:
    return Message(
        target=target.id,
        attempt=ids.attempt_id(target.id, target.attempts + 1),
        address=leads_to.address,
        subject=parts.subject,
        text=parts.text,
        html=parts.html,
        data=parts.data,
        secrets=leads_to.secrets,
        expires_at=target.expires_at,
        urgent=claim.lane.endswith(_URGENT),
        unsubscribe_url=parts.unsubscribe,
    )


def _dead(target: Claimed, reason: Reason) -> Settled:
    return Settled(target.id, Status.DEAD, reason.value, None, target.attempts)


class Told:
    """What the loop's thread tells this one: outcomes, by claim; None: its adapter has no more."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[int, Outcomes | None]] = queue.SimpleQueue()
        self.put = self._queue.put

    def next(self, deadline: float) -> tuple[int | None, Outcomes | None]:
        """The next, and whose it is; nobody's if none comes before the deadline (monotonic)."""
        try:
            return self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return None, None


class _Flight:
    """A claim's messages in the air.

    Whatever the adapter has not told when its time is up may have been sent: its outcome is unknown.
    """

    def __init__(self, end: _End, adapter: Adapter, messages: list[Message], told: Told) -> None:
        self.deadline = time.monotonic() + adapter.timeout + settings.CLAIM_MARGIN
        self._end = end
        self._adapter = adapter
        self._waiting = {message.target: message for message in messages}
        self._sending = loop.run(_pump(adapter, messages, end.claim.id, told))

    def land(self, group: Outcomes | None) -> bool:
        """Settle these; whether that was all."""
        if group is None:
            self.give_up()
            return True
        group = [pair for pair in group if self._waiting.pop(pair[0].target, None)]  # each of ours, once
        if group:
            self._end.settle(group, last=not self._waiting)
        return not self._waiting

    def give_up(self) -> None:
        """Wait no longer for what was not told."""
        self._sending.cancel()
        count = len(self._waiting)
        logger.error("adapter left outcomes untold", extra={"provider": self._adapter.key, "count": count})
        untold: Outcomes = [(message, UnknownOutcome("untold")) for message in self._waiting.values()]
        self._end.settle(untold, last=True)


async def _pump(adapter: Adapter, messages: list[Message], claim_id: int, told: Told) -> None:
    """Send, and tell of what becomes known within GATHER_SECONDS at once.

    It is gathered here, on the loop: to wake the worker's other thread for each would cost both of them.
    """
    gathered: Outcomes = []
    left = len(messages)

    def tell() -> None:
        if gathered:
            told.put((claim_id, gathered.copy()))
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
        told.put((claim_id, None))
