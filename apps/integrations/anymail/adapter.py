"""E-mail through any of the library's services: https://anymail.dev/en/stable/esps/."""

from __future__ import annotations

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor

from anymail.exceptions import AnymailInvalidAddress
from anymail.utils import parse_single_address
from django.core.mail import EmailMultiAlternatives

from apps.integrations.anymail import ATTEMPT, TARGET
from apps.integrations.anymail.outcomes import DEAD, answered, unanswered
from apps.integrations.anymail.services import SERVICES, backends
from apps.integrations.anymail.transport import Departure, Transport
from apps.integrations.contract import (
    Message,
    OneAtATime,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.mail import list_headers

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class AnymailAdapter(OneAtATime):
    """One message a call, `threads` calls in the air, each on a connection that is kept between messages.

    `service` is one of `services.SERVICES`, such as "postmark"; `api_key` what it calls its API key, server
    token, API token or secret key. Mailjet also needs `secret_key`, Scaleway `project_id`; Mailgun takes a
    `sender_domain` that is not the sender's. `sender` is "a@b.example" or "Name <a@b.example>". `base_url` is
    that of the API with its path, for another region; Postal and Unisender Go need one. `timeout` is seconds
    for one message, waiting for a thread included: one that could not start within it is `not_started`. A
    batch is twice as many messages as threads, unless `batch_size` says otherwise.
    """

    key = "anymail"
    channel = "email"
    secrets = frozenset({"api_key", "secret_key"})

    def __init__(
        self,
        service: str,
        api_key: str,
        sender: str,
        *,
        secret_key: str = "",
        sender_domain: str = "",
        project_id: str = "",
        base_url: str = "",
        timeout: float = 10.0,
        threads: int = 16,
        batch_size: int = 0,
    ) -> None:
        options = {"secret_key": secret_key, "sender_domain": sender_domain, "project_id": project_id}
        make = backends(service, api_key=api_key, base_url=base_url, options=options)
        if not parse_single_address(sender).username.isascii():
            raise ValueError("The sender's name before the @ has to be ASCII.")
        make()  # what it does not like it says now
        self.timeout = timeout
        self.batch_size = batch_size or 2 * threads
        self._service = service
        self._sender = sender
        self._transport = Transport(make)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="anymail")

    async def close(self) -> None:
        """Let the threads go; a request in the air ends by its timeout."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._transport.close()

    async def send(self, message: Message) -> Outcome:
        """See the contract."""
        if objection := _objection(message):
            return objection
        departure = Departure(time.monotonic() + self.timeout)
        call = self._threads.submit(self._deliver, self._mail(message), departure)
        waiting = asyncio.wrap_future(call)
        await asyncio.wait({waiting}, timeout=self.timeout + 0.2)  # the socket times out first
        if waiting.done():
            return waiting.result()
        if not departure.give_up():
            return UnknownOutcome("timeout")
        return TemporaryFailure("not_started" if call.cancel() else "unreachable")

    def _deliver(self, mail: EmailMultiAlternatives, departure: Departure) -> Outcome:
        """In a thread."""
        if time.monotonic() >= departure.deadline:
            return TemporaryFailure("not_started")
        answer, error = self._transport.deliver(mail, departure)
        if answer is None:
            return unanswered(error, departure)
        return answered(self._service, answer, mail.anymail_status)  # type: ignore[attr-defined]  # anymail's

    def _mail(self, message: Message) -> EmailMultiAlternatives:
        mail = EmailMultiAlternatives(
            message.subject, message.text or message.html, self._sender, [message.address]
        )
        if not message.text:
            mail.content_subtype = "html"
        elif message.html:
            mail.attach_alternative(message.html, "text/html")
        if SERVICES[self._service].headers:
            mail.extra_headers = list_headers(message)
        reference = {TARGET: str(message.target), ATTEMPT: str(message.attempt)}
        if SERVICES[self._service].metadata:
            mail.metadata = reference  # type: ignore[attr-defined]  # anymail's
        else:
            mail.tags = [f"{ATTEMPT}:{message.attempt}"]  # type: ignore[attr-defined]  # anymail's
        return mail


def _objection(message: Message) -> Outcome | None:
    """Why the message cannot be sent by any service."""
    if _CONTROL.search(message.subject) or _CONTROL.search(message.address):
        return PermanentFailure("invalid_header")
    if not (message.text or message.html):
        return PermanentFailure("invalid_content")
    try:
        (message.text + message.html).encode()
    except UnicodeEncodeError:  # their JSON would carry it
        return PermanentFailure("invalid_content")
    try:
        alone = parse_single_address(message.address).addr_spec == message.address
    except AnymailInvalidAddress:
        return DEAD
    return None if alone else PermanentFailure("unsupported_address")  # a quoted name; several; with a name
