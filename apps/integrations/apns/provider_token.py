"""What proves to APNs who we are.

https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns
"""

from __future__ import annotations

import base64
import binascii
import re
import time

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key

# "Refresh your token no more than once every 20 minutes and no less than once every 60 minutes."
OLDEST = 2_400  # seconds
YOUNGEST = 1_200  # seconds; a token that is younger is not replaced, whatever APNs says of it
_NOT_BASE64 = re.compile(r"-----[A-Z ]+-----|\\n|\s")


class ProviderToken:
    """Signed once, then kept. `key` is the text of the .p8 file; raises ValueError if it is none.

    Line ends of the key may be missing, or written as a backslash and n.
    """

    def __init__(self, key: str, key_id: str, team_id: str) -> None:
        self._key = _private_key(key)
        self._key_id, self._team_id = key_id, team_id
        self._value, self._issued = "", 0

    def get(self) -> str:
        """A token that APNs takes for a while."""
        if not self._value or not 0 <= time.time() - self._issued < OLDEST:
            self._issued = int(time.time())
            claims = {"iss": self._team_id, "iat": self._issued}
            self._value = jwt.encode(claims, self._key, "ES256", headers={"kid": self._key_id})
        return self._value

    def expired(self, value: str) -> None:
        """APNs calls this token expired: sign another one for the next request.

        Not if it is young: then a clock is wrong, and APNs would only call the updates too many.
        """
        if value == self._value and not 0 <= time.time() - self._issued < YOUNGEST:
            self._value = ""


def _private_key(text: str) -> EllipticCurvePrivateKey:
    try:
        key = load_der_private_key(base64.b64decode(_NOT_BASE64.sub("", text), validate=True), None)
    except (binascii.Error, ValueError, TypeError):
        raise ValueError("the key is not that of a .p8 file") from None
    if not isinstance(key, EllipticCurvePrivateKey):
        raise ValueError("the key is not an elliptic curve's")
    return key
