"""The clients' own reading of WebSocket frames, however TCP cuts them, and the mailbox's of mails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.bench.clients import _Client
from tests.bench.mailbox import Mailbox

SHORT = b"\x81\x05hello"
LONG = b"\x81\x7e\x01\x00" + b"x" * 256
BEAT = b'\x81\x1d{"type":"heartbeat","head":1}'
PING = b"\x89\x02hi"


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += data


class Group:
    """Keeps what was heard."""

    def __init__(self) -> None:
        self.times: list[int] = []

    def heard(self, times: int) -> None:
        self.times.append(times)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000])
async def test_a_client_hears_every_text_however_it_is_cut(size: int) -> None:
    group, wire = Group(), Wire()
    client = _Client(group, "token", asyncio.Event())  # type: ignore[arg-type]
    client.connection_made(wire)
    data = b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + SHORT + PING + LONG + BEAT + SHORT
    wire.written = b""
    for start in range(0, len(data), size):
        client.data_received(data[start : start + size])
    assert group.times == [1, 2, 3]
    assert wire.written == b"\x8a\x82\0\0\0\0hi"  # the pong, masked as a client's frames are


@pytest.mark.parametrize("size", [1, 3, 1_000])
async def test_the_mailbox_takes_each_mail_once(size: int) -> None:
    before, wire, mailbox = Mailbox.taken, Wire(), Mailbox()
    mailbox.connection_made(wire)
    mail = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\nQUIT\r\n..\r\n.\r\n"
    for start in range(0, len(data := mail + mail + b"RSET\r\n"), size):
        mailbox.data_received(data[start : start + size])
    assert Mailbox.taken - before == 2
    answers = [answer[:3] for answer in wire.written.split(b"\r\n")]
    assert answers == [b"220", *[b"250", b"250", b"354", b"250"] * 2, b"250", b""]
