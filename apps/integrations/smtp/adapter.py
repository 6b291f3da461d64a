"""E-mail through an SMTP server: https://www.rfc-editor.org/rfc/rfc5321."""

from __future__ import annotations

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formataddr, parseaddr

from django.core.mail.backends.smtp import EmailBackend

from apps.integrations.contract import (
    Accepted,
    Message,
    OneAtATime,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.http import MISCONFIGURED_WAIT, not_understood
from apps.integrations.mail import in_ascii, recipient
from apps.integrations.smtp.mail import compose
from apps.integrations.smtp.transport import Envelope, Refused, Transport

_DEAD = PermanentFailure("invalid_address", address_is_dead=True)
_SENDER = TemporaryFailure("misconfigured", MISCONFIGURED_WAIT)
_LOGIN = TemporaryFailure("unauthorized", MISCONFIGURED_WAIT)

# The first row that matches "<command> <reply code> <text>" decides; the text begins with the enhanced
# status where the server has them. Reply codes: https://www.rfc-editor.org/rfc/rfc5321#section-4.2.3;
# of the login: https://www.rfc-editor.org/rfc/rfc4954#section-6; enhanced status:
# https://www.iana.org/assignments/smtp-enhanced-status-codes/smtp-enhanced-status-codes.xhtml
BY_REPLY: tuple[tuple[str, Outcome], ...] = (
    (r"RCPT 5\d\d 5\.1\.(1|2|3|6|10)\b", _DEAD),  # no such mailbox, system or syntax; moved; null MX
    (r"RCPT 5\d\d 5\.2\.1\b", _DEAD),  # mailbox disabled
    (r"\w+ 5\d\d 5\.(2\.3|3\.4)\b", PermanentFailure("too_large")),
    (r"(MAIL|DATA) 552 (?!5\.)", PermanentFailure("too_large")),
    (r"\w+ 5(30|34|35|38) ", _LOGIN),
    (r"\w+ 4\d\d 4\.7\.", TemporaryFailure("rate_limited")),
    (r"\w+ 4", TemporaryFailure("unavailable")),
    (r"(EHLO|MAIL) 5", _SENDER),  # the server will not talk to us, or not take mail of this sender
    (r"\w+ 5", PermanentFailure("rejected")),
)


class SmtpAdapter(OneAtATime):
    """`connections` threads, each message on a connection that is kept open between messages.

    A server counts the connections of all worker processes together (Postfix takes 50 of one client outside
    its own networks). A batch is twice as many messages: by then what a batch costs the engine is shared by
    enough. `timeout` is seconds for one message, waiting for a connection included. `use_tls` is STARTTLS,
    `use_ssl` TLS from the first byte. `sender` is "a@b.example" or "Name <a@b.example>".
    """

    key = "smtp"
    channel = "email"
    secrets = frozenset({"password"})

    def __init__(
        self,
        host: str,
        port: int,
        username: str = "",
        password: str = "",
        *,
        use_tls: bool = False,
        use_ssl: bool = False,
        sender: str,
        timeout: float = 10.0,
        connections: int = 32,
    ) -> None:
        self.timeout = timeout
        self.batch_size = 2 * connections
        name, address = parseaddr(sender)
        self._sender_address = in_ascii(address)
        self._sender = formataddr((name, self._sender_address))
        self._domain = self._sender_address.rpartition("@")[2]

        def connect(limit: float) -> EmailBackend:
            # Every argument is given, so Django's settings are never read.
            return EmailBackend(
                host=host,
                port=port,
                username=username,
                password=password,
                use_tls=use_tls,
                use_ssl=use_ssl,
                timeout=limit,
                ssl_keyfile="",
                ssl_certfile="",
            )

        self._transport = Transport(connect)
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="smtp")

    async def close(self) -> None:
        """Say goodbye on the kept connections."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._transport.close)
        self._threads.shutdown(wait=False)

    async def send(self, message: Message) -> Outcome:
        """See the contract."""
        prepared = self._prepare(message)
        if not isinstance(prepared, Envelope):
            return prepared
        call = asyncio.get_running_loop().run_in_executor(self._threads, self._deliver, prepared)
        try:
            outcome = await asyncio.wait_for(call, self.timeout + 0.2)  # the socket times out first
        except TimeoutError:
            prepared.give_up()
            outcome = _broken(prepared)
        return outcome or Accepted(self._message_id(message))

    def _prepare(self, message: Message) -> Envelope | Outcome:
        """The message ready for the wire, or why it cannot be."""
        address = recipient(message)
        if not isinstance(address, str):
            return address
        try:
            content = compose(message, sender=self._sender, to=address, id=self._message_id(message))
        except ValueError:  # text that is not Unicode
            return PermanentFailure("invalid_content")
        return Envelope(self._sender_address, address, content, time.monotonic() + self.timeout)

    def _message_id(self, message: Message) -> str:
        """The same for the same attempt, so that a message repeated by some relay can be told."""
        return f"<{message.attempt}@{self._domain}>"

    def _deliver(self, envelope: Envelope) -> Outcome | None:
        """In a thread: what went wrong, if anything."""
        try:
            self._transport.deliver(envelope)
            return None
        except Refused as refusal:
            reply = str(refusal)
            matching = (outcome for pattern, outcome in BY_REPLY if re.match(pattern, reply))
            return next(matching, None) or _broken(envelope, not_understood(reply))
        except Exception:  # GivenUp, OSError, whatever smtplib makes of a broken conversation
            return _broken(envelope)


def _broken(envelope: Envelope, answered: Outcome | None = None) -> Outcome:
    """Before its content left, a message was not taken; afterwards nobody knows."""
    if not envelope.left:
        return TemporaryFailure("unreachable")
    late = time.monotonic() >= envelope.deadline
    return answered or UnknownOutcome("timeout" if late else "disconnected")
