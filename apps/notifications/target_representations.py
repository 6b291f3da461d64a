"""What the API answers about one target: its whole story. The classes are its OpenAPI."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from apps.notifications import representations
from apps.notifications.because import label
from apps.notifications.explaining import Story, explain
from apps.notifications.models import TargetDecision
from apps.notifications.representations import AttemptOutput, TargetOutput
from apps.notifications.statuses import Status

MOST_MERGED = 100


class DecisionOutput(BaseModel):
    """One decision about a target. `at`: when it was made. `until`: until when it is held.

    `reason_text`: the reason in words. `detail`: what it was decided by; its shapes are in docs/explain.md.
    """

    at: datetime
    status: Status
    reason: str | None
    reason_text: str | None
    until: datetime | None
    detail: dict[str, Any]


class TargetStory(BaseModel):
    """One target, and why it is where it is.

    `type` and `critical` are the notification's. `merged_into`: the target that went out in the place of this
    one; `merged`: those this one went out for, the first 100 (`merged_more`: there are others). `decisions`:
    the latest 100, oldest first, as are `attempts`. `explanation`: all of it in sentences, for people; their
    words may change.
    """

    target: TargetOutput
    notification: UUID
    type: str | None
    critical: bool
    merged_into: UUID | None
    merged: list[UUID] = Field(max_length=MOST_MERGED)
    merged_more: bool
    decisions: list[DecisionOutput]
    attempts: list[AttemptOutput]
    explanation: list[str]


def story(one: Story, merged: Sequence[UUID]) -> dict[str, Any]:
    """`TargetStory`. merged: targets that this one went out for, one more than are told if there are."""
    return {
        "target": representations.target(one.target),
        "notification": one.notification.pk,
        "type": one.notification.type or None,
        "critical": one.notification.critical,
        "merged_into": one.target.merged_into,
        "merged": merged[:MOST_MERGED],
        "merged_more": len(merged) > MOST_MERGED,
        "decisions": [_decision(row) for row in one.decisions],
        "attempts": [representations.attempt(row) for row in one.attempts],
        "explanation": explain(one),
    }


def _decision(row: TargetDecision) -> dict[str, Any]:
    return {
        "at": row.at,
        "status": row.status,
        "reason": row.reason or None,
        "reason_text": label(row.reason) or None,
        "until": row.until,
        "detail": row.detail,
    }
