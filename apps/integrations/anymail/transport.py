"""One message through a backend of the library, on a connection that is kept open in between."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from django.core.mail import EmailMessage
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection

# Seconds after which an idle connection is given up. One that the service closes while a message is on its
# way in leaves that one unknown, and usual servers close at 5 s and more.
IDLE = 4.0


class GivenUp(Exception):
    """Nobody waits for the message any more, and no byte of it has left."""


class Departure:
    """Whether a request has left, and until when it may.

    The lock decides which was first: that, or giving up.
    """

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline  # by time.monotonic()
        self.left = False
        self._given_up = False
        self._lock = threading.Lock()

    def leave(self) -> None:
        """The next bytes are about to leave. Raises GivenUp."""
        with self._lock:
            if self._given_up and not self.left:
                raise GivenUp
            self.left = True

    def give_up(self) -> bool:
        """From here on nothing may leave. False if something has."""
        with self._lock:
            self._given_up = True
            return not self.left


_here = threading.local()  # `departure`, of the request this thread is making


class _Noting:
    """A connection that says when it is open and the request leaves: no exception of requests tells that."""

    def send(self: Any, data: Any) -> None:
        if self.sock is None:
            self.connect()
        _here.departure.leave()
        super().send(data)  # type: ignore[misc]  # of the connection this is mixed into


class _Http(_Noting, HTTPConnection): ...


class _Https(_Noting, HTTPSConnection): ...


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}


class Session(requests.Session):
    """Follows no redirects, repeats nothing, keeps no cookies and takes nothing from the environment.

    `answer` is the latest one, whatever it is: of the library's exceptions some forget it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.answer: requests.Response | None = None
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(max_retries=0, pool_connections=1, pool_maxsize=1))

    def request(self, *arguments: Any, **options: Any) -> requests.Response:
        """See requests."""
        self.answer = super().request(*arguments, **{**options, "allow_redirects": False})
        return self.answer


class Line:
    """A backend with a connection of its own, for one message at a time."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._session = backend.session = Session()
        self._used = 0.0

    def send(
        self, mail: EmailMessage, departure: Departure
    ) -> tuple[requests.Response | None, Exception | None]:
        """What the service answered, if it did, and what the library made of it, if it did not like it."""
        now = time.monotonic()
        if now - self._used > IDLE:
            self.close()
        left = max(0.01, departure.deadline - now)
        self._backend.timeout = Timeout(connect=left / 2, total=left)
        self._session.answer = None
        _here.departure = departure
        error: Exception | None = None
        try:
            self._backend.send_messages([mail])
        except Exception as raised:
            error = raised
        self._used = time.monotonic()
        return self._session.answer, error

    def close(self) -> None:
        """Close the connection; the next message opens another."""
        self._session.close()


class Transport:
    """Blocking and thread-safe; as many connections as there are threads in `deliver`."""

    def __init__(self, backend: Callable[[], Any]) -> None:
        self._backend = backend
        self._idle: deque[Line] = deque()  # the last one used is the next one used

    def deliver(
        self, mail: EmailMessage, departure: Departure
    ) -> tuple[requests.Response | None, Exception | None]:
        """See `Line.send`. Whether the request left is in the departure."""
        line = self._take() or Line(self._backend())
        answered = line.send(mail, departure)
        self._idle.append(line)
        return answered

    def _take(self) -> Line | None:
        with suppress(IndexError):
            return self._idle.pop()
        return None

    def close(self) -> None:
        """Close the kept connections."""
        while line := self._take():
            line.close()
