"""What an HTTP answer says by its status alone, the same for every vendor that has nothing better to say."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from apps.integrations.contract import Outcome, PermanentFailure, TemporaryFailure, UnknownOutcome

# Wrong credentials or a wrong sender must neither dead-letter all mail at once nor loop fast: the
# message waits this many seconds, until a person has mended the settings or its attempts are used up.
MISCONFIGURED_WAIT = 60.0


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from a Retry-After of either form: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def by_status(status: int, headers: Mapping[str, str]) -> Outcome:  # noqa: PLR0911 (one line per class of answer)
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
        return UnknownOutcome("bad_answer")
    if status in (502, 504) or status >= 520:
        # A gateway gave up on the vendor, who may have taken it. 520 and up are Cloudflare's own:
        # https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/
        return UnknownOutcome("gateway")
    if status >= 500:
        return TemporaryFailure("unavailable", retry_after(headers))
    # Redirects, 404, 405 …: the base URL is not the vendor's API.
    return TemporaryFailure("misconfigured", retry_after(headers) or MISCONFIGURED_WAIT)
