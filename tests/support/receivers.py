"""A provider that reports in JSON, signed with a word."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

import orjson

from apps.integrations.contract import (
    BadReceipt,
    BadSignature,
    ReceiptEvent,
    ReceiptKind,
    ReceivedRequest,
    Receiver,
)

KEY = "scripted"


class ScriptedReceiver(Receiver):
    """Registered by the fixture `reporting`. Remembers the requests it verified."""

    key = KEY
    channel = "email"
    verified: ClassVar[list[ReceivedRequest]] = []

    def __init__(self, word: str) -> None:
        self._word = word

    def verify(self, request: ReceivedRequest) -> None:
        if request.headers.get("X-Word") != self._word:
            raise BadSignature("not the word")
        self.verified.append(request)

    def parse(self, request: ReceivedRequest) -> list[ReceiptEvent]:
        try:
            return [_event(item) for item in orjson.loads(request.body)]
        except (orjson.JSONDecodeError, KeyError):
            raise BadReceipt("not a list of events") from None

    def confirmation(self, request: ReceivedRequest) -> str | None:
        return request.headers.get("X-Confirm")


def _event(item: dict[str, Any]) -> ReceiptEvent:
    ids = {name: UUID(item[name]) for name in ("target", "attempt") if name in item}
    texts = {name: item[name] for name in ("address", "code", "provider_message_id") if name in item}
    at = datetime.fromtimestamp(item["at"], UTC) if "at" in item else None
    return ReceiptEvent(
        event_id=item["id"],
        kind=ReceiptKind(item["kind"]),
        address_is_dead=item.get("dead", False),
        occurred_at=at,
        raw=orjson.dumps(item),
        **ids,
        **texts,
    )
