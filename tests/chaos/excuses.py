"""When the critical lane of a channel cannot be held to its bound, since something it needs is away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from tests.chaos.evidence import Window
from tests.chaos.plan import PROVIDERS, TWINS

SEEN_EVERY = 1.0  # seconds between two looks at a breaker at most, and until workers know that it is closed


class Hit(NamedTuple):
    """What one fault touched, from its begin until what it hit was seen to work again.

    `away`: providers that took nothing; their channel goes on by its other one.
    """

    begin: float
    end: float
    why: str
    excuses: tuple[str, ...] = ()  # channels
    away: tuple[str, ...] = ()


class _Away(NamedTuple):
    provider: str
    begin: float
    end: float
    why: str


def windows(hits: Iterable[Hit], opened: Mapping[str, Sequence[float]]) -> list[Window]:
    """`opened`: by provider, when its breaker was seen to be open."""
    known = list(hits)
    found = [Window(channel, hit.begin, hit.end, hit.why) for hit in known for channel in hit.excuses]
    away = [
        _Away(provider, hit.begin, _closed(hit.end, opened.get(provider, ())), hit.why)
        for hit in known
        for provider in hit.away or _of_channels(hit.excuses)
    ]
    return [*found, *_both(away)]


def _of_channels(channels: Iterable[str]) -> Iterator[str]:
    """The twins that may have been hit: breakers that opened meanwhile may be open for longer."""
    return (provider for provider in TWINS if PROVIDERS[provider] in channels)


def _closed(end: float, opened: Sequence[float]) -> float:
    """The end, or when the breaker that was open then was closed."""
    for at in opened:
        if end <= at <= end + SEEN_EVERY:
            end = at
    return end + SEEN_EVERY


def _both(away: Sequence[_Away]) -> Iterator[Window]:
    """Where two providers of a channel were away at once."""
    for one, other in combinations(away, 2):
        channel, begin, end = PROVIDERS[one.provider], max(one.begin, other.begin), min(one.end, other.end)
        if one.provider != other.provider and PROVIDERS[other.provider] == channel and begin <= end:
            yield Window(channel, begin, end, f"{one.why}, {other.why}")
