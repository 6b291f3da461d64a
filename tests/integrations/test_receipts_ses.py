from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from apps.integrations.contract import (
    Accepted,
    BadReceipt,
    BadSignature,
    Message,
    ReceiptEvent,
    ReceiptKind,
    ReceivedRequest,
)
from apps.integrations.ses import certificates
from apps.integrations.ses.adapter import SesAdapter
from apps.integrations.ses.receipts import MEANINGS, SesReceiver
from apps.integrations.ses.simulated_receipts import CERTIFICATES, FATES, TOPIC, certificate
from apps.integrations.simulator import FATES as ALL_FATES
from apps.integrations.simulator import Simulator

from .receipts import SLOWEST, Inbox, check_any_body, control, received, serving, turn_on
from .suite import free_port, send

OURS = "arn:aws:sns:eu-central-1:123456789012:receipts"
TARGET, ATTEMPT = UUID(int=1), UUID(int=2)
HOST = "https://sns.eu-central-1.amazonaws.com"
CERTIFICATE_URL = f"{HOST}/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
SUBSCRIBE_URL = f"{HOST}/?Action=ConfirmSubscription&TopicArn={OURS}&Token=2336412f37"
MESSAGE_ID = "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324"
SES_ID = "0107017a-e9aedb9a-02f9-4d12-a87d-dd0099a07f8a-000000"
AT = datetime(2017, 8, 5, 0, 41, 2, 669_000, UTC)
MAIL = {
    "timestamp": "2017-08-05T00:40:02.012Z",
    "source": "Sender Name <sender@example.com>",
    "messageId": SES_ID,
    "destination": ["Anna@example.com"],
    "tags": {
        "ses:configuration-set": ["receipts"],
        "carillon_target": [str(TARGET)],
        "carillon_attempt": [str(ATTEMPT)],
    },
}
FAILED = {
    "emailAddress": "Anna@EXAMPLE.com",
    "action": "failed",
    "status": "5.1.1",
    "diagnosticCode": "smtp; 550 5.1.1 user unknown",
}


@cache
def key(number: int = 0) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


def pem(
    private: Any = None,
    *,
    names: tuple[str, ...] = ("sns.amazonaws.com",),
    common_name: str = "sns.amazonaws.com",
    days: tuple[int, int] = (-1, 1),
) -> bytes:
    private = private or key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    begin, end = (datetime.now(UTC) + timedelta(days=day) for day in days)
    serial = x509.random_serial_number()
    builder = x509.CertificateBuilder(name, name, private.public_key(), serial, begin, end)
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    return builder.sign(private, hashes.SHA256()).public_bytes(Encoding.PEM)


CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n-----"  # an answer that breaks off


class Vendor:
    """Where certificates are fetched, and how often."""

    def __init__(self, content: bytes | Exception | None = None) -> None:
        self.content = pem() if content is None else content
        self.fetched: list[str] = []

    def __call__(self, url: str) -> bytes:
        self.fetched.append(url)
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


def receiver(vendor: Vendor | None = None, **options: str) -> SesReceiver:
    return SesReceiver(
        **{"topics": f"arn:aws:sns:eu-central-1:1:other, {OURS}", **options}, fetch=vendor or Vendor()
    )


def notification(message: str = "{}", **fields: Any) -> dict[str, Any]:
    return {
        "Type": "Notification",
        "MessageId": MESSAGE_ID,
        "TopicArn": OURS,
        "Subject": "Amazon SES Email Event Notification",
        "Message": message,
        "Timestamp": timestamp(),
        "SignatureVersion": "2",
        "SigningCertURL": CERTIFICATE_URL,
        "UnsubscribeURL": f"{HOST}/?Action=Unsubscribe",
        **fields,
    }


def subscription(**fields: Any) -> dict[str, Any]:
    usual = {"Type": "SubscriptionConfirmation", "SubscribeURL": SUBSCRIBE_URL, "Token": "2336412f37"}
    whole = notification("You have chosen to subscribe", **{**usual, **fields})
    return {name: value for name, value in whole.items() if name not in ("Subject", "UnsubscribeURL")}


def timestamp(age: float = 0) -> str:
    moment = datetime.now(UTC) - timedelta(seconds=age)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def signed(fields: dict[str, Any], private: rsa.RSAPrivateKey | None = None) -> dict[str, Any]:
    """As the vendor's page has it, without our own code."""
    names = ["Message", "MessageId"]
    names += ["Subject"] if "Subject" in fields else []
    names += ["SubscribeURL"] if fields["Type"] != "Notification" else []
    names += ["Timestamp"]
    names += ["Token"] if fields["Type"] != "Notification" else []
    names += ["TopicArn", "Type"]
    content = "".join(f"{name}\n{fields[name]}\n" for name in names).encode()
    algorithm = hashes.SHA1() if fields["SignatureVersion"] == "1" else hashes.SHA256()
    signature = (private or key()).sign(content, PKCS1v15(), algorithm)
    return {**fields, "Signature": base64.b64encode(signature).decode()}


def posted(fields: Any) -> ReceivedRequest:
    headers = {"x-amz-sns-message-type": "Notification", "Content-Type": "text/plain; charset=UTF-8"}
    return received(orjson.dumps(fields), **headers)


def parsed(report: Any, **fields: Any) -> list[ReceiptEvent]:
    return receiver().parse(posted(notification(orjson.dumps(report).decode(), **fields)))


def event(word: str, section: str = "", **particulars: Any) -> dict[str, Any]:
    stamped = {"timestamp": "2017-08-05T00:41:02.669Z", **particulars}
    return {"eventType": word, "mail": MAIL, **({section: stamped} if section else {})}


def refused(fields: Any, vendor: Vendor | None = None, **options: str) -> Vendor:
    """Fails unless it is not believed; returns the vendor to say what was fetched."""
    vendor = vendor or Vendor()
    with pytest.raises(BadSignature):
        receiver(vendor, **options).verify(posted(fields))
    return vendor


class TestVerify:
    @pytest.mark.parametrize("version", ["1", "2"])
    @pytest.mark.parametrize("message", ["{}", 'Grüße 🎉\n"quoted" \\ \t', "x" * 100_000, ""])
    def test_what_the_vendor_signed(self, version: str, message: str) -> None:
        receiver().verify(posted(signed(notification(message, SignatureVersion=version))))

    def test_without_a_subject(self) -> None:
        fields = notification()
        del fields["Subject"]
        receiver().verify(posted(signed(fields)))
        receiver().verify(posted({**signed(fields), "Subject": None}))

    @pytest.mark.parametrize("kind", ["SubscriptionConfirmation", "UnsubscribeConfirmation"])
    def test_control_messages(self, kind: str) -> None:
        receiver().verify(posted(signed(subscription(Type=kind))))

    @pytest.mark.parametrize("url", [CERTIFICATE_URL, "https://sns.cn-north-1.amazonaws.com.cn/a/b.pem"])
    def test_each_host_of_the_vendors(self, url: str) -> None:
        vendor = Vendor()
        receiver(vendor).verify(posted(signed(notification(SigningCertURL=url))))
        assert vendor.fetched == [url]

    @pytest.mark.parametrize("name", ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"])
    def test_another_value(self, name: str) -> None:
        other = {"TopicArn": "arn:aws:sns:eu-central-1:1:other", "Timestamp": timestamp(60)}
        refused({**signed(notification()), name: other.get(name, "x")})

    @pytest.mark.parametrize("name", ["Message", "SubscribeURL", "Token", "MessageId"])
    def test_another_value_of_a_control_message(self, name: str) -> None:
        refused({**signed(subscription()), name: "x"})

    def test_one_type_signed_as_another(self) -> None:
        refused({**signed(subscription()), "Type": "Notification"})
        refused({**signed(subscription()), "Type": "UnsubscribeConfirmation"})

    @pytest.mark.parametrize("value", [None, 7, [], {}, ""])
    @pytest.mark.parametrize("name", sorted(signed(notification())))
    def test_a_field_that_is_no_text(self, name: str, value: Any) -> None:
        fields = {**signed(notification()), name: value}
        if name == "UnsubscribeURL":  # not signed, and not used
            receiver().verify(posted(fields))
        else:
            refused(fields)

    @pytest.mark.parametrize("name", sorted({*signed(notification())} - {"UnsubscribeURL"}))
    def test_a_field_that_is_missing(self, name: str) -> None:
        refused({key: value for key, value in signed(notification()).items() if key != name})

    def test_another_key(self) -> None:
        refused(signed(notification(), key(1)))

    def test_a_hash_of_the_other_version(self) -> None:
        refused({**signed(notification(SignatureVersion="1")), "SignatureVersion": "2"})

    @pytest.mark.parametrize("version", ["0", "3", "", "01"])
    def test_an_unknown_version(self, version: str) -> None:
        fields = {**signed(notification()), "SignatureVersion": version}
        assert refused(fields).fetched == []

    @pytest.mark.parametrize("signature", ["", "x", "ü", "AAAA", "A" * 344])
    def test_no_signature(self, signature: str) -> None:
        refused({**signed(notification()), "Signature": signature})

    @pytest.mark.parametrize(
        "body", [b"", b"[]", b"7", b"null", b"\xff", b"{", b'"x"', b'{"Type": "Notification"}']
    )
    def test_what_is_no_message_of_theirs(self, body: bytes) -> None:
        with pytest.raises(BadSignature):
            receiver().verify(received(body))

    def test_raw_delivery_is_not_signed(self) -> None:
        refused(event("Send"))

    @given(st.binary(max_size=200))
    def test_any_bytes(self, body: bytes) -> None:
        with pytest.raises(BadSignature):
            receiver(Vendor(b"")).verify(received(body))

    @given(
        st.dictionaries(
            st.sampled_from(sorted(signed(notification()))),
            st.none() | st.integers(0, 9) | st.text(max_size=20),
        )
    )
    def test_any_fields(self, fields: dict[str, Any]) -> None:
        with pytest.raises(BadSignature):
            receiver(Vendor(b"")).verify(posted({"TopicArn": OURS, **fields, "Signature": "AAAA"}))


class TestTopics:
    @pytest.mark.parametrize("topic", [f"{OURS}x", OURS.upper(), "arn:aws:sns:eu-central-1:666:receipts", ""])
    def test_anothers_topic_is_signed_as_well(self, topic: str) -> None:
        assert refused(signed(notification(TopicArn=topic))).fetched == []

    @pytest.mark.parametrize("topics", ["", " ", ",", " , "])
    def test_there_must_be_one(self, topics: str) -> None:
        with pytest.raises(ValueError, match="topic"):
            SesReceiver(topics)

    def test_each_of_several(self) -> None:
        for topic in ("arn:aws:sns:eu-central-1:1:other", OURS):
            receiver().verify(posted(signed(notification(TopicArn=topic))))


class TestFreshness:
    @pytest.mark.parametrize("age", [0, 3_600, 24 * 3_600, -24 * 3_600])
    def test_repetitions_and_outages(self, age: float) -> None:
        receiver().verify(posted(signed(notification(Timestamp=timestamp(age)))))

    @pytest.mark.parametrize("age", [26 * 3_600, 365 * 86_400, -26 * 3_600])
    def test_too_old_or_in_the_future(self, age: float) -> None:
        assert refused(signed(notification(Timestamp=timestamp(age)))).fetched == []

    @pytest.mark.parametrize("value", ["yesterday", "", "2017", "0001-01-01T00:00:00+14:00"])
    def test_no_time(self, value: str) -> None:
        assert refused(signed(notification(Timestamp=value))).fetched == []

    def test_a_replay_is_the_same_event(self) -> None:
        body = posted(signed(notification(orjson.dumps(event("Open", "open")).decode())))
        ours = receiver()
        for _ in range(2):
            ours.verify(body)
        assert ours.parse(body) == ours.parse(body)


class TestCertificates:
    @pytest.mark.parametrize(
        "url",
        [
            CERTIFICATE_URL.replace("https", "http"),
            CERTIFICATE_URL.replace(".com/", ".com.evil.example/"),
            CERTIFICATE_URL.replace("https://sns", "https://evil.example/sns"),
            CERTIFICATE_URL.replace("https://", "https://evil.example@"),
            CERTIFICATE_URL.replace(".com/", ".com:8443/"),
            CERTIFICATE_URL.replace(".com/", ".com@evil.example/"),
            CERTIFICATE_URL.replace(".com/", ".com\\@evil.example/"),
            CERTIFICATE_URL.replace("eu-central-1", "s3"),
            CERTIFICATE_URL.replace("sns.eu-central-1", "bucket.s3"),
            CERTIFICATE_URL.replace("sns.eu", "sns.x.eu"),
            CERTIFICATE_URL.replace(".pem", ".txt"),
            CERTIFICATE_URL + "?x.pem",
            CERTIFICATE_URL + "#x.pem",
            CERTIFICATE_URL + "\n",
            HOST + "/?Action=x.pem",
            "file:///etc/x.pem",
            "http://127.0.0.1:1/sns/x.pem",
            "",
        ],
    )
    def test_only_at_the_vendors(self, url: str) -> None:
        assert refused(signed(notification(SigningCertURL=url))).fetched == []

    def test_fetched_once(self) -> None:
        vendor = Vendor()
        ours = receiver(vendor)
        for number in range(3):
            ours.verify(posted(signed(notification(MessageId=str(number)))))
        assert vendor.fetched == [CERTIFICATE_URL]

    def test_what_could_not_be_fetched_is_tried_again(self) -> None:
        vendor = Vendor(OSError("no route to host"))
        ours, request = receiver(vendor), posted(signed(notification()))
        with pytest.raises(OSError, match="no route"):
            ours.verify(request)
        vendor.content = pem()
        ours.verify(request)
        assert len(vendor.fetched) == 2

    @pytest.mark.parametrize(
        "content",
        [
            pem(days=(-2, -1)),
            pem(days=(1, 2)),
            pem(names=("evil.example",)),
            pem(names=("evil.example", "sns.amazonaws.com.evil.example")),
            pem(names=("bucket.s3.amazonaws.com",)),
            pem(names=(), common_name="evil.example"),
            pem(ec.generate_private_key(ec.SECP256R1())),
            pem().replace(b"CERTIFICATE", b"PUBLIC KEY"),
            b"",
            b"<html>",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ],
    )
    def test_one_that_is_none_of_theirs(self, content: bytes) -> None:
        assert refused(signed(notification()), Vendor(content)).fetched == [CERTIFICATE_URL]

    @pytest.mark.parametrize(
        "content",
        [
            pem(names=(), common_name="sns.amazonaws.com"),
            pem(names=("sns.eu-central-1.amazonaws.com",), common_name="x"),
            pem(names=("sns.cn-north-1.amazonaws.com.cn",)),
            pem() + pem(key(1)),
        ],
    )
    def test_one_that_is(self, content: bytes) -> None:
        receiver(Vendor(content)).verify(posted(signed(notification())))

    def test_one_that_ran_out_while_it_was_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ours, request = receiver(), posted(signed(notification()))
        ours.verify(request)

        class Later(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                return datetime.now(tz) + timedelta(days=2)

        monkeypatch.setattr(certificates, "datetime", Later)
        with pytest.raises(BadSignature, match="not valid now"):
            ours.verify(request)

    @pytest.mark.parametrize("base", ["http://127.0.0.1:8025/sns", "http://127.0.0.1:8025/sns/"])
    def test_another_place_only_where_it_is_named(self, base: str) -> None:
        url = "http://127.0.0.1:8025/sns/x.pem"
        receiver(certificate_url=base).verify(posted(signed(notification(SigningCertURL=url))))
        receiver(certificate_url=base).verify(posted(signed(notification())))
        assert refused(signed(notification(SigningCertURL=url))).fetched == []
        for other in ("http://127.0.0.1:8025/snsx/x.pem", "http://127.0.0.1:80251/sns/x.pem"):
            fields = signed(notification(SigningCertURL=other))
            assert refused(fields, certificate_url=base).fetched == []

    def test_it_is_not_the_beginning_of_another_host(self) -> None:
        fields = signed(notification(SigningCertURL="http://127.0.0.1:8025@evil.example/x.pem"))
        assert refused(fields, certificate_url="http://127.0.0.1:8025").fetched == []


@asynccontextmanager
async def website(status: int, body: bytes, **headers: str) -> AsyncIterator[tuple[str, list[str]]]:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        return web.Response(status=status, body=body, headers=headers)

    app = web.Application()
    app.router.add_get("/{anything:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    await runner.cleanup()


@pytest.mark.asyncio
class TestFetch:
    async def test_what_is_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        async with website(200, b"x" * certificates.LARGEST) as (url, asked):
            content = await asyncio.to_thread(certificates.fetch, f"{url}/a/b.pem")
        assert content == b"x" * certificates.LARGEST and asked == ["/a/b.pem"]

    @pytest.mark.parametrize(
        ("status", "body"),
        [(404, b"x"), (500, b""), (302, b"x"), (204, b""), (200, b"x" * (certificates.LARGEST + 1))],
    )
    async def test_what_is_not(self, status: int, body: bytes) -> None:
        async with website(status, body, Location="/elsewhere.pem") as (url, asked):
            with pytest.raises(OSError, match="the certificate"):
                await asyncio.to_thread(certificates.fetch, f"{url}/b.pem")
        assert asked == ["/b.pem"]

    async def test_nobody_there(self) -> None:
        with pytest.raises(OSError, match="refused"):
            await asyncio.to_thread(certificates.fetch, f"http://127.0.0.1:{free_port()}/b.pem")

    @pytest.mark.parametrize("said", [b"220 smtp.example.com\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-", CUT])
    async def test_what_is_no_http(self, said: bytes) -> None:
        async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(said)
            writer.close()

        async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(OSError):
                await asyncio.to_thread(certificates.fetch, f"http://127.0.0.1:{port}/b.pem")

    async def test_neither_silence_nor_dripping_lasts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(certificates, "TIMEOUT", 0.3)
        ended = asyncio.Event()

        async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            for _ in range(60):
                writer.write(b"x")
                with suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), 0.05)
            writer.close()

        async def silence(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await ended.wait()
            writer.close()

        for talk in (drip, silence):
            async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
                port = server.sockets[0].getsockname()[1]
                with pytest.raises(OSError):
                    await asyncio.to_thread(certificates.fetch, f"http://127.0.0.1:{port}/b.pem")
                ended.set()
            ended.clear()


class TestConfirmation:
    def test_the_url_that_subscribes(self) -> None:
        assert receiver().confirmation(posted(signed(subscription()))) == SUBSCRIBE_URL

    @pytest.mark.parametrize(
        "fields",
        [
            subscription(Type="UnsubscribeConfirmation"),  # its URL would subscribe again
            notification(),
            notification(SubscribeURL=SUBSCRIBE_URL),
            subscription(TopicArn="arn:aws:sns:eu-central-1:666:receipts"),
            subscription(Timestamp=timestamp(7 * 86_400)),
            *(
                subscription(SubscribeURL=url)
                for url in (
                    SUBSCRIBE_URL.replace("https", "http"),
                    SUBSCRIBE_URL.replace(".com/", ".com.evil.example/"),
                    SUBSCRIBE_URL.replace("https://", "https://evil.example@"),
                    SUBSCRIBE_URL.replace(".com/?", ".com@169.254.169.254/?"),
                    SUBSCRIBE_URL.replace("ConfirmSubscription", "Unsubscribe"),
                    SUBSCRIBE_URL.replace("/?", "/x?"),
                    SUBSCRIBE_URL + " x",
                    SUBSCRIBE_URL + "&Action=DeleteTopic",
                    "http://127.0.0.1/?Action=ConfirmSubscription",
                    "",
                )
            ),
        ],
    )
    def test_no_other(self, fields: dict[str, Any]) -> None:
        assert receiver().confirmation(posted(signed(fields))) is None

    def test_nothing_of_what_is_not_signed(self) -> None:
        assert receiver().confirmation(posted({**signed(subscription()), "Token": "x"})) is None
        assert receiver().confirmation(posted(signed(subscription(), key(1)))) is None
        assert receiver().confirmation(received(b"")) is None

    def test_the_simulators_certificate_does_not_change_where_it_leads(self) -> None:
        url = "http://127.0.0.1:8025/sns/x.pem"
        fields = subscription(
            SigningCertURL=url, SubscribeURL="http://127.0.0.1:8025/?Action=ConfirmSubscription"
        )
        ours = receiver(certificate_url="http://127.0.0.1:8025/sns/")
        ours.verify(posted(signed(fields)))
        assert ours.confirmation(posted(signed(fields))) is None


class TestKinds:
    @pytest.mark.parametrize(
        ("report", "kind", "code", "dead"),
        [
            ({"eventType": "Send", "mail": MAIL, "send": {}}, "accepted", "", False),
            (event("Delivery", "delivery", recipients=["anna@example.com"]), "delivered", "", False),
            (
                event("DeliveryDelay", "deliveryDelay", delayType="MailboxFull", delayedRecipients=[]),
                "deferred",
                "MailboxFull",
                False,
            ),
            (
                event("DeliveryDelay", "deliveryDelay", delayedRecipients=[{**FAILED, "status": "4.2.2"}]),
                "deferred",
                "4.2.2",
                False,
            ),
            (event("Reject", "reject", reason="Bad content"), "bounced", "Bad content", False),
            (event("Rendering Failure", "failure"), "bounced", "Rendering Failure", False),
            (event("Open", "open", ipAddress="192.0.2.1"), "opened", "", False),
            (event("Click", "click", link="https://example.com"), "clicked", "", False),
            (event("Complaint", "complaint", complaintFeedbackType="abuse"), "complained", "abuse", False),
            (event("Complaint", "complaint", complaintSubType=None), "complained", "", False),
            (event("Complaint", "complaint", complaintFeedbackType="not-spam"), "other", "not-spam", False),
            (
                event("Complaint", "complaint", complaintFeedbackType="auth-failure"),
                "other",
                "auth-failure",
                False,
            ),
            (
                event("Complaint", "complaint", complaintSubType="OnAccountSuppressionList"),
                "bounced",
                "OnAccountSuppressionList",
                True,
            ),
            (event("Something new", "new"), "other", "", False),
            (event("send"), "other", "", False),
            ({"notificationType": "AmazonSnsSubscriptionSucceeded", "message": "…"}, "other", "", False),
            ({}, "other", "", False),
        ],
    )
    def test_each_event(self, report: Any, kind: str, code: str, dead: bool) -> None:
        [found] = parsed(report)
        assert (found.kind, found.code, found.address_is_dead) == (kind, code, dead)

    @pytest.mark.parametrize(
        ("kind", "subkind", "code", "dead"),
        [
            ("Permanent", "General", "5.1.1", True),
            ("Permanent", "NoEmail", "5.1.1", True),
            ("Permanent", "Suppressed", "Suppressed", True),
            ("Permanent", "OnAccountSuppressionList", "OnAccountSuppressionList", True),
            ("Permanent", "SomethingNew", "5.1.1", False),
            ("Transient", "General", "5.1.1", False),
            ("Transient", "MailboxFull", "5.1.1", False),
            ("Transient", "ContentRejected", "5.1.1", False),
            ("Undetermined", "Undetermined", "5.1.1", False),
            ("", "", "5.1.1", False),
            (None, None, "5.1.1", False),
        ],
    )
    def test_each_bounce(self, kind: str, subkind: str, code: str, dead: bool) -> None:
        particulars = {"bounceType": kind, "bounceSubType": subkind, "bouncedRecipients": [FAILED]}
        [found] = parsed(event("Bounce", "bounce", **particulars))
        assert (found.kind, found.code, found.address_is_dead) == (ReceiptKind.BOUNCED, code, dead)

    @pytest.mark.parametrize(
        ("recipient", "code"),
        [
            ({"status": "5.2.2", "diagnosticCode": "smtp; 550 x"}, "5.2.2"),
            ({"diagnosticCode": "smtp; 550 5.1.1 <anna@example.com> unknown"}, "550"),
            ({"diagnosticCode": "anna@example.com is unknown"}, "MailboxFull"),
            ({"status": 5}, "MailboxFull"),
            ({}, "MailboxFull"),
        ],
    )
    def test_the_reason_of_a_bounce(self, recipient: dict[str, Any], code: str) -> None:
        whole = {"bounceSubType": "MailboxFull", "bouncedRecipients": [{**recipient, "emailAddress": "a@b"}]}
        assert parsed(event("Bounce", "bounce", **whole))[0].code == code

    @pytest.mark.parametrize(
        ("wishes", "kind"),
        [
            ({"unsubscribeAll": True}, "opted_out"),
            (
                {
                    "unsubscribeAll": False,
                    "topicSubscriptionStatus": [{"topicName": "n", "subscriptionStatus": "OptOut"}],
                },
                "opted_out",
            ),
            (
                {
                    "unsubscribeAll": False,
                    "topicSubscriptionStatus": [{"topicName": "n", "subscriptionStatus": "OptIn"}],
                },
                "other",
            ),
            ({}, "other"),
            (None, "other"),
        ],
    )
    def test_each_subscription(self, wishes: Any, kind: str) -> None:
        [found] = parsed(event("Subscription", "subscription", newTopicPreferences=wishes))
        assert found.kind == kind and found.address == "Anna@example.com"

    def test_every_row_of_the_table_is_met(self) -> None:
        """A row that no report can reach would be a dead word."""
        for (word, detail), meaning in MEANINGS.items():
            kind, _, subkind = detail.partition(" ")
            sections = {
                "Bounce": {"bounceType": kind, "bounceSubType": subkind},
                "Complaint": {"complaintFeedbackType": detail},
                "Subscription": {"newTopicPreferences": {"unsubscribeAll": detail == "left"}},
            }
            [found] = parsed(event(word, word.lower(), **sections.get(word, {})))
            if (word, detail) != ("Complaint", "OnAccountSuppressionList"):  # a subtype: see above
                assert (found.kind, found.address_is_dead) == (meaning.kind, meaning.dead)

    @pytest.mark.parametrize("word", ["Bounce", "Complaint", "Delivery"])
    def test_notifications_of_an_identity(self, word: str) -> None:
        """They say notificationType, have no tags, and the mail's headers if they are told to."""
        report = event(word, word.lower())
        headers = [
            {"name": "From", "value": "x"},
            {"name": "X-Carillon-Target", "value": str(TARGET)},
            {"name": "x-carillon-attempt", "value": str(ATTEMPT)},
        ]
        mail = {**{name: value for name, value in MAIL.items() if name != "tags"}, "headers": headers}
        [found] = parsed({"notificationType": report.pop("eventType"), **report, "mail": mail})
        assert found.kind is parsed(event(word, word.lower()))[0].kind
        assert (found.target, found.attempt) == (TARGET, ATTEMPT)


class TestParse:
    def test_everything_in_a_report(self) -> None:
        particulars = {"bounceType": "Permanent", "bounceSubType": "NoEmail", "bouncedRecipients": [FAILED]}
        message = orjson.dumps(event("Bounce", "bounce", **particulars)).decode()
        request = posted(signed(notification(message)))
        ours = receiver()
        ours.verify(request)
        assert ours.parse(request) == [
            ReceiptEvent(
                event_id=MESSAGE_ID,
                kind=ReceiptKind.BOUNCED,
                target=TARGET,
                attempt=ATTEMPT,
                provider_message_id=SES_ID,
                address="Anna@example.com",
                code="5.1.1",
                address_is_dead=True,
                occurred_at=AT,
                raw=request.body,
            )
        ]

    @pytest.mark.parametrize(
        ("word", "section", "name"),
        [
            ("Bounce", "bounce", "bouncedRecipients"),
            ("Complaint", "complaint", "complainedRecipients"),
            ("DeliveryDelay", "deliveryDelay", "delayedRecipients"),
            ("Delivery", "delivery", "recipients"),
        ],
    )
    def test_an_event_for_each_recipient(self, word: str, section: str, name: str) -> None:
        addresses = ["a@example.com", "B@Example.Com", "c@example.com"]
        listed = addresses if name == "recipients" else [{"emailAddress": one} for one in addresses]
        found = parsed(event(word, section, **{name: listed}))
        assert [one.address for one in found] == ["a@example.com", "B@example.com", "c@example.com"]
        assert [one.event_id for one in found] == [MESSAGE_ID, f"{MESSAGE_ID}:1", f"{MESSAGE_ID}:2"]
        assert {one.kind for one in found} == {MEANINGS[word, ""].kind}

    def test_the_mails_recipients_where_the_event_names_none(self) -> None:
        report = {
            **event("Open", "open"),
            "mail": {**MAIL, "destination": ["a@example.com", "b@example.com"]},
        }
        assert [one.address for one in parsed(report)] == ["a@example.com", "b@example.com"]

    def test_the_mails_time_where_the_event_has_none(self) -> None:
        [found] = parsed({"eventType": "Send", "mail": MAIL, "send": {}})
        assert found.occurred_at == datetime(2017, 8, 5, 0, 40, 2, 12_000, UTC)

    @pytest.mark.parametrize("value", [None, 7, "", "soon", "9999-12-31T23:59:59-23:59", []])
    def test_a_time_that_is_none(self, value: Any) -> None:
        report = {**event("Open", "open", timestamp=value), "mail": {}}
        assert parsed(report)[0].occurred_at is None

    @pytest.mark.parametrize(
        ("value", "address"),
        [
            ("Anna <anna@EXAMPLE.com>", "anna@example.com"),
            ("<anna@example.com>", "anna@example.com"),
            ("nobody", "nobody"),
            ("", ""),
            (None, ""),
            (7, ""),
            ("a\x00@b", "a@b"),
            ("İ" * 300, "İ" * 254),
        ],
    )
    def test_an_address(self, value: Any, address: str) -> None:
        report = {**event("Open", "open"), "mail": {**MAIL, "destination": [value]}}
        found = parsed(report)[0].address
        assert found == address or found == address.lower()[:254]

    @pytest.mark.parametrize("tags", [None, {}, {"carillon_target": []}, {"carillon_target": "x"}, [], 7])
    def test_a_reference_that_is_missing_or_garbage(self, tags: Any) -> None:
        [found] = parsed({**event("Open", "open"), "mail": {**MAIL, "tags": tags, "headers": ["x", {}, 7]}})
        assert (found.target, found.attempt) == (None, None) and found.provider_message_id == SES_ID

    def test_half_a_reference(self) -> None:
        tags = {"carillon_attempt": [str(ATTEMPT)], "carillon_target": ["x"]}
        [found] = parsed({**event("Open", "open"), "mail": {**MAIL, "tags": tags}})
        assert (found.target, found.attempt) == (None, ATTEMPT)

    @pytest.mark.parametrize(
        "message",
        ["Successfully validated SNS topic for Amazon SES event publishing.", "", "[]", "7", "[" * 100_000],
    )
    def test_what_is_about_no_mail(self, message: str) -> None:
        request = posted(notification(message))
        [found] = receiver().parse(request)
        assert found == ReceiptEvent(event_id=MESSAGE_ID, kind=ReceiptKind.OTHER, raw=request.body)

    @pytest.mark.parametrize("kind", ["SubscriptionConfirmation", "UnsubscribeConfirmation", "New", None])
    def test_control_messages_are_one_event(self, kind: Any) -> None:
        request = posted(subscription(Type=kind, Message=orjson.dumps(event("Bounce", "bounce")).decode()))
        [found] = receiver().parse(request)
        assert (found.kind, found.target, found.address) == (ReceiptKind.OTHER, None, "")

    @pytest.mark.parametrize("id", [None, 7, "", "\x00", "x" * 181])
    def test_an_id_that_cannot_be_kept(self, id: Any) -> None:
        [found] = parsed(event("Open", "open"), MessageId=id)
        assert found.event_id.startswith("sha256:")

    @pytest.mark.parametrize("body", [b"", b"[]", b"7", b"{", b"\xff", b"null"])
    def test_what_cannot_be_read(self, body: bytes) -> None:
        with pytest.raises(BadReceipt):
            receiver().parse(received(body))

    @given(st.binary(max_size=200))
    def test_any_bytes(self, body: bytes) -> None:
        check_any_body(receiver(Vendor(b"")), received(body))

    @given(st.data())
    def test_any_report(self, data: st.DataObject) -> None:
        json = st.recursive(
            st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=300),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=4,
        )
        words = st.sampled_from([word for word, _ in MEANINGS])
        names = ("timestamp", "bounceType", "bounceSubType", "complaintSubType", "reason", "delayType")
        recipients = st.lists(
            st.dictionaries(st.sampled_from(["emailAddress", "status", "diagnosticCode"]), json) | json,
            max_size=3,
        )
        section = st.fixed_dictionaries(
            {},
            optional={
                **dict.fromkeys(names, json),
                "bouncedRecipients": recipients,
                "recipients": recipients,
            },
        )
        mail = st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("messageId", "destination", "tags", "headers", "timestamp"), json)
        )
        sections = dict.fromkeys(
            ("bounce", "delivery", "complaint", "subscription", "reject"), section | json
        )
        report = st.fixed_dictionaries(
            {"eventType": words | json}, optional={**sections, "mail": mail | json}
        )
        message = orjson.dumps(data.draw(report)).decode()
        check_any_body(receiver(Vendor(b"")), posted(notification(message, MessageId=data.draw(json))))


def mail(fate: str = "") -> Message:
    address = f"anna+sim-{fate}@example.com" if fate else "anna@example.com"
    return Message(target=uuid4(), attempt=uuid4(), address=address, subject="S", text="T")


@pytest.mark.asyncio
class TestSimulator:
    @pytest.mark.parametrize(
        ("fate", "kinds"),
        [
            ("", ["accepted", "delivered"]),
            ("optout", ["accepted", "bounced"]),
            ("bounce", ["accepted", "bounced"]),
            ("complain", ["accepted", "delivered", "complained"]),
            ("stop", ["accepted", "delivered", "opted_out"]),
        ],
    )
    async def test_its_receipts_are_ours_to_verify(
        self, simulator: Simulator, fate: str, kinds: list[str]
    ) -> None:
        message, vendor = mail(fate), Vendor(certificate().pem)
        ours = SesReceiver(TOPIC, certificate_url=f"{simulator.url}{CERTIFICATES}", fetch=vendor)
        async with serving(Inbox(ours)) as inbox:
            await turn_on(simulator, inbox)
            id = await self.send(simulator, message)
            events = await inbox.until(len(kinds))
        assert sorted(event.kind for event in events) == sorted(kinds)
        assert {event.address for event in events} == {message.address}
        assert {(event.target, event.attempt, event.provider_message_id) for event in events} == {
            (message.target, message.attempt, id)
        }
        dead = {"bounce": ["5.1.1"], "optout": ["OnAccountSuppressionList"]}
        assert [event.code for event in events if event.address_is_dead] == dead.get(fate, [])
        assert vendor.fetched == [simulator.url + certificate().path]

    async def test_every_fate_is_played(self) -> None:
        assert FATES.keys() == {"", *ALL_FATES}

    async def test_a_repetition_is_the_same_event(self, simulator: Simulator) -> None:
        ours = SesReceiver(TOPIC, certificate_url=simulator.url, fetch=Vendor(certificate().pem))
        async with serving(Inbox(ours, refusals=2)) as inbox:
            await turn_on(simulator, inbox, duplicates=1)
            await self.send(simulator, mail())
            events = await inbox.until(4)
        assert len(events) == 4 and len({event.event_id for event in events}) == 2
        assert inbox.requests >= 6

    async def test_its_certificate_is_served(self, simulator: Simulator) -> None:
        """Fetched for real, by a thread, since the simulator lives in this one."""
        came: asyncio.Queue[bytes] = asyncio.Queue()

        async def keep(request: web.BaseRequest) -> None:
            if request.path == "/hook":
                came.put_nowait(await request.read())

        simulator._watcher = keep
        await control(simulator, "/receipts", {"provider": "ses", "url": f"{simulator.url}/hook"})
        await self.send(simulator, mail())
        request = received(await asyncio.wait_for(came.get(), SLOWEST))
        ours = SesReceiver(TOPIC, certificate_url=f"{simulator.url}{CERTIFICATES}")
        await asyncio.to_thread(ours.verify, request)
        strict = SesReceiver(TOPIC)
        with pytest.raises(BadSignature, match="not at the vendor's"):
            await asyncio.to_thread(strict.verify, request)

    async def send(self, simulator: Simulator, message: Message) -> str:
        adapter = SesAdapter(
            "AKIA0123456789ABCDEF", "x", "eu-central-1", "hello@carillon.example", base_url=simulator.url
        )
        [outcome] = await send(adapter, [message])
        await adapter.close()
        assert isinstance(outcome, Accepted)
        return outcome.provider_message_id
