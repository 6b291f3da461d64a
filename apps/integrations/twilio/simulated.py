"""Twilio, as its clients see it: https://www.twilio.com/docs/messaging/api/message-resource."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from functools import lru_cache

from aiohttp import web
from yarl import URL

from apps.integrations.simulator.answers import as_json
from apps.integrations.simulator.ledger import Entry
from apps.integrations.simulator.server import Dialect, Simulator
from apps.integrations.twilio.simulated_receipts import TwilioReporter

MESSAGES = re.compile(r"/2010-04-01/Accounts/[^/]+/Messages\.json")
ACCOUNT = re.compile(r"AC[0-9a-fA-F]{32}")
NUMBER = re.compile(r"\+[1-9]\d{6,14}")
LONGEST = 1_600  # characters
REFERENCE = re.compile(r"[?&](target|attempt)=([^&#]*)")
TEXTS = {
    20003: "Authenticate",
    20429: "Too Many Requests",
    20503: "Service unavailable",
    21211: "Invalid 'To' Phone Number",
    21602: "Message body is required",
    21603: "A 'From' phone number is required.",
    21604: "A 'To' phone number is required.",
    21610: "Attempt to send to unsubscribed recipient",
    21617: "The concatenated message body exceeds the 1600 character limit.",
}


class Twilio(Dialect):
    """Answers as https://www.twilio.com/docs/usage/twilios-response has them."""

    provider = "twilio"

    def accepted(self, entries: Sequence[Entry]) -> web.Response:
        return as_json(_resource(entries[0]), status=201)

    def refused(self, fault: str, entries: Sequence[Entry]) -> web.Response | None:
        return _error(400, 21610 if fault == "optout" else 21211)

    def failed(self, status: int, headers: dict[str, str]) -> web.Response:
        return _error(status, 20429 if status == 429 else 20503, headers)


def register(simulator: Simulator) -> None:
    """Serve the creation of messages, and report what became of them."""
    dialect = Twilio()

    async def create(request: web.BaseRequest) -> web.Response:
        if _account(request) != request.path.split("/")[3]:
            return _error(401, 20003)
        form = _form((await request.read()).decode())
        if code := _refusal(form):
            return _error(400, code)
        return await simulator.answer(request, dialect, [_entry(form)])

    simulator.routes.add([("POST", MESSAGES, create)])
    simulator.receipts.register(TwilioReporter())


def _account(request: web.BaseRequest) -> str | None:
    """The account the credentials are of, if they have the right shape."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    try:
        account, _, token = base64.b64decode(credentials).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return account if scheme == "Basic" and token and ACCOUNT.fullmatch(account) else None


def _refusal(form: Mapping[str, str]) -> int:
    """The error code of a form in which something is missing or wrong; 0 if nothing is."""
    if not form.get("To"):
        return 21604
    if not NUMBER.fullmatch(form["To"]):
        return 21211
    if not (form.get("From") or form.get("MessagingServiceSid")):
        return 21603
    if not form.get("Body"):
        return 21602
    return 21617 if len(form["Body"]) > LONGEST else 0


def _form(encoded: str) -> Mapping[str, str]:
    """The fields of a form. yarl's decoder, in C, takes 6 µs where `unquote_plus` takes 12."""
    return URL.build(query_string=encoded, encoded=True).query


def _entry(form: Mapping[str, str]) -> Entry:
    reference = dict(REFERENCE.findall(form.get("StatusCallback", "")))
    return {
        "channel": "sms",
        "id": f"SM{secrets.token_hex(16)}",
        "target": reference.get("target", ""),
        "attempt": reference.get("attempt", ""),
        "address": form["To"],
        "subject": "",
        "text": form["Body"],
        "html": "",
    }


def _resource(entry: Entry) -> dict[str, object]:
    now = _date(int(time.time()))
    return {
        "sid": entry["id"],
        "to": entry["address"],
        "body": entry["text"],
        "status": "queued",
        "direction": "outbound-api",
        "api_version": "2010-04-01",
        "num_segments": "1",
        "num_media": "0",
        "date_created": now,
        "date_updated": now,
        "date_sent": None,
        "error_code": None,
        "error_message": None,
        "price": None,
        "price_unit": "USD",
    }


@lru_cache(1)
def _date(second: int) -> str:
    return formatdate(second)


def _error(status: int, code: int, headers: dict[str, str] | None = None) -> web.Response:
    more_info = f"https://www.twilio.com/docs/errors/{code}"
    body = {"code": code, "message": TEXTS[code], "more_info": more_info, "status": status}
    return as_json(body, status=status, headers=headers)
