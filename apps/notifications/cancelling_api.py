"""Cancelling over HTTP: what may be sent, and what is answered. The classes are its OpenAPI."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from pydantic import BaseModel, ConfigDict, Field
from rest_framework.request import Request
from rest_framework.response import Response

from apps.notifications import cancelling
from apps.notifications.api import OfNotification
from apps.notifications.cancelling import Cancellation, CancelResult, UnknownTargets
from apps.notifications.schemas import Errors
from apps.notifications.statuses import Status
from apps.users.models import Scope
from project.api import PROBLEMS, body_of, field_error, invalid


class CancelInput(BaseModel):
    """What to cancel: the whole notification, or only these of its targets."""

    model_config = ConfigDict(extra="forbid")

    targets: list[UUID] = Field(
        default_factory=list,  # by which none is published
        min_length=1,
        max_length=cancelling.AT_ONCE,
        description="Their ids. Left out: all.",
    )


class CancelCounts(BaseModel):
    """How many targets there are of each result."""

    cancelled: int
    removed_from_digest: int
    recalled: int
    in_flight: int
    in_flight_unknown: int
    already_sent: int
    ended: int


class CancelledTarget(BaseModel):
    """What the cancellation found of one target, and the status it left it in.

    `cancelled`: it had not left, and will not. `removed_from_digest`: it waited for a digest, and will not be
    in it. `recalled`: it was in the inbox, and has disappeared from it. `in_flight`: a call may be under way;
    whatever comes of it, it is not repeated, unless others leave with it. `in_flight_unknown`: cancelled, but
    an earlier call may have reached them. `already_sent`: sent or delivered. `ended`: ended otherwise before.
    """

    id: UUID
    user: int
    channel: str
    status: Status
    result: CancelResult


class CancelOutput(BaseModel):
    """The answer to a cancellation. `unplanned`: people for whom nothing was planned yet, and will not be.

    `cancelled_at`: when all of it was first to be cancelled; null if that never was asked for. `counts` is of
    all targets, or of those that were named; `targets` are the first 1,000, the rest are in the list of
    targets.
    """

    id: UUID
    cancelled_at: datetime | None
    unplanned: int
    counts: CancelCounts
    targets: list[CancelledTarget]


class CancelView(OfNotification):
    """Stops what can be stopped, and takes back what can be."""

    scopes = {"POST": Scope.SEND}

    @extend_schema(
        operation_id="notifications_cancel", request=CancelInput, responses={200: CancelOutput, **PROBLEMS}
    )
    def post(self, request: Request, id: UUID) -> Response:
        """Cancel what has not been sent, recall what is in an inbox; each target says what became of it.

        Without `targets`, and without a body, that is the whole notification. Needs the scope
        `notifications:write`. May be repeated: it answers for what it then finds.
        """
        row = self.find(request, id)
        targets = body_of(CancelInput, request).targets
        try:
            done = cancelling.cancel_targets(row.id, targets) if targets else cancelling.cancel(row.id)
        except UnknownTargets as error:
            raise invalid(_unknown_targets(targets, error.ids)) from None
        return Response(_cancellation(done))


def _unknown_targets(asked: Sequence[UUID], unknown: Collection[UUID]) -> Errors:
    return [
        field_error(f"targets[{number}]", "unknown_target", "This notification has no such target.")
        for number, id in enumerate(asked)
        if id in unknown
    ]


def _cancellation(done: Cancellation) -> dict[str, Any]:
    """`CancelOutput`."""
    return {
        "id": done.id,
        "cancelled_at": done.cancelled_at,
        "unplanned": done.unplanned,
        "counts": {result.value: done.counts[result] for result in CancelResult},
        "targets": [one._asdict() for one in done.targets],
    }
