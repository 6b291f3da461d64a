"""Types for the services: listed, written, deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.http import Http404
from drf_spectacular.utils import extend_schema
from pydantic import BaseModel
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.content import listing
from apps.content.models import NotificationType
from apps.content.paging import slug_page
from apps.content.schemas import SLUG_LENGTH, AnyObject, TypeChanges, TypeFields, TypeInput, TypeOutput
from apps.users.authentication import organization_of
from apps.users.models import Scope
from project import db, paging
from project.api import PROBLEMS, Problem, body_of, parse

READING = (Scope.READ, Scope.TEMPLATES)
_TYPES = NotificationType.objects.all()


class TypesView(APIView):
    """The types there are."""

    scopes = {"GET": READING, "POST": Scope.TEMPLATES}

    @extend_schema(
        operation_id="types_list",
        parameters=paging.PARAMETERS,
        responses={200: paging.page_model("TypePage", TypeOutput), **PROBLEMS},
        tags=["types"],
    )
    def get(self, request: Request) -> Response:
        """Your organization's types, and those of the system's that it has not replaced, by slug.

        Needs the scope `notifications:read` or `templates:write`.
        """
        return Response(slug_page(request, _TYPES, organization_of(request)).body(representation))

    @extend_schema(
        operation_id="types_create",
        request=TypeInput,
        responses={201: TypeOutput, **PROBLEMS},
        tags=["types"],
    )
    def post(self, request: Request) -> Response:
        """Create a type; one with the slug of a system's type takes its place for your organization.

        Needs the scope `templates:write`. A repeat is 409: the slug is taken.
        """
        asked = body_of(TypeInput, request)
        try:
            with transaction.atomic():
                row = NotificationType.objects.create(
                    organization_id=organization_of(request), **_values(asked)
                )
        except IntegrityError:
            raise Problem(409, "slug_taken", "Your organization has a type with this slug.") from None
        return Response(representation(row), status=201)


class TypeView(APIView):
    """One type."""

    scopes = {
        "GET": READING,
        "PUT": Scope.TEMPLATES,
        "PATCH": Scope.TEMPLATES,
        "DELETE": Scope.TEMPLATES,
    }

    @extend_schema(operation_id="types_get", responses={200: TypeOutput, **PROBLEMS}, tags=["types"])
    def get(self, request: Request, slug: str) -> Response:
        """A type, of your organization or of the system.

        Needs the scope `notifications:read` or `templates:write`.
        """
        row = listing.find(_TYPES, organization_of(request), slug)
        if row is None:
            raise Http404
        return Response(representation(row))

    @extend_schema(
        operation_id="types_put",
        request=TypeFields,
        responses={200: TypeOutput, 201: TypeOutput, **PROBLEMS},
        tags=["types"],
    )
    def put(self, request: Request, slug: str) -> Response:
        """Create your organization's type of this slug (201), or replace it whole (200).

        Needs the scope `templates:write`.
        """
        if len(slug) > SLUG_LENGTH:
            raise Http404
        asked = body_of(TypeFields, request)
        row, is_new = NotificationType.objects.update_or_create(
            organization_id=organization_of(request), slug=slug, defaults=_values(asked)
        )
        return Response(representation(row), status=201 if is_new else 200)

    @extend_schema(
        operation_id="types_patch",
        request=TypeChanges,
        responses={200: TypeOutput, **PROBLEMS},
        tags=["types"],
    )
    def patch(self, request: Request, slug: str) -> Response:
        """Change some fields of your organization's type.

        Needs the scope `templates:write`.
        """
        changes = body_of(AnyObject, request).root
        with db.one_transaction():
            row = _own(NotificationType.objects.select_for_update(), organization_of(request), slug)
            asked = parse(TypeFields, {**_fields(row), **changes})
            for name, value in _values(asked).items():
                setattr(row, name, value)
            row.save()
        return Response(representation(row))

    @extend_schema(operation_id="types_delete", responses={204: None, **PROBLEMS}, tags=["types"])
    def delete(self, request: Request, slug: str) -> Response:
        """Delete your organization's type. People's choices about its slug stay, for whatever takes it.

        Needs the scope `templates:write`. 409 `type_in_use` while a template would be left without a type.
        """
        with db.one_transaction():
            row = _own(NotificationType.objects.select_for_update(), organization_of(request), slug)
            if used_by := listing.uses_type(row):
                raise Problem(409, "type_in_use", f"The template “{used_by}” is of this type.")
            row.delete()
        return Response(status=204)


def _own(rows: Any, organization_id: int, slug: str) -> NotificationType:
    """Raises Http404; Problem 403 for the system's."""
    row = rows.filter(organization=organization_id, slug=slug).first()
    if row is not None:
        return row  # type: ignore[no-any-return]
    if listing.find(_TYPES, organization_id, slug) is None:
        raise Http404
    raise Problem(403, "permission_denied", "It is the system's. PUT a type of this slug to have your own.")


def _values(asked: BaseModel) -> dict[str, Any]:
    return asked.model_dump(mode="json")


def _fields(row: NotificationType) -> dict[str, Any]:
    return {name: getattr(row, name) for name in TypeFields.model_fields}


def representation(row: NotificationType) -> Mapping[str, Any]:
    """`TypeOutput`."""
    return {
        "slug": row.slug,
        "system": row.organization_id is None,
        **_fields(row),
        "created_at": row.created_at,
    }
