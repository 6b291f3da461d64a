"""SendGrid's Event Webhook: https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from apps.integrations.contract import (
    BadReceipt,
    BadSignature,
    ReceiptEvent,
    ReceiptKind,
    ReceivedRequest,
    Receiver,
)
from apps.integrations.receiving import (
    LONGEST_ADDRESS,
    LONGEST_CODE,
    LONGEST_MESSAGE_ID,
    event_id,
    reference,
    text,
)
from apps.integrations.sendgrid import ATTEMPT, TARGET

# https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
SIGNATURE = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP = "X-Twilio-Email-Event-Webhook-Timestamp"
# Seconds between the vendor's signing and our clock, either way. Events are repeated for 24 hours
# (https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/troubleshooting), and nobody says
# whether a repetition is signed anew: less would lose, after an outage of ours, what was signed before
# it. A replay within a day does no harm, since an event is stored once.
TOLERANCE = 25 * 3600.0


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a word of the vendor's says. `opts_out`: also that somebody had opted out, perhaps unheard."""

    kind: ReceiptKind
    code: str = ""
    dead: bool = False
    opts_out: bool = False


_ACCEPTED = Meaning(ReceiptKind.ACCEPTED)
_OTHER = Meaning(ReceiptKind.OTHER)

# By `event` and what tells its kinds apart: a bounce's `type`, a dropped one's `reason` in lower case; "" is
# any other. Delivery events: https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event#delivery-events
# Engagement events: https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event#engagement-events
MEANINGS: dict[tuple[str, str], Meaning] = {
    ("processed", ""): _ACCEPTED,
    ("deferred", ""): _ACCEPTED,  # the vendor goes on trying, for up to 72 hours
    ("delivered", ""): Meaning(ReceiptKind.DELIVERED),
    ("bounce", "bounce"): Meaning(ReceiptKind.BOUNCED, dead=True),
    ("bounce", "blocked"): Meaning(ReceiptKind.BOUNCED),  # refused this once; the next may arrive
    ("bounce", ""): Meaning(ReceiptKind.BOUNCED),
    # Dropped: never sent, mostly since the address is on one of the vendor's suppression lists:
    # https://www.twilio.com/docs/sendgrid/ui/sending-email/index-suppressions
    ("dropped", "bounced address"): Meaning(ReceiptKind.BOUNCED, "bounced_address", dead=True),
    ("dropped", "invalid"): Meaning(ReceiptKind.BOUNCED, "invalid_address", dead=True),
    # Not COMPLAINED: the complaint was about an earlier message, and this one did not arrive.
    ("dropped", "spam reporting address"): Meaning(ReceiptKind.BOUNCED, "spam_reporting_address", dead=True),
    ("dropped", "unsubscribed address"): Meaning(ReceiptKind.BOUNCED, "unsubscribed_address", opts_out=True),
    ("dropped", "invalid smtpapi header"): Meaning(ReceiptKind.BOUNCED, "invalid_smtpapi_header"),
    ("dropped", "spam content"): Meaning(ReceiptKind.BOUNCED, "spam_content"),
    ("dropped", "recipient list over package quota"): Meaning(ReceiptKind.BOUNCED, "over_quota"),
    ("dropped", ""): Meaning(ReceiptKind.BOUNCED, "dropped"),
    ("open", ""): Meaning(ReceiptKind.OPENED),
    ("click", ""): Meaning(ReceiptKind.CLICKED),
    ("spamreport", ""): Meaning(ReceiptKind.COMPLAINED),
    ("unsubscribe", ""): Meaning(ReceiptKind.OPTED_OUT),
    ("group_unsubscribe", ""): Meaning(ReceiptKind.OPTED_OUT),
    ("group_resubscribe", ""): Meaning(ReceiptKind.OPTED_IN),
}
_DETAIL = {"bounce": "type", "dropped": "reason"}

# A refusal by SMTP, plain or enhanced: https://www.rfc-editor.org/rfc/rfc3463#section-2. Only this much of
# the text is kept as the code: the rest often repeats the address.
_REFUSAL = re.compile(r"[45](?:\d\d|\.\d{1,3}\.\d{1,3})\b", re.ASCII)
# The vendor's message id is the X-Message-Id of our request, and then which machine had which recipient.
_MACHINE = re.compile(r"\.(?:filter|recv)")
_START = re.compile(r"[ \t\r\n]*\[")
_BETWEEN = re.compile(r"[ \t\r\n,]*")


class SendGridReceiver(Receiver):
    """`public_key` is the verification key as the vendor shows it: a P-256 key, base64 of its DER form."""

    key = "sendgrid"
    channel = "email"

    def __init__(self, public_key: str) -> None:
        key = load_der_public_key(base64.b64decode(public_key))
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise ValueError("The key is not one of an elliptic curve.")
        self._key = key

    def verify(self, request: ReceivedRequest) -> None:
        """See the contract. Not by the SDK's helper, which wants the body as text."""
        timestamp = request.headers.get(TIMESTAMP, "")
        if not re.fullmatch(r"[0-9]{1,12}", timestamp):
            raise BadSignature("no timestamp")
        try:
            signature = base64.b64decode(request.headers.get(SIGNATURE, ""), validate=True)
            self._key.verify(signature, timestamp.encode() + request.body, ec.ECDSA(SHA256()))
        except ValueError as error:
            raise BadSignature("the signature is not base64") from error
        except InvalidSignature as error:
            raise BadSignature("the signature is not that of these bytes") from error
        if abs(time.time() - int(timestamp)) > TOLERANCE:
            raise BadSignature("signed too long ago, or in the future")

    def parse(self, request: ReceivedRequest) -> list[ReceiptEvent]:
        """See the contract. What is no event of the vendor's becomes OTHER, so that its neighbours count."""
        return [event for value, raw in _elements(request.body) for event in _events(value, raw)]


def _elements(body: bytes) -> Iterator[tuple[Any, bytes]]:
    """The values of a JSON list, each with the bytes it was read from. Not strict about commas."""
    # What is not UTF-8 spoils no more than the string it is in, and comes out as the same bytes.
    whole = body.decode(errors="surrogateescape")
    read = json.JSONDecoder(strict=False).raw_decode
    start = _START.match(whole)
    if start is None:
        raise BadReceipt("the body is not a list in JSON")
    at = _next(whole, start.end())
    while not whole.startswith("]", at):
        try:
            value, end = read(whole, at)
        except (ValueError, RecursionError) as error:
            raise BadReceipt("the body is not JSON") from error
        yield value, whole[at:end].encode(errors="surrogateescape")
        at = _next(whole, end)


def _next(whole: str, at: int) -> int:
    between = _BETWEEN.match(whole, at)
    assert between is not None  # it matches nothing, too
    return between.end()


def _events(value: Any, raw: bytes) -> Iterator[ReceiptEvent]:
    fields: dict[str, Any] = value if isinstance(value, dict) else {}
    meaning = _meaning(fields)
    event = ReceiptEvent(
        event_id=event_id(fields.get("sg_event_id"), raw),
        kind=meaning.kind,
        target=reference(fields.get(TARGET)),
        attempt=reference(fields.get(ATTEMPT)),
        provider_message_id=_MACHINE.split(text(fields.get("sg_message_id"), LONGEST_MESSAGE_ID))[0],
        address=_address(text(fields.get("email"), LONGEST_ADDRESS)),
        code=meaning.code or _code(fields),
        address_is_dead=meaning.dead,
        occurred_at=_time(fields.get("timestamp")),
        raw=raw,
    )
    yield event
    if meaning.opts_out:
        yield replace(event, event_id=f"{event.event_id}:opted_out", kind=ReceiptKind.OPTED_OUT)


def _meaning(fields: dict[str, Any]) -> Meaning:
    word = text(fields.get("event"), LONGEST_CODE)
    detail = text(fields.get(_DETAIL.get(word, "")), LONGEST_CODE).lower()
    return MEANINGS.get((word, detail)) or MEANINGS.get((word, "")) or _OTHER


def _code(fields: dict[str, Any]) -> str:
    for name in ("status", "reason", "response"):
        if found := _REFUSAL.match(text(fields.get(name), LONGEST_CODE)):
            return found[0]
    return ""


def _address(value: str) -> str:
    """As an address is kept here: the domain in lower case, which is ASCII since that is what we sent."""
    local, at, domain = value.rpartition("@")
    return f"{local}{at}{domain.lower()}"


def _time(value: Any) -> datetime | None:
    """Seconds since 1970, UTC."""
    try:
        return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else None
    except (ValueError, OverflowError, OSError):
        return None
