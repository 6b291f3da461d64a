"""Who calls: a service by its API key, or a person by the token a service minted for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from django.utils.crypto import constant_time_compare
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from apps.users import tokens
from apps.users.models import ApiKey, ServiceClient, User
from project.api import Problem

if TYPE_CHECKING:  # DRF's views import this module through the settings
    from rest_framework.views import APIView

_BAD_KEY = ("invalid_credentials", "This API key or token is unknown, revoked or expired.")


def bearer(request: HttpRequest | Request) -> str | None:
    """The credentials of `Authorization: Bearer …`, or None."""
    scheme, _, credentials = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" and credentials.strip() else None


class ApiKeyAuthentication(BaseAuthentication):
    """`request.user` is the ServiceClient, `request.auth` its ApiKey."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        text = bearer(request)
        if text is None:
            return None
        key = find_key(text)
        if key is None:
            raise Problem(401, *_BAD_KEY)
        return key.client, key

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def find_key(text: str) -> ApiKey | None:
    """The key with this text, if it and its client may still be used."""
    prefix = text[: text.rfind("_", 0, 13)] if text.startswith("ck_") else ""
    key = (
        ApiKey.objects.select_related("client")
        .filter(prefix=prefix, revoked_at__isnull=True, client__is_active=True)
        .first()
    )
    return key if key and constant_time_compare(key.digest, ApiKey.hash(text)) else None


class HasScope(BasePermission):
    """The view's `scopes[method]` must be among the key's. A view without scopes refuses everyone."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not isinstance(request.auth, ApiKey):
            return False
        needed = getattr(view, "scopes", {}).get(request.method)
        if needed is None:
            return request.method == "OPTIONS"
        if needed not in request.auth.scopes:
            raise Problem(403, "missing_scope", f"This API key lacks the scope {needed}.")
        return True


class UserTokenAuthentication(BaseAuthentication):
    """`request.user` is the person the token was minted for."""

    def authenticate(self, request: Request) -> tuple[User, str] | None:
        text = bearer(request)
        if text is None:
            return None
        user = tokens.user_of(text)
        if user is None:
            raise Problem(401, *_BAD_KEY)
        return user, text

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class IsPerson(BasePermission):
    """A person, not a service."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.user, User)


def client_of(request: Request) -> ServiceClient:
    """The calling service of a view with `ApiKeyAuthentication`."""
    if not isinstance(request.user, ServiceClient):
        raise Problem(401, *_BAD_KEY)
    return request.user
