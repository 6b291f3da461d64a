"""Vonage's status webhooks and inbound messages, as Vonage sends them.

https://developer.vonage.com/en/api/messages#message-status
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import jwt
import orjson

from apps.integrations.simulator.ledger import Entry
from apps.integrations.simulator.receipts import Report, Reporter

API_KEY = "simulated"
SECRET = "simulated-signature-secret-of-no-account"  # noqa: S105 (of an account that does not exist)
SENDER = "15005550006"
DETAILS = {"1190": "Absent Subscriber Permanent", "1240": "Illegal Number"}
# By fate: the statuses of a message, with their error codes, and what the person answers.
FATES: dict[str, tuple[tuple[tuple[str, str], ...], str]] = {
    "": ((("submitted", ""), ("delivered", "")), ""),
    "optout": ((("rejected", "1240"),), ""),
    "bounce": ((("submitted", ""), ("rejected", "1190")), ""),
    "complain": ((("submitted", ""), ("delivered", "")), "STOP"),
    "stop": ((("submitted", ""), ("delivered", "")), "STOP"),
}


class VonageReporter(Reporter):
    """One request for each report, with a token signed with the account's signature secret."""

    provider = "vonage"

    def reports(self, entry: Entry, fate: str) -> list[Report]:
        statuses, answer = FATES.get(fate, FATES[""])
        reports = [_status(entry, status, code) for status, code in statuses]
        return [*reports, self.inbound(entry["address"], answer)] if answer else reports

    def inbound(self, sender: str, text: str) -> Report:
        word = text.split(" ", 1)[0].upper()
        return _report(
            {
                "message_uuid": str(uuid4()),
                "to": SENDER,
                "from": sender.removeprefix("+"),
                "message_type": "text",
                "text": text,
                "sms": {"num_messages": "1", "keyword": word},
            }
        )

    def request(self, url: str, reports: Sequence[Report]) -> tuple[str, Mapping[str, str], bytes]:
        [report] = reports
        claims = {
            "iat": int(time.time()),
            "jti": str(uuid4()),
            "iss": "Vonage",
            "payload_hash": hashlib.sha256(report.body).hexdigest(),
            "api_key": API_KEY,
        }
        token = jwt.encode(claims, SECRET, algorithm="HS256")
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        return url, headers, report.body


def _status(entry: Entry, status: str, code: str) -> Report:
    fields: dict[str, Any] = {
        "message_uuid": entry["id"],
        "to": entry["address"].removeprefix("+"),
        "from": SENDER,
        "status": status,
        "destination": {"network_code": "12345"},
        "sms": {"count_total": "1"},
    }
    if entry["target"]:
        fields["client_ref"] = f"{entry['target']}:{entry['attempt']}"
    if code:
        fields["error"] = {
            "type": f"https://developer.vonage.com/api-errors/messages#{code}",
            "title": code,
            "detail": DETAILS[code],
            "instance": secrets.token_hex(16),
        }
    return _report(fields)


def _report(fields: Mapping[str, Any]) -> Report:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Report(orjson.dumps({"channel": "sms", "timestamp": now, **fields}))
