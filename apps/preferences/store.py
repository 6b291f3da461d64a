"""Preferences as sending reads them: for many people at once, all levels taken together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import time
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from django.conf import settings
from django.db.models import F, Q

from apps.content.models import NotificationType
from apps.preferences import suppression
from apps.preferences.rules import MINUTES_A_DAY, NO_RULES, Chosen, Rules, Window
from apps.preferences.windows import DAYS
from project import db

_FIELDS = "hours::text, quiet::text, daily_at, weekly_day, weekly_at, cap_per_hour"
_NO_FIELDS = "NULL::text, NULL::text, NULL::time, NULL::smallint, NULL::time, NULL::smallint"

# LATERAL … OFFSET 0 is one probe of each index per person, whatever the statistics say; whoever has chosen
# nothing has no row in the answer. The defaults come along: two rows by their index cost less than knowing
# for how long they still hold.
_READ = f"""
SELECT p.id, c.*, {_NO_FIELDS}, NULL::text
FROM unnest(%(people)b::bigint[]) AS p(id)
CROSS JOIN LATERAL (
    SELECT NULL::bigint, type, channel, how, until FROM preferences_choice
    WHERE user_id = p.id AND (until IS NULL OR until > carillon_now()) OFFSET 0
) c
UNION ALL
SELECT p.id, NULL, NULL, NULL, NULL, NULL, w.*, NULL
FROM unnest(%(people)b::bigint[]) AS p(id)
CROSS JOIN LATERAL (SELECT {_FIELDS} FROM preferences_userpreference WHERE user_id = p.id OFFSET 0) w
UNION ALL
SELECT NULL, organization_id, NULL, NULL, NULL, NULL, {_FIELDS}, choices::text
FROM preferences_preferencedefaults
WHERE organization_id = ANY(%(organizations)b::bigint[]) OR organization_id IS NULL
"""


class _Said(NamedTuple):
    """What one level says, as it is kept. What is None is as the level below has it."""

    hours: str | None = None  # JSON
    quiet: str | None = None
    daily_at: time | None = None
    weekly_day: int | None = None
    weekly_at: time | None = None
    cap_per_hour: int | None = None
    choices: str = "{}"  # JSON, of defaults: {type or "": {channel or "": how}}


@dataclass(frozen=True, slots=True)
class Found:
    """The rules of those who were asked for."""

    _organizations: Mapping[int, int]  # of each person
    _defaults: Mapping[int, Rules]  # by organization
    _own: Mapping[int, Rules]  # of people who have chosen something

    def of(self, user_id: int) -> Rules:
        """A person's; people of an organization who have chosen nothing share theirs. Without rules: one of
        whom nothing was asked."""
        own = self._own.get(user_id)
        if own is not None:
            return own
        organization = self._organizations.get(user_id)
        return NO_RULES if organization is None else self._defaults[organization]


NOBODY = Found({}, {}, {})


# The suppressed of some addresses, too: a statement of its own was an eighth of what a POST asks Postgres.
_READ_BOTH = f"""{_READ}
UNION ALL
SELECT 0, s.organization_id, s.channel, s.address, NULL, NULL, {_NO_FIELDS}, NULL {suppression.AMONG}
"""


def look_up(
    people: Mapping[int, int], addresses: Collection[tuple[str, str]]
) -> tuple[suppression.Found, Found]:
    """`suppression.among` these addresses and `rules_of` these people, in one statement; none for nothing."""
    if not people or not addresses:
        return suppression.among(addresses), rules_of(people)
    asked = {"people": list(people), "organizations": [*set(people.values())]}
    found = db.rows(_READ_BOTH, asked | {"addresses": suppression.document(addresses)})
    suppressed = {row[1:4] for row in found if row[0] == 0}
    return suppressed, _found(people, [row for row in found if row[0] != 0] if suppressed else found)


def rules_of(people: Mapping[int, int]) -> Found:
    """What these people want, each by their own choices, their organization's defaults, and the system's.

    people: the organization of each, by the person's id. One statement for all of them, none for nobody.
    Each field and each choice (of a type, by a channel) is as the nearest level that says something has it.
    Choices whose time is over are left out.
    """
    return _found(people, _read(people, set(people.values()))) if people else NOBODY


def _found(people: Mapping[int, int], rows: list[db.Row]) -> Found:
    said = {row[1]: _Said(*row[6:]) for row in rows if row[0] is None}
    defaults = {one: _defaults(said.get(None), said.get(one)) for one in set(people.values())}
    return Found(people, defaults, _own(people, defaults, rows))


def defaults_of(organization_id: int | None) -> Rules:
    """What holds for its people who have chosen nothing; None: the system's defaults."""
    said = {row[1]: _Said(*row[6:]) for row in _read((), [organization_id] if organization_id else [])}
    return _defaults(said.get(None), said.get(organization_id) if organization_id else None)


def _read(people: Collection[int], organizations: Collection[int]) -> list[db.Row]:
    return db.rows(_READ, {"people": list(people), "organizations": list(organizations)})


def types_of(organization_id: int | None) -> dict[str, NotificationType]:
    """Those its people can choose among, by slug; its own hide the system's. None: the system's alone."""
    whose = Q(organization=organization_id) | Q(organization__isnull=True)
    rows = NotificationType.objects.filter(whose).order_by(F("organization_id").asc(nulls_first=True))
    return {row.slug: row for row in rows}


def _own(people: Mapping[int, int], defaults: Mapping[int, Rules], rows: list[db.Row]) -> dict[int, Rules]:
    choices: dict[int, dict[tuple[str, str], Chosen]] = {}
    said: dict[int, _Said] = {}
    for row in rows:
        if row[0] is None:
            continue
        chosen = choices.setdefault(row[0], {})
        if row[2] is None:
            said[row[0]] = _Said(*row[6:12])
        else:
            chosen[row[2], row[3]] = Chosen(row[4], row[5])
    return {
        id: _over(defaults[people[id]], said.get(id, _Said()), chosen, level="person")
        for id, chosen in choices.items()
    }


@lru_cache(10_000)
def _defaults(system: _Said | None, organization: _Said | None) -> Rules:
    """One object for all who have chosen nothing, as long as nobody changes the defaults."""
    rules = NO_RULES
    for said, level in ((system, "system"), (organization, "organization")):
        if said:
            rules = _over(rules, said, _choices(said.choices, level), level=level)
    return rules


def _choices(document: str, level: str) -> dict[tuple[str, str], Chosen]:
    return {
        (type, channel): Chosen(how, None, level)
        for type, by_channel in orjson.loads(document).items()
        for channel, how in by_channel.items()
    }


def _over(below: Rules, said: _Said, choices: Mapping[tuple[str, str], Chosen], *, level: str) -> Rules:
    return Rules(
        choices={**below.choices, **choices},
        hours=below.hours if said.hours is None else windows_of(said.hours),
        quiet=below.quiet if said.quiet is None else windows_of(said.quiet),
        hours_level=below.hours_level if said.hours is None else level,
        quiet_level=below.quiet_level if said.quiet is None else level,
        daily_at=below.daily_at if said.daily_at is None else _minutes(said.daily_at),
        weekly_day=below.weekly_day if said.weekly_day is None else said.weekly_day,
        weekly_at=below.weekly_at if said.weekly_at is None else _minutes(said.weekly_at),
        cap_per_hour=below.cap_per_hour if said.cap_per_hour is None else said.cap_per_hour,
    )


def _minutes(at: time) -> int:
    return at.hour * 60 + at.minute


@lru_cache(10_000)
def windows_of(document: str) -> tuple[Window, ...]:
    """Hours or quiet times from their JSON; people have a few in common, so each is parsed once."""
    return tuple(window_of(one) for one in orjson.loads(document))


def window_of(kept: Mapping[str, Any]) -> Window:
    """{"days": ["mon", …], "start": "09:00", "end": "18:00"}; an end at 00:00 is that of the day."""
    days = frozenset(DAYS.index(day) for day in kept["days"])
    return Window(days, _of_day(kept["start"]), _of_day(kept["end"]) or MINUTES_A_DAY)


def _of_day(text: str) -> int:
    """Minutes after midnight of HH:MM."""
    return int(text[:2]) * 60 + int(text[3:])


_TURN = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio: neighbouring ids end far from each other


def spread_of(user_id: int) -> float:
    """How many seconds this person's messages come after the first moment they may, always the same.

    From 0 to `settings.HOLD_SPREAD`, which is not reached: when the quiet night of a million people ends,
    they do not all get theirs in one second.
    """
    place = (user_id * _TURN % 2**64 >> 32) / 2**32
    return float(place * settings.HOLD_SPREAD)
