from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.errors import MessageError
from email.header import decode_header, make_header
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import orjson
import pytest
from botocore.session import Session
from botocore.validate import ParamValidator

from apps.integrations.contract import (
    Accepted,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.ses.adapter import SesAdapter
from apps.integrations.ses.errors import BY_ERROR
from apps.integrations.ses.transport import Call, GivenUp
from apps.integrations.simulator import Simulator

from .conftest import Canned, Running
from .suite import SECRET, AdapterContract, ledger_of, send

KEY_ID = "AKIA0123456789ABCDEF"
SENDER = "Carillon <hello@carillon.example>"
PATH = "/v2/email/outbound-emails"
DEAD = PermanentFailure("invalid_address", address_is_dead=True)
MISCONFIGURED = TemporaryFailure("misconfigured", 60.0)
UNAUTHORIZED = TemporaryFailure("unauthorized", 60.0)
OVER_QUOTA = TemporaryFailure("over_quota", 600.0)
UNVERIFIED = (
    "Email address is not verified. The following identities failed the check in region EU-CENTRAL-1: "
    "anna@example.com"
)


@pytest.fixture(scope="module", autouse=True)
def sdk() -> None:
    """Loaded before any message has to wait for it: timeouts are short here."""
    build_at("http://127.0.0.1:1")._make().close()


@pytest.fixture(scope="module")
def send_email() -> Any:
    """The operation as the vendor's own model describes it."""
    return Session().get_service_model("sesv2").operation_model("SendEmail")


def build_at(url: str, **options: Any) -> SesAdapter:
    usual = {"region": "eu-central-1", "sender": SENDER, "base_url": url}
    return SesAdapter(access_key_id=KEY_ID, secret_access_key=SECRET, **{**usual, **options})


@asynccontextmanager
async def server(*answers: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Reads a request from each connection and answers it with the next of these, then hangs up.

    Without any it reads nothing, and says nothing.
    """
    left, seen, writers = list(answers), [], []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        if answers:
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(left.pop(0))
            writer.close()
        else:
            seen.append(b"")

    listening = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", seen
        for writer in writers:
            writer.close()


class TestSes(AdapterContract):
    channel = "email"
    opted_out = None
    nonsense = ""  # boto3 has read it, and forgotten what it could not read

    def build(self, simulator: Simulator, **options: Any) -> SesAdapter:
        return build_at(simulator.url, **options)

    def build_at_closed_port(self, port: int) -> SesAdapter:
        return build_at(f"http://127.0.0.1:{port}")

    @pytest.mark.parametrize(
        "parts",
        [
            {"text": "Grüße 🎉"},
            {"html": "<p>ü</p>", "text": ""},
            {"text": "t", "html": "<p>"},
            {"text": "", "subject": ""},
        ],
    )
    @pytest.mark.asyncio
    async def test_requests_fit_the_vendors_description(
        self, running: Running, send_email: Any, parts: dict[str, str]
    ) -> None:
        adapter = self.build(running.simulator, configuration_set="receipts")
        message = self.message(**parts)
        assert isinstance((await send(adapter, [message]))[0], Accepted)
        await adapter.close()
        [seen] = running.seen
        sent = orjson.loads(seen.body)
        report = ParamValidator().validate(sent, send_email.input_shape)
        assert not report.has_errors(), report.generate_report()
        assert_described(sent, send_email.input_shape)
        target, attempt = str(message.target), str(message.attempt)
        bodies = {"Text": message.text, "Html": message.html}
        assert sent == {
            "FromEmailAddress": SENDER,
            "Destination": {"ToAddresses": [message.address]},
            "ConfigurationSetName": "receipts",
            "EmailTags": [
                {"Name": "carillon_target", "Value": target},
                {"Name": "carillon_attempt", "Value": attempt},
            ],
            "Content": {
                "Simple": {
                    "Subject": {"Data": message.subject, "Charset": "UTF-8"},
                    "Body": {
                        kind: {"Data": body, "Charset": "UTF-8"}
                        for kind, body in bodies.items()
                        if body or (kind == "Text" and not message.html)
                    },
                    "Headers": [
                        {"Name": "X-Carillon-Target", "Value": target},
                        {"Name": "X-Carillon-Attempt", "Value": attempt},
                    ],
                }
            },
        }
        assert seen.path == send_email.http["requestUri"] == PATH
        assert f"/{running.simulator.port}" not in seen.headers["Authorization"]
        assert "/eu-central-1/ses/aws4_request," in seen.headers["Authorization"]
        assert seen.headers["Content-Length"] == str(len(seen.body))
        assert "X-Amz-Security-Token" not in seen.headers

    @pytest.mark.asyncio
    async def test_the_id_is_the_vendors(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        [outcome] = await send(adapter, [self.message(html="<b>ü</b>")])
        await adapter.close()
        [entry] = ledger_of(simulator)
        assert outcome == Accepted(entry["id"])
        assert (entry["subject"], entry["html"]) == ("b0dy-of-the-message-subject", "<b>ü</b>")

    @pytest.mark.asyncio
    async def test_temporary_credentials_and_no_configuration_set(self, running: Running) -> None:
        adapter = self.build(running.simulator, session_token="t0ken")
        assert isinstance((await send(adapter, [self.message()]))[0], Accepted)
        await adapter.close()
        [seen] = running.seen
        assert seen.headers["X-Amz-Security-Token"] == "t0ken"
        assert "ConfigurationSetName" not in orjson.loads(seen.body)

    @pytest.mark.asyncio
    async def test_nothing_is_taken_from_the_environment(
        self, running: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        nowhere = "http://127.0.0.1:9"
        config = tmp_path / "config"
        config.write_text(f"[default]\nendpoint_url = {nowhere}\nregion = us-west-2\n")
        environ = {
            **dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "AWS_ENDPOINT_URL"), nowhere),
            **dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), str(config)),
            **dict.fromkeys(("AWS_REGION", "AWS_DEFAULT_REGION"), "us-west-2"),
            "AWS_ENDPOINT_URL_SESV2": nowhere,
            "AWS_PROFILE": "nobody",
            "AWS_ACCESS_KEY_ID": "AKIAFROMENVIRONMENT0",
            "AWS_SESSION_TOKEN": "from-environment",
            "AWS_MAX_ATTEMPTS": "5",
            "AWS_CA_BUNDLE": "/nowhere.pem",
        }
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        adapter = self.build(running.simulator)
        assert isinstance((await send(adapter, [self.message()]))[0], Accepted)
        assert await send(adapter, [self.message("error")]) == [TemporaryFailure("unavailable")]
        await adapter.close()
        assert len(running.seen) == 2
        assert f"Credential={KEY_ID}/" in running.seen[0].headers["Authorization"]
        assert "/eu-central-1/" in running.seen[0].headers["Authorization"]
        assert "X-Amz-Security-Token" not in running.seen[0].headers

    def test_without_a_base_url_it_is_amazons(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        adapter = build_at("")
        transport = adapter._make()
        assert transport._client.meta.endpoint_url == "https://email.eu-central-1.amazonaws.com"
        transport.close()

    @pytest.mark.parametrize(
        ("parts", "outcome"),
        [
            ({"subject": "a\r\nBcc: all@example.com"}, PermanentFailure("invalid_header")),
            ({"address": "a@example.com\n"}, PermanentFailure("invalid_header")),
            ({"address": "a@example.com, b@example.com"}, DEAD),
            ({"address": "A <a@example.com>"}, DEAD),
            ({"address": "nobody"}, DEAD),
            ({"address": ""}, DEAD),
            ({"address": "jörg@example.com"}, PermanentFailure("unsupported_address")),
            ({"html": "\udfff"}, PermanentFailure("invalid_content")),
        ],
    )
    @pytest.mark.asyncio
    async def test_what_cannot_be_sent_makes_no_call(
        self, running: Running, parts: dict[str, str], outcome: Outcome
    ) -> None:
        adapter = self.build(running.simulator)
        assert await send(adapter, [self.message(**parts)]) == [outcome]
        assert adapter._transport is None
        await adapter.close()
        assert not running.seen

    @pytest.mark.parametrize("sender", ["", "nobody", "Carillon <>", "Carillon"])
    def test_a_sender_that_is_none(self, sender: str) -> None:
        with pytest.raises((ValueError, IndexError, MessageError)):
            build_at("http://127.0.0.1:9", sender=sender)

    @pytest.mark.asyncio
    async def test_international_names(self, running: Running) -> None:
        adapter = self.build(running.simulator, sender="Größe <post@bücher.example>")
        outcomes = await send(adapter, [self.message(address="a@bücher.example")])
        await adapter.close()
        assert isinstance(outcomes[0], Accepted)
        sent = orjson.loads(running.seen[0].body)
        name, address = parseaddr(sent["FromEmailAddress"])
        assert name.isascii() and str(make_header(decode_header(name))) == "Größe"
        assert address == "post@xn--bcher-kva.example"
        assert sent["Destination"] == {"ToAddresses": ["a@xn--bcher-kva.example"]}

    @pytest.mark.parametrize(
        ("code", "text", "outcome"),
        [
            ("AccountSuspendedException", "", UNAUTHORIZED),
            ("SendingPausedException", "Sending is paused", UNAUTHORIZED),
            ("MessageRejected", "Account is paused", UNAUTHORIZED),
            ("MessageRejected", "Sending suspended for this account.", UNAUTHORIZED),
            ("MessageRejected", UNVERIFIED, MISCONFIGURED),
            ("MessageRejected", "Illegal content", PermanentFailure("rejected")),
            ("MailFromDomainNotVerifiedException", "x", MISCONFIGURED),
            ("NotFoundException", "Configuration set <x> does not exist.", MISCONFIGURED),
            ("LimitExceededException", "", OVER_QUOTA),
            ("LimitExceededException", "Daily message quota exceeded.", OVER_QUOTA),
            ("ThrottlingException", "Daily message quota exceeded", OVER_QUOTA),
            ("TooManyRequestsException", "Daily message quota exceeded.", OVER_QUOTA),
            ("ThrottlingException", "Maximum sending rate exceeded", TemporaryFailure("rate_limited")),
            ("Throttling", "Rate exceeded", TemporaryFailure("rate_limited")),
            ("TooManyRequestsException", "", TemporaryFailure("rate_limited")),
            ("BadRequestException", "Missing final '@domain'", DEAD),
            ("BadRequestException", "Missing domain", DEAD),
            ("BadRequestException", "Domain contains control or whitespace", DEAD),
            (
                "BadRequestException",
                "Message length is more than 41943040 bytes long",
                PermanentFailure("too_large"),
            ),
            ("BadRequestException", "Something else", PermanentFailure("rejected")),
            *(
                (code, "x", UNAUTHORIZED)
                for code in (
                    *("UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException"),
                    *("ExpiredToken", "AccessDeniedException", "AccessDenied", "InvalidClientTokenId"),
                    *("SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken"),
                    *("MissingAuthenticationTokenException", "NotAuthorized", "OptInRequired"),
                    "RequestExpired",
                )
            ),
            ("RequestTimeoutException", "x", TemporaryFailure("unavailable")),
            ("RequestAbortedException", "x", TemporaryFailure("unavailable")),
            ("SomethingNew", "x", PermanentFailure("rejected")),
        ],
    )
    @pytest.mark.asyncio
    async def test_each_code(self, canned: Canned, code: str, text: str, outcome: Outcome) -> None:
        canned.status, canned.headers = 400, {"x-amzn-ErrorType": f"{code}:http://internal.amazon.com/"}
        canned.body = orjson.dumps({"message": text})
        adapter = build_at(canned.url)
        assert await send(adapter, [self.message()]) == [outcome]
        await adapter.close()

    def test_every_code_of_the_vendors_description_is_in_the_table(self, send_email: Any) -> None:
        patterns = " ".join(pattern for pattern, _ in BY_ERROR)
        for shape in send_email.error_shapes:
            assert shape.name.removesuffix("Exception") in patterns

    @pytest.mark.parametrize(
        ("status", "headers", "body", "outcome"),
        [
            (400, {}, b"<html>", PermanentFailure("rejected")),
            (400, {}, b'{"__type": "MessageRejected", "message": null}', PermanentFailure("rejected")),
            (403, {}, b"{}", UNAUTHORIZED),
            (413, {}, b"", PermanentFailure("too_large")),
            (429, {"Retry-After": "3"}, b"{}", TemporaryFailure("rate_limited", 3.0)),
            (500, {}, b"{}", TemporaryFailure("unavailable")),
            (
                500,
                {"x-amzn-ErrorType": "InternalFailure", "Retry-After": "7"},
                b"{}",
                TemporaryFailure("unavailable", 7.0),
            ),
            (504, {"x-amzn-ErrorType": "TooManyRequestsException"}, b"{}", UnknownOutcome("gateway")),
            (301, {"Location": "https://elsewhere.example"}, b"", MISCONFIGURED),
            (404, {}, b"", MISCONFIGURED),
            (200, {}, b"", UnknownOutcome("bad_answer")),
            (200, {}, b"[]", UnknownOutcome("bad_answer")),
            (200, {}, b'{"MessageId": ""}', UnknownOutcome("bad_answer")),
            (200, {}, b'{"MessageId": null}', UnknownOutcome("bad_answer")),
            (200, {}, b"\xff\xfe", UnknownOutcome("bad_answer")),
        ],
    )
    @pytest.mark.asyncio
    async def test_each_answer(
        self, canned: Canned, status: int, headers: dict[str, str], body: bytes, outcome: Outcome
    ) -> None:
        canned.status, canned.headers, canned.body = status, headers, body
        adapter = build_at(canned.url)
        assert await send(adapter, [self.message()]) == [outcome]
        await adapter.close()

    @pytest.mark.parametrize(("access_key_id", "secret"), [("nobody", "x"), ("", "x"), ("", "")])
    @pytest.mark.asyncio
    async def test_wrong_credentials(
        self, running: Running, monkeypatch: pytest.MonkeyPatch, access_key_id: str, secret: str
    ) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        adapter = SesAdapter(access_key_id, secret, "eu-central-1", SENDER, base_url=running.simulator.url)
        assert await send(adapter, [self.message()]) == [UNAUTHORIZED]
        await adapter.close()
        assert KEY_ID not in running.seen[0].headers["Authorization"]
        assert not running.simulator.requests

    @pytest.mark.parametrize(
        "options",
        [
            {"region": "", "base_url": ""},
            {"region": "nö where"},
            {"base_url": "127.0.0.1"},
            {"base_url": "x://"},
        ],
    )
    @pytest.mark.asyncio
    async def test_settings_that_cannot_be(self, simulator: Simulator, options: dict[str, str]) -> None:
        adapter = self.build(simulator, **options)
        outcomes = await send(adapter, [self.message(), self.message()])
        await adapter.close()
        assert outcomes == [MISCONFIGURED] * 2 and not simulator.requests

    @pytest.mark.asyncio
    async def test_an_answer_that_breaks_off(self) -> None:
        async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{") as (url, seen):
            adapter = build_at(url)
            assert await send(adapter, [self.message()]) == [UnknownOutcome("bad_answer")]
            await adapter.close()
        assert len(seen) == 1

    @pytest.mark.asyncio
    async def test_an_answer_that_is_not_http(self) -> None:
        async with server(b"220 smtp.example.com ESMTP\r\n") as (url, seen):
            adapter = build_at(url)
            assert await send(adapter, [self.message()]) == [UnknownOutcome("disconnected")]
            await adapter.close()
        assert len(seen) == 1

    @pytest.mark.asyncio
    async def test_tls_that_does_not_come_about_is_temporary(self) -> None:
        async with server(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 2) as (url, _):
            adapter = build_at(url.replace("http:", "https:"), timeout=1.0)
            assert await send(adapter, [self.message()]) == [TemporaryFailure("unreachable")]
            await adapter.close()

    @pytest.mark.asyncio
    async def test_a_server_that_never_begins_tls_is_temporary(self) -> None:
        async with server() as (url, seen):
            adapter = build_at(url.replace("http:", "https:"), timeout=0.3)
            await adapter._made()
            assert await send(adapter, [self.message()]) == [TemporaryFailure("unreachable")]
            await adapter.close()
        assert len(seen) == 1

    @pytest.mark.asyncio
    async def test_what_was_given_up_before_it_left_never_leaves(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found, resolve = threading.Event(), socket.getaddrinfo

        def slowly(host: str, *rest: Any) -> Any:
            found.wait(20)
            return resolve("127.0.0.1" if host == "slow.invalid" else host, *rest)

        monkeypatch.setattr(socket, "getaddrinfo", slowly)
        adapter = build_at(f"http://slow.invalid:{running.simulator.port}", timeout=0.2)
        await adapter._made()
        assert await send(adapter, [self.message()]) == [TemporaryFailure("unreachable")]
        found.set()
        await asyncio.to_thread(adapter._threads.shutdown)  # the call has ended
        await adapter.close()
        assert running.seen == []

    @pytest.mark.asyncio
    async def test_one_that_waited_too_long_for_the_sdk(self, simulator: Simulator) -> None:
        adapter = self.build(simulator, timeout=0.4)
        make, free = adapter._make, threading.Event()

        def slowly() -> object:
            free.wait(20)
            return make()

        adapter._make = slowly  # type: ignore[assignment]
        assert await send(adapter, [self.message()]) == [TemporaryFailure("not_started")]
        free.set()
        await adapter._made()
        assert isinstance((await send(adapter, [self.message()]))[0], Accepted)
        assert simulator.ledger.seq == 1
        await adapter.close()

    @pytest.mark.asyncio
    async def test_one_that_waited_too_long_for_a_thread(self, simulator: Simulator) -> None:
        adapter = self.build(simulator, threads=1, timeout=0.4)
        await adapter._made()
        free = threading.Event()
        adapter._threads.submit(free.wait, 20)
        assert await send(adapter, [self.message()]) == [TemporaryFailure("not_started")]
        free.set()
        assert isinstance((await send(adapter, [self.message()]))[0], Accepted)
        await adapter.close()
        assert simulator.requests["ses"] == 1

    @pytest.mark.asyncio
    async def test_no_more_connections_than_threads(self, simulator: Simulator) -> None:
        connections = set()

        async def count(request: Any) -> None:
            connections.add(request.transport.get_extra_info("peername"))

        simulator._watcher = count
        adapter = self.build(simulator, threads=3)
        for _ in range(2):
            outcomes = await send(adapter, [self.message(number=number) for number in range(12)])
            assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        await adapter.close()
        assert 1 <= len(connections) <= 3

    @pytest.mark.asyncio
    async def test_the_loop_is_free_while_the_sdk_loads_and_calls(self, simulator: Simulator) -> None:
        threads = set()
        adapter = self.build(simulator)
        made = adapter._make

        def make() -> Any:
            threads.add(threading.current_thread())
            transport = made()
            transport._client.meta.events.register(
                "before-send", lambda **_: threads.add(threading.current_thread())
            )
            return transport

        adapter._make = make  # type: ignore[method-assign]
        outcomes = await send(adapter, [self.message(number=number) for number in range(3)])
        await adapter.close()
        assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        assert threads and all(thread.name.startswith("ses") for thread in threads)

    @pytest.mark.asyncio
    async def test_settings_are_tried_again(
        self, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        adapter = self.build(simulator)
        made, failed = adapter._make, []

        def make() -> Any:
            if not failed:
                failed.append(1)
                raise OSError("too many open files")
            return made()

        monkeypatch.setattr(adapter, "_make", make)
        assert await send(adapter, [self.message()]) == [MISCONFIGURED]
        assert isinstance((await send(adapter, [self.message()]))[0], Accepted)
        await adapter.close()


class TestCall:
    def test_what_was_given_up_does_not_leave(self) -> None:
        call = Call()
        call.give_up()
        with pytest.raises(GivenUp):
            next(call.body(b"x"))
        assert not call.left

    def test_what_has_left_cannot_be_given_up(self) -> None:
        call = Call()
        assert next(body := call.body(b"x")) == b"x"
        call.give_up()
        assert call.left and list(body) == []


def assert_described(value: Any, shape: Any) -> None:
    """The validator lets members pass that the description does not have."""
    if shape.type_name == "structure":
        assert set(value) <= set(shape.members)
        for name, member in value.items():
            assert_described(member, shape.members[name])
    elif shape.type_name == "list":
        for item in value:
            assert_described(item, shape.member)
