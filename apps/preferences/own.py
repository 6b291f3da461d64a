"""What a person has chosen themselves: read, and written as one change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    wanted: Sequence[Wanted],
    when: Mapping[str, Any] | None,
    *,
    source: str,
    language: str | None = None,
    timezone: str | None = None,
) -> None:
    """Write what a person wants, and tell of it once (`choices.changed`) if it is anything.

    In the caller's transaction, which has locked the person before it read what they had. wanted: only what
    changes, see `differences`. when: all of `FIELDS`; None leaves them. source: as of `choices.write`.
    language, timezone: None leaves it.
    """
    if when is not None:
        _keep(user_id, when)
    choices.record(user_id, wanted, source=source)
    moved = people.settle(user_id, language=language, timezone=timezone) if language or timezone else False
    if (wanted or when is not None) and not moved:  # of whoever moves it is told already
        choices.changed.send(sender=None, user_ids=[user_id])


def differences(before: Mapping[Key, Chosen], after: Mapping[Key, Chosen]) -> list[Wanted]:
    """What brings a person from these choices to those. What stays keeps its reason, source and time."""
    keys = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    return [
        Wanted(*key, how=after[key].how, until=after[key].until) if key in after else Wanted(*key, how=None)
        for key in keys
    ]


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
