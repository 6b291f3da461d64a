"""What the services report, as the library reads it: https://anymail.dev/en/stable/sending/tracking/."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from anymail.signals import AnymailTrackingEvent, EventType, RejectReason

from apps.integrations.anymail import ATTEMPT, TARGET
from apps.integrations.anymail.webhooks import WEBHOOKS, Received, reports, view
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

KINDS: dict[str, ReceiptKind] = {
    EventType.QUEUED: ReceiptKind.ACCEPTED,
    EventType.SENT: ReceiptKind.ACCEPTED,
    EventType.DEFERRED: ReceiptKind.DEFERRED,
    EventType.DELIVERED: ReceiptKind.DELIVERED,
    EventType.BOUNCED: ReceiptKind.BOUNCED,
    EventType.REJECTED: ReceiptKind.BOUNCED,
    EventType.FAILED: ReceiptKind.BOUNCED,
    EventType.COMPLAINED: ReceiptKind.COMPLAINED,
    EventType.UNSUBSCRIBED: ReceiptKind.OPTED_OUT,
    EventType.OPENED: ReceiptKind.OPENED,
    EventType.CLICKED: ReceiptKind.CLICKED,
}


def _resend(event: Any) -> str:
    word: str = event["type"].removeprefix("email.")
    return f"{word} {event['data']['bounce']['type']}" if word == "bounced" else word


# The service's own word for what happened, since the library calls soft bounces and hard ones the same.
_WORDS: dict[str, Callable[[Any], str]] = {
    "brevo": lambda event: event["event"],
    "mailersend": lambda event: event["data"]["type"],
    "mailgun": lambda event: f"{event['event-data']['severity']} {event['event-data']['reason']}",
    "mailjet": lambda event: f"{'hard' if event.get('hard_bounce') is True else 'soft'} {event['error']}",
    "mailtrap": lambda event: event["event"],
    "mandrill": lambda event: event["event"],
    "postal": lambda event: event["payload"]["status"],
    "postmark": lambda event: event.get("Type") or event["SuppressionReason"],
    "resend": _resend,
    "sparkpost": lambda event: str(next(iter(event["msys"].values()))["bounce_class"]),
    "unisender_go": lambda event: event["delivery_info"]["delivery_status"],
}
# Those after which no message to the address will ever arrive, or be let through by the service.
DEAD: frozenset[tuple[str, str]] = frozenset(
    {
        # https://developers.brevo.com/docs/transactional-webhooks
        ("brevo", "hard_bounce"),
        # https://developers.mailersend.com/api/v1/webhooks.html
        ("mailersend", "hard_bounced"),
        # https://documentation.mailgun.com/docs/mailgun/user-manual/tracking-messages/
        ("mailgun", "permanent bounce"),
        ("mailgun", "permanent suppress-bounce"),
        # https://dev.mailjet.com/email/guides/webhooks/#possible-values-for-errors
        ("mailjet", "hard user unknown"),
        ("mailjet", "hard mailbox inactive"),
        ("mailjet", "hard invalid domain"),
        # https://mailchimp.com/developer/transactional/docs/webhooks/
        ("mandrill", "hard_bounce"),
        # https://postmarkapp.com/developer/api/bounce-api#bounce-types
        ("postmark", "HardBounce"),
        ("postmark", "BadEmailAddress"),
        # https://resend.com/docs/webhooks/emails/bounced
        ("resend", "bounced Permanent"),
        ("resend", "suppressed"),
        # https://support.sparkpost.com/docs/deliverability/bounce-classification-codes
        ("sparkpost", "10"),  # invalid recipient
        ("sparkpost", "30"),  # no such recipient
        # https://godocs.unisender.ru/web-api-ref#callback-format
        ("unisender_go", "err_user_unknown"),
    }
)

# Seconds between the service's signing and our clock, either way.
TOLERANCES: dict[str, float] = {
    # Repeated for 8 hours, and nobody says whether a repetition is signed anew:
    # https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/webhook-retries
    "mailgun": 9 * 3600.0,
    # Each repetition is signed anew: https://docs.svix.com/receiving/verifying-payloads/how-manual
    "resend": 300.0,
}

# A refusal by SMTP, plain or enhanced: https://www.rfc-editor.org/rfc/rfc3463#section-2. Only this much of
# the text is kept as the code: the rest often repeats the address.
_REFUSAL = re.compile(r"\s*(?:smtp;\s*)?([45](?:\d\d|\.\d{1,3}\.\d{1,3}))\b", re.ASCII)


class AnymailReceiver(Receiver):
    """`service` is one of `webhooks.WEBHOOKS`, such as "postmark".

    `signing_secret` is what the service signs with: Mailgun's HTTP webhook signing key, Mandrill's and
    Postal's webhook key, MailerSend's, Mailtrap's and Resend's signing secret, Unisender Go's API key. Those
    that sign nothing (Brevo, Mailjet, Postmark, SparkPost) need `webhook_secret` instead, "user:password",
    and a URL with both in it; the others may have one too.
    """

    key = "anymail"
    channel = "email"
    secrets = frozenset({"signing_secret", "webhook_secret"})

    def __init__(self, service: str, *, signing_secret: str = "", webhook_secret: str = "") -> None:
        webhook = WEBHOOKS.get(service)
        if webhook is None:
            raise ValueError(f"The service is one of {', '.join(WEBHOOKS)}.")
        if bool(webhook.key) is not bool(signing_secret):
            raise ValueError(f"{service} {'signs: it needs' if webhook.key else 'takes no'} signing_secret.")
        if not (webhook.key or webhook_secret):
            raise ValueError(f"{service} signs nothing: it needs webhook_secret.")
        if webhook_secret and not all(webhook_secret.partition(":")):
            raise ValueError('webhook_secret is "user:password".')
        self._service, self._webhook = service, webhook
        self._signing_secret, self._webhook_secret = signing_secret, webhook_secret
        self._view("")  # what it does not like it says now

    def verify(self, request: ReceivedRequest) -> None:
        """See the contract. Mailgun signs no more than a timestamp and a token, which is the event's id here:
        another body with the same two is no other event."""
        try:
            received = Received(self._webhook, request.headers, request.body)
            self._view(request.url).run_validators(received)
            signed_at = self._signed_at(received)
        except Exception as error:  # the library's, and whatever it makes of a body that is nobody's
            raise BadSignature("not signed with this key, or without our user and password") from error
        if signed_at is not None and abs(time.time() - signed_at) > TOLERANCES[self._service]:
            raise BadSignature("signed too long ago, or in the future")

    def parse(self, request: ReceivedRequest) -> list[ReceiptEvent]:
        """See the contract. What the library cannot read becomes OTHER, so that its neighbours count."""
        try:
            found = list(reports(self._webhook, request.body))
        except (ValueError, RecursionError) as error:
            raise BadReceipt("the body is not what this service sends") from error
        return [event for raw, alone in found for event in self._events(request, raw, alone)]

    def _events(self, request: ReceivedRequest, raw: bytes, alone: bytes) -> Iterator[ReceiptEvent]:
        try:
            told = self._view("").parse_events(Received(self._webhook, request.headers, alone))
        except Exception:  # KeyError, TypeError …: it expects the events it knows
            yield ReceiptEvent(event_id=event_id(None, raw), kind=ReceiptKind.OTHER, raw=raw)
            return
        for one in told:
            yield from self._read(one, raw)

    def _read(self, told: AnymailTrackingEvent, raw: bytes) -> Iterator[ReceiptEvent]:
        kind = KINDS.get(told.event_type, ReceiptKind.OTHER)
        word = _word(self._service, told.esp_event)
        target, attempt = _reference(told)
        event = ReceiptEvent(
            event_id=event_id(told.event_id, raw),
            kind=kind,
            target=target,
            attempt=attempt,
            provider_message_id=text(_string(told.message_id), LONGEST_MESSAGE_ID),
            address=_address(text(told.recipient, LONGEST_ADDRESS)),
            code=_code(told, word) if kind in (ReceiptKind.BOUNCED, ReceiptKind.DEFERRED) else "",
            address_is_dead=kind is ReceiptKind.BOUNCED and (self._service, word) in DEAD,
            occurred_at=_time(told.timestamp),
            raw=raw,
        )
        yield event
        if kind is ReceiptKind.BOUNCED and told.reject_reason == RejectReason.UNSUBSCRIBED:
            yield replace(event, event_id=f"{event.event_id}:opted_out", kind=ReceiptKind.OPTED_OUT)

    def _signed_at(self, request: Received) -> int | None:
        """When it was signed, by what is signed; None where the service does not say."""
        if self._service == "mailgun":
            return int(json.loads(request.body)["signature"]["timestamp"])
        if self._service == "resend":
            return int(request.headers["svix-timestamp"])
        return None

    def _view(self, url: str) -> Any:
        """Another for each request: they keep what they have seen."""
        return view(
            self._webhook,
            signing_secret=self._signing_secret,
            webhook_secret=self._webhook_secret,
            url=url,
        )


def _word(service: str, event: Any) -> str:
    try:
        return text(_WORDS[service](event), LONGEST_CODE)
    except (LookupError, TypeError, AttributeError, StopIteration):
        return ""


def _code(told: AnymailTrackingEvent, word: str) -> str:
    for said in (told.mta_response, told.description):
        if found := _REFUSAL.match(text(said, 200)):
            return found[1]
    return word or text(told.reject_reason, LONGEST_CODE)


def _reference(told: AnymailTrackingEvent) -> tuple[Any, Any]:
    metadata = told.metadata if isinstance(told.metadata, dict) else {}
    tags = told.tags if isinstance(told.tags, list) else []
    tagged = [
        tag.removeprefix(f"{ATTEMPT}:") for tag in tags if isinstance(tag, str) and tag.startswith(ATTEMPT)
    ]
    attempt = metadata.get(ATTEMPT) or next(iter(tagged), None)
    return reference(metadata.get(TARGET)), reference(attempt)


def _string(value: Any) -> Any:
    return str(value) if isinstance(value, int) else value


def _address(value: str) -> str:
    """As an address is kept here: the domain in lower case."""
    local, at, domain = value.rpartition("@")
    return f"{local}{at}{domain.lower()}"


def _time(value: Any) -> datetime | None:
    """UTC; None for what names no zone."""
    try:
        return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else None
    except (ValueError, OverflowError):
        return None
