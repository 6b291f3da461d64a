"""Suppressed addresses for the services: listed, entered, lifted."""

from __future__ import annotations

import logging

from django.db.models import Q, QuerySet
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.preferences import suppression
from apps.preferences.addresses import SUPPRESSIBLE
from apps.preferences.models import Suppression
from apps.preferences.schemas import (
    SuppressionFilters,
    SuppressionInput,
    SuppressionOutput,
    representation,
    spellings,
)
from apps.preferences.suppression import Cause, Fact
from apps.users.authentication import client_of, organization_of
from apps.users.models import Scope
from project import clock, db, paging
from project.api import PROBLEMS, Problem, body_of
from project.clock import Now

logger = logging.getLogger(__name__)


class SuppressionsView(APIView):
    """Suppress an address; list those that are."""

    scopes = {"POST": Scope.SUPPRESSIONS, "GET": Scope.READ}

    @extend_schema(
        operation_id="suppressions_enter",
        request=SuppressionInput,
        responses={201: SuppressionOutput, 200: SuppressionOutput, **PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        """Suppress an address for your organization: 201, or 200 if it was suppressed already.

        Of the two the one that holds longer stands; the answer is what holds from now on. It may be repeated.
        Needs the scope `suppressions:write`.
        """
        asked = body_of(SuppressionInput, request, context={"now": clock.now()})
        row, is_new = _entered(
            asked, organization_id=organization_of(request), client_id=client_of(request).pk
        )
        return Response(representation(row), status=201 if is_new else 200)

    @extend_schema(
        operation_id="suppressions_list",
        parameters=[
            *paging.PARAMETERS,
            OpenApiParameter("channel", str, enum=SUPPRESSIBLE),
            OpenApiParameter("address", str, description="The whole address, in any spelling."),
            OpenApiParameter("cause", str, enum=Cause.values),
        ],
        responses={200: paging.page_model("SuppressionPage", SuppressionOutput), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """What is suppressed now, for your organization or for every one, newest first.

        Needs the scope `notifications:read`.
        """
        asked, errors = paging.filters_of(request, SuppressionFilters)
        organization_id, rows = organization_of(request), _filtered(asked)

        def read(key: int | None, backwards: bool, limit: int) -> list[Suppression]:
            return _newest(rows, organization_id, key, backwards=backwards, limit=limit)

        page = paging.paginate_by(request.query_params, read, column="id", parse=_id, errors=errors)
        return Response(page.body(representation))


def _entered(asked: SuppressionInput, *, organization_id: int, client_id: int) -> tuple[Suppression, bool]:
    """What stands from now on, and whether nothing did before."""
    fact = Fact(
        organization_id=organization_id,
        channel=asked.channel,
        address=asked.address,
        cause=Cause.MANUAL.value,
        until=asked.until,
        note=asked.note,
        client_id=client_id,
    )
    same = Suppression.objects.filter(
        organization=organization_id, channel=fact.channel, address=fact.address
    )
    with db.one_transaction():
        was_held = same.filter(_HOLDS).exists()
        written = suppression.suppress([fact])
        return same.get(), written == 1 and not was_held


_HOLDS = Q(until__isnull=True) | Q(until__gt=Now())


def _filtered(asked: SuppressionFilters) -> QuerySet[Suppression]:
    rows = Suppression.objects.filter(_HOLDS, **asked.model_dump(exclude_none=True, exclude={"address"}))
    if asked.address is None:
        return rows
    # Found first: there are few, and a planner might look for them among the newest of all.
    known = Suppression.objects.filter(address__in=spellings(asked.address, asked.channel))
    return rows.filter(pk__in=list(known.values_list("pk", flat=True)))


def _newest(
    rows: QuerySet[Suppression], organization_id: int, key: int | None, *, backwards: bool, limit: int
) -> list[Suppression]:
    """A page of the organization's and everybody's: each by its index, then merged."""
    if key is not None:
        rows = rows.filter(pk__gt=key) if backwards else rows.filter(pk__lt=key)
    # By the index's whole order: Postgres does not see that rows without an organization are in that of ids.
    order = ("-organization_id", "id") if backwards else ("organization_id", "-id")
    of = (Q(organization=organization_id), Q(organization__isnull=True))
    ours, everybodys = (rows.filter(one).order_by(*order)[:limit] for one in of)
    return list(ours.union(everybodys, all=True).order_by(order[1])[:limit])


def _id(text: str) -> int:
    """Raises ValueError for what is no id of ours."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):  # within a bigint
        raise ValueError(text)
    return int(text)


class SuppressionView(APIView):
    """One suppressed address."""

    scopes = {"GET": Scope.READ, "DELETE": Scope.SUPPRESSIONS}

    @extend_schema(operation_id="suppressions_get", responses={200: SuppressionOutput, **PROBLEMS})
    def get(self, request: Request, id: int) -> Response:
        """A suppression that holds, of your organization or of every one.

        Needs the scope `notifications:read`.
        """
        return Response(representation(_found(request, id)))

    @extend_schema(operation_id="suppressions_lift", request=None, responses={204: None, **PROBLEMS})
    def delete(self, request: Request, id: int) -> Response:
        """Lift a suppression of your organization. What was skipped because of it stays skipped.

        Needs the scope `suppressions:write`.
        """
        row = _found(request, id)
        if row.organization_id is None:
            raise Problem(
                403, "permission_denied", "It holds for every organization: an administrator lifts it."
            )
        Suppression.objects.filter(pk=row.pk).delete()
        logger.info("suppression lifted", extra={"suppression": row.pk, "client": client_of(request).pk})
        return Response(status=204)


def _found(request: Request, id: int) -> Suppression:
    """Raises Http404, also for another organization's."""
    of = Q(organization=organization_of(request)) | Q(organization__isnull=True)
    row = Suppression.objects.filter(_HOLDS, of, pk=id).first()
    if row is None:
        raise Http404
    return row
