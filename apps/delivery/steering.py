"""What operators do to providers: pin, drain, resume, close the breaker. Each is an event with their name."""

from __future__ import annotations

from django.db import transaction

from apps.delivery import providers, watch
from apps.delivery.health import Event, Kind
from apps.delivery.models import Provider
from apps.delivery.routing import Mode
from project import db, queues

KINDS = {Mode.PINNED: Kind.PINNED, Mode.DRAINED: Kind.DRAINED, Mode.NORMAL: Kind.RESUMED}


def set_mode(provider: Provider, mode: Mode, *, user_id: int | None = None, detail: str = "") -> bool:
    """Pin, drain or resume it. Whether that is new."""
    with db.one_transaction():
        changed = Provider.objects.filter(pk=provider.pk).exclude(mode=mode).update(mode=mode)
        if changed:
            watch.record(provider.name, Event(KINDS[mode], detail), user_id=user_id)
    provider.mode = mode
    wake(provider.channel)
    return bool(changed)


def close_breaker(provider: Provider, *, user_id: int | None = None) -> bool:
    """Let it have messages at once, and its whole share. Whether there was anything to forget."""
    with db.one_transaction():
        changed = watch.reset(provider.name)
        if changed:
            watch.record(provider.name, Event(Kind.CLOSED, "by an operator"), user_id=user_id)
    wake(provider.channel)
    return changed


def wake(channel: str) -> None:
    """After the commit: let lanes that wait for a provider look again as soon as every worker has read it."""

    def ring() -> None:
        providers.forget()
        for lane in queues.DELIVERY_LANES:
            if lane.startswith(f"{channel}."):
                queues.ring_after(lane, 2 * providers.KNOWN_FOR)

    transaction.on_commit(ring)
