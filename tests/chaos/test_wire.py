"""What is counted of the wire: messages as the adapters really send them, and streams of HTTP/2."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection

from apps.integrations import registry
from apps.integrations.contract import Accepted, Adapter, Message, Outcome, UnknownOutcome
from apps.integrations.simulator.server import Simulator
from apps.integrations.webhook.simulated import SECRET
from apps.integrations.webpush.simulated import subscription
from project.dev import providers
from project.dev.providers import Simulated
from project.ids import attempt_id
from tests.chaos.plan import PROVIDERS
from tests.chaos.proxy import Condition, Proxy
from tests.chaos.wire import Http1, Http2

NUMBER = 3  # messages of a batch


def addresses(url: str, number: int) -> dict[str, str]:
    """By provider, an address that the simulator takes."""
    return {
        "sendgrid": f"p{number}@example.com",
        "ses": f"p{number}@example.com",
        "twilio": f"+4930000{number}00",
        "vonage": f"+4930000{number}00",
        "fcm": f"token-{number}",
        "apns": f"{number:08x}" * 4,
        "webpush": subscription(f"{url}/webpush/{number}"),
        "webhook": f"{url}/hooks/{number}",
        "slack_webhook": f"{url}/services/T0/B0/n{number}",
        "teams": f"{url}/workflows/n{number}/triggers/manual/paths/invoke?sig=x",
    }


@asynccontextmanager
async def linked(name: str, folder: Path) -> AsyncIterator[tuple[Adapter, Proxy, Simulator, list[Message]]]:
    """The provider's adapter, the proxy it goes through, and some messages for it."""
    async with Simulator(folder / "ledger", http2_port=0) as simulator:
        port = simulator.http2_port if name == "apns" else simulator.port
        wire = (lambda: Http2(0.5)) if name == "apns" else Http1
        proxy = Proxy(port or 0, chance=random.Random(1), wire=wire)
        await proxy.start()
        url = f"http://127.0.0.1:{proxy.port}"
        adapter = built(name, Simulated(url, url))
        try:
            yield adapter, proxy, simulator, [message(name, url, n) for n in range(1, NUMBER + 1)]
        finally:
            await adapter.close()
            await proxy.close()


def built(name: str, at: Simulated) -> Adapter:
    [row] = [row for row in providers.rows(at) if row["name"] == name]
    kind: Any = registry.adapter_class(name)
    given = {"status_callback": "http://127.0.0.1:1/"} if name == "twilio" else {}
    names = ("topics", "certificate_url", "public_key", "signature_secret")  # the receiver's
    options = {key: value for key, value in (row["options"] | row["secrets"]).items() if key not in names}
    adapter: Adapter = kind(timeout=1.0, **options, **given)
    return adapter


def message(name: str, url: str, number: int) -> Message:
    target = UUID(int=number << 8)
    return Message(
        target=target,
        attempt=attempt_id(target, 1),
        address=addresses(url, number)[name],
        subject="An attempt",
        text='It says "attempt" in it.',
        data={"payload": {"order": "A-1"}},
        secrets=(SECRET,) if name == "webhook" else (),
    )


async def sent(adapter: Adapter, messages: list[Message]) -> list[Outcome]:
    return [outcome async for group in adapter.send_batch(messages) for _, outcome in group]


@pytest.mark.parametrize("name", PROVIDERS)
async def test_each_message_that_a_provider_swallows_is_counted_once(name: str, tmp_path: Path) -> None:
    async with linked(name, tmp_path) as (adapter, proxy, simulator, messages):
        outcomes = await sent(adapter, messages)
        assert [type(outcome) for outcome in outcomes] == [Accepted] * NUMBER
        assert proxy.unanswered == 0
        for entry in simulator.ledger.recent:
            assert UUID(entry["attempt"]) in {one.attempt for one in messages}
            if PROVIDERS[name] in ("push", "webhook"):
                assert UUID(entry["key"]) == UUID(entry["target"])
        simulator.latency["*"] = 5.0
        outcomes = await sent(adapter, messages)
        assert [type(outcome) for outcome in outcomes] == [UnknownOutcome] * NUMBER
        await asyncio.sleep(0.2)
        assert proxy.unanswered == NUMBER


async def test_a_stream_that_is_answered_too_late_is_counted_although_others_go_on(tmp_path: Path) -> None:
    async with linked("apns", tmp_path) as (adapter, proxy, simulator, messages):
        await sent(adapter, messages[:1])
        slow = Condition(latency=0.3)
        await proxy.suffer(slow)
        assert [type(outcome) for outcome in await sent(adapter, messages[1:2])] == [Accepted]
        await proxy.heal(slow)
        assert proxy.unanswered == 1
        await sent(adapter, messages[2:])
        assert proxy.unanswered == 1 and simulator.ledger.seq == NUMBER


@pytest.mark.parametrize("piece", [1, 7, 1_000])
def test_frames_are_found_however_they_are_cut(piece: int) -> None:
    client, server = H2Connection(H2Configuration()), H2Connection(H2Configuration(client_side=False))
    client.initiate_connection()
    server.initiate_connection()
    for stream in (1, 3, 5):
        head = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "x")]
        client.send_headers(stream, head)
        client.send_data(stream, b"x" * 300, end_stream=True)
    asked = client.data_to_send()
    server.receive_data(asked)
    for stream in (1, 5):
        server.send_headers(stream, [(":status", "200")])
        server.send_data(stream, b"", end_stream=True)
    answered, wire = server.data_to_send(), Http2(60)
    for start in range(0, len(asked), piece):
        wire.asked(asked[start : start + piece])
    assert wire.unanswered == 3
    for start in range(0, len(answered), piece):
        wire.answered(answered[start : start + piece])
    assert wire.unanswered == 1
