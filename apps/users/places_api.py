"""Devices and endpoints over HTTP. People register their own devices; services do it for anybody."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.users import devices, endpoints, people
from apps.users.api import active_person
from apps.users.authentication import (
    ApiKeyAuthentication,
    HasScopeOrIsPerson,
    UserTokenAuthentication,
    organization_of,
)
from apps.users.models import Device, Endpoint, Scope, User
from apps.users.place_schemas import (
    DeviceBody,
    DeviceInput,
    DeviceOfInput,
    DeviceOutput,
    EndpointInput,
    EndpointMade,
    EndpointOutput,
    OwnerFilters,
    SecretOutput,
)
from project import paging
from project.api import PROBLEMS, body_of, field_error
from project.paging import NoFilters, filters_of

_OWNER = [
    OpenApiParameter("user", OpenApiTypes.INT64, description="Whose, by our id."),
    OpenApiParameter("external_id", str, description="Whose, by your own id; instead of `user`."),
]


class _OfPersonOrService(APIView):
    """A person's own, with their token; anybody's, with an API key."""

    authentication_classes = [ApiKeyAuthentication, UserTokenAuthentication]
    permission_classes = [HasScopeOrIsPerson]


class DevicesView(_OfPersonOrService):
    """Register devices, and list them."""

    scopes = {"GET": Scope.USERS, "POST": Scope.USERS}

    @extend_schema(
        operation_id="devices_register",
        request=DeviceBody,
        responses={200: DeviceOutput, 201: DeviceOutput, **PROBLEMS},
        tags=["devices"],
    )
    def post(self, request: Request) -> Response:
        """Register a device (201), or say that it is still there (200). Repeat it whenever the app starts.

        With a person's token: their own. With an API key of the scope `users:write`: the device of `user`.
        A token that was another person's is theirs no longer.
        """
        device, made = devices.register(organization_of(request), *_own_or_anybodys(request))
        return Response(_device(device), status=201 if made else 200)

    @extend_schema(
        operation_id="devices_list",
        parameters=[*paging.PARAMETERS, *_OWNER],
        responses={200: paging.page_model("DevicePage", DeviceOutput), **PROBLEMS},
        tags=["devices"],
    )
    def get(self, request: Request) -> Response:
        """A person's devices, newest first, with those that were deactivated.

        With a person's token: their own. With an API key of the scope `users:write`: those of `user` or
        `external_id`.
        """
        if isinstance(request.user, User):
            owner, errors = request.user.pk, filters_of(request, NoFilters)[1]
        else:
            owner, errors = _asked_for(request)
        rows = Device.objects.filter(user=owner)
        return Response(paging.paginate(request.query_params, rows, "id", errors=errors).body(_device))


def _own_or_anybodys(request: Request) -> tuple[int, DeviceInput]:
    """Whose device it is, and the device."""
    if isinstance(request.user, User):
        return request.user.pk, body_of(DeviceInput, request)
    given = body_of(DeviceOfInput, request)
    return active_person(organization_of(request), given.user).id, given


class DeviceView(_OfPersonOrService):
    """One device."""

    scopes = {"DELETE": Scope.USERS}

    @extend_schema(operation_id="devices_remove", responses={204: None, **PROBLEMS}, tags=["devices"])
    def delete(self, request: Request, id: UUID) -> Response:
        """Forget a device and its token: when somebody logs out, say.

        With a person's token: their own. With an API key of the scope `users:write`: anybody's.
        """
        user_id = request.user.pk if isinstance(request.user, User) else None
        return _gone(devices.remove(organization_of(request), id, user_id=user_id))


class EndpointsView(APIView):
    """Add endpoints, and list them."""

    scopes = {"GET": Scope.USERS, "POST": Scope.USERS}

    @extend_schema(
        operation_id="endpoints_add",
        request=EndpointInput,
        responses={200: EndpointMade, 201: EndpointMade, **PROBLEMS},
        tags=["endpoints"],
    )
    def post(self, request: Request) -> Response:
        """Add an endpoint (201), or find that the person has it (200). The secret of a webhook is shown once.

        Needs the scope `users:write`.
        """
        given = body_of(EndpointInput, request)
        organization_id = organization_of(request)
        person = active_person(organization_id, given.user)
        endpoint, secret, made = endpoints.add(organization_id, person.id, given)
        answer = _endpoint(endpoint) | {"secret": secret}
        return Response(answer, status=201 if made else 200, headers={"Cache-Control": "no-store"})

    @extend_schema(
        operation_id="endpoints_list",
        parameters=[*paging.PARAMETERS, *_OWNER],
        responses={200: paging.page_model("EndpointPage", EndpointOutput), **PROBLEMS},
        tags=["endpoints"],
    )
    def get(self, request: Request) -> Response:
        """A person's endpoints, newest first, with those that were deactivated.

        Needs the scope `users:write`.
        """
        owner, errors = _asked_for(request)
        rows = Endpoint.objects.filter(user=owner)
        return Response(paging.paginate(request.query_params, rows, "id", errors=errors).body(_endpoint))


class EndpointView(APIView):
    """One endpoint."""

    scopes = {"DELETE": Scope.USERS}

    @extend_schema(operation_id="endpoints_remove", responses={204: None, **PROBLEMS}, tags=["endpoints"])
    def delete(self, request: Request, id: UUID) -> Response:
        """Forget an endpoint, its address and its secrets.

        Needs the scope `users:write`.
        """
        return _gone(endpoints.remove(organization_of(request), id))


class RotateView(APIView):
    """A webhook's secret, changed."""

    scopes = {"POST": Scope.USERS}

    @extend_schema(
        operation_id="endpoints_rotate",
        request=None,
        responses={200: SecretOutput, **PROBLEMS},
        tags=["endpoints"],
    )
    def post(self, request: Request, id: UUID) -> Response:
        """A new secret for a webhook, shown once. Messages carry both signatures for 24 hours.

        Needs the scope `users:write`.
        """
        body_of(NoFilters, request)
        secret = endpoints.rotate(organization_of(request), id)
        if secret is None:
            raise Http404
        return Response({"secret": secret}, headers={"Cache-Control": "no-store"})


def _asked_for(request: Request) -> tuple[int, list[dict[str, str]]]:
    """The id of the person whose places a service asks for; 0 and what is wrong if that cannot be told."""
    asked, errors = filters_of(request, OwnerFilters)
    if errors:
        return 0, errors
    ids = [] if asked.user is None else [asked.user]
    external_ids = [] if asked.external_id is None else [asked.external_id]
    if not ids and not external_ids:
        return 0, [field_error("user", "required", "Say whose: by user or by external_id.")]
    if ids and external_ids:
        return 0, [field_error("external_id", "conflict", "Send user or external_id, not both.")]
    found = people.reach(organization_of(request), ids=ids, external_ids=external_ids)
    if not found:
        return 0, [field_error("user" if ids else "external_id", "unknown_user", "There is no such user.")]
    return found[0].id, []


def _gone(removed: bool) -> Response:
    if not removed:
        raise Http404
    return Response(status=204)


def _place(row: Device | Endpoint) -> dict[str, Any]:
    return {
        "id": row.pk,
        "kind": row.kind,
        "is_active": row.is_active,
        "deactivated_reason": row.deactivated_reason or None,
        "created_at": row.created_at,
    }


def _device(row: Device) -> dict[str, Any]:
    """`DeviceOutput`."""
    return _place(row) | {"name": row.name}


def _endpoint(row: Endpoint) -> dict[str, Any]:
    """`EndpointOutput`."""
    return _place(row) | {"address": endpoints.shown(row)}
