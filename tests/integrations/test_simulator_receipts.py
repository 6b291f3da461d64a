"""How the simulator sends receipts, whatever they say."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import pytest_asyncio

from apps.integrations.registry import RECEIVERS
from apps.integrations.simulator import FATES, FAULTS, Entry, Simulator
from apps.integrations.simulator import receipts as module
from apps.integrations.simulator.faults import Script, fate, magic
from apps.integrations.simulator.receipts import Plan
from apps.integrations.twilio.receipts import TwilioReceiver

from .receipts import SLOWEST, Inbox, control, serving, turn_on
from .suite import free_port


def entry(number: int = 0) -> Entry:
    return {
        "channel": "sms",
        "id": f"SM{number:032}",
        "target": str(uuid4()),
        "attempt": str(uuid4()),
        "address": f"+1415555{number:04d}",
        "subject": "",
        "text": "T",
        "html": "",
    }


@pytest_asyncio.fixture
async def inbox() -> AsyncIterator[Inbox]:
    async with serving(Inbox(TwilioReceiver("simulated"))) as running:
        yield running


async def until_quiet(simulator: Simulator) -> dict[str, int]:
    """The counts, once nothing is waiting."""
    async with asyncio.timeout(SLOWEST):
        while (counts := simulator.receipts.counts["twilio"])["waiting"]:
            await asyncio.sleep(0.01)
    return counts


class TestFates:
    @pytest.mark.parametrize("name", FATES)
    def test_they_are_written_into_addresses(self, name: str) -> None:
        assert fate(f"anna+sim-{name}@example.com") == fate(f"+150055509{FATES[name]}") == name

    @pytest.mark.parametrize("name", FATES.keys() - FAULTS.keys())
    def test_what_is_accepted_is_no_fault(self, name: str) -> None:
        addresses = [f"anna+sim-{name}@example.com", f"+150055509{FATES[name]}"]
        assert {magic(address) for address in addresses} == {"accept"}
        assert Script().next_fault("p", addresses) == "accept"

    @pytest.mark.parametrize(
        "address", ["anna@example.com", "a+sim-x@x", "a+sim-hang@x", "+15005550199", "+15005550901", ""]
    )
    def test_the_usual_one(self, address: str) -> None:
        assert fate(address) == ""


class TestPlan:
    def test_in_order_unless_they_are_shuffled(self) -> None:
        for jitter in (0.0, 5.0):
            times = Plan("u", delay=1, jitter=jitter).times(5)
            assert len(set(times)) == 1
            assert len(set(Plan("u", jitter=jitter, shuffle=True).times(5))) == 5

    def test_the_provider_in_the_url(self) -> None:
        wanted = {
            "url": "http://x/{provider}/",
            "delay_ms": 20,
            "jitter_ms": 5,
            "duplicates": 0.5,
            "shuffle": True,
        }
        assert Plan.of(wanted, "p") == Plan("http://x/p/", 0.02, 0.005, 0.5, True)
        assert Plan.of({"url": "u"}, "p") == Plan("u", 0.05, 0.0, 0.0, False)


@pytest.mark.asyncio
class TestSending:
    async def test_nothing_until_it_is_turned_on(self, simulator: Simulator, inbox: Inbox) -> None:
        simulator.receipts.report("twilio", [entry()])
        await turn_on(simulator, inbox)
        simulator.receipts.report("sendgrid", [entry(2)])
        simulator.receipts.report("twilio", [entry(1)])
        await inbox.until(2)
        assert await until_quiet(simulator) == {
            "reported": 2,
            "sent": 2,
            "answered": 2,
            "dropped": 0,
            "waiting": 0,
        }
        assert {event.address for event in inbox.events} == {"+14155550001"}

    async def test_nothing_after_it_was_turned_off(self, simulator: Simulator, inbox: Inbox) -> None:
        await turn_on(simulator, inbox, delay_ms=60_000)
        simulator.receipts.report("twilio", [entry()])
        await turn_on(simulator, inbox, url="")
        assert simulator.receipts.counts == {}
        await turn_on(simulator, inbox)
        simulator.receipts.report("twilio", [entry(1)])
        await inbox.until(2)
        assert {event.address for event in inbox.events} == {"+14155550001"}

    async def test_what_is_refused_comes_again(
        self, simulator: Simulator, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "FIRST_WAIT", 0.01)
        inbox.refusals = 5
        await turn_on(simulator, inbox)
        simulator.receipts.report("twilio", [entry()])
        events = await inbox.until(2)
        counts = await until_quiet(simulator)
        assert counts["sent"] == 7 and counts["answered"] == counts["reported"] == 2
        assert Counter(event.event_id for event in events).most_common(1)[0][1] == 1

    async def test_what_nobody_answered_comes_again(
        self, simulator: Simulator, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "FIRST_WAIT", 0.01)
        wanted = {"provider": "twilio", "url": f"http://127.0.0.1:{free_port()}/", "delay_ms": 0}
        await control(simulator, "/receipts", wanted)
        simulator.receipts.report("twilio", [entry()])
        async with asyncio.timeout(SLOWEST):
            while simulator.receipts.counts["twilio"]["sent"] < 4:
                await asyncio.sleep(0.01)
        assert simulator.receipts.counts["twilio"]["waiting"] == 2
        await turn_on(simulator, inbox)
        assert len(await inbox.until(2)) == 2

    async def test_the_waits_double_up_to_a_bound(
        self, simulator: Simulator, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "FIRST_WAIT", 0.01)
        monkeypatch.setattr(module, "LONGEST_WAIT", 0.04)
        loop = asyncio.get_running_loop()
        inbox.refusals = 8
        await turn_on(simulator, inbox)
        simulator.receipts.report("twilio", [entry()])
        start = loop.time()
        await inbox.until(2)  # 4 refusals each: 0.01, 0.02, 0.04, 0.04 seconds
        assert loop.time() - start >= 0.1

    async def test_copies(self, simulator: Simulator, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "LATEST_COPY", 0.01)
        await turn_on(simulator, inbox, duplicates=1)
        simulator.receipts.report("twilio", [entry(number) for number in range(10)])
        events = await inbox.until(40)
        assert set(Counter(event.event_id for event in events).values()) == {2}

    async def test_some_copies(self, simulator: Simulator, inbox: Inbox) -> None:
        await turn_on(simulator, inbox, duplicates=0.5, delay_ms=60_000)
        simulator.receipts.report("twilio", [entry(number) for number in range(500)])
        assert 1_300 < simulator.receipts.counts["twilio"]["reported"] < 1_700

    async def test_shuffled(self, simulator: Simulator, inbox: Inbox) -> None:
        await turn_on(simulator, inbox, shuffle=True)
        simulator.receipts.report("twilio", [entry(number) for number in range(100)])
        events = await inbox.until(200)
        first: dict[str, str] = {}
        for event in events:
            first.setdefault(event.provider_message_id, event.kind)
        assert 20 < Counter(first.values())["delivered"] < 80
        assert list(first) != sorted(first)

    async def test_late(self, simulator: Simulator, inbox: Inbox) -> None:
        loop = asyncio.get_running_loop()
        await turn_on(simulator, inbox, delay_ms=80)
        start = loop.time()
        simulator.receipts.report("twilio", [entry()])
        await inbox.until(2)
        assert loop.time() - start >= 0.08

    async def test_what_is_due_sooner_does_not_wait(self, simulator: Simulator, inbox: Inbox) -> None:
        await turn_on(simulator, inbox, delay_ms=60_000)
        simulator.receipts.report("twilio", [entry()])
        await asyncio.sleep(0)  # it waits for that one now
        await turn_on(simulator, inbox)
        simulator.receipts.report("twilio", [entry(1)])
        assert {event.address for event in await inbox.until(2)} == {"+14155550001"}

    async def test_memory_is_bounded(
        self, simulator: Simulator, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MOST_WAITING", 10)
        await turn_on(simulator, inbox, delay_ms=60_000)
        simulator.receipts.report("twilio", [entry(number) for number in range(8)])
        counts = simulator.receipts.counts["twilio"]
        assert (counts["waiting"], counts["dropped"]) == (10, 6)

    async def test_all_providers_at_once(self, simulator: Simulator, inbox: Inbox) -> None:
        url = inbox.url.replace("twilio", "{provider}")
        await control(simulator, "/receipts", {"provider": "*", "url": url})
        async with aiohttp.ClientSession(simulator.url) as client, client.get("/counts") as answer:
            assert set((await answer.json())["receipts"]) == set(RECEIVERS)
        simulator.receipts.report("twilio", [entry()])
        await inbox.until(2)

    @pytest.mark.parametrize(
        "wanted",
        [
            [],
            {},
            {"provider": "twilio"},
            {"provider": "smtp", "url": "http://127.0.0.1/"},
            {"provider": ["twilio"], "url": "http://127.0.0.1/"},
            {"provider": "*", "url": "http://127.0.0.1/", "delay_ms": "soon"},
            {"provider": "*", "url": "http://127.0.0.1/", "jitter_ms": None},
            {"provider": "*", "url": "http://127.0.0.1/", "duplicates": -1},
        ],
    )
    async def test_a_wrong_request(self, simulator: Simulator, wanted: Any) -> None:
        await control(simulator, "/receipts", wanted, status=400)
        assert simulator.receipts.counts == {}

    async def test_nobody_can_write(self, simulator: Simulator, inbox: Inbox) -> None:
        wanted = {"provider": "twilio", "from": "+4930123456", "text": "STOP"}
        await control(simulator, "/inbound", wanted, status=400)  # it is off
        await control(simulator, "/receipts", {"provider": "sendgrid", "url": inbox.url})
        await control(simulator, "/inbound", {**wanted, "provider": "sendgrid"}, status=400)
