"""The hours in which the law allows advertising by SMS, and by whose clocks.

47 CFR 64.1200(c)(1), of the United States, forbids it "before the hour of 8 a.m. or after 9 p.m. (local time
at the called party's location)". We keep to it everywhere.
"""

from __future__ import annotations

from functools import lru_cache

import phonenumbers

from apps.preferences.rules import Window
from apps.users.normalise import DEFAULT_TIMEZONE

HOURS = (Window(frozenset(range(7)), 8 * 60, 21 * 60),)


def zones(phone: str, zone: str) -> tuple[str, ...]:
    """In all of which it must be within the hours: the person's zone, or all the number may be in.

    zone: the person's; the default says nothing of where somebody is.
    """
    return _of_number(phone) if zone == DEFAULT_TIMEZONE else (zone,)


@lru_cache(20_000)
def _of_number(phone: str) -> tuple[str, ...]:
    """Those of its area, or its country: of mobiles, and of numbers newer than our copy of the plans."""
    from phonenumbers import timezone  # its tables take 20 ms to load, and most installations never need them

    try:
        number = phonenumbers.parse(phone, None)
    except phonenumbers.NumberParseException:
        return (DEFAULT_TIMEZONE,)
    for look in (timezone.time_zones_for_number, timezone.time_zones_for_geographical_number):
        if timezone.UNKNOWN_TIMEZONE not in (found := look(number)):
            return tuple(found)
    return (DEFAULT_TIMEZONE,)
