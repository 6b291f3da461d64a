"""Webhooks as Postmark and Mailgun send them; the other services are silent here.

https://postmarkapp.com/developer/webhooks/webhooks-overview
https://documentation.mailgun.com/docs/mailgun/user-manual/tracking-messages/#webhooks
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from apps.integrations.anymail import ATTEMPT, TARGET
from apps.integrations.simulator.ledger import Entry
from apps.integrations.simulator.receipts import Report, Reporter

# Always the same, so that who verifies can be told before the simulator runs.
WEBHOOK_SECRET = "simulator:simulated"  # noqa: S105 (in the URL that Postmark was given)
SIGNING_KEY = "key-simulated"  # of Mailgun

Events = Mapping[str, tuple[Mapping[str, Any], ...]]  # by fate: a mail's, in order

_UNKNOWN_USER = "550 5.1.1 The email account that you tried to reach does not exist"
_POSTMARK_DELIVERED = {"RecordType": "Delivery", "Details": "250 OK"}
POSTMARK: Events = {
    "": (_POSTMARK_DELIVERED,),
    "bounce": (
        {"RecordType": "Bounce", "Type": "HardBounce", "TypeCode": 1, "Details": f"smtp;{_UNKNOWN_USER}"},
    ),
    "complain": (_POSTMARK_DELIVERED, {"RecordType": "SpamComplaint", "Type": "SpamComplaint"}),
    "stop": (
        _POSTMARK_DELIVERED,
        {
            "RecordType": "SubscriptionChange",
            "SuppressSending": True,
            "SuppressionReason": "ManualSuppression",
            "Origin": "Recipient",
        },
    ),
}
_MAILGUN_DELIVERED = {"event": "delivered", "delivery-status": {"code": 250, "message": "OK"}}
MAILGUN: Events = {
    "": (_MAILGUN_DELIVERED,),
    "optout": (
        {
            "event": "failed",
            "severity": "permanent",
            "reason": "suppress-unsubscribe",
            "delivery-status": {"code": 606, "message": "", "description": "Not delivering to unsubscribed"},
        },
    ),
    "bounce": (
        {
            "event": "failed",
            "severity": "permanent",
            "reason": "bounce",
            "delivery-status": {"code": 550, "message": _UNKNOWN_USER.removeprefix("550 ")},
        },
    ),
    "complain": (_MAILGUN_DELIVERED, {"event": "complained"}),
    "stop": (_MAILGUN_DELIVERED, {"event": "unsubscribed"}),
}


class AnymailReporter(Reporter):
    """One request for each report, in the words of the service that took the mail."""

    provider = "anymail"

    def reports(self, entry: Entry, fate: str) -> list[Report]:
        events, worded = _SERVICES.get(entry.get("service", ""), ({}, _postmark))
        return [Report(orjson.dumps(worded(entry, own))) for own in events.get(fate, ())]

    def request(self, url: str, reports: Sequence[Report]) -> tuple[str, Mapping[str, str], bytes]:
        [report] = reports
        credentials = base64.b64encode(WEBHOOK_SECRET.encode()).decode()
        headers = {"Content-Type": "application/json", "Authorization": f"Basic {credentials}"}
        return url, headers, report.body


def _postmark(entry: Entry, own: Mapping[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    bounce = own["RecordType"] in ("Bounce", "SpamComplaint")
    times = {"Delivery": "DeliveredAt", "SubscriptionChange": "ChangedAt"}
    return {
        **own,
        "MessageID": entry["id"],
        "Email" if bounce else "Recipient": entry["address"],
        times.get(own["RecordType"], "BouncedAt"): now,
        "Metadata": {TARGET: entry["target"], ATTEMPT: entry["attempt"]},
        **({"ID": secrets.randbelow(10**12)} if bounce else {}),
    }


def _mailgun(entry: Entry, own: Mapping[str, Any]) -> dict[str, Any]:
    event = {
        **own,
        "id": secrets.token_urlsafe(16),
        "timestamp": time.time(),
        "recipient": entry["address"],
        "message": {"headers": {"message-id": entry["id"].strip("<>"), "to": entry["address"]}},
        "user-variables": {TARGET: entry["target"], ATTEMPT: entry["attempt"]},
    }
    return {"signature": signature(), "event-data": event}


def signature(key: str = SIGNING_KEY, *, at: float | None = None) -> dict[str, str]:
    """As Mailgun signs: https://documentation.mailgun.com/docs/mailgun/user-manual/tracking-messages/#webhooks.

    `at` is seconds since 1970; now, unless it is given.
    """
    timestamp, token = str(int(time.time() if at is None else at)), secrets.token_hex(25)
    signed = hmac.new(key.encode(), (timestamp + token).encode(), hashlib.sha256).hexdigest()
    return {"timestamp": timestamp, "token": token, "signature": signed}


_SERVICES: dict[str, tuple[Events, Callable[[Entry, Mapping[str, Any]], dict[str, Any]]]] = {
    "postmark": (POSTMARK, _postmark),
    "mailgun": (MAILGUN, _mailgun),
}
