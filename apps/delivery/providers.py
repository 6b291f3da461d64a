"""Which provider carries a channel, its adapter and receiver in this process, and the retry policy."""

from __future__ import annotations

from functools import cache

from django.conf import settings

from apps.delivery.retry import Policy
from apps.integrations import registry
from apps.integrations.contract import Adapter, Receiver

# One-time codes come by SMS and e-mail: `after_unknown` repeats them there when they are critical.
REPEATS_UNKNOWN = frozenset({"webhook", "chat", "push"})


@cache
def adapter_of(channel: str) -> Adapter | None:
    """The adapter of the channel's provider, one per process; None if the settings name none."""
    key = settings.PROVIDERS.get(channel)
    return registry.build(key, settings.PROVIDER_OPTIONS[key]) if key else None


@cache
def policy_of(channel: str) -> Policy:
    """How this channel retries."""
    return Policy(
        base=settings.RETRY_BASE, cap=settings.RETRY_CAP, repeats_unknown=channel in REPEATS_UNKNOWN
    )


def receiver_of(key: str) -> Receiver | None:
    """The provider's receiver, one per process; None if it has none, or not what it verifies with."""
    options = settings.RECEIPT_OPTIONS.get(key)
    return _receiver(key) if options and all(options.values()) else None


@cache
def _receiver(key: str) -> Receiver:
    return registry.receiver(key, settings.RECEIPT_OPTIONS[key])
