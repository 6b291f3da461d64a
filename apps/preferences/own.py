"""What a person has chosen themselves: read, and written as one change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from django.db.models import Q

from apps.preferences import choices
from apps.preferences.choices import Wanted
from apps.preferences.models import Choice, UserPreference
from apps.preferences.rules import Chosen
from apps.users import people
from project.clock import Now

Key = tuple[str, str]  # type (its slug, "" for every one), channel ("" for every one)
FIELDS = ("hours", "quiet", "daily_at", "weekly_day", "weekly_at", "cap_per_hour")
NOTHING: Mapping[str, Any] = dict.fromkeys(FIELDS)


class Own(NamedTuple):
    """Choices whose time is not over, and `FIELDS` as `UserPreference` has them (None: as the defaults)."""

    choices: Mapping[Key, Chosen]
    when: Mapping[str, Any]


def read(user_id: int) -> Own:
    """In two statements."""
    holds = Q(until__isnull=True) | Q(until__gt=Now())
    rows = Choice.objects.filter(holds, user=user_id).values_list("type", "channel", "how", "until")
    when = UserPreference.objects.filter(pk=user_id).values(*FIELDS).first()
    return Own({(type, channel): Chosen(how, until) for type, channel, how, until in rows}, when or NOTHING)


def write(
    user_id: int,
    before: Own,
    after: Own,
    *,
    source: str,
    language: str | None = None,
    timezone: str | None = None,
) -> None:
    """Bring a person from what they had to what they want, and tell of it once (`choices.changed`).

    In the caller's transaction, which has locked the person before it read what they had. source: as of
    `choices.write`. language, timezone: None leaves it. What stays as it was is not written: an earlier
    reason, source and time stay with it.
    """
    wanted = list(_differences(before.choices, after.choices))
    if after.when != before.when:
        _keep(user_id, after.when)
    choices.record(user_id, wanted, source=source)
    moved = people.settle(user_id, language=language, timezone=timezone) if language or timezone else False
    if (wanted or after.when != before.when) and not moved:  # of whoever moves it is told already
        choices.changed.send(sender=None, user_ids=[user_id])


def _differences(before: Mapping[Key, Chosen], after: Mapping[Key, Chosen]) -> Iterator[Wanted]:
    for key in sorted(before.keys() | after.keys()):
        wanted = after.get(key)
        if wanted is None:
            yield Wanted(*key, how=None)
        elif wanted != before.get(key):
            yield Wanted(*key, how=wanted.how, until=wanted.until)


def _keep(user_id: int, when: Mapping[str, Any]) -> None:
    """A person who has nothing of their own needs no row."""
    if when == NOTHING:
        UserPreference.objects.filter(pk=user_id).delete()
        return
    row = UserPreference(user_id=user_id, **when, updated_at=Now())
    written = [*FIELDS, "updated_at"]
    UserPreference.objects.bulk_create(
        [row], update_conflicts=True, unique_fields=["user"], update_fields=written
    )
