"""What the vendors report about what they accepted: signed as they sign, late, twice, out of order."""

from __future__ import annotations

import asyncio
import math
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from heapq import heappop, heappush
from random import SystemRandom
from typing import Any, Self

import aiohttp
from aiohttp import web
from yarl import URL

from apps.integrations.simulator.answers import as_json, bad, fields
from apps.integrations.simulator.faults import fate
from apps.integrations.simulator.ledger import Entry
from apps.integrations.simulator.routes import Route

MOST_WAITING = 1_000_000  # reports of one vendor, some 500 bytes each; what comes on top is never sent
AT_ONCE = 16  # requests in the air, by vendor
TIMEOUT = aiohttp.ClientTimeout(total=10)
# Seconds before what was not answered with a 2xx is sent again: twice as long each time, up to ten minutes.
FIRST_WAIT, LONGEST_WAIT = 0.5, 600.0
LATEST_COPY = 1.0  # seconds after the original
_chance = SystemRandom().uniform


@dataclass(frozen=True, slots=True)
class Report:
    """One thing that happened, in the vendor's words. `query` goes behind the URL."""

    body: bytes
    query: str = ""


class Reporter(ABC):
    """How one vendor reports, and signs."""

    provider: str
    most = 1  # reports in one request
    gather = 0.0  # seconds it waits for more of them

    @abstractmethod
    def reports(self, entry: Entry, fate: str) -> list[Report]:
        """What becomes of an accepted message, in order; `fate` is one of FATES, or "" for the usual one."""

    def inbound(self, sender: str, text: str) -> Report | None:
        """A message that a person sends us; None if this vendor has none."""
        return None

    @abstractmethod
    def request(self, url: str, reports: Sequence[Report]) -> tuple[str, Mapping[str, str], bytes]:
        """URL, headers and body of the request that brings these."""


@dataclass(slots=True)
class Plan:
    """How reports are sent: seconds, and the share of them that is sent twice."""

    url: str
    delay: float = 0.05
    jitter: float = 0.0
    duplicates: float = 0.0
    shuffle: bool = False

    @classmethod
    def of(cls, wanted: Mapping[str, Any], provider: str) -> Self:
        """From the body of a POST. Raises ValueError or TypeError."""
        plan = cls(
            str(wanted["url"]).replace("{provider}", provider),
            float(wanted.get("delay_ms", 50)) / 1000,
            float(wanted.get("jitter_ms", 0)) / 1000,
            float(wanted.get("duplicates", 0)),
            bool(wanted.get("shuffle", False)),
        )
        if not all(0 <= number < math.inf for number in (plan.delay, plan.jitter, plan.duplicates)):
            raise ValueError("not a length of time, or a share")
        return plan

    def times(self, count: int) -> list[float]:
        """When each of a message's reports is due; in their order, unless they are shuffled."""
        start = time.monotonic() + self.delay
        if self.shuffle:
            return [start + _chance(0, max(self.jitter, 0.1)) for _ in range(count)]
        return [start + _chance(0, self.jitter)] * count


class Sender:
    """Sends one vendor's reports until it is cancelled. Keeps them in memory only."""

    def __init__(self, reporter: Reporter, plan: Plan, session: aiohttp.ClientSession) -> None:
        self.plan = plan
        self.counts: Counter[str] = Counter()
        self._reporter = reporter
        self._session = session
        self._waiting: list[tuple[float, int, int, Report]] = []  # a heap of (due, order, times sent, …)
        self._order = 0
        self._sooner = asyncio.Event()
        self._free = asyncio.Semaphore(AT_ONCE)
        self._flying: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._run())

    @property
    def waiting(self) -> int:
        """Reports not yet answered."""
        return self.counts["reported"] - self.counts["answered"]

    def report(self, entries: Iterable[Entry]) -> None:
        """Report on accepted messages."""
        for entry in entries:
            reports = self._reporter.reports(entry, fate(entry["address"]))
            self.add(zip(self.plan.times(len(reports)), reports, strict=True))

    def add(self, reports: Iterable[tuple[float, Report]]) -> None:
        """Send these, each when it is due (by the monotonic clock)."""
        for due, report in reports:
            self._take(due, report)
            if self.plan.duplicates and _chance(0, 1) < self.plan.duplicates:
                self._take(due + _chance(0, LATEST_COPY), report)

    async def close(self) -> None:
        """Forget what is waiting."""
        tasks = [self._task, *self._flying]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self, due: float, report: Report) -> None:
        if self.waiting >= MOST_WAITING:
            self.counts["dropped"] += 1
            return
        self.counts["reported"] += 1
        self._push(due, 0, report)

    def _push(self, due: float, sent: int, report: Report) -> None:
        self._order += 1
        heappush(self._waiting, (due, self._order, sent, report))
        if self._waiting[0][1] == self._order:
            self._sooner.set()

    async def _run(self) -> None:
        while True:
            await self._until_due()
            await asyncio.sleep(self._reporter.gather)
            await self._free.acquire()
            task = asyncio.create_task(self._send(self._due()))
            self._flying.add(task)
            task.add_done_callback(self._flying.discard)

    async def _until_due(self) -> None:
        while not self._waiting or self._waiting[0][0] > time.monotonic():
            self._sooner.clear()
            wait = self._waiting[0][0] - time.monotonic() if self._waiting else None
            with suppress(TimeoutError):
                await asyncio.wait_for(self._sooner.wait(), wait)

    def _due(self) -> list[tuple[int, Report]]:
        due: list[tuple[int, Report]] = []
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now and len(due) < self._reporter.most:
            _, _, sent, report = heappop(self._waiting)
            due.append((sent, report))
        return due

    async def _send(self, batch: Sequence[tuple[int, Report]]) -> None:
        self.counts["sent"] += len(batch)
        try:
            answered = await self._post([report for _, report in batch])
        finally:
            self._free.release()
        if answered:
            self.counts["answered"] += len(batch)
            return
        now = time.monotonic()
        for sent, report in batch:
            self._push(now + min(FIRST_WAIT * 2**sent, LONGEST_WAIT), sent + 1, report)

    async def _post(self, reports: Sequence[Report]) -> bool:
        """Whether the answer was a 2xx."""
        url, headers, body = self._reporter.request(self.plan.url, reports)
        try:
            async with self._session.post(URL(url, encoded=True), data=body, headers=headers) as answer:
                return answer.ok and answer.status < 300
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False


class Receipts:
    """The senders of all vendors that report; each is off until it is turned on."""

    def __init__(self) -> None:
        self._reporters: dict[str, Reporter] = {}
        self._senders: dict[str, Sender] = {}
        self._session: aiohttp.ClientSession | None = None

    def register(self, reporter: Reporter) -> None:
        """Let a vendor report."""
        self._reporters[reporter.provider] = reporter

    def report(self, provider: str, entries: Iterable[Entry]) -> None:
        """Report on what a vendor accepted, if it is turned on."""
        if sender := self._senders.get(provider):
            sender.report(entries)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """By vendor: `reported` is with copies, `sent` with repetitions, `dropped` what was too much."""
        return {
            provider: {
                **{name: sender.counts[name] for name in ("reported", "sent", "answered", "dropped")},
                "waiting": sender.waiting,
            }
            for provider, sender in self._senders.items()
        }

    def routes(self) -> list[Route]:
        """The simulator's own API for them."""
        return [("POST", "/receipts", self._post_receipts), ("POST", "/inbound", self._post_inbound)]

    async def close(self) -> None:
        """Forget what is waiting."""
        for provider in list(self._senders):
            await self._senders.pop(provider).close()
        if self._session is not None:
            await self._session.close()

    async def _post_receipts(self, request: web.BaseRequest) -> web.Response:
        wanted = await fields(request)
        provider = str(wanted.get("provider"))
        providers = list(self._reporters) if provider == "*" else [provider]
        if not self._reporters.keys() >= set(providers):
            raise bad(f"provider is * or one of {', '.join(self._reporters)}")
        try:
            plans = {provider: Plan.of(wanted, provider) for provider in providers}
        except (KeyError, TypeError, ValueError) as error:
            raise bad("url is required; delay_ms, jitter_ms and duplicates are numbers") from error
        for provider, plan in plans.items():
            await self._turn(provider, plan)
        return as_json({"on": list(self._senders)})

    async def _turn(self, provider: str, plan: Plan) -> None:
        """On, off (without a URL), or on differently."""
        sender = self._senders.get(provider)
        if not plan.url:
            if sender is not None:
                await self._senders.pop(provider).close()
        elif sender is None:
            self._senders[provider] = Sender(self._reporters[provider], plan, self._open())
        else:
            sender.plan = plan

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:  # here, since it belongs to the running loop
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=4.0)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=TIMEOUT, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    async def _post_inbound(self, request: web.BaseRequest) -> web.Response:
        wanted = await fields(request)
        provider = str(wanted.get("provider"))
        if (sender := self._senders.get(provider)) is None:
            raise bad("the receipts of that provider are off")
        report = self._reporters[provider].inbound(str(wanted.get("from", "")), str(wanted.get("text", "")))
        if report is None:
            raise bad("nobody can write to that provider")
        sender.add([(time.monotonic(), report)])
        return as_json(sender.counts)
