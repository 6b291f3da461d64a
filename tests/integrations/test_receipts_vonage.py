from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import jwt
import orjson
import pytest
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
from apps.integrations.opting import WORDS
from apps.integrations.simulator import FATES, Simulator
from apps.integrations.vonage.adapter import VonageAdapter
from apps.integrations.vonage.receipts import DEAD, OPTED_OUT, STATUSES, TOLERANCE, VonageReceiver
from apps.integrations.vonage.simulated_receipts import API_KEY, SECRET

from .receipts import Inbox, check_any_body, control, received, serving, turn_on
from .suite import send

TARGET, ATTEMPT = UUID(int=1), UUID(int=2)
ID = "aaaaaaaa-bbbb-cccc-dddd-0123456789ab"
AT = datetime(2026, 1, 1, 14, 0, tzinfo=UTC)
STATUS: dict[str, Any] = {
    "message_uuid": ID,
    "to": "14155550100",
    "from": "15005550006",
    "timestamp": "2026-01-01T14:00:00.000Z",
    "channel": "sms",
    "status": "delivered",
    "client_ref": f"{TARGET}:{ATTEMPT}",
    "usage": {"currency": "EUR", "price": "0.0333"},
}
INBOUND: dict[str, Any] = {
    "message_uuid": ID,
    "to": "15005550006",
    "from": "4930123456",
    "timestamp": "2026-01-01T14:00:00.000Z",
    "channel": "sms",
    "message_type": "text",
    "text": "Hi",
    "sms": {"num_messages": "1", "keyword": "HI"},
}
RECEIVER = VonageReceiver(API_KEY, SECRET)


def token(body: bytes, secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """As https://developer.vonage.com/en/getting-started/concepts/webhooks has it, without what is None."""
    whole = {
        "iat": int(time.time()),
        "jti": str(uuid4()),
        "iss": "Vonage",
        "payload_hash": hashlib.sha256(body).hexdigest(),
        "api_key": API_KEY,
        "application_id": ID,
        **claims,
    }
    said = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode(said, secret, algorithm=algorithm)


def with_token(token: str, body: bytes) -> ReceivedRequest:
    return received(body, Authorization=f"Bearer {token}")


def parsed(fields: object) -> list[ReceiptEvent]:
    return RECEIVER.parse(received(orjson.dumps(fields)))


def failed(code: str, status: str = "rejected") -> dict[str, Any]:
    type = f"https://developer.vonage.com/api-errors/messages#{code}"
    return {**STATUS, "status": status, "error": {"type": type, "title": code, "detail": "…"}}


class TestVerify:
    body = orjson.dumps(STATUS)

    def refused(self, request: ReceivedRequest) -> None:
        with pytest.raises(BadSignature):
            RECEIVER.verify(request)

    @pytest.mark.parametrize("fields", [STATUS, INBOUND, {**INBOUND, "text": "Größe 🎉\n"}])
    def test_what_the_vendor_signed(self, fields: dict[str, Any]) -> None:
        body = orjson.dumps(fields)
        RECEIVER.verify(with_token(token(body), body))

    def test_of_the_account_without_an_application(self) -> None:
        RECEIVER.verify(with_token(token(self.body, application_id=None, new=1), self.body))

    def test_the_scheme_in_any_case(self) -> None:
        RECEIVER.verify(received(self.body, authorization=f"bearer {token(self.body)}"))

    def test_other_bytes(self) -> None:
        good = token(self.body)
        for body in (self.body + b" ", self.body.replace(b"delivered", b"rejected"), b""):
            self.refused(with_token(good, body))

    @pytest.mark.parametrize("claim", ["iat", "payload_hash", "api_key"])
    @pytest.mark.parametrize("value", [None, "", "x", [], {}, True, "ü"])
    def test_a_claim_that_is_missing_or_wrong(self, claim: str, value: object) -> None:
        self.refused(with_token(token(self.body, **{claim: value}), self.body))

    @pytest.mark.parametrize("age", [-TOLERANCE - 60, TOLERANCE + 60, 1e12, float("nan"), float("inf")])
    def test_too_old_or_of_the_future(self, age: float) -> None:
        self.refused(with_token(token(self.body, iat=time.time() - age), self.body))

    @pytest.mark.parametrize("age", [0, 24 * 3600, -60])
    def test_a_repetition_of_a_day_ago(self, age: float) -> None:
        RECEIVER.verify(with_token(token(self.body, iat=time.time() - age), self.body))

    def test_another_secret(self) -> None:
        self.refused(with_token(token(self.body, secret="another-" * 5), self.body))

    def test_another_account(self) -> None:
        request = with_token(token(self.body), self.body)
        with pytest.raises(BadSignature):
            VonageReceiver("another", SECRET).verify(request)

    def test_another_algorithm(self) -> None:
        self.refused(with_token(token(self.body, algorithm="HS512"), self.body))
        self.refused(with_token(token(self.body, secret="", algorithm="none"), self.body))

    def test_a_changed_claim(self) -> None:
        header, _, signature = token(self.body).split(".")
        other = token(b"other").split(".")[1]
        self.refused(with_token(f"{header}.{other}.{signature}", self.body))

    @pytest.mark.parametrize(
        "authorization",
        ["", "Bearer", "Bearer ", "Basic YTpi", "x", "Bearer ..", "Bearer ü.ü.ü", "Bearer \ud800.x.x"],
    )
    def test_no_token(self, authorization: str) -> None:
        self.refused(received(self.body, Authorization=authorization))

    def test_without_any_header(self) -> None:
        self.refused(received(self.body))

    def test_a_header_nested_without_end(self) -> None:
        deep = jwt.utils.base64url_encode(b"[" * 100_000).decode()
        self.refused(with_token(f"{deep}.x.x", self.body))

    @given(st.text(max_size=200), st.binary(max_size=50))
    def test_any_token(self, text: str, body: bytes) -> None:
        self.refused(with_token(text, body))

    @given(st.dictionaries(st.sampled_from(["alg", "typ", "kid", "b64", "crit"]), st.text() | st.none()))
    def test_any_header(self, header: dict[str, Any]) -> None:
        first = jwt.utils.base64url_encode(orjson.dumps(header)).decode()
        _, *rest = token(self.body).split(".")
        self.refused(with_token(".".join((first, *rest)), self.body))

    def test_what_nobody_may_see(self) -> None:
        assert VonageReceiver.secrets == {"signature_secret"}


class TestStatus:
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            ("submitted", "accepted"),
            ("delivered", "delivered"),
            ("read", "opened"),
            ("rejected", "bounced"),
            ("undeliverable", "bounced"),
            *((status, "other") for status in ("DELIVERED", "new", "", "\x00")),
        ],
    )
    def test_each_word(self, status: str, kind: str) -> None:
        [event] = parsed({**STATUS, "status": status})
        assert (event.kind, event.code, event.address_is_dead) == (kind, "", False)

    def test_every_row_of_the_table_is_met(self) -> None:
        assert len(STATUSES) == 5
        for status, kind in STATUSES.items():
            assert parsed({**STATUS, "status": status})[0].kind is kind

    @pytest.mark.parametrize("status", [None, 7, [], {"status": "delivered"}, True])
    def test_a_status_that_is_none(self, status: object) -> None:
        assert parsed({**STATUS, "status": status})[0].kind is ReceiptKind.OTHER

    @pytest.mark.parametrize("status", ["rejected", "undeliverable"])
    @pytest.mark.parametrize(
        ("code", "dead"),
        [
            *((code, True) for code in ("1170", "1190", "1430", "3", "4")),
            *((code, False) for code in ("1050", "1180", "1200", "1210", "1220", "1230", "1250", "1260")),
            *((code, False) for code in ("1270", "1280", "1290", "1330", "1", "2", "12", "14", "99", "1999")),
        ],
    )
    def test_each_code(self, status: str, code: str, dead: bool) -> None:
        [event] = parsed(failed(code, status))
        assert (event.kind, event.code, event.address_is_dead) == (ReceiptKind.BOUNCED, code, dead)
        assert (code in DEAD) is dead

    def test_a_code_without_a_failure_is_no_dead_number(self) -> None:
        for status in ("submitted", "delivered"):
            [event] = parsed(failed("1190", status))
            assert event.kind is not ReceiptKind.BOUNCED and not event.address_is_dead

    @pytest.mark.parametrize(("code", "kind"), [("1220", "deferred"), ("1230", "accepted")])
    def test_a_busy_handset_is_tried_again(self, code: str, kind: str) -> None:
        [event] = parsed(failed(code, "submitted"))
        assert (event.kind, event.code) == (kind, code)

    @pytest.mark.parametrize("code", sorted(OPTED_OUT))
    def test_a_failure_for_an_opt_out_tells_of_both(self, code: str) -> None:
        bounced, opted_out = parsed(failed(code))
        assert (bounced.kind, bounced.code, bounced.address_is_dead) == (ReceiptKind.BOUNCED, code, False)
        assert opted_out.kind is ReceiptKind.OPTED_OUT and opted_out.address == "+14155550100"
        assert opted_out.event_id == f"{bounced.event_id}:opted_out"

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            ({"type": "https://developer.nexmo.com/api-errors/messages#1190", "title": "Absent"}, "1190"),
            ({"type": "https://developer.nexmo.com/api-errors/messages#x", "title": 1190}, "1190"),
            ({"error": {"title": 1190}}, "1190"),
            ({"title": "¹"}, ""),
            ({"type": 7, "title": None}, "7"),
            ({"error": "x"}, ""),
            ({}, ""),
            ([], ""),
            ("1190", ""),
            (None, ""),
        ],
    )
    def test_where_the_code_is(self, error: object, code: str) -> None:
        assert parsed({**STATUS, "status": "rejected", "error": error})[0].code == code

    def test_everything_in_a_report(self) -> None:
        body = orjson.dumps(STATUS)
        assert RECEIVER.parse(received(body)) == [
            ReceiptEvent(
                event_id=f"{ID}:delivered",
                kind=ReceiptKind.DELIVERED,
                target=TARGET,
                attempt=ATTEMPT,
                provider_message_id=ID,
                address="+14155550100",
                occurred_at=AT,
                raw=body,
            )
        ]

    def test_a_repetition_has_the_same_id_and_another_status_has_not(self) -> None:
        first, again = parsed(STATUS), parsed({**STATUS, "timestamp": "2026-01-01T15:00:00Z"})
        assert first[0].event_id == again[0].event_id != parsed({**STATUS, "status": "read"})[0].event_id

    @pytest.mark.parametrize(
        ("client_ref", "target", "attempt"),
        [
            (f"{TARGET}:", TARGET, None),
            (f":{ATTEMPT}", None, ATTEMPT),
            (str(TARGET), TARGET, None),
            (f"{TARGET}:{ATTEMPT}:x", TARGET, None),
            *((value, None, None) for value in ("", ":", "x:y", "\x00", None, 7, [])),
        ],
    )
    def test_a_reference_that_is_missing_or_garbage(
        self, client_ref: object, target: UUID | None, attempt: UUID | None
    ) -> None:
        [event] = parsed({**STATUS, "client_ref": client_ref})
        assert (event.target, event.attempt, event.provider_message_id) == (target, attempt, ID)

    @pytest.mark.parametrize("channel", ["whatsapp", "viber_service", "mms", "", None, ["sms"]])
    def test_another_channel_of_the_same_account(self, channel: object) -> None:
        [event] = parsed({**failed("1190"), "channel": channel})
        assert event.kind is ReceiptKind.OTHER and not event.address_is_dead

    @pytest.mark.parametrize(
        ("timestamp", "at"),
        [
            ("2026-01-01T15:00:00+01:00", AT),
            ("2026-01-01T14:00:00Z", AT),
            ("0001-01-01T00:00:00+14:00", None),
            *((value, None) for value in ("2026-01-01T14:00:00", "", "x", None, 7)),
        ],
    )
    def test_when_it_happened(self, timestamp: object, at: datetime | None) -> None:
        assert parsed({**STATUS, "timestamp": timestamp})[0].occurred_at == at

    @pytest.mark.parametrize(("to", "address"), [("Carillon", "Carillon"), ("+1415", "+1415"), (7, "")])
    def test_an_address_that_is_no_number(self, to: object, address: str) -> None:
        assert parsed({**STATUS, "to": to})[0].address == address


class TestInbound:
    @pytest.mark.parametrize(("word", "kind"), WORDS.items())
    @pytest.mark.parametrize("form", ["{}", " {}\n", "{}.", '"{}"'])
    def test_each_word(self, word: str, kind: ReceiptKind, form: str) -> None:
        for text in (word, word.lower(), word.title()):
            [event] = parsed({**INBOUND, "text": form.format(text)})
            assert event.kind is kind and event.address == "+4930123456"

    @pytest.mark.parametrize(
        "text",
        ["", "STOP PLEASE", "don't stop", "HELP ME", "START NOW", "STOP\x00", "STÖP", None, 7, ["STOP"]],
    )
    def test_anything_else(self, text: object) -> None:
        assert parsed({**INBOUND, "text": text})[0].kind is ReceiptKind.OTHER

    @pytest.mark.parametrize("channel", ["whatsapp", "messenger", None])
    def test_a_word_on_another_channel(self, channel: object) -> None:
        assert parsed({**INBOUND, "text": "STOP", "channel": channel})[0].kind is ReceiptKind.OTHER

    def test_everything_in_a_message(self) -> None:
        body = orjson.dumps({**INBOUND, "text": "Stop"})
        assert RECEIVER.parse(received(body)) == [
            ReceiptEvent(
                event_id=ID,
                kind=ReceiptKind.OPTED_OUT,
                provider_message_id=ID,
                address="+4930123456",
                occurred_at=AT,
                raw=body,
            )
        ]


class TestParse:
    @pytest.mark.parametrize(
        "body",
        [
            *(b"", b"[]", b"7", b"null", b"{", b"\xff\xfe", b"{}", b"[" * 100_000, b'{"text": "\\ud800"}'),
            *(b'{"message_uuid": ""}', b'{"message_uuid": 7}', b'{"message_uuid": "\\u0000"}'),
        ],
    )
    def test_what_is_about_no_message(self, body: bytes) -> None:
        with pytest.raises(BadReceipt):
            RECEIVER.parse(received(body))

    @given(st.binary(max_size=200))
    def test_any_bytes(self, body: bytes) -> None:
        check_any_body(RECEIVER, received(body))

    @given(
        st.dictionaries(
            st.sampled_from(sorted(STATUS | INBOUND | {"error": 1})),
            st.text(max_size=300)
            | st.none()
            | st.integers(-(2**63), 2**63)
            | st.lists(st.text())
            | st.dictionaries(st.sampled_from(["error", "title", "type"]), st.text() | st.none()),
        )
    )
    def test_any_object(self, fields: dict[str, Any]) -> None:
        check_any_body(RECEIVER, received(orjson.dumps(fields)))


def sms(fate: str = "") -> Message:
    address = f"+150055509{FATES[fate]}" if fate else "+14155550100"
    return Message(target=uuid4(), attempt=uuid4(), address=address, text="T")


class TestSimulator:
    @pytest.mark.parametrize(
        ("fate", "kinds"),
        [
            ("", ["accepted", "delivered"]),
            ("optout", ["bounced", "opted_out"]),
            ("bounce", ["accepted", "bounced"]),
            ("complain", ["accepted", "delivered", "opted_out"]),
            ("stop", ["accepted", "delivered", "opted_out"]),
        ],
    )
    async def test_its_receipts_are_ours_to_verify(
        self, simulator: Simulator, fate: str, kinds: list[str]
    ) -> None:
        message = sms(fate)
        async with serving(Inbox(VonageReceiver(API_KEY, SECRET))) as inbox:
            await turn_on(simulator, inbox)
            id = await self.send(simulator, message)
            events = await inbox.until(len(kinds))
        assert sorted(event.kind for event in events) == sorted(kinds)
        assert {event.address for event in events} == {message.address}
        reports = [event for event in events if event.kind is not ReceiptKind.OPTED_OUT]
        assert {(event.target, event.attempt, event.provider_message_id) for event in reports} == {
            (message.target, message.attempt, id)
        }
        assert [event.code for event in events if event.address_is_dead] == ["1190"] * (fate == "bounce")
        assert all(event.occurred_at is not None for event in events)

    async def test_a_person_writes(self, simulator: Simulator) -> None:
        async with serving(Inbox(VonageReceiver(API_KEY, SECRET))) as inbox:
            await turn_on(simulator, inbox)
            for text in ("STOP", "start", "help", "Grüße & more"):
                await control(
                    simulator, "/inbound", {"provider": "vonage", "from": "+4930123456", "text": text}
                )
            events = await inbox.until(4)
        assert sorted(event.kind for event in events) == ["asked_help", "opted_in", "opted_out", "other"]
        assert {event.address for event in events} == {"+4930123456"}
        assert len({event.event_id for event in events}) == 4

    async def send(self, simulator: Simulator, message: Message) -> str:
        adapter = VonageAdapter("a1b2c3d4", "x", "15005550006", base_url=simulator.url)
        [outcome] = await send(adapter, [message])
        await adapter.close()
        return str(getattr(outcome, "provider_message_id", outcome))
