from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from apps.integrations.contract import (
    Accepted,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.simulator import Simulator
from apps.integrations.smtp.adapter import SmtpAdapter

from .suite import SECRET, AdapterContract, ledger_of, send

DEAD = PermanentFailure("invalid_address", address_is_dead=True)


@asynccontextmanager
async def scripted_server(**replies: str) -> AsyncIterator[tuple[int, list[str]]]:
    """A server with its own reply to some commands ("" hangs up); yields its port and what it was told."""
    told: list[str] = []
    usual = {"EHLO": "250 hello", "DATA": "354 go on", "QUIT": "221 bye", "CONTENT": "250 queued", **replies}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{replies.get('CONNECT', '220 hello')}\r\n".encode())
        while line := await reader.readline():
            command = line.decode().split(" ")[0].strip().upper()
            told.append(command)
            reply = usual.get(command, "250 ok")
            if command == "DATA" and reply.startswith("354"):
                writer.write(f"{reply}\r\n".encode())
                await reader.readuntil(b"\r\n.\r\n")
                reply = usual["CONTENT"]
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

    @pytest.mark.asyncio
    async def test_a_connection_the_server_closed_while_idle(self) -> None:
        async with scripted_server(RSET="") as (port, told):
            adapter = self.build_at(port)
            for number in range(2):
                assert isinstance((await send(adapter, [self.message(number=number)]))[0], Accepted)
            await adapter.close()
            assert told.count("DATA") == 2
