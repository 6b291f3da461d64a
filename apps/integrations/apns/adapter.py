"""Push through APNs: https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns."""

from __future__ import annotations

import re

import orjson

from apps.integrations.apns.encoding import LARGEST, headers, payload
from apps.integrations.apns.provider_token import ProviderToken
from apps.integrations.apns.transport import Transport
from apps.integrations.contract import (
    Accepted,
    Message,
    OneAtATime,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.http import MISCONFIGURED_WAIT, by_status, not_understood, retry_after
from apps.integrations.session import Answer

_GONE = PermanentFailure("unregistered", address_is_dead=True)
_INVALID = PermanentFailure("invalid_address", address_is_dead=True)
_SETTINGS = TemporaryFailure("misconfigured", MISCONFIGURED_WAIT)
_LOGIN = TemporaryFailure("unauthorized", MISCONFIGURED_WAIT)
_DOWN = TemporaryFailure("unavailable")
_EXPIRED = "ExpiredProviderToken"

# By the reason in an answer's body; one that is not here counts as its HTTP status.
# https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns
BY_REASON: dict[str, Outcome] = {
    "Unregistered": _GONE,  # the app was removed, or notifications were refused for good
    "ExpiredToken": _GONE,
    # Not a token, or one of the other environment (a development build's): which one is not said, so the
    # address does not die of it. https://developer.apple.com/forums/thread/807380
    "BadDeviceToken": PermanentFailure("invalid_address"),
    "DeviceTokenNotForTopic": PermanentFailure("wrong_app"),  # or our topic is: likewise
    "MissingDeviceToken": _INVALID,
    "PayloadTooLarge": PermanentFailure("too_large"),
    "PayloadEmpty": PermanentFailure("invalid_content"),
    "BadTopic": _SETTINGS,
    "MissingTopic": _SETTINGS,
    "TopicDisallowed": _SETTINGS,
    "BadEnvironmentKeyIdInToken": _SETTINGS,  # the key is of the other environment
    "UnrelatedKeyIdInToken": _SETTINGS,  # the key is not for this topic
    _EXPIRED: _LOGIN,
    "InvalidProviderToken": _LOGIN,  # key, key id or team id
    "MissingProviderToken": _LOGIN,
    "Forbidden": _LOGIN,
    "TooManyProviderTokenUpdates": TemporaryFailure("rate_limited", MISCONFIGURED_WAIT),
    "TooManyRequests": TemporaryFailure("rate_limited"),  # to this device
    "IdleTimeout": _DOWN,
    "Shutdown": _DOWN,
    "ServiceUnavailable": _DOWN,
    "InternalServerError": _DOWN,
}
_DEVICE_TOKEN = re.compile(r"[0-9a-fA-F]{2,400}")  # opaque bytes of no fixed length, as the apps write them


class ApnsAdapter(OneAtATime):
    """One message a call, `batch_size` calls in the air on one connection.

    `key` is the text of the .p8 file of an APNs key, `key_id` its 10 characters, `team_id` the developer
    team's, `topic` the app's bundle id. `base_url` is that of production; tokens of apps that Xcode installed
    are taken only by "https://api.sandbox.push.apple.com". `timeout` is seconds. Raises ValueError for a
    `key` that is none.
    """

    key = "apns"
    channel = "push"
    kinds = frozenset({"apns"})
    secrets = frozenset({"key"})

    def __init__(
        self,
        key: str,
        key_id: str,
        team_id: str,
        topic: str,
        *,
        base_url: str = "https://api.push.apple.com",
        timeout: float = 10.0,
        batch_size: int = 100,
    ) -> None:
        self.timeout = timeout
        self.batch_size = batch_size
        self._provider_token = ProviderToken(key, key_id, team_id)
        self._topic = topic
        self._devices = f"{base_url.rstrip('/')}/3/device/"
        self._transport = Transport(timeout)

    async def close(self) -> None:
        """Close the connection."""
        await self._transport.close()

    async def send(self, message: Message) -> Outcome:
        """See the contract."""
        body = _prepared(message)
        if not isinstance(body, bytes):
            return body
        token = self._provider_token.get()
        sent = headers(message, self._topic, token)
        answer = await self._transport.post(self._devices + message.address, body, sent)
        if not isinstance(answer, Answer):
            return answer
        if answer.status == 200:
            id = answer.headers.get("apns-id")
            return Accepted(id) if id else not_understood(answer.body)
        reason = _reason(answer.body)
        if reason == _EXPIRED:
            self._provider_token.expired(token)
        return _outcome(answer, reason)


def _prepared(message: Message) -> bytes | Outcome:
    """The message ready to be sent, or why it cannot be."""
    if not _DEVICE_TOKEN.fullmatch(message.address):
        return _INVALID
    if not (message.subject or message.text):
        return PermanentFailure("invalid_content")
    try:
        body = payload(message)
    except orjson.JSONEncodeError:
        return PermanentFailure("invalid_content")
    return body if len(body) <= LARGEST else PermanentFailure("too_large")


def _outcome(answer: Answer, reason: str) -> Outcome:
    general = by_status(answer.status, answer.headers, answer.body)
    if isinstance(general, UnknownOutcome):  # a gateway's answer, whatever its body says
        return general
    outcome = BY_REASON.get(reason, general)
    wait = retry_after(answer.headers)
    if isinstance(outcome, TemporaryFailure) and wait is not None:
        return TemporaryFailure(outcome.code, wait)
    return outcome


def _reason(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["reason"])
    except (ValueError, TypeError, KeyError):
        return ""
