from __future__ import annotations

from typing import Any

import orjson
import pytest
from yarl import URL

from apps.integrations.contract import (
    Accepted,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.simulator import FAULTS, Simulator
from apps.integrations.slack.adapter import BY_ERROR, SlackAdapter
from apps.integrations.slack.webhook import BY_WORD, SlackWebhookAdapter

from .conftest import Canned, Running
from .suite import SECRET, AdapterContract, ledger_of, send

TOKEN = f"xoxb-{SECRET}"
LIMITED = b'{"ok":false,"error":"ratelimited"}'
LOCAL = "127.0.0.0/8"
DEAD = PermanentFailure("invalid_address", address_is_dead=True)
FORBIDDEN = PermanentFailure("forbidden_address")


class TestSlackWebhook(AdapterContract):
    channel = "chat"
    tells_id = False
    opted_out = None

    @pytest.fixture(autouse=True)
    def _hooks_of_the_simulator(self, simulator: Simulator) -> None:
        self.url = simulator.url

    def build(self, simulator: Simulator, **options: Any) -> SlackWebhookAdapter:
        return SlackWebhookAdapter(**{"base_url": simulator.url, "allow": LOCAL, **options})

    def build_at_closed_port(self, port: int) -> SlackWebhookAdapter:
        self.url = f"http://127.0.0.1:{port}"
        return SlackWebhookAdapter(base_url=self.url, allow=LOCAL)

    def address(self, fault: str, number: int) -> str:
        return f"{self.url}/services/T0/B0/" + (f"sim-{fault}" if fault else f"{SECRET}{number}")

    @pytest.mark.asyncio
    async def test_the_request(self, running: Running) -> None:
        adapter = self.build(running.simulator)
        message = self.message(
            subject="A & B\n<!channel>", text="<@U1> 1 > 0 && `x`\n\nhttps://a.example/?b&c"
        )
        assert await send(adapter, [message]) == [Accepted()]
        await adapter.close()
        [seen] = running.seen
        assert seen.path == "/services/T0/B0/s3cr3t-value0"
        assert seen.headers["Content-Type"] == "application/json; charset=utf-8"
        assert "Authorization" not in seen.headers
        text = "&lt;@U1&gt; 1 &gt; 0 &amp;&amp; `x`\n\nhttps://a.example/?b&amp;c"
        assert orjson.loads(seen.body) == {
            "text": f"*A &amp; B &lt;!channel&gt;*\n{text}",
            "unfurl_links": False,
            "unfurl_media": False,
            "metadata": {
                "event_type": "carillon_message",
                "event_payload": {"target": str(message.target), "attempt": str(message.attempt)},
            },
        }
        [entry] = ledger_of(running.simulator)
        assert (entry["provider"], entry["text"]) == ("slack_webhook", message.text)

    @pytest.mark.parametrize(
        "address",
        [
            "https://hooks.slack.com.evil.example/services/T0/B0/x",
            "https://evil.example/services/T0/B0/x",
            "https://hooks.slack.com@evil.example/services/T0/B0/x",
            "https://hooks.slack.com:8443/services/T0/B0/x",
            "http://hooks.slack.com/services/T0/B0/x",
            "{url}@evil.example/services/T0/B0/x",
            "{url}/elsewhere",
            "{url}/services/../elsewhere",
            "{url}/services%2F..%2Felsewhere",
            "{url}/servicesx/T0",
            "ftp://hooks.slack.com/services/T0/B0/x",
            "C024BE91L",
            "",
        ],
    )
    @pytest.mark.asyncio
    async def test_only_slacks_hooks_are_called(self, running: Running, address: str) -> None:
        url = running.simulator.url
        adapter = self.build(running.simulator, base_url=f"{url}/services/")
        assert await send(adapter, [self.message(address=address.format(url=url))]) == [FORBIDDEN]
        await adapter.close()
        assert running.seen == []

    @pytest.mark.asyncio
    async def test_slacks_own_host_is_served(self) -> None:
        adapter = SlackWebhookAdapter()
        hooks = [f"https://hooks.slack.com{port}/services/T0/B0/x" for port in ("", ":443")]
        assert all(adapter._hooks._serves(URL(hook)) for hook in hooks)

    @pytest.mark.parametrize("allow", ["", "10.0.0.0/8"])
    @pytest.mark.asyncio
    async def test_without_leave_no_inner_host_is_called(self, running: Running, allow: str) -> None:
        adapter = self.build(running.simulator, allow=allow)
        assert await send(adapter, [self.message()]) == [FORBIDDEN]
        await adapter.close()
        assert running.seen == []

    @pytest.mark.parametrize(("word", "outcome"), BY_WORD.items())
    @pytest.mark.asyncio
    async def test_each_word(self, canned: Canned, word: str, outcome: Outcome) -> None:
        canned.status, canned.body = 500 if word == "rollup_error" else 400, f"{word}\n".encode()
        assert await self._answered(canned) == outcome

    @pytest.mark.parametrize(
        ("status", "headers", "body", "outcome"),
        [
            (200, {}, b"ok", Accepted()),
            (200, {}, b"", UnknownOutcome("bad_answer")),
            (200, {}, b'{"ok":true}', UnknownOutcome("bad_answer")),
            (400, {}, b"something_new", PermanentFailure("rejected")),
            (400, {}, b"\xff", PermanentFailure("rejected")),
            (403, {}, b"something_new", PermanentFailure("unauthorized")),
            (404, {}, b"", DEAD),
            (410, {}, b"", DEAD),
            (410, {}, b"channel_is_archived", PermanentFailure("archived")),
            (429, {"Retry-After": "30"}, b"rate_limited", TemporaryFailure("rate_limited", 30.0)),
            (500, {"Retry-After": "7"}, b"rollup_error", TemporaryFailure("unavailable", 7.0)),
            (500, {}, b"", TemporaryFailure("unavailable")),
            (503, {}, b"", TemporaryFailure("unavailable")),
            (504, {}, b"no_service", UnknownOutcome("gateway")),
            (302, {"Location": "http://127.0.0.1/"}, b"", TemporaryFailure("misconfigured", 60.0)),
        ],
    )
    @pytest.mark.asyncio
    async def test_each_answer(
        self, canned: Canned, status: int, headers: dict[str, str], body: bytes, outcome: Outcome
    ) -> None:
        canned.status, canned.headers, canned.body = status, headers, body
        assert await self._answered(canned) == outcome

    @pytest.mark.parametrize(
        ("parts", "outcome"),
        [
            ({"subject": "", "text": "x" * 40_000}, Accepted()),
            ({"subject": "", "text": "x" * 40_001}, PermanentFailure("too_large")),
            ({"subject": "", "text": "&" * 8_001}, PermanentFailure("too_large")),
            ({"subject": " ", "text": " \n"}, PermanentFailure("invalid_content")),
            ({"subject": "", "text": "Only a text"}, Accepted()),
            ({"subject": "Only a subject", "text": ""}, Accepted()),
        ],
    )
    @pytest.mark.asyncio
    async def test_what_fits(self, running: Running, parts: dict[str, str], outcome: Outcome) -> None:
        adapter = self.build(running.simulator)
        assert await send(adapter, [self.message(**parts)]) == [outcome]
        await adapter.close()
        assert len(running.seen) == isinstance(outcome, Accepted)

    async def _answered(self, canned: Canned) -> Outcome:
        adapter = SlackWebhookAdapter(base_url=canned.url, allow=LOCAL)
        [outcome] = await send(adapter, [self.message(address=f"{canned.url}/services/T0/B0/x")])
        await adapter.close()
        return outcome


class TestSlack(AdapterContract):
    channel = "chat"
    rejected = PermanentFailure("invalid_address")  # the bot may be invited yet
    opted_out = None

    def build(self, simulator: Simulator, **options: Any) -> SlackAdapter:
        return SlackAdapter(TOKEN, base_url=f"{simulator.url}/api", **options)

    def build_at_closed_port(self, port: int) -> SlackAdapter:
        return SlackAdapter(TOKEN, base_url=f"http://127.0.0.1:{port}/api")

    def address(self, fault: str, number: int) -> str:
        return f"C0155509{FAULTS[fault]}" if fault else f"C024BE9{number:04d}"

    @pytest.mark.asyncio
    async def test_the_request(self, running: Running) -> None:
        adapter = SlackAdapter(f" {TOKEN}\n", base_url=f"{running.simulator.url}/api/")
        message = self.message(address="U024BE7LH", text="1 < 2")
        [outcome] = await send(adapter, [message])
        await adapter.close()
        assert isinstance(outcome, Accepted) and outcome.provider_message_id.startswith("U024BE7LH:1")
        [seen] = running.seen
        assert seen.path == "/api/chat.postMessage"
        assert seen.headers["Authorization"] == f"Bearer {TOKEN}"
        assert seen.headers["Content-Type"] == "application/json; charset=utf-8"
        assert orjson.loads(seen.body) == {
            "channel": "U024BE7LH",
            "text": f"*{message.subject}*\n1 &lt; 2",
            "unfurl_links": False,
            "unfurl_media": False,
            "metadata": {
                "event_type": "carillon_message",
                "event_payload": {"target": str(message.target), "attempt": str(message.attempt)},
            },
        }

    @pytest.mark.parametrize(("error", "outcome"), BY_ERROR.items())
    @pytest.mark.asyncio
    async def test_each_error(self, canned: Canned, error: str, outcome: Outcome) -> None:
        canned.body = orjson.dumps({"ok": False, "error": error})
        assert await self._answered(canned) == outcome

    @pytest.mark.parametrize(
        ("status", "headers", "body", "outcome"),
        [
            (200, {}, b'{"ok":true,"channel":"C1","ts":"1.2"}', Accepted("C1:1.2")),
            (200, {}, b'{"ok":false,"error":"something_new"}', PermanentFailure("rejected")),
            (
                200,
                {"Retry-After": "9"},
                b'{"ok":false,"error":"ratelimited"}',
                TemporaryFailure("rate_limited", 9.0),
            ),
            (200, {}, b'{"ok":false}', UnknownOutcome("bad_answer")),
            (200, {}, b'{"ok":"true"}', UnknownOutcome("bad_answer")),
            (200, {}, b"[]", UnknownOutcome("bad_answer")),
            (200, {}, b"ok", UnknownOutcome("bad_answer")),
            (429, {"Retry-After": "30"}, b"", TemporaryFailure("rate_limited", 30.0)),
            (401, {}, b"", TemporaryFailure("unauthorized", 60.0)),
            (404, {}, b"", TemporaryFailure("misconfigured", 60.0)),
            (500, {}, b'{"ok":false,"error":"channel_not_found"}', TemporaryFailure("unavailable")),
            (504, {}, b"", UnknownOutcome("gateway")),
        ],
    )
    @pytest.mark.asyncio
    async def test_each_answer(
        self, canned: Canned, status: int, headers: dict[str, str], body: bytes, outcome: Outcome
    ) -> None:
        canned.status, canned.headers, canned.body = status, headers, body
        assert await self._answered(canned) == outcome

    @pytest.mark.parametrize(
        ("parts", "outcome"),
        [
            ({"address": "#general"}, PermanentFailure("invalid_address")),
            ({"address": "\udcff"}, PermanentFailure("invalid_content")),
            ({"text": "x" * 40_001}, PermanentFailure("too_large")),
            ({"subject": "", "text": ""}, PermanentFailure("invalid_content")),
        ],
    )
    @pytest.mark.asyncio
    async def test_what_is_refused(
        self, simulator: Simulator, parts: dict[str, str], outcome: Outcome
    ) -> None:
        adapter = self.build(simulator)
        assert await send(adapter, [self.message(**parts)]) == [outcome]
        await adapter.close()
        assert simulator.ledger.seq == 0

    @pytest.mark.asyncio
    async def test_a_wrong_token_waits(self, simulator: Simulator) -> None:
        adapter = SlackAdapter("token", base_url=f"{simulator.url}/api")
        assert await send(adapter, [self.message()]) == [TemporaryFailure("unauthorized", 60.0)]
        await adapter.close()

    async def _answered(self, canned: Canned) -> Outcome:
        adapter = SlackAdapter(TOKEN, base_url=canned.url)
        [outcome] = await send(adapter, [self.message()])
        await adapter.close()
        return outcome
