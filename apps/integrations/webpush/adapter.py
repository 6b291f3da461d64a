"""Web Push: https://www.rfc-editor.org/rfc/rfc8030."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from cryptography.hazmat.primitives.asymmetric import ec

from apps.integrations.contract import (
    Accepted,
    Message,
    OneAtATime,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
)
from apps.integrations.http import MISCONFIGURED_WAIT, by_exception, by_status, retry_after
from apps.integrations.outside import Forbidden, check_url, connector, networks
from apps.integrations.receiving import LONGEST_MESSAGE_ID, text
from apps.integrations.session import Session
from apps.integrations.webpush.encryption import LARGEST_PLAINTEXT, encrypt
from apps.integrations.webpush.vapid import Vapid, decoded

LONGEST_TTL = 2_419_200  # seconds, four weeks: what the big push services keep a message at most

_GONE = PermanentFailure("gone", address_is_dead=True)

# What is not here counts as in apps/integrations/http.py; so do 401 and 403, a token that is refused.
BY_STATUS: dict[int, Outcome] = {
    # A token, key or header is wrong: https://mozilla-services.github.io/autopush-rs/errors.html
    400: TemporaryFailure("misconfigured", MISCONFIGURED_WAIT),
    404: _GONE,  # the subscription has ended: https://www.rfc-editor.org/rfc/rfc8030#section-7.3
    # Edge's word for 429: https://learn.microsoft.com/windows/apps/design/shell/tiles-and-notifications/push-request-response-headers#response-codes
    406: TemporaryFailure("rate_limited"),
    410: _GONE,  # as 404; the big push services' word for it
}


class WebPushAdapter(OneAtATime):
    """One message a call, `batch_size` calls in the air.

    The message's address is the browser's subscription, as JSON. `private_key` is the VAPID key that the
    subscriptions were made with (P-256: base64url of its 32 bytes, or PEM). `subject` is where push services
    reach whoever runs this: "mailto:push@example.com", or an https URL. `allow` are networks that may be
    called though they are not on the internet, by plain http too ("10.1.0.0/16"). `timeout` is seconds.
    """

    key = "webpush"
    channel = "push"
    kinds = frozenset({"webpush"})
    is_one_service = False
    secrets = frozenset({"private_key"})

    def __init__(
        self,
        private_key: str,
        subject: str,
        *,
        allow: str = "",
        timeout: float = 10.0,
        batch_size: int = 64,
    ) -> None:
        self.timeout = timeout
        self.batch_size = batch_size
        self._vapid = Vapid(private_key, subject)
        self._allowed = networks(allow)
        # The status and Location are all that counts, so an answer's body is not waited for.
        self._session = Session(timeout, batch_size, connector=connector(self._allowed), largest_answer=0)

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._session.close()

    async def send(self, message: Message) -> Outcome:
        """See the contract."""
        try:
            subscription = _Subscription.read(message.address)
        except ValueError:
            return PermanentFailure("invalid_address", address_is_dead=True)
        try:
            payload = _payload(message)
        except orjson.JSONEncodeError:
            return PermanentFailure("invalid_content")
        if len(payload) > LARGEST_PLAINTEXT:
            return PermanentFailure("too_large")
        return await self._post(subscription, message, payload)

    async def _post(self, to: _Subscription, message: Message, payload: bytes) -> Outcome:
        try:
            url = check_url(to.endpoint, self._allowed)
            headers = _headers(message) | {"Authorization": self._vapid.authorization(str(url.origin()))}
            answer = await self._session.post(url, encrypt(payload, to.key, to.auth), headers)
        except Forbidden:
            return PermanentFailure("forbidden_address")
        except Exception as error:
            return by_exception(error)
        return _outcome(answer.status, answer.headers)


@dataclass(frozen=True, slots=True)
class _Subscription:
    endpoint: str
    key: ec.EllipticCurvePublicKey
    auth: bytes

    @classmethod
    def read(cls, address: str) -> _Subscription:
        """From https://www.w3.org/TR/push-api/#dom-pushsubscription-tojson. Raises ValueError."""
        try:
            value = orjson.loads(address)
            endpoint, keys = value["endpoint"], value["keys"]
            public, auth = decoded(keys["p256dh"]), decoded(keys["auth"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not a subscription") from error
        if not isinstance(endpoint, str) or len(public) != 65 or len(auth) != 16:
            raise ValueError("not a subscription")
        return cls(endpoint, ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public), auth)


def _payload(message: Message) -> bytes:
    """What the page's service worker gets. `target` is the same however often the message comes."""
    return orjson.dumps(
        {
            "title": message.subject,
            "body": message.text,
            "data": dict(message.data),
            "target": str(message.target),
            "attempt": str(message.attempt),
        }
    )


def _headers(message: Message) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        "Content-Encoding": "aes128gcm",
        "TTL": str(_seconds_left(message.expires_at)),
        "Urgency": "high" if message.urgent else "normal",
        # Of a message and its repetition, a browser that was away gets one. 32 characters is the most:
        # https://www.rfc-editor.org/rfc/rfc8030#section-5.4
        "Topic": message.target.hex,
    }


def _seconds_left(expires_at: datetime | None) -> int:
    if expires_at is None:
        return LONGEST_TTL
    return min(LONGEST_TTL, max(0, int((expires_at - datetime.now(UTC)).total_seconds())))


def _outcome(status: int, headers: Mapping[str, str]) -> Outcome:
    if status in (200, 201, 202):  # 201 by the RFC; the others are seen, and called success by all clients
        return Accepted(text(headers.get("Location"), LONGEST_MESSAGE_ID))
    outcome = BY_STATUS.get(status) or by_status(status, headers)
    wait = retry_after(headers)
    if isinstance(outcome, TemporaryFailure) and wait is not None:
        return TemporaryFailure(outcome.code, wait)
    return outcome
