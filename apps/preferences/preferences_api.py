"""Preferences over HTTP: people read and change their own, services anybody's of their organization."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema
from pydantic import RootModel
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.preferences import own, store
from apps.preferences.preferences_schemas import PreferencesInput, read
from apps.preferences.preferences_shown import PreferencesOutput, representation
from apps.preferences.store import types_of
from apps.users import people
from apps.users.authentication import IsPerson, UserTokenAuthentication, organization_of
from apps.users.models import Scope, User
from project import clock, db
from project.api import PROBLEMS, body_of, invalid

_ANSWERS: dict[Any, Any] = {200: PreferencesOutput, **PROBLEMS}


class _Object(RootModel[dict[str, Any]]):
    """A JSON object: what is in it is read by hand, to tell all that is wrong with it at once."""


class OwnPreferencesView(APIView):
    """The preferences of the person who asks."""

    authentication_classes = [UserTokenAuthentication, SessionAuthentication]
    permission_classes = [IsPerson]

    @extend_schema(operation_id="preferences_get", responses=_ANSWERS, tags=["preferences"])
    def get(self, request: Request) -> Response:
        """What a person has chosen, and what holds in effect: all that a page of settings shows."""
        return Response(_shown(organization_of(request), _caller(request)))

    @extend_schema(
        operation_id="preferences_put", request=PreferencesInput, responses=_ANSWERS, tags=["preferences"]
    )
    def put(self, request: Request) -> Response:
        """Replace all that a person has chosen: what is left out returns to the defaults.

        Language and time zone stay if they are left out.
        """
        return _changed(request, _caller(request), source="person", replace=True)

    @extend_schema(
        operation_id="preferences_patch", request=PreferencesInput, responses=_ANSWERS, tags=["preferences"]
    )
    def patch(self, request: Request) -> Response:
        """Change what is sent; what is null returns to the default, and what is left out stays."""
        return _changed(request, _caller(request), source="person", replace=False)


class PreferencesOfView(APIView):
    """Anybody's preferences, by the caller's own id for them."""

    scopes = {"GET": Scope.USERS, "PUT": Scope.USERS, "PATCH": Scope.USERS}

    @extend_schema(operation_id="users_preferences_get", responses=_ANSWERS, tags=["preferences"])
    def get(self, request: Request, external_id: str) -> Response:
        """What a person has chosen, and what holds in effect. Needs the scope `users:write`."""
        return Response(_shown(organization_of(request), _named(request, external_id)))

    @extend_schema(
        operation_id="users_preferences_put",
        request=PreferencesInput,
        responses=_ANSWERS,
        tags=["preferences"],
    )
    def put(self, request: Request, external_id: str) -> Response:
        """Replace all that a person has chosen: what is left out returns to the defaults.

        Language and time zone stay if they are left out. Needs the scope `users:write`.
        """
        return _changed(request, _named(request, external_id), source="service", replace=True)

    @extend_schema(
        operation_id="users_preferences_patch",
        request=PreferencesInput,
        responses=_ANSWERS,
        tags=["preferences"],
    )
    def patch(self, request: Request, external_id: str) -> Response:
        """Change what is sent; what is null returns to the default, and what is left out stays.

        Needs the scope `users:write`.
        """
        return _changed(request, _named(request, external_id), source="service", replace=False)


def _caller(request: Request) -> int:
    assert isinstance(request.user, User)
    return request.user.pk


def _named(request: Request, external_id: str) -> int:
    """Raises Http404 for somebody the organization does not know."""
    known = "\0" not in external_id  # Postgres has no such text
    found = people.find(organization_of(request), external_ids=[external_id]) if known else []
    if not found:
        raise Http404
    return found[0].id


def _shown(organization_id: int, user_id: int) -> dict[str, Any]:
    person = people.find(organization_id, ids=[user_id])[0]
    rules = store.rules_of({user_id: organization_id}).of(user_id)
    return representation(
        own.read(user_id),
        rules,
        types_of(organization_id),
        language=person.language,
        timezone=person.timezone,
    )


def _changed(request: Request, user_id: int, *, source: str, replace: bool) -> Response:
    """Two at once take turns from the first read on, so neither loses what the other wrote."""
    body, organization_id = body_of(_Object, request).root, organization_of(request)
    with db.one_transaction():
        people.lock(user_id)
        before = own.read(user_id)
        asked, errors = read(
            body,
            before,
            types=types_of(organization_id),
            defaults=store.defaults_of(organization_id),
            now=clock.now(),
            replace=replace,
        )
        if errors:
            raise invalid(errors)
        own.write(
            user_id,
            own.differences(before.choices, asked.own.choices),
            asked.own.when if asked.own.when != before.when else None,
            source=source,
            language=asked.language,
            timezone=asked.timezone,
        )
        return Response(_shown(organization_id, user_id))
