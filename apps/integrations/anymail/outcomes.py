"""What became of a message: from the service's answer, or from why there is none."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import orjson
import requests
from anymail.exceptions import (
    AnymailInvalidAddress,
    AnymailSerializationError,
    AnymailUnsupportedFeature,
)
from anymail.message import AnymailStatus

from apps.integrations.anymail.transport import Departure
from apps.integrations.contract import (
    Accepted,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.http import MISCONFIGURED_WAIT, by_status, retry_after

DEAD = PermanentFailure("invalid_address", address_is_dead=True)
SENDER = TemporaryFailure("misconfigured", MISCONFIGURED_WAIT)
_ACCOUNT = TemporaryFailure("unauthorized", MISCONFIGURED_WAIT)
# On the service's own list, after a bounce or a complaint: it would refuse each further message too.
_SUPPRESSED = PermanentFailure("suppressed", address_is_dead=True)
_OPTED_OUT = PermanentFailure("opted_out", address_is_dead=True)
_REJECTED = PermanentFailure("rejected")

# What a refusal says, in one line, from its JSON.
_SAID: dict[str, Callable[[Any], str]] = {
    "brevo": lambda body: f"{body['code']} {body['message']}",
    "mailersend": lambda body: _all(body["errors"]) if "errors" in body else body["warnings"][0]["type"],
    "mailgun": lambda body: body["message"],
    "mailjet": lambda body: _mailjet(body["Messages"][0]["Errors"][0]),
    "mandrill": lambda body: (
        f"{body[0]['status']} {body[0].get('reject_reason')}" if isinstance(body, list) else body["name"]
    ),
    "postal": lambda body: f"{body['status']} {body['data'].get('code')}",
    "postmark": lambda body: f"{body['ErrorCode']} {body['Message']}",
    "resend": lambda body: f"{body['name']} {body['message']}",
    "sparkpost": lambda body: f"{body['errors'][0].get('code')} {body['errors'][0]['message']}",
    "unisender_go": lambda body: next(iter(body["failed_emails"].values())),
}

# The first row whose pattern matches what a service said. Anything else: the library's status of the
# recipient, then the HTTP status. Only what is plainly about the recipient calls the address dead.
BY_REFUSAL: tuple[tuple[str, str, Outcome], ...] = (
    # https://developers.brevo.com/docs/how-it-works#error-response
    ("brevo", r"\w+ email is not valid in to", DEAD),
    ("brevo", r"\w+ valid sender email required", SENDER),
    # https://developers.mailersend.com/api/v1/email.html
    ("mailersend", r".*\bto\.0\.email must be a valid email", DEAD),
    ("mailersend", r".*\bfrom\.email domain must be verified", SENDER),
    ("mailersend", r"ALL_SUPPRESSED", _SUPPRESSED),
    # https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages
    ("mailgun", r"'to' parameter is not a valid address", DEAD),
    ("mailgun", r"'from' parameter is not a valid address", SENDER),
    # https://dev.mailjet.com/email/guides/send-api-v31/; mj-0013 is an invalid address
    ("mailjet", r"mj-0013 To\b", DEAD),
    ("mailjet", r"(mj-0013|send-0008) From\b", SENDER),  # send-0008: not an authorized sender
    # https://mailchimp.com/developer/transactional/api/messages/send-new-message/
    ("mandrill", r"(Invalid_Key|PaymentRequired)", _ACCOUNT),
    ("mandrill", r"rejected (hard-bounce|spam)", _SUPPRESSED),
    ("mandrill", r"rejected unsub", _OPTED_OUT),
    ("mandrill", r"rejected (invalid-sender|unsigned)", SENDER),
    ("mandrill", r"rejected test-mode-limit", _ACCOUNT),
    # https://apiv1.postalserver.io/controllers/send/message; refusals come with 200
    ("postal", r"error (AccessDenied|InvalidServerAPIKey|ServerSuspended)", _ACCOUNT),
    ("postal", r"error (UnauthenticatedFromAddress|FromAddressMissing)", SENDER),
    ("postal", r"(error|parameter-error) ", _REJECTED),
    # https://postmarkapp.com/developer/api/overview#error-codes
    ("postmark", r"10 ", _ACCOUNT),  # bad or missing token
    ("postmark", r"100 ", TemporaryFailure("unavailable")),  # maintenance
    ("postmark", r"300 (Invalid|Error parsing) 'To'", DEAD),
    ("postmark", r"300 (Invalid|Error parsing) 'From'", SENDER),
    ("postmark", r"(400|401) ", SENDER),  # sender signature not found, not confirmed
    ("postmark", r"(405|412|413) ", _ACCOUNT),  # out of credits; account pending; it may not send
    ("postmark", r"406 ", _SUPPRESSED),  # inactive recipient: a hard bounce or a complaint
    ("postmark", r"429 ", TemporaryFailure("rate_limited")),
    # https://resend.com/docs/api-reference/errors
    ("resend", r"validation_error Invalid `to` field", DEAD),
    ("resend", r"(validation_error Invalid `from` field|invalid_from_address )", SENDER),
    # https://support.sparkpost.com/docs/tech-resources/extended-error-codes
    ("sparkpost", r"5002 ", DEAD),  # at least one valid recipient is required, and there was one
    ("sparkpost", r"7001 ", SENDER),  # unconfigured or unverified sending domain
    # https://godocs.unisender.ru/web-api-ref#email-send: failed_emails
    ("unisender_go", r"unsubscribed", _OPTED_OUT),
    ("unisender_go", r"permanent_unavailable", _SUPPRESSED),
    ("unisender_go", r"temporary_unavailable", _REJECTED),  # for the next days
)
# https://anymail.dev/en/stable/sending/anymail_additions/#anymail.message.AnymailStatus.status
BY_RECIPIENT: dict[str, Outcome] = {"invalid": DEAD, "rejected": _REJECTED}

# Why nothing left: the first that fits. The exceptions of requests are OSErrors, those of a URL, a header or
# a key that cannot be written ValueErrors too.
BEFORE: tuple[tuple[type[Exception], Outcome], ...] = (
    (AnymailInvalidAddress, DEAD),
    (AnymailUnsupportedFeature, PermanentFailure("unsupported_address")),  # of ours only SMTPUTF8 can be
    (AnymailSerializationError, PermanentFailure("invalid_content")),
    (ValueError, SENDER),
    (OSError, TemporaryFailure("unreachable")),  # refused, DNS, TLS
)


def _all(errors: dict[str, list[str]]) -> str:
    return " ".join(text for texts in errors.values() for text in texts)


def _mailjet(error: dict[str, Any]) -> str:
    return f"{error['ErrorCode']} {' '.join(error.get('ErrorRelatedTo') or ())}"


def answered(service: str, answer: requests.Response, status: AnymailStatus) -> Outcome:
    """The outcome of an answer; `status` is what the library read in it, if it could."""
    general = by_status(answer.status_code, answer.headers, answer.content)
    success = 200 <= answer.status_code < 300
    if success and (message_id := _taken(status)):
        return Accepted(message_id)
    if isinstance(general, UnknownOutcome) and not success:  # a gateway's answer, whatever its body says
        return general
    outcome = _refusal(service, answer.content) or _of_recipient(status) or general
    wait = retry_after(answer.headers)
    if isinstance(outcome, TemporaryFailure) and wait is not None:
        return TemporaryFailure(outcome.code, wait)
    return outcome


def _taken(status: AnymailStatus) -> str:
    """The message's id, if it was taken. The one recipient is two where its spelling came back changed."""
    taken = [one for one in status.recipients.values() if one.status in ("sent", "queued")]
    return next((str(one.message_id) for one in taken if one.message_id), "")


def _refusal(service: str, content: bytes) -> Outcome | None:
    try:
        said = str(_SAID[service](orjson.loads(content)))
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration):
        return None
    rows = (row[2] for row in BY_REFUSAL if row[0] == service and re.match(row[1], said))
    return next(rows, None)


def _of_recipient(status: AnymailStatus) -> Outcome | None:
    words = status.status or set()
    return BY_RECIPIENT.get(next(iter(words))) if len(words) == 1 else None


def unanswered(error: Exception | None, departure: Departure) -> Outcome:
    """The outcome without an answer: before the request left it was not taken; afterwards nobody knows."""
    if not departure.left:
        return next((outcome for kind, outcome in BEFORE if isinstance(error, kind)), SENDER)
    late = isinstance(error, requests.Timeout) or time.monotonic() >= departure.deadline
    return UnknownOutcome("timeout" if late else "disconnected")
