"""Who sends a push: https://www.rfc-editor.org/rfc/rfc8292."""

from __future__ import annotations

import base64
import re
import time
from functools import lru_cache

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from apps.integrations.webpush.encryption import point

PERIOD = 21_600  # seconds; a token lasts to the end of the next one, 6 to 12 hours. The RFC allows 24.
ORIGINS = 1_024  # tokens kept; subscriptions, and so origins, are given by others
# A space or <> in it is a BadJwtToken to Apple: https://developer.apple.com/forums/thread/725473
SUBJECT = re.compile(r"mailto:[^\s<>@]+@[^\s<>@]+|https://[^\s<>]+")


class Vapid:
    """Authorization headers, signed with a P-256 key (base64url of its 32 bytes, or PEM).

    `subject` is where push services find us: "mailto:…" or "https://…". Raises ValueError for neither.
    """

    def __init__(self, private_key: str, subject: str) -> None:
        if not SUBJECT.fullmatch(subject):
            raise ValueError("the subject is a mailto: or https: URL")
        self._key = _private_key(private_key)
        self._subject = subject
        self._public = encoded(point(self._key.public_key()))
        self._signed = lru_cache(maxsize=ORIGINS)(self._sign)

    def authorization(self, origin: str) -> str:
        """The header for a push service, by its origin ("https://push.example"). Signed twice a day."""
        return self._signed(origin, int(time.time()) // PERIOD)

    def _sign(self, origin: str, period: int) -> str:
        claims = {"aud": origin, "exp": (period + 2) * PERIOD, "sub": self._subject}
        return f"vapid t={jwt.encode(claims, self._key, algorithm='ES256')}, k={self._public}"


def public_key(private_key: str) -> str:
    """What pages subscribe with, base64url of its 65 bytes. Raises ValueError: it is no P-256 key."""
    return encoded(point(_private_key(private_key).public_key()))


def encoded(data: bytes) -> str:
    """Base64url without padding, as all of Web Push has it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """From base64 of either alphabet, padded or not. Raises ValueError."""
    text = text.strip().rstrip("=").replace("+", "-").replace("/", "_")
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _private_key(text: str) -> ec.EllipticCurvePrivateKey:
    if "-----BEGIN" not in text:
        raw = decoded(text)
        if len(raw) != 32:
            raise ValueError("the private key is 32 bytes")
        return ec.derive_private_key(int.from_bytes(raw, "big"), ec.SECP256R1())
    key = load_pem_private_key(text.strip().encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("the private key is of another kind than P-256")
    return key
