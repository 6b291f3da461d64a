from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import urlencode
from uuid import UUID, uuid4

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
from apps.integrations.twilio.adapter import TwilioAdapter
from apps.integrations.twilio.receipts import DEAD, OPT_OUT_TYPES, STATUSES, TwilioReceiver
from project.dev.processes import simulated

from .receipts import Inbox, check_any_body, control, received, serving, turn_on
from .suite import send

TOKEN = "12345"
TARGET, ATTEMPT = UUID(int=1), UUID(int=2)
URL = f"https://carillon.example/api/receipts/twilio/?target={TARGET}&attempt={ATTEMPT}"
SID = "SM0123456789abcdef0123456789abcdef"
STATUS = {
    "MessageSid": SID,
    "MessageStatus": "delivered",
    "To": "+14155550100",
    "From": "+15005550006",
    "ErrorCode": "",
}
INBOUND = {
    "MessageSid": SID,
    "SmsStatus": "received",
    "From": "+4930123456",
    "To": "+15005550006",
    "Body": "Hi",
}
RECEIVER = TwilioReceiver(TOKEN)


def sign(url: str, form: dict[str, str], token: str = TOKEN) -> str:
    """As https://www.twilio.com/docs/usage/webhooks/webhooks-security has it, without the SDK."""
    whole = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.new(token.encode(), whole.encode(), hashlib.sha1).digest()).decode()


def signed(
    form: dict[str, str], url: str = URL, *, of: str | None = None, token: str = TOKEN
) -> ReceivedRequest:
    """A request to `url`, with the signature of the one to `of`."""
    headers = {"X-Twilio-Signature": sign(of or url, form, token)}
    return received(urlencode(form).encode(), url, **headers)


def parsed(form: dict[str, str], url: str = URL) -> list[ReceiptEvent]:
    return RECEIVER.parse(received(urlencode(form).encode(), url))


class TestVerify:
    def test_the_vendors_own_example(self) -> None:
        form = {"Digits": "1234", "To": "+18005551212", "From": "+14158675309", "Caller": "+14158675309"}
        form["CallSid"] = "CA1234567890ABCDE"
        url = "https://mycompany.com/myapp.php?foo=1&bar=2"
        headers = {"X-Twilio-Signature": "RSOYDt4T1cUTdK1PDd93/VVr8B8="}
        RECEIVER.verify(received(urlencode(form).encode(), url, **headers))

    @pytest.mark.parametrize(
        "form", [STATUS, INBOUND, {**INBOUND, "Body": "Größe & = + % 🎉\n"}, {**STATUS, "New": "x"}]
    )
    def test_what_the_vendor_signed(self, form: dict[str, str]) -> None:
        RECEIVER.verify(signed(form))

    @pytest.mark.parametrize(
        ("url", "public"),
        [
            ("https://carillon.example/r/?a=1", "https://carillon.example:443/r/?a=1"),
            ("https://carillon.example:443/r/?a=1", "https://carillon.example/r/?a=1"),
            ("http://127.0.0.1:8000/r/?a=1", "http://127.0.0.1:8000/r/?a=1"),
            ("http://carillon.example/r/", "http://carillon.example:80/r/"),
        ],
    )
    def test_with_the_port_or_without(self, url: str, public: str) -> None:
        RECEIVER.verify(signed(STATUS, public, of=url))

    @pytest.mark.parametrize(
        "url",
        [
            "http://carillon.example/r/?a=1",
            "https://10.0.0.7:8000/r/?a=1",
            "https://carillon.example/r/?a=2",
            "https://carillon.example/r/",
            "https://carillon.example/R/?a=1",
            "",
            "https://[::1/r/",
            "https://carillon.example:port/",
            "\ud800",
        ],
    )
    def test_the_public_url_is_what_is_signed(self, url: str) -> None:
        with pytest.raises(BadSignature):
            RECEIVER.verify(signed_at(url, of="https://carillon.example/r/?a=1"))

    def test_behind_a_proxy(self) -> None:
        request = signed(STATUS)
        RECEIVER.verify(received(request.body, URL, **request.headers, Host="10.0.0.7:8000"))

    @pytest.mark.parametrize("name", [*STATUS, "New"])
    def test_another_value(self, name: str) -> None:
        request = signed(STATUS)
        changed = urlencode({**STATUS, name: "x"}).encode()
        with pytest.raises(BadSignature):
            RECEIVER.verify(received(changed, URL, **request.headers))

    @pytest.mark.parametrize("name", ["MessageSid", "MessageStatus", "To"])
    def test_a_value_that_is_missing(self, name: str) -> None:
        request = signed(STATUS)
        fewer = urlencode({key: value for key, value in STATUS.items() if key != name}).encode()
        with pytest.raises(BadSignature):
            RECEIVER.verify(received(fewer, URL, **request.headers))

    def test_another_token(self) -> None:
        with pytest.raises(BadSignature):
            RECEIVER.verify(signed(STATUS, token="54321"))

    @pytest.mark.parametrize("signature", ["", "x", "ü" * 28, "A" * 28, "=" * 28])
    def test_no_signature(self, signature: str) -> None:
        with pytest.raises(BadSignature):
            RECEIVER.verify(received(urlencode(STATUS).encode(), URL, **{"X-Twilio-Signature": signature}))

    def test_without_any_header(self) -> None:
        with pytest.raises(BadSignature):
            RECEIVER.verify(received(urlencode(STATUS).encode(), URL))

    @given(st.binary(max_size=200), st.text(max_size=50))
    def test_any_bytes_from_anywhere(self, body: bytes, url: str) -> None:
        with pytest.raises(BadSignature):
            RECEIVER.verify(received(body, url, **{"X-Twilio-Signature": "A" * 28}))


def signed_at(url: str, *, of: str) -> ReceivedRequest:
    return received(urlencode(STATUS).encode(), url, **{"X-Twilio-Signature": sign(of, STATUS)})


class TestStatus:
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            *((status, "accepted") for status in ("accepted", "scheduled", "queued", "sending", "sent")),
            ("delivered", "delivered"),
            *((status, "bounced") for status in ("undelivered", "failed", "canceled")),
            ("read", "opened"),
            *(
                (status, "other")
                for status in ("partially_delivered", "received", "DELIVERED", "new", "\x00")
            ),
        ],
    )
    def test_each_word(self, status: str, kind: str) -> None:
        [event] = parsed({**STATUS, "MessageStatus": status})
        assert (event.kind, event.code, event.address_is_dead) == (kind, "", False)

    def test_every_row_of_the_table_is_met(self) -> None:
        for status, kind in STATUSES.items():
            assert parsed({**STATUS, "MessageStatus": status})[0].kind is kind

    @pytest.mark.parametrize(
        ("code", "dead"),
        [
            *((code, True) for code in ("21211", "21217", "21614", "21635", "30005", "30006")),
            *((code, False) for code in ("30001", "30003", "30004", "30007", "30008", "30034", "99999", "x")),
        ],
    )
    def test_each_code(self, code: str, dead: bool) -> None:
        [event] = parsed({**STATUS, "MessageStatus": "undelivered", "ErrorCode": code})
        assert (event.kind, event.code, event.address_is_dead) == (ReceiptKind.BOUNCED, code, dead)
        assert (code in DEAD) is dead

    def test_a_code_without_a_failure_is_no_dead_number(self) -> None:
        [event] = parsed({**STATUS, "ErrorCode": "30005"})
        assert event.kind is ReceiptKind.DELIVERED and not event.address_is_dead

    def test_a_failure_for_an_opt_out_tells_of_both(self) -> None:
        failed, opted_out = parsed({**STATUS, "MessageStatus": "failed", "ErrorCode": "21610"})
        assert (failed.kind, failed.code, failed.address_is_dead) == (ReceiptKind.BOUNCED, "21610", False)
        assert opted_out.kind is ReceiptKind.OPTED_OUT and opted_out.address == failed.address == STATUS["To"]
        assert opted_out.event_id == f"{failed.event_id}:opted_out"

    def test_everything_in_a_report(self) -> None:
        request = signed({**STATUS, "ErrorCode": "0"})
        assert RECEIVER.parse(request) == [
            ReceiptEvent(
                event_id=f"{SID}:delivered",
                kind=ReceiptKind.DELIVERED,
                target=TARGET,
                attempt=ATTEMPT,
                provider_message_id=SID,
                address="+14155550100",
                raw=request.body,
            )
        ]

    @pytest.mark.parametrize(
        "query",
        [
            "",
            "?",
            "?target=",
            "?target=x&attempt=7",
            "?target=%00",
            "?attempt",
            "?Target=" + str(TARGET),
            "#target=1",
        ],
    )
    def test_a_reference_that_is_missing_or_garbage(self, query: str) -> None:
        [event] = parsed(STATUS, f"https://carillon.example/r/{query}")
        assert event.target is None and event.attempt is None and event.provider_message_id == SID

    def test_half_a_reference(self) -> None:
        [event] = parsed(STATUS, f"https://carillon.example/r/?a=1&target={TARGET}&attempt=")
        assert event.target == TARGET and event.attempt is None

    def test_a_url_that_is_none(self) -> None:
        [event] = parsed(STATUS, "https://[::1/?target=1")
        assert event.target is None


class TestInbound:
    @pytest.mark.parametrize(
        "word", ["STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"]
    )
    @pytest.mark.parametrize("form", ["{}", " {}\n", "{}.", '"{}"'])
    def test_each_word_that_opts_out(self, word: str, form: str) -> None:
        for text in (word, word.lower(), word.title()):
            [event] = parsed({**INBOUND, "Body": form.format(text)})
            assert event.kind is ReceiptKind.OPTED_OUT and event.address == "+4930123456"

    @pytest.mark.parametrize("word", ["START", "Yes", "unstop"])
    def test_each_word_that_opts_in(self, word: str) -> None:
        assert parsed({**INBOUND, "Body": word})[0].kind is ReceiptKind.OPTED_IN

    @pytest.mark.parametrize("word", ["HELP", "info", " Help! "])
    def test_each_word_that_asks_for_help(self, word: str) -> None:
        [event] = parsed({**INBOUND, "Body": word})
        assert event.kind is ReceiptKind.ASKED_HELP and event.address == "+4930123456"

    @pytest.mark.parametrize(
        "text", ["", "STOP PLEASE", "don't stop", "HELP ME", "START NOW", "STOP\x00", "STÖP"]
    )
    def test_anything_else(self, text: str) -> None:
        assert parsed({**INBOUND, "Body": text})[0].kind is ReceiptKind.OTHER

    @pytest.mark.parametrize(
        ("opt_out_type", "text", "kind"),
        [
            ("STOP", "BASTA", "opted_out"),
            ("START", "STOP", "opted_in"),
            ("HELP", "STOP", "asked_help"),
            ("stop", "x", "opted_out"),
            ("NEW", "STOP", "other"),
            ("", "STOP", "opted_out"),
        ],
    )
    def test_what_the_vendor_understood_wins(self, opt_out_type: str, text: str, kind: str) -> None:
        assert parsed({**INBOUND, "Body": text, "OptOutType": opt_out_type})[0].kind == kind

    def test_the_tables_hold_no_other_word(self) -> None:
        assert len(WORDS) == 13 and set(OPT_OUT_TYPES) == {"STOP", "START", "HELP"}

    def test_everything_in_a_message(self) -> None:
        request = received(urlencode({**INBOUND, "Body": "Stop"}).encode(), "https://carillon.example/r/")
        assert RECEIVER.parse(request) == [
            ReceiptEvent(
                event_id=SID,
                kind=ReceiptKind.OPTED_OUT,
                provider_message_id=SID,
                address="+4930123456",
                raw=request.body,
            )
        ]


class TestParse:
    @pytest.mark.parametrize(
        "body", [b"", b"{}", b"\xff\xfe", b"MessageSid=", b"MessageSid=%00", b"MessageStatus=sent", b"&&=&"]
    )
    def test_what_is_about_no_message(self, body: bytes) -> None:
        with pytest.raises(BadReceipt):
            RECEIVER.parse(received(body, URL))

    def test_an_older_name_of_the_message_id(self) -> None:
        [event] = parsed({"SmsSid": SID, "MessageStatus": "sent"})
        assert event.event_id == f"{SID}:sent"

    @given(st.binary(max_size=200), st.text(max_size=50))
    def test_any_bytes(self, body: bytes, url: str) -> None:
        check_any_body(RECEIVER, received(body, url))

    @given(
        st.dictionaries(st.sampled_from(sorted(STATUS | INBOUND)), st.text(max_size=300)),
        st.text(max_size=50),
    )
    def test_any_form(self, form: dict[str, str], query: str) -> None:
        check_any_body(RECEIVER, received(urlencode(form).encode(), f"https://carillon.example/?{query}"))


def sms(fate: str = "") -> Message:
    address = f"+150055509{FATES[fate]}" if fate else "+14155550100"
    return Message(target=uuid4(), attempt=uuid4(), address=address, text="T")


@pytest.mark.asyncio
class TestSimulator:
    @pytest.mark.parametrize(
        ("fate", "kinds"),
        [
            ("", ["accepted", "delivered"]),
            ("bounce", ["accepted", "bounced"]),
            ("complain", ["accepted", "delivered", "opted_out"]),
            ("stop", ["accepted", "delivered", "opted_out"]),
        ],
    )
    async def test_its_receipts_are_ours_to_verify(
        self, simulator: Simulator, fate: str, kinds: list[str]
    ) -> None:
        message = sms(fate)
        async with serving(Inbox(TwilioReceiver(simulated(1, 2)["TWILIO_AUTH_TOKEN"]))) as inbox:
            await turn_on(simulator, inbox)
            sid = await self.send(simulator, message)
            events = await inbox.until(len(kinds))
        assert sorted(event.kind for event in events) == sorted(kinds)
        assert {event.address for event in events} == {message.address}
        reports = [event for event in events if event.kind is not ReceiptKind.OPTED_OUT]
        assert {(event.target, event.attempt, event.provider_message_id) for event in reports} == {
            (message.target, message.attempt, sid)
        }
        assert [event.code for event in events if event.address_is_dead] == ["30005"] * (fate == "bounce")

    async def test_a_person_writes(self, simulator: Simulator) -> None:
        async with serving(Inbox(TwilioReceiver("simulated"))) as inbox:
            await turn_on(simulator, inbox)
            for text in ("STOP", "start", "Grüße & more"):
                wanted = {"provider": "twilio", "from": "+4930123456", "text": text}
                await control(simulator, "/inbound", wanted)
            events = await inbox.until(3)
        assert sorted(event.kind for event in events) == ["opted_in", "opted_out", "other"]
        assert {event.address for event in events} == {"+4930123456"}
        assert len({event.event_id for event in events}) == 3

    async def send(self, simulator: Simulator, message: Message) -> str:
        adapter = TwilioAdapter(
            "AC" + "0" * 32,
            "x",
            "+15005550006",
            base_url=simulator.url,
            status_callback="https://carillon.example/r/",
        )
        [outcome] = await send(adapter, [message])
        await adapter.close()
        return str(getattr(outcome, "provider_message_id", outcome))
