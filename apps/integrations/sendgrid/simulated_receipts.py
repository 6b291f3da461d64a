"""SendGrid's Event Webhook, as SendGrid sends it.

https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Mapping, Sequence

import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from apps.integrations.sendgrid import ATTEMPT, TARGET
from apps.integrations.sendgrid.receipts import SIGNATURE, TIMESTAMP
from apps.integrations.simulator.ledger import Entry
from apps.integrations.simulator.receipts import Report, Reporter

# Always the same, so that who verifies can be told before the simulator runs.
PRIVATE_KEY = ec.derive_private_key(0xCA1111011, ec.SECP256R1())
PUBLIC_KEY = base64.b64encode(
    PRIVATE_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()

_PROCESSED = {"event": "processed"}
_DELIVERED = {"event": "delivered", "response": "250 OK"}
_UNKNOWN_USER = "550 5.1.1 The email account that you tried to reach does not exist"
# By fate: the events of a mail.
FATES: dict[str, tuple[dict[str, str], ...]] = {
    "": (_PROCESSED, _DELIVERED),
    "optout": ({"event": "dropped", "reason": "Unsubscribed Address"},),
    "bounce": (
        _PROCESSED,
        {"event": "bounce", "type": "bounce", "status": "5.1.1", "reason": _UNKNOWN_USER},
    ),
    "complain": (_PROCESSED, _DELIVERED, {"event": "spamreport"}),
    "stop": (_PROCESSED, _DELIVERED, {"event": "unsubscribe"}),
}


class SendGridReporter(Reporter):
    """Events of many mails in one request, signed with a key of its own."""

    provider = "sendgrid"
    most = 500
    gather = 0.1

    def reports(self, entry: Entry, fate: str) -> list[Report]:
        return [Report(orjson.dumps(_common(entry) | own)) for own in FATES[fate]]

    def request(self, url: str, reports: Sequence[Report]) -> tuple[str, Mapping[str, str], bytes]:
        body = b"[" + b",\r\n".join(report.body for report in reports) + b"]\r\n"
        timestamp = str(int(time.time()))
        signature = PRIVATE_KEY.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            TIMESTAMP: timestamp,
            SIGNATURE: base64.b64encode(signature).decode(),
        }
        return url, headers, body


def _common(entry: Entry) -> dict[str, str | int]:
    message_id, _, index = entry["id"].partition(".")
    return {
        "email": entry["address"],
        "timestamp": int(time.time()),
        "smtp-id": f"<{message_id}@simulator.invalid>",
        "sg_event_id": secrets.token_urlsafe(16),
        "sg_message_id": f"{message_id}.recvd-simulator-{index}.0",
        TARGET: entry["target"],
        ATTEMPT: entry["attempt"],
    }
