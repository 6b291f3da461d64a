"""A receiver of webhooks, at /hooks/<anything>, as the specification would have one.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#verifying-signatures
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import web

from apps.integrations.simulator.ledger import Entry
from apps.integrations.simulator.server import Dialect, Simulator

HOOKS = re.compile(r"/hooks/.+")
SECRET = "whsec_" + base64.b64encode(b"the simulator knows this secret").decode()  # of every hook here
TOLERANCE = 300  # seconds, to both sides
_KEY = base64.b64decode(SECRET.removeprefix("whsec_"))


class Webhook(Dialect):
    """Its answers are statuses."""

    provider = "webhook"

    def accepted(self, entries: Sequence[Entry]) -> web.Response:
        return web.Response(status=204)

    def refused(self, fault: str, entries: Sequence[Entry]) -> web.Response | None:
        return web.Response(status=410) if fault == "reject" else None

    def failed(self, status: int, headers: dict[str, str]) -> web.Response:
        return web.Response(status=status, headers=headers)


def register(simulator: Simulator) -> None:
    """Serve the hooks."""
    dialect = Webhook()

    async def receive(request: web.BaseRequest) -> web.Response:
        body = await request.read()
        if not _verified(request, body):
            return web.Response(status=401)
        payload = _payload(body)
        if payload is None or request.content_type != "application/json":
            return web.Response(status=400)
        return await simulator.answer(request, dialect, [_entry(request, payload["data"])])

    simulator.routes.add([("POST", HOOKS, receive)])


def _verified(request: web.BaseRequest, body: bytes) -> bool:
    """Whether one of the signatures is of these very bytes, and the time is now."""
    id, timestamp = request.headers.get("webhook-id", ""), request.headers.get("webhook-timestamp", "")
    if not id or not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > TOLERANCE:
        return False
    digest = hmac.new(_KEY, f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    expected = f"v1,{base64.b64encode(digest).decode()}"
    signatures = request.headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(expected.encode(), one.encode()) for one in signatures)


def _payload(body: bytes) -> dict[str, Any] | None:
    """Type, time and data; None if anything is missing."""
    try:
        payload = orjson.loads(body)
        complete = isinstance(payload["type"], str) and isinstance(payload["timestamp"], str)
        return payload if complete and isinstance(payload["data"], dict) else None
    except (ValueError, TypeError, KeyError):
        return None


def _entry(request: web.BaseRequest, data: dict[str, Any]) -> Entry:
    return {
        "channel": "webhook",
        "id": request.headers["webhook-id"],
        "target": request.headers["webhook-id"],
        "attempt": request.headers.get("Carillon-Attempt", ""),
        "address": str(request.url),
        "subject": str(data.get("subject", "")),
        "text": str(data.get("text", "")),
        "html": "",
        "key": request.headers["webhook-id"],
    }
