"""What Twilio reports: status callbacks of our messages, and messages that people send us.

https://www.twilio.com/docs/messaging/guides/track-outbound-message-status
https://www.twilio.com/docs/messaging/guides/webhook-request
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from multidict import MultiDict
from twilio.request_validator import RequestValidator

from apps.integrations.contract import (
    BadReceipt,
    BadSignature,
    ReceiptEvent,
    ReceiptKind,
    ReceivedRequest,
    Receiver,
)
from apps.integrations.opting import asked
from apps.integrations.receiving import (
    LONGEST_ADDRESS,
    LONGEST_CODE,
    LONGEST_MESSAGE_ID,
    event_id,
    reference,
    text,
)

SIGNATURE = "X-Twilio-Signature"  # https://www.twilio.com/docs/usage/webhooks/webhooks-security

# https://www.twilio.com/docs/messaging/api/message-resource#message-status-values
STATUSES: dict[str, ReceiptKind] = {
    "accepted": ReceiptKind.ACCEPTED,
    "scheduled": ReceiptKind.ACCEPTED,
    "queued": ReceiptKind.ACCEPTED,
    "sending": ReceiptKind.ACCEPTED,
    "sent": ReceiptKind.ACCEPTED,  # the carrier has it
    "delivered": ReceiptKind.DELIVERED,
    "undelivered": ReceiptKind.BOUNCED,
    "failed": ReceiptKind.BOUNCED,
    "canceled": ReceiptKind.BOUNCED,
    "read": ReceiptKind.OPENED,
}
# Error codes after which no message to that number will ever arrive: https://www.twilio.com/docs/api/errors/<code>.
# Not 30003 (switched off, or out of reach), not 30004 and 30007 (blocked or filtered: this text, or this
# sender), not 30008 (unknown).
DEAD = {
    "21211",  # invalid 'To' phone number
    "21217",  # phone number does not appear to be valid
    "21614",  # not a mobile number
    "21635",  # a landline
    "30005",  # unknown destination handset: the number is not in service
    "30006",  # a landline
}
OPTED_OUT = (
    "21610"  # who answered STOP, which we may have missed: https://www.twilio.com/docs/api/errors/21610
)

# Where the account has words of its own, in any language, the vendor says what they mean:
# https://www.twilio.com/docs/messaging/tutorials/advanced-opt-out
OPT_OUT_TYPES = {
    "STOP": ReceiptKind.OPTED_OUT,
    "START": ReceiptKind.OPTED_IN,
    "HELP": ReceiptKind.ASKED_HELP,
}


class TwilioReceiver(Receiver):
    """`auth_token` is the account's, with which the vendor signs."""

    key = "twilio"
    channel = "sms"
    secrets = frozenset({"auth_token"})

    def __init__(self, auth_token: str) -> None:
        self._validator = RequestValidator(auth_token)

    def verify(self, request: ReceivedRequest) -> None:
        """See the contract. There is no time in what is signed; a repeated event is stored once."""
        signature = request.headers.get(SIGNATURE, "")
        try:
            if self._validator.validate(request.url, _form(request.body), signature):
                return
        except ValueError as error:  # the URL is none
            raise BadSignature("the URL cannot be read") from error
        raise BadSignature("the signature is not that of this URL and form")

    def parse(self, request: ReceivedRequest) -> list[ReceiptEvent]:
        """See the contract. One request is one report, and its body the event's `raw`."""
        form = _form(request.body)
        sid = text(form.get("MessageSid") or form.get("SmsSid"), LONGEST_MESSAGE_ID)
        if not sid:
            raise BadReceipt("it is about no message")
        if status := form.get("MessageStatus"):
            return _reported(request, form, sid, status)
        return [_received(request, form, sid)]


def _form(body: bytes) -> MultiDict[str]:
    """The fields of a form, empty ones too: they are signed."""
    return MultiDict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))


def _reported(request: ReceivedRequest, form: Mapping[str, str], sid: str, status: str) -> list[ReceiptEvent]:
    """What became of a message of ours."""
    target, attempt = _references(request.url)
    kind = STATUSES.get(status, ReceiptKind.OTHER)
    code = text(form.get("ErrorCode"), LONGEST_CODE)
    event = ReceiptEvent(
        event_id=event_id(f"{sid}:{status}", request.body),
        kind=kind,
        target=target,
        attempt=attempt,
        provider_message_id=sid,
        address=text(form.get("To"), LONGEST_ADDRESS),
        code=code if code != "0" else "",
        address_is_dead=kind is ReceiptKind.BOUNCED and code in DEAD,
        raw=request.body,
    )
    if code == OPTED_OUT:
        opted_out = replace(event, event_id=f"{event.event_id}:opted_out", kind=ReceiptKind.OPTED_OUT)
        return [event, opted_out]
    return [event]


def _received(request: ReceivedRequest, form: Mapping[str, str], sid: str) -> ReceiptEvent:
    """A message from a person."""
    opt_out_type = form.get("OptOutType", "").upper()
    understood = OPT_OUT_TYPES.get(opt_out_type, ReceiptKind.OTHER)
    return ReceiptEvent(
        event_id=event_id(sid, request.body),
        kind=understood if opt_out_type else asked(form.get("Body", "")),
        provider_message_id=sid,
        address=text(form.get("From"), LONGEST_ADDRESS),
        raw=request.body,
    )


def _references(url: str) -> tuple[UUID | None, UUID | None]:
    """Target and attempt, from the query our status callback was given."""
    try:
        query = dict(parse_qsl(urlsplit(url).query))
    except ValueError:
        query = {}
    return reference(query.get("target")), reference(query.get("attempt"))
