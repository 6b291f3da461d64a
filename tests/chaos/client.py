"""A product service as it should be: it asks again, with the same key, until it has a definite answer."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import orjson

PATIENCE = 4.0  # seconds for one try
PAUSE = 0.3  # seconds between two
AMBIGUOUS = (409, 429, 500, 502, 503, 504)  # in flight, or we were not served: the same again


class Refused(Exception):
    """A definite no, which this run never deserves."""


@dataclass(frozen=True)
class Answer:
    """`at`: seconds since 1970 when it was here, so after the commit it tells of. `tries`: with this one."""

    status: int
    body: bytes
    replayed: bool
    at: float
    tries: int = 1

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class Client:
    """One service's calls of the API, from the loop only. `tries` counts those that were ambiguous."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._session: aiohttp.ClientSession | None = None
        self.ambiguous = 0

    async def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        key: str = "",
        token: str = "",
        or_else: int = 200,
    ) -> Answer:
        """Ask until there is a definite answer. Raises Refused for one that is not 2xx, nor `or_else`."""
        headers = self._headers | ({"Idempotency-Key": key} if key else {})
        if token:
            headers["Authorization"] = f"Bearer {token}"
        tries = 1
        while (answer := await self._try(method, path, body, headers, or_else)) is None:
            self.ambiguous += 1
            tries += 1
            await asyncio.sleep(PAUSE)
        return replace(answer, tries=tries)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _try(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], or_else: int
    ) -> Answer | None:
        try:
            async with self._open().request(method, self._url + path, data=body, headers=headers) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
        if response.status in AMBIGUOUS:
            return None
        if response.status >= 300 and response.status != or_else:
            raise Refused(f"{method} {path}: {response.status} {content[:500]!r}")
        replayed = response.headers.get("Idempotency-Replayed") == "true"
        return Answer(response.status, content, replayed, time.time())

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:  # here, since it belongs to the running loop
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=PATIENCE), connector=aiohttp.TCPConnector(limit=32)
            )
        return self._session
