"""People and their tokens, for the services that know them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.http import Http404
from drf_spectacular.utils import extend_schema
from pydantic import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.users import people, tokens
from apps.users.authentication import organization_of
from apps.users.models import Scope
from apps.users.people import Person
from apps.users.schemas import (
    TokenInput,
    TokenOutput,
    UserFields,
    UserInput,
    UserOutput,
    UsersInput,
    UsersOutput,
)
from project.api import PROBLEMS, body_of, field_error, field_errors, invalid, parse


class UserView(APIView):
    """One person, by the caller's own id for them."""

    scopes = {"GET": Scope.USERS, "PUT": Scope.USERS}

    @extend_schema(operation_id="users_get", responses={200: UserOutput, **PROBLEMS}, tags=["users"])
    def get(self, request: Request, external_id: str) -> Response:
        """A person, by external_id. Needs the scope `users:write`."""
        if "\0" in external_id:  # Postgres has no such text
            raise Http404
        found = people.find(organization_of(request), external_ids=[external_id])
        if not found:
            raise Http404
        return Response(found[0].as_json())

    @extend_schema(
        operation_id="users_put",
        request=UserFields,
        responses={200: UserOutput, 201: UserOutput, **PROBLEMS},
        tags=["users"],
    )
    def put(self, request: Request, external_id: str) -> Response:
        """Create a person (201) or change one (200). A field that is left out keeps its value.

        Needs the scope `users:write`. Slashes in external_id are sent as %2F.
        """
        fields = body_of(UserFields, request).model_dump(exclude_unset=True)
        user = parse(UserInput, {**fields, "external_id": external_id})
        person = people.upsert(organization_of(request), [user])[user.external_id]
        return Response(person.as_json(), status=201 if person.created else 200)


class UsersView(APIView):
    """Many people at once."""

    scopes = {"PUT": Scope.USERS}
    max_body_bytes = 10 * settings.MAX_BODY_BYTES

    @extend_schema(
        operation_id="users_put_many",
        request=UsersInput,
        responses={200: UsersOutput, **PROBLEMS},
        tags=["users"],
    )
    def put(self, request: Request) -> Response:
        """Create or change up to 1,000 people, with a result for each. A bad row fails alone.

        Needs the scope `users:write`. Rows with the same external_id are merged, the later field wins.
        """
        rows = [_read(row) for row in body_of(UsersInput, request).users]
        users = [row for row in rows if isinstance(row, UserInput)]
        found = people.upsert(organization_of(request), users)
        return Response({"results": [_result(index, row, found) for index, row in enumerate(rows)]})


def _read(row: object) -> UserInput | list[dict[str, str]]:
    try:
        return UserInput.model_validate(row)
    except ValidationError as error:
        return field_errors(error)


def _result(
    index: int, row: UserInput | Sequence[dict[str, str]], found: dict[str, Person]
) -> dict[str, Any]:
    if isinstance(row, UserInput):
        return {"index": index, "status": "ok", "user": found[row.external_id].as_json()}
    return {"index": index, "status": "error", "errors": row}


class TokensView(APIView):
    """Tokens with which people read their inbox and open a socket."""

    scopes = {"POST": Scope.TOKENS}

    @extend_schema(
        operation_id="tokens_mint",
        request=TokenInput,
        responses={201: TokenOutput, **PROBLEMS},
        tags=["tokens"],
    )
    def post(self, request: Request) -> Response:
        """Mint a short-lived token for a person, by id (a number) or external_id (a string).

        Needs the scope `tokens:write`. Nothing is kept of it, so a repeat simply mints another.
        """
        asked = body_of(TokenInput, request)
        person = active_person(organization_of(request), asked.user)
        token, expires_at = tokens.mint(person, asked.expires_in)
        answer = {"token": token, "expires_at": expires_at, "user": person.as_json()}
        return Response(answer, status=201, headers={"Cache-Control": "no-store"})


def active_person(organization_id: int, who: int | str) -> Person:
    """The active person under this id or external_id. Raises the problem that names the field."""
    ids, external_ids = ([who], []) if isinstance(who, int) else ([], [who])
    found = people.find(organization_id, ids=ids, external_ids=external_ids)
    if not found:
        raise invalid([field_error("user", "unknown_user", "There is no such user.")])
    if not found[0].is_active:
        raise invalid([field_error("user", "inactive_user", "This user is deactivated.")])
    return found[0]
