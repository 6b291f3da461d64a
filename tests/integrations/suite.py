"""What every adapter must do, whatever its vendor. A subclass says how to build it and what differs."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import uuid4

import orjson
import pytest

from apps.integrations.contract import (
    Accepted,
    Adapter,
    Message,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.simulator import FAULTS, Simulator

SECRET = "s3cr3t-value"
SLOWEST = 60.0  # seconds for a batch
BODY = "b0dy-of-the-message"


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def send(adapter: Adapter, messages: Sequence[Message]) -> list[Outcome]:
    """The outcomes in the order of the messages; fails unless each message has exactly one."""
    outcomes: dict[Any, Outcome] = {}
    async with asyncio.timeout(SLOWEST):  # one that raises leaves its message untold
        async for group in adapter.send_batch(messages):
            for message, outcome in group:
                assert message.attempt not in outcomes, "an outcome came twice"
                outcomes[message.attempt] = outcome
    return [outcomes.pop(message.attempt) for message in messages]


def ledger_of(simulator: Simulator) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in simulator.ledger.read(0, 100_000).splitlines()]


class AdapterContract:
    """Subclasses are named Test…, so that they are collected and this is not."""

    channel: ClassVar[str]
    requests_per_batch: ClassVar[bool] = False  # one request takes a whole batch
    tells_id: ClassVar[bool] = True  # the vendor's acceptance has a message id
    rejected: ClassVar[Outcome] = PermanentFailure("invalid_address", address_is_dead=True)
    opted_out: ClassVar[Outcome | None]  # None: the vendor does not answer that
    rate_limited: ClassVar[Outcome] = TemporaryFailure("rate_limited", 1.0)
    gateway: ClassVar[Outcome] = UnknownOutcome("gateway")
    nonsense: ClassVar[str] = "<html>It works!</html>"  # what is kept of an answer that is none
    private: ClassVar[tuple[str, ...]] = (SECRET, BODY, "anna", "+1500", "+1415")  # never in a log

    def build(self, simulator: Simulator, **options: Any) -> Adapter:
        raise NotImplementedError

    def build_at_closed_port(self, port: int) -> Adapter:
        raise NotImplementedError

    def address(self, fault: str, number: int) -> str:
        """An address of this channel; with a fault, one that is magic to the simulator."""
        if self.channel == "sms":
            return f"+150055509{FAULTS[fault]}" if fault else f"+1415555{number:04d}"
        return f"anna{number}+sim-{fault}@example.com" if fault else f"anna{number}@example.com"

    def message(self, fault: str = "", number: int = 0, **parts: Any) -> Message:
        parts = {
            "address": self.address(fault, number),
            "subject": f"{BODY}-subject",
            "text": BODY,
            **parts,
        }
        return Message(target=uuid4(), attempt=uuid4(), **parts)

    async def one(self, simulator: Simulator, fault: str, **options: Any) -> Outcome:
        """The outcome of one message with that fault; checks that it was one request."""
        adapter = self.build(simulator, **options)
        [outcome] = await send(adapter, [self.message(fault)])
        await adapter.close()
        assert sum(simulator.requests.values()) == 1
        return outcome

    @pytest.mark.asyncio
    async def test_accepted_once_with_our_reference(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        messages = [self.message(number=number, text=f"Grüße {number} 🎉") for number in range(20)]
        outcomes = await send(adapter, messages)
        await adapter.close()
        accepted = [outcome for outcome in outcomes if isinstance(outcome, Accepted)]
        assert [bool(outcome.provider_message_id) for outcome in accepted] == 20 * [self.tells_id]
        sent = {(str(m.target), str(m.attempt), m.address, m.text, self.channel) for m in messages}
        names = ("target", "attempt", "address", "text", "channel")
        got = [tuple(entry[name] for name in names) for entry in ledger_of(simulator)]
        assert sorted(got) == sorted(sent)
        assert sum(simulator.requests.values()) == (1 if self.requests_per_batch else len(messages))

    @pytest.mark.asyncio
    async def test_an_email_can_be_unsubscribed_by_its_headers(self, simulator: Simulator) -> None:
        """Each by its own URL; what has none has no such headers, nor has any other channel."""
        adapter = self.build(simulator)
        urls = [f"https://carillon.example.com/u/{number}{'x' * 200}.y-_" for number in (1, 2)]
        messages = [self.message(number=n, unsubscribe_url=url) for n, url in enumerate([*urls, ""])]
        assert all(isinstance(outcome, Accepted) for outcome in await send(adapter, messages))
        await adapter.close()
        got = {entry["attempt"]: entry.get("headers", {}) for entry in ledger_of(simulator)}
        post = {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
        headers = [{"List-Unsubscribe": f"<{url}>", **post} for url in urls]
        expected = [*headers, {}] if self.channel == "email" else [{}, {}, {}]
        assert [got[str(message.attempt)] for message in messages] == expected

    @pytest.mark.asyncio
    async def test_an_empty_batch_is_no_request(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        assert await send(adapter, []) == []
        await adapter.close()
        assert not simulator.requests

    @pytest.mark.asyncio
    async def test_an_invalid_address_is_dead(self, simulator: Simulator) -> None:
        assert await self.one(simulator, "reject") == self.rejected
        assert simulator.ledger.seq == 0

    @pytest.mark.asyncio
    async def test_who_opted_out(self, simulator: Simulator) -> None:
        outcome = await self.one(simulator, "optout")
        assert isinstance(outcome, Accepted) if self.opted_out is None else outcome == self.opted_out

    @pytest.mark.asyncio
    async def test_a_rate_limit_says_when(self, simulator: Simulator) -> None:
        assert await self.one(simulator, "ratelimit") == self.rate_limited
        assert simulator.ledger.seq == 0

    @pytest.mark.asyncio
    async def test_an_error_that_arrived_is_temporary(self, simulator: Simulator) -> None:
        assert await self.one(simulator, "error") == TemporaryFailure("unavailable")
        assert simulator.ledger.seq == 0

    @pytest.mark.asyncio
    async def test_a_gateway_that_gave_up(self, simulator: Simulator) -> None:
        assert await self.one(simulator, "gateway") == self.gateway

    @pytest.mark.asyncio
    async def test_no_answer_in_time_is_unknown(self, simulator: Simulator) -> None:
        assert await self.one(simulator, "hang", timeout=2.0) == UnknownOutcome("timeout")
        assert simulator.ledger.seq == 1  # it was taken, which only the vendor knows

    @pytest.mark.asyncio
    async def test_a_cut_connection_is_unknown(self, simulator: Simulator) -> None:
        assert await self.one(simulator, "drop") == UnknownOutcome("disconnected")
        assert simulator.ledger.seq == 1

    @pytest.mark.asyncio
    async def test_a_nonsense_answer_is_unknown(self, simulator: Simulator) -> None:
        outcome = await self.one(simulator, "nonsense")
        assert outcome == UnknownOutcome("bad_answer") and isinstance(outcome, UnknownOutcome)
        assert outcome.answer == self.nonsense
        assert simulator.ledger.seq == 1

    @pytest.mark.asyncio
    async def test_slow_is_still_accepted(self, simulator: Simulator) -> None:
        assert isinstance(await self.one(simulator, "slow"), Accepted)

    @pytest.mark.asyncio
    async def test_a_refused_connection_is_temporary(self) -> None:
        adapter = self.build_at_closed_port(free_port())
        assert await send(adapter, [self.message()]) == [TemporaryFailure("unreachable")]
        await adapter.close()

    @pytest.mark.asyncio
    async def test_flaky_succeeds_the_second_time(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        message = self.message("flaky")
        assert await send(adapter, [message]) == [TemporaryFailure("unavailable")]
        assert isinstance((await send(adapter, [message]))[0], Accepted)
        await adapter.close()
        assert simulator.ledger.seq == 1

    @pytest.mark.asyncio
    async def test_a_bad_message_does_not_fail_its_neighbours(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        good = [self.message(number=number) for number in range(7)]
        outcomes = await send(adapter, [*good[:3], self.message("reject"), *good[3:]])
        await adapter.close()
        assert outcomes.pop(3) == self.rejected
        assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        accepted = Counter(entry["attempt"] for entry in ledger_of(simulator))
        assert accepted == Counter(str(message.attempt) for message in good)

    @pytest.mark.asyncio
    async def test_text_that_is_not_unicode_fails_alone(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        outcomes = await send(adapter, [self.message(number=1), self.message(number=2, text="\ud800")])
        await adapter.close()
        assert isinstance(outcomes[0], Accepted)
        assert outcomes[1] == PermanentFailure("invalid_content")

    @pytest.mark.asyncio
    async def test_nothing_secret_in_the_logs(
        self, simulator: Simulator, caplog: pytest.LogCaptureFixture
    ) -> None:
        loggers = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in LIBRARIES]
        for name in [None, *loggers]:
            caplog.set_level(logging.DEBUG, logger=name)
        adapter = self.build(simulator, timeout=0.4)
        faults = ("", "reject", "error", "ratelimit", "gateway", "hang", "drop", "nonsense")
        for fault in faults:
            await send(adapter, [self.message(fault)])
        await adapter.close()
        for record in caplog.records:
            for secret in self.private:
                assert secret not in record.getMessage(), record


LIBRARIES = (
    *("python_http_client", "sendgrid", "twilio", "aiohttp", "apps", "smtplib", "urllib3", "asyncio"),
    "apprise",
    *("firebase_admin", "google", "requests", "httpx", "httpcore", "h2", "hpack", "jwt"),
    *("boto3", "botocore"),
)
