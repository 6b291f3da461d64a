"""One message's conversation with an SMTP server, on connections that are kept open in between."""

from __future__ import annotations

import smtplib
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from django.core.mail.backends.smtp import EmailBackend


class Refused(Exception):
    """A reply that is not the one hoped for, as "<command> <reply code> <text>"."""

    def __init__(self, command: str, code: int, reply: bytes | str) -> None:
        text = reply.decode("ascii", "replace") if isinstance(reply, bytes) else reply
        super().__init__(f"{command} {code} {text}")


class Closing(Refused):
    """The last reply on its connection: 421 (idle for too long, say), or -1, smtplib's for what is none."""


class GivenUp(Exception):
    """Nobody waits for the message any more, and no byte of it has left."""


@dataclass(slots=True)
class Envelope:
    """A message on its way. The lock decides which was first: giving up, or the content's first byte."""

    sender: str  # it and the recipient's address are ASCII without line ends
    address: str
    content: bytes  # CRLF lines, dots stuffed, with the final dot
    deadline: float  # by time.monotonic()
    left: bool = False
    _given_up: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def remaining(self) -> float:
        """Seconds until the deadline; a socket may not be given less than a little."""
        return max(0.01, self.deadline - time.monotonic())

    def let_go(self) -> None:
        """The content is about to leave."""
        with self._lock:
            if self._given_up:
                raise GivenUp
            self.left = True

    def give_up(self) -> None:
        """From here on nothing of it may leave, unless it has."""
        with self._lock:
            self._given_up = True


class Transport:
    """Blocking and thread-safe; as many connections as there are threads in `deliver`."""

    def __init__(self, connect: Callable[[float], EmailBackend]) -> None:
        self._connect = connect  # of a timeout in seconds
        self._idle: deque[smtplib.SMTP] = deque()  # the last one used is the next one used

    def deliver(self, envelope: Envelope) -> None:
        """Return when the server has accepted it; raises Refused, GivenUp or OSError.

        Whether a kept connection still lives shows in using it. If it does not, and the content has not left,
        the message goes by a new one.
        """
        if server := self._take():
            try:
                return self._converse(server, envelope)
            except (OSError, Closing):
                if envelope.left:
                    raise
        return self._converse(self._open(envelope), envelope)

    def _take(self) -> smtplib.SMTP | None:
        with suppress(IndexError):
            return self._idle.pop()
        return None

    def _converse(self, server: smtplib.SMTP, envelope: Envelope) -> None:
        usable = False
        try:
            _deliver(server, envelope)
            usable = True
        except Refused as refusal:
            usable = not isinstance(refusal, Closing) and _reset(server, envelope)
            raise
        finally:
            if usable:
                self._idle.append(server)
            else:
                server.close()

    def _open(self, envelope: Envelope) -> smtplib.SMTP:
        backend = self._connect(envelope.remaining())
        try:
            backend.open()
            assert backend.connection is not None  # open() has raised otherwise
            backend.connection.ehlo_or_helo_if_needed()
            return backend.connection
        except smtplib.SMTPResponseException as error:
            raise Refused("EHLO", error.smtp_code, error.smtp_error) from None
        except smtplib.SMTPNotSupportedError:  # no STARTTLS, no AUTH: never the configured way in
            raise Refused("EHLO", 502, "5.5.1 not supported") from None

    def close(self) -> None:
        """Say goodbye on the kept connections."""
        while server := self._take():
            with suppress(OSError):
                server.quit()


def _deliver(server: smtplib.SMTP, envelope: Envelope) -> None:
    _check("MAIL", 250, _ask(server, envelope, f"MAIL FROM:<{envelope.sender}>\r\n"))
    _check("RCPT", 250, _ask(server, envelope, f"RCPT TO:<{envelope.address}>\r\n"))
    _check("DATA", 354, _ask(server, envelope, "DATA\r\n"))
    envelope.let_go()
    _check("DATA", 250, _ask(server, envelope, envelope.content))


def _reset(server: smtplib.SMTP, envelope: Envelope) -> bool:
    """End what a refused message had begun, or the next MAIL is out of order. False if that fails."""
    try:
        return _ask(server, envelope, "RSET\r\n")[0] == 250
    except OSError:
        return False


def _ask(server: smtplib.SMTP, envelope: Envelope, what: str | bytes) -> tuple[int, bytes]:
    if server.sock is None:
        raise smtplib.SMTPServerDisconnected
    server.sock.settimeout(envelope.remaining())
    server.send(what)
    return server.getreply()


def _check(command: str, expected: int, answer: tuple[int, bytes]) -> None:
    code, reply = answer
    # 251 and 252 accept too: https://www.rfc-editor.org/rfc/rfc5321#section-4.2.3
    if code != expected and not (expected == 250 and code in (251, 252)):
        raise (Closing if code in (421, -1) else Refused)(command, code, reply)
