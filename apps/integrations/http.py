"""What an HTTP answer says by its status alone, the same for every vendor that has nothing better to say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp

from apps.integrations.contract import Outcome, PermanentFailure, TemporaryFailure, UnknownOutcome

# Wrong credentials or a wrong sender must neither dead-letter all mail at once nor loop fast: the
# message waits this many seconds, until a person has mended the settings or its attempts are used up.
MISCONFIGURED_WAIT = 60.0


# The first that fits: https://docs.aiohttp.org/en/stable/client_reference.html#hierarchy-of-exceptions
BY_EXCEPTION: tuple[tuple[type[Exception], Outcome], ...] = (
    (aiohttp.ClientConnectorError, TemporaryFailure("unreachable")),  # refused, DNS, TLS
    (aiohttp.ConnectionTimeoutError, TemporaryFailure("unreachable")),
    (aiohttp.InvalidURL, TemporaryFailure("misconfigured", MISCONFIGURED_WAIT)),
    (TimeoutError, UnknownOutcome("timeout")),
    (aiohttp.ClientError, UnknownOutcome("disconnected")),
    (OSError, UnknownOutcome("disconnected")),
    (UnicodeEncodeError, PermanentFailure("invalid_content")),  # before anything left
)


def by_exception(error: Exception) -> Outcome:
    """The outcome of an aiohttp request without an answer; of what is no error of a request, bad_answer."""
    kinds = (outcome for kind, outcome in BY_EXCEPTION if isinstance(error, kind))
    return next(kinds, UnknownOutcome("bad_answer"))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from a Retry-After of either form: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


LONGEST_ANSWER = 500  # characters that are kept of one that is not understood
# What may be an address or a secret, in the order it is looked for.
_PRIVATE = (
    (re.compile(r"https?://\S+"), "[url]"),
    (re.compile(r"[^\s@<>\"'=:,;]+@[^\s@<>\"',;]+"), "[address]"),
    (re.compile(r"[A-Za-z0-9_./+=-]{20,}"), "[token]"),
    (re.compile(r"\+?\d[\d ().-]{5,}\d"), "[number]"),
)


def redacted(answer: bytes | str) -> str:
    """The beginning of an answer in one line, without what may be an address, a number or a secret."""
    text = answer[: 4 * LONGEST_ANSWER]
    line = " ".join((text.decode(errors="replace") if isinstance(text, bytes) else text).split())
    for pattern, word in _PRIVATE:
        line = pattern.sub(word, line)
    return line[:LONGEST_ANSWER]


def not_understood(answer: bytes | str) -> UnknownOutcome:
    """The outcome of an answer that is neither an acceptance nor a refusal that we know."""
    return UnknownOutcome("bad_answer", redacted(answer))


def by_status(  # noqa: PLR0911 (one line per class of answer)
    status: int, headers: Mapping[str, str], body: bytes = b""
) -> Outcome:
    """The outcome of an answer that was not understood as an acceptance."""
    if status == 429:
        return TemporaryFailure("rate_limited", retry_after(headers))
    if status in (401, 403):
        return TemporaryFailure("unauthorized", retry_after(headers) or MISCONFIGURED_WAIT)
    if status in (400, 422):
        return PermanentFailure("rejected")
    if status == 413:
        return PermanentFailure("too_large")
    if 200 <= status < 300:
        return not_understood(body)
    if status in (502, 504) or status >= 520:
        # A gateway gave up on the vendor, who may have taken it. 520 and up are Cloudflare's own:
        # https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/
        return UnknownOutcome("gateway", redacted(body))
    if status >= 500:
        return TemporaryFailure("unavailable", retry_after(headers))
    # Redirects, 404, 405 …: the base URL is not the vendor's API.
    return TemporaryFailure("misconfigured", retry_after(headers) or MISCONFIGURED_WAIT)
