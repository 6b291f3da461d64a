from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import orjson
import pytest

from apps.integrations.contract import (
    Accepted,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.simulator import Simulator
from apps.integrations.twilio.adapter import BY_CODE, TwilioAdapter

from .conftest import Canned, Running
from .suite import SECRET, AdapterContract, ledger_of, send
from .vendor_specs import at, validate

PAST = "Wed, 21 Oct 2015 07:28:00 GMT"
SPEC = "twilio_messages_2010.json"
PATH = "/2010-04-01/Accounts/{AccountSid}/Messages.json"
FORM = ("paths", PATH, "post", "requestBody", "content", "application/x-www-form-urlencoded", "schema")
ACCOUNT = "AC" + "0123456789abcdef" * 2
SERVICE = "MG" + "0123456789abcdef" * 2


class TestTwilio(AdapterContract):
    channel = "sms"
    opted_out = PermanentFailure("opted_out", address_is_dead=True)

    def build(self, simulator: Simulator, **options: Any) -> TwilioAdapter:
        return self.build_at(simulator.url, **options)

    def build_at(self, url: str, **options: Any) -> TwilioAdapter:
        options = {"sender": "+15005550006", "status_callback": "https://carillon.example/r?a=1", **options}
        return TwilioAdapter(account_sid=ACCOUNT, auth_token=SECRET, base_url=url, **options)

    def build_at_closed_port(self, port: int) -> TwilioAdapter:
        return self.build_at(f"http://127.0.0.1:{port}")

    @pytest.mark.parametrize("sender", ["+15005550006", "Carillon", SERVICE])
    @pytest.mark.asyncio
    async def test_requests_fit_the_vendors_description(self, running: Running, sender: str) -> None:
        adapter = self.build(running.simulator, sender=sender)
        message = self.message(text="50% off & more = +1? #ünï;:/@")
        assert isinstance((await send(adapter, [message]))[0], Accepted)
        await adapter.close()
        [seen] = running.seen
        form = {name: values[0] for name, values in parse_qs(seen.body.decode(), strict_parsing=True).items()}
        validate(form, SPEC, "/" + "/".join(step.replace("/", "~1") for step in FORM))
        assert set(form) <= set(at(SPEC, *FORM, "properties"))
        assert form.pop("MessagingServiceSid" if sender == SERVICE else "From") == sender
        query = f"a=1&target={message.target}&attempt={message.attempt}"
        callback = f"https://carillon.example/r?{query}"
        assert form == {"To": message.address, "Body": message.text, "StatusCallback": callback}
        assert seen.path == PATH.format(AccountSid=ACCOUNT)

    @pytest.mark.asyncio
    async def test_any_text_survives_the_form(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        text = "".join(chr(code) for code in [*range(0x20, 0x250), 0x20AC, 0x1F389, 0x0A, 0x0D])
        assert isinstance((await send(adapter, [self.message(text=text)]))[0], Accepted)
        await adapter.close()
        assert ledger_of(simulator)[0]["text"] == text

    @pytest.mark.asyncio
    async def test_without_a_callback_there_is_none(self, running: Running) -> None:
        adapter = self.build(running.simulator, status_callback="")
        assert isinstance((await send(adapter, [self.message()]))[0], Accepted)
        await adapter.close()
        assert b"StatusCallback" not in running.seen[0].body

    @pytest.mark.asyncio
    async def test_connections_are_kept(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        for number in range(5):
            await send(adapter, [self.message(number=number)])
        connector = adapter._transport._open().connector
        assert connector is not None and sum(len(kept) for kept in connector._conns.values()) == 1
        await adapter.close()

    @pytest.mark.parametrize(("code", "outcome"), BY_CODE.items())
    @pytest.mark.asyncio
    async def test_each_code(self, canned: Canned, code: int, outcome: Outcome) -> None:
        canned.status, canned.body = 400, orjson.dumps({"code": code, "message": "no", "status": 400})
        adapter = self.build_at(canned.url)
        assert await send(adapter, [self.message()]) == [outcome]
        await adapter.close()

    @pytest.mark.parametrize(
        ("status", "headers", "body", "outcome"),
        [
            (400, {}, b'{"code": 99999}', PermanentFailure("rejected")),
            (400, {}, b"<html>", PermanentFailure("rejected")),
            (401, {}, b"", TemporaryFailure("unauthorized", 60.0)),
            (429, {"Retry-After": "3"}, b'{"code": 20429}', TemporaryFailure("rate_limited", 3.0)),
            (500, {}, b'{"code": 20500}', TemporaryFailure("unavailable")),
            (
                503,
                {"Retry-After": PAST},
                b"",
                TemporaryFailure("unavailable", 0.0),
            ),
            (504, {}, b'{"code": 20429}', UnknownOutcome("gateway")),
            (301, {"Location": "https://elsewhere.example"}, b"", TemporaryFailure("misconfigured", 60.0)),
            (201, {}, b"", UnknownOutcome("bad_answer")),
            (201, {}, b"[]", UnknownOutcome("bad_answer")),
            (201, {}, b'{"status": "queued"}', UnknownOutcome("bad_answer")),
            (201, {}, b'{"sid": null}', UnknownOutcome("bad_answer")),
        ],
    )
    @pytest.mark.asyncio
    async def test_each_answer(
        self, canned: Canned, status: int, headers: dict[str, str], body: bytes, outcome: Outcome
    ) -> None:
        canned.status, canned.headers, canned.body = status, headers, body
        adapter = self.build_at(canned.url)
        assert await send(adapter, [self.message()]) == [outcome]
        await adapter.close()

    @pytest.mark.parametrize(
        ("parts", "outcome"),
        [
            ({"address": "12"}, PermanentFailure("invalid_address", address_is_dead=True)),
            ({"text": ""}, PermanentFailure("invalid_content")),
            ({"text": "x" * 1_601}, PermanentFailure("too_large")),
        ],
    )
    @pytest.mark.asyncio
    async def test_the_simulator_refuses_as_the_vendor_does(
        self, simulator: Simulator, parts: dict[str, str], outcome: Outcome
    ) -> None:
        adapter = self.build(simulator)
        assert await send(adapter, [self.message(**parts)]) == [outcome]
        await adapter.close()

    @pytest.mark.asyncio
    async def test_wrong_credentials(self, simulator: Simulator) -> None:
        adapter = TwilioAdapter("nobody", "x", "+15005550006", base_url=simulator.url)
        assert await send(adapter, [self.message()]) == [TemporaryFailure("unauthorized", 60.0)]
        await adapter.close()
