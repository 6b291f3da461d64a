"""Amazon SES, as its clients see it: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from email.utils import parseaddr
from typing import Any

import orjson
from aiohttp import web

from apps.integrations.ses import ATTEMPT, TARGET
from apps.integrations.ses.simulated_receipts import PEM_PATH, SesReporter, certificate
from apps.integrations.simulator.answers import as_json
from apps.integrations.simulator.ledger import Entry, unsubscribing
from apps.integrations.simulator.server import Dialect, Simulator

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=A[KS]IA[A-Z0-9]{16}/\d{8}/[a-z0-9-]+/ses/aws4_request, "
    r"SignedHeaders=[a-z0-9;-]*\bx-amz-date\b[a-z0-9;-]*, Signature=[0-9a-f]{64}"
)
ADDRESS = re.compile(r"[^@\s\x7f-\uffff]+@[^@\s\x7f-\uffff]+")
# https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_MessageHeader.html
HEADER = re.compile(r"[ -~]{1,870}")
TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")
LARGEST = 40 * 1024**2  # bytes: https://docs.aws.amazon.com/ses/latest/dg/quotas.html


class Invalid(Exception):
    """A BadRequestException, with its text."""


class Ses(Dialect):
    """Answers as https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html has them."""

    provider = "ses"

    def accepted(self, entries: Sequence[Entry]) -> web.Response:
        return as_json({"MessageId": entries[0]["id"]})

    def refused(self, fault: str, entries: Sequence[Entry]) -> web.Response | None:
        if fault == "optout":  # told later, by an event
            return None
        return _error(400, "BadRequestException", "Local address contains control or whitespace")

    def failed(self, status: int, headers: dict[str, str]) -> web.Response:
        if status == 429:
            return _error(429, "TooManyRequestsException", "Maximum sending rate exceeded.", headers)
        return _error(status, "ServiceUnavailableException", "Service is unavailable", headers)


def register(simulator: Simulator) -> None:
    """Serve SendEmail and the certificate of SNS, and report what became of the mails."""
    dialect = Ses()

    async def send_email(request: web.BaseRequest) -> web.Response:
        if not AUTHORIZATION.fullmatch(request.headers.get("Authorization", "")):
            message = "The security token included in the request is invalid."
            return _error(403, "UnrecognizedClientException", message)
        try:
            entry = _entry(await request.read())
        except Invalid as error:
            return _error(400, "BadRequestException", str(error))
        return await simulator.answer(request, dialect, [entry])

    async def pem(_request: web.BaseRequest) -> web.Response:
        return web.Response(body=certificate().pem, content_type="binary/octet-stream")

    simulator.routes.add([("POST", "/v2/email/outbound-emails", send_email), ("GET", PEM_PATH, pem)])
    simulator.receipts.register(SesReporter(lambda: simulator.url))


def _entry(body: bytes) -> Entry:
    """The one message of a request in which nothing is missing; raises Invalid."""
    try:
        mail = orjson.loads(body)
        simple = mail["Content"]["Simple"]
        subject, parts = simple["Subject"]["Data"], simple["Body"]
        [address] = mail["Destination"]["ToAddresses"]
        tags = {tag["Name"]: tag["Value"] for tag in mail.get("EmailTags", ())}
        headers = {header["Name"]: header["Value"] for header in simple.get("Headers", ())}
    except (ValueError, KeyError, TypeError) as error:
        raise Invalid("Malformed request") from error
    _check(mail, address, tags, parts)
    if not all(HEADER.fullmatch(value) for value in headers.values()):
        raise Invalid("Header value is not printable ASCII of 870 characters at most.")
    entry: Entry = {
        "channel": "email",
        "id": f"{uuid.uuid4().hex[:16]}-{uuid.uuid4()}-000000",
        "target": tags.get(TARGET, ""),
        "attempt": tags.get(ATTEMPT, ""),
        "address": address,
        "subject": subject,
        "text": parts.get("Text", {}).get("Data", ""),
        "html": parts.get("Html", {}).get("Data", ""),
    }
    return unsubscribing(entry, headers)


def _check(mail: dict[str, Any], address: str, tags: dict[str, str], parts: dict[str, Any]) -> None:
    if not ADDRESS.fullmatch(parseaddr(mail.get("FromEmailAddress", ""))[1]):
        raise Invalid("Missing final '@domain'")
    if "@" not in address:
        raise Invalid("Missing final '@domain'")
    if not ADDRESS.fullmatch(address):
        raise Invalid("Local address contains control or whitespace")
    if not all(TAG.fullmatch(word) for tag in tags.items() for word in tag):
        raise Invalid("Only alphanumeric ASCII characters, '_', and '-' are allowed in message tags.")
    if not parts:
        raise Invalid("The message has no body.")
    if sum(len(part["Data"].encode()) for part in parts.values()) > LARGEST:
        raise Invalid(f"Message length is more than {LARGEST} bytes long.")


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return as_json({"message": message}, status=status, headers={"x-amzn-ErrorType": code, **(headers or {})})
