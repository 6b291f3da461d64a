from __future__ import annotations

import asyncio
import json
import logging
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import aiohttp
import firebase_admin
import jwt
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.integrations.contract import (
    Accepted,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.fcm.access import SCOPE, AccessToken
from apps.integrations.fcm.adapter import FcmAdapter
from apps.integrations.fcm.encoding import flattened
from apps.integrations.fcm.errors import BY_CODE
from apps.integrations.fcm.simulated import AUDIENCE, GRANT, TOKEN_PATH, service_account
from apps.integrations.simulator import Simulator

from .conftest import Canned, Running, Seen
from .suite import BODY, AdapterContract, free_port, ledger_of, send

UNREGISTERED = PermanentFailure("unregistered", address_is_dead=True)
INVALID = PermanentFailure("invalid_address", address_is_dead=True)
UNAUTHORIZED = TemporaryFailure("unauthorized", 60.0)
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


def error(status: int, code: str = "", text: str = "", *fields: str) -> bytes:
    details: list[dict[str, Any]] = []
    if fields:
        violations = [{"field": field, "description": text} for field in fields]
        details.append({"@type": BAD_REQUEST, "fieldViolations": violations})
    if code:
        details.append({"@type": FCM_ERROR, "errorCode": code})
    general = "INVALID_ARGUMENT" if status == 400 else "NOT_FOUND"
    return orjson.dumps({"error": {"code": status, "message": text, "status": general, "details": details}})


def invalid(text: str, *fields: str) -> bytes:
    return error(400, "INVALID_ARGUMENT", text, *fields)


def sends(running: Running) -> list[Seen]:
    return [seen for seen in running.seen if seen.path != TOKEN_PATH]


def grants(running: Running) -> list[Seen]:
    return [seen for seen in running.seen if seen.path == TOKEN_PATH]


class TestFcm(AdapterContract):
    channel = "push"
    rejected = UNREGISTERED
    opted_out = None
    private = (BODY, "anna", "ya29.", "eyJ", "PRIVATE KEY")

    def build(self, simulator: Simulator, **options: Any) -> FcmAdapter:
        return self.build_at(simulator.url, simulator.url, **options)

    def build_at(self, url: str, token_url: str, **options: Any) -> FcmAdapter:
        return FcmAdapter(service_account(token_url, "our-app"), base_url=url, **options)

    def build_at_closed_port(self, port: int) -> FcmAdapter:
        return self.build_at(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}")

    def address(self, fault: str, number: int) -> str:
        return f"anna{number}-sim-{fault}-x:APA91b_" if fault else f"anna{number}:APA91b-_"

    async def answered(self, running: Running, canned: Canned, **parts: Any) -> Outcome:
        """The outcome of one message. Its access token is the simulator's, its answer the canned one."""
        adapter = self.build_at(canned.url, running.simulator.url)
        [outcome] = await send(adapter, [self.message(**parts)])
        await adapter.close()
        return outcome

    @pytest.mark.asyncio
    async def test_the_request(self, running: Running) -> None:
        adapter = self.build(running.simulator)
        expires_at = datetime.now(UTC) + timedelta(hours=1)
        message = self.message(data={"order": 12, "open": "app://o"}, expires_at=expires_at, urgent=True)
        [outcome] = await send(adapter, [message])
        await adapter.close()
        [entry], [seen] = ledger_of(running.simulator), sends(running)
        assert outcome == Accepted(entry["id"])
        assert entry["id"].startswith("projects/our-app/messages/")
        assert (entry["subject"], entry["text"]) == (message.subject, message.text)
        assert seen.path == "/v1/projects/our-app/messages:send"
        assert seen.headers["Authorization"].startswith("Bearer ya29.")
        assert seen.headers["Content-Type"] == "application/json"
        sent = orjson.loads(seen.body)["message"]
        assert 3_500 < int(sent["android"].pop("ttl").removesuffix("s")) <= 3_600
        key = message.idempotency_key
        assert sent == {
            "token": message.address,
            "notification": {"title": message.subject, "body": message.text},
            "data": {
                "order": "12",
                "open": "app://o",
                "carillon_target": str(message.target),
                "carillon_attempt": str(message.attempt),
            },
            "android": {"priority": "high", "collapse_key": key, "notification": {"tag": key}},
            "apns": {
                "headers": {
                    "apns-priority": "10",
                    "apns-collapse-id": key,
                    "apns-expiration": str(int(expires_at.timestamp())),
                }
            },
        }

    @pytest.mark.asyncio
    async def test_what_is_not_urgent_and_does_not_expire(self, running: Running) -> None:
        adapter = self.build(running.simulator)
        assert isinstance((await send(adapter, [self.message(subject="")]))[0], Accepted)
        await adapter.close()
        sent = orjson.loads(sends(running)[0].body)["message"]
        assert sent["notification"] == {"body": BODY}
        assert sent["android"]["priority"] == "normal" and "ttl" not in sent["android"]
        assert sent["apns"]["headers"]["apns-priority"] == "5"
        assert "apns-expiration" not in sent["apns"]["headers"]

    @pytest.mark.parametrize(("days", "ttl"), [(-1, "0s"), (365, "2419200s")])
    @pytest.mark.asyncio
    async def test_a_time_to_live_the_vendor_takes(self, running: Running, days: int, ttl: str) -> None:
        adapter = self.build(running.simulator)
        message = self.message(expires_at=datetime.now(UTC) + timedelta(days=days))
        assert isinstance((await send(adapter, [message]))[0], Accepted)
        await adapter.close()
        assert orjson.loads(sends(running)[0].body)["message"]["android"]["ttl"] == ttl

    @pytest.mark.asyncio
    async def test_a_repetition_replaces_the_first(self, running: Running) -> None:
        adapter = self.build(running.simulator)
        message = self.message()
        for _ in range(2):
            assert isinstance((await send(adapter, [message]))[0], Accepted)
        await adapter.close()
        first, second = (orjson.loads(seen.body)["message"] for seen in sends(running))
        assert first["android"] == second["android"] and first["apns"] == second["apns"]

    @pytest.mark.asyncio
    async def test_any_data_is_taken_by_the_vendor(self, running: Running) -> None:
        adapter = self.build(running.simulator)
        data = {"from": "a", "google.x": 1, "gcm": None, "message_type": [1], "ü": {"a": "b"}, "t": True}
        assert isinstance((await send(adapter, [self.message(data=data)]))[0], Accepted)
        await adapter.close()
        sent = orjson.loads(sends(running)[0].body)["message"]["data"]
        assert {key: value for key, value in sent.items() if not key.startswith("carillon_")} == {
            "data_from": "a",
            "data_google.x": "1",
            "data_gcm": "null",
            "data_message_type": "[1]",
            "ü": '{"a":"b"}',
            "t": "true",
        }

    @given(st.dictionaries(st.text(max_size=20), st.text(max_size=20) | st.integers(-(2**53), 2**53)))
    def test_no_data_is_lost(self, data: dict[str, Any]) -> None:
        texts = flattened(self.message(data=data))
        assert len(texts) >= len({key for key in data if not key.startswith("carillon_")})
        for key, value in data.items():
            if key in texts and not key.startswith("carillon_"):
                assert texts[key] == (value if isinstance(value, str) else json.dumps(value))

    def test_a_key_of_the_messages_own_is_not_overwritten(self) -> None:
        texts = flattened(self.message(data={"from": "a", "data_from": "b"}))
        assert texts["data_from"] == "b"

    @pytest.mark.parametrize(
        ("parts", "outcome"),
        [
            ({"address": ""}, INVALID),
            ({"subject": "", "text": ""}, PermanentFailure("invalid_content")),
            ({"data": {"a": ["\ud800"]}}, PermanentFailure("invalid_content")),
            ({"data": {"\ud800": "a"}}, PermanentFailure("invalid_content")),
            ({"subject": "", "text": "ü" * 2_048}, PermanentFailure("too_large")),
            ({"data": {"k" * 100: "v" * 3_990}}, PermanentFailure("too_large")),
        ],
    )
    @pytest.mark.asyncio
    async def test_what_cannot_be_sent_makes_no_call(
        self, running: Running, parts: dict[str, Any], outcome: Outcome
    ) -> None:
        adapter = self.build(running.simulator)
        assert await send(adapter, [self.message(**parts)]) == [outcome]
        await adapter.close()
        assert running.seen == []

    @pytest.mark.asyncio
    async def test_the_most_that_may_be_sent(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        reference = len("carillon_target") + len("carillon_attempt") + 2 * 36
        message = self.message(subject="", text="x" * (4_096 - reference))
        assert isinstance((await send(adapter, [message]))[0], Accepted)
        await adapter.close()

    @pytest.mark.parametrize("address", ["anna x", "anna\n", "ännä"])
    @pytest.mark.asyncio
    async def test_a_token_that_is_none_is_dead(self, simulator: Simulator, address: str) -> None:
        adapter = self.build(simulator)
        assert await send(adapter, [self.message(address=address)]) == [INVALID]
        await adapter.close()

    @pytest.mark.asyncio
    async def test_the_sdk_neither_warns_nor_keeps_an_app(self, simulator: Simulator) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            adapter = self.build(simulator)
            assert isinstance((await send(adapter, [self.message()]))[0], Accepted)
            await adapter.close()
        assert firebase_admin._apps == {}

    @pytest.mark.asyncio
    async def test_connections_are_kept(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        for number in range(5):
            await send(adapter, [self.message(number=number)])
        connector = adapter._session._open().connector
        assert connector is not None and sum(len(kept) for kept in connector._conns.values()) == 1
        await adapter.close()

    @pytest.mark.parametrize(("code", "outcome"), BY_CODE.items())
    @pytest.mark.asyncio
    async def test_each_code(self, running: Running, canned: Canned, code: str, outcome: Outcome) -> None:
        canned.status, canned.body = 404, error(404, code, "no")
        assert await self.answered(running, canned) == outcome

    @pytest.mark.parametrize(
        ("answer", "outcome"),
        [
            # A token dies only where FCM's own error names it.
            ((400, {}, invalid("no", "message.token")), INVALID),
            ((400, {}, invalid("The registration token is not a valid FCM registration token")), INVALID),
            ((400, {}, invalid("no", "message.token", "message.data")), PermanentFailure("rejected")),
            ((400, {}, invalid("no", "message.data")), PermanentFailure("rejected")),
            ((400, {}, invalid("no")), PermanentFailure("rejected")),
            ((400, {}, error(400, "", "no", "message.token")), PermanentFailure("rejected")),
            ((400, {}, error(400, "", "no", "message.data[0].value")), PermanentFailure("rejected")),
            ((400, {}, invalid("Android message is too big")), PermanentFailure("too_large")),
            ((400, {}, invalid("Message is too large. The maximum is 4K.")), PermanentFailure("too_large")),
            ((404, {}, error(404, "", "no such project")), TemporaryFailure("misconfigured", 60.0)),
            ((403, {}, error(403)), UNAUTHORIZED),
            ((429, {}, b""), TemporaryFailure("rate_limited")),
            (
                (429, {"Retry-After": "7"}, error(429, "QUOTA_EXCEEDED")),
                TemporaryFailure("rate_limited", 7.0),
            ),
            ((503, {"Retry-After": "9"}, error(503, "UNAVAILABLE")), TemporaryFailure("unavailable", 9.0)),
            ((500, {}, b"<html>"), TemporaryFailure("unavailable")),
            ((502, {}, error(502, "UNREGISTERED")), UnknownOutcome("gateway")),
            ((504, {}, error(504, "UNAVAILABLE")), UnknownOutcome("gateway")),
            ((400, {}, b"<html>"), PermanentFailure("rejected")),
            ((400, {}, b'{"error": "no"}'), PermanentFailure("rejected")),
            ((400, {}, b'{"error": {"details": [7]}}'), PermanentFailure("rejected")),
            ((302, {"Location": "https://a.example"}, b""), TemporaryFailure("misconfigured", 60.0)),
            ((200, {}, b""), UnknownOutcome("bad_answer")),
            ((200, {}, b"[]"), UnknownOutcome("bad_answer")),
            ((200, {}, b'{"name": null}'), UnknownOutcome("bad_answer")),
            ((204, {}, b""), UnknownOutcome("bad_answer")),
        ],
    )
    @pytest.mark.asyncio
    async def test_each_answer(
        self, running: Running, canned: Canned, answer: tuple[int, dict[str, str], bytes], outcome: Outcome
    ) -> None:
        canned.status, canned.headers, canned.body = answer
        assert await self.answered(running, canned) == outcome

    @pytest.mark.asyncio
    async def test_the_service_is_down_and_the_token_server_is_not(self, simulator: Simulator) -> None:
        adapter = self.build_at(f"http://127.0.0.1:{free_port()}", simulator.url)
        assert await send(adapter, [self.message()]) == [TemporaryFailure("unreachable")]
        await adapter.close()

    @pytest.mark.parametrize("account", ["", "{}", "[]", '{"type": "service_account"}', "not JSON"])
    def test_what_is_no_service_account(self, account: str) -> None:
        with pytest.raises(ValueError):
            FcmAdapter(account)

    def test_a_service_account_without_a_project(self) -> None:
        account = json.loads(service_account("http://127.0.0.1"))
        del account["project_id"]
        with pytest.raises(ValueError, match="project_id"):
            FcmAdapter(json.dumps(account))


@pytest.mark.asyncio
class TestSimulator:
    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"token": ""}, "Recipient of the message is not set."),
            ({"token": "a b"}, "The registration token is not a valid FCM registration token"),
            ({"to": "x"}, "Unknown name \"to\" at 'message': Cannot find field."),
            ({"data": {"a": 1}}, "Invalid value at 'message.data[0].value' (TYPE_STRING)"),
            ({"data": {"google.a": "1"}}, "Invalid data payload key: google.a"),
            ({"data": {"a": "x" * 4_096}}, "Message is too large. The maximum is 4K (4096 bytes)."),
            ({"android": {"ttl": "2419201s"}}, "Invalid TTL"),
            ({"android": {"ttl": "1h"}}, "Invalid TTL"),
        ],
    )
    async def test_what_it_refuses(self, simulator: Simulator, change: dict[str, Any], text: str) -> None:
        access = AccessToken(service_account(simulator.url), 10.0)
        authorization = {"Authorization": f"Bearer {await access.get()}"}
        access.close()
        body = {"message": {"token": "x", "notification": {"body": "b"}, **change}}
        url = "/v1/projects/simulated/messages:send"
        async with (
            aiohttp.ClientSession(simulator.url, headers=authorization) as client,
            client.post(url, json=body) as answer,
        ):
            refusal = (await answer.json())["error"]
        assert (answer.status, refusal["status"], refusal["message"]) == (400, "INVALID_ARGUMENT", text)
        assert simulator.ledger.seq == 0

    @pytest.mark.parametrize(
        "change",
        [
            {"iss": "nobody"},
            {"aud": "https://elsewhere.example"},
            {"scope": "https://www.googleapis.com/auth/datastore"},
            {"exp": 1},
            {"iat": 1},
        ],
    )
    async def test_which_assertion_it_refuses(self, simulator: Simulator, change: dict[str, Any]) -> None:
        account, now = json.loads(service_account(simulator.url)), int(time.time())
        claims = {"iss": account["client_email"], "aud": AUDIENCE, "scope": SCOPE, "iat": now}
        async with aiohttp.ClientSession(simulator.url) as client:
            for different, status in (({}, 200), (change, 400)):
                proof = {**claims, "exp": now + 3_600, **different}
                form = {"assertion": jwt.encode(proof, account["private_key"], "RS256"), "grant_type": GRANT}
                async with client.post(TOKEN_PATH, data=form) as answer:
                    assert answer.status == status


class TestAccess:
    """The access token, through the adapter that needs it."""

    contract = TestFcm()

    @pytest.mark.asyncio
    async def test_one_request_for_any_number_of_messages(self, running: Running) -> None:
        adapter = self.contract.build(running.simulator)
        for _ in range(2):
            messages = [self.contract.message(number=number) for number in range(50)]
            assert all(isinstance(outcome, Accepted) for outcome in await send(adapter, messages))
        await adapter.close()
        [grant] = grants(running)
        form = {name: values[0] for name, values in parse_qs(grant.body.decode()).items()}
        claims = jwt.decode(form["assertion"], options={"verify_signature": False})
        assert claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging"
        assert claims["iss"] == "carillon@our-app.iam.gserviceaccount.com"

    @pytest.mark.parametrize(("left", "waits"), [(200.0, False), (10.0, True), (-1.0, True)])
    @pytest.mark.asyncio
    async def test_it_is_replaced_before_it_ends(self, running: Running, left: float, waits: bool) -> None:
        adapter = self.contract.build(running.simulator)
        await send(adapter, [self.contract.message()])
        before = await adapter._access.get()
        age(adapter._access, left)
        assert isinstance((await send(adapter, [self.contract.message()]))[0], Accepted)
        used = sends(running)[-1].headers["Authorization"].removeprefix("Bearer ")
        assert (used != before) is waits
        if adapter._access._refresh is not None:
            await adapter._access._refresh
        assert await adapter._access.get() != before
        assert len(grants(running)) == 2
        await adapter.close()

    @pytest.mark.asyncio
    async def test_a_token_that_still_serves_does_so_while_there_is_no_other(self, running: Running) -> None:
        adapter = self.contract.build(running.simulator)
        await send(adapter, [self.contract.message()])
        before = await adapter._access.get()
        adapter._access._credentials._token_uri = f"http://127.0.0.1:{free_port()}"
        age(adapter._access, 200.0)
        for _ in range(2):
            assert isinstance((await send(adapter, [self.contract.message()]))[0], Accepted)
            if adapter._access._refresh is not None:
                await asyncio.wait([adapter._access._refresh])
        assert await adapter._access.get() == before
        assert adapter._access._refresh is None  # not again so soon
        await adapter.close()

    @pytest.mark.asyncio
    async def test_a_token_that_is_refused_is_replaced_the_next_time(self, running: Running) -> None:
        adapter = self.contract.build(running.simulator)
        await adapter._access.get()
        adapter._access._value = "ya29.revoked"
        messages = [self.contract.message(number=number) for number in range(3)]
        assert await send(adapter, messages) == [UNAUTHORIZED] * 3
        assert all(isinstance(outcome, Accepted) for outcome in await send(adapter, messages))
        await adapter.close()
        assert len(grants(running)) == 2

    @pytest.mark.asyncio
    async def test_an_error_about_another_key_leaves_the_token(
        self, running: Running, canned: Canned
    ) -> None:
        canned.status, canned.body = 401, error(401, "THIRD_PARTY_AUTH_ERROR")
        adapter = self.contract.build_at(canned.url, running.simulator.url)
        for _ in range(2):
            assert await send(adapter, [self.contract.message()]) == [TemporaryFailure("misconfigured", 60.0)]
        await adapter.close()
        assert len(grants(running)) == 1

    @pytest.mark.parametrize(
        ("status", "body", "outcome"),
        [
            (400, b'{"error": "invalid_grant", "error_description": "Invalid JWT"}', UNAUTHORIZED),
            (401, b'{"error": "invalid_client"}', UNAUTHORIZED),
            (400, b"<html>", UNAUTHORIZED),
            (200, b'{"token_type": "Bearer"}', UNAUTHORIZED),
            (200, b"<html>", TemporaryFailure("unavailable")),
            (200, b'{"access_token": "x"}', TemporaryFailure("unavailable")),
        ],
    )
    @pytest.mark.asyncio
    async def test_no_token_no_message(
        self, running: Running, canned: Canned, status: int, body: bytes, outcome: Outcome
    ) -> None:
        canned.status, canned.body = status, body
        adapter = self.contract.build_at(running.simulator.url, canned.url)
        assert await send(adapter, [self.contract.message()]) == [outcome]
        await adapter.close()
        assert sends(running) == []

    @pytest.mark.asyncio
    async def test_no_token_in_time_and_nobody_else_waits(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        adapter = self.contract.build(running.simulator, timeout=1.0)
        asked, go_on = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def fetch(access: AccessToken) -> tuple[str, float]:
            loop.call_soon_threadsafe(asked.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)
            raise ConnectionError

        monkeypatch.setattr(AccessToken, "_fetch", fetch)
        assert await send(adapter, [self.contract.message()]) == [TemporaryFailure("unreachable")]
        assert asked.is_set() and sends(running) == []
        go_on.set()
        assert adapter._access._refresh is not None
        await asyncio.wait([adapter._access._refresh])
        await adapter.close()


def age(access: AccessToken, left: float) -> None:
    """Let the token have that many seconds left."""
    access._ends = time.monotonic() + left
    access._replace_at = access._ends - 300.0


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """Everything that any logger lets through, with what formatters may add to it."""
    kept: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = kept.append  # type: ignore[method-assign]
    names = [None, "google", "google.auth.transport.requests", "urllib3.connectionpool"]
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    yield kept
    for logger, (level, propagate) in zip(loggers, before, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


@pytest.mark.asyncio
async def test_what_proves_us_is_in_no_field_of_a_record(
    simulator: Simulator, records: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_SDK_PYTHON_LOGGING_SCOPE", "google")
    adapter = TestFcm().build(simulator)
    assert isinstance((await send(adapter, [TestFcm().message()]))[0], Accepted)
    await adapter.close()
    assert any("urllib3" in record.name for record in records)
    assert [record for record in records if "eyJ" in repr(vars(record)) or "ya29" in repr(vars(record))] == []
