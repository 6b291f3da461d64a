"""Short-lived tokens (JWT, RFC 7519) with which a person's browser reads their inbox and opens a socket."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Protocol

import jwt
from django.conf import settings

from apps.users.models import User

_AUDIENCE = "carillon"
_ALGORITHM = "HS256"
_LONGEST = 512  # characters; ours have about 170. A stranger's is not worth parsing beyond that


class _HasId(Protocol):
    @property
    def id(self) -> int: ...


def _key() -> bytes:
    return sha256(b"user-token:" + settings.SECRET_KEY.encode()).digest()


def mint(user: _HasId, seconds: int) -> tuple[str, datetime]:
    """A token for this person and when it ends (UTC)."""
    expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
    claims = {"sub": str(user.id), "aud": _AUDIENCE, "exp": expires_at}
    return jwt.encode(claims, _key(), algorithm=_ALGORITHM), expires_at


def claims_of(text: str) -> dict[str, Any] | None:
    """The claims of a token that is ours and not expired, else None. `sub` is the person's id in digits."""
    if len(text) > _LONGEST or not text.isascii():
        return None
    try:
        claims: dict[str, Any] = jwt.decode(
            text, _key(), algorithms=[_ALGORITHM], audience=_AUDIENCE, options={"require": ["exp", "sub"]}
        )
    except jwt.InvalidTokenError:
        return None
    return claims if claims["sub"].isdecimal() else None


def user_of(text: str) -> User | None:
    """The active person a valid token was minted for."""
    claims = claims_of(text)
    if claims is None:
        return None
    return User.objects.filter(pk=int(claims["sub"]), is_active=True).first()
