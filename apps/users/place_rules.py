"""What a token or an address of each kind looks like.

Every function returns it as it is kept, or raises a `PydanticCustomError` (a ValueError) whose text is for
the person who sent it and does not repeat the value. Whether anybody is there is found out by sending.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit

import orjson
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from pydantic_core import PydanticCustomError

TOKEN_LENGTH = 4096
ADDRESS_LENGTH = 2048
_AUTH_BYTES = 16  # RFC 8291, section 3.2
_POINT_BYTES = 65  # RFC 8291, section 3.1: an uncompressed point of P-256

_FCM = re.compile(r"[A-Za-z0-9_:.%-]{20,4096}")
_APNS = re.compile(r"[0-9a-f]{64,200}")
_SLACK = re.compile(r"[CDGUW][A-Z0-9]{2,30}")
_APPRISE = re.compile(r"[a-z][a-z0-9+.-]{0,30}://[\x21-\x7e]+")
_PRINTABLE = re.compile(r"[\x21-\x7e]+")


def fcm(token: str) -> str:
    """A registration token, which is opaque but for its letters."""
    return _fullmatch(_FCM, token, "This is not a registration token of FCM.")


def apns(token: str) -> str:
    """A device token in hexadecimal, of whatever length Apple gives it."""
    return _fullmatch(
        _APNS, token.lower(), "This is not a device token of APNs: 64 to 200 hexadecimal digits."
    )


def webpush(token: str) -> str:
    """A browser's PushSubscription as JSON: its endpoint and keys, without anything else."""
    try:
        given = orjson.loads(token)
        endpoint, keys = https(given["endpoint"]), given["keys"]
        kept = {"auth": _key(keys["auth"], _AUTH_BYTES), "p256dh": _point(keys["p256dh"])}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _wrong(
            "This is not a push subscription with an https endpoint and the keys p256dh and auth."
        ) from None
    return orjson.dumps({"endpoint": endpoint, "keys": kept}).decode()


def _point(text: str) -> str:
    key = _key(text, _POINT_BYTES)
    EllipticCurvePublicKey.from_encoded_point(SECP256R1(), _decoded(key))  # ValueError: not on the curve
    return key


def _key(text: str, size: int) -> str:
    """base64url without padding, as RFC 8291's examples have it. Raises ValueError."""
    raw = _decoded(text)
    if len(raw) != size:
        raise ValueError(size)
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    plain = text.rstrip("=").replace("+", "-").replace("/", "_")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("base64") from error


def https(address: str) -> str:
    """An https URL as far as that can be seen; where it leads is checked when it is connected to."""
    wrong = _wrong("This is not an https URL; it has no user, no password and no #.")
    if not isinstance(address, str) or not _PRINTABLE.fullmatch(address) or "\\" in address:
        raise wrong
    try:
        parts = urlsplit(address)
        good = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, brackets that do not match
        raise wrong from None
    if not good or "@" in parts.netloc or "#" in address:
        raise wrong
    return address


def slack(address: str) -> str:
    """The id of a conversation or a member."""
    return _fullmatch(_SLACK, address, "This is not the id of a conversation or a member, such as C024BE91L.")


def apprise(address: str) -> str:
    """A URL in Apprise's own schemes."""
    return _fullmatch(_APPRISE, address, "This is not a URL of Apprise, such as discord://….")


OF_DEVICE: dict[str, Callable[[str], str]] = {"fcm": fcm, "apns": apns, "webpush": webpush}
OF_ENDPOINT: dict[str, Callable[[str], str]] = {
    "webhook": https,
    "slack": slack,
    "slack_webhook": https,
    "teams": https,
    "apprise": apprise,
}


def masked(kind: str, value: str) -> str:
    """Enough of a token or an address to tell it from others, too little to write to it."""
    if kind == "webpush":
        return masked("webhook", orjson.loads(value)["endpoint"])
    if kind == "apprise":
        return f"{value.partition('://')[0]}://…"
    if OF_ENDPOINT.get(kind) is https:
        return _origin(urlsplit(value))
    return f"{value[:4]}…"


def _origin(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc}/…"


def _fullmatch(pattern: re.Pattern[str], value: str, message: str) -> str:
    if not pattern.fullmatch(value):
        raise _wrong(message)
    return value


def _wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("place", message)
