"""The number on the admin's first page."""

from __future__ import annotations

from django import template

from apps.notifications.models import DeadLetter
from project.admin import AtLeast

register = template.Library()
_MOST = 100


@register.simple_tag
def open_dead_letters() -> int | AtLeast:
    """How many wait for a person: exact up to 100, "100+" beyond. Reads no more rows than that."""
    waiting = DeadLetter.objects.filter(resolved_at__isnull=True).order_by("-pk")
    found = len(waiting.values_list("pk", flat=True)[: _MOST + 1])
    return AtLeast(found) if found > _MOST else found
