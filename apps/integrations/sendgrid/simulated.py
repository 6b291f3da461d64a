"""SendGrid, as its clients see it: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import web

from apps.integrations.sendgrid import ATTEMPT, TARGET
from apps.integrations.sendgrid.simulated_receipts import SendGridReporter
from apps.integrations.simulator.answers import as_json
from apps.integrations.simulator.faults import magic
from apps.integrations.simulator.ledger import Entry, unsubscribing
from apps.integrations.simulator.server import Dialect, Simulator

PASSES = 4  # "You can have up to 4 nested substitutions"
MOST = 1_000  # personalizations
MOST_BYTES = 10_000  # of substitutions, and of custom arguments, per personalization
ADDRESS = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+")


class Invalid(Exception):
    """A 400, with the field it is about."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field, self.message = field, message


class SendGrid(Dialect):
    """Answers as https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors has them."""

    provider = "sendgrid"

    def accepted(self, entries: Sequence[Entry]) -> web.Response:
        return web.Response(status=202, headers={"X-Message-Id": entries[0]["id"].partition(".")[0]})

    def refused(self, fault: str, entries: Sequence[Entry]) -> web.Response | None:
        if fault == "optout":  # told later, by an event
            return None
        bad = [index for index, entry in enumerate(entries) if magic(entry["address"]) == "reject"]
        message = "Does not contain a valid address."
        return _errors(400, *((f"personalizations.{index}.to.0.email", message) for index in bad or [0]))

    def failed(self, status: int, headers: dict[str, str]) -> web.Response:
        message = "too many requests" if status == 429 else "service unavailable"
        return _errors(status, (None, message), headers=headers)


def register(simulator: Simulator) -> None:
    """Serve Mail Send, and report what became of the mails."""
    dialect = SendGrid()

    async def mail_send(request: web.BaseRequest) -> web.Response:
        if not request.headers.get("Authorization", "").startswith("Bearer SG."):
            message = "The provided authorization grant is invalid, expired, or revoked"
            return _errors(401, (None, message))
        try:
            mail = orjson.loads(await request.read())
            entries = list(_entries(mail))
        except orjson.JSONDecodeError:
            return _errors(400, (None, "Bad Request"))
        except Invalid as error:
            return _errors(400, (error.field, error.message))
        return await simulator.answer(request, dialect, entries)

    simulator.routes.add([("POST", "/v3/mail/send", mail_send)])
    simulator.receipts.register(SendGridReporter())


def _entries(mail: dict[str, Any]) -> list[Entry]:
    personalizations = _checked(mail)
    message_id = uuid.uuid4().hex[:22]
    contents = {part["type"]: part["value"] for part in mail["content"]}
    text, html = contents.get("text/plain", ""), contents.get("text/html", "")
    return [
        _entry(own, own.get("subject") or mail.get("subject", ""), text, html, f"{message_id}.{index}")
        for index, own in enumerate(personalizations)
    ]


def _entry(own: dict[str, Any], subject: str, text: str, html: str, message_id: str) -> Entry:
    tags = own.get("substitutions") or {}
    reference = own.get("custom_args") or {}
    entry: Entry = {
        "channel": "email",
        "id": message_id,
        "target": reference.get(TARGET, ""),
        "attempt": reference.get(ATTEMPT, ""),
        "address": own["to"][0]["email"],
        "subject": _substituted(subject, tags),
        "text": _substituted(text, tags),
        "html": _substituted(html, tags),
    }
    return unsubscribing(entry, own.get("headers") or {})


def _substituted(text: str, tags: dict[str, str]) -> str:
    """As the vendor does it, also within what was substituted."""
    for _ in range(PASSES):
        before = text
        for tag, value in tags.items():
            if tag in text:
                text = text.replace(tag, value)
        if text is before:
            break
    return text


def _checked(mail: dict[str, Any]) -> list[dict[str, Any]]:
    """The personalizations of a request in which nothing is missing; raises Invalid."""
    if not ADDRESS.fullmatch((mail.get("from") or {}).get("email") or ""):
        raise Invalid("from.email", "The from object must be provided for every email send.")
    if not mail.get("content") or not all(part.get("value") for part in mail["content"]):
        raise Invalid("content", "The content value must be a string at least one character in length.")
    personalizations: list[dict[str, Any]] = mail.get("personalizations") or []
    if not personalizations:
        raise Invalid("personalizations", "You must have at least one personalization.")
    if len(personalizations) > MOST:
        raise Invalid("personalizations", "The personalization block is limited to 1000 personalizations.")
    seen: set[str] = set()
    for index, own in enumerate(personalizations):
        _check_one(f"personalizations.{index}", own, mail, seen)
    return personalizations


def _check_one(field: str, own: dict[str, Any], mail: dict[str, Any], seen: set[str]) -> None:
    address = own["to"][0].get("email") or "" if own.get("to") else ""
    if not ADDRESS.fullmatch(address):
        raise Invalid(f"{field}.to.0.email", "Does not contain a valid address.")
    if address.lower() in seen:
        raise Invalid(
            field, "Each unique email address in the personalizations array should only be included once."
        )
    seen.add(address.lower())
    if not (own.get("subject") or mail.get("subject")):
        raise Invalid(f"{field}.subject", "The subject is required.")
    for name in ("substitutions", "custom_args"):
        pairs = own.get(name) or {}
        if sum(len(key) + len(value) for key, value in pairs.items()) * 4 > MOST_BYTES and (
            sum(len(key.encode()) + len(value.encode()) for key, value in pairs.items()) > MOST_BYTES
        ):
            raise Invalid(f"{field}.{name}", f"The {name} must not exceed 10000 bytes.")


def _errors(
    status: int, *errors: tuple[str | None, str], headers: dict[str, str] | None = None
) -> web.Response:
    body = {"errors": [{"message": message, "field": field, "help": None} for field, message in errors]}
    return as_json(body, status=status, headers=headers)
