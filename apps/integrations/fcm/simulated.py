"""FCM and Google's token endpoint, as their clients see them.

https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages/send
https://developers.google.com/identity/protocols/oauth2/service-account#httprest
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import jwt
import orjson
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from apps.integrations.fcm import ATTEMPT, TARGET
from apps.integrations.simulator.answers import as_json
from apps.integrations.simulator.ledger import Entry
from apps.integrations.simulator.server import Dialect, Simulator

TOKEN_PATH = "/oauth2/token"  # noqa: S105 (a path)
SEND = re.compile(r"/v1/projects/([a-z0-9-]+)/messages:send")
AUDIENCE = "https://oauth2.googleapis.com/token"  # wherever the endpoint is
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPES = {f"https://www.googleapis.com/auth/{name}" for name in ("cloud-platform", "firebase.messaging")}
LIFETIME = 3_599  # seconds, of an access token
LARGEST = 4_096  # bytes of title, body and data
REGISTRATION_TOKEN = re.compile(r"[A-Za-z0-9_:-]+")
RESERVED = re.compile(r"(from|message_type)$|google|gcm")
TTL = re.compile(r"(\d+)(\.\d{1,9})?s")
FIELDS = {"token", "data", "notification", "android", "apns", "webpush", "fcm_options"}
STATUSES = {"UNREGISTERED": "NOT_FOUND", "QUOTA_EXCEEDED": "RESOURCE_EXHAUSTED"}


class Invalid(Exception):
    """A 400, with the field it is about if the vendor says so."""

    def __init__(self, text: str, field: str = "") -> None:
        super().__init__(text)
        self.text, self.field = text, field


class Fcm(Dialect):
    """Answers as https://firebase.google.com/docs/cloud-messaging/error-codes has them."""

    provider = "fcm"

    def accepted(self, entries: Sequence[Entry]) -> web.Response:
        return as_json({"name": entries[0]["id"]})

    def refused(self, fault: str, entries: Sequence[Entry]) -> web.Response | None:
        if fault == "optout":  # FCM knows nothing of that
            return None
        return _error(404, "UNREGISTERED", "Requested entity was not found.")

    def failed(self, status: int, headers: dict[str, str]) -> web.Response:
        code = "QUOTA_EXCEEDED" if status == 429 else "UNAVAILABLE"
        return _error(status, code, "Try again later.", headers=headers)


def service_account(url: str, project: str = "simulated") -> str:
    """The JSON of a service account's key that the simulator at that URL takes."""
    return json.dumps(
        {
            "type": "service_account",
            "project_id": project,
            "private_key_id": "0" * 40,
            "private_key": _private_key(),
            "client_email": f"carillon@{project}.iam.gserviceaccount.com",
            "token_uri": url + TOKEN_PATH,
        }
    )


def register(simulator: Simulator) -> None:
    """Serve access tokens and messages:send."""
    dialect = Fcm()
    issued: set[str] = set()

    async def grant(request: web.BaseRequest) -> web.Response:
        form = await request.post()
        try:
            _check_assertion(form)
        except (jwt.InvalidTokenError, ValueError) as error:
            return as_json({"error": "invalid_grant", "error_description": str(error)}, status=400)
        token = f"ya29.{secrets.token_urlsafe(24)}"
        issued.add(token)
        return as_json({"access_token": token, "expires_in": LIFETIME, "token_type": "Bearer"})

    async def send(request: web.BaseRequest) -> web.Response:
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in issued:
            return _plain_error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        try:
            entry = _entry(orjson.loads(await request.read()), request.path.split("/")[3])
        except orjson.JSONDecodeError:
            return _plain_error(400, "INVALID_ARGUMENT", "Invalid JSON payload received.")
        except Invalid as error:
            return _error(400, "INVALID_ARGUMENT", error.text, field=error.field)
        return await simulator.answer(request, dialect, [entry])

    simulator.routes.add([("POST", TOKEN_PATH, grant), ("POST", SEND, send)])


def _check_assertion(form: Any) -> None:
    """What proves a service account. Its key is the tests' own, so the signature says nothing here."""
    if form.get("grant_type") != GRANT:
        raise ValueError("grant_type")
    assertion = str(form.get("assertion", ""))
    if jwt.get_unverified_header(assertion).get("alg") != "RS256":
        raise ValueError("alg")
    claims = jwt.decode(assertion, options={"verify_signature": False})
    now = time.time()
    if "@" not in claims["iss"] or claims["aud"] != AUDIENCE:
        raise ValueError("iss, aud")
    if SCOPES.isdisjoint(claims["scope"].split()):
        raise ValueError("scope")
    if not now < claims["exp"] <= claims["iat"] + 3_600 <= now + 3_660:
        raise ValueError("iat, exp")


def _entry(body: Any, project: str) -> Entry:
    message = body.get("message") if isinstance(body, dict) else None
    if not isinstance(message, dict):
        raise Invalid("Message is empty.", "message")
    _check(message)
    notification, data = message.get("notification") or {}, message.get("data") or {}
    return {
        "channel": "push",
        "id": f"projects/{project}/messages/0:{time.time_ns() // 1_000}%{secrets.token_hex(8)}",
        "target": data.get(TARGET, ""),
        "attempt": data.get(ATTEMPT, ""),
        "address": message["token"],
        "subject": notification.get("title", ""),
        "text": notification.get("body", ""),
        "html": "",
        "key": (message.get("android") or {}).get("collapse_key", ""),
    }


def _check(message: dict[str, Any]) -> None:
    if unknown := set(message) - FIELDS:
        raise Invalid(f"Unknown name \"{unknown.pop()}\" at 'message': Cannot find field.", "message")
    if not message.get("token"):
        raise Invalid("Recipient of the message is not set.", "message")
    if not REGISTRATION_TOKEN.fullmatch(message["token"]):
        raise Invalid("The registration token is not a valid FCM registration token")
    _check_data(message.get("data") or {}, message.get("notification") or {})
    ttl = TTL.fullmatch((message.get("android") or {}).get("ttl", "0s"))
    if not ttl or int(ttl[1]) > 2_419_200:
        raise Invalid("Invalid TTL", "message.android.ttl")


def _check_data(data: dict[str, Any], notification: dict[str, str]) -> None:
    for key, value in data.items():
        if not isinstance(value, str):
            raise Invalid("Invalid value at 'message.data[0].value' (TYPE_STRING)", "message.data[0].value")
        if RESERVED.match(key):
            raise Invalid(f"Invalid data payload key: {key}", "message.data")
    texts = (*data, *data.values(), *notification.values())
    if sum(len(text.encode()) for text in texts) > LARGEST:
        raise Invalid("Message is too large. The maximum is 4K (4096 bytes).")


def _error(
    status: int, code: str, text: str, *, field: str = "", headers: dict[str, str] | None = None
) -> web.Response:
    details: list[dict[str, Any]] = [
        {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}
    ]
    if field:
        violations = [{"field": field, "description": text}]
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations})
    error = {"code": status, "message": text, "status": STATUSES.get(code, code), "details": details}
    return as_json({"error": error}, status=status, headers=headers)


def _plain_error(status: int, code: str, text: str) -> web.Response:
    """One of Google's in general, which FCM says nothing about."""
    return as_json({"error": {"code": status, "message": text, "status": code}}, status=status)


@lru_cache(1)
def _private_key() -> str:
    key = rsa.generate_private_key(65_537, 2_048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
