"""Webhooks: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md."""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import orjson

from apps.integrations.contract import (
    Accepted,
    Message,
    OneAtATime,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
)
from apps.integrations.http import by_exception, retry_after
from apps.integrations.outside import Forbidden, check_url, connector, networks
from apps.integrations.session import Session

LARGEST = 262_144  # bytes of a body; more than 20,000 are a burden to receivers, says the specification

# "Delivery success and failure" in the specification: whatever is not 2xx or 410 is tried again, since an
# endpoint can be mended. A receiver knows a repetition by its webhook-id, so that even a gateway's answer,
# after which the request may have arrived, is no more than that.
BY_STATUS = {
    410: "gone",  # the receiver wants no more of it
    429: "rate_limited",
    502: "gateway",
    504: "gateway",
}


class WebhookAdapter(OneAtATime):
    """One message a call, `batch_size` calls in the air.

    The message's address is the URL, its secrets ("whsec_…", base64 behind that) sign. `allow` are networks
    that may be called though they are not on the internet, by plain http too ("10.1.0.0/16, fd12::/48").
    `timeout` is seconds; the specification recommends 15 to 30.
    """

    key = "webhook"
    channel = "webhook"
    kinds = frozenset({"webhook"})
    is_one_service = False

    def __init__(self, *, allow: str = "", timeout: float = 15.0, batch_size: int = 64) -> None:
        self.timeout = timeout
        self.batch_size = batch_size
        self._allowed = networks(allow)
        # The status is all that counts, so an answer's body is not waited for.
        self._session = Session(timeout, batch_size, connector=connector(self._allowed), largest_answer=0)

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._session.close()

    async def send(self, message: Message) -> Outcome:
        """See the contract."""
        try:
            body = _body(message)
            headers = _headers(message, body)
        except orjson.JSONEncodeError:
            return PermanentFailure("invalid_content")
        except _BadSecret:
            return PermanentFailure("invalid_secret")
        if not message.secrets:
            return PermanentFailure("no_secret")
        if len(body) > LARGEST:
            return PermanentFailure("too_large")
        return await self._post(message, body, headers)

    async def _post(self, message: Message, body: bytes, headers: Mapping[str, str]) -> Outcome:
        try:
            url = check_url(message.address, self._allowed)
            answer = await self._session.post(url, body, headers)
        except Forbidden:
            return PermanentFailure("forbidden_address")
        except Exception as error:
            return by_exception(error)
        return _outcome(answer.status, answer.headers, message)


class _BadSecret(Exception):
    """Not "whsec_" and base64."""


def _body(message: Message) -> bytes:
    """Type, time and data, as the specification's "Payload structure" has them. Raises JSONEncodeError."""
    told = dict(message.data)
    kind = told.pop("type", "notification")
    timestamp = told.pop("timestamp", None) or datetime.now(UTC)
    data = {"subject": message.subject, "text": message.text, **told}
    return orjson.dumps({"type": kind, "timestamp": timestamp, "data": data}, option=orjson.OPT_UTC_Z)


def _headers(message: Message, body: bytes) -> dict[str, str]:
    timestamp = str(int(time.time()))
    signed = b".".join([message.idempotency_key.encode(), timestamp.encode(), body])
    return {
        "Content-Type": "application/json",
        "User-Agent": "Carillon",
        "webhook-id": message.idempotency_key,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_signature(secret, signed) for secret in message.secrets),
        "Carillon-Attempt": str(message.attempt),
    }


def _signature(secret: str, signed: bytes) -> str:
    digest = hmac.digest(_key(secret), signed, "sha256")
    return "v1," + base64.b64encode(digest).decode()


def _key(secret: str) -> bytes:
    """The bytes of a secret. Raises _BadSecret: an empty key would sign, and anyone could sign with it."""
    prefix, _, text = secret.rpartition("whsec_")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        key = b""
    if prefix or not secret.startswith("whsec_") or not key:
        raise _BadSecret
    return key


def _outcome(status: int, headers: Mapping[str, str], message: Message) -> Outcome:
    if 200 <= status < 300:
        return Accepted(message.idempotency_key)  # by which the receiver knows it
    if status == 410:
        return PermanentFailure(BY_STATUS[status], address_is_dead=True)
    return TemporaryFailure(BY_STATUS.get(status) or _other(status), retry_after(headers))


def _other(status: int) -> str:
    """The code of a status that has no name of its own."""
    if 300 <= status < 400:
        return "redirected"
    return "unavailable" if status >= 500 else f"status_{status}"
