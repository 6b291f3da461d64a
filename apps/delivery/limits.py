"""How fast a provider may be used: token buckets in Redis, shared by all workers.

Without Redis each process has a bucket of its own with its share of the limit (LIMIT_SHARES): slower
together than allowed, never faster.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import redis
from django.conf import settings

from project import queues

logger = logging.getLogger(__name__)

# What may be taken at once after a pause, as a share of the limit. A bucket lets through what it holds and
# what flows in meanwhile: these two together are the limit, so that it is kept in every window of its length.
# A second's is the exception: providers' own are buckets too, and half the rate would be lost.
BURST = 0.1
RESERVED = 5  # a fifth of a bucket is kept for what is critical


class Limit(NamedTuple):
    """So many messages in so many seconds."""

    messages: int
    seconds: int

    @property
    def capacity(self) -> float:
        """Tokens of a full bucket."""
        return float(max(1, self.messages if self.seconds == 1 else int(self.messages * BURST)))

    @property
    def rate(self) -> float:
        """Tokens that flow in each second."""
        if self.seconds == 1:
            return float(self.messages)
        return max(self.messages - self.capacity, self.messages / 2) / self.seconds


class Grant(NamedTuple):
    """How many messages may leave now; else in how many seconds one may. load: how much is used, 0-1, where
    that is known."""

    tokens: int
    wait: float
    load: float | None = None


# KEYS: a bucket per limit. ARGV: wanted, urgent (0/1), then capacity and rate of each.
_TAKE = """
local wanted, urgent = tonumber(ARGV[1]), ARGV[2] == '1'
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local granted, wait, load, levels = wanted, 0, 0, {}
for i, key in ipairs(KEYS) do
    local capacity, rate = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
    local kept = redis.call('HMGET', key, 'tokens', 'at')
    local tokens = tonumber(kept[1]) or capacity
    tokens = math.min(capacity, tokens + math.max(0, now - (tonumber(kept[2]) or now)) * rate)
    local free = tokens
    if not urgent then free = tokens - math.floor(capacity / RESERVED) end
    if math.floor(free) < granted then granted = math.max(0, math.floor(free)) end
    if free < 1 then wait = math.max(wait, (1 - free) / rate) end
    load = math.max(load, 1 - tokens / capacity)
    levels[i] = tokens
end
for i, key in ipairs(KEYS) do
    local capacity, rate = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
    redis.call('HSET', key, 'tokens', tostring(levels[i] - granted), 'at', tostring(now))
    redis.call('PEXPIRE', key, math.ceil(capacity / rate * 1000) + 1000)
end
return {granted, tostring(wait), tostring(load)}
""".replace("RESERVED", str(RESERVED))

_GIVE_BACK = """
for i, key in ipairs(KEYS) do
    local tokens = tonumber(redis.call('HGET', key, 'tokens'))
    if tokens then
        redis.call('HSET', key, 'tokens', tostring(math.min(tonumber(ARGV[i + 1]), tokens + ARGV[1])))
    end
end
"""


def take(name: str, limits: Sequence[Limit], wanted: int, *, urgent: bool) -> Grant:
    """Take up to `wanted` tokens of all the provider's buckets. urgent: the reserved fifth too."""
    if not limits:
        return Grant(wanted, 0.0)
    flat = [number for limit in limits for number in (repr(limit.capacity), repr(limit.rate))]
    try:
        tokens, wait, load = _script(_TAKE)(_keys(name, limits), [wanted, int(urgent), *flat])
        return Grant(int(tokens), float(wait), float(load))
    except redis.RedisError as error:
        logger.warning("limit kept locally", extra={"provider": name, "error": type(error).__name__})
        return _local(name, tuple(limits)).take(wanted, urgent=urgent)


def give_back(name: str, limits: Sequence[Limit], unused: int) -> None:
    """Return tokens of messages that did not leave."""
    if limits and unused > 0:
        try:
            _script(_GIVE_BACK)(_keys(name, limits), [unused, *(repr(limit.capacity) for limit in limits)])
        except redis.RedisError:
            _local(name, tuple(limits)).give_back(unused)


def _keys(name: str, limits: Sequence[Limit]) -> list[str]:
    return [f"carillon:limit:{{{name}}}:{limit.seconds}" for limit in limits]


def _script(source: str) -> Any:
    return _registered(queues.broker(), source)


@cache
def _registered(broker: redis.Redis, source: str) -> Any:
    return broker.register_script(source)


class _Bucket:
    """One limit's share of this process."""

    def __init__(self, limit: Limit) -> None:
        self.capacity = max(1.0, limit.capacity / settings.LIMIT_SHARES)
        self.rate = limit.rate / settings.LIMIT_SHARES
        self.tokens = 1.0  # not a full one: how much the others have taken nobody knows
        self._at = time.monotonic()

    def fill(self) -> float:
        now = time.monotonic()
        self.tokens = min(self.capacity, self.tokens + (now - self._at) * self.rate)
        self._at = now
        return self.tokens


class _Local:
    """All limits of one provider, in this process."""

    def __init__(self, limits: Sequence[Limit]) -> None:
        self._buckets = [_Bucket(limit) for limit in limits]

    def take(self, wanted: int, *, urgent: bool) -> Grant:
        free = [
            bucket.fill() - (0 if urgent else int(bucket.capacity / RESERVED)) for bucket in self._buckets
        ]
        granted = max(0, min(wanted, *(int(tokens) for tokens in free)))
        for bucket in self._buckets:
            bucket.tokens -= granted
        waits = [(1 - f) / b.rate for f, b in zip(free, self._buckets, strict=True) if f < 1]
        return Grant(granted, max(waits, default=0.0))

    def give_back(self, unused: int) -> None:
        for bucket in self._buckets:
            bucket.tokens = min(bucket.capacity, bucket.tokens + unused)


@cache
def _local(name: str, limits: tuple[Limit, ...]) -> _Local:
    return _Local(limits)
