"""A message as FCM takes it: https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import orjson
from firebase_admin import messaging

from apps.integrations.contract import Message
from apps.integrations.fcm import ATTEMPT, TARGET

LARGEST = 4096  # bytes: https://firebase.google.com/docs/cloud-messaging/customize-messages/set-message-type
LONGEST_TTL = 2_419_200  # seconds, 4 weeks: https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
# Keys that FCM refuses, or overwrites with its own: the same page, and "Message.data" of the one above.
_RESERVED = re.compile(r"(from|message_type|collapse_key)$|google|gcm")
_PREFIX = "data_"


class TooLarge(ValueError):
    """Title, body and data have more than LARGEST bytes."""


def encode(message: Message) -> bytes:
    """The body of messages:send.

    Raises TooLarge, and UnicodeEncodeError or orjson.JSONEncodeError for text that is not Unicode.
    """
    data = flattened(message)
    texts = (message.subject, message.text, *chain.from_iterable(data.items()))
    if sum(len(text.encode()) for text in texts) > LARGEST:
        raise TooLarge
    sent = messaging.Message(
        data=data,
        notification=messaging.Notification(title=message.subject or None, body=message.text or None),
        android=_android(message),
        apns=_apns(message),
    )
    # Set here, since the SDK's constructor warns of it: it would rather have installation ids, which are
    # something else. https://firebase.google.com/docs/cloud-messaging/manage-tokens
    sent.token = message.address
    return b'{"message":%s}' % str(sent).encode()


def flattened(message: Message) -> dict[str, str]:
    """The data with our reference, all of it text; what is no string becomes JSON.

    Keys that FCM keeps for itself get the prefix `data_`, unless the message has that one too.
    """
    texts = {key: _text(value) for key, value in message.data.items()}
    renamed = {_PREFIX + key: texts.pop(key) for key in list(texts) if _RESERVED.match(key)}
    return {**renamed, **texts, TARGET: str(message.target), ATTEMPT: str(message.attempt)}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _android(message: Message) -> messaging.AndroidConfig:
    # The collapse key replaces a repetition that still waits for the device, the tag one that is shown.
    return messaging.AndroidConfig(
        priority="high" if message.urgent else "normal",
        collapse_key=message.idempotency_key,
        notification=messaging.AndroidNotification(tag=message.idempotency_key),
        ttl=_ttl(message.expires_at),
    )


def _ttl(expires_at: datetime | None) -> int | None:
    if expires_at is None:
        return None
    left = (expires_at - datetime.now(UTC)).total_seconds()
    return int(min(max(left, 0.0), LONGEST_TTL))


def _apns(message: Message) -> messaging.APNSConfig:
    """Apple's headers: https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns."""
    headers: Mapping[str, str] = {
        "apns-priority": "10" if message.urgent else "5",
        "apns-collapse-id": message.idempotency_key,
    }
    if message.expires_at is not None:
        headers = {**headers, "apns-expiration": str(int(message.expires_at.timestamp()))}
    return messaging.APNSConfig(headers=headers)
