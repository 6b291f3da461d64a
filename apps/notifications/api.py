"""The public API of notifications: thin views; what they do is in intake, resolving and representations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.notifications import intake, representations
from apps.notifications.attempts import attempts_page
from apps.notifications.caller import Caller, caller_of
from apps.notifications.idempotency import once
from apps.notifications.models import Notification, NotificationTarget
from apps.notifications.representations import (
    AcceptedOutput,
    AttemptOutput,
    NotificationDetail,
    TargetOutput,
)
from apps.notifications.resolving import Errors, resolve
from apps.notifications.schemas import MAX_BULK, NotificationInput
from apps.users.models import Scope
from project import paging, queues
from project.api import PROBLEMS, body_of, field_errors, invalid, parse

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="1 to 255 printable characters, yours. A repeat within 24 hours gets the first answer again.",
)


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
        """Accept a notification. The 202 means it is committed; each target says what was decided for it."""
        caller = caller_of(request)
        wanted = body_of(NotificationInput, request)
        lanes: set[str] = set()

        def effect(now: datetime) -> tuple[int, dict[str, Any]]:
            (resolved,) = resolve(caller, [wanted], now)
            if isinstance(resolved, list):
                raise invalid(resolved)
            (accepted,) = intake.accept([resolved], now)
            lanes.update(accepted.lanes)
            return 202, representations.accepted(accepted)

        response = once(request, caller, effect)
        queues.ring(*lanes)
        return response

    @extend_schema(
        operation_id="notifications_list",
        parameters=[
            *paging.PARAMETERS,
            *(OpenApiParameter(name, str) for name in ("related_type", "related_id", "priority", "template")),
            *(OpenApiParameter(name, datetime) for name in ("created_after", "created_before")),
        ],
        responses={200: representations.page_model("NotificationPage", NotificationDetail), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """The organization's notifications, newest first."""
        rows = _filtered(caller_of(request), request.query_params)
        page = paging.paginate(request.query_params, rows, "id")
        summaries = representations.summaries(page.items)
        return Response(page.body(lambda row: representations.notification(row, summaries[row.id])))


class _Filters(BaseModel):
    model_config = ConfigDict(extra="forbid")

    related_type: str | None = None
    related_id: str | None = None
    priority: str | None = None
    template: str | None = None
    created_after: AwareDatetime | None = None
    created_before: AwareDatetime | None = None


def _filtered(caller: Caller, query: Mapping[str, str]) -> Any:
    asked = parse(
        _Filters, {name: query[name] for name in query if name not in ("after", "before", "page_size")}
    )
    rows = Notification.objects.filter(organization=caller.organization_id)
    if asked.created_after is not None:
        rows = rows.filter(created_at__gte=asked.created_after)
    if asked.created_before is not None:
        rows = rows.filter(created_at__lt=asked.created_before)
    same = {
        name: value
        for name in ("related_type", "related_id", "priority", "template")
        if (value := getattr(asked, name)) is not None
    }
    return rows.filter(**same)


class BulkInput(BaseModel):
    """Up to 1,000 notifications, each judged on its own."""

    model_config = ConfigDict(extra="forbid")

    notifications: list[dict[str, Any]] = Field(min_length=1, max_length=MAX_BULK)


class BulkBody(BaseModel):
    """As `BulkInput`, published with what each row may have."""

    notifications: list[NotificationInput] = Field(min_length=1, max_length=MAX_BULK)


class BulkResult(BaseModel):
    """What became of one row."""

    index: int
    status: str = Field(description="accepted or rejected")
    notification: AcceptedOutput | None = None
    errors: list[dict[str, str]] | None = None


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
        """Accept up to 1,000 notifications. A bad row is rejected alone, with its errors."""
        caller = caller_of(request)
        rows = body_of(BulkInput, request).notifications
        lanes: set[str] = set()

        def effect(now: datetime) -> tuple[int, dict[str, Any]]:
            results, rung = accept_rows(caller, rows, now)
            lanes.update(rung)
            return 202, results

        response = once(request, caller, effect)
        queues.ring(*lanes)
        return response


def accept_rows(caller: Caller, rows: list[dict[str, Any]], now: datetime) -> tuple[dict[str, Any], set[str]]:
    """Accept each row that is right; `BulkOutput` and the lanes to ring."""
    wanted, errors = _parsed(rows)
    resolved = dict(zip(wanted, resolve(caller, list(wanted.values()), now), strict=True)) if wanted else {}
    errors |= {index: one for index, one in resolved.items() if isinstance(one, list)}
    good = {index: one for index, one in resolved.items() if not isinstance(one, list)}
    accepted = dict(zip(good, intake.accept(list(good.values()), now), strict=True)) if good else {}
    results = [
        {"index": index, "status": "rejected", "errors": errors[index]}
        if index in errors
        else {"index": index, "status": "accepted", "notification": representations.accepted(accepted[index])}
        for index in range(len(rows))
    ]
    answer = {"accepted": len(good), "rejected": len(errors), "results": results}
    return answer, {lane for one in accepted.values() for lane in one.lanes}


def _parsed(rows: list[dict[str, Any]]) -> tuple[dict[int, NotificationInput], dict[int, Errors]]:
    good: dict[int, NotificationInput] = {}
    bad: dict[int, Errors] = {}
    for index, row in enumerate(rows):
        try:
            good[index] = NotificationInput.model_validate(row)
        except ValidationError as error:
            bad[index] = field_errors(error)
    return good, bad


class _OfNotification(APIView):
    """Something below one notification of the caller's organization."""

    scopes = {"GET": Scope.READ}

    def find(self, request: Request, id: UUID) -> Notification:
        """The notification. Raises Http404, also for another organization's."""
        row = Notification.objects.filter(organization=caller_of(request).organization_id, id=id).first()
        if row is None:
            raise Http404
        return row


class NotificationView(_OfNotification):
    """One notification."""

    @extend_schema(operation_id="notifications_get", responses={200: NotificationDetail, **PROBLEMS})
    def get(self, request: Request, id: UUID) -> Response:
        """What was asked for, and where its targets stand."""
        row = self.find(request, id)
        return Response(representations.notification(row, representations.summaries([row])[row.id]))


class TargetsView(_OfNotification):
    """Whom it reaches."""

    @extend_schema(
        operation_id="notifications_targets",
        parameters=[*paging.PARAMETERS, OpenApiParameter("status", str), OpenApiParameter("channel", str)],
        responses={200: representations.page_model("TargetPage", TargetOutput), **PROBLEMS},
    )
    def get(self, request: Request, id: UUID) -> Response:
        """The notification's targets, oldest first."""
        rows = NotificationTarget.objects.filter(notification=self.find(request, id))
        for name in ("status", "channel"):
            if name in request.query_params:
                rows = rows.filter(**{name: request.query_params[name]})
        page = paging.paginate(request.query_params, rows, "id", newest_first=False)
        return Response(page.body(representations.target))


class AttemptsView(_OfNotification):
    """What was tried."""

    @extend_schema(
        operation_id="notifications_attempts",
        parameters=paging.PARAMETERS,
        responses={200: representations.page_model("AttemptPage", AttemptOutput), **PROBLEMS},
    )
    def get(self, request: Request, id: UUID) -> Response:
        """Every call made to a provider for this notification, oldest first within a target."""
        page = attempts_page(self.find(request, id), request.query_params)
        return Response(page.body(representations.attempt))
