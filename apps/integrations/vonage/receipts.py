"""What Vonage reports: what became of our messages, and messages that people send us.

https://developer.vonage.com/en/api/messages#message-status
https://developer.vonage.com/en/api/messages#inbound-message
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import jwt
import orjson

from apps.integrations.contract import (
    BadReceipt,
    BadSignature,
    ReceiptEvent,
    ReceiptKind,
    ReceivedRequest,
    Receiver,
)
from apps.integrations.opting import asked
from apps.integrations.receiving import (
    LONGEST_ADDRESS,
    LONGEST_CODE,
    LONGEST_MESSAGE_ID,
    event_id,
    reference,
    text,
)

# Seconds between the vendor's signing and our clock, either way. Reports are repeated for 24 hours, and
# nobody says whether a repetition is signed anew: less would lose, after an outage of ours, what was signed
# before it. A replay within a day does no harm, since an event is stored once.
# https://api.support.vonage.com/hc/en-us/articles/360028543292
TOLERANCE = 25 * 3600.0

# https://developer.vonage.com/en/messages/concepts/messages-status-callbacks
STATUSES: dict[str, ReceiptKind] = {
    "submitted": ReceiptKind.ACCEPTED,  # the carrier has it
    "delivered": ReceiptKind.DELIVERED,
    "read": ReceiptKind.OPENED,
    "rejected": ReceiptKind.BOUNCED,
    "undeliverable": ReceiptKind.BOUNCED,
}
# With "submitted": the handset was busy, and it is tried again for a day or two.
BUSY = "1220"
# Error codes after which no message to that number will ever arrive; in both cases the vendor says to remove
# it. Codes from 1000 are the Messages API's: https://developer.vonage.com/en/api-errors/messages; those below
# 100 the carriers', as the SMS API passes them on:
# https://api.support.vonage.com/hc/en-us/articles/204014733-Vonage-SMS-Delivery-Error-Codes-and-Descriptions
# Not 1180 and 2 (switched off, or out of reach), not 1210, 1270 and 1280 (this text, or this plan), not 1260
# and 12 (no route), not 1330 and 1 (unknown).
DEAD = {
    "1170",  # the number is invalid
    "1190",  # absent for good
    "1430",  # the number is invalid
    "3",  # absent for good
    "4",  # barred: permanent, until its owner has the carrier lift that
}
# Who answered STOP, which we may have missed:
# https://developer.vonage.com/en/opt-out-assist/guides/messaging-opted-out-numbers
OPTED_OUT = {"1240", "9"}


class VonageReceiver(Receiver):
    """`api_key` is the account's, and `signature_secret` the one with which it signs webhooks."""

    key = "vonage"
    channel = "sms"
    secrets = frozenset({"signature_secret"})

    def __init__(self, api_key: str, signature_secret: str) -> None:
        self._api_key = api_key
        self._secret = signature_secret

    def verify(self, request: ReceivedRequest) -> None:
        """See the contract: https://developer.vonage.com/en/getting-started/concepts/webhooks#signed-webhooks."""
        claims = self._claims(request.headers)
        if claims.get("api_key") != self._api_key:
            raise BadSignature("signed by another account")
        if claims.get("payload_hash") != hashlib.sha256(request.body).hexdigest():
            raise BadSignature("the signature is not that of these bytes")
        issued = claims.get("iat")
        if not isinstance(issued, int | float) or not abs(time.time() - issued) <= TOLERANCE:
            raise BadSignature("signed too long ago, or in the future")

    def _claims(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """What the token says, which the vendor has signed."""
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise BadSignature("no token")
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self._secret, algorithms=["HS256"], options={"verify_iat": False, "verify_aud": False}
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise BadSignature("the token is not signed with this secret") from error
        return claims

    def parse(self, request: ReceivedRequest) -> list[ReceiptEvent]:
        """See the contract. One request is one report, and its body the event's `raw`."""
        fields = _fields(request.body)
        id = text(fields.get("message_uuid"), LONGEST_MESSAGE_ID)
        if not id:
            raise BadReceipt("it is about no message")
        if "status" in fields:
            return _reported(request.body, fields, id)
        return [_received(request.body, fields, id)]


def _fields(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadReceipt("the body is not JSON") from error
    if not isinstance(value, dict):
        raise BadReceipt("the body is not an object")
    return value


def _reported(body: bytes, fields: Mapping[str, Any], id: str) -> list[ReceiptEvent]:
    """What became of a message of ours. Of another channel's, say WhatsApp's, nothing is to be learned."""
    status = text(fields.get("status"), LONGEST_CODE)
    code = _code(fields.get("error"))
    kind = _kind(status, code) if _is_sms(fields) else ReceiptKind.OTHER
    target, _, attempt = text(fields.get("client_ref"), 100).partition(":")
    event = ReceiptEvent(
        event_id=event_id(f"{id}:{status}", body),
        kind=kind,
        target=reference(target),
        attempt=reference(attempt),
        provider_message_id=id,
        address=_number(fields.get("to")),
        code=code,
        address_is_dead=kind is ReceiptKind.BOUNCED and code in DEAD,
        occurred_at=_time(fields.get("timestamp")),
        raw=body,
    )
    if kind is ReceiptKind.BOUNCED and code in OPTED_OUT:
        opted_out = replace(event, event_id=f"{event.event_id}:opted_out", kind=ReceiptKind.OPTED_OUT)
        return [event, opted_out]
    return [event]


def _received(body: bytes, fields: Mapping[str, Any], id: str) -> ReceiptEvent:
    """A message from a person."""
    message = fields.get("text")
    is_text = _is_sms(fields) and isinstance(message, str)
    return ReceiptEvent(
        event_id=event_id(id, body),
        kind=asked(str(message)) if is_text else ReceiptKind.OTHER,
        provider_message_id=id,
        address=_number(fields.get("from")),
        occurred_at=_time(fields.get("timestamp")),
        raw=body,
    )


def _is_sms(fields: Mapping[str, Any]) -> bool:
    return bool(fields.get("channel") == "sms")


def _kind(status: str, code: str) -> ReceiptKind:
    if status == "submitted" and code == BUSY:
        return ReceiptKind.DEFERRED
    return STATUSES.get(status, ReceiptKind.OTHER)


def _code(error: Any) -> str:
    """The number an error has for its title, or at the end of its type. Some descriptions nest the error."""
    if isinstance(error, dict) and isinstance(error.get("error"), dict):
        error = error["error"]
    if not isinstance(error, dict):
        return ""
    for name in (error.get("title"), str(error.get("type")).rpartition("#")[2]):
        if (code := str(name)).isdecimal() and code.isascii():
            return code[:LONGEST_CODE]
    return ""


def _number(value: Any) -> str:
    """E.164, which the vendor writes without its +; a sender's name as it is."""
    number = text(value, LONGEST_ADDRESS - 1)
    return f"+{number}" if number.isascii() and number.isdecimal() else number


def _time(value: Any) -> datetime | None:
    """ISO 8601 with its offset."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
        return at.astimezone(UTC) if at is not None and at.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
