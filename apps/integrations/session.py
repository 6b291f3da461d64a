"""A pooled HTTP client for adapters that speak a vendor's wire format themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp
from yarl import URL

LARGEST_ANSWER = 65_536  # bytes; what comes after them is not read


@dataclass(frozen=True, slots=True)
class Answer:
    """What arrived: status, headers and the beginning of the body, whatever they are."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Session:
    """One per adapter. `timeout`: seconds a request may last; `connections`: how many are kept at most;
    `largest_answer`: bytes of a body that are read. With 0, status and headers are enough.

    Follows no redirects, keeps no cookies and takes no proxies from the environment.
    """

    def __init__(
        self,
        timeout: float,
        connections: int,
        *,
        connector: Callable[..., aiohttp.BaseConnector] = aiohttp.TCPConnector,
        largest_answer: int = LARGEST_ANSWER,
    ) -> None:
        self._limits = aiohttp.ClientTimeout(total=timeout, connect=timeout / 2)
        self._connections = connections
        self._connector = connector
        self._largest = largest_answer
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str | URL, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST these bytes. aiohttp's exceptions pass through: `apps.integrations.http.by_exception`."""
        async with self._open().post(url, data=body, headers=headers, allow_redirects=False) as answer:
            content = await answer.content.read(self._largest)
            while len(content) < self._largest and (more := await answer.content.read(self._largest)):
                content += more
            return Answer(answer.status, answer.headers, content[: self._largest])

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:  # here, since it belongs to the running loop
            # A connection the vendor closes while a message is on its way in leaves that one unknown: give
            # idle ones up before any usual server does (5 s and more).
            connector = self._connector(limit=self._connections, keepalive_timeout=4.0)
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=self._limits,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session

    async def close(self) -> None:
        """Close the pooled connections."""
        if self._session is not None:
            await self._session.close()


async def fetch(url: str, timeout: float) -> int:
    """GET it, in so many seconds, following no redirects; its status. Raises aiohttp's errors."""
    limits = aiohttp.ClientTimeout(total=timeout)
    async with (
        aiohttp.ClientSession(timeout=limits, trust_env=False) as session,
        session.get(URL(url, encoded=True), allow_redirects=False) as answer,
    ):
        return answer.status
