"""The words between a socket and its client: close codes, errors, and what a client may send."""

from __future__ import annotations

import time
from enum import IntEnum
from typing import Any

import orjson

MAX_BYTES = 16 * 1024  # of one frame from a client
MAX_REF = 64  # characters
_MESSAGES = 60  # a client may send at once ...
_PER_SECOND = 5.0  # ... and on average
MAX_BAD = 3  # bad messages before the socket is closed
# The errors that are the client's own mistake; the others may happen to one that is right.
BAD = {"not_json", "binary", "no_type", "unknown_type", "invalid", "invalid_since", "not_authenticated"}


class Close(IntEnum):
    """Why we closed. Daphne can send only 1000 and 3000-4999, so not 1009 or 1013."""

    BAD_MESSAGE = 4400  # several messages that are not ours
    UNAUTHENTICATED = 4401  # no token in time, a bad or expired one, a person who is deactivated
    REFUSED = 4403  # this page may not connect, or there is a token in the URL; as HTTP 403
    TOO_MUCH = 4429  # too many messages, too large a one, too many sockets
    UNAVAILABLE = 4503  # the database is away; try again later


class BadMessage(Exception):
    """A message that is answered with an error. `code` is one of `BAD`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def parse(text: str | None) -> dict[str, Any]:
    """The object a client sent, with a string `type`."""
    if text is None:
        raise BadMessage("binary", "Send JSON as text.")
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise BadMessage("not_json", "This is not JSON.") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise BadMessage("no_type", "Send an object with a type.")
    return message


def ref_of(message: dict[str, Any]) -> str | None:
    """The client's own word for the message, which its answer has too."""
    ref = message.get("ref")
    if ref is None or (isinstance(ref, str) and len(ref) <= MAX_REF):
        return ref
    raise BadMessage("invalid", f"ref: Send a string of {MAX_REF} characters at most.")


def since_of(message: dict[str, Any], *, required: bool) -> int | None:
    """The number to go on from."""
    since = message.get("since")
    if since is None and not required:
        return None
    if type(since) is not int or not 0 <= since < 2**63:
        raise BadMessage("invalid_since", "since is the last number you have, 0 for all.")
    return since


class Allowance:
    """How many messages a client may still send: refills with time."""

    def __init__(self) -> None:
        self._left = float(_MESSAGES)
        self._at = time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self._left = min(_MESSAGES, self._left + (now - self._at) * _PER_SECOND)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
