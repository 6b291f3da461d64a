"""May we, and when? One pure function over what a person has chosen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from apps.preferences.rules import Rules

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Asked(NamedTuple):
    """What is to be sent, as far as preferences care."""

    channel: str
    address: str  # normalised; of an SMS it tells where the phone is at home
    type: str = ""  # slug; empty: of no type
    category: str = "immediate"  # of `apps.content.models.Category`
    critical: bool = False


class Answer(StrEnum):
    """What may be done with it."""

    SEND = "send"
    HOLD = "hold"
    SKIP = "skip"


class Verdict(NamedTuple):
    """What may be done, until when it waits (UTC, only of a hold), and why.

    reason: one of `apps.notifications.statuses.Reason`, by its value. detail: JSON for people who ask why:
    whose choice it was, which hours, in which time zone.
    """

    answer: Answer
    until: datetime | None = None
    reason: str = ""
    detail: Mapping[str, Any] = _NOTHING


SEND = Verdict(Answer.SEND)


def resolve(asked: Asked, rules: Rules, *, zone: str, now: datetime) -> Verdict:
    """Whether this may be sent to the person now, must wait, or must not be sent.

    zone: the person's, an IANA name. now: UTC.
    """
    raise NotImplementedError
