"""The two ways to sign in: https://developer.vonage.com/en/getting-started/concepts/authentication."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

# Seconds. The vendor takes a token for 24 hours at most, so there is no need to sign one for each request:
# https://api.support.vonage.com/hc/en-us/articles/360000958407-How-long-is-my-JSON-Web-Token-valid-for
LIFE = 900
RENEWED_AFTER = 600

Credentials = Callable[[], str]  # the value of the header Authorization, for the next request


def of_account(api_key: str, api_secret: str) -> Credentials:
    """Of the account, by its key and secret."""
    authorization = f"Basic {base64.b64encode(f'{api_key}:{api_secret}'.encode()).decode()}"
    return lambda: authorization


class OfApplication:
    """Of one application of the account, by tokens signed with its private key (PEM).

    Raises ValueError for a key that is not an RSA key in PEM.
    """

    def __init__(self, application_id: str, private_key: str) -> None:
        key = load_pem_private_key(private_key.encode(), password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError("The private key is not an RSA key.")
        self._application_id = application_id
        self._key = key
        self._authorization = ""
        self._renewal = 0.0  # by the monotonic clock

    def __call__(self) -> str:
        if not self._authorization or time.monotonic() >= self._renewal:
            self._authorization = f"Bearer {self._signed(int(time.time()))}"
            self._renewal = time.monotonic() + RENEWED_AFTER
        return self._authorization

    def _signed(self, now: int) -> str:
        claims = {
            "application_id": self._application_id,
            "iat": now,
            "exp": now + LIFE,
            "jti": str(uuid4()),
        }
        return jwt.encode(claims, self._key, algorithm="RS256")
