"""Who opens a socket: the token a service minted for a person, or a session of our own pages."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from channels.auth import get_user
from django.conf import settings

from apps.users import tokens
from apps.users.models import User
from project import origins

SUBPROTOCOL = "carillon"
_BEARER = "bearer."  # a JWT is base64url and dots: within what a subprotocol may contain (RFC 7230, token)
_TOKENS_IN_URL = ("token", "access_token", "jwt", "bearer")


@dataclass(frozen=True)
class Identity:
    """A person, and until when (seconds since 1970) the socket may believe it."""

    user_id: int
    until: float


def of_token(text: object) -> Identity | None:
    """Whom the token was minted for. The signature is checked here, whether they are active by the relay."""
    claims = tokens.claims_of(text) if isinstance(text, str) else None
    if claims is None:
        return None
    return Identity(int(str(claims["sub"])), float(str(claims["exp"])))


async def of_session(scope: Mapping[str, Any]) -> Identity | None:
    """Who is logged in, by the cookie; re-checked after a token's longest life. Whether the page may use
    cookies is the caller's to ask."""
    if settings.SESSION_COOKIE_NAME not in scope.get("cookies", {}):
        return None
    user = await get_user(scope)
    if not isinstance(user, User):
        return None
    expiry = scope["session"].get_expiry_date().timestamp()
    return Identity(user.pk, min(expiry, time.time() + settings.USER_TOKEN_SECONDS))


def token_of(subprotocols: Iterable[str]) -> str | None:
    """The token among the subprotocols: `new WebSocket(url, ["carillon", "bearer." + token])`."""
    for offered in subprotocols:
        if offered.startswith(_BEARER):
            return offered.removeprefix(_BEARER)
    return None


def token_in_url(scope: Mapping[str, Any]) -> bool:
    """Whether the URL carries a token, as proxies would log it: refused even if it is a good one."""
    query = parse_qs(scope.get("query_string", b"").decode("latin1"), keep_blank_values=True)
    return any(name.lower() in _TOKENS_IN_URL for name in query)


def origin_allowed(scope: Mapping[str, Any]) -> bool:
    """Whether the page may open a socket at all. A native app sends no Origin and has no cookies to steal."""
    origin = _origin(scope)
    return origin is None or origins.matches(origin, settings.WEBSOCKET_ALLOWED_ORIGINS)


def may_use_cookies(scope: Mapping[str, Any]) -> bool:
    """Only pages named outright: "*" opens the socket to every page, but not to its visitors' cookies."""
    origin = _origin(scope)
    named = [entry for entry in settings.WEBSOCKET_ALLOWED_ORIGINS if entry != "*"]
    return origin is not None and origins.matches(origin, named)


def _origin(scope: Mapping[str, Any]) -> str | None:
    for name, value in scope.get("headers", ()):
        if name.lower() == b"origin":
            return str(value.decode("latin1")).strip().lower()
    return None
