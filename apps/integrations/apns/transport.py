"""HTTP/2 requests by httpx, and what it does not tell: whether a request has left."""

from __future__ import annotations

import asyncio
import logging
import select
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, StreamReset

from apps.integrations.contract import Outcome, TemporaryFailure, UnknownOutcome
from apps.integrations.session import Answer

# They write down headers, device tokens among them. Filters, since levels can be set elsewhere.
LOGGERS = ("httpcore.connection", "httpcore.http2", "hpack.hpack", "hpack.table")
KEPT = 120.0  # seconds that an idle connection is kept: less than firewalls and NAT do


@dataclass(slots=True)
class _Flight:
    """How far a request has got."""

    started: float
    stream: int = 0
    left: bool = False  # its last byte may have been sent

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """Called at each step: https://www.encode.io/httpcore/extensions/#trace."""
        if event == "http2.send_request_headers.started":  # also anew, if a GOAWAY turned it away before
            self.left, self.stream = False, info["stream_id"]
        elif event == "http2.send_request_body.started":
            self.left = True


class _Link:
    """One connection, and another when that one ends."""

    def __init__(self, verify: ssl.SSLContext) -> None:
        # Without httpx's client: of a message's 1 ms of CPU it takes 0.1, for cookies, redirects and logins.
        self.transport = httpx.AsyncHTTPTransport(
            http1=False,
            http2=True,
            trust_env=False,
            limits=httpx.Limits(keepalive_expiry=KEPT),
            verify=verify,
        )
        self.flights = 0
        self.heard = 0.0
        self._stream: Any = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], extensions: Any) -> Answer:
        request = httpx.Request("POST", url, content=body, headers=headers, extensions=extensions)
        response = await self.transport.handle_async_request(request)
        try:
            content = await response.aread()
        finally:
            await response.aclose()
        self._stream = response.extensions["network_stream"]
        return Answer(response.status_code, response.headers, content)

    def ended(self) -> bool:
        """Whether the server has closed the connection, as it may while it is idle.

        httpx would find out only after the next request has left, whose outcome nobody would know then. Where
        there is no POLLRDHUP (it is Linux's), that is so.
        """
        descriptor = -1 if self._stream is None else self._stream.get_extra_info("socket").fileno()
        if descriptor < 0:
            return False
        poll = select.poll()
        poll.register(descriptor, getattr(select, "POLLRDHUP", 0))
        return bool(poll.poll(0))


class Transport:
    """All requests share one connection. `timeout`: seconds, for all of a request."""

    def __init__(self, timeout: float) -> None:
        for name in LOGGERS:
            logging.getLogger(name).addFilter(_nothing)
        self._timeout = timeout
        self._limits = {"connect": timeout / 2}
        self._verify = ssl.create_default_context()
        self._link: _Link | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer | Outcome:
        """The answer, or the outcome without one."""
        link = await self._current()
        flight = _Flight(time.monotonic())
        extensions = {"timeout": self._limits, "trace": flight.trace}
        link.flights += 1
        try:
            async with asyncio.timeout(self._timeout):
                answer = await link.post(url, body, headers, extensions)
            link.heard = time.monotonic()
            return answer
        except Exception as error:
            if isinstance(error, TimeoutError) and link.heard < flight.started:
                self._replace(link)
            return _outcome(error, flight)
        finally:
            link.flights -= 1
            if link is not self._link and not link.flights:
                await link.transport.aclose()

    async def close(self) -> None:
        """Close the connection."""
        if self._link is not None:
            await self._link.transport.aclose()

    async def _current(self) -> _Link:
        link = self._link
        if link is not None and not link.flights and link.ended():
            self._link = None
            await link.transport.aclose()
        self._link = self._link or _Link(self._verify)
        return self._link

    def _replace(self, link: _Link) -> None:
        """Nothing was heard for as long as a request may last: the link may be dead without saying so.

        httpx would go on using it, since requests that are cancelled tell it nothing. What is under way on it
        may still end well.
        """
        if self._link is link:
            self._link = None


def _outcome(error: Exception, flight: _Flight) -> Outcome:
    if not flight.left:
        return TemporaryFailure("unreachable")
    if _untouched(error, flight.stream):
        return TemporaryFailure("unavailable")
    return UnknownOutcome("timeout" if isinstance(error, TimeoutError) else "disconnected")


def _untouched(error: Exception, stream: int) -> bool:
    """Whether the server said that it has not looked at the request.

    https://www.rfc-editor.org/rfc/rfc9113#section-8.7. httpx keeps the reason as text; httpcore's exception,
    its cause, has h2's event.
    """
    cause = error.__cause__
    event = cause.args[0] if cause is not None and cause.args else None
    if isinstance(event, StreamReset):
        return event.error_code == ErrorCodes.REFUSED_STREAM
    return isinstance(event, ConnectionTerminated) and stream > (event.last_stream_id or 0)


def _nothing(_record: logging.LogRecord) -> bool:
    return False
