"""A message as APNs takes it.

https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification
https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns
"""

from __future__ import annotations

from typing import Any

import orjson

from apps.integrations.apns import ATTEMPT, TARGET
from apps.integrations.contract import Message

LARGEST = 4096  # bytes, of a payload
_OWN = "aps"  # Apple's own key
_PREFIX = "data_"


def payload(message: Message) -> bytes:
    """The body of a request. Raises orjson.JSONEncodeError for text that is not Unicode.

    The data is beside `aps`; a key of that name gets the prefix `data_`.
    """
    texts = {"title": message.subject, "body": message.text}
    aps: dict[str, Any] = {"alert": {name: text for name, text in texts.items() if text}}
    data = {_PREFIX + key if key == _OWN else key: value for key, value in message.data.items()}
    return orjson.dumps({**data, _OWN: aps, TARGET: str(message.target), ATTEMPT: str(message.attempt)})


def headers(message: Message, topic: str, token: str) -> dict[str, str]:
    """The headers of a request. A repetition with the same collapse id replaces what was shown before."""
    expires = message.expires_at
    return {
        "authorization": f"bearer {token}",
        "apns-id": str(message.attempt),
        "apns-topic": topic,
        "apns-push-type": "alert",
        "apns-priority": "10" if message.urgent else "5",
        "apns-collapse-id": message.idempotency_key,
        **({} if expires is None else {"apns-expiration": str(int(expires.timestamp()))}),
    }
