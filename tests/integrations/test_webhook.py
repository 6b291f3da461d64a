from __future__ import annotations

import asyncio
import base64
import logging
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from apps.integrations.contract import (
    Accepted,
    Message,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.simulator import Simulator
from apps.integrations.webhook import simulated
from apps.integrations.webhook.adapter import LARGEST, WebhookAdapter

from .conftest import Canned, Running
from .suite import SECRET, AdapterContract, send

OURS = simulated.SECRET
OTHER = "whsec_" + base64.b64encode(b"an older one of the same endpoint").decode()
PAST = "Wed, 21 Oct 2015 07:28:00 GMT"
PAGE = Path(__file__).parents[2] / "docs/providers/webhook.md"


class TestWebhook(AdapterContract):
    channel = "webhook"
    rejected = PermanentFailure("gone", address_is_dead=True)
    opted_out = None
    gateway = TemporaryFailure("gateway")
    url = ""

    def build(self, simulator: Simulator, **options: Any) -> WebhookAdapter:
        self.url = f"{simulator.url}/hooks"
        return WebhookAdapter(**{"allow": "127.0.0.0/8", **options})

    def build_at_closed_port(self, port: int) -> WebhookAdapter:
        self.url = f"http://127.0.0.1:{port}/hooks"
        return WebhookAdapter(allow="127.0.0.0/8")

    def address(self, fault: str, number: int) -> str:
        return f"{self.url}/anna{number}" + (f"/sim-{fault}-3" if fault else "")

    def message(self, fault: str = "", number: int = 0, **parts: Any) -> Message:
        return super().message(fault, number, **{"secrets": (OURS,), **parts})

    @pytest.mark.asyncio
    async def test_a_nonsense_answer_is_unknown(self, simulator: Simulator) -> None:
        """It is not: of a webhook's answer only the status counts."""
        assert isinstance(await self.one(simulator, "nonsense"), Accepted)
        assert simulator.ledger.seq == 1

    @pytest.mark.asyncio
    async def test_what_is_sent(self, running: Running) -> None:
        adapter = self.build(running.simulator)
        data = {"type": "order.shipped", "data": {"order": 7}, "kind": "ü"}
        message = self.message(data=data, subject="Hello", text="Grüße 🎉")
        before = datetime.now(UTC) - timedelta(seconds=1)
        assert await send(adapter, [message]) == [Accepted(str(message.target))]
        await adapter.close()
        [seen] = running.seen
        assert seen.path == "/hooks/anna0"
        assert seen.headers["Content-Type"] == "application/json"
        assert seen.headers["User-Agent"] == "Carillon"
        assert seen.headers["webhook-id"] == str(message.target)
        assert seen.headers["Carillon-Attempt"] == str(message.attempt)
        assert abs(datetime.now(UTC).timestamp() - int(seen.headers["webhook-timestamp"])) < 60
        body = Webhook(OURS).verify(seen.body, seen.headers)
        timestamp = body.pop("timestamp")
        assert timestamp.endswith("Z") and before <= datetime.fromisoformat(timestamp) <= datetime.now(UTC)
        told = {"subject": "Hello", "text": "Grüße 🎉", "data": {"order": 7}, "kind": "ü"}
        assert body == {"type": "order.shipped", "data": told}

    @pytest.mark.asyncio
    async def test_without_data_it_is_a_notification(self, running: Running) -> None:
        adapter = self.build(running.simulator)
        at = "2026-01-02T03:04:05Z"
        messages = [self.message(), self.message(data={"timestamp": at})]
        assert all(isinstance(outcome, Accepted) for outcome in await send(adapter, messages))
        await adapter.close()
        bodies = {seen.headers["webhook-id"]: orjson.loads(seen.body) for seen in running.seen}
        assert {body["type"] for body in bodies.values()} == {"notification"}
        second = bodies[str(messages[1].target)]
        assert second["timestamp"] == at  # the notification's own, where the engine gives it
        assert second["data"] == {"subject": messages[1].subject, "text": messages[1].text}

    @pytest.mark.asyncio
    async def test_a_repetition_has_the_same_id(self, running: Running) -> None:
        adapter = self.build(running.simulator)
        message = self.message("flaky")
        assert await send(adapter, [message]) == [TemporaryFailure("unavailable")]
        assert await send(adapter, [message]) == [Accepted(str(message.target))]
        await adapter.close()
        assert [seen.headers["webhook-id"] for seen in running.seen] == [str(message.target)] * 2
        assert "." not in str(message.target)

    @pytest.mark.parametrize(
        "secret",
        [
            OURS,
            "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            OTHER.rstrip("="),
            "whsec_" + base64.b64encode(bytes(range(64))).decode(),
        ],
    )
    @pytest.mark.asyncio
    async def test_the_official_library_agrees(self, running: Running, secret: str) -> None:
        adapter = self.build(running.simulator)
        await send(adapter, [self.message(secrets=(secret,))])
        await adapter.close()
        [seen] = running.seen
        Webhook(secret).verify(seen.body, seen.headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(seen.body + b" ", seen.headers)
        with pytest.raises(WebhookVerificationError):
            Webhook("whsec_AAAA").verify(seen.body, seen.headers)

    @pytest.mark.asyncio
    async def test_while_a_secret_is_replaced_both_sign(self, running: Running) -> None:
        adapter = self.build(running.simulator)
        for secrets in ((OTHER, OURS), (OURS, OTHER)):
            assert isinstance((await send(adapter, [self.message(secrets=secrets)]))[0], Accepted)
            seen = running.seen[-1]
            signatures = seen.headers["webhook-signature"].split(" ")
            assert len(signatures) == 2 and all(re.fullmatch(r"v1,.{44}", one) for one in signatures)
            for secret in secrets:
                Webhook(secret).verify(seen.body, seen.headers)
        await adapter.close()

    @pytest.mark.asyncio
    async def test_the_simulator_checks_the_signature(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        assert await send(adapter, [self.message(secrets=(OTHER,))]) == [TemporaryFailure("status_401")]
        await adapter.close()
        assert simulator.ledger.seq == 0 and not simulator.requests

    @pytest.mark.parametrize("age", [-3600, -301, 301])
    @pytest.mark.asyncio
    async def test_the_simulator_checks_the_time(self, simulator: Simulator, age: int) -> None:
        now = datetime.now(UTC).replace(tzinfo=None)
        body = b'{"type": "a", "timestamp": "b", "data": {}}'
        for moment, status in ((now, 204), (now + timedelta(seconds=age), 401)):
            headers = {
                "Content-Type": "application/json",
                "webhook-id": "m1",
                "webhook-timestamp": str(int(moment.replace(tzinfo=UTC).timestamp())),
                "webhook-signature": Webhook(OURS).sign("m1", moment, body.decode()),
            }
            async with (
                aiohttp.ClientSession() as client,
                client.post(f"{simulator.url}/hooks/a", data=body, headers=headers) as answer,
            ):
                assert answer.status == status
        assert simulator.ledger.seq == 1

    @pytest.mark.parametrize(
        ("status", "headers", "outcome"),
        [
            (200, {}, None),
            (204, {}, None),
            (299, {}, None),
            (301, {"Location": "https://elsewhere.example"}, TemporaryFailure("redirected")),
            (304, {}, TemporaryFailure("redirected")),
            (400, {}, TemporaryFailure("status_400")),
            (401, {}, TemporaryFailure("status_401")),
            (404, {"Retry-After": "7"}, TemporaryFailure("status_404", 7.0)),
            (410, {"Retry-After": "7"}, PermanentFailure("gone", address_is_dead=True)),
            (413, {}, TemporaryFailure("status_413")),
            (429, {"Retry-After": "3"}, TemporaryFailure("rate_limited", 3.0)),
            (500, {}, TemporaryFailure("unavailable")),
            (502, {"Retry-After": "2"}, TemporaryFailure("gateway", 2.0)),
            (503, {"Retry-After": PAST}, TemporaryFailure("unavailable", 0.0)),
            (504, {}, TemporaryFailure("gateway")),
            (599, {}, TemporaryFailure("unavailable")),
        ],
    )
    @pytest.mark.asyncio
    async def test_each_answer(
        self, canned: Canned, status: int, headers: dict[str, str], outcome: Outcome | None
    ) -> None:
        canned.status, canned.headers = status, headers
        adapter = WebhookAdapter(allow="127.0.0.0/8")
        message = self.message(address=f"{canned.url}/x")
        assert await send(adapter, [message]) == [outcome or Accepted(str(message.target))]
        await adapter.close()

    @pytest.mark.parametrize(
        ("parts", "code"),
        [
            ({"secrets": ()}, "no_secret"),
            ({"secrets": ("",)}, "invalid_secret"),
            ({"secrets": ("whsec_",)}, "invalid_secret"),
            ({"secrets": (OURS, "whsec_ä")}, "invalid_secret"),
            ({"secrets": ("whsec_a b=",)}, "invalid_secret"),
            ({"secrets": (OURS.removeprefix("whsec_"),)}, "invalid_secret"),
            ({"secrets": ("x" + OURS,)}, "invalid_secret"),
            ({"text": "x" * LARGEST}, "too_large"),
            ({"data": {"a": "\udc00"}}, "invalid_content"),
            ({"data": {"a": object()}}, "invalid_content"),
            ({"address": "not a url"}, "forbidden_address"),
            ({"address": "http://10.0.0.1/hook"}, "forbidden_address"),
            ({"address": "http://[::ffff:169.254.169.254]/latest"}, "forbidden_address"),
            ({"address": "ftp://127.0.0.1/"}, "forbidden_address"),
        ],
    )
    @pytest.mark.asyncio
    async def test_what_never_leaves(self, running: Running, parts: dict[str, Any], code: str) -> None:
        adapter = self.build(running.simulator)
        assert await send(adapter, [self.message(**parts)]) == [PermanentFailure(code)]
        await adapter.close()
        assert running.seen == []

    @pytest.mark.asyncio
    async def test_a_body_of_the_largest_size_goes_out(self, running: Running) -> None:
        adapter = self.build(running.simulator)
        spare = LARGEST - 200 - len(self.message().subject)
        assert isinstance((await send(adapter, [self.message(text="x" * spare)]))[0], Accepted)
        await adapter.close()
        assert LARGEST - 200 < len(running.seen[0].body) <= LARGEST

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
    @pytest.mark.asyncio
    async def test_nothing_inside_is_called_unless_allowed(self, running: Running, host: str) -> None:
        adapter = self.build(running.simulator, allow="")
        for scheme in ("http", "https"):
            message = self.message(address=f"{scheme}://{host}:{running.simulator.port}/hooks/a")
            assert await send(adapter, [message]) == [PermanentFailure("forbidden_address")]
        await adapter.close()
        assert running.seen == []

    @pytest.mark.asyncio
    async def test_tls_that_fails_is_temporary(self, running: Running) -> None:
        adapter = self.build(running.simulator)
        address = f"https://127.0.0.1:{running.simulator.port}/hooks/a"  # where plain HTTP is spoken
        assert await send(adapter, [self.message(address=address)]) == [TemporaryFailure("unreachable")]
        await adapter.close()
        assert running.seen == []

    @pytest.mark.asyncio
    async def test_the_body_of_an_answer_is_not_waited_for(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nand so on")
            await reader.read()  # until the client leaves
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            adapter = WebhookAdapter(allow="127.0.0.0/8", timeout=20.0)
            message = self.message(address=f"http://127.0.0.1:{port}/")
            async with asyncio.timeout(10):
                assert await send(adapter, [message]) == [Accepted(str(message.target))]
            await adapter.close()

    @pytest.mark.asyncio
    async def test_what_is_no_http_is_unknown(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"220 mail.example ESMTP\r\n")
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            adapter = WebhookAdapter(allow="127.0.0.0/8")
            address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            assert await send(adapter, [self.message(address=address)]) == [UnknownOutcome("disconnected")]
            await adapter.close()

    @pytest.mark.asyncio
    async def test_no_signing_secret_in_the_logs(
        self, simulator: Simulator, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        adapter = self.build(simulator)
        await send(adapter, [self.message(), self.message("error"), self.message(secrets=("whsec_ä-bad",))])
        await adapter.close()
        assert OURS not in caplog.text and "ä-bad" not in caplog.text and SECRET not in caplog.text

    @pytest.mark.parametrize("allow", ["127.0.0.1/8", "everywhere"])
    def test_a_network_that_is_none(self, allow: str) -> None:
        with pytest.raises(ValueError, match=r"."):
            WebhookAdapter(allow=allow)

    @pytest.mark.asyncio
    async def test_the_receiver_in_the_documentation(self, running: Running) -> None:
        [example] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
        names: dict[str, Any] = {}
        exec(example, names)
        adapter = self.build(running.simulator)
        await send(adapter, [self.message(secrets=(OTHER, OURS))])
        await adapter.close()
        [seen] = running.seen
        headers = {name.lower(): value for name, value in seen.headers.items()}
        for secret in (OURS, OTHER):
            assert names["verified"](secret, headers, seen.body)["type"] == "notification"
        old = {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 3600)}
        for bad, body in ((headers, seen.body + b" "), (old, seen.body), ({}, seen.body)):
            assert names["verified"](OURS, bad, body) is None
        assert names["verified"]("whsec_AAAA", headers, seen.body) is None
