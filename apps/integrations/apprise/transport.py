"""What apprise's plugins get in the place of `requests`.

A plugin says of a message only True or False, and logs the rest. What really happened is seen here, where its
requests pass; and here they are guarded, since users name the URLs and URLs have options that undo guards.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from ipaddress import ip_address
from types import ModuleType
from typing import Any, ClassVar, cast

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NameResolutionError

from apps.integrations import outside
from apps.integrations.contract import Outcome, PermanentFailure, TemporaryFailure, UnknownOutcome
from apps.integrations.hooks import FORBIDDEN, by_status

LARGEST_ANSWER = 65_536  # bytes; what comes after them is not read

# The first that fits: https://requests.readthedocs.io/en/latest/api/#exceptions
BY_EXCEPTION: tuple[tuple[type[Exception], Outcome], ...] = (
    (outside.Forbidden, FORBIDDEN),
    (requests.ConnectTimeout, TemporaryFailure("unreachable")),
    (requests.exceptions.SSLError, TemporaryFailure("unreachable")),
    (requests.Timeout, UnknownOutcome("timeout")),
    (requests.exceptions.InvalidURL, PermanentFailure("invalid_address")),
    (OSError, UnknownOutcome("disconnected")),  # which every other RequestException is
    (ValueError, PermanentFailure("invalid_address")),  # what cannot be written into a request
)


class Trace:
    """One message on its way: the requests a plugin makes for it, until one of them fails.

    `headers` go out with each. All together may last `timeout` seconds.
    """

    current: ClassVar[ContextVar[Trace | None]] = ContextVar("apprise_trace", default=None)

    def __init__(
        self, headers: Mapping[str, str], *, timeout: float, allowed: Sequence[outside.Network]
    ) -> None:
        self.left = False  # a request may have left
        self._headers = headers
        self._deadline = time.monotonic() + timeout
        self._allowed = allowed
        self._failure: Outcome | None = None
        self._changed = False  # a request that changes something succeeded: perhaps the message is out
        self._connection: HTTPConnection | None = None
        self._lock = threading.Lock()

    def follow(self, call: Callable[[], bool]) -> bool:
        """What `call` returns; what it asks of `requests` meanwhile passes through here."""
        token = self.current.set(self)
        try:
            return call()
        finally:
            self.current.reset(token)

    def request(self, method: str, url: str, **options: Any) -> requests.Response:
        """As `requests.request`. Raises its exceptions, and outside.Forbidden."""
        if self._failure is not None:  # the service said no: no other request, and no retry of the plugin's
            raise requests.ConnectTimeout
        try:
            answer = self._ask(method, url, options)
        except Exception as error:
            self._failure = self._failure or by_exception(error)
            raise
        if not 200 <= answer.status_code < 300:
            self._failure = by_status(answer.status_code, answer.headers)
        elif method.upper() not in ("GET", "HEAD"):
            self._changed = True
        return answer

    def failure(self) -> Outcome:
        """The outcome of a message whose plugin says that it failed."""
        if self._failure is None:  # the refusal, if it is one, is in a body that only the plugin understands
            return UnknownOutcome("bad_answer") if self.left else PermanentFailure("rejected")
        return UnknownOutcome("incomplete") if self._changed else self._failure

    def give_up(self) -> None:
        """From another thread: let no further request leave, and break off the one that is under way."""
        with self._lock:
            self._failure = self._failure or UnknownOutcome("timeout")
            connection = self._connection
        if connection is not None and connection.sock is not None:
            with suppress(OSError):  # it is closed already
                connection.sock.shutdown(socket.SHUT_RDWR)

    def connected(self, connection: HTTPConnection) -> None:
        """Before a request goes over this connection. Raises ConnectTimeoutError where it is too late."""
        with self._lock:
            if self._failure is not None:
                raise ConnectTimeoutError
            self._connection = connection
            self.left = True

    def addresses(self, host: str, port: int, *, tls: bool) -> Sequence[str]:
        """The IP addresses of a host. Raises socket.gaierror, and Forbidden if one of them is closed.

        Without TLS, only those of `allowed` are not.
        """
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        if not all(outside.permits(address, self._allowed) for address in addresses):
            raise outside.Forbidden("address")
        if not tls and not all(self._allows(address) for address in addresses):
            raise outside.Forbidden("scheme")
        return addresses

    def _allows(self, address: str) -> bool:
        return any(ip_address(address) in network for network in self._allowed)

    def _ask(self, method: str, url: str, options: dict[str, Any]) -> requests.Response:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise requests.ConnectTimeout
        outside.check_url(url, self._allowed)
        headers = {**(options.pop("headers", None) or {}), **self._headers}
        ours = {"timeout": (left / 2, left), "verify": True, "allow_redirects": False, "stream": True}
        with requests.Session() as session:
            session.trust_env = False  # no proxies, no .netrc, no certificates from the environment
            session.mount("http://", Guarded())
            session.mount("https://", Guarded())
            answer = session.request(method, url, headers=headers, **{**options, **ours})
            return _read(answer)


class Guarded(HTTPAdapter):
    """Connects as the current trace permits."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """See requests."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


def _current() -> Trace:
    """The trace of this thread's message. Raises RuntimeError for a request that belongs to none."""
    trace = Trace.current.get()
    if trace is None:
        raise RuntimeError("a plugin made a request outside of a message")
    return trace


def _connect(connection: HTTPConnection, connect: Callable[[], socket.socket]) -> socket.socket:
    """Connect to an address that was judged, the first that answers; TLS and Host keep the name."""
    name = connection._dns_host
    try:
        addresses = _current().addresses(name, connection.port, tls=isinstance(connection, HTTPSConnection))
    except socket.gaierror as error:
        raise NameResolutionError(name, connection, error) from error
    try:
        for address in addresses[:-1]:
            connection._dns_host = address
            try:
                return connect()
            except ConnectTimeoutError:  # which NewConnectionError is, too
                continue
        connection._dns_host = addresses[-1]
        return connect()
    finally:
        connection._dns_host = name


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self, super()._new_conn)

    def connect(self) -> None:
        super().connect()
        _current().connected(self)


class _TlsConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self, super()._new_conn)

    def connect(self) -> None:
        super().connect()
        _current().connected(self)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class Requests(ModuleType):
    """`requests`, its calls but passing through the trace of the message they are for."""

    def __init__(self) -> None:
        super().__init__("requests")
        for method in ("get", "post", "put", "patch", "delete", "head", "options"):
            setattr(self, method, partial(self.request, method))

    def request(self, method: str, url: str, **options: Any) -> requests.Response:
        """See requests; its `params`, `data` and `json` by name only, as the plugins have them."""
        return _current().request(method, url, **options)

    def __getattr__(self, name: str) -> Any:
        if name in ("Session", "session"):  # which would go round the trace
            raise AttributeError(name)
        return getattr(requests, name)


def by_exception(error: Exception) -> Outcome:
    """The outcome of a request without an answer."""
    if isinstance(error, requests.ConnectionError) and _never_connected(error):
        return TemporaryFailure("unreachable")
    kinds = (outcome for kind, outcome in BY_EXCEPTION if isinstance(error, kind))
    return next(kinds, UnknownOutcome("bad_answer"))


def _never_connected(error: requests.ConnectionError) -> bool:
    """Whether it was refused, or the name is none (NewConnectionError and NameResolutionError)."""
    cause = error.args[0] if error.args else None
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, ConnectTimeoutError)


def _read(answer: requests.Response) -> requests.Response:
    """With the beginning of its body; the rest, if any, is never asked for."""
    content = b""
    for chunk in answer.iter_content(LARGEST_ANSWER):
        content += chunk
        if len(content) >= LARGEST_ANSWER:
            break
    unread = cast(Any, answer)
    unread._content, unread._content_consumed = content[:LARGEST_ANSWER], True
    return answer
