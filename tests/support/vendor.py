"""An adapter and a receiver as vendors' are: built from what an operator has entered."""

from __future__ import annotations

from typing import ClassVar

from apps.integrations.contract import (
    Accepted,
    Message,
    OneAtATime,
    Outcome,
    ReceiptEvent,
    ReceivedRequest,
    Receiver,
)

KEY = "vendor"


class Vendor(OneAtATime):
    """Registered by the fixture `vendor`. Remembers what it sent, and answers as it was told.

    `token` is the account's, `sender` a number.
    """

    key = KEY
    channel = "sms"
    secrets = frozenset({"token", "spare_token"})
    sent: ClassVar[list[tuple[str, Message]]] = []  # with the token
    answer: ClassVar[Outcome | Exception] = Accepted("id-1")
    closed: ClassVar[int] = 0

    def __init__(
        self,
        token: str,
        sender: str,
        *,
        spare_token: str = "",
        base_url: str = "https://vendor.example",
        is_test: bool = False,
        timeout: float = 10.0,
        batch_size: int = 8,
    ) -> None:
        if token.startswith("bad"):
            raise KeyError(f"{token} of {sender}")
        self.token = token
        self.timeout = timeout
        self.batch_size = batch_size

    async def close(self) -> None:
        Vendor.closed += 1

    async def send(self, message: Message) -> Outcome:
        self.sent.append((self.token, message))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class VendorReceiver(Receiver):
    key = KEY
    channel = "sms"
    secrets = frozenset({"signing_key"})

    def __init__(self, signing_key: str, region: str) -> None:
        if signing_key == "bad":
            raise ValueError(signing_key)

    def verify(self, request: ReceivedRequest) -> None: ...

    def parse(self, request: ReceivedRequest) -> list[ReceiptEvent]:
        return []
