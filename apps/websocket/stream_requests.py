"""Who asks for a stream, from which page and from where on; and the answers that are no stream."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import parse_qs

import orjson
from django.conf import settings

from apps.websocket import authentication
from apps.websocket.authentication import Identity
from apps.websocket.flow import Scope, Send
from project import api
from project.api import PROBLEM_JSON, Problem, field_error, invalid

_METHODS = "GET, OPTIONS"
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET",
    "Access-Control-Allow-Headers": "Authorization, Last-Event-ID",
    "Access-Control-Max-Age": "600",  # seconds
}


def is_preflight(scope: Scope) -> bool:
    """Whether a page asks if it may ask (https://fetch.spec.whatwg.org/#cors-preflight-request)."""
    return scope["method"] == "OPTIONS" and header(scope, "access-control-request-method") is not None


def check(scope: Scope) -> None:
    """Raises the problem with the request that is there whoever asks."""
    if not authentication.origin_allowed(scope):
        raise Problem(403, "origin_not_allowed", "Pages of this origin may not read streams.")
    if scope["method"] != "GET":
        raise Problem(
            405, "method_not_allowed", "This address does not take this method.", headers={"Allow": _METHODS}
        )
    if authentication.token_in_url(scope):
        raise Problem(403, "token_in_url", "Send the token as Authorization: Bearer, never in a URL.")


async def identity_of(scope: Scope) -> Identity:
    """Who asks: whose token it is, or who is logged in on our page. Raises the problem that says: nobody."""
    scheme, _, token = (header(scope, "authorization") or "").partition(" ")
    if scheme:
        identity = authentication.of_token(token.strip()) if scheme.lower() == "bearer" else None
        if identity is None:
            raise Problem(401, "invalid_credentials", "This token is not one of ours, or has expired.")
        return identity
    identity = await _of_session(scope)
    if identity is None:
        raise Problem(401, "not_authenticated", "Send Authorization: Bearer <token>.")
    return identity


async def _of_session(scope: Scope) -> Identity | None:
    """A page's own GET has no Origin; another page's always has one, and may not read the answer without."""
    if header(scope, "origin") is not None and not authentication.may_use_cookies(scope):
        return None
    try:
        async with asyncio.timeout(settings.WEBSOCKET_AUTH_SECONDS):
            return await authentication.of_session(scope)
    except TimeoutError:
        wait = {"Retry-After": str(settings.DATABASE_DOWN_RETRY_AFTER)}
        raise Problem(503, "unavailable", "The database did not answer.", headers=wait) from None


def since_of(scope: Scope) -> int | None:
    """The number to go on from: what the browser had when its stream ended, or what the page asks for.

    None: only what is new. Raises the problem that names every one that is wrong.
    """
    query = parse_qs(scope["query_string"].decode("latin1"), keep_blank_values=True)
    asked = {"since": query.get("since", [""])[-1], "Last-Event-ID": header(scope, "last-event-id") or ""}
    if wrong := [name for name, text in asked.items() if text and not _is_number(text)]:
        raise invalid(
            [field_error(name, "invalid", "The last number you have, 0 for all.") for name in wrong]
        )
    text = asked["Last-Event-ID"] or asked["since"]
    return int(text) if text else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 18  # within a bigint


def header(scope: Scope, name: str) -> str | None:
    """The value of the first header of this name, which is in lower case."""
    wanted = name.encode()
    found = (value.decode("latin1").strip() for key, value in scope["headers"] if key.lower() == wanted)
    return next(found, None)


class Answer:
    """What is sent back for one request: with what lets a page of an allowed origin read it (CORS)."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._send = send
        self._cors = _cors(scope)
        self.has_begun = False

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the status and the headers."""
        self.has_begun = True
        every = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **self._cors, **headers}
        raw = [(name.lower().encode(), value.encode("latin1")) for name, value in every.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, body: bytes, *, is_last: bool = False) -> None:
        """Send this much of the body."""
        await self._send({"type": "http.response.body", "body": body, "more_body": not is_last})

    async def preflight(self) -> None:
        """Say what an allowed page may ask."""
        await self.begin(204, _PREFLIGHT if "Access-Control-Allow-Origin" in self._cors else {})
        await self.write(b"", is_last=True)

    async def refuse(self, error: Exception) -> None:
        """Say what is wrong. Our own faults are logged."""
        problem = api.as_problem(error)
        if problem is None:
            api.log_our_fault(error, None)
            problem = api.OUR_FAULT
        challenge = {"WWW-Authenticate": "Bearer"} if problem.status_code == 401 else {}
        await self.begin(problem.status_code, {"Content-Type": PROBLEM_JSON, **challenge, **problem.headers})
        await self.write(orjson.dumps(api.document(problem)), is_last=True)


def _cors(scope: Scope) -> dict[str, str]:
    """Headers by which the browser lets the page read the answer (https://fetch.spec.whatwg.org/#http-responses)."""
    origin = header(scope, "origin")
    if origin is None or not authentication.origin_allowed(scope):
        return {"Vary": "Origin"}
    allowed = {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": "Retry-After",
    }
    cookies = {"Access-Control-Allow-Credentials": "true"} if authentication.may_use_cookies(scope) else {}
    return allowed | cookies
