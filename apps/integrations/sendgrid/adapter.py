"""E-mail through SendGrid: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import orjson

from apps.integrations.contract import (
    Accepted,
    Adapter,
    Message,
    Outcome,
    Outcomes,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.http import MISCONFIGURED_WAIT, by_status
from apps.integrations.sendgrid.requests import MOST_PERSONALIZATIONS, Planner, Request
from apps.integrations.sendgrid.transport import Transport
from apps.integrations.session import Answer

# By the `field` of a 400's errors: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors
# Any other field, and any other status: apps/integrations/http.py.
BY_FIELD: tuple[tuple[str, Outcome], ...] = (
    (r"personalizations\.\d+\.to\b", PermanentFailure("invalid_address", address_is_dead=True)),
    (r"(from|reply_to)\b", TemporaryFailure("misconfigured", MISCONFIGURED_WAIT)),
)


class SendGridAdapter(Adapter):
    """Up to `batch_size` personalised messages in one request, `threads` requests at a time.

    `timeout` (seconds) is for the whole of a batch: requests that refusals made necessary and that could
    not start within it leave their messages as `not_started`. `sender` is "a@b.example" or
    "Name <a@b.example>".
    """

    key = "sendgrid"
    channel = "email"
    secrets = frozenset({"api_key"})

    def __init__(
        self,
        api_key: str,
        sender: str,
        *,
        base_url: str = "https://api.sendgrid.com",
        timeout: float = 10.0,
        batch_size: int = 500,
        threads: int = 8,
    ) -> None:
        self.timeout = timeout
        self.batch_size = min(batch_size, MOST_PERSONALIZATIONS)
        self._planner = Planner(sender)
        self._transport = Transport(api_key, base_url)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="sendgrid")
        self._slots = asyncio.Semaphore(threads)

    async def close(self) -> None:
        """Let the threads go; a request in the air ends by its timeout."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def send_batch(self, messages: Sequence[Message]) -> AsyncIterator[Outcomes]:
        """See the contract. Each message is in at most one accepted request."""
        deadline = time.monotonic() + self.timeout
        requests, outcomes = self._planner.plan(messages)
        if outcomes:
            yield outcomes
        pending = {asyncio.create_task(self._send(request, deadline)) for request in requests}
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                outcomes, smaller = task.result()
                pending |= {asyncio.create_task(self._send(request, deadline)) for request in smaller}
                if outcomes:
                    yield outcomes

    async def _send(self, request: Request, deadline: float) -> tuple[Outcomes, list[Request]]:
        """The outcomes of a request, or the smaller requests it takes to know them."""
        answer = await self._post(request, deadline)
        fields: list[str] = []
        if isinstance(answer, Answer):
            fields = _fields(answer.body) if answer.status == 400 else []
            answer = _outcome(answer, fields)
        if isinstance(answer, PermanentFailure) and len(request.items) > 1:
            return [], request.parts(fields)
        return [(message, answer) for message, _ in request.items], []

    async def _post(self, request: Request, deadline: float) -> Answer | Outcome:
        async with self._slots:
            left = deadline - time.monotonic()
            if left <= 0:
                return TemporaryFailure("not_started")
            body = self._planner.body(request)
            loop = asyncio.get_running_loop()
            call = loop.run_in_executor(self._threads, self._transport.post, body, left)
            try:
                return await asyncio.wait_for(call, left + 0.2)  # sockets time out by themselves, first
            except TimeoutError:
                return UnknownOutcome("timeout")


def _outcome(answer: Answer, fields: list[str]) -> Outcome:
    if answer.status == 202 and (message_id := answer.headers.get("X-Message-Id")):
        return Accepted(message_id)
    for pattern, outcome in BY_FIELD:
        if any(re.match(pattern, field) for field in fields):
            return outcome
    return by_status(answer.status, answer.headers, answer.body)


def _fields(body: bytes) -> list[str]:
    """What a refusal is about, as its `errors` have it."""
    try:
        return [error.get("field") or "" for error in orjson.loads(body)["errors"]]
    except (ValueError, TypeError, KeyError, AttributeError):
        return []
