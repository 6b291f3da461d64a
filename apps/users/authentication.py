"""Who calls: a service by its API key, or a person by the token a service minted for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from apps.users import tokens
from apps.users.models import ApiKey, ServiceClient, User
from project import db
from project.api import Problem

if TYPE_CHECKING:  # DRF's views import this module through the settings
    from rest_framework.views import APIView

Found = TypeVar("Found")
_BAD_KEY = ("invalid_credentials", "This API key or token is unknown, revoked or expired.")


def bearer(request: HttpRequest | Request) -> str | None:
    """The credentials of `Authorization: Bearer …`, or None."""
    scheme, _, credentials = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" and credentials.strip() else None


class ApiKeyAuthentication(BaseAuthentication):
    """`request.user` is the ServiceClient, `request.auth` its ApiKey.

    In a view that also takes other credentials, what has not the form of a key is left to the next one.
    """

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        text = bearer(request)
        if text is None or (len(request.authenticators or ()) > 1 and not ApiKey.prefix_of(text)):
            return None
        key = first_read(lambda: find_key(text))
        if key is None:
            raise Problem(401, *_BAD_KEY)
        return key.client, key

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def find_key(text: str) -> ApiKey | None:
    """The key with this text, if it and its client may still be used. At most one statement."""
    prefix = ApiKey.prefix_of(text)
    if prefix is None:
        return None
    found = db.rows(_FIND_KEY, [prefix])
    if not found:
        return None
    id, digest, scopes, client_id, name, organization_id = found[0]
    client = ServiceClient(id=client_id, name=name, organization_id=organization_id)
    key = ApiKey(id=id, prefix=prefix, digest=digest, scopes=scopes, client=client)
    return key if key.matches(text) else None


# By hand: it runs before every request, and the ORM takes ten times as long to put it together.
_FIND_KEY = """
SELECT k.id, k.digest, k.scopes, c.id, c.name, c.organization_id
FROM users_apikey k JOIN users_serviceclient c ON c.id = k.client_id
WHERE k.prefix = %s AND k.revoked_at IS NULL AND c.is_active
"""


def first_read(read: Callable[[], Found]) -> Found:
    """Do a request's first read; once more if the connection turns out to have died since the last request.

    So nobody notices that Postgres was restarted, without asking it before each request whether it is there.
    """
    was_open = connection.connection is not None
    try:
        return read()
    except (OperationalError, InterfaceError):
        if not was_open or connection.in_atomic_block or connection.is_usable():
            raise
        connection.close()
        return read()


class HasScope(BasePermission):
    """The view's `scopes[method]` must be among the key's, or one of them if there are several.

    A view without scopes refuses everyone.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not isinstance(request.auth, ApiKey):
            return False
        method = "GET" if request.method == "HEAD" else str(request.method)
        needed = getattr(view, "scopes", {}).get(method)
        if needed is None:  # a method the view does not have is answered 405 after this
            return method == "OPTIONS" or not hasattr(view, method.lower())
        enough = (needed,) if isinstance(needed, str) else needed
        if not any(scope in request.auth.scopes for scope in enough):
            raise Problem(403, "missing_scope", f"This API key lacks the scope {' or '.join(enough)}.")
        return True


class UserTokenAuthentication(BaseAuthentication):
    """`request.user` is the person the token was minted for."""

    def authenticate(self, request: Request) -> tuple[User, str] | None:
        text = bearer(request)
        if text is None:
            return None
        user = first_read(lambda: tokens.user_of(text))
        if user is None:
            raise Problem(401, *_BAD_KEY)
        return user, text

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class HasScopeOrIsPerson(HasScope):
    """A service whose key has the scope, or a person."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.user, User) or super().has_permission(request, view)


class IsPerson(BasePermission):
    """A person, not a service."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.user, User)


def client_of(request: Request) -> ServiceClient:
    """The calling service of a view with `ApiKeyAuthentication`."""
    if not isinstance(request.user, ServiceClient):
        raise Problem(401, *_BAD_KEY)
    return request.user


def organization_of(request: Request) -> int:
    """The id of the organization the caller belongs to."""
    caller = request.user if isinstance(request.user, User) else client_of(request)
    organization_id = caller.organization_id
    assert organization_id is not None  # to the type checker a foreign key with a default may be empty
    return organization_id
