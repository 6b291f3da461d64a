from __future__ import annotations

import base64
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from apps.integrations.contract import (
    Accepted,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.simulator import Simulator
from apps.integrations.vonage.adapter import BY_REASON, VonageAdapter

from .conftest import Canned, Running
from .suite import SECRET, AdapterContract, ledger_of, send

API_KEY = "a1b2c3d4"
APPLICATION = "aaaaaaaa-bbbb-cccc-dddd-0123456789ab"
PRIVATE_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
INVALID = PermanentFailure("invalid_address", address_is_dead=True)
ACCOUNT = TemporaryFailure("unauthorized", 60.0)
BALANCE = TemporaryFailure("low_balance", 60.0)
SENDER = TemporaryFailure("misconfigured", 60.0)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


PEM = pem(PRIVATE_KEY)


def problem(reason: str, *, names: tuple[str, ...] = ()) -> bytes:
    """A refusal as Vonage words it, its type ending with a code or its title being the reason."""
    is_title = " " in reason
    fields: dict[str, Any] = {
        "type": f"https://developer.vonage.com/api-errors/messages#{'' if is_title else reason}",
        "title": reason if is_title else "Problem",
        "detail": "…",
        "instance": "bf0ca0bf927b3b52e3cb03217e1a1ddf",
    }
    if names:
        fields["invalid_parameters"] = [{"name": name, "reason": "…"} for name in names]
    return orjson.dumps(fields)


class TestVonage(AdapterContract):
    channel = "sms"
    opted_out = None  # told by a status webhook

    def build(self, simulator: Simulator, **options: Any) -> VonageAdapter:
        return self.build_at(simulator.url, **options)

    def build_at(self, url: str, **options: Any) -> VonageAdapter:
        options = {"api_key": API_KEY, "api_secret": SECRET, "sender": "+15005550006", **options}
        return VonageAdapter(base_url=url, **options)

    def build_at_closed_port(self, port: int) -> VonageAdapter:
        return self.build_at(f"http://127.0.0.1:{port}")

    @pytest.mark.parametrize(
        ("sender", "told"), [("+15005550006", "15005550006"), ("Carillon", "Carillon"), ("12345", "12345")]
    )
    async def test_what_is_sent(self, running: Running, sender: str, told: str) -> None:
        adapter = self.build(running.simulator, sender=sender)
        message = self.message(text="50% off & more = “ünï” 🎉")
        assert isinstance((await send(adapter, [message]))[0], Accepted)
        await adapter.close()
        [seen] = running.seen
        assert seen.path == "/v1/messages" and seen.headers["Content-Type"] == "application/json"
        credentials = base64.b64encode(f"{API_KEY}:{SECRET}".encode()).decode()
        assert seen.headers["Authorization"] == f"Basic {credentials}"
        assert orjson.loads(seen.body) == {
            "channel": "sms",
            "message_type": "text",
            "to": message.address[1:],
            "from": told,
            "text": message.text,
            "client_ref": f"{message.target}:{message.attempt}",
            "sms": {"encoding_type": "auto"},
        }

    async def test_where_to_report_goes_with_the_message(self, running: Running) -> None:
        url = "https://carillon.example/api/receipts/vonage/"
        adapter = self.build(running.simulator, status_callback=url)
        assert isinstance((await send(adapter, [self.message()]))[0], Accepted)
        await adapter.close()
        sent = orjson.loads(running.seen[0].body)
        assert (sent["webhook_url"], sent["webhook_version"]) == (url, "v1")

    @pytest.mark.parametrize(
        ("left", "least", "most"),
        [
            (timedelta(hours=1), 3_000, 3_600),
            (timedelta(seconds=-5), 20, 20),
            (timedelta(days=30), 604_800, 604_800),
        ],
    )
    async def test_what_expires_is_not_tried_for_longer(
        self, running: Running, left: timedelta, least: int, most: int
    ) -> None:
        adapter = self.build(running.simulator)
        message = self.message(expires_at=datetime.now(UTC) + left)
        assert isinstance((await send(adapter, [message]))[0], Accepted)
        await adapter.close()
        ttl = orjson.loads(running.seen[0].body)["ttl"]
        assert isinstance(ttl, int) and least <= ttl <= most

    async def test_any_text_survives(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        text = "".join(chr(code) for code in [*range(0x250), 0x20AC, 0x1F389])
        assert isinstance((await send(adapter, [self.message(text=text)]))[0], Accepted)
        await adapter.close()
        assert ledger_of(simulator)[0]["text"] == text

    async def test_a_token_of_the_application(self, running: Running) -> None:
        adapter = self.build(
            running.simulator, api_key="", api_secret="", application_id=APPLICATION, private_key=PEM
        )
        for number in range(3):
            [outcome] = await send(adapter, [self.message(number=number)])
            assert isinstance(outcome, Accepted)
        await adapter.close()
        told = {seen.headers["Authorization"] for seen in running.seen}
        assert len(told) == 1  # signing takes longer than sending
        scheme, _, token = told.pop().partition(" ")
        assert scheme == "Bearer" and jwt.get_unverified_header(token)["alg"] == "RS256"
        claims = jwt.decode(token, PRIVATE_KEY.public_key(), algorithms=["RS256"])
        assert claims.keys() == {"application_id", "iat", "exp", "jti"}
        assert claims["application_id"] == APPLICATION and claims["exp"] - claims["iat"] == 900

    async def test_a_token_is_renewed_before_it_ends(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        adapter = self.build(running.simulator, application_id=APPLICATION, private_key=PEM)
        await send(adapter, [self.message()])
        now = time.monotonic()
        monkeypatch.setattr(adapter._credentials, "_renewal", now)  # ten minutes later
        await send(adapter, [self.message()])
        await adapter.close()
        assert len({seen.headers["Authorization"] for seen in running.seen}) == 2

    @pytest.mark.parametrize(
        "key", ["", "x", "-----BEGIN PRIVATE KEY-----\n", pem(ec.generate_private_key(ec.SECP256R1()))]
    )
    def test_a_private_key_that_is_none(self, key: str) -> None:
        if not key:  # then there is none, and the account's credentials are used
            assert self.build_at("http://127.0.0.1", application_id=APPLICATION, private_key=key)
            return
        with pytest.raises(ValueError) as caught:
            self.build_at("http://127.0.0.1", application_id=APPLICATION, private_key=key)
        assert key not in str(caught.value)

    async def test_nothing_of_a_private_key_in_the_logs(
        self, simulator: Simulator, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG")
        adapter = self.build(simulator, application_id=APPLICATION, private_key=PEM)
        await send(adapter, [self.message(), self.message("error")])
        await adapter.close()
        assert not [record for record in caplog.records if "Bearer" in record.getMessage()]
        assert PEM.splitlines()[1] not in caplog.text

    @pytest.mark.parametrize("options", [{"api_key": ""}, {"api_secret": ""}])
    async def test_credentials_that_lack_a_part(self, simulator: Simulator, options: dict[str, str]) -> None:
        adapter = self.build(simulator, **options)
        assert await send(adapter, [self.message()]) == [TemporaryFailure("unauthorized", 60.0)]
        await adapter.close()
        assert simulator.ledger.seq == 0

    async def test_connections_are_kept(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        for number in range(5):
            await send(adapter, [self.message(number=number)])
        connector = adapter._session._open().connector
        assert connector is not None and sum(len(kept) for kept in connector._conns.values()) == 1
        await adapter.close()

    @pytest.mark.parametrize(("reason", "outcome"), BY_REASON.items())
    async def test_each_reason(self, canned: Canned, reason: str, outcome: Outcome) -> None:
        named = reason in ("to", "from", "text")
        canned.status = 422
        canned.body = problem("1150", names=("x", reason)) if named else problem(reason)
        adapter = self.build_at(canned.url)
        assert await send(adapter, [self.message()]) == [outcome]
        await adapter.close()

    @pytest.mark.parametrize(
        ("status", "headers", "body", "outcome"),
        [
            (422, {}, problem("1150"), PermanentFailure("rejected")),
            (422, {}, problem("1999"), PermanentFailure("rejected")),
            (422, {}, problem("1150", names=("ttl",)), PermanentFailure("rejected")),
            (422, {}, b'{"title": "Invalid sender", "type": "x#1130"}', SENDER),
            (422, {}, b'{"title": "Invalid recipient", "type": "x#1130"}', INVALID),
            (422, {}, b'{"title": ["to"], "type": {}}', PermanentFailure("rejected")),
            (422, {}, b'{"invalid_parameters": {"name": "to"}}', PermanentFailure("rejected")),
            (422, {}, b'{"invalid_parameters": ["to", null, {"name": {}}]}', PermanentFailure("rejected")),
            (400, {}, b"<html>", PermanentFailure("rejected")),
            (400, {}, b"[1]", PermanentFailure("rejected")),
            (401, {}, b'{"type": "https://developer.nexmo.com/api-errors/#unauthorized"}', ACCOUNT),
            (402, {}, b'{"type": "https://developer.nexmo.com/api-errors/#low-balance"}', BALANCE),
            (402, {}, b"", SENDER),
            (403, {}, b"", ACCOUNT),
            (422, {"Retry-After": "7"}, problem("1070"), TemporaryFailure("low_balance", 7.0)),
            (429, {}, problem("1010"), TemporaryFailure("rate_limited")),
            (429, {"Retry-After": "3"}, problem("1000"), TemporaryFailure("rate_limited", 3.0)),
            (500, {}, problem("1000"), TemporaryFailure("unavailable")),
            (500, {}, problem("1430"), TemporaryFailure("unavailable")),
            (502, {}, problem("1430"), UnknownOutcome("gateway")),
            (504, {}, b"", UnknownOutcome("gateway")),
            (301, {"Location": "https://elsewhere.example"}, b"", SENDER),
            (404, {}, b"", SENDER),
            (202, {}, b"", UnknownOutcome("bad_answer")),
            (202, {}, b"[]", UnknownOutcome("bad_answer")),
            (202, {}, b'{"message_uuid": ""}', UnknownOutcome("bad_answer")),
            (202, {}, b'{"message_uuid": 7}', UnknownOutcome("bad_answer")),
            (202, {}, b'{"message_uuid": "7"}', Accepted("7")),
        ],
    )
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
            ({"address": "12"}, INVALID),
            ({"address": "+1234567890123456"}, INVALID),
            ({"text": ""}, PermanentFailure("invalid_content")),
            ({"text": "x" * 1_001}, PermanentFailure("invalid_content")),
        ],
    )
    async def test_the_simulator_refuses_as_the_vendor_does(
        self, simulator: Simulator, parts: dict[str, str], outcome: Outcome
    ) -> None:
        adapter = self.build(simulator)
        assert await send(adapter, [self.message(**parts)]) == [outcome]
        await adapter.close()
        assert simulator.ledger.seq == 0

    async def test_a_sender_that_is_none(self, simulator: Simulator) -> None:
        adapter = self.build(simulator, sender="")
        assert await send(adapter, [self.message()]) == [TemporaryFailure("misconfigured", 60.0)]
        await adapter.close()

    def test_what_nobody_may_see(self) -> None:
        assert VonageAdapter.secrets == {"api_secret", "private_key"}
