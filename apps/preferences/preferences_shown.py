"""Preferences as the API shows them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time
from typing import Any, Literal

from pydantic import BaseModel, Field

from apps.content.models import NotificationType
from apps.preferences import choosing
from apps.preferences.choosing import Types
from apps.preferences.models import How
from apps.preferences.own import Own
from apps.preferences.preferences_schemas import Day
from apps.preferences.rules import MINUTES_A_DAY, Rules, Window
from apps.preferences.windows import DAYS
from project.queues import CHANNELS


class WindowOutput(BaseModel):
    """A part of each week, by the clock on the person's wall."""

    days: list[Day]
    start: str
    end: str


class OwnDigest(BaseModel):
    """When the person wants digests. null: as the defaults have it."""

    daily_at: str | None
    weekly_day: Day | None
    weekly_at: str | None


class Digest(BaseModel):
    """When digests come."""

    daily_at: str
    weekly_day: Day
    weekly_at: str


class EffectiveChannel(BaseModel):
    """How messages of a type go by a channel. level: whose choice it is; `type`: the type's own nature."""

    how: How
    level: Literal["person", "organization", "system", "type"]
    until: datetime | None = Field(description="From then on it is decided without this choice.")


class EffectiveType(BaseModel):
    """A type of notification, as a page of settings shows it. A critical one cannot be turned off."""

    type: str
    name: str
    description: str
    category: str
    critical: bool
    channels: dict[str, EffectiveChannel]


class Effective(BaseModel):
    """What holds, all levels taken together."""

    types: list[EffectiveType]
    hours: list[WindowOutput] = Field(description="Messages come within these. Empty: at any time.")
    quiet: list[WindowOutput] = Field(description="Messages do not come within these.")
    digest: Digest
    cap_per_hour: int | None = Field(description="Messages by one channel in an hour. null: no cap.")


class PreferencesOutput(BaseModel):
    """What a person has chosen (null: as the defaults have it), and what holds in effect."""

    language: str
    timezone: str
    channels: dict[str, How] = Field(description="By channel; `all`: everything.")
    types: dict[str, How | dict[str, How]] = Field(description="By type: of all of it, or by channel.")
    hours: list[WindowOutput] | None
    quiet: list[WindowOutput] | None
    digest: OwnDigest
    cap_per_hour: int | None
    paused_until: datetime | None
    effective: Effective


def representation(own: Own, rules: Rules, types: Types, *, language: str, timezone: str) -> dict[str, Any]:
    """`PreferencesOutput`."""
    when = own.when
    return {
        "language": language,
        "timezone": timezone,
        "channels": choosing.channels_said(own.choices),
        "types": choosing.types_said(own.choices, types),
        "hours": when["hours"],
        "quiet": when["quiet"],
        "digest": digest_said(when),
        "cap_per_hour": when["cap_per_hour"],
        "paused_until": choosing.paused(own.choices),
        "effective": _effective(rules, types),
    }


def digest_said(when: Mapping[str, Any]) -> dict[str, str | None]:
    """`digest` as it is sent, of `own.FIELDS`."""
    return {
        "daily_at": _shown(when["daily_at"]),
        "weekly_day": None if when["weekly_day"] is None else DAYS[when["weekly_day"]],
        "weekly_at": _shown(when["weekly_at"]),
    }


def _shown(at: time | None) -> str | None:
    return None if at is None else at.strftime("%H:%M")


def _effective(rules: Rules, types: Types) -> dict[str, Any]:
    return {
        "types": [_type(one, rules) for _, one in sorted(types.items())],
        "hours": [_window(one) for one in rules.hours],
        "quiet": [_window(one) for one in rules.quiet],
        "digest": {
            "daily_at": _text(rules.daily_at),
            "weekly_day": DAYS[rules.weekly_day],
            "weekly_at": _text(rules.weekly_at),
        },
        "cap_per_hour": rules.cap_per_hour,
    }


def _type(one: NotificationType, rules: Rules) -> dict[str, Any]:
    by_channel = {channel: choosing.in_effect(one, channel, rules.choices) for channel in CHANNELS}
    return {
        "type": one.slug,
        "name": one.name,
        "description": one.description,
        "category": one.category,
        "critical": one.critical,
        "channels": {
            channel: {"how": chosen.how, "level": chosen.level, "until": chosen.until}
            for channel, chosen in by_channel.items()
        },
    }


def _window(window: Window) -> dict[str, Any]:
    days = [day for number, day in enumerate(DAYS) if number in window.days]
    return {"days": days, "start": _text(window.start), "end": _text(window.end % MINUTES_A_DAY)}


def _text(minutes: int) -> str:
    """HH:MM."""
    return f"{minutes // 60:02}:{minutes % 60:02}"
