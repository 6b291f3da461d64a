"""From a lane to claims: which providers there are now, how much each may take, and what has to wait."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

from django.conf import settings

from apps.delivery import claims, limits, providers, routing, watch
from apps.delivery.claims import Batch
from apps.delivery.health import Tally
from apps.delivery.limits import Grant
from apps.delivery.providers import Account, CannotBuild
from apps.delivery.routing import Candidate, Mode, Router
from project import queues

logger = logging.getLogger(__name__)

# Seconds until a lane is looked at again that waits, or single messages of it that can go nowhere now.
SHORTEST_WAIT, SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 1.0, 60.0


def take(lane: str) -> Batch:
    """Claim one batch of the lane. A lane whose providers cannot take anything waits, and says so."""
    channel = lane.partition(".")[0]
    accounts = providers.of_channel(channel)
    if not accounts:
        return _taken(lane, "", settings.BULK_BATCH)
    try:
        if providers.is_plain(accounts):
            batch_size = providers.adapter_of(accounts[0]).batch_size
            return _taken(lane, accounts[0].name, min(batch_size, settings.BULK_BATCH))
    except CannotBuild:
        pass  # said below
    return _routed(lane, accounts)


def _taken(lane: str, provider: str, limit: int) -> Batch:
    claim = claims.take(lane, provider, limit)
    if claim is None:
        return Batch([], False, 0)
    count = len(claim.targets) + claim.dropped
    return Batch([claim] if claim.targets else [], claim.full, count)


def _routed(lane: str, accounts: Sequence[Account]) -> Batch:
    able = [account for account in accounts if _is_built(account)]
    rooms = {account.name: _room(account, urgent=lane.endswith(".critical")) for account in able}
    candidates = [account.candidate(load=rooms[account.name].load) for account in able]
    room = {name: one.tokens for name, one in rooms.items()}
    wait = min((one.wait for one in rooms.values() if not one.tokens), default=0.0)
    probe = next((account.name for account in able if watch.begin_probe(account)), "")
    limit = min(settings.BULK_BATCH, routing.batch_limit(candidates, room)) or int(bool(probe))
    if not limit:
        _wait(lane, candidates, wait)
        return Batch([], False, 0)
    router = Router(lane.partition(".")[0], candidates, room, random.random, probe)
    pause = min(LONGEST_PAUSE, max(SHORTEST_PAUSE, wait))
    try:
        return claims.take_routed(lane, limit, router.route, providers=len(accounts), pause=pause)
    finally:
        for account in able:
            if account.limits:
                limits.give_back(account.name, account.limits, room[account.name])
        if router.probe:
            watch.end_probe(router.probe)


def _is_built(account: Account) -> bool:
    """Whether its adapter can be built. If not, its breaker opens, which is how an operator hears of it."""
    try:
        providers.adapter_of(account)
    except CannotBuild as error:
        if not account.is_open:
            watch.report(account, Tally(bad=1, stopping=True, code=f"cannot be built: {error}"))
        return False
    return True


def _room(account: Account, *, urgent: bool) -> Grant:
    """How many messages it may have now, or in how many seconds it may have one."""
    if account.mode is Mode.DRAINED:
        return Grant(0, LONGEST_PAUSE)
    if account.is_open:
        return Grant(0, max(SHORTEST_PAUSE, account.seconds_left()))  # another may be trying it just now
    most = min(settings.BULK_BATCH, providers.adapter_of(account).batch_size)
    return limits.take(account.name, account.limits, most, urgent=urgent)


def _wait(lane: str, candidates: Sequence[Candidate], seconds: float) -> None:
    """Ring again when it is time, and let whoever asks for the lane's targets know why they wait."""
    reason = (routing.BUSY if any(map(routing.usable, candidates)) else routing.DOWN).reason
    pause = min(LONGEST_PAUSE, max(SHORTEST_WAIT, seconds))
    logger.info("lane waits", extra={"lane": lane, "reason": reason, "seconds": round(pause, 2)})
    queues.wait(lane, reason, pause)
