"""APNs, as its clients see it.

https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from apps.integrations.apns import ATTEMPT, TARGET
from apps.integrations.simulator.http2 import Drop, Http2Protocol, Reply, Request
from apps.integrations.simulator.ledger import Entry
from apps.integrations.simulator.server import Simulator

PROVIDER = "apns"
PATH = re.compile(r"/3/device/([^/]*)")
DEVICE_TOKEN = re.compile(r"([0-9a-fA-F]{2})+")
LARGEST = 4_096  # bytes
OLDEST = 3_600  # seconds, of a provider token
# The text of a .p8 file as Apple gives it out, for those who send here.
KEY = (
    ec.derive_private_key(0xCA1111011, ec.SECP256R1())
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    .decode()
)
# By header: the values it may have, and what is said of others.
HEADERS = {
    "apns-priority": (re.compile("1|5|10"), "BadPriority"),
    "apns-expiration": (re.compile(r"\d{1,12}"), "BadExpirationDate"),
    "apns-collapse-id": (re.compile(r".{0,64}"), "BadCollapseId"),
    "apns-push-type": (re.compile("alert|background|voip"), "InvalidPushType"),
    "apns-id": (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "BadMessageId"),
}


class Refused(Exception):
    """An error, by its status and reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.reply = Reply(status, {}, orjson.dumps({"reason": reason}))


def register(simulator: Simulator) -> None:
    """Serve notifications, where the simulator has a port for HTTP/2."""
    apns = _Apns(simulator)
    simulator.http2_protocol = lambda: Http2Protocol(apns.notify)


class _Apns:
    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    async def notify(self, request: Request) -> Reply:
        """Play the request's fault, if any; what was accepted is in the ledger before it is answered."""
        try:
            entry = _entry(request)
        except Refused as refused:
            return refused.reply
        fault = self._simulator.next_fault(PROVIDER, [entry])
        if (early := _turned_away(fault)) is not None:
            return early
        await self._simulator.accept(PROVIDER, fault, [entry])
        if fault == "drop":
            raise Drop
        if fault == "hang":
            await asyncio.Event().wait()  # until the client leaves, which cancels this
        if fault == "nonsense":
            return Reply(200, {"content-type": "text/html"}, b"<html>It works!</html>")
        return Reply(200, {"apns-id": entry["id"]})


def _turned_away(fault: str) -> Reply | None:
    if fault == "reject":
        gone = {"reason": "Unregistered", "timestamp": int(time.time() * 1_000)}
        return Reply(410, {}, orjson.dumps(gone))
    if fault == "ratelimit":
        return Refused(429, "TooManyRequests").reply
    if fault == "error":
        return Refused(503, "ServiceUnavailable").reply
    if fault == "gateway":
        return Reply(502, {"content-type": "text/html"}, b"<html>502 Bad Gateway</html>")
    return None


def _entry(request: Request) -> Entry:
    """The message of a request in which nothing is missing or wrong. Raises Refused."""
    headers, path = request.headers, PATH.fullmatch(request.headers[":path"])
    if headers[":method"] != "POST":
        raise Refused(405, "MethodNotAllowed")
    if path is None:
        raise Refused(404, "BadPath")
    _check_provider_token(headers.get("authorization", ""))
    _check_headers(headers)
    if not DEVICE_TOKEN.fullmatch(path[1]):
        raise Refused(400, "BadDeviceToken")
    payload = _payload(bytes(request.body))
    alert = payload["aps"].get("alert") or {}
    return {
        "channel": "push",
        "id": headers.get("apns-id") or str(uuid.uuid4()),
        "target": payload.get(TARGET, ""),
        "attempt": payload.get(ATTEMPT, ""),
        "address": path[1],
        "subject": alert.get("title", ""),
        "text": alert.get("body", ""),
        "html": "",
        "key": headers.get("apns-collapse-id", ""),
    }


def _check_provider_token(authorization: str) -> None:
    """Whether it is shaped as one and of now; whose it is does not matter here."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Refused(403, "MissingProviderToken")
    try:
        head = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
        age = time.time() - claims["iat"]
        shaped = head["alg"] == "ES256" and len(head["kid"]) == len(claims["iss"]) == 10
    except (jwt.InvalidTokenError, KeyError, TypeError):
        raise Refused(403, "InvalidProviderToken") from None
    if not shaped:
        raise Refused(403, "InvalidProviderToken")
    if not -60 < age < OLDEST:
        raise Refused(403, "ExpiredProviderToken")


def _check_headers(headers: Mapping[str, str]) -> None:
    if not headers.get("apns-topic"):
        raise Refused(400, "MissingTopic")
    for name, (pattern, reason) in HEADERS.items():
        if name in headers and not pattern.fullmatch(headers[name]):
            raise Refused(400, reason)


def _payload(body: bytes) -> dict[str, Any]:
    if len(body) > LARGEST:
        raise Refused(413, "PayloadTooLarge")
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refused(400, "PayloadEmpty") from None
    if not isinstance(payload, dict) or not isinstance(payload.get("aps"), dict):
        raise Refused(400, "PayloadEmpty")
    return payload
