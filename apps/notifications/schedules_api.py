"""Schedules over HTTP: thin views; what they do is in `schedules`."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import Http404
from drf_spectacular.utils import extend_schema
from pydantic import RootModel
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.notifications import schedules
from apps.notifications.api import IDEMPOTENCY_KEY
from apps.notifications.caller import caller_of
from apps.notifications.idempotency import once
from apps.notifications.schedule_models import Schedule, ScheduleRun
from apps.notifications.schedule_schemas import (
    RunOutput,
    ScheduleBody,
    ScheduleOutput,
    SchedulePatchBody,
    read,
)
from apps.users.authentication import organization_of
from apps.users.models import Scope
from project import clock, db, paging
from project.api import PROBLEMS, body_of
from project.paging import NoFilters, filters_of


class AnyObject(RootModel[dict[str, Any]]):
    """What is judged field by field."""


class SchedulesView(APIView):
    """Create a schedule; list those there are."""

    scopes = {"POST": Scope.SEND, "GET": Scope.READ}

    @extend_schema(
        operation_id="schedules_create",
        request=ScheduleBody,
        responses={201: ScheduleOutput, **PROBLEMS},
        parameters=[IDEMPOTENCY_KEY],
        tags=["schedules"],
    )
    def post(self, request: Request) -> Response:
        """Make a notification again and again, by a rule over local times.

        The notification is judged now and again at each occurrence. Needs the scope `notifications:write`.
        """
        caller = caller_of(request)
        reading = read(body_of(AnyObject, request).root)

        def create(now: datetime) -> tuple[int, dict[str, Any]]:
            return 201, representation(schedules.create(caller, reading, now))

        return once(request, caller, create)

    @extend_schema(
        operation_id="schedules_list",
        parameters=paging.PARAMETERS,
        responses={200: paging.page_model("SchedulePage", ScheduleOutput), **PROBLEMS},
        tags=["schedules"],
    )
    def get(self, request: Request) -> Response:
        """The organization's schedules, newest first.

        Needs the scope `notifications:read`.
        """
        _, errors = filters_of(request, NoFilters)
        rows = Schedule.objects.filter(organization=organization_of(request))
        return Response(paging.paginate(request.query_params, rows, "id", errors=errors).body(representation))


class ScheduleView(APIView):
    """One schedule."""

    scopes = {"GET": Scope.READ, "PATCH": Scope.SEND, "DELETE": Scope.SEND}

    @extend_schema(
        operation_id="schedules_get", responses={200: ScheduleOutput, **PROBLEMS}, tags=["schedules"]
    )
    def get(self, request: Request, id: UUID) -> Response:
        """A schedule with its next five occurrences.

        Needs the scope `notifications:read`.
        """
        return Response(representation(_find(request, id)))

    @extend_schema(
        operation_id="schedules_change",
        request=SchedulePatchBody,
        responses={200: ScheduleOutput, **PROBLEMS},
        tags=["schedules"],
    )
    def patch(self, request: Request, id: UUID) -> Response:
        """Change, pause or resume a schedule. With new times it goes on with the first of them from now on.

        Needs the scope `notifications:write`.
        """
        caller = caller_of(request)
        reading = read(body_of(AnyObject, request).root)
        with db.one_transaction():
            row = _find(request, id, lock=True)
            schedules.change(row, caller, reading, clock.now())
        return Response(representation(row))

    @extend_schema(operation_id="schedules_delete", responses={204: None, **PROBLEMS}, tags=["schedules"])
    def delete(self, request: Request, id: UUID) -> Response:
        """Delete a schedule and what is told of its runs. What it made stays, and goes on its way.

        Needs the scope `notifications:write`.
        """
        if not schedules.delete(organization_of(request), id):
            raise Http404
        return Response(status=204)


class RunsView(APIView):
    """What became of a schedule's occurrences."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="schedules_runs",
        parameters=paging.PARAMETERS,
        responses={200: paging.page_model("ScheduleRunPage", RunOutput), **PROBLEMS},
        tags=["schedules"],
    )
    def get(self, request: Request, id: UUID) -> Response:
        """A schedule's occurrences so far, the latest first.

        Needs the scope `notifications:read`.
        """
        _, errors = filters_of(request, NoFilters)
        rows = ScheduleRun.objects.filter(schedule=_find(request, id))
        page = paging.paginate(request.query_params, rows, "occurrence", errors=errors)
        return Response(page.body(run))


def _find(request: Request, id: UUID, *, lock: bool = False) -> Schedule:
    """The schedule. Raises Http404, also for another organization's."""
    rows = Schedule.objects.filter(organization=organization_of(request), pk=id)
    row = (rows.select_for_update() if lock else rows).first()
    if row is None:
        raise Http404
    return row


def representation(row: Schedule) -> dict[str, Any]:
    """`ScheduleOutput`."""
    return {
        "id": row.pk,
        "name": row.name,
        "notification": row.notification,
        "rrule": row.rrule or None,
        "cron": row.cron or None,
        "timezone": row.timezone,
        "starts_at": row.starts_at,
        "ends_at": row.ends_at or None,
        "excluded": row.excluded,
        "missed": row.missed,
        "paused": row.paused_at is not None,
        "paused_at": row.paused_at,
        "next": [{"wall": one.wall.isoformat(), "at": one.at} for one in schedules.coming(row)],
        "last_at": row.last_at,
        "created_at": row.created_at,
        "client": row.client_id,
    }


def run(row: ScheduleRun) -> dict[str, Any]:
    """`RunOutput`."""
    return {
        "occurrence": row.occurrence,
        "wall": row.wall,
        "status": row.status,
        "notification": row.notification_id,
        "errors": row.errors,
        "created_at": row.created_at,
    }
