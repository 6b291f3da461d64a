"""What SES reports by way of SNS: the events of a configuration set, and the notifications of an identity.

https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parseaddr
from typing import Any
from urllib.parse import parse_qs, urlsplit

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
from apps.integrations.ses import ATTEMPT, ATTEMPT_HEADER, TARGET, TARGET_HEADER, sns
from apps.integrations.ses.certificates import ORIGIN, Certificates, fetch

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a word of the vendor's says."""

    kind: ReceiptKind
    code: str = ""
    dead: bool = False


_BOUNCED = Meaning(ReceiptKind.BOUNCED)
_OTHER = Meaning(ReceiptKind.OTHER)

# By event and what tells its kinds apart; "" is any other. The types of bounces:
# https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html#event-publishing-retrieving-sns-contents-bounce-types
# A transient one means that SES "has stopped trying", and that another message may arrive.
MEANINGS: dict[tuple[str, str], Meaning] = {
    ("Send", ""): Meaning(ReceiptKind.ACCEPTED),
    ("Delivery", ""): Meaning(ReceiptKind.DELIVERED),
    ("DeliveryDelay", ""): Meaning(ReceiptKind.DEFERRED),
    ("Bounce", "Permanent General"): Meaning(ReceiptKind.BOUNCED, dead=True),
    ("Bounce", "Permanent NoEmail"): Meaning(ReceiptKind.BOUNCED, dead=True),
    # Never sent: the address is on a suppression list, Amazon's or the account's.
    ("Bounce", "Permanent Suppressed"): Meaning(ReceiptKind.BOUNCED, "Suppressed", dead=True),
    ("Bounce", "Permanent OnAccountSuppressionList"): Meaning(
        ReceiptKind.BOUNCED, "OnAccountSuppressionList", dead=True
    ),
    ("Bounce", ""): _BOUNCED,
    # Not COMPLAINED: the complaint was about an earlier message, and this one was not sent.
    ("Complaint", "OnAccountSuppressionList"): Meaning(
        ReceiptKind.BOUNCED, "OnAccountSuppressionList", dead=True
    ),
    ("Complaint", "not-spam"): _OTHER,  # somebody took it out of the spam folder
    ("Complaint", "auth-failure"): _OTHER,  # a server's report, no person's
    ("Complaint", ""): Meaning(ReceiptKind.COMPLAINED),
    ("Reject", ""): _BOUNCED,  # it has a virus, and was not sent
    ("Rendering Failure", ""): Meaning(ReceiptKind.BOUNCED, "Rendering Failure"),
    ("Open", ""): Meaning(ReceiptKind.OPENED),
    ("Click", ""): Meaning(ReceiptKind.CLICKED),
    ("Subscription", "left"): Meaning(ReceiptKind.OPTED_OUT),
    ("Subscription", ""): _OTHER,  # a preference changed, and nothing is declined
}
# Where an event has its particulars, its recipients (elsewhere they are the mail's) and its reason.
SECTIONS: dict[str, tuple[str, str, str]] = {
    "Delivery": ("delivery", "recipients", ""),
    "DeliveryDelay": ("deliveryDelay", "delayedRecipients", "delayType"),
    "Bounce": ("bounce", "bouncedRecipients", "bounceSubType"),
    "Complaint": ("complaint", "complainedRecipients", "complaintFeedbackType"),
    "Reject": ("reject", "", "reason"),
    "Open": ("open", "", ""),
    "Click": ("click", "", ""),
    "Subscription": ("subscription", "", ""),
}
# What a server answered, plain or enhanced: https://www.rfc-editor.org/rfc/rfc3463#section-2. Only this much
# of the text is kept as the code: the rest often repeats the address.
_REFUSAL = re.compile(r"\b[45](?:\.\d{1,3}\.\d{1,3}|\d\d)\b", re.ASCII)
_SUBSCRIBE_URL = re.compile(ORIGIN + r"/\?[!-~]+")


class SesReceiver(Receiver):
    """What SNS posts to an HTTPS subscription, signed by it.

    - `topics`: the ARNs of the topics that may report here, with commas between them. Everybody can point a
      topic of their own at this address, and SNS signs for all.
    - `certificate_url`: what the URL of a signing certificate may begin with besides Amazon's own hosts. For
      the simulator only: whoever answers there can sign.

    `fetch` gets a certificate by its URL, in 5 seconds; it raises OSError.
    """

    key = "ses"
    channel = "email"

    def __init__(
        self, topics: str, *, certificate_url: str = "", fetch: Callable[[str], bytes] = fetch
    ) -> None:
        self._topics = {topic.strip() for topic in topics.split(",")} - {""}
        if not self._topics:
            raise ValueError("At least one topic is required.")
        self._certificates = Certificates(certificate_url, fetch)

    def verify(self, request: ReceivedRequest) -> None:
        """See the contract. The topic is checked first: nothing is fetched for a stranger's."""
        try:
            fields = sns.envelope(request.body)
        except ValueError as error:
            raise BadSignature("not a message of SNS") from error
        topic = fields.get("TopicArn")
        if not isinstance(topic, str) or topic not in self._topics:
            raise BadSignature("not one of our topics")
        sns.verify(fields, self._certificates)

    def confirmation(self, request: ReceivedRequest) -> str | None:
        """See the contract; None also for what is not signed. To be unsubscribed needs no confirmation."""
        try:
            self.verify(request)
        except BadSignature:
            return None
        fields = sns.envelope(request.body)
        url = fields.get("SubscribeURL", "")
        if fields["Type"] != sns.SUBSCRIPTION or not _SUBSCRIBE_URL.fullmatch(url):
            return None
        return str(url) if parse_qs(urlsplit(url).query).get("Action") == ["ConfirmSubscription"] else None

    def parse(self, request: ReceivedRequest) -> list[ReceiptEvent]:
        """See the contract: an event for each recipient, and one OTHER for what is about no mail."""
        try:
            fields = sns.envelope(request.body)
        except ValueError as error:
            raise BadReceipt("not a message of SNS") from error
        report = _report(fields.get("Message")) if fields.get("Type") == sns.NOTIFICATION else {}
        id = event_id(fields.get("MessageId"), request.body)  # repetitions keep it
        return list(_events(report, id, request.body))


def _report(message: Any) -> Fields:
    """What SES said; nothing where it is no JSON, as with the text it publishes to try a topic out."""
    try:
        return _object(json.loads(message, strict=False))
    except (ValueError, TypeError, RecursionError):
        return {}


def _object(value: Any) -> Fields:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _events(report: Fields, id: str, raw: bytes) -> Iterator[ReceiptEvent]:
    word = text(report.get("eventType") or report.get("notificationType"), LONGEST_CODE)
    section_name, recipients_name, reason_name = SECTIONS.get(word, ("", "", ""))
    mail, section = _object(report.get("mail")), _object(report.get(section_name))
    meaning = _meaning(word, section)
    target, attempt = _references(mail)
    recipients = _list(section.get(recipients_name)) or _list(mail.get("destination")) or [""]
    for index, recipient in enumerate(recipients):
        particulars = recipient if isinstance(recipient, dict) else {"emailAddress": recipient}
        reason = _refusal(particulars) or text(section.get(reason_name), LONGEST_CODE)
        yield ReceiptEvent(
            event_id=f"{id}:{index}" if index else id,
            kind=meaning.kind,
            target=target,
            attempt=attempt,
            provider_message_id=text(mail.get("messageId"), LONGEST_MESSAGE_ID),
            address=_address(particulars.get("emailAddress")),
            code=meaning.code or reason,
            address_is_dead=meaning.dead,
            occurred_at=_time(section.get("timestamp") or mail.get("timestamp")),
            raw=raw,
        )


def _meaning(word: str, section: Fields) -> Meaning:
    details: dict[str, list[Any]] = {
        "Bounce": [f"{section.get('bounceType')} {section.get('bounceSubType')}"],
        "Complaint": [section.get("complaintSubType"), section.get("complaintFeedbackType")],
        "Subscription": ["left" if _left(section) else ""],
    }
    known = (MEANINGS.get((word, str(detail))) for detail in [*details.get(word, []), ""])
    return next(filter(None, known), _OTHER)


def _left(section: Fields) -> bool:
    """Whether somebody wants nothing more, or nothing more of one of the contact list's topics."""
    wishes = _object(section.get("newTopicPreferences"))
    topics = map(_object, _list(wishes.get("topicSubscriptionStatus")))
    return wishes.get("unsubscribeAll") is True or any(
        topic.get("subscriptionStatus") == "OptOut" for topic in topics
    )


def _references(mail: Fields) -> tuple[Any, Any]:
    """Target and attempt: of the tags; of the headers, where an identity's notifications have those."""
    tags = _object(mail.get("tags"))
    headers = {
        str(header.get("name")).lower(): header.get("value")
        for header in map(_object, _list(mail.get("headers")))
    }
    tag = {name: (_list(tags.get(name)) or [None])[0] for name in (TARGET, ATTEMPT)}
    return (
        reference(tag[TARGET] or headers.get(TARGET_HEADER.lower())),
        reference(tag[ATTEMPT] or headers.get(ATTEMPT_HEADER.lower())),
    )


def _refusal(recipient: Fields) -> str:
    for name in ("status", "diagnosticCode"):
        value = recipient.get(name)
        if isinstance(value, str) and (found := _REFUSAL.search(value)):
            return found[0]
    return ""


def _address(value: Any) -> str:
    """As an address is kept here: the domain in lower case, ASCII since that is what we sent; no name."""
    whole = text(value, LONGEST_ADDRESS)
    local, at, domain = (parseaddr(whole)[1] or whole).rpartition("@")
    return f"{local}{at}{domain.lower()}"[:LONGEST_ADDRESS]


def _time(value: Any) -> datetime | None:
    try:
        return sns.moment(value).astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None
