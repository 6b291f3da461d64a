"""The server: what every vendor's part stands on, and the simulator's own API."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web

from apps.integrations.registry import ADAPTERS
from apps.integrations.simulator import outbox
from apps.integrations.simulator.answers import as_json, bad, fields
from apps.integrations.simulator.faults import FAULTS, Script, Scripted
from apps.integrations.simulator.ledger import Entry, Ledger
from apps.integrations.simulator.receipts import Receipts
from apps.integrations.simulator.routes import Routes

LARGEST_REQUEST = 32 * 1024**2  # bytes
LOCALHOST = "127.0.0.1"
Protocol = Callable[[], asyncio.BaseProtocol]  # makes one for each connection


class Dialect(ABC):
    """How one vendor words its answers over HTTP."""

    provider: str

    @abstractmethod
    def accepted(self, entries: Sequence[Entry]) -> web.Response:
        """The vendor took them."""

    @abstractmethod
    def refused(self, fault: str, entries: Sequence[Entry]) -> web.Response | None:
        """`reject` or `optout`; None if this vendor does not answer that here, and accepts."""

    @abstractmethod
    def failed(self, status: int, headers: dict[str, str]) -> web.Response:
        """429 or 503."""


class Simulator:
    """An async context manager: `async with Simulator(path) as simulator: … simulator.url …`.

    Port 0 is any free one; without `smtp_port` there is no SMTP, without `http2_port` no HTTP/2. Listens on
    127.0.0.1 only. `watcher` sees each request of HTTP/1.1 first.
    """

    def __init__(
        self,
        ledger: Path,
        *,
        port: int = 0,
        smtp_port: int | None = None,
        http2_port: int | None = None,
        watcher: Callable[[web.BaseRequest], Awaitable[None]] | None = None,
    ) -> None:
        self.ledger = Ledger(ledger)
        self.script = Script()
        self.receipts = Receipts()
        self.requests: Counter[str] = Counter()
        self.latency: defaultdict[str, float] = defaultdict(float)  # seconds, by provider
        self.port = port
        self.smtp_port = smtp_port
        self.smtp_protocol: Protocol | None = None  # set by a vendor's part, as the next
        self.http2_port = http2_port
        self.http2_protocol: Protocol | None = None
        self._servers: list[asyncio.Server] = []
        self.routes = Routes()
        self._watcher = watcher
        self._add_own_routes()
        for folder in dict.fromkeys(path.rsplit(".", 2)[0] for path in ADAPTERS.values()):
            _part_of(folder, self)

    @property
    def url(self) -> str:
        """Base URL of every vendor that speaks HTTP."""
        return f"http://{LOCALHOST}:{self.port}"

    @property
    def http2_url(self) -> str:
        """Base URL of every vendor that speaks HTTP/2 only."""
        return f"http://{LOCALHOST}:{self.http2_port}"

    async def __aenter__(self) -> Simulator:
        # handler_cancellation: a handler that hangs ends when its client leaves.
        server = web.Server(
            self._handle, request_factory=_request, handler_cancellation=True, access_log=None
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOCALHOST, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.smtp_port = await self._listen(self.smtp_protocol, self.smtp_port)
        self.http2_port = await self._listen(self.http2_protocol, self.http2_port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()
        await self._runner.cleanup()
        await self.receipts.close()
        self.ledger.close()

    async def _listen(self, protocol: Protocol | None, port: int | None) -> int | None:
        """Serve one more protocol; returns its port, None if there is none."""
        if protocol is None or port is None:
            return None
        server = await asyncio.get_running_loop().create_server(protocol, LOCALHOST, port)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._watcher is not None:
            await self._watcher(request)
        return await self.routes(request)

    async def answer(
        self, request: web.BaseRequest, dialect: Dialect, entries: Sequence[Entry]
    ) -> web.Response:
        """Play the request's fault, if any, and put what was accepted into the ledger before answering."""
        fault = self.next_fault(dialect.provider, entries)
        if (early := _turned_away(fault, dialect, entries)) is not None:
            return early
        await self.accept(dialect.provider, fault, entries)
        if fault == "drop" and request.transport is not None:
            request.transport.abort()  # which cancels this handler
        if fault in ("hang", "drop"):
            await asyncio.Event().wait()
        if fault == "nonsense":
            return web.Response(text="<html>It works!</html>", content_type="text/html")
        return dialect.accepted(entries)

    def next_fault(self, provider: str, entries: Sequence[Entry]) -> str:
        """Count the request, and say what it shall meet. `flaky` is decided here: an error, or accepted."""
        self.requests[provider] += 1
        fault = self.script.next_fault(provider, [entry["address"] for entry in entries])
        if fault == "flaky":
            keys = [entry["target"] or entry["address"] + entry["text"] for entry in entries]
            return "error" if self.script.first_meeting(keys) else "accept"
        return fault

    async def accept(self, provider: str, fault: str, entries: Sequence[Entry]) -> None:
        """Into the ledger. Latency comes after: who stops waiting has been accepted all the same."""
        if fault == "slow":
            await asyncio.sleep(0.5)
        self.ledger.append(provider, entries)
        self.receipts.report(provider, entries)
        if delay := self.latency[provider] or self.latency["*"]:
            await asyncio.sleep(delay)

    def _add_own_routes(self) -> None:
        self.routes.add(
            [
                ("GET", "/ledger", self._get_ledger),
                ("GET", "/counts", self._get_counts),
                ("POST", "/faults", self._post_faults),
                ("DELETE", "/faults", self._delete_faults),
                ("POST", "/latency", self._post_latency),
                *self.receipts.routes(),
                *outbox.routes(self.ledger),
            ]
        )

    async def _get_ledger(self, request: web.BaseRequest) -> web.Response:
        after = _whole(request.query.get("after", "0"))
        limit = min(_whole(request.query.get("limit", "1000")), 100_000)
        lines = await asyncio.to_thread(self.ledger.read, after, limit)
        return web.Response(body=lines, content_type="application/jsonl")

    async def _get_counts(self, _request: web.BaseRequest) -> web.Response:
        return as_json(
            {
                "accepted": self.ledger.seq,
                "providers": self.ledger.providers,
                "channels": self.ledger.channels,
                "requests": self.requests,
                "receipts": self.receipts.counts,
            }
        )

    async def _post_faults(self, request: web.BaseRequest) -> web.Response:
        wanted = await fields(request)
        try:
            scripted = Scripted(str(wanted["provider"]), str(wanted["fault"]), int(wanted["times"]))
            if wanted.get("seconds") is not None:
                scripted.until = time.monotonic() + float(wanted["seconds"])
        except (KeyError, TypeError, ValueError) as error:
            raise bad("provider, fault and times are required; seconds is a number") from error
        if scripted.fault not in FAULTS:
            raise bad(f"fault is one of {', '.join(FAULTS)}")
        self.script.scripted.append(scripted)
        return as_json({"scripted": len(self.script.scripted)})

    async def _delete_faults(self, _request: web.BaseRequest) -> web.Response:
        self.script.scripted.clear()
        return web.Response(status=204)

    async def _post_latency(self, request: web.BaseRequest) -> web.Response:
        wanted = await fields(request)
        try:
            self.latency[str(wanted["provider"])] = float(wanted["ms"]) / 1000
        except (KeyError, TypeError, ValueError) as error:
            raise bad("provider and ms are required") from error
        return as_json({provider: seconds * 1000 for provider, seconds in self.latency.items()})


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    """As aiohttp makes one, with room for bulk requests."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=LARGEST_REQUEST)


def _part_of(folder: str, simulator: Simulator) -> None:
    """Let the vendor's `simulated.py` register what it serves, if the vendor has one."""
    name = f"{folder}.simulated"
    if find_spec(name) is not None:
        register: Callable[[Simulator], None] = import_module(name).register
        register(simulator)


def _turned_away(fault: str, dialect: Dialect, entries: Sequence[Entry]) -> web.Response | None:
    if fault in ("reject", "optout"):
        return dialect.refused(fault, entries)
    if fault == "ratelimit":
        return dialect.failed(429, {"Retry-After": "1"})
    if fault == "error":
        return dialect.failed(503, {})
    if fault == "gateway":
        return web.Response(status=502, text="<html>502 Bad Gateway</html>", content_type="text/html")
    return None


def _whole(value: str) -> int:
    if not value.isdecimal():
        raise bad("after and limit are whole numbers")
    return int(value)
