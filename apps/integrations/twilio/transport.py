"""The official SDK's requests on one pooled aiohttp session, to whatever base URL."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Mapping
from urllib.parse import urlsplit

import aiohttp
import orjson
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from yarl import URL


class Refused(Exception):
    """An answer of 400 and up. Raised past the SDK, whose own exception forgets the headers."""

    def __init__(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        super().__init__(status)
        self.status, self.headers, self.content = status, headers, content


class NotUnderstood(Exception):
    """A success that does not say which message it is of."""

    def __init__(self, content: bytes) -> None:
        super().__init__("no sid")
        self.content = content


class Transport(AsyncHttpClient):  # type: ignore[misc]  # the SDK is untyped
    """Replaces the SDK's client, which opens a session of its own, has no base URL and logs each request."""

    def __init__(self, username: str, password: str, base_url: str, timeout: float, connections: int) -> None:
        super().__init__(logging.getLogger(__name__), is_async=True, timeout=timeout)
        credentials = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._authorization = f"Basic {credentials}"
        self._base_url = base_url.rstrip("/")
        self._limits = aiohttp.ClientTimeout(total=timeout, connect=timeout / 2)
        self._connections = connections
        self._urls: dict[str, URL] = {}
        self._session: aiohttp.ClientSession | None = None

    async def request(  # noqa: PLR0917 (the SDK's signature)
        self,
        method: str,
        uri: str,
        params: dict[str, str] | None = None,
        data: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        """Make one request. aiohttp's exceptions pass through: which one it was decides the outcome."""
        url = self._urls.get(uri) or self._urls.setdefault(uri, self._redirected(uri))
        # yarl's encoder is in C; urlencode was a fifth of the whole call.
        body = URL.build(query=data or {}).raw_query_string.encode()
        sent = {**(headers or {}), "Authorization": self._authorization}
        async with self._open().request(
            method, url, params=params, data=body, headers=sent, allow_redirects=allow_redirects
        ) as answer:
            content = await answer.read()
            if answer.status >= 300:
                raise Refused(answer.status, answer.headers, content)
            # Of the resource only the SID is wanted: the SDK spends as long on its dates as on the request.
            return Response(answer.status, json.dumps({"sid": _sid(content)}), answer.headers)

    def _redirected(self, uri: str) -> URL:
        return URL(self._base_url + urlsplit(uri).path, encoded=True)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:  # here, since it belongs to the running loop
            # A connection the vendor closes while a message is on its way in leaves that one unknown: give
            # idle ones up before any usual server does (5 s and more).
            connector = aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=4.0)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=self._limits, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    async def close(self) -> None:
        """Close the pooled connections."""
        if self._session is not None:
            await self._session.close()


def _sid(content: bytes) -> str:
    try:
        sid: object = orjson.loads(content)["sid"]
    except (ValueError, TypeError, KeyError):
        sid = ""
    if not sid or not isinstance(sid, str):
        raise NotUnderstood(content)
    return sid
