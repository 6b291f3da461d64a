"""python -m tests.bench.mailbox PORT: an SMTP server (RFC 5321) that takes every mail and forgets it.

The simulator's reads each mail and writes it down, which costs twice what sending it does: two senders
measured against it look alike. XCOUNT answers how many mails were taken.
"""

from __future__ import annotations

import asyncio
import smtplib
import sys

END = b"\r\n.\r\n"
ANSWERS = {
    b"EHLO": b"250 mailbox",
    b"HELO": b"250 mailbox",
    b"MAIL": b"250 OK",
    b"RCPT": b"250 OK",
    b"RSET": b"250 OK",
    b"NOOP": b"250 OK",
    b"DATA": b"354 Go on",
    b"QUIT": b"221 Bye",
}


class Mailbox(asyncio.Protocol):
    """One connection."""

    taken = 0

    def __init__(self) -> None:
        self._data = b""
        self._in_mail = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._answer(b"220 mailbox")

    def data_received(self, data: bytes) -> None:
        self._data += data
        while True:
            head, found, rest = self._data.partition(END if self._in_mail else b"\r\n")
            if not found:
                return
            self._data = rest
            self._took() if self._in_mail else self._command(head[:4].upper(), head)

    def _took(self) -> None:
        self._in_mail = False
        Mailbox.taken += 1
        self._answer(b"250 OK")

    def _command(self, verb: bytes, line: bytes) -> None:
        if line == b"XCOUNT":
            self._answer(b"250 %d" % Mailbox.taken)
            return
        self._answer(ANSWERS.get(verb, b"502 Not here"))
        self._in_mail = verb == b"DATA"
        if verb == b"QUIT":
            self._transport.close()

    def _answer(self, line: bytes) -> None:
        self._transport.write(line + b"\r\n")


def count(port: int) -> int:
    """How many the server on this port has taken."""
    with smtplib.SMTP("127.0.0.1", port) as server:
        return int(server.docmd("XCOUNT")[1])


async def serve(port: int) -> None:
    """Until killed."""
    server = await asyncio.get_running_loop().create_server(Mailbox, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
