"""One message's conversation with an SMTP server, on connections that are kept open in between."""

from __future__ import annotations

import smtplib
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from django.core.mail.backends.smtp import EmailBackend


class Refused(Exception):
    """A reply that is not the one hoped for, as "<command> <reply code> <text>"."""

    def __init__(self, command: str, code: int, reply: bytes | str) -> None:
        text = reply.decode("ascii", "replace") if isinstance(reply, bytes) else reply
        super().__init__(f"{command} {code} {text}")


class GivenUp(Exception):
    """Nobody waits for the message any more, and no byte of it has left."""


@dataclass(slots=True)
class Envelope:
    """A message on its way. The lock decides which was first: giving up, or the content's first byte."""

    sender: str
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
        """Return when the server has accepted it; raises Refused, GivenUp or OSError."""
        server = self._take(envelope) or self._open(envelope)
        try:
            self._converse(server, envelope)
        except Refused:
            self._idle.append(server)
            raise
        except BaseException:
            server.close()
            raise
        self._idle.append(server)

    def _converse(self, server: smtplib.SMTP, envelope: Envelope) -> None:
        def expect(code: int, command: str, argument: str = "") -> None:
            _limit(server, envelope)
            _check(command, code, server.docmd(command, argument))

        expect(250, "MAIL", f"FROM:<{envelope.sender}>")
        expect(250, "RCPT", f"TO:<{envelope.address}>")
        expect(354, "DATA")
        envelope.let_go()
        _limit(server, envelope)
        server.send(envelope.content)
        _check("DATA", 250, server.getreply())

    def _take(self, envelope: Envelope) -> smtplib.SMTP | None:
        """A kept connection that still answers. RSET also ends whatever a refused message had begun."""
        while self._idle:
            server = self._idle.pop()
            try:
                _limit(server, envelope)
                if server.rset()[0] == 250:
                    return server
            except OSError:
                pass
            server.close()
        return None

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
        while self._idle:
            try:
                self._idle.pop().quit()
            except OSError:
                continue


def _limit(server: smtplib.SMTP, envelope: Envelope) -> None:
    if server.sock is None:
        raise smtplib.SMTPServerDisconnected
    server.sock.settimeout(envelope.remaining())


def _check(command: str, expected: int, answer: tuple[int, bytes]) -> None:
    code, reply = answer
    # 251 and 252 accept too: https://www.rfc-editor.org/rfc/rfc5321#section-4.2.3
    if code != expected and not (expected == 250 and code in (251, 252)):
        raise Refused(command, code, reply)
