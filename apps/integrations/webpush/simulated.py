"""A push service at /webpush/<anything>, and the browser behind it, which reads what came.

https://www.rfc-editor.org/rfc/rfc8030#section-5, https://www.rfc-editor.org/rfc/rfc8292#section-4.2
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jwt
import orjson
from aiohttp import web
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from apps.integrations.simulator.ledger import Entry
from apps.integrations.simulator.server import Dialect, Simulator
from apps.integrations.webpush.encryption import point
from apps.integrations.webpush.vapid import decoded, encoded

PUSHES = re.compile(r"/webpush/.+")
LARGEST = 4_096  # bytes
LONGEST_TOKEN = 86_400  # seconds: https://www.rfc-editor.org/rfc/rfc8292#section-2
CREDENTIALS = re.compile(r"vapid t=([^,\s]+),\s*k=([A-Za-z0-9_-]+)")
TOPIC = re.compile(r"[A-Za-z0-9_-]{0,32}")
URGENCIES = ("very-low", "low", "normal", "high")
# The browser of each subscription here is that of the example in https://www.rfc-editor.org/rfc/rfc8291#section-5.
PRIVATE_KEY = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
_KEY = ec.derive_private_key(int.from_bytes(decoded(PRIVATE_KEY), "big"), ec.SECP256R1())
_POINT = point(_KEY.public_key())


class PushService(Dialect):
    """Its answers are statuses, and where the message is kept."""

    provider = "webpush"

    def accepted(self, entries: Sequence[Entry]) -> web.Response:
        return web.Response(status=201, headers={"Location": entries[0]["id"]})

    def refused(self, fault: str, entries: Sequence[Entry]) -> web.Response | None:
        return web.Response(status=410) if fault == "reject" else None

    def failed(self, status: int, headers: dict[str, str]) -> web.Response:
        return web.Response(status=status, headers=headers)


def subscription(endpoint: str) -> str:
    """What a browser that subscribed here would give: an address, as JSON."""
    keys = {"p256dh": encoded(_POINT), "auth": AUTH}
    return orjson.dumps({"endpoint": endpoint, "keys": keys}).decode()


def register(simulator: Simulator) -> None:
    """Serve the subscriptions."""
    dialect = PushService()

    async def push(request: web.BaseRequest) -> web.Response:
        body = await request.read()
        if status := _refusal(request, body):
            return web.Response(status=status)
        try:
            payload = decrypt(body)
        except (ValueError, InvalidTag):  # which only the browser would see
            return web.Response(status=400)
        return await simulator.answer(request, dialect, [_entry(request, payload)])

    simulator.routes.add([("POST", PUSHES, push)])


def decrypt(body: bytes) -> dict[str, Any]:
    """What the browser shows. Raises ValueError or InvalidTag."""
    salt, sender, sealed = body[:16], body[21:86], body[86:]
    if body[20:21] != b"\x41" or len(sealed) > int.from_bytes(body[16:20], "big"):
        raise ValueError("not one record with a P-256 key")
    theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender)
    info = b"WebPush: info\x00" + _POINT + sender
    secret = HKDF(SHA256(), 32, decoded(AUTH), info).derive(_KEY.exchange(ec.ECDH(), theirs))
    key = HKDF(SHA256(), 16, salt, b"Content-Encoding: aes128gcm\x00").derive(secret)
    nonce = HKDF(SHA256(), 12, salt, b"Content-Encoding: nonce\x00").derive(secret)
    padded = AESGCM(key).decrypt(nonce, sealed, None).rstrip(b"\x00")
    if not padded.endswith(b"\x02"):
        raise ValueError("not the last record")
    payload = orjson.loads(padded[:-1])
    if not isinstance(payload, dict):
        raise ValueError("not an object")
    return payload


def _refusal(request: web.BaseRequest, body: bytes) -> int:
    """The status of a request in which something is missing or wrong; 0 if nothing is."""
    headers = request.headers
    if "Authorization" not in headers:
        return 401
    if not _identified(headers["Authorization"], str(request.url.origin())):
        return 403
    if len(body) > LARGEST:
        return 413
    return 0 if _well_formed(headers) else 400


def _identified(authorization: str, origin: str) -> bool:
    """Whether the token is signed by the key beside it, for this service, and for a day at most."""
    try:
        token, key = CREDENTIALS.fullmatch(authorization).groups()  # type: ignore[union-attr]
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decoded(key))
        claims = jwt.decode(
            token, public, algorithms=["ES256"], audience=origin, options={"require": ["exp", "aud", "sub"]}
        )
    except (jwt.PyJWTError, ValueError, AttributeError):
        return False
    return bool(claims["exp"] <= time.time() + LONGEST_TOKEN)


def _well_formed(headers: Mapping[str, str]) -> bool:
    return (
        headers.get("TTL", "").isdecimal()
        and headers.get("Content-Encoding") == "aes128gcm"
        and headers.get("Urgency", "normal") in URGENCIES
        and TOPIC.fullmatch(headers.get("Topic", "")) is not None
    )


def _entry(request: web.BaseRequest, payload: Mapping[str, Any]) -> Entry:
    return {
        "channel": "push",
        "id": f"{request.url.origin()}/webpush-messages/{secrets.token_urlsafe(12)}",
        "target": str(payload.get("target", "")),
        "attempt": str(payload.get("attempt", "")),
        "address": subscription(str(request.url)),
        "subject": str(payload.get("title", "")),
        "text": str(payload.get("body", "")),
        "html": "",
        "key": request.headers.get("Topic", ""),
    }
