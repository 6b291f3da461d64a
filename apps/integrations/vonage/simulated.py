"""Vonage's Messages API, as its clients see it: https://developer.vonage.com/en/api/messages."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import jwt
import orjson
from aiohttp import web

from apps.integrations.simulator.answers import as_json
from apps.integrations.simulator.ledger import Entry
from apps.integrations.simulator.server import Dialect, Simulator
from apps.integrations.vonage.simulated_receipts import VonageReporter

NUMBER = re.compile(r"[1-9]\d{6,14}", re.ASCII)
LONGEST = 1_000  # characters
LONGEST_REFERENCE = 100
ERRORS = "https://developer.vonage.com/api-errors"
# By the end of their type: titles and details.
PROBLEMS = {
    "unauthorized": ("Unauthorized", "You did not provide correct credentials."),
    "invalid-json": ("Invalid JSON", "The request body did not contain valid JSON."),
    "1000": ("Rate Limit Hit", "Please wait, then retry your request."),
    "1030": ("Internal error", "There was an error processing your request in the Platform."),
    "1150": ("Invalid params", "The value of one or more parameters is invalid."),
    "1400": ("Unsupported channel", "The specified channel is not supported."),
    "1420": ("Invalid sender", "The `from` parameter is invalid for the given channel."),
    "1430": ("Invalid recipient", "The `to` parameter is invalid for the given channel."),
    "1440": ("Invalid message type", "The message type is not supported for the given channel."),
}


class Vonage(Dialect):
    """Answers as https://developer.vonage.com/en/api/messages#errors has them."""

    provider = "vonage"

    def accepted(self, entries: Sequence[Entry]) -> web.Response:
        return as_json({"message_uuid": entries[0]["id"]}, status=202)

    def refused(self, fault: str, entries: Sequence[Entry]) -> web.Response | None:
        # Who has opted out is told by a status webhook.
        return None if fault == "optout" else _problem(422, "1430")

    def failed(self, status: int, headers: dict[str, str]) -> web.Response:
        return _problem(status, "1000" if status == 429 else "1030", headers=headers)


def register(simulator: Simulator) -> None:
    """Serve the creation of messages, and report what became of them."""
    dialect = Vonage()

    async def create(request: web.BaseRequest) -> web.Response:
        if not _may_send(request.headers.get("Authorization", "")):
            return _problem(401, "unauthorized")
        try:
            fields = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            fields = None
        if not isinstance(fields, dict):
            return _problem(422, "invalid-json")
        if refusal := _refusal(fields):
            return refusal
        return await simulator.answer(request, dialect, [_entry(fields)])

    simulator.routes.add([("POST", "/v1/messages", create)])
    simulator.receipts.register(VonageReporter())


def _may_send(authorization: str) -> bool:
    """Whether the credentials have the right shape: there is no account to compare them with."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme == "Bearer":
        return _is_token(credentials)
    try:
        key, _, secret = base64.b64decode(credentials).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return False
    return scheme == "Basic" and bool(key and secret)


def _is_token(token: str) -> bool:
    try:
        algorithm = jwt.get_unverified_header(token)["alg"]
        claims = jwt.decode(token, options={"verify_signature": False})
        fresh = claims["iat"] - 60 <= time.time() < min(claims["exp"], claims["iat"] + 86_400)
        return algorithm == "RS256" and bool(claims["application_id"] and claims["jti"]) and fresh
    except (jwt.PyJWTError, KeyError, TypeError, ValueError):
        return False


def _is_ttl(value: Any) -> bool:
    return isinstance(value, int) and 20 <= value <= 604_800


# By parameter: whether its value is right; what is not sent is None.
VALID: dict[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str) and 0 < len(value) <= LONGEST,
    "client_ref": lambda value: value is None or len(str(value)) <= LONGEST_REFERENCE,
    "ttl": lambda value: value is None or _is_ttl(value),
    "sms": lambda value: value is None or value.get("encoding_type", "auto") in ("auto", "text", "unicode"),
    "webhook_url": lambda value: value is None or str(value).startswith("http"),
    "webhook_version": lambda value: value in (None, "v0.1", "v1"),
}


def _refusal(fields: Mapping[str, Any]) -> web.Response | None:
    """The problem of a message in which something is missing or wrong."""
    if fields.get("channel") != "sms":
        return _problem(422, "1400")
    if fields.get("message_type") != "text":
        return _problem(422, "1440")
    if not fields.get("from"):
        return _problem(422, "1420")
    if not NUMBER.fullmatch(str(fields.get("to"))):
        return _problem(422, "1430")
    invalid = [name for name, is_right in VALID.items() if not is_right(fields.get(name))]
    return _problem(422, "1150", invalid=invalid) if invalid else None


def _entry(fields: Mapping[str, Any]) -> Entry:
    target, _, attempt = str(fields.get("client_ref", "")).partition(":")
    return {
        "channel": "sms",
        "id": str(uuid4()),
        "target": target,
        "attempt": attempt,
        "address": f"+{fields['to']}",
        "subject": "",
        "text": fields["text"],
        "html": "",
    }


def _problem(
    status: int, code: str, *, invalid: Sequence[str] = (), headers: dict[str, str] | None = None
) -> web.Response:
    title, detail = PROBLEMS[code]
    type = f"{ERRORS}/messages#{code}" if code.isdecimal() else f"{ERRORS}#{code}"
    body: dict[str, Any] = {
        "type": type,
        "title": title,
        "detail": detail,
        "instance": secrets.token_hex(16),
    }
    if invalid:
        body["invalid_parameters"] = [{"name": name, "reason": "invalid value"} for name in invalid]
    return as_json(body, status=status, headers=headers)
