"""From a lane to claims: which providers there are now, how much each may take, and what has to wait."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

from django.conf import settings

from apps.delivery import claims, limits, providers, routing, watch
from apps.delivery.claims import Batch
from apps.delivery.health import Tally
from apps.delivery.providers import Account, CannotBuild
from apps.delivery.routing import Candidate, Mode, Router
from project import queues

logger = logging.getLogger(__name__)

SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds until what can go nowhere now is looked at again
_loads: dict[str, float] = {}  # provider -> how much of its limits was used when it was last asked


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
    candidates = [account.candidate(load=_loads.get(account.name, 0.0)) for account in able]
    probe = next((account.name for account in able if watch.begin_probe(account)), "")
    room, wait = _room(lane, able)
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
            limits.give_back(account.name, account.limits, room[account.name] if account.limits else 0)
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


def _room(lane: str, accounts: Sequence[Account]) -> tuple[dict[str, int], float]:
    """How many messages each may have now, and in how many seconds one that may have none may again."""
    urgent = lane.endswith(".critical")
    room, waits = {}, []
    for account in accounts:
        most = min(settings.BULK_BATCH, providers.adapter_of(account).batch_size)
        if account.is_open or account.mode is Mode.DRAINED:
            room[account.name] = 0
            waits.append(account.seconds_left())
            continue
        grant = limits.take(account.name, account.limits, most, urgent=urgent)
        room[account.name], _loads[account.name] = grant.tokens, grant.load
        if not grant.tokens:
            waits.append(grant.wait)
    return room, min(waits, default=0.0)


def _wait(lane: str, candidates: Sequence[Candidate], seconds: float) -> None:
    """Ring again when it is time, and let whoever asks for the lane's targets know why they wait."""
    busy = any(map(routing.usable, candidates))
    choice = routing.BUSY if busy else routing.DOWN
    pause = min(LONGEST_PAUSE, max(0.05, seconds))
    logger.info("lane waits", extra={"lane": lane, "reason": choice.reason, "seconds": round(pause, 2)})
    queues.wait(lane, choice.reason, pause)
