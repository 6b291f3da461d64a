"""What the engine and an adapter promise each other. Everything else about a vendor stays in its folder.

An adapter makes calls. It does not retry, sleep, log bodies or addresses, read settings, touch models or
know policy. It raises nothing: whatever happened to a message is its outcome, one of exactly four.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One rendered message to one address.

    `target` and `attempt` are our reference: they go out with the message wherever the vendor carries
    metadata, so that a receipt finds its row even when we never saw the vendor's answer. The idempotency
    key is the same over all attempts of a target.
    """

    target: UUID
    attempt: UUID
    address: str  # as the channel has it: e-mail address, E.164 number, device token, URL
    text: str
    subject: str = ""
    html: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)  # JSON, for machines: webhook bodies, push data
    secrets: tuple[str, ...] = ()  # the address's own, newest first: a webhook endpoint's signing secrets
    expires_at: datetime | None = None  # UTC; later it is of no use
    urgent: bool = False  # critical and high: wake the device
    unsubscribe_url: str = ""  # of an e-mail: `apps.integrations.mail.list_headers` says what becomes of it

    @property
    def idempotency_key(self) -> str:
        return str(self.target)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the message. Delivery is proven later, by a receipt."""

    provider_message_id: str = ""


@dataclass(frozen=True, slots=True)
class TemporaryFailure:
    """Not taken; the same message may succeed later, not before `retry_after` seconds if given."""

    code: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class PermanentFailure:
    """Not taken, and never will be. `address_is_dead`: no message to this address ever will."""

    code: str
    address_is_dead: bool = False


@dataclass(frozen=True, slots=True)
class UnknownOutcome:
    """It may have been taken: the link broke, or a gateway gave up, after the request had left.

    answer: what the vendor said, if it is not understood, without addresses and secrets
    (`apps.integrations.http.redacted`).
    """

    code: str
    answer: str = field(default="", compare=False)


Outcome = Accepted | TemporaryFailure | PermanentFailure | UnknownOutcome
Outcomes = list[tuple[Message, Outcome]]


class Adapter(ABC):
    """One provider account. Built once per worker process; used only from that process's event loop."""

    key: ClassVar[str]  # "sendgrid": stored on attempts, names the settings and the docs
    channel: ClassVar[str]  # "email"
    kinds: ClassVar[frozenset[str]] = frozenset()  # of addresses it serves ("fcm"), where a channel has kinds
    secrets: ClassVar[frozenset[str]] = frozenset()  # the constructor's arguments that nobody may see
    # False: each address is a server of its own (webhooks): the failures of one say nothing of the others.
    is_one_service: ClassVar[bool] = True
    batch_size: int  # most messages one `send_batch` takes
    timeout: float  # seconds a call may last at most; the engine plans its lease around it

    @abstractmethod
    def send_batch(self, messages: Sequence[Message]) -> AsyncIterator[Outcomes]:
        """Send up to `batch_size` messages; yield each one's outcome exactly once, in groups, as known."""

    async def close(self) -> None:  # noqa: B027  (most have something to close, none has to)
        """Close what is pooled."""


class OneAtATime(Adapter):
    """Base of adapters whose vendor takes one message per call: all of a batch in the air at once.

    A batch is therefore the concurrency. What the engine marks as started is what really is in the air,
    so a crash leaves no more unknown outcomes than that.
    """

    @abstractmethod
    async def send(self, message: Message) -> Outcome:
        """Make the one call. Must end within `timeout` seconds."""

    async def send_batch(self, messages: Sequence[Message]) -> AsyncIterator[Outcomes]:
        told: asyncio.Queue[tuple[Message, Outcome]] = asyncio.Queue()

        async def one(message: Message) -> None:
            told.put_nowait((message, await self.send(message)))

        # One that raises is a broken contract: its message stays untold, and the engine calls it unknown.
        tasks = [asyncio.create_task(one(message)) for message in messages]
        left = len(tasks)
        while left:  # not asyncio.wait: it looks at every task each time one ends
            group = [await told.get()]
            while not told.empty():
                group.append(told.get_nowait())
            left -= len(group)
            yield group


class ReceiptKind(StrEnum):
    """What a receipt tells: the vendors' words are mapped to these, what is new to us to OTHER."""

    ACCEPTED = "accepted"  # the vendor has it (its word for queued, sent …): proof of acceptance
    DEFERRED = "deferred"  # the vendor has it, could not deliver it yet, and goes on trying by itself
    DELIVERED = "delivered"
    BOUNCED = "bounced"  # it never arrived, and will not
    COMPLAINED = "complained"  # the person called it spam; which also proves that it arrived
    OPTED_OUT = "opted_out"  # STOP, or an unsubscription kept by the vendor
    OPTED_IN = "opted_in"  # START: lifts an opt-out
    ASKED_HELP = "asked_help"  # HELP
    OPENED = "opened"
    CLICKED = "clicked"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptEvent:
    """One thing a vendor reports. Vendors repeat, reorder and delay them.

    `event_id` is the same for every repetition of the same report, and no other's (200 characters at most).
    `target` and `attempt` are our reference as it came back; None where the vendor carries none, as with a
    STOP that answers no message in particular. `address` is normalised like a message's.
    """

    event_id: str
    kind: ReceiptKind
    target: UUID | None = None
    attempt: UUID | None = None
    provider_message_id: str = ""
    address: str = ""
    code: str = ""  # the vendor's reason, such as "550" or "30003"; 60 characters at most
    address_is_dead: bool = False  # no message to this address ever will arrive: a hard bounce
    occurred_at: datetime | None = None  # UTC; None where the vendor does not say
    raw: bytes = b""  # the vendor's own report of this event, as it came


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedRequest:
    """A vendor's request as it arrived. `url` is the public one, with its query; `headers` ignore case."""

    url: str
    headers: Mapping[str, str]
    body: bytes


class BadSignature(Exception):
    """The request does not come from the vendor, or is too old. Its text, for the log, says why."""


class BadReceipt(Exception):
    """The vendor signed something that cannot be read."""


class Receiver(ABC):
    """The receiving side of a vendor: pure, and it makes no calls, except as `verify` says."""

    key: ClassVar[str]  # as the adapter's
    channel: ClassVar[str]
    secrets: ClassVar[frozenset[str]] = frozenset()  # as the adapter's

    @abstractmethod
    def verify(self, request: ReceivedRequest) -> None:
        """Return if the vendor has signed these very bytes. Raises BadSignature.

        A certificate that the vendor publishes, at an address of its own, may be fetched for this and is
        kept. OSError means that it is not to be had now: who is told so, by a 5xx, tries again.
        """

    @abstractmethod
    def parse(self, request: ReceivedRequest) -> list[ReceiptEvent]:
        """The events of a verified request, in their order. Raises BadReceipt."""

    def confirmation(self, request: ReceivedRequest) -> str | None:
        """The URL that must be fetched before the vendor begins to report, if this verified request asks for
        that. It is one of the vendor's own."""
        return None
