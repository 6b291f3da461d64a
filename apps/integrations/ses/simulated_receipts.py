"""SES's events, as SNS posts them: https://docs.aws.amazon.com/sns/latest/dg/http-notification-json.html."""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from apps.integrations.ses import ATTEMPT, TARGET, sns
from apps.integrations.simulator.ledger import Entry
from apps.integrations.simulator.receipts import Report, Reporter

TOPIC = "arn:aws:sns:us-east-1:000000000000:simulated"
SENDER = "hello@carillon.example"
CERTIFICATES = "/sns/"  # the path they are served under
PEM_PATH = re.compile(CERTIFICATES + r"SimpleNotificationService-[0-9a-f]{32}\.pem")

_SEND: tuple[str, str, dict[str, Any]] = ("Send", "send", {})
_DELIVERY: tuple[str, str, dict[str, Any]] = (
    "Delivery",
    "delivery",
    {"processingTimeMillis": 10, "smtpResponse": "250 OK", "reportingMTA": "mta.simulator.invalid"},
)
# By fate: the events of a mail, as name, section and what is in that.
FATES: dict[str, tuple[tuple[str, str, dict[str, Any]], ...]] = {
    "": (_SEND, _DELIVERY),
    "optout": (
        _SEND,
        ("Bounce", "bounce", {"bounceType": "Permanent", "bounceSubType": "OnAccountSuppressionList"}),
    ),
    "bounce": (_SEND, ("Bounce", "bounce", {"bounceType": "Permanent", "bounceSubType": "General"})),
    "complain": (_SEND, _DELIVERY, ("Complaint", "complaint", {"complaintFeedbackType": "abuse"})),
    "stop": (
        _SEND,
        _DELIVERY,
        (
            "Subscription",
            "subscription",
            {"source": "UnsubscribeHeader", "newTopicPreferences": {"unsubscribeAll": True}},
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Certificate:
    """A signing certificate with its key. Each has a path of its own."""

    key: rsa.RSAPrivateKey
    pem: bytes
    path: str


@cache
def certificate() -> Certificate:
    """The one this process signs with, made by itself at its first use (0.1 s)."""
    key = rsa.generate_private_key(65_537, 2_048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("sns.amazonaws.com")]), critical=False)
        .sign(key, SHA256())
    )
    path = f"{CERTIFICATES}SimpleNotificationService-{made.fingerprint(SHA256()).hex()[:32]}.pem"
    return Certificate(key, made.public_bytes(Encoding.PEM), path)


class SesReporter(Reporter):
    """One SNS message for each event. `url` tells where the simulator is, which serves the certificate."""

    provider = "ses"

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url

    def reports(self, entry: Entry, fate: str) -> list[Report]:
        return [Report(_published(_event(entry, *event))) for event in FATES[fate]]

    def request(self, url: str, reports: Sequence[Report]) -> tuple[str, Mapping[str, str], bytes]:
        [report] = reports
        fields = orjson.loads(report.body)
        signature = certificate().key.sign(sns.canonical(fields), PKCS1v15(), SHA256())
        signed = {
            **fields,
            "SignatureVersion": "2",
            "Signature": base64.b64encode(signature).decode(),
            "SigningCertURL": self._url() + certificate().path,
            "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe",
        }
        headers = {
            "Content-Type": "text/plain; charset=UTF-8",
            "x-amz-sns-message-type": fields["Type"],
            "x-amz-sns-message-id": fields["MessageId"],
            "x-amz-sns-topic-arn": fields["TopicArn"],
        }
        return url, headers, orjson.dumps(signed, option=orjson.OPT_INDENT_2)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _published(event: dict[str, Any]) -> bytes:
    """A message of SNS, not signed yet: a repetition has the same id and time."""
    fields = {
        "Type": sns.NOTIFICATION,
        "MessageId": str(uuid.uuid4()),
        "TopicArn": TOPIC,
        "Subject": "Amazon SES Email Event Notification",
        "Message": orjson.dumps(event).decode(),
        "Timestamp": _now(),
    }
    return orjson.dumps(fields)


def _event(entry: Entry, name: str, section: str, own: dict[str, Any]) -> dict[str, Any]:
    mail = {
        "timestamp": _now(),
        "source": SENDER,
        "sendingAccountId": "000000000000",
        "messageId": entry["id"],
        "destination": [entry["address"]],
        "headersTruncated": False,
        "headers": [{"name": "To", "value": entry["address"]}],
        "commonHeaders": {"to": [entry["address"]], "messageId": entry["id"], "subject": entry["subject"]},
        "tags": {
            "ses:from-domain": ["carillon.example"],
            TARGET: [entry["target"]],
            ATTEMPT: [entry["attempt"]],
        },
    }
    particulars = {**own, **_recipients(section, entry["address"])}
    return {"eventType": name, "mail": mail, section: particulars}


def _recipients(section: str, address: str) -> dict[str, Any]:
    failed = {"action": "failed", "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 user unknown"}
    recipients: dict[str, dict[str, Any]] = {
        "send": {},
        "delivery": {"recipients": [address]},
        "bounce": {"bouncedRecipients": [{"emailAddress": address, **failed}]},
        "complaint": {"complainedRecipients": [{"emailAddress": address}]},
        "subscription": {},
    }
    return recipients[section] | ({"timestamp": _now()} if section != "send" else {})
