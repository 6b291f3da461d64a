"""How providers are doing, in words: for the admin's list and the command's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db.models import F, OuterRef, QuerySet, Subquery
from django.db.models.functions import JSONObject

from apps.delivery.models import Provider, ProviderEvent, ProviderHealth
from project.clock import Now

_HEALTH = ("factor", "failures", "open_seconds", "open_until", "probe_until", "stepped_at")
_WINDOWS = {"per_second": "s", "per_minute": "min", "per_hour": "h", "per_day": "d"}


def with_standing(rows: QuerySet[Provider]) -> QuerySet[Any]:
    """Each with `health` (a mapping, or None), `last` (its latest event, or None) and `at` (now)."""
    health = ProviderHealth.objects.filter(provider=OuterRef("name"))
    events = ProviderEvent.objects.filter(provider=OuterRef("name")).order_by("-pk")
    last = JSONObject(kind=F("kind"), detail=F("detail"), created_at=F("created_at"))
    return rows.annotate(
        health=Subquery(health.values(found=JSONObject(**{name: F(name) for name in _HEALTH}))),
        last=Subquery(events.values(found=last)[:1]),
        at=Now(),
    )


def share(provider: Any) -> str:
    """Its weight, and what went wrong lately takes from it."""
    factor = provider.health["factor"] if provider.health else 100
    return f"{provider.weight}" if factor == 100 else f"{provider.weight} × {factor} %"


def breaker(health: Mapping[str, Any] | None, at: datetime) -> str:
    """Where its breaker stands: closed; open, and for how long; or trying whether it has recovered."""
    if not health or not health["open_seconds"]:
        return "closed"
    until, probe = _moment(health["open_until"]), _moment(health["probe_until"])
    if until and until > at:
        return f"open for {max(1, round((until - at).total_seconds()))} s more"
    return "trying" if probe and probe > at else "open, to be tried with the next message"


def limits(provider: Provider) -> str:
    """Such as 10/s, 5,000/h."""
    found = [(getattr(provider, name), unit) for name, unit in _WINDOWS.items()]
    return ", ".join(f"{number:,}/{unit}" for number, unit in found if number) or "–"


def _moment(told: str | None) -> datetime | None:
    return datetime.fromisoformat(told) if told else None


def last_event(provider: Any) -> str:
    """Its latest event, and when that was (UTC)."""
    if not provider.last:
        return "–"
    at = f"{_moment(provider.last['created_at']):%Y-%m-%d %H:%M:%S}"
    told = (
        f"{provider.last['kind']}: {provider.last['detail']}"
        if provider.last["detail"]
        else provider.last["kind"]
    )
    return f"{at} {told}"
