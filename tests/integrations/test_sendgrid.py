from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import orjson
import pytest

from apps.integrations.contract import (
    Accepted,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.sendgrid.adapter import SendGridAdapter
from apps.integrations.simulator import Simulator

from .conftest import Canned, Running
from .suite import SECRET, AdapterContract, ledger_of, send
from .vendor_specs import validate

PAST = "Wed, 21 Oct 2015 07:28:00 GMT"
SPEC = "sendgrid_mail_v3.json"
BODY_SCHEMA = "/components/requestBodies/PostMailSend/content/application~1json/schema"


def error(*fields: str) -> bytes:
    return orjson.dumps({"errors": [{"message": "no", "field": field, "help": None} for field in fields]})


class TestSendGrid(AdapterContract):
    channel = "email"
    requests_per_batch = True
    opted_out = None  # it takes it, and tells by an event later

    def build(self, simulator: Simulator, **options: Any) -> SendGridAdapter:
        return self.build_at(simulator.url, **options)

    def build_at(self, url: str, **options: Any) -> SendGridAdapter:
        return SendGridAdapter(
            api_key=f"SG.{SECRET}", sender="Carillon <hello@carillon.example>", base_url=url, **options
        )

    def build_at_closed_port(self, port: int) -> SendGridAdapter:
        return self.build_at(f"http://127.0.0.1:{port}")

    @pytest.mark.asyncio
    async def test_requests_fit_the_vendors_description(self, running: Running) -> None:
        adapter = self.build(running.simulator)
        messages = [
            self.message(number=1),
            self.message(number=2, html="<p>Hi</p>"),
            self.message(number=3, html="<p>Hi</p>", text=""),
            self.message(number=4, text="long " * 3000),
        ]
        outcomes = await send(adapter, messages)
        await adapter.close()
        assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        assert len(running.seen) == 4
        for seen in running.seen:
            body = orjson.loads(seen.body)
            validate(body, SPEC, BODY_SCHEMA)
            assert body["from"] == {"email": "hello@carillon.example", "name": "Carillon"}
            assert seen.headers["Authorization"] == f"Bearer SG.{SECRET}"

    @pytest.mark.asyncio
    async def test_five_hundred_with_three_bad_ones(self, simulator: Simulator) -> None:
        await self.check_three_bad(simulator)
        assert simulator.requests["sendgrid"] == 5  # refused, the other 497, and the three it named

    @pytest.mark.asyncio
    async def test_five_hundred_with_three_bad_ones_unnamed(
        self, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("apps.integrations.sendgrid.adapter._fields", lambda body: [""])
        bad = PermanentFailure("rejected")
        await self.check_three_bad(simulator, bad)

    @pytest.mark.parametrize("wrong", [("0", "1"), ("700",), ("3", "250", "499", "500")])
    @pytest.mark.asyncio
    async def test_the_vendors_word_only_chooses_the_split(
        self, running: Running, monkeypatch: pytest.MonkeyPatch, wrong: tuple[str, ...]
    ) -> None:
        fields = [f"personalizations.{index}.to.0.email" for index in wrong]
        monkeypatch.setattr("apps.integrations.sendgrid.adapter._fields", lambda body: fields)
        await self.check_three_bad(running.simulator)
        assert len(running.seen) < 60  # three times down 9 levels, two requests each, and a little

    @pytest.mark.asyncio
    async def test_a_call_without_an_answer_does_not_keep_its_thread(self, simulator: Simulator) -> None:
        adapter = self.build(simulator, timeout=0.3)
        assert await send(adapter, [self.message("hang")]) == [UnknownOutcome("timeout")]
        await asyncio.wait_for(asyncio.to_thread(adapter._threads.shutdown), 5)

    async def check_three_bad(
        self,
        simulator: Simulator,
        outcome: Outcome = PermanentFailure("invalid_address", address_is_dead=True),  # noqa: B008
    ) -> None:
        adapter = self.build(simulator)
        messages = [self.message("reject" if n in (3, 250, 499) else "", number=n) for n in range(500)]
        outcomes = await send(adapter, messages)
        await adapter.close()
        assert [outcomes[n] for n in (3, 250, 499)] == [outcome] * 3
        assert sum(isinstance(outcome, Accepted) for outcome in outcomes) == 497
        accepted = Counter(entry["attempt"] for entry in ledger_of(simulator))
        assert len(accepted) == 497 and set(accepted.values()) == {1}

    @pytest.mark.asyncio
    async def test_each_gets_its_own_words(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        tags = adapter._planner.tags
        bodies = [
            ("plain", ""),
            ('Grüße, 日本語, 🎉 \u2028 \x00 "quoted" \\ back', "<p>&amp; <b>ü</b></p>"),
            (f"{tags[0]} and {tags[1]}", f"<p>{tags[0]}</p>"),
            (tags[0], tags[1]),
            ("%carillon-text% -name- {{handlebars}} <%asm%>", "<p>%html% [unsubscribe]</p>"),
            ("x" * 9_000, "y" * 9_000),
            ("ü" * 4_900, ""),
            ("ü" * 5_100, ""),
            ("", "<p>html only</p>"),
        ]
        messages = [
            self.message(number=n, text=text, html=html, subject=f"S {n} {tags[0] if n == 2 else ''}")
            for n, (text, html) in enumerate(bodies)
        ]
        outcomes = await send(adapter, messages)
        await adapter.close()
        assert all(isinstance(outcome, Accepted) for outcome in outcomes), outcomes
        got = {e["attempt"]: (e["subject"], e["text"], e["html"]) for e in ledger_of(simulator)}
        assert got == {str(m.attempt): (m.subject, m.text, m.html) for m in messages}

    @pytest.mark.asyncio
    async def test_large_identical_bodies_share_a_request(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        messages = [self.message(number=n, text="newsletter " * 2_000) for n in range(50)]
        assert all(isinstance(outcome, Accepted) for outcome in await send(adapter, messages))
        await adapter.close()
        assert simulator.requests["sendgrid"] == 1
        assert {entry["text"] for entry in ledger_of(simulator)} == {messages[0].text}

    @pytest.mark.asyncio
    async def test_its_own_way_out_is_off_where_ours_is_in_the_headers(self, running: Running) -> None:
        adapter = self.build(running.simulator)
        url = "https://carillon.example.com/u/x"
        messages = [self.message(number=n, unsubscribe_url=url if n < 2 else "") for n in range(4)]
        assert all(isinstance(outcome, Accepted) for outcome in await send(adapter, messages))
        await adapter.close()
        ours, others = sorted((orjson.loads(seen.body) for seen in running.seen), key=len, reverse=True)
        for body in (ours, others):
            validate(body, SPEC, BODY_SCHEMA)
        assert ours["tracking_settings"] == {"subscription_tracking": {"enable": False}}
        assert [len(own["headers"]) for own in ours["personalizations"]] == [2, 2]
        assert "tracking_settings" not in others and len(others["personalizations"]) == 2
        assert not [own for own in others["personalizations"] if "headers" in own]

    @pytest.mark.asyncio
    async def test_an_address_comes_once_in_a_request(self, running: Running) -> None:
        adapter = self.build(running.simulator)
        addresses = ["a@example.com", "b@example.com", "A@example.com", "a@example.com"]
        outcomes = await send(adapter, [self.message(address=address) for address in addresses])
        await adapter.close()
        assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        assert len(running.seen) == 3
        assert running.simulator.ledger.seq == 4

    @pytest.mark.asyncio
    async def test_one_message_id_covers_the_request(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        outcomes = await send(adapter, [self.message(number=1), self.message(number=2)])
        await adapter.close()
        assert outcomes[0] == outcomes[1]

    @pytest.mark.parametrize(
        ("status", "headers", "body", "outcome"),
        [
            (400, {}, error("personalizations.0.to.0.email"), PermanentFailure("invalid_address", True)),
            (400, {}, error("personalizations.0.to"), PermanentFailure("invalid_address", True)),
            (400, {}, error("content.0.value"), PermanentFailure("rejected")),
            (400, {}, error("from.email"), TemporaryFailure("misconfigured", 60.0)),
            (400, {}, b"<html>", PermanentFailure("rejected")),
            (400, {}, b'{"errors":[null]}', PermanentFailure("rejected")),
            (401, {}, error(""), TemporaryFailure("unauthorized", 60.0)),
            (403, {}, error("from"), TemporaryFailure("unauthorized", 60.0)),
            (404, {}, b"", TemporaryFailure("misconfigured", 60.0)),
            (413, {}, b"", PermanentFailure("too_large")),
            (429, {"Retry-After": "7"}, b"", TemporaryFailure("rate_limited", 7.0)),
            (429, {}, b"", TemporaryFailure("rate_limited")),
            (500, {}, b"", TemporaryFailure("unavailable")),
            (
                503,
                {"Retry-After": PAST},
                b"",
                TemporaryFailure("unavailable", 0.0),
            ),
            (504, {}, b"", UnknownOutcome("gateway")),
            (524, {}, b"", UnknownOutcome("gateway")),
            (200, {}, b"{}", UnknownOutcome("bad_answer")),
            (202, {}, b"", UnknownOutcome("bad_answer")),
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

    @pytest.mark.asyncio
    async def test_a_wrong_sender_is_not_searched_for_among_the_messages(self, canned: Canned) -> None:
        canned.status, canned.body = 400, error("from.email")
        adapter = self.build_at(canned.url)
        outcomes = await send(adapter, [self.message(number=n) for n in range(50)])
        await adapter.close()
        assert outcomes == [TemporaryFailure("misconfigured", 60.0)] * 50

    @pytest.mark.parametrize("parts", [{"subject": ""}, {"text": ""}])
    @pytest.mark.asyncio
    async def test_what_the_vendor_would_refuse_is_not_sent(
        self, simulator: Simulator, parts: dict[str, str]
    ) -> None:
        adapter = self.build(simulator)
        assert await send(adapter, [self.message(**parts)]) == [PermanentFailure("invalid_content")]
        await adapter.close()
        assert not simulator.requests

    @pytest.mark.asyncio
    async def test_a_wrong_key(self, simulator: Simulator) -> None:
        adapter = SendGridAdapter("wrong", "a@carillon.example", base_url=simulator.url)
        assert await send(adapter, [self.message()]) == [TemporaryFailure("unauthorized", 60.0)]
        await adapter.close()

    @pytest.mark.asyncio
    async def test_what_could_not_start_in_time_has_not_left(self, simulator: Simulator) -> None:
        adapter = self.build(simulator, timeout=0.4, threads=1)
        messages = [self.message("hang", text="first " * 3_000), self.message(number=1)]
        assert await send(adapter, messages) == [UnknownOutcome("timeout"), TemporaryFailure("not_started")]
        await adapter.close()
        assert [entry["attempt"] for entry in ledger_of(simulator)] == [str(messages[0].attempt)]
