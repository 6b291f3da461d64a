from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from apps.integrations.contract import (
    BadReceipt,
    BadSignature,
    Message,
    ReceiptEvent,
    ReceiptKind,
    ReceivedRequest,
)
from apps.integrations.sendgrid import ATTEMPT, TARGET
from apps.integrations.sendgrid.adapter import SendGridAdapter
from apps.integrations.sendgrid.receipts import MEANINGS, SIGNATURE, TIMESTAMP, TOLERANCE, SendGridReceiver
from apps.integrations.sendgrid.simulated_receipts import FATES, PUBLIC_KEY
from apps.integrations.simulator import Simulator
from project.dev.processes import simulated

from .receipts import Inbox, check_any_body, received, serving, turn_on
from .suite import send

KEY = ec.generate_private_key(ec.SECP256R1())
BODY = b'[{"email":"anna@example.com","event":"delivered","sg_event_id":"e1"}]\r\n'
EVENT = {
    "email": "Anna.B@Example.COM",
    "timestamp": 1513299569,
    "smtp-id": "<14c5d75ce93.dfd.64b469@ismtpd-555>",
    "event": "delivered",
    "category": ["cat facts"],
    "sg_event_id": "ZGVsaXZlcmVkLTA",
    "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
    "response": "250 OK",
    TARGET: "018f5b7a-0000-7000-8000-000000000001",
    ATTEMPT: "018f5b7a-0000-7000-8000-000000000002",
}


def public_key(key: ec.EllipticCurvePrivateKey) -> str:
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def signed(body: bytes = BODY, *, age: float = 0, key: ec.EllipticCurvePrivateKey = KEY) -> ReceivedRequest:
    """As the vendor's page has it: ECDSA with SHA-256 over the timestamp and the body."""
    timestamp = str(int(time.time() - age))
    signature = base64.b64encode(key.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))).decode()
    return received(body, **{SIGNATURE: signature, TIMESTAMP: timestamp})


def altered(request: ReceivedRequest, body: bytes | None = None, **headers: str) -> ReceivedRequest:
    merged = {**request.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return received(request.body if body is None else body, **merged)


RECEIVER = SendGridReceiver(public_key(KEY))


def parsed(*events: object) -> list[ReceiptEvent]:
    return RECEIVER.parse(received(orjson.dumps(events) + b"\r\n"))


class TestVerify:
    @pytest.mark.parametrize("body", [BODY, b"", b"\xff\xfe\x00 not UTF-8\r\n", "[ü]\r\n".encode()])
    def test_what_the_vendor_signed(self, body: bytes) -> None:
        RECEIVER.verify(signed(body))

    def test_header_names_in_lower_case(self) -> None:
        request = signed()
        RECEIVER.verify(received(BODY, **{name.lower(): value for name, value in request.headers.items()}))

    @pytest.mark.parametrize(
        "body", [BODY.removesuffix(b"\r\n"), BODY + b" ", BODY.replace(b"anna", b"bnna"), b"", b"\xff" + BODY]
    )
    def test_other_bytes(self, body: bytes) -> None:
        with pytest.raises(BadSignature):
            RECEIVER.verify(altered(signed(), body))

    def test_json_that_was_written_anew(self) -> None:
        with pytest.raises(BadSignature):
            RECEIVER.verify(altered(signed(), orjson.dumps(orjson.loads(BODY))))

    def test_each_bit_of_the_body_counts(self) -> None:
        request = signed()
        for index in range(len(BODY)):
            flipped = BODY[:index] + bytes([BODY[index] ^ 1]) + BODY[index + 1 :]
            with pytest.raises(BadSignature):
                RECEIVER.verify(altered(request, flipped))

    def test_another_key(self) -> None:
        with pytest.raises(BadSignature):
            RECEIVER.verify(signed(key=ec.generate_private_key(ec.SECP256R1())))

    @pytest.mark.parametrize(
        "signature",
        ["", "x", "====", "AAAA", "ü", base64.b64encode(b"\x30\x06\x02\x01\x01\x02\x01\x01").decode()],
    )
    def test_no_signature(self, signature: str) -> None:
        with pytest.raises(BadSignature):
            RECEIVER.verify(altered(signed(), X_Twilio_Email_Event_Webhook_Signature=signature))

    @pytest.mark.parametrize("timestamp", ["", "soon", "-1", "1e9", "١٢٣", "9" * 5_000, "0", " 1700000000"])
    def test_no_timestamp_or_another(self, timestamp: str) -> None:
        with pytest.raises(BadSignature):
            RECEIVER.verify(altered(signed(), X_Twilio_Email_Event_Webhook_Timestamp=timestamp))

    def test_without_any_header(self) -> None:
        with pytest.raises(BadSignature):
            RECEIVER.verify(received(BODY))

    @pytest.mark.parametrize("age", [TOLERANCE + 60, -TOLERANCE - 60])
    def test_signed_too_long_ago_or_in_the_future(self, age: float) -> None:
        with pytest.raises(BadSignature):
            RECEIVER.verify(signed(age=age))

    @pytest.mark.parametrize("age", [24 * 3600, 300, -300])
    def test_the_vendors_repetitions_of_a_day_count(self, age: float) -> None:
        RECEIVER.verify(signed(age=age))

    @pytest.mark.parametrize("key", ["", "x", "AAAA", "not base64!"])
    def test_a_key_that_is_none(self, key: str) -> None:
        with pytest.raises(ValueError):
            SendGridReceiver(key)


@pytest.mark.parametrize(
    ("word", "kind", "code", "dead"),
    [
        ({"event": "processed"}, "accepted", "", False),
        (
            {"event": "deferred", "response": "450 4.2.1 anna@x is busy", "attempt": "5"},
            "accepted",
            "450",
            False,
        ),
        ({"event": "delivered", "response": "250 OK"}, "delivered", "", False),
        ({"event": "bounce", "type": "bounce", "status": "5.1.1", "reason": "550"}, "bounced", "5.1.1", True),
        ({"event": "bounce", "type": "bounce", "reason": "550 no such user"}, "bounced", "550", True),
        ({"event": "bounce", "type": "blocked", "status": "4.0.0"}, "bounced", "4.0.0", False),
        ({"event": "bounce", "type": "new"}, "bounced", "", False),
        ({"event": "bounce"}, "bounced", "", False),
        ({"event": "dropped", "reason": "Bounced Address"}, "bounced", "bounced_address", True),
        ({"event": "dropped", "reason": "Invalid"}, "bounced", "invalid_address", True),
        ({"event": "dropped", "reason": "Spam Reporting Address"}, "bounced", "spam_reporting_address", True),
        ({"event": "dropped", "reason": "Spam Content"}, "bounced", "spam_content", False),
        (
            {"event": "dropped", "reason": "Invalid SMTPAPI header"},
            "bounced",
            "invalid_smtpapi_header",
            False,
        ),
        ({"event": "dropped", "reason": "Recipient List over Package Quota"}, "bounced", "over_quota", False),
        ({"event": "dropped", "reason": "something new"}, "bounced", "dropped", False),
        ({"event": "open"}, "opened", "", False),
        ({"event": "click", "url": "https://x"}, "clicked", "", False),
        ({"event": "spamreport"}, "complained", "", False),
        ({"event": "unsubscribe"}, "opted_out", "", False),
        ({"event": "group_unsubscribe", "asm_group_id": 1}, "opted_out", "", False),
        ({"event": "group_resubscribe", "asm_group_id": 1}, "opted_in", "", False),
        ({"event": "account_status_change", "type": "bounce"}, "other", "", False),
        ({"event": "something new"}, "other", "", False),
        ({"event": None}, "other", "", False),
    ],
)
def test_each_word(word: dict[str, Any], kind: str, code: str, dead: bool) -> None:
    plain = {name: value for name, value in EVENT.items() if name != "response"}
    [event] = parsed(plain | word)
    assert (event.kind, event.code, event.address_is_dead) == (kind, code, dead)
    assert event.target == UUID(EVENT[TARGET]) and event.attempt == UUID(EVENT[ATTEMPT])


def test_a_drop_for_an_opt_out_tells_of_both() -> None:
    bounced, opted_out = parsed(EVENT | {"event": "dropped", "reason": "Unsubscribed Address"})
    assert (bounced.kind, bounced.code, bounced.address_is_dead) == (
        ReceiptKind.BOUNCED,
        "unsubscribed_address",
        False,
    )
    assert opted_out.kind is ReceiptKind.OPTED_OUT and opted_out.address == bounced.address
    assert bounced.event_id == "ZGVsaXZlcmVkLTA" and opted_out.event_id == "ZGVsaXZlcmVkLTA:opted_out"


def test_every_row_of_the_table_is_met() -> None:
    for word, detail in MEANINGS:
        [first, *_] = parsed({"event": word, "type": detail, "reason": detail.title()})
        assert first.kind is MEANINGS[word, detail].kind


class TestParse:
    def test_everything_in_an_event(self) -> None:
        body = b'[ {"a": 1},\r\n\t' + orjson.dumps(EVENT, option=orjson.OPT_INDENT_2) + b" ]\r\n"
        _, event = RECEIVER.parse(received(body))
        assert event == ReceiptEvent(
            event_id="ZGVsaXZlcmVkLTA",
            kind=ReceiptKind.DELIVERED,
            target=UUID(EVENT[TARGET]),
            attempt=UUID(EVENT[ATTEMPT]),
            provider_message_id="14c5d75ce93.dfd.64b469",
            address="Anna.B@example.com",
            occurred_at=datetime(2017, 12, 15, 0, 59, 29, tzinfo=UTC),
            raw=orjson.dumps(EVENT, option=orjson.OPT_INDENT_2),
        )

    @pytest.mark.parametrize(
        ("message_id", "ours"),
        [
            ("LRzXl_NHStOGhQ4kofSm_A.recvd-756b745b58-kmzbl-18-5F5FC76C-9.0", "LRzXl_NHStOGhQ4kofSm_A"),
            ("LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58.0", "LRzXl_NHStOGhQ4kofSm_A"),
            ("plain", "plain"),
            (7, ""),
        ],
    )
    def test_the_message_id_is_the_one_that_we_were_answered(self, message_id: object, ours: str) -> None:
        [event] = parsed(EVENT | {"sg_message_id": message_id})
        assert event.provider_message_id == ours

    def test_the_vendors_own_attempt_is_not_ours(self) -> None:
        [event] = parsed({"event": "deferred", "attempt": "5", "target": str(uuid4())})
        assert event.target is None and event.attempt is None

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"\r\n",
            b"{}",
            b"null",
            b'"["',
            b"[",
            b"[{]",
            b"[1",
            b'[{"a":1}',
            b"[1,",
            b"\xff",
            b"[" * 9_999,
        ],
    )
    def test_no_list_at_all(self, body: bytes) -> None:
        with pytest.raises(BadReceipt):
            RECEIVER.parse(received(body))

    def test_no_events(self) -> None:
        assert parsed() == []

    @pytest.mark.parametrize(
        "bad",
        [
            b"null",
            b"[]",
            b"{}",
            b'"delivered"',
            b'{"event": "bounce", "type": ["bounce"], "email": 7, "timestamp": "x", "sg_event_id": {}}',
            b'{"event": ["delivered"], "timestamp": 1e999, "carillon_target": 1}',
            b'{"event": "open", "sg_event_id": "a\\u0000b", "carillon_target": "x", "timestamp": NaN}',
            b'{"event": "open", "sg_event_id": "\\ud800", "email": "\\udfff@X.example", "timestamp": -1e30}',
            b'{"event": "open", "useragent": "\xff\xfe", "sg_event_id": "\xff"}',
            b'{"event": "open", "sg_event_id": "' + b"x" * 300 + b'"}',
            b'{"event": "open", "sg_event_id": ""}',
        ],
    )
    def test_a_malformed_event_does_not_lose_its_neighbours(self, bad: bytes) -> None:
        good = [orjson.dumps(EVENT | {"sg_event_id": f"good{index}"}) for index in range(2)]
        request = received(b"[" + b",".join([good[0], bad, good[1]]) + b"]\r\n")
        first, event, last = RECEIVER.parse(request)
        assert (first.event_id, last.event_id) == ("good0", "good1")
        assert first.kind is last.kind is ReceiptKind.DELIVERED
        assert event.raw == bad and event.event_id.startswith("sha256:")
        assert event.target is None and event.occurred_at is None
        check_any_body(RECEIVER, request)

    def test_an_event_without_an_id_has_one_by_its_bytes(self) -> None:
        first, same, other = parsed({"event": "open"}, {"event": "open"}, {"event": "click"})
        assert first.event_id == same.event_id != other.event_id

    @given(
        st.sampled_from([b"", b"[", b'[{"event":', b'[{"event":"open","email":"']), st.binary(max_size=200)
    )
    def test_any_bytes(self, start: bytes, body: bytes) -> None:
        check_any_body(RECEIVER, received(start + body))
        check_any_body(RECEIVER, received(start + body + b'"}]'))

    @given(
        st.lists(
            st.dictionaries(
                st.sampled_from(sorted(EVENT)) | st.sampled_from(["type", "reason", "status"]),
                st.recursive(
                    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(),
                    lambda inner: st.lists(inner, max_size=3),
                    max_leaves=3,
                )
                | st.sampled_from([word for pair in MEANINGS for word in pair]),
            )
            | st.none(),
            max_size=4,
        )
    )
    def test_any_events(self, events: list[dict[str, Any] | None]) -> None:
        body = json.dumps(events).encode()
        check_any_body(RECEIVER, received(body))
        assert len(RECEIVER.parse(received(body))) >= len(events)


def mail(address: str) -> Message:
    return Message(target=uuid4(), attempt=uuid4(), address=address, subject="S", text="T")


@pytest.mark.asyncio
class TestSimulator:
    async def test_its_receipts_are_ours_to_verify(self, simulator: Simulator) -> None:
        messages = {
            "": mail("anna@example.com"),
            **{fate: mail(f"anna+sim-{fate}@example.com") for fate in FATES if fate},
        }
        events = await self.reported(simulator, list(messages.values()), 12)
        kinds = {
            fate: [event.kind for event in events if event.attempt == message.attempt]
            for fate, message in messages.items()
        }
        assert kinds == {
            "": ["accepted", "delivered"],
            "optout": ["bounced", "opted_out"],
            "bounce": ["accepted", "bounced"],
            "complain": ["accepted", "delivered", "complained"],
            "stop": ["accepted", "delivered", "opted_out"],
        }
        assert [event.code for event in events if event.address_is_dead] == ["5.1.1"]
        assert {(event.target, event.address) for event in events} == {
            (message.target, message.address) for message in messages.values()
        }

    async def test_they_name_the_message_as_its_answer_did(self, simulator: Simulator) -> None:
        inbox = Inbox(SendGridReceiver(PUBLIC_KEY))
        async with serving(inbox):
            await turn_on(simulator, inbox)
            [outcome] = await self.send(simulator, [mail("anna@example.com")])
            events = await inbox.until(2)
        assert {event.provider_message_id for event in events} == {outcome.provider_message_id}

    async def test_five_hundred_in_a_request(self, simulator: Simulator) -> None:
        inbox = Inbox(SendGridReceiver(PUBLIC_KEY))
        async with serving(inbox):
            await turn_on(simulator, inbox)
            await self.send(simulator, [mail(f"anna{number}@example.com") for number in range(450)])
            events = await inbox.until(900)
        assert inbox.requests == 2 and len({event.event_id for event in events}) == 900

    async def test_the_key_that_processes_are_given(self) -> None:
        assert simulated(1, 2)["SENDGRID_RECEIPT_KEY"] == PUBLIC_KEY

    async def reported(self, simulator: Simulator, messages: list[Message], count: int) -> list[ReceiptEvent]:
        inbox = Inbox(SendGridReceiver(PUBLIC_KEY))
        async with serving(inbox):
            await turn_on(simulator, inbox)
            await self.send(simulator, messages)
            return await inbox.until(count)

    async def send(self, simulator: Simulator, messages: list[Message]) -> list[Any]:
        adapter = SendGridAdapter("SG.x", "a@carillon.example", base_url=simulator.url)
        outcomes = await send(adapter, messages)
        await adapter.close()
        return list(outcomes)
