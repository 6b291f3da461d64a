"""E-mail through Amazon SES: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from email.utils import formataddr, parseaddr
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from apps.integrations.contract import (
    Accepted,
    Message,
    OneAtATime,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.mail import in_ascii, list_headers, recipient
from apps.integrations.ses import ATTEMPT, ATTEMPT_HEADER, TARGET, TARGET_HEADER
from apps.integrations.ses.errors import SETUP, refused, without_answer
from apps.integrations.ses.transport import Call, Transport


class SesAdapter(OneAtATime):
    """One message a call, `threads` calls at a time.

    - `access_key_id`, `secret_access_key`: of an IAM user that may do `ses:SendEmail`. `session_token` only
      with temporary credentials. Nothing is looked up in the environment, in files or on the machine.
    - `region`: such as "eu-central-1"; identities, quotas and configuration sets belong to one.
    - `sender`: "a@b.example" or "Name <a@b.example>", of a verified identity.
    - `configuration_set`: the one whose events go to the receipts. Without one SES uses the identity's own.
    - `base_url`: empty for Amazon's endpoint of the region.
    - `timeout`: seconds for one message, waiting for a thread included; and for the SDK, which the process's
      first ones do for 0.3 s.
    - `threads`: of this process; connections, too. A batch may be larger: by then what a batch costs the
      engine is shared by enough.
    """

    key = "ses"
    channel = "email"
    secrets = frozenset({"secret_access_key", "session_token"})

    def __init__(
        self,
        access_key_id: str,
        secret_access_key: str,
        region: str,
        sender: str,
        *,
        session_token: str = "",
        configuration_set: str = "",
        base_url: str = "",
        timeout: float = 10.0,
        threads: int = 16,
        batch_size: int = 32,
    ) -> None:
        self.timeout = timeout
        self.batch_size = batch_size
        name, address = parseaddr(sender)
        self._sender = formataddr((name, in_ascii(address)))
        self._optional = {"ConfigurationSetName": configuration_set} if configuration_set else {}
        self._make = partial(
            Transport,
            (access_key_id, secret_access_key, session_token),
            region,
            base_url,
            {"connect_timeout": timeout / 2, "read_timeout": timeout, "max_pool_connections": threads},
        )
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="ses")
        self._transport: Future[Transport] | None = None

    async def close(self) -> None:
        """Close the pooled connections; a call in the air ends by its timeout."""
        if self._transport is not None:
            self._transport.add_done_callback(_close)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def send(self, message: Message) -> Outcome:
        """See the contract."""
        address = recipient(message)
        if not isinstance(address, str):
            return address
        try:
            request = self._request(message, address)
        except UnicodeEncodeError:
            return PermanentFailure("invalid_content")
        deadline = asyncio.get_running_loop().time() + self.timeout
        try:
            async with asyncio.timeout_at(deadline):
                transport = await self._made()
        except TimeoutError:
            return TemporaryFailure("not_started")
        except Exception:  # a region, a URL or credentials that the SDK makes no client of
            self._transport = None
            return SETUP
        return await self._by(deadline, transport, request)

    def _request(self, message: Message, address: str) -> dict[str, Any]:
        """The call's arguments. Raises UnicodeEncodeError; JSON would let halves of characters through."""
        bodies = {"Text": message.text, "Html": message.html}
        whole = {kind: _content(body) for kind, body in bodies.items() if body} or {"Text": _content("")}
        target, attempt = str(message.target), str(message.attempt)
        headers = {TARGET_HEADER: target, ATTEMPT_HEADER: attempt, **list_headers(message)}
        return {
            "FromEmailAddress": self._sender,
            "Destination": {"ToAddresses": [address]},
            "Content": {
                "Simple": {
                    "Subject": _content(message.subject),
                    "Body": whole,
                    "Headers": [{"Name": name, "Value": value} for name, value in headers.items()],
                }
            },
            "EmailTags": [{"Name": TARGET, "Value": target}, {"Name": ATTEMPT, "Value": attempt}],
            **self._optional,
        }

    async def _made(self) -> Transport:
        """The transport, made in a thread by the first message that needs it."""
        if self._transport is None:
            self._transport = self._threads.submit(self._make)
        return await asyncio.shield(asyncio.wrap_future(self._transport))  # one that gives up is not all

    async def _by(self, deadline: float, transport: Transport, request: dict[str, Any]) -> Outcome:
        call = Call()
        future = self._threads.submit(_outcome, transport, call, request)
        try:
            # Sockets time out by themselves, first.
            async with asyncio.timeout_at(deadline + 0.2):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            call.give_up()
        if call.left:
            return UnknownOutcome("timeout")
        return TemporaryFailure("not_started" if future.cancelled() else "unreachable")


def _close(made: Future[Transport]) -> None:
    if not made.cancelled() and made.exception() is None:
        made.result().close()


def _content(text: str) -> dict[str, str]:
    text.encode()
    return {"Data": text, "Charset": "UTF-8"}


def _outcome(transport: Transport, call: Call, request: dict[str, Any]) -> Outcome:
    """In a thread: what became of the call."""
    try:
        message_id = transport.send(call, request)
        return Accepted(message_id) if message_id else UnknownOutcome("bad_answer")
    except ClientError as refusal:
        return refused(refusal)
    except Exception as error:
        return without_answer(error, left=call.left)
