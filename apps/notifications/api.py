"""The public API of notifications: thin views; what they do is in intake, resolving and representations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from pydantic import BaseModel, ConfigDict, Field, RootModel
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.notifications import intake, previewing, representations, waits
from apps.notifications.attempts import attempts_page
from apps.notifications.caller import Caller, caller_of
from apps.notifications.filters import NotificationFilters, TargetFilters
from apps.notifications.idempotency import once
from apps.notifications.intake import Accepted
from apps.notifications.models import Notification, NotificationTarget
from apps.notifications.representations import (
    AcceptedOutput,
    AttemptOutput,
    NotificationDetail,
    PreviewOutput,
    TargetOutput,
)
from apps.notifications.resolving import foresee, resolve
from apps.notifications.schemas import MAX_BULK, MAX_BULK_TARGETS, Errors, NotificationInput, Reading, read
from apps.notifications.statuses import Status
from apps.users.models import Scope
from project import clock, paging, queues
from project.api import PROBLEMS, FieldError, body_of, field_error, invalid
from project.paging import NoFilters, filters_of
from project.queues import CHANNELS, PRIORITIES

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="1 to 255 printable characters, yours. A repeat within 24 hours gets the first answer again.",
)


class _Object(RootModel[dict[str, Any]]):
    """Any JSON object."""


MAX_ROW_ERRORS = 100  # told of a row in bulk; 1,000 rows may each name 1,000 unknown people


class NotificationsView(APIView):
    """Send a notification; list those sent."""

    scopes = {"POST": Scope.SEND, "GET": Scope.READ}

    @extend_schema(
        operation_id="notifications_send",
        request=NotificationInput,
        responses={202: AcceptedOutput, **PROBLEMS},
        parameters=[IDEMPOTENCY_KEY],
    )
    def post(self, request: Request) -> Response:
        """Accept a notification. The 202 means it is committed; each target says what was decided for it.

        Needs the scope `notifications:write`.
        """
        caller = caller_of(request)
        reading = read(body_of(_Object, request).root)

        def accept(now: datetime) -> tuple[dict[str, Any], set[str]]:
            (resolved,) = resolve(caller, [reading], now)
            if isinstance(resolved, list):
                raise invalid(resolved)
            (accepted,) = intake.accept([resolved], now)
            return representations.accepted(accepted), accepted.lanes

        return once_and_ring(request, caller, accept)

    @extend_schema(
        operation_id="notifications_list",
        parameters=[
            *paging.PARAMETERS,
            *(OpenApiParameter(name, str) for name in ("related_type", "related_id", "template")),
            OpenApiParameter("priority", str, enum=PRIORITIES),
            OpenApiParameter("created_after", datetime, description="This time or later."),
            OpenApiParameter("created_before", datetime, description="Earlier than this time."),
        ],
        responses={200: paging.page_model("NotificationPage", NotificationDetail), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """The organization's notifications, newest first.

        Needs the scope `notifications:read`.
        """
        asked, errors = filters_of(request, NotificationFilters)
        rows = _filtered(caller_of(request), asked)
        page = paging.paginate(request.query_params, rows, "id", errors=errors)
        summaries = representations.summaries(page.items)
        return Response(page.body(lambda row: representations.notification(row, summaries[row.id])))


def once_and_ring(
    request: Request, caller: Caller, accept: Callable[[datetime], tuple[dict[str, Any], set[str]]]
) -> Response:
    """Accept once per key, and ring after COMMIT: `accept` returns the answer and the lanes with work."""
    lanes: set[str] = set()

    def effect(now: datetime) -> tuple[int, dict[str, Any]]:
        answer, rung = accept(now)
        lanes.update(rung)
        return 202, answer

    response = once(request, caller, effect)
    queues.ring(*lanes)
    return response


def _filtered(caller: Caller, asked: NotificationFilters) -> QuerySet[Notification]:
    rows = Notification.objects.filter(organization=caller.organization_id)
    if asked.created_after is not None:
        rows = rows.filter(created_at__gte=asked.created_after)
    if asked.created_before is not None:
        rows = rows.filter(created_at__lt=asked.created_before)
    return rows.filter(**asked.model_dump(exclude_none=True, exclude={"created_after", "created_before"}))


class PreviewView(APIView):
    """What a notification would say."""

    scopes = {"POST": (Scope.SEND, Scope.READ)}

    @extend_schema(
        operation_id="notifications_preview",
        request=NotificationInput,
        responses={200: PreviewOutput, **PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        """What the first target would get by each channel. Nothing is written or sent.

        Takes what sending takes, and finds the same faults. Needs the scope `notifications:write` or
        `notifications:read`.
        """
        reading = read(body_of(_Object, request).root)
        foreseen = foresee(caller_of(request), reading, clock.now())
        if isinstance(foreseen, list):
            raise invalid(foreseen)
        order, person = foreseen
        return Response(representations.preview(person, previewing.preview(order, person)))


class BulkInput(BaseModel):
    """Up to 1,000 notifications, each judged on its own, with 10,000 targets together."""

    model_config = ConfigDict(extra="forbid")

    notifications: list[Any] = Field(min_length=1, max_length=MAX_BULK)


class BulkBody(BaseModel):
    """As `BulkInput`, published with what each row may have."""

    notifications: list[NotificationInput] = Field(min_length=1, max_length=MAX_BULK)


class BulkResult(BaseModel):
    """What became of one row."""

    index: int
    status: Literal["accepted", "rejected"]
    notification: AcceptedOutput | None = None
    errors: list[FieldError] | None = Field(None, description=f"{MAX_ROW_ERRORS} at most.")


class BulkOutput(BaseModel):
    """One result per row, in their order."""

    accepted: int
    rejected: int
    results: list[BulkResult]


class BulkView(APIView):
    """Send many different notifications in one request and one transaction."""

    scopes = {"POST": Scope.SEND}
    max_body_bytes = 10 * settings.MAX_BODY_BYTES

    @extend_schema(
        operation_id="notifications_send_bulk",
        request=BulkBody,
        responses={202: BulkOutput, **PROBLEMS},
        parameters=[IDEMPOTENCY_KEY],
    )
    def post(self, request: Request) -> Response:
        """Accept up to 1,000 notifications. A bad row is rejected alone, with its errors.

        Needs the scope `notifications:write`.
        """
        caller = caller_of(request)
        readings = _read_all(body_of(BulkInput, request).notifications)
        return once_and_ring(request, caller, lambda now: accept_all(caller, readings, now))


def _read_all(rows: list[Any]) -> list[Reading]:
    readings = [read(row) for row in rows]
    if sum(len(reading.request.targets) for reading in readings) > MAX_BULK_TARGETS:
        detail = f"The rows may have {MAX_BULK_TARGETS} targets at most, taken together."
        raise invalid([field_error("notifications", "too_many", detail)])
    return readings


def accept_all(caller: Caller, readings: Sequence[Reading], now: datetime) -> tuple[dict[str, Any], set[str]]:
    """Accept each request that is right; `BulkOutput` and the lanes to ring."""
    resolved = resolve(caller, readings, now)
    good = [one for one in resolved if not isinstance(one, list)]
    accepted = intake.accept(good, now) if good else []
    following = iter(accepted)
    results = [_rejected(one) if isinstance(one, list) else _accepted(next(following)) for one in resolved]
    answer = {
        "accepted": len(good),
        "rejected": len(readings) - len(good),
        "results": [{"index": index, **result} for index, result in enumerate(results)],
    }
    return answer, {lane for one in accepted for lane in one.lanes}


def _accepted(one: Accepted) -> dict[str, Any]:
    return {"status": "accepted", "notification": representations.accepted(one)}


def _rejected(errors: Errors) -> dict[str, Any]:
    return {"status": "rejected", "errors": errors[:MAX_ROW_ERRORS]}


class OfNotification(APIView):
    """Something below one notification of the caller's organization."""

    scopes = {"GET": Scope.READ}

    def find(self, request: Request, id: UUID) -> Notification:
        """The notification. Raises Http404, also for another organization's."""
        row = Notification.objects.filter(organization=caller_of(request).organization_id, id=id).first()
        if row is None:
            raise Http404
        return row


class NotificationView(OfNotification):
    """One notification."""

    @extend_schema(operation_id="notifications_get", responses={200: NotificationDetail, **PROBLEMS})
    def get(self, request: Request, id: UUID) -> Response:
        """What was asked for, and where its targets stand.

        Needs the scope `notifications:read`.
        """
        row = self.find(request, id)
        return Response(representations.notification(row, representations.summaries([row])[row.id]))


class TargetsView(OfNotification):
    """Whom it reaches."""

    @extend_schema(
        operation_id="notifications_targets",
        parameters=[
            *paging.PARAMETERS,
            OpenApiParameter("status", str, enum=Status.values),
            OpenApiParameter("channel", str, enum=CHANNELS),
        ],
        responses={200: paging.page_model("TargetPage", TargetOutput), **PROBLEMS},
    )
    def get(self, request: Request, id: UUID) -> Response:
        """The notification's targets, oldest first.

        Needs the scope `notifications:read`.
        """
        asked, errors = filters_of(request, TargetFilters)
        rows = NotificationTarget.objects.filter(notification=self.find(request, id))
        rows = rows.filter(**asked.model_dump(exclude_none=True))
        page = paging.paginate(request.query_params, rows, "id", newest_first=False, errors=errors)
        waits.tell(page.items)
        return Response(page.body(representations.target))


class AttemptsView(OfNotification):
    """What was tried."""

    @extend_schema(
        operation_id="notifications_attempts",
        parameters=paging.PARAMETERS,
        responses={200: paging.page_model("AttemptPage", AttemptOutput), **PROBLEMS},
    )
    def get(self, request: Request, id: UUID) -> Response:
        """Every call made to a provider for this notification, oldest first within a target.

        Needs the scope `notifications:read`.
        """
        _, errors = filters_of(request, NoFilters)
        page = attempts_page(self.find(request, id), request.query_params, errors)
        return Response(page.body(representations.attempt))
