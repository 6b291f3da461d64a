"""The access token of a service account: https://developers.google.com/identity/protocols/oauth2/service-account."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from datetime import UTC, datetime
from functools import partial

import requests
from firebase_admin import credentials
from google.auth.transport.requests import Request

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
EARLY = 300.0  # seconds before its end that a token is replaced, while it still serves
LEAST = 30.0  # seconds that a token must have left to be sent
PAUSE = 10.0  # seconds between two tries to replace a token that still serves


class AccessToken:
    """Fetched in a thread, by one thread at a time; kept until shortly before it ends.

    `service_account` is the JSON of a service account's key; raises ValueError if it is none. `timeout`:
    seconds a request for a token may last.
    """

    def __init__(self, service_account: str, timeout: float) -> None:
        # google-auth writes down requests, with what they prove us by, at DEBUG. A filter, since levels can
        # be set elsewhere.
        logging.getLogger("google.auth.transport.requests").addFilter(_nothing)
        certificate = credentials.Certificate(json.loads(service_account))
        if not certificate.project_id:
            raise ValueError("the service account has no project_id")
        self.project_id: str = certificate.project_id
        # Of all the SDK's scopes, the one that is needed.
        self._credentials = certificate.get_credential().with_scopes([SCOPE])
        self._session = requests.Session()
        self._session.trust_env = False  # no proxies, no .netrc
        self._request = partial(Request(self._session), timeout=timeout)
        self._value, self._ends = "", 0.0
        self._replace_at = 0.0
        self._refresh: asyncio.Task[tuple[str, float]] | None = None

    async def get(self) -> str:
        """A token that is good for a while. google.auth's exceptions pass through."""
        now = time.monotonic()
        left = self._ends - now
        if self._refresh is None and (left < LEAST or now >= self._replace_at):
            self._refresh = asyncio.create_task(asyncio.to_thread(self._fetch))
            self._refresh.add_done_callback(self._fetched)
        if left < LEAST and self._refresh is not None:
            return (await asyncio.shield(self._refresh))[0]
        return self._value

    def refused(self, value: str) -> None:
        """Google does not take this token (any more): fetch another one before the next request."""
        if value == self._value:
            self._ends = 0.0

    def close(self) -> None:
        """Close the connection to the token's server."""
        self._session.close()

    def _fetch(self) -> tuple[str, float]:
        """In a thread: a new token and the time of its end, on the monotonic clock."""
        self._credentials.refresh(self._request)
        lifetime = self._credentials.expiry.replace(tzinfo=UTC) - datetime.now(UTC)
        return self._credentials.token, time.monotonic() + lifetime.total_seconds()

    def _fetched(self, task: asyncio.Task[tuple[str, float]]) -> None:
        self._refresh = None
        self._replace_at = time.monotonic() + PAUSE
        if not task.cancelled() and task.exception() is None:
            self._value, self._ends = task.result()
            self._replace_at = self._ends - EARLY


def _nothing(_record: logging.LogRecord) -> bool:
    return False
