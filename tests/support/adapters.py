"""An adapter that does what a test tells it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from uuid import UUID

from apps.integrations.contract import Accepted, Adapter, Message, Outcome, Outcomes

Script = Callable[[Sequence[Message]], AsyncIterator[Outcomes]]


class Scripted(Adapter):
    """Remembers what it was asked to send, and answers by its script."""

    key = "scripted"
    channel = "email"

    def __init__(self, script: Script, *, batch_size: int = 500, timeout: float = 5.0) -> None:
        self._script = script
        self.batch_size = batch_size
        self.timeout = timeout
        self.sent: list[Message] = []

    async def send_batch(self, messages: Sequence[Message]) -> AsyncIterator[Outcomes]:
        self.sent += messages
        async for outcomes in self._script(messages):
            yield outcomes


def answering(answer: Callable[[Message], Outcome]) -> Script:
    """Everything answered at once, each by the function."""

    async def script(messages: Sequence[Message]) -> AsyncIterator[Outcomes]:
        yield [(message, answer(message)) for message in messages]

    return script


def always(outcome: Outcome) -> Script:
    return answering(lambda message: outcome)


accepting = always(Accepted("id-1"))


def by_target(outcomes: dict[UUID, Outcome]) -> Script:
    return answering(lambda message: outcomes[message.target])
