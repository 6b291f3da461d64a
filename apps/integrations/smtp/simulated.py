"""A mail server that keeps what it is sent and delivers nothing: https://www.rfc-editor.org/rfc/rfc5321."""

from __future__ import annotations

import asyncio
import logging
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from apps.integrations.simulator.ledger import Entry, unsubscribing
from apps.integrations.simulator.server import Simulator

PROVIDER = "smtp"
# At RCPT, where a server says what it thinks of a recipient. `gateway` is a relay without an answer
# from the next one; to SMTP that is a temporary failure like any.
AT_RECIPIENT = {
    "reject": "550 5.1.1 The email account that you tried to reach does not exist",
    "optout": "550 5.7.1 The recipient does not accept mail from this sender",
    "ratelimit": "450 4.7.1 Too many messages, try again later",
    "error": "451 4.3.0 Mail server temporarily unavailable",
    "gateway": "451 4.4.1 No answer from host",
}


def register(simulator: Simulator) -> None:
    """Serve SMTP, where the simulator has a port for it."""

    def protocol() -> asyncio.BaseProtocol:
        from aiosmtpd.smtp import SMTP

        server: asyncio.BaseProtocol = SMTP(
            _Handler(simulator), hostname="simulator.invalid", ident="Carillon simulator", loop=None
        )
        return server

    logging.getLogger("mail.log").setLevel(logging.ERROR)  # it writes down every line of every mail
    simulator.smtp_protocol = protocol


class _Handler:
    """One connection's hooks. The fault is chosen once a message, when its recipient is named."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._fault = "accept"

    async def handle_RCPT(
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        script = self._simulator.script
        self._fault = script.next_fault(PROVIDER, [address])
        self._simulator.requests[PROVIDER] += 1
        if self._fault in AT_RECIPIENT:
            return AT_RECIPIENT[self._fault]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:
        entry = _entry(envelope)
        if self._fault == "flaky" and self._simulator.script.first_meeting([entry["target"] or entry["id"]]):
            return AT_RECIPIENT["error"]
        await self._simulator.accept(PROVIDER, self._fault, [entry])
        if self._fault == "drop":
            server.transport.abort()
        if self._fault == "hang":
            await asyncio.Event().wait()  # until the client leaves, which cancels this
        return "It works!" if self._fault == "nonsense" else "250 2.0.0 OK: queued"


def _entry(envelope: Any) -> Entry:
    mail = message_from_bytes(envelope.content, policy=default)
    assert isinstance(mail, EmailMessage)
    entry: Entry = {
        "channel": "email",
        "id": str(mail["Message-ID"] or ""),
        "target": str(mail["X-Carillon-Target"] or ""),
        "attempt": str(mail["X-Carillon-Attempt"] or ""),
        "address": envelope.rcpt_tos[0],
        "subject": str(mail["Subject"] or ""),
        "text": _part(mail, "plain"),
        "html": _part(mail, "html"),
    }
    return unsubscribing(entry, dict(mail.items()))


def _part(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    return "" if part is None else str(part.get_content()).replace("\r\n", "\n").removesuffix("\n")
