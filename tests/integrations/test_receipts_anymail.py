from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes, urlencode
from uuid import UUID, uuid4

import orjson
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook as StandardWebhook

from apps.integrations.anymail import ATTEMPT, TARGET
from apps.integrations.anymail.adapter import AnymailAdapter
from apps.integrations.anymail.receipts import _WORDS, DEAD, KINDS, TOLERANCES, AnymailReceiver
from apps.integrations.anymail.simulated_receipts import SIGNING_KEY, WEBHOOK_SECRET, signature
from apps.integrations.anymail.webhooks import WEBHOOKS
from apps.integrations.contract import (
    BadReceipt,
    BadSignature,
    Message,
    ReceiptEvent,
    ReceiptKind,
    ReceivedRequest,
)
from apps.integrations.simulator import Simulator

from .receipts import Inbox, check_any_body, control, received, serving, turn_on
from .suite import send

URL = "https://carillon.example/api/receipts/mail/?x=1"
USER = "vendor:p@ss:wörd"
KEY = "s1gning-key"
SVIX = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
POSTAL = (
    RSA.public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
    .replace("\n", "")
    .removeprefix("-----BEGIN PUBLIC KEY-----")
    .removesuffix("-----END PUBLIC KEY-----")
)
TARGET_ID, ATTEMPT_ID = UUID(int=1), UUID(int=2)
REFERENCE = {TARGET: str(TARGET_ID), ATTEMPT: str(ATTEMPT_ID)}
SIGNERS = [name for name, webhook in WEBHOOKS.items() if webhook.key]
BASIC = [name for name, webhook in WEBHOOKS.items() if not webhook.key]


def receiver(service: str, **options: str) -> AnymailReceiver:
    keys = {"resend": SVIX, "postal": POSTAL}
    secret = {"webhook_secret": USER} if service in BASIC else {"signing_secret": keys.get(service, KEY)}
    return AnymailReceiver(service, **{**secret, **options})


def basic(credentials: str = USER) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(credentials.encode()).decode()}


def hex_of(body: bytes, key: str = KEY) -> str:
    return hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


def svix(body: bytes, *, key: str = SVIX, at: float | None = None, id: str = "msg_1") -> dict[str, str]:
    when = datetime.fromtimestamp(time.time() if at is None else at, UTC)
    made = StandardWebhook(key).sign(id, when, body.decode())
    return {"svix-id": id, "svix-timestamp": str(int(when.timestamp())), "svix-signature": made}


def mandrill(body: bytes, url: str = URL, key: str = KEY) -> dict[str, str]:
    form = dict(parse_qsl(body.decode(), keep_blank_values=True))
    whole = url + "".join(name + form[name] for name in sorted(form))
    made = base64.b64encode(hmac.new(key.encode(), whole.encode(), hashlib.sha1).digest()).decode()
    return {"X-Mandrill-Signature": made, "Content-Type": "application/x-www-form-urlencoded"}


def unisender(event: dict[str, Any], key: str = KEY) -> bytes:
    body = orjson.dumps({"auth": key, **event})
    return body.replace(key.encode(), hashlib.md5(body).hexdigest().encode(), 1)


def signed(service: str, body: bytes) -> ReceivedRequest:
    """A request of the service with this body, or what it has to be for its signature to be in it."""
    headers: dict[str, str] = {"Content-Type": "application/json"}
    if service in BASIC:
        headers |= basic()
    elif service == "mailersend":
        headers["Signature"] = hex_of(body)
    elif service == "mailtrap":
        headers["Mailtrap-Signature"] = hex_of(body)
    elif service == "resend":
        headers |= svix(body)
    elif service == "mandrill":
        headers |= mandrill(body)
    elif service == "postal":
        made = RSA.sign(body, padding.PKCS1v15(), hashes.SHA1())
        headers["X-Postal-Signature"] = base64.b64encode(made).decode()
    return received(body, URL, **headers)


# --- One event of each service, in its own words ---------------------------------------------------------


def brevo(event: str, **more: Any) -> dict[str, Any]:
    return {
        "event": event,
        "email": "Anna@Example.com",
        "ts_epoch": 1_700_000_000_000,
        "message-id": "<m1>",
        "X-Mailin-custom": json.dumps(REFERENCE),
        **more,
    }


def mailersend(type: str, **more: Any) -> dict[str, Any]:
    email = {
        "message": {"id": "<m1>"},
        "recipient": {"email": "Anna@Example.com"},
        "tags": [f"{ATTEMPT}:{ATTEMPT_ID}"],
    }
    data = {"id": "e1", "type": type, "created_at": "2023-11-14T22:13:20Z", "email": email, **more}
    return {"type": f"activity.{type}", "data": data}


def mailgun(event: str, *, key: str = KEY, at: float | None = None, **more: Any) -> dict[str, Any]:
    data = {
        "event": event,
        "id": "x",
        "timestamp": 1_700_000_000.0,
        "recipient": "Anna@Example.com",
        "message": {"headers": {"message-id": "m1"}},
        "user-variables": REFERENCE,
        **more,
    }
    return {"signature": signature(key, at=at), "event-data": data}


def mailjet(event: str, **more: Any) -> dict[str, Any]:
    own = {"time": 1_700_000_000, "MessageID": 123, "email": "Anna@Example.com"}
    return {"event": event, **own, "Payload": json.dumps(REFERENCE), **more}


def mailtrap(event: str, **more: Any) -> dict[str, Any]:
    own = {"timestamp": 1_700_000_000, "message_id": "<m1>", "event_id": "e1", "email": "Anna@Example.com"}
    return {"event": event, **own, "custom_variables": REFERENCE, **more}


def mandrill_event(event: str, **more: Any) -> dict[str, Any]:
    message = {"email": "Anna@Example.com", "metadata": REFERENCE, **more}
    return {"event": event, "_id": "<m1>", "ts": 1_700_000_000, "msg": message}


def postal(**payload: Any) -> dict[str, Any]:
    message = {"id": 7, "to": "Anna@Example.com", "tag": f"{ATTEMPT}:{ATTEMPT_ID}", "direction": "outgoing"}
    whole = {"message": message, **payload}
    return {"event": "MessageSent", "timestamp": 1_700_000_000, "uuid": "e1", "payload": whole}


def postmark(record: str, **more: Any) -> dict[str, Any]:
    own = {"RecordType": record, "MessageID": "m1", "Metadata": REFERENCE}
    if record in ("Bounce", "SpamComplaint"):
        return {
            **own,
            "ID": 42,
            "Email": "Anna@Example.com",
            "BouncedAt": "2023-11-14T22:13:20.0000000Z",
            **more,
        }
    return {**own, "Recipient": "Anna@Example.com", "ReceivedAt": "2023-11-14T22:13:20Z", **more}


def resend(type: str, **more: Any) -> dict[str, Any]:
    headers = [{"name": "X-Metadata", "value": json.dumps(REFERENCE)}]
    data = {"email_id": "m1", "to": ["Anna@Example.com"], "headers": headers, **more}
    return {"type": type, "created_at": "2023-11-14T22:13:20.000Z", "data": data}


def sparkpost(type: str, **more: Any) -> dict[str, Any]:
    own = {"type": type, "event_id": "e1", "timestamp": "1700000000", "transmission_id": "m1"}
    return {
        "msys": {"message_event": {**own, "raw_rcpt_to": "Anna@Example.com", "rcpt_meta": REFERENCE, **more}}
    }


def unisender_event(status: str, delivery: str = "ok") -> dict[str, Any]:
    data = {
        "job_id": "m1",
        "email": "Anna@Example.com",
        "status": status,
        "event_time": "2023-11-14 22:13:20",
        "metadata": REFERENCE,
        "delivery_info": {"delivery_status": delivery, "destination_response": "550 no"},
    }
    return {"event_name": "transactional_email_status", "event_data": data}


def body_of(service: str, *events: dict[str, Any]) -> bytes:
    """A request with these events, as the service puts them together."""
    if service in ("mailjet", "sparkpost"):
        return orjson.dumps(events)
    if service == "mailtrap":
        return orjson.dumps({"events": events})
    if service == "mandrill":
        return urlencode({"mandrill_events": orjson.dumps(events)}).encode()
    if service == "unisender_go":
        return unisender({"events_by_user": [{"user_id": 1, "events": events}]})
    [event] = events
    return orjson.dumps(event)


DELIVERED: dict[str, Callable[[], dict[str, Any]]] = {
    "brevo": lambda: brevo("delivered"),
    "mailersend": lambda: mailersend("delivered"),
    "mailgun": lambda: mailgun("delivered"),
    "mailjet": lambda: mailjet("sent"),
    "mailtrap": lambda: mailtrap("delivery"),
    "mandrill": lambda: mandrill_event("open"),  # it does not say what was delivered
    "postal": lambda: postal(status="Sent"),
    "postmark": lambda: postmark("Delivery"),
    "resend": lambda: resend("email.delivered"),
    "sparkpost": lambda: sparkpost("delivery"),
    "unisender_go": lambda: unisender_event("delivered"),
}


def request_of(service: str) -> ReceivedRequest:
    return signed(service, body_of(service, DELIVERED[service]()))


def refused(service: str, request: ReceivedRequest, **options: str) -> None:
    with pytest.raises(BadSignature):
        receiver(service, **options).verify(request)


@pytest.mark.parametrize("service", WEBHOOKS)
class TestVerify:
    def test_what_the_service_signed(self, service: str) -> None:
        receiver(service).verify(request_of(service))

    def test_another_key(self, service: str) -> None:
        request = request_of(service)
        other_rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
        pem = other_rsa.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        others = {"resend": "whsec_" + "A" * 44, "postal": "".join(pem.decode().split("\n")[1:-2])}
        name = "webhook_secret" if service in BASIC else "signing_secret"
        refused(service, request, **{name: others.get(service, "other:key")})

    def test_nothing_that_says_who_it_is(self, service: str) -> None:
        request = request_of(service)
        body = request.body
        if service in ("mailgun", "unisender_go"):  # which sign in the body
            fields = orjson.loads(body)
            fields.pop("signature", fields.pop("auth", None))
            body = orjson.dumps(fields)
        refused(service, received(body, URL, **{"Content-Type": "application/json"}))

    def test_one_byte_more(self, service: str) -> None:
        """Where the body is signed. Elsewhere it is not: the credentials are all there is."""
        request = request_of(service)
        changed = ReceivedRequest(url=URL, headers=request.headers, body=request.body + b" ")
        if service in (*BASIC, "mailgun"):
            receiver(service).verify(changed)
        else:
            refused(service, changed)

    @pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"7", b'{"signature":7}', b'{"auth":""}', b"\xff"])
    def test_junk(self, service: str, body: bytes) -> None:
        refused(service, received(body, URL))
        refused(service, received(body, URL, Authorization="Basic", **{"svix-signature": "v1,"}))

    def test_credentials_too_where_they_are_asked_for(self, service: str) -> None:
        request = request_of(service)
        if service == "mandrill":  # it signs the URL as it was given, with the credentials
            headers = mandrill(request.body, URL.replace("://", f"://{USER}@"))
            request = received(request.body, URL, **headers)
        both = received(request.body, URL, **{**request.headers, **basic()})
        receiver(service, webhook_secret=USER).verify(both)
        for wrong in ({}, basic("vendor:"), basic("vendor"), {"Authorization": "Bearer x"}):
            headers = {name: value for name, value in both.headers.items() if name != "Authorization"}
            refused(service, received(request.body, URL, **headers, **wrong), webhook_secret=USER)

    @settings(max_examples=25, deadline=None)
    @given(body=st.binary(max_size=200), header=st.text(max_size=40))
    def test_any_bytes_from_anywhere(self, service: str, body: bytes, header: str) -> None:
        names = ("Signature", "Mailtrap-Signature", "X-Mandrill-Signature", "X-Postal-Signature")
        more = dict.fromkeys((*names, "svix-signature", "svix-id", "svix-timestamp"), header)
        refused(service, received(body, URL, Authorization=header, **more))


class TestAge:
    @pytest.mark.parametrize("service", TOLERANCES)
    @pytest.mark.parametrize("sign", [1, -1])
    def test_too_old_or_too_new(self, service: str, sign: int) -> None:
        for share, good in ((0.9, True), (1.1, False)):
            at = time.time() - sign * share * TOLERANCES[service]
            if service == "resend":
                body = body_of("resend", resend("email.sent"))
                request = received(body, URL, **svix(body, at=at))
            else:
                request = signed("mailgun", body_of("mailgun", mailgun("delivered", at=at)))
            if good:
                receiver(service).verify(request)
            else:
                with pytest.raises(BadSignature, match="too long ago"):
                    receiver(service).verify(request)

    def test_mailgun_waits_for_all_repetitions(self) -> None:
        assert TOLERANCES["mailgun"] > 8 * 3600


class TestMailgun:
    def test_a_body_of_two_types_is_read_as_one(self) -> None:
        """An old signature in a form, a fresh time in JSON, both in one body: only the old one is signed."""
        old = signature(KEY, at=time.time() - 10 * 24 * 3600)
        fresh = {"signature": {**signature("other"), "x": "&" + urlencode(old) + "&"}}
        body = orjson.dumps(fresh)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        refused("mailgun", received(body, URL, **form))

    def test_a_form_is_none_of_its(self) -> None:
        refused("mailgun", received(urlencode({**signature(KEY), "event": "delivered"}).encode(), URL))

    def test_a_token_is_one_event(self) -> None:
        """Its signature covers no more than time and token: who has one can put any event behind it."""
        whole = mailgun("delivered")
        forged = {**whole, "event-data": {**whole["event-data"], "event": "complained"}}
        first, second = (signed("mailgun", orjson.dumps(one)) for one in (whole, forged))
        taken = receiver("mailgun")
        taken.verify(second)
        assert [taken.parse(first)[0].event_id] == [taken.parse(second)[0].event_id]


class TestResend:
    BODY = body_of("resend", resend("email.sent"))

    def test_one_of_several_signatures(self) -> None:
        headers = svix(self.BODY)
        other = svix(self.BODY, key="whsec_" + "A" * 44)["svix-signature"]
        both = {**headers, "svix-signature": f"{other} v2,x v1,!! v1 {headers['svix-signature']}"}
        receiver("resend").verify(received(self.BODY, URL, **both))

    @pytest.mark.parametrize("name", ["svix-id", "svix-timestamp", "svix-signature"])
    def test_each_header_counts(self, name: str) -> None:
        headers = svix(self.BODY)
        refused("resend", received(self.BODY, URL, **{**headers, name: headers[name] + "0"}))
        refused("resend", received(self.BODY, URL, **{**headers, name: ""}))
        del headers[name]
        refused("resend", received(self.BODY, URL, **headers))

    def test_another_version_does_not_count(self) -> None:
        headers = svix(self.BODY)
        headers["svix-signature"] = headers["svix-signature"].replace("v1,", "v1a,")
        refused("resend", received(self.BODY, URL, **headers))

    def test_a_repetition_has_the_same_id(self) -> None:
        first, second = (received(self.BODY, URL, **svix(self.BODY, at=at)) for at in (0, 1))
        ids = {receiver("resend").parse(request)[0].event_id for request in (first, second)}
        assert ids == {"msg_1"}


class TestMandrill:
    def test_the_public_url_is_signed(self) -> None:
        request = request_of("mandrill")
        refused("mandrill", ReceivedRequest(url=URL + "2", headers=request.headers, body=request.body))


class TestOptions:
    @pytest.mark.parametrize("service", SIGNERS)
    def test_what_is_signed_needs_a_key(self, service: str) -> None:
        for options in ({}, {"webhook_secret": USER}, {"signing_secret": ""}):
            with pytest.raises(ValueError, match="it needs signing_secret"):
                AnymailReceiver(service, **options)

    @pytest.mark.parametrize("service", BASIC)
    def test_what_is_not_needs_credentials(self, service: str) -> None:
        with pytest.raises(ValueError, match="signs nothing: it needs webhook_secret"):
            AnymailReceiver(service)
        with pytest.raises(ValueError, match="takes no signing_secret"):
            AnymailReceiver(service, signing_secret=KEY, webhook_secret=USER)

    @pytest.mark.parametrize("secret", ["user", "user:", ":password", ":"])
    def test_credentials_are_a_user_and_a_password(self, secret: str) -> None:
        with pytest.raises(ValueError, match="user:password"):
            AnymailReceiver("postmark", webhook_secret=secret)

    @pytest.mark.parametrize("service", ["", "scaleway", "inbound"])
    def test_a_service_that_does_not_report(self, service: str) -> None:
        with pytest.raises(ValueError, match="The service is one of"):
            AnymailReceiver(service, signing_secret=KEY)

    @pytest.mark.parametrize(("service", "secret"), [("resend", "whsec_!"), ("mailgun", "schlüssel")])
    def test_a_key_that_is_none(self, service: str, secret: str) -> None:
        with pytest.raises(ValueError):
            AnymailReceiver(service, signing_secret=secret)

    @pytest.mark.parametrize("service", WEBHOOKS)
    def test_the_settings_of_the_library_change_nothing(self, service: str) -> None:
        hostile = {"WEBHOOK_SECRET": "spy:spy", "SPARKPOST_TRACK_INITIAL_OPEN_AS_OPENED": True}
        for other in WEBHOOKS:
            for name in (
                "API_KEY",
                "SIGNING_SECRET",
                "TRACKING_SECRET",
                "WEBHOOK_KEY",
                "WEBHOOK_SIGNING_KEY",
            ):
                hostile[f"{other.upper()}_{name}"] = "spy"
            hostile[f"{other.upper()}_WEBHOOK_URL"] = "https://spy.example/"
        with override_settings(ANYMAIL=hostile), warnings.catch_warnings():
            warnings.simplefilter("error")
            receiver(service).verify(request_of(service))


S, D = ReceiptKind, True
# service, event, kind, code, whether the address is dead
EVENTS: list[tuple[str, dict[str, Any], ReceiptKind, str, bool]] = [
    ("brevo", brevo("request"), S.ACCEPTED, "", False),
    ("brevo", brevo("deferred", reason="421 later"), S.DEFERRED, "421", False),
    ("brevo", brevo("delivered"), S.DELIVERED, "", False),
    ("brevo", brevo("hard_bounce", reason="550 5.1.1 no such user"), S.BOUNCED, "550", D),
    ("brevo", brevo("soft_bounce", reason="mailbox full"), S.BOUNCED, "soft_bounce", False),
    ("brevo", brevo("blocked"), S.BOUNCED, "blocked", False),
    ("brevo", brevo("invalid_email"), S.BOUNCED, "invalid_email", False),
    ("brevo", brevo("error"), S.BOUNCED, "error", False),
    ("brevo", brevo("spam"), S.COMPLAINED, "", False),
    ("brevo", brevo("unsubscribe"), S.OPTED_OUT, "", False),
    ("brevo", brevo("unique_opened"), S.OPENED, "", False),
    ("brevo", brevo("click"), S.CLICKED, "", False),
    ("brevo", brevo("list_addition"), S.OTHER, "", False),
    ("mailersend", mailersend("sent"), S.ACCEPTED, "", False),
    ("mailersend", mailersend("hard_bounced"), S.BOUNCED, "hard_bounced", D),
    ("mailersend", mailersend("soft_bounced"), S.BOUNCED, "soft_bounced", False),
    ("mailersend", mailersend("spam_complaint"), S.COMPLAINED, "", False),
    ("mailersend", mailersend("unsubscribed"), S.OPTED_OUT, "", False),
    (
        "mailgun",
        mailgun(
            "failed", severity="permanent", reason="bounce", **{"delivery-status": {"message": "5.1.1 No"}}
        ),
        S.BOUNCED,
        "5.1.1",
        D,
    ),
    (
        "mailgun",
        mailgun("failed", severity="permanent", reason="suppress-bounce"),
        S.BOUNCED,
        "permanent suppress-bounce",
        D,
    ),
    (
        "mailgun",
        mailgun("failed", severity="permanent", reason="suppress-complaint"),
        S.BOUNCED,
        "permanent suppress-complaint",
        False,
    ),
    (
        "mailgun",
        mailgun("failed", severity="permanent", reason="generic"),
        S.BOUNCED,
        "permanent generic",
        False,
    ),
    (
        "mailgun",
        mailgun("failed", severity="temporary", reason="bounce"),
        S.DEFERRED,
        "temporary bounce",
        False,
    ),
    ("mailgun", mailgun("rejected", reject={"reason": "Sandbox"}), S.BOUNCED, "other", False),
    ("mailgun", mailgun("accepted"), S.ACCEPTED, "", False),
    ("mailgun", mailgun("opened"), S.OPENED, "", False),
    ("mailgun", mailgun("clicked"), S.CLICKED, "", False),
    ("mailgun", mailgun("complained"), S.COMPLAINED, "", False),
    ("mailgun", mailgun("unsubscribed"), S.OPTED_OUT, "", False),
    ("mailgun", mailgun("list_uploaded"), S.OTHER, "", False),
    ("mailjet", mailjet("sent"), S.DELIVERED, "", False),
    ("mailjet", mailjet("bounce", hard_bounce=True, error="user unknown"), S.BOUNCED, "hard user unknown", D),
    (
        "mailjet",
        mailjet("bounce", hard_bounce=True, error="mailbox inactive"),
        S.BOUNCED,
        "hard mailbox inactive",
        D,
    ),
    (
        "mailjet",
        mailjet("bounce", hard_bounce=True, error="invalid domain"),
        S.BOUNCED,
        "hard invalid domain",
        D,
    ),
    (
        "mailjet",
        mailjet("bounce", hard_bounce=False, error="user unknown"),
        S.BOUNCED,
        "soft user unknown",
        False,
    ),
    (
        "mailjet",
        mailjet("bounce", hard_bounce=True, error="content blocked"),
        S.BOUNCED,
        "hard content blocked",
        False,
    ),
    ("mailjet", mailjet("blocked", error="preblocked"), S.BOUNCED, "soft preblocked", False),
    (
        "mailjet",
        mailjet("bounce", hard_bounce=False, error="greylisted"),
        S.DEFERRED,
        "soft greylisted",
        False,
    ),
    ("mailjet", mailjet("spam"), S.COMPLAINED, "", False),
    ("mailjet", mailjet("unsub"), S.OPTED_OUT, "", False),
    ("mailtrap", mailtrap("bounce", response="550 No"), S.BOUNCED, "550", False),
    ("mailtrap", mailtrap("soft bounce"), S.DEFERRED, "soft bounce", False),
    ("mailtrap", mailtrap("reject"), S.BOUNCED, "reject", False),
    ("mailtrap", mailtrap("spam"), S.COMPLAINED, "", False),
    ("mandrill", mandrill_event("send"), S.ACCEPTED, "", False),
    ("mandrill", mandrill_event("deferral", diag="421 later"), S.DEFERRED, "421", False),
    ("mandrill", mandrill_event("hard_bounce", diag="smtp;550 5.1.1 No"), S.BOUNCED, "550", D),
    ("mandrill", mandrill_event("soft_bounce"), S.BOUNCED, "soft_bounce", False),
    ("mandrill", mandrill_event("reject"), S.BOUNCED, "reject", False),
    ("mandrill", mandrill_event("unsub"), S.OPTED_OUT, "", False),
    ("mandrill", mandrill_event("whitelist"), S.OTHER, "", False),
    ("postal", postal(status="Held"), S.ACCEPTED, "", False),
    ("postal", postal(status="SoftFail", output="421 later"), S.DEFERRED, "421", False),
    ("postal", postal(status="HardFail"), S.BOUNCED, "HardFail", False),
    ("postal", postal(url="https://example.com/"), S.CLICKED, "", False),
    ("postal", postal(), S.OTHER, "", False),
    ("postmark", postmark("Bounce", Type="HardBounce", Details="smtp;550 5.1.1 No"), S.BOUNCED, "550", D),
    ("postmark", postmark("Bounce", Type="BadEmailAddress"), S.BOUNCED, "BadEmailAddress", D),
    ("postmark", postmark("Bounce", Type="SoftBounce", Details="No"), S.BOUNCED, "SoftBounce", False),
    ("postmark", postmark("Bounce", Type="Blocked"), S.BOUNCED, "Blocked", False),
    ("postmark", postmark("Bounce", Type="Transient"), S.DEFERRED, "Transient", False),
    ("postmark", postmark("Bounce", Type="AutoResponder"), S.OTHER, "", False),
    ("postmark", postmark("Bounce", Type="News"), S.BOUNCED, "News", False),
    ("postmark", postmark("SpamComplaint", Type="SpamComplaint"), S.COMPLAINED, "", False),
    (
        "postmark",
        postmark("SubscriptionChange", SuppressSending=True, SuppressionReason="ManualSuppression"),
        S.OPTED_OUT,
        "",
        False,
    ),
    (
        "postmark",
        postmark("SubscriptionChange", SuppressSending=True, SuppressionReason="HardBounce"),
        S.BOUNCED,
        "HardBounce",
        D,
    ),
    (
        "postmark",
        postmark("SubscriptionChange", SuppressSending=False, SuppressionReason=None),
        S.OTHER,
        "",
        False,
    ),
    ("postmark", postmark("Open"), S.OPENED, "", False),
    ("postmark", postmark("Click"), S.CLICKED, "", False),
    ("postmark", postmark("News"), S.OTHER, "", False),
    ("postmark", postmark("Inbound"), S.OTHER, "", False),
    ("resend", resend("email.sent"), S.ACCEPTED, "", False),
    ("resend", resend("email.delivery_delayed"), S.DEFERRED, "delivery_delayed", False),
    (
        "resend",
        resend("email.bounced", bounce={"type": "Permanent", "message": "No"}),
        S.BOUNCED,
        "bounced Permanent",
        D,
    ),
    (
        "resend",
        resend("email.bounced", bounce={"type": "Transient", "message": "No"}),
        S.BOUNCED,
        "bounced Transient",
        False,
    ),
    ("resend", resend("email.bounced", bounce={"message": "5.1.1 No"}), S.BOUNCED, "5.1.1", False),
    ("resend", resend("email.suppressed"), S.BOUNCED, "suppressed", D),
    ("resend", resend("email.failed"), S.BOUNCED, "failed", False),
    ("resend", resend("email.complained"), S.COMPLAINED, "", False),
    ("resend", resend("email.scheduled"), S.OTHER, "", False),
    ("resend", resend("contact.created"), S.OTHER, "", False),
    ("sparkpost", sparkpost("injection"), S.ACCEPTED, "", False),
    ("sparkpost", sparkpost("delay", bounce_class="20", raw_reason="421 later"), S.DEFERRED, "421", False),
    ("sparkpost", sparkpost("bounce", bounce_class="10", raw_reason="550 5.1.1 No"), S.BOUNCED, "550", D),
    ("sparkpost", sparkpost("out_of_band", bounce_class="30"), S.BOUNCED, "30", D),
    ("sparkpost", sparkpost("bounce", bounce_class="22"), S.BOUNCED, "22", False),
    ("sparkpost", sparkpost("bounce", bounce_class="90"), S.OPTED_OUT, "", False),
    ("sparkpost", sparkpost("bounce", bounce_class="60"), S.OTHER, "", False),
    ("sparkpost", sparkpost("generation_failure"), S.BOUNCED, "", False),
    ("sparkpost", sparkpost("policy_rejection"), S.BOUNCED, "", False),
    ("sparkpost", sparkpost("initial_open"), S.OTHER, "", False),
    ("sparkpost", sparkpost("list_unsubscribe"), S.OPTED_OUT, "", False),
    ("unisender_go", unisender_event("sent"), S.ACCEPTED, "", False),
    ("unisender_go", unisender_event("hard_bounced", "err_user_unknown"), S.BOUNCED, "550", D),
    ("unisender_go", unisender_event("hard_bounced", "err_spam_rejected"), S.BOUNCED, "550", False),
    ("unisender_go", unisender_event("soft_bounced", "err_will_retry"), S.DEFERRED, "550", False),
    ("unisender_go", unisender_event("subscribed"), S.OTHER, "", False),
]


def only(service: str, *events: dict[str, Any]) -> ReceiptEvent:
    [event] = receiver(service).parse(signed(service, body_of(service, *events)))
    return event


class TestEvents:
    @pytest.mark.parametrize(("service", "event", "kind", "code", "dead"), EVENTS)
    def test_each(
        self, service: str, event: dict[str, Any], kind: ReceiptKind, code: str, dead: bool
    ) -> None:
        got = only(service, event)
        assert (got.kind, got.code, got.address_is_dead) == (kind, code, dead)

    def test_every_row_of_the_tables_is_met(self) -> None:
        dead = [(service, event.get("event_data", event)) for service, event, _, _, dead in EVENTS if dead]
        met = {(service, _WORDS[service](event)) for service, event in dead}
        assert met == DEAD
        assert {kind for _, _, kind, _, _ in EVENTS} >= set(KINDS.values())

    @pytest.mark.parametrize("service", WEBHOOKS)
    def test_everything_in_one(self, service: str) -> None:
        source = DELIVERED[service]()
        request = signed(service, body_of(service, source))
        [event] = receiver(service).parse(request)
        ids = {"mailjet": "123", "postal": "7", "postmark": "m1", "resend": "m1", "sparkpost": "m1"}
        assert event.attempt == ATTEMPT_ID
        assert event.target == (None if service in ("mailersend", "postal") else TARGET_ID)
        assert event.provider_message_id == ids.get(service, "m1" if service == "unisender_go" else "<m1>")
        assert event.address == "Anna@example.com"
        assert event.occurred_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
        assert orjson.loads(event.raw) == (orjson.loads(request.body) if source.get("signature") else source)
        assert event.kind == ("opened" if service == "mandrill" else "delivered")

    @pytest.mark.parametrize("service", WEBHOOKS)
    def test_a_repetition_has_the_same_id_and_another_event_another(self, service: str) -> None:
        first = request_of(service)
        again = receiver(service).parse(first)[0].event_id
        assert receiver(service).parse(first)[0].event_id == again
        assert 0 < len(again) <= 200
        if service in ("brevo", "mailjet", "mandrill", "unisender_go"):  # which give none
            assert again.startswith("sha256:")
        other = json.loads(json.dumps(DELIVERED[service]()).replace("e1", "e2").replace("Anna", "Bert"))
        request = signed(service, body_of(service, other))
        if service == "resend":
            request = received(request.body, URL, **svix(request.body, id="msg_2"))
        assert receiver(service).parse(request)[0].event_id != again

    @pytest.mark.parametrize("service", ["mailjet", "mailtrap", "mandrill", "sparkpost", "unisender_go"])
    def test_many_and_junk_among_them(self, service: str) -> None:
        good = DELIVERED[service]()
        body = body_of(service, good, {"new": [1, {"a": "]"}]}, "x", None, good)  # type: ignore[arg-type]
        events = receiver(service).parse(signed(service, body))
        assert [event.attempt for event in events if event.attempt] == [ATTEMPT_ID] * 2
        assert all(event.kind is ReceiptKind.OTHER for event in events if not event.attempt)
        assert [orjson.loads(event.raw) for event in events if event.attempt] == [good, good]

    def test_the_bytes_as_they_came(self) -> None:
        pretty = json.dumps([mailjet("sent"), mailjet("open")], indent=3).encode()
        events = receiver("mailjet").parse(signed("mailjet", pretty))
        assert [event.kind for event in events] == ["delivered", "opened"]
        assert all(event.raw in pretty and b"\n   " in event.raw for event in events)

    def test_mailjet_without_a_group(self) -> None:
        body = orjson.dumps(mailjet("sent"))
        [event] = receiver("mailjet").parse(signed("mailjet", body))
        assert (event.kind, event.attempt, event.raw) == ("delivered", ATTEMPT_ID, body)

    def test_unisender_go_with_single_events(self) -> None:
        event = unisender_event("delivered")
        body = unisender({"event_name": event["event_name"], **event["event_data"]})
        request = signed("unisender_go", body)
        receiver("unisender_go").verify(request)
        [got] = receiver("unisender_go").parse(request)
        assert (got.kind, got.attempt, got.raw) == ("delivered", ATTEMPT_ID, body)

    def test_sparkpost_pings(self) -> None:
        assert receiver("sparkpost").parse(signed("sparkpost", b'[{"msys":{}}]')) == []

    def test_a_bounce_for_an_opt_out_tells_of_both(self) -> None:
        body = body_of("unisender_go", unisender_event("hard_bounced", "err_unsubscribed"))
        bounced, opted_out = receiver("unisender_go").parse(signed("unisender_go", body))
        assert (bounced.kind, bounced.address_is_dead, opted_out.kind) == ("bounced", False, "opted_out")
        assert opted_out.event_id == f"{bounced.event_id}:opted_out"
        assert opted_out.address == "Anna@example.com" and opted_out.attempt == ATTEMPT_ID

    @pytest.mark.parametrize("metadata", [None, 7, "x", [], {TARGET: 7, ATTEMPT: "x"}, {TARGET: None}])
    def test_a_reference_that_is_missing_or_garbage(self, metadata: Any) -> None:
        event = only("postmark", postmark("Delivery", Metadata=metadata))
        assert event.target is None and event.attempt is None

    @pytest.mark.parametrize(
        "when", [None, 7, "", "yesterday", "2023-11-14T22:13:20", "0001-01-01T00:00:00+14:00"]
    )
    def test_a_time_that_is_none(self, when: Any) -> None:
        assert only("postmark", postmark("Delivery", ReceivedAt=when)).occurred_at is None


@pytest.mark.parametrize("service", WEBHOOKS)
class TestParse:
    @pytest.mark.parametrize(
        "body", [b"", b"[1,", b"x", b"\xff\xfe", b"7", b'"x"', b"null", b"mandrill_events="]
    )
    def test_what_is_nothing_of_the_services(self, service: str, body: bytes) -> None:
        with pytest.raises(BadReceipt):
            receiver(service).parse(received(body, URL))

    def test_too_deep(self, service: str) -> None:
        deep = b"[" * 100_000
        with pytest.raises(BadReceipt):
            receiver(service).parse(
                received(b"mandrill_events=" + deep if service == "mandrill" else deep, URL)
            )

    @settings(max_examples=40, deadline=None)
    @given(body=st.binary(max_size=200))
    def test_any_bytes(self, service: str, body: bytes) -> None:
        check(service, received(body, URL))

    @settings(max_examples=40, deadline=None)
    @given(data=st.data())
    def test_its_own_with_anything_in_it(self, service: str, data: st.DataObject) -> None:
        junk = st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(10**12), 10**12)
            | st.floats(allow_nan=False)
            | st.text(),
            lambda inner: (
                st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=9), inner, max_size=2)
            ),
            max_leaves=4,
        )
        event = json.loads(json.dumps(DELIVERED[service]()))
        at: Any = event
        for _ in range(3):
            name = data.draw(st.sampled_from(sorted(at)))
            if not (isinstance(at[name], dict) and at[name] and data.draw(st.booleans())):
                break
            at = at[name]
        at[name] = data.draw(junk)
        body = json.dumps(event).encode()
        lists = {"mailjet": b"[%b]", "sparkpost": b"[%b]", "mailtrap": b'{"events":[%b]}'}
        whole = lists.get(service, b"%b") % body
        if service == "unisender_go":
            whole = body_of(service, json.loads(body))
        if service == "mandrill":
            whole = urlencode({"mandrill_events": b"[%b]" % body}).encode()
        check(service, received(whole, URL, **{"svix-id": "x"}))


def check(service: str, request: ReceivedRequest) -> None:
    """As `check_any_body`; what is in a form is in it decoded."""
    if service == "mandrill":
        decoded = unquote_to_bytes(request.body.replace(b"+", b" "))
        raws = [event.raw for event in events_of(service, request)]
        assert all(raw in decoded for raw in raws)
    else:
        check_any_body(receiver(service), request)


def events_of(service: str, request: ReceivedRequest) -> list[ReceiptEvent]:
    try:
        return receiver(service).parse(request)
    except BadReceipt:
        return []


def message(fate: str = "") -> Message:
    address = f"anna+sim-{fate}@example.com" if fate else "anna@example.com"
    return Message(target=uuid4(), attempt=uuid4(), address=address, subject="S", text="T")


RECEIVERS = {
    "postmark": {"webhook_secret": WEBHOOK_SECRET},
    "mailgun": {"signing_secret": SIGNING_KEY},
}


@pytest.mark.asyncio
class TestSimulator:
    @pytest.mark.parametrize("service", RECEIVERS)
    @pytest.mark.parametrize(
        ("fate", "kinds"),
        [
            ("", ["delivered"]),
            ("bounce", ["bounced"]),
            ("complain", ["complained", "delivered"]),
            ("stop", ["delivered", "opted_out"]),
        ],
    )
    async def test_its_receipts_are_ours_to_verify(
        self, simulator: Simulator, service: str, fate: str, kinds: list[str]
    ) -> None:
        async with serving(Inbox(AnymailReceiver(service, **RECEIVERS[service]))) as inbox:
            await turn_on(simulator, inbox)
            sent = message(fate)
            id = await self.send(simulator, service, sent)
            events = await inbox.until(len(kinds))
        assert sorted(event.kind for event in events) == kinds
        told = {(event.target, event.attempt, event.provider_message_id, event.address) for event in events}
        assert told == {(sent.target, sent.attempt, id, sent.address)}
        assert [event.address_is_dead for event in events] == [fate == "bounce"] * len(kinds)
        assert [event.code for event in events if event.code] == (
            {"postmark": ["550"], "mailgun": ["5.1.1"]}[service] if fate == "bounce" else []
        )

    async def test_an_opt_out_that_mailgun_tells_later(self, simulator: Simulator) -> None:
        async with serving(Inbox(AnymailReceiver("mailgun", **RECEIVERS["mailgun"]))) as inbox:
            await turn_on(simulator, inbox)
            await self.send(simulator, "mailgun", message("optout"))
            [event] = await inbox.until(1)
        assert (event.kind, event.code) == ("bounced", "permanent suppress-unsubscribe")

    @pytest.mark.parametrize("service", RECEIVERS)
    async def test_a_repetition_has_the_same_id(self, simulator: Simulator, service: str) -> None:
        async with serving(Inbox(AnymailReceiver(service, **RECEIVERS[service]), refusals=1)) as inbox:
            await turn_on(simulator, inbox, duplicates=1.0)
            await self.send(simulator, service, message())
            events = await inbox.until(2)
        assert len({event.event_id for event in events}) == 1 and inbox.requests >= 3

    async def test_the_others_are_silent(self, simulator: Simulator) -> None:
        async with serving(Inbox(AnymailReceiver("mailgun", **RECEIVERS["mailgun"]))) as inbox:
            await turn_on(simulator, inbox)
            await self.send(simulator, "resend", message())
            await self.send(simulator, "mailgun", message())
            await inbox.until(1)
            assert simulator.receipts.counts["anymail"]["reported"] == 1

    async def test_nobody_writes_to_it(self, simulator: Simulator) -> None:
        async with serving(Inbox(AnymailReceiver("mailgun", **RECEIVERS["mailgun"]))) as inbox:
            await turn_on(simulator, inbox)
            await control(
                simulator, "/inbound", {"provider": "anymail", "from": "a", "text": "b"}, status=400
            )

    async def send(self, simulator: Simulator, service: str, message: Message) -> str:
        url = simulator.url + ("/v3" if service == "mailgun" else "")
        adapter = AnymailAdapter(service, "re_x", "a@example.com", base_url=url)
        [outcome] = await send(adapter, [message])
        await adapter.close()
        return str(getattr(outcome, "provider_message_id", outcome))
