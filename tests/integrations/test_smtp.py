from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import default
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.integrations.contract import (
    Accepted,
    Message,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.mail import in_ascii
from apps.integrations.simulator import Simulator
from apps.integrations.smtp.adapter import SmtpAdapter
from apps.integrations.smtp.mail import compose
from apps.integrations.smtp.transport import Envelope

from .suite import SECRET, AdapterContract, ledger_of, send

DEAD = PermanentFailure("invalid_address", address_is_dead=True)


@asynccontextmanager
async def scripted_server(**replies: str | list[str]) -> AsyncIterator[tuple[int, list[str]]]:
    """A server with its own reply to some commands ("" hangs up); yields its port and what it was told.

    Of a list, each is given once, and the last one from then on.
    """
    told: list[str] = []
    usual = {"CONNECT": "220 hello", "EHLO": "250 hello", "DATA": "354 go on", "QUIT": "221 bye"}
    script = {
        key: [value] if isinstance(value, str) else [*value] for key, value in (usual | replies).items()
    }

    def next_reply(command: str) -> str:
        given = script.get(command, ["250 ok"])
        return given.pop(0) if len(given) > 1 else given[0]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{next_reply('CONNECT')}\r\n".encode())
        while line := await reader.readline():
            command = line.decode().split(" ")[0].strip().upper()
            told.append(command)
            reply = next_reply(command)
            if command == "DATA" and reply.startswith("354"):
                writer.write(f"{reply}\r\n".encode())
                await reader.readuntil(b"\r\n.\r\n")
                reply = next_reply("CONTENT")
            if not reply:
                break
            writer.write(f"{reply}\r\n".encode())
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], told


class TestSmtp(AdapterContract):
    channel = "email"
    opted_out = PermanentFailure("rejected")
    rate_limited = TemporaryFailure("rate_limited")  # SMTP cannot say when
    gateway = TemporaryFailure("unavailable")  # a relay's reply is the server's own
    nonsense = "DATA -1 orks!"  # "It works!", read as a code of three characters and a text

    def build(self, simulator: Simulator, **options: Any) -> SmtpAdapter:
        assert simulator.smtp_port
        return self.build_at(simulator.smtp_port, **options)

    def build_at(self, port: int, **options: Any) -> SmtpAdapter:
        return SmtpAdapter("127.0.0.1", port, sender="Carillon <hello@carillon.example>", **options)

    def build_at_closed_port(self, port: int) -> SmtpAdapter:
        return self.build_at(port)

    @pytest.mark.asyncio
    async def test_a_mail_with_both_parts(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        message = self.message(
            subject="Grüße an 日本 " + "lang " * 40, text=".dot\n..two\nü\n", html="<p>.ü</p>\n.\n<b>x</b>"
        )
        assert await send(adapter, [message]) == [Accepted(f"<{message.attempt}@carillon.example>")]
        await adapter.close()
        [entry] = ledger_of(simulator)
        assert entry["id"] == f"<{message.attempt}@carillon.example>"
        assert (entry["subject"], entry["text"], entry["html"]) == (
            message.subject,
            message.text.rstrip(),
            message.html,
        )

    @pytest.mark.parametrize(
        ("parts", "outcome"),
        [
            ({"subject": "a\r\nBcc: all@example.com"}, PermanentFailure("invalid_header")),
            ({"subject": "a\x85b"}, PermanentFailure("invalid_header")),
            ({"address": "a@example.com\r\nRCPT TO:<b@example.com>"}, PermanentFailure("invalid_header")),
            ({"address": "a@example.com> SIZE=1"}, DEAD),
            ({"address": "a@example.com, b@example.com"}, DEAD),
            ({"address": "nobody"}, DEAD),
            ({"address": ""}, DEAD),
            ({"address": "jörg@example.com"}, PermanentFailure("unsupported_address")),
        ],
    )
    @pytest.mark.asyncio
    async def test_what_cannot_be_a_header_makes_no_call(
        self, simulator: Simulator, parts: dict[str, str], outcome: Outcome
    ) -> None:
        adapter = self.build(simulator)
        assert await send(adapter, [self.message(**parts)]) == [outcome]
        await adapter.close()
        assert not simulator.requests

    @pytest.mark.asyncio
    async def test_an_international_domain(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        assert isinstance((await send(adapter, [self.message(address="a@bücher.example")]))[0], Accepted)
        await adapter.close()
        assert ledger_of(simulator)[0]["address"] == "a@xn--bcher-kva.example"

    @pytest.mark.parametrize(
        ("command", "reply", "outcome"),
        [
            ("RCPT", "550 5.1.1 no such user", DEAD),
            ("RCPT", "550 5.1.10 null MX", DEAD),
            ("RCPT", "550 5.2.1 disabled", DEAD),
            ("RCPT", "550 no such user here", PermanentFailure("rejected")),
            ("RCPT", "554 5.7.1 policy", PermanentFailure("rejected")),
            ("RCPT", "450 4.2.1 busy", TemporaryFailure("unavailable")),
            ("RCPT", "451 4.7.1 greylisted", TemporaryFailure("rate_limited")),
            ("RCPT", "", TemporaryFailure("unreachable")),
            ("MAIL", "550 5.7.1 not your sender", TemporaryFailure("misconfigured", 60.0)),
            ("MAIL", "530 5.7.0 authenticate first", TemporaryFailure("unauthorized", 60.0)),
            ("MAIL", "552 too big", PermanentFailure("too_large")),
            ("MAIL", "421 4.3.2 shutting down", TemporaryFailure("unavailable")),
            ("MAIL", "", TemporaryFailure("unreachable")),
            ("DATA", "554 5.5.1 no valid recipients", PermanentFailure("rejected")),
            ("DATA", "", TemporaryFailure("unreachable")),
            ("CONTENT", "552 5.3.4 too big", PermanentFailure("too_large")),
            ("CONTENT", "550 5.1.1 spam", PermanentFailure("rejected")),
            ("CONTENT", "451 4.3.0 disk full", TemporaryFailure("unavailable")),
            ("CONTENT", "hello", UnknownOutcome("bad_answer")),
            ("CONTENT", "", UnknownOutcome("disconnected")),
            ("CONNECT", "554 5.7.1 blocked", TemporaryFailure("misconfigured", 60.0)),
            ("CONNECT", "421 4.3.2 too busy", TemporaryFailure("unavailable")),
        ],
    )
    @pytest.mark.asyncio
    async def test_each_reply(self, command: str, reply: str, outcome: Outcome) -> None:
        async with scripted_server(**{command: reply}) as (port, _):
            adapter = self.build_at(port)
            assert await send(adapter, [self.message()]) == [outcome]
            await adapter.close()

    @pytest.mark.asyncio
    async def test_a_server_that_never_greets_is_temporary(self) -> None:
        async with scripted_server() as (port, _):
            pass
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", port)
        async with server:
            adapter = self.build_at(port, timeout=0.3)
            assert await send(adapter, [self.message()]) == [TemporaryFailure("unreachable")]
            await adapter.close()

    @pytest.mark.asyncio
    async def test_a_wrong_password(self) -> None:
        ehlo = {"EHLO": "250-hello\r\n250 AUTH PLAIN", "AUTH": "535 5.7.8 bad credentials"}
        async with scripted_server(**ehlo) as (port, _):
            adapter = self.build_at(port, username="u", password=SECRET)
            assert await send(adapter, [self.message()]) == [TemporaryFailure("unauthorized", 60.0)]
            await adapter.close()

    @pytest.mark.asyncio
    async def test_no_mail_without_the_tls_that_was_asked_for(self) -> None:
        async with scripted_server() as (port, told):
            adapter = self.build_at(port, use_tls=True)
            assert await send(adapter, [self.message()]) == [TemporaryFailure("misconfigured", 60.0)]
            await adapter.close()
            assert "MAIL" not in told

    @pytest.mark.asyncio
    async def test_a_connection_is_kept_and_replaced_when_it_dropped(self) -> None:
        async with scripted_server() as (port, told):
            adapter = self.build_at(port)
            for number in range(3):
                assert isinstance((await send(adapter, [self.message(number=number)]))[0], Accepted)
            assert told.count("EHLO") == 1
            adapter._transport._idle[0].sock.shutdown(socket.SHUT_RDWR)
            assert isinstance((await send(adapter, [self.message()]))[0], Accepted)
            assert told.count("EHLO") == 2
            await adapter.close()

    @pytest.mark.parametrize("last", ["", "421 4.4.2 idle for too long"])
    @pytest.mark.asyncio
    async def test_a_connection_the_server_closed_while_idle(self, last: str) -> None:
        async with scripted_server(MAIL=["250 ok", last, "250 ok"]) as (port, told):
            adapter = self.build_at(port)
            for number in range(2):
                assert isinstance((await send(adapter, [self.message(number=number)]))[0], Accepted)
            await adapter.close()
            assert [told.count(command) for command in ("EHLO", "MAIL", "DATA")] == [2, 3, 2]

    @pytest.mark.parametrize(
        ("last", "outcome"),
        [("", UnknownOutcome("disconnected")), ("421 4.3.2 closing", TemporaryFailure("unavailable"))],
    )
    @pytest.mark.asyncio
    async def test_what_has_left_goes_by_no_other_connection(self, last: str, outcome: Outcome) -> None:
        async with scripted_server(CONTENT=["250 ok", last]) as (port, told):
            adapter = self.build_at(port)
            assert isinstance((await send(adapter, [self.message()]))[0], Accepted)
            assert await send(adapter, [self.message()]) == [outcome]
            await adapter.close()
            assert [told.count(command) for command in ("EHLO", "DATA")] == [1, 2]

    @pytest.mark.asyncio
    async def test_a_connection_is_reset_after_a_refusal_and_only_then(self) -> None:
        async with scripted_server(RCPT=["250 ok", "250 ok", "550 5.1.1 no such user", "250 ok"]) as (
            port,
            told,
        ):
            adapter = self.build_at(port)
            outcomes = [(await send(adapter, [self.message(number=number)]))[0] for number in range(4)]
            await adapter.close()
            assert [isinstance(outcome, Accepted) for outcome in outcomes] == [True, True, False, True]
            mail = ["MAIL", "RCPT", "DATA"]
            assert told == ["EHLO", *mail, *mail, "MAIL", "RCPT", "RSET", *mail, "QUIT"]

    @pytest.mark.asyncio
    async def test_a_connection_that_is_not_reset_is_not_used_again(self) -> None:
        async with scripted_server(RCPT=["550 5.1.1 no such user", "250 ok"], RSET="502 no") as (port, told):
            adapter = self.build_at(port)
            assert await send(adapter, [self.message()]) == [DEAD]
            assert isinstance((await send(adapter, [self.message()]))[0], Accepted)
            await adapter.close()
            assert told.count("EHLO") == 2

    @pytest.mark.asyncio
    async def test_no_more_connections_than_asked_for(self) -> None:
        async with scripted_server() as (port, told):
            adapter = self.build_at(port, connections=2)
            outcomes = await send(adapter, [self.message(number=number) for number in range(4)])
            assert adapter.batch_size == 4
            await adapter.close()
            assert all(isinstance(outcome, Accepted) for outcome in outcomes)
            assert (told.count("EHLO") <= 2, told.count("DATA")) == (True, 4)

    def test_a_sender_beyond_ascii(self) -> None:
        adapter = SmtpAdapter("127.0.0.1", 1, sender="Größe <post@bücher.example>")
        prepared = adapter._prepare(self.message())
        assert isinstance(prepared, Envelope)
        assert prepared.sender == "post@xn--bcher-kva.example"
        mail = read(prepared.content)
        assert mail["From"].addresses[0].display_name == "Größe"
        assert mail["From"].addresses[0].addr_spec == prepared.sender


def read(content: bytes) -> EmailMessage:
    """What a server makes of the content of DATA; fails unless every line may pass every server."""
    assert content.isascii()
    assert b"\0" not in content
    *lines, dot, end = content.split(b"\r\n")
    assert (dot, end) == (b".", b"")
    assert all(len(line) <= 998 and b"\r" not in line and b"\n" not in line for line in lines)
    assert all(line.startswith(b"..") for line in lines if line.startswith(b"."))
    mail = message_from_bytes(b"".join(line.removeprefix(b".") + b"\r\n" for line in lines), policy=default)
    assert isinstance(mail, EmailMessage)
    assert not mail.defects
    return mail


def composed(**parts: str) -> EmailMessage:
    message = Message(target=uuid4(), attempt=uuid4(), address="a@example.com", **{"text": "", **parts})
    return read(compose(message, sender="Us <us@example.com>", to=message.address, id="<1@example.com>"))


def content_of(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n").removesuffix("\n")


class TestMail:
    @given(
        subject=st.text(st.characters(exclude_categories=["C", "Zl", "Zp"])), text=st.text(), html=st.text()
    )
    def test_whatever_is_written_arrives(self, subject: str, text: str, html: str) -> None:
        try:
            (text + html).encode()
        except UnicodeEncodeError:
            with pytest.raises(UnicodeEncodeError):
                composed(text=text, html=html)
            return
        mail = composed(subject=subject, text=text, html=html)
        assert str(mail["Subject"]).strip() == subject.strip()
        for kind, written in {"plain": text, "html": html}.items():
            if written:
                lines = written.replace("\r\n", "\n").replace("\r", "\n")
                assert content_of(mail, kind) == lines.removesuffix("\n")

    @pytest.mark.parametrize(
        "subject",
        [
            "",
            "plain",
            "=?utf-8?q?plain?=",
            "w" * 2_000,
            "ä" * 2_000,
            "many words " * 90 + "end",
            "日本 words 🎉",
        ],
    )
    def test_a_subject_is_read_as_written(self, subject: str) -> None:
        mail = composed(subject=subject, text="text")
        assert str(mail["Subject"]) == subject
        assert mail["X-Carillon-Target"]
        assert content_of(mail, "plain") == "text"

    @pytest.mark.parametrize(
        ("text", "encoding"),
        [
            ("", "7bit"),
            ("Hello\nyou", "7bit"),
            ("w" * 998, "7bit"),
            ("w" * 999, "quoted-printable"),
            ("a\0b", "quoted-printable"),
            ("Der Gruß steht in einer langen Zeile", "quoted-printable"),
            ("日本語日本語日本語", "base64"),
        ],
    )
    def test_the_shortest_encoding(self, text: str, encoding: str) -> None:
        mail = composed(text=text)
        assert mail["Content-Transfer-Encoding"] == encoding
        assert content_of(mail, "plain") == text

    def test_a_mail_of_one_part_is_no_multipart(self) -> None:
        assert composed(text="text").get_content_type() == "text/plain"
        assert composed(html="<p>").get_content_type() == "text/html"
        assert composed(text="text", html="<p>").get_content_type() == "multipart/alternative"

    @pytest.mark.parametrize("address", ["a@b.example＞ SIZE=1", "a@b.example，c@d.example"])
    def test_what_looks_like_ascii_is_no_way_into_a_command(self, address: str) -> None:
        with pytest.raises((MessageError, ValueError, IndexError)):
            in_ascii(address)

    def test_a_quoted_name_is_an_address(self) -> None:
        assert in_ascii('"a b"@example.com') == '"a b"@example.com'


def test_the_headers_to_unsubscribe_are_a_line_each_however_long() -> None:
    """Some clients do not put together a URL that was folded."""
    url = f"https://carillon.example.com/u/{'x' * 400}"
    message = Message(target=uuid4(), attempt=uuid4(), address="a@example.com", text="x", unsubscribe_url=url)
    lines = compose(message, sender="c@example.com", to="a@example.com", id="<1@example.com>").split(b"\r\n")
    assert f"List-Unsubscribe: <{url}>".encode() in lines
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click" in lines
    assert lines.index(b"") > lines.index(f"List-Unsubscribe: <{url}>".encode())  # in the head
