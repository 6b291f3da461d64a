"""The link that unsubscribes: a signed token that says who was written to, with what, about what.

Nothing is kept per mail, and a token does not expire: people keep e-mails, and must get out years later.
Token: base64 of the target (16 bytes), the length of the person's id and the id, the type's slug; then a dot
and the signature.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.core.signing import BadSignature, Signer

_SALT = "carillon.unsubscribe"  # what is signed for another purpose is nothing here


class Said(NamedTuple):
    """What a token says. type: a slug; empty for a notification of no type."""

    target: UUID
    user_id: int
    type: str


def url(target: UUID, user_id: int, *, type: str, public_url: str) -> str:
    """Where the person unsubscribes from what this target was. public_url: without a slash at its end."""
    id = user_id.to_bytes((user_id.bit_length() + 7) // 8)
    said = b"".join((target.bytes, bytes([len(id)]), id, type.encode()))
    return f"{public_url}/u/{_signer().sign(urlsafe_b64encode(said).decode().rstrip('='))}"


def read(token: str) -> Said | None:
    """What the token says; None if it is none of ours, or not whole."""
    try:
        payload = _signer().unsign(token)
        said = urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        end = 17 + said[16]
        return Said(UUID(bytes=said[:16]), int.from_bytes(said[17:end]), said[end:].decode())
    except (BadSignature, binascii.Error, ValueError, IndexError):
        return None


def _signer() -> Signer:
    return _made(settings.SECRET_KEY, tuple(settings.SECRET_KEY_FALLBACKS))


@lru_cache(maxsize=2)  # making one takes as long as signing, and every e-mail is signed
def _made(key: str, fallbacks: tuple[str, ...]) -> Signer:
    return Signer(key=key, fallback_keys=list(fallbacks), salt=_SALT, sep=".")
