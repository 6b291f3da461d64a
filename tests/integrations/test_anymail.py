from __future__ import annotations

import asyncio
import base64
import re
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl
from uuid import uuid4

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.test import override_settings

from apps.integrations.anymail import ATTEMPT, TARGET
from apps.integrations.anymail.adapter import AnymailAdapter
from apps.integrations.anymail.outcomes import _SAID, BY_REFUSAL
from apps.integrations.anymail.services import SERVICES
from apps.integrations.anymail.transport import Departure, GivenUp
from apps.integrations.contract import (
    Accepted,
    Message,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.simulator import Simulator

from .conftest import Canned, Running, Seen
from .suite import BODY, SECRET, AdapterContract, free_port, ledger_of, send

SENDER = "Carillon <notify@example.com>"
DEAD = PermanentFailure("invalid_address", address_is_dead=True)
SUPPRESSED = PermanentFailure("suppressed", address_is_dead=True)
OPTED_OUT = PermanentFailure("opted_out", address_is_dead=True)
REJECTED = PermanentFailure("rejected")
SENDER_WRONG = TemporaryFailure("misconfigured", 60.0)
UNAUTHORIZED = TemporaryFailure("unauthorized", 60.0)
# The path behind the simulator's address, as the service's own base URL has it.
PATHS = {"brevo": "/v3", "mailgun": "/v3", "mailjet": "/v3.1", "sparkpost": "/api/v1"}
OWN = {"mailjet": {"secret_key": SECRET}, "scaleway": {"project_id": "p"}}
NOT_IN_A_HEADER = ("mandrill", "mailgun", "mailjet")  # whose key goes in the body, or in base64
KEYS = {"resend": f"re_{SECRET}"}


def build(service: str, url: str, **options: Any) -> AnymailAdapter:
    options = {"sender": SENDER, **OWN.get(service, {}), **options}
    key = KEYS.get(service, SECRET)
    return AnymailAdapter(service, key, base_url=url + PATHS.get(service, ""), **options)


class Contract(AdapterContract):
    """Of one service. Named so that it is not collected itself."""

    channel = "email"
    opted_out = None
    service: ClassVar[str]

    def build(self, simulator: Simulator, **options: Any) -> AnymailAdapter:
        return build(self.service, simulator.url, **options)

    def build_at_closed_port(self, port: int) -> AnymailAdapter:
        return build(self.service, f"http://127.0.0.1:{port}")

    @pytest.mark.asyncio
    async def test_what_the_service_is_sent(self, running: Running) -> None:
        adapter = self.build(running.simulator)
        message = self.message(text="Grüße 🎉", html="<p>Grüße</p>", subject="Ünï & more")
        assert isinstance((await send(adapter, [message]))[0], Accepted)
        await adapter.close()
        [seen] = running.seen
        reference = {TARGET: str(message.target), ATTEMPT: str(message.attempt)}
        self.check(seen, message, reference)

    def check(self, seen: Seen, message: Message, reference: dict[str, str]) -> None:
        raise NotImplementedError

    @pytest.mark.parametrize("parts", [("text",), ("html",), ("text", "html")])
    @pytest.mark.asyncio
    async def test_text_or_html_or_both(self, simulator: Simulator, parts: tuple[str, ...]) -> None:
        adapter = self.build(simulator)
        message = self.message(**{"text": "", **{part: f"<{part}>" for part in parts}})
        assert isinstance((await send(adapter, [message]))[0], Accepted)
        await adapter.close()
        [entry] = ledger_of(simulator)
        assert (entry["text"], entry["html"]) == (message.text, message.html)
        assert (entry["subject"], entry["provider"], entry["service"]) == (
            message.subject,
            "anymail",
            self.service,
        )

    @pytest.mark.asyncio
    async def test_wrong_credentials(self, running: Running) -> None:
        url = running.simulator.url + PATHS.get(self.service, "")
        adapter = AnymailAdapter(self.service, "", SENDER, base_url=url, **OWN.get(self.service, {}))
        outcomes = await send(adapter, [self.message()])
        await adapter.close()
        assert outcomes == [UNAUTHORIZED]
        assert len(running.seen) == 1 and running.simulator.ledger.seq == 0


def json_of(seen: Seen) -> Any:
    return orjson.loads(seen.body)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class TestBrevo(Contract):
    service = "brevo"

    def check(self, seen: Seen, message: Message, reference: dict[str, str]) -> None:
        assert (seen.path, seen.headers["api-key"]) == ("/v3/smtp/email", SECRET)
        mail = json_of(seen)
        assert orjson.loads(mail.pop("headers")["X-Mailin-custom"]) == reference
        assert mail == {
            "sender": {"name": "Carillon", "email": "notify@example.com"},
            "to": [{"email": message.address}],
            "subject": message.subject,
            "textContent": message.text,
            "htmlContent": message.html,
        }


class TestMailgun(Contract):
    service = "mailgun"

    def check(self, seen: Seen, message: Message, reference: dict[str, str]) -> None:
        assert (seen.path, seen.headers["Authorization"]) == (
            "/v3/example.com/messages",
            basic("api", SECRET),
        )
        assert dict(parse_qsl(seen.body.decode(), strict_parsing=True)) == {
            "from": SENDER,
            "to": message.address,
            "subject": message.subject,
            "text": message.text,
            "html": message.html,
            **{f"v:{name}": value for name, value in reference.items()},
        }

    @pytest.mark.asyncio
    async def test_another_sender_domain(self, running: Running) -> None:
        adapter = self.build(running.simulator, sender_domain="mg.example.com")
        assert isinstance((await send(adapter, [self.message()]))[0], Accepted)
        await adapter.close()
        assert [seen.path for seen in running.seen] == ["/v3/mg.example.com/messages"]


class TestMailjet(Contract):
    service = "mailjet"

    def check(self, seen: Seen, message: Message, reference: dict[str, str]) -> None:
        assert (seen.path, seen.headers["Authorization"]) == ("/v3.1/send", basic(SECRET, SECRET))
        mail = json_of(seen)
        assert orjson.loads(mail["Globals"].pop("EventPayload")) == reference
        assert mail == {
            "Globals": {
                "From": {"Name": "Carillon", "Email": "notify@example.com"},
                "Subject": message.subject,
                "TextPart": message.text,
                "HTMLPart": message.html,
            },
            "Messages": [{"To": [{"Email": message.address}]}],
        }


class TestPostmark(Contract):
    service = "postmark"
    opted_out = SUPPRESSED

    def check(self, seen: Seen, message: Message, reference: dict[str, str]) -> None:
        assert (seen.path, seen.headers["X-Postmark-Server-Token"]) == ("/email", SECRET)
        assert json_of(seen) == {
            "From": SENDER,
            "To": message.address,
            "Subject": message.subject,
            "TextBody": message.text,
            "HtmlBody": message.html,
            "Metadata": reference,
        }


class TestResend(Contract):
    service = "resend"

    def check(self, seen: Seen, message: Message, reference: dict[str, str]) -> None:
        assert (seen.path, seen.headers["Authorization"]) == ("/emails", f"Bearer re_{SECRET}")
        assert "Idempotency-Key" not in seen.headers
        mail = json_of(seen)
        assert orjson.loads(mail.pop("headers")["X-Metadata"]) == reference
        assert mail == {
            "from": SENDER,
            "to": [message.address],
            "subject": message.subject,
            "text": message.text,
            "html": message.html,
        }


class TestSparkPost(Contract):
    service = "sparkpost"

    def check(self, seen: Seen, message: Message, reference: dict[str, str]) -> None:
        assert (seen.path, seen.headers["Authorization"]) == ("/api/v1/transmissions/", SECRET)
        assert json_of(seen) == {
            "content": {
                "from": SENDER,
                "subject": message.subject,
                "text": message.text,
                "html": message.html,
            },
            "recipients": [{"address": {"email": message.address, "header_to": message.address}}],
            "metadata": reference,
        }


def mail(**parts: Any) -> Message:
    parts = {"address": "anna@example.com", "subject": "S", "text": BODY, **parts}
    return Message(target=uuid4(), attempt=uuid4(), **parts)


async def outcome(adapter: AnymailAdapter, **parts: Any) -> Outcome:
    [only] = await send(adapter, [mail(**parts)])
    await adapter.close()
    return only


async def answered(canned: Canned, service: str, status: int, body: Any, **headers: str) -> Outcome:
    canned.status = status
    canned.body = body if isinstance(body, bytes) else orjson.dumps(body)
    canned.headers = {"Content-Type": "application/json", **headers}
    return await outcome(build(service, canned.url))


def mailjet(code: str, related: str, status: str = "error") -> dict[str, Any]:
    error = {"ErrorCode": code, "StatusCode": 400, "ErrorMessage": "no", "ErrorRelatedTo": [related]}
    return {"Messages": [{"Status": status, "Errors": [error]}]}


def postmark(code: int, text: str = "no") -> dict[str, Any]:
    return {"ErrorCode": code, "Message": text}


def resend(name: str, text: str = "no") -> dict[str, Any]:
    return {"statusCode": 422, "name": name, "message": text}


def sparkpost(code: str | int) -> dict[str, Any]:
    return {"errors": [{"code": code, "message": "no"}]}


def mandrill(status: str, reason: str | None) -> list[dict[str, Any]]:
    return [{"email": "anna@example.com", "status": status, "_id": "m1", "reject_reason": reason}]


def postal(status: str, **data: Any) -> dict[str, Any]:
    return {"status": status, "time": 0.1, "flags": {}, "data": data}


def unisender(reason: str) -> dict[str, Any]:
    return {"status": "success", "job_id": "j", "emails": [], "failed_emails": {"anna@example.com": reason}}


INACTIVE = "Found inactive addresses: anna@example.com.\nInactive recipients are ones that have bounced."
REFUSALS: list[tuple[str, int, Any, Outcome]] = [
    ("brevo", 400, {"code": "invalid_parameter", "message": "email is not valid in to"}, DEAD),
    ("brevo", 400, {"code": "invalid_parameter", "message": "valid sender email required"}, SENDER_WRONG),
    ("brevo", 400, {"code": "missing_parameter", "message": "subject is missing"}, REJECTED),
    ("brevo", 402, {"code": "not_enough_credits", "message": "no"}, SENDER_WRONG),
    ("mailersend", 422, {"errors": {"to.0.email": ["The to.0.email must be a valid email address."]}}, DEAD),
    (
        "mailersend",
        422,
        {"errors": {"from.email": ["The from.email domain must be verified in your account."]}},
        SENDER_WRONG,
    ),
    ("mailersend", 422, {"errors": {"subject": ["The subject field is required."]}}, REJECTED),
    (
        "mailersend",
        202,
        {"warnings": [{"type": "ALL_SUPPRESSED", "recipients": [{"email": "anna@example.com"}]}]},
        SUPPRESSED,
    ),
    ("mailgun", 400, {"message": "'to' parameter is not a valid address. please check"}, DEAD),
    ("mailgun", 400, {"message": "'from' parameter is not a valid address. please check"}, SENDER_WRONG),
    ("mailgun", 404, {"message": "Domain not found: example.com"}, SENDER_WRONG),
    ("mailgun", 401, b"Forbidden", UNAUTHORIZED),
    ("mailgun", 200, b"Mailgun Magnificent API", UnknownOutcome("bad_answer")),
    ("mailjet", 400, mailjet("mj-0013", "To[0].Email"), DEAD),
    ("mailjet", 400, mailjet("mj-0013", "From.Email"), SENDER_WRONG),
    ("mailjet", 400, mailjet("send-0008", "From"), SENDER_WRONG),
    ("mailjet", 200, mailjet("send-0008", "From"), SENDER_WRONG),
    ("mailjet", 400, mailjet("send-0003", "TextPart"), REJECTED),
    ("mailjet", 401, {"ErrorIdentifier": "x", "StatusCode": 401, "ErrorMessage": "no"}, UNAUTHORIZED),
    ("mailtrap", 400, {"success": False, "errors": ["'subject' is required"]}, REJECTED),
    ("mailtrap", 401, {"errors": ["Unauthorized"]}, UNAUTHORIZED),
    ("mandrill", 500, {"status": "error", "name": "Invalid_Key", "message": "no"}, UNAUTHORIZED),
    ("mandrill", 500, {"status": "error", "name": "PaymentRequired", "message": "no"}, UNAUTHORIZED),
    ("mandrill", 500, {"status": "error", "name": "GeneralError"}, TemporaryFailure("unavailable")),
    ("mandrill", 200, mandrill("rejected", "hard-bounce"), SUPPRESSED),
    ("mandrill", 200, mandrill("rejected", "spam"), SUPPRESSED),
    ("mandrill", 200, mandrill("rejected", "unsub"), OPTED_OUT),
    ("mandrill", 200, mandrill("rejected", "invalid-sender"), SENDER_WRONG),
    ("mandrill", 200, mandrill("rejected", "unsigned"), SENDER_WRONG),
    ("mandrill", 200, mandrill("rejected", "test-mode-limit"), UNAUTHORIZED),
    ("mandrill", 200, mandrill("rejected", "rule"), REJECTED),
    ("mandrill", 200, mandrill("invalid", None), DEAD),
    ("postal", 200, postal("error", code="AccessDenied"), UNAUTHORIZED),
    ("postal", 200, postal("error", code="InvalidServerAPIKey"), UNAUTHORIZED),
    ("postal", 200, postal("error", code="UnauthenticatedFromAddress"), SENDER_WRONG),
    ("postal", 200, postal("error", code="NoContent"), REJECTED),
    ("postal", 200, postal("parameter-error", message="no"), REJECTED),
    ("postmark", 401, postmark(10), UNAUTHORIZED),
    ("postmark", 422, postmark(10), UNAUTHORIZED),
    ("postmark", 422, postmark(100), TemporaryFailure("unavailable")),
    ("postmark", 422, postmark(300, "Invalid 'To' address: 'anna@example.com'."), DEAD),
    ("postmark", 422, postmark(300, "Error parsing 'To': Illegal email domain 'x'."), DEAD),
    ("postmark", 422, postmark(300, "Invalid 'From' address: 'x' is not verified."), SENDER_WRONG),
    ("postmark", 422, postmark(300, "Invalid metadata content."), REJECTED),
    ("postmark", 422, postmark(400), SENDER_WRONG),
    ("postmark", 422, postmark(401), SENDER_WRONG),
    ("postmark", 422, postmark(405), UNAUTHORIZED),
    ("postmark", 422, postmark(406, INACTIVE), SUPPRESSED),
    ("postmark", 422, postmark(412), UNAUTHORIZED),
    ("postmark", 422, postmark(413), UNAUTHORIZED),
    ("postmark", 422, postmark(429), TemporaryFailure("rate_limited")),
    ("postmark", 422, postmark(99999), REJECTED),
    ("resend", 422, resend("validation_error", "Invalid `to` field. The email address needs to"), DEAD),
    ("resend", 422, resend("validation_error", "Invalid `from` field. The email"), SENDER_WRONG),
    ("resend", 422, resend("invalid_from_address"), SENDER_WRONG),
    ("resend", 422, resend("missing_required_field"), REJECTED),
    ("resend", 403, resend("validation_error", "You can only send testing emails to"), UNAUTHORIZED),
    ("resend", 429, resend("daily_quota_exceeded"), TemporaryFailure("rate_limited")),
    ("scaleway", 403, {"message": "denied", "type": "denied_authentication"}, UNAUTHORIZED),
    ("scaleway", 400, {"type": "invalid_arguments", "details": []}, REJECTED),
    ("sparkpost", 400, sparkpost("5002"), DEAD),
    ("sparkpost", 400, sparkpost(5002), DEAD),
    ("sparkpost", 400, sparkpost("7001"), SENDER_WRONG),
    ("sparkpost", 422, sparkpost("1300"), REJECTED),
    (
        "sparkpost",
        200,
        {"results": {"total_rejected_recipients": 1, "total_accepted_recipients": 0, "id": "1"}},
        REJECTED,
    ),
    (
        "sparkpost",
        200,
        {"results": {"total_rejected_recipients": 0, "total_accepted_recipients": 0, "id": "1"}},
        UnknownOutcome("bad_answer"),
    ),
    ("unisender_go", 200, unisender("unsubscribed"), OPTED_OUT),
    ("unisender_go", 200, unisender("permanent_unavailable"), SUPPRESSED),
    ("unisender_go", 200, unisender("temporary_unavailable"), REJECTED),
    ("unisender_go", 200, unisender("invalid"), DEAD),
    ("unisender_go", 200, unisender("news"), UnknownOutcome("bad_answer")),
]


@pytest.mark.asyncio
class TestRefusals:
    @pytest.mark.parametrize(("service", "status", "body", "expected"), REFUSALS)
    async def test_each(
        self, canned: Canned, service: str, status: int, body: Any, expected: Outcome
    ) -> None:
        assert await answered(canned, service, status, body) == expected

    async def test_a_wait_goes_with_what_is_temporary(self, canned: Canned) -> None:
        expected = TemporaryFailure("rate_limited", 7.0)
        assert await answered(canned, "postmark", 422, postmark(429), **{"Retry-After": "7"}) == expected

    @pytest.mark.parametrize("service", SERVICES)
    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            (400, REJECTED),
            (401, UNAUTHORIZED),
            (403, UNAUTHORIZED),
            (404, SENDER_WRONG),
            (413, PermanentFailure("too_large")),
            (429, TemporaryFailure("rate_limited")),
            (500, TemporaryFailure("unavailable")),
            (503, TemporaryFailure("unavailable")),
            (502, UnknownOutcome("gateway")),
            (504, UnknownOutcome("gateway")),
            (200, UnknownOutcome("bad_answer")),
            (202, UnknownOutcome("bad_answer")),
        ],
    )
    async def test_a_status_with_any_body(
        self, canned: Canned, service: str, status: int, expected: Outcome
    ) -> None:
        canned.status, canned.headers = status, {"Content-Type": "application/json"}
        adapter = build(service, canned.url)
        for body in (b"", b"<html>", b"[]", b"{}", b"7", b"null", b'"x"', b'{"errors": 1}'):
            canned.body = body
            assert await send(adapter, [mail()]) == [expected], body
        await adapter.close()

    @pytest.mark.parametrize("service", SERVICES)
    async def test_a_gateway_says_nothing_of_the_recipient(self, canned: Canned, service: str) -> None:
        for row in REFUSALS:
            if row[0] == service:
                assert await answered(canned, service, 502, row[2]) == UnknownOutcome("gateway")

    async def test_redirects_are_not_followed(self, canned: Canned, running: Running) -> None:
        location = f"{running.simulator.url}/email"
        for status in (301, 302, 303, 307, 308):
            assert await answered(canned, "postmark", status, b"", Location=location) == SENDER_WRONG
        assert running.seen == []


ACCEPTANCES: list[tuple[str, int, Any, dict[str, str], str]] = [
    ("mailersend", 202, b"", {"X-Message-Id": "5e4", "Content-Type": "text/html"}, "5e4"),
    ("mailtrap", 200, {"success": True, "message_ids": ["0c7"]}, {}, "0c7"),
    ("mandrill", 200, mandrill("sent", None), {}, "m1"),
    ("mandrill", 200, mandrill("queued", None), {}, "m1"),
    (
        "postal",
        200,
        postal("success", message_id="x", messages={"anna@example.com": {"id": 25, "token": "t"}}),
        {},
        "25",
    ),
    (
        "postmark",
        200,
        {"To": "anna@example.com", "MessageID": "p", "ErrorCode": 0, "Message": "OK"},
        {},
        "p",
    ),
    (
        "postmark",
        200,
        {"To": "ANNA@xn--mller-kva.example", "MessageID": "p", "ErrorCode": 0, "Message": "OK"},
        {},
        "p",
    ),
    (
        "scaleway",
        200,
        {"emails": [{"id": "s", "mail_rcpt": "anna@example.com", "status": "new"}]},
        {},
        "s",
    ),
    ("unisender_go", 200, {"status": "success", "job_id": "j", "emails": ["anna@example.com"]}, {}, "j"),
]


@pytest.mark.asyncio
class TestTheOthers:
    """The services the simulator does not speak, and answers it does not give."""

    @pytest.mark.parametrize(("service", "status", "body", "headers", "id"), ACCEPTANCES)
    async def test_an_acceptance(  # noqa: PLR0917
        self, canned: Canned, service: str, status: int, body: Any, headers: dict[str, str], id: str
    ) -> None:
        assert await answered(canned, service, status, body, **headers) == Accepted(id)

    @pytest.mark.parametrize(
        ("service", "where"),
        [
            ("mailtrap", lambda body: body["custom_variables"]),
            ("mandrill", lambda body: body["message"]["metadata"]),
            ("scaleway", lambda body: orjson.loads(body["additional_headers"][0]["value"])),
            ("unisender_go", lambda body: body["message"]["global_metadata"]),
        ],
    )
    async def test_our_reference_is_in_its_metadata(self, service: str, where: Any) -> None:
        message = mail()
        body = await self.sent(service, message)
        assert where(body) == {TARGET: str(message.target), ATTEMPT: str(message.attempt)}

    @pytest.mark.parametrize(
        ("service", "where"),
        [("mailersend", lambda body: body["tags"]), ("postal", lambda body: [body["tag"]])],
    )
    async def test_our_reference_is_a_tag(self, service: str, where: Any) -> None:
        message = mail()
        body = await self.sent(service, message)
        assert where(body) == [f"{ATTEMPT}:{message.attempt}"]

    @pytest.mark.parametrize(
        ("service", "where"),
        [
            ("mailtrap", lambda body: body["headers"]),
            ("mandrill", lambda body: body["message"]["headers"]),
            ("postal", lambda body: body["headers"]),
            ("scaleway", lambda body: {one["key"]: one["value"] for one in body["additional_headers"]}),
            ("unisender_go", lambda body: body["message"]["headers"]),
        ],
    )
    async def test_the_headers_to_unsubscribe(self, service: str, where: Any) -> None:
        url = "https://carillon.example.com/u/x"
        found = where(await self.sent(service, replace(mail(), unsubscribe_url=url)))
        assert found["List-Unsubscribe"] == f"<{url}>"
        assert found["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"

    async def test_a_service_that_would_refuse_them_gets_none(self) -> None:
        message = replace(mail(), unsubscribe_url="https://carillon.example.com/u/x")
        assert "headers" not in await self.sent("mailersend", message)

    async def sent(self, service: str, message: Message) -> Any:
        async with listening() as server:
            adapter = build(service, server.url)
            await send(adapter, [message])
            await adapter.close()
        return orjson.loads(server.bodies[0])


class Server:
    """Keeps what it is sent, and answers nothing that helps. `connections` counts those it was opened."""

    def __init__(self, answer: bytes) -> None:
        self.url = ""
        self.bodies: list[bytes] = []
        self.heads: list[bytes] = []
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        while head := await self._head(reader):
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            self.heads.append(head)
            self.bodies.append(await reader.readexactly(length))
            writer.write(self._answer)
            await writer.drain()
        writer.close()

    async def _head(self, reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""


@asynccontextmanager
async def listening(
    answer: bytes = b"HTTP/1.1 400 No\r\nContent-Length: 2\r\n\r\n{}",
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Server]:
    server = Server(answer)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    yield server
    listener.close()
    for writer in server.writers:
        writer.close()


def certificate(folder: Path) -> Path:
    """A file with the key and the certificate of 127.0.0.1, which vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = folder / "tls.pem"
    file.write_bytes(private + made.public_bytes(Encoding.PEM))
    return file


@pytest.mark.asyncio
class TestConnections:
    async def test_one_is_kept_between_messages(self) -> None:
        async with listening() as server:
            adapter = build("postmark", server.url, threads=1)
            for _ in range(5):
                assert await send(adapter, [mail()]) == [REJECTED]
            await adapter.close()
            assert (len(server.bodies), server.connections) == (5, 1)

    async def test_an_idle_one_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("apps.integrations.anymail.transport.IDLE", 0.0)
        async with listening() as server:
            adapter = build("postmark", server.url, threads=1)
            for _ in range(3):
                assert await send(adapter, [mail()]) == [REJECTED]
            await adapter.close()
            assert (len(server.bodies), server.connections) == (3, 3)

    async def test_no_cookies_no_environment_no_netrc(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        closed = f"http://127.0.0.1:{free_port()}"
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, closed)
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        cookie = b"HTTP/1.1 400 No\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\n{}"
        async with listening(cookie) as server:
            adapter = build("postmark", server.url, threads=1)
            for _ in range(2):
                assert await send(adapter, [mail()]) == [REJECTED]
            await adapter.close()
        heads = [head.lower() for head in server.heads]
        assert len(heads) == 2 and not [
            head for head in heads if b"cookie" in head or b"authorization" in head
        ]

    async def test_nothing_is_repeated(self) -> None:
        async with listening(b"HTTP/1.1 503 No\r\nRetry-After: 0\r\nContent-Length: 2\r\n\r\n{}") as server:
            adapter = build("postmark", server.url)
            assert await send(adapter, [mail()]) == [TemporaryFailure("unavailable", 0.0)]
            await adapter.close()
            assert len(server.bodies) == 1

    async def test_threads_are_the_calls_in_the_air(self, simulator: Simulator) -> None:
        simulator.latency["anymail"] = 0.05
        adapter = build("postmark", simulator.url, threads=3)
        assert adapter.batch_size == 6
        outcomes = await send(adapter, [mail() for _ in range(12)])
        assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        assert len(adapter._transport._idle) <= 3
        await adapter.close()
        assert not adapter._transport._idle

    async def test_what_does_not_get_a_thread_in_time_is_not_started(self, simulator: Simulator) -> None:
        adapter = build("postmark", simulator.url, threads=1, timeout=0.4)
        outcomes = await send(adapter, [mail(address="anna+sim-hang@example.com"), mail(), mail()])
        await adapter.close()
        assert outcomes[0] == UnknownOutcome("timeout")
        # One may get the thread in the very moment in which its time is up; on a busy machine, just before.
        taken = [one for one in outcomes[1:] if isinstance(one, Accepted)]
        assert len(taken) < 2
        late = {TemporaryFailure("not_started"), TemporaryFailure("unreachable")}
        assert {one for one in outcomes[1:] if one not in taken} <= late
        assert ledger_of(simulator)[0]["address"] == "anna+sim-hang@example.com"
        assert len(ledger_of(simulator)) == 1 + len(taken)

    async def test_a_host_that_is_none_and_tls_that_is_none(self, simulator: Simulator) -> None:
        assert await outcome(build("postmark", "http://nowhere.invalid")) == TemporaryFailure("unreachable")
        secure = simulator.url.replace("http:", "https:")
        assert await outcome(build("postmark", secure)) == TemporaryFailure("unreachable")
        assert simulator.ledger.seq == 0

    async def test_tls(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Of a certificate nobody vouches for, and of one that somebody does."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate(tmp_path))
        async with listening(tls=context) as server:
            for trusted, expected in ((False, TemporaryFailure("unreachable")), (True, REJECTED)):
                if trusted:
                    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(tmp_path / "tls.pem"))
                assert await outcome(build("postmark", server.url.replace("http:", "https:"))) == expected
            assert len(server.bodies) == 1

    async def test_an_answer_that_breaks_off(self) -> None:
        async with listening(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n{") as server:
            adapter = build("postmark", server.url, timeout=0.5)
            assert await outcome(adapter) == UnknownOutcome("timeout")

    async def test_a_message_given_up_before_it_left_never_leaves(self, simulator: Simulator) -> None:
        """As with a name server that answers when nobody waits any more."""
        adapter = build("postmark", simulator.url, timeout=0.2)
        make, held = adapter._transport._backend, threading.Event()

        def late() -> Any:
            held.wait(20)
            return make()

        adapter._transport._backend = late
        assert await outcome(adapter) == TemporaryFailure("unreachable")
        held.set()
        await asyncio.to_thread(adapter._threads.shutdown, wait=True)
        assert not simulator.requests and simulator.ledger.seq == 0


class TestDeparture:
    def test_who_is_first(self) -> None:
        left = Departure(0.0)
        left.leave()
        assert left.left and not left.give_up()
        left.leave()  # the rest of it
        given_up = Departure(0.0)
        assert given_up.give_up()
        with pytest.raises(GivenUp):
            given_up.leave()
        assert not given_up.left


@pytest.mark.asyncio
class TestMessages:
    @pytest.mark.parametrize(
        ("parts", "expected"),
        [
            ({"address": "anna"}, DEAD),
            ({"address": ""}, DEAD),
            ({"address": "anna@"}, DEAD),
            ({"address": "anna@example.com, bert@example.com"}, DEAD),
            ({"address": "Anna <anna@example.com>"}, PermanentFailure("unsupported_address")),
            ({"address": "anna@example.com\r\nBcc: bert@example.com"}, PermanentFailure("invalid_header")),
            ({"subject": "A\r\nBcc: bert@example.com"}, PermanentFailure("invalid_header")),
            ({"subject": "A\ud800"}, PermanentFailure("invalid_header")),
            ({"text": ""}, PermanentFailure("invalid_content")),
            ({"html": "\udfff"}, PermanentFailure("invalid_content")),
        ],
    )
    async def test_what_no_service_gets(
        self, running: Running, parts: dict[str, str], expected: Outcome
    ) -> None:
        assert await outcome(build("postmark", running.simulator.url), **parts) == expected
        assert running.seen == []

    @pytest.mark.parametrize("service", ["brevo", "mailgun", "mailjet", "postmark", "resend", "sparkpost"])
    async def test_a_domain_that_is_not_ascii(self, simulator: Simulator, service: str) -> None:
        adapter = build(service, simulator.url)
        assert isinstance(await outcome(adapter, address="anna@müller.example"), Accepted)
        assert ledger_of(simulator)[0]["address"] == "anna@xn--mller-kva.example"

    async def test_a_domain_that_cannot_be_one(self, running: Running) -> None:
        assert await outcome(build("postmark", running.simulator.url), address="anna@☃☃.example") == DEAD
        assert running.seen == []

    @pytest.mark.parametrize("key", ["a\nb", "ключ"])
    @pytest.mark.parametrize("service", [name for name in SERVICES if name not in NOT_IN_A_HEADER])
    async def test_a_key_that_no_header_can_carry(self, running: Running, service: str, key: str) -> None:
        options = {**OWN.get(service, {}), "base_url": running.simulator.url}
        assert await outcome(AnymailAdapter(service, key, SENDER, **options)) == SENDER_WRONG
        assert running.seen == []

    @pytest.mark.parametrize("url", ["nowhere", "ftp://127.0.0.1", "http://", "http://[::1"])
    async def test_a_base_url_that_is_none(self, url: str) -> None:
        adapter = AnymailAdapter("postmark", SECRET, SENDER, base_url=url)
        assert await outcome(adapter) == SENDER_WRONG


class TestOptions:
    @pytest.mark.parametrize("service", SERVICES)
    def test_every_service_can_be_built(self, service: str) -> None:
        options: dict[str, Any] = dict(OWN.get(service, {}))
        if not SERVICES[service].base_url:
            options["base_url"] = "https://mail.example.com/"
        adapter = AnymailAdapter(service, SECRET, SENDER, **options)
        backend = adapter._transport._backend()
        assert backend.api_url.startswith("https://") and not backend.debug_api_requests

    def test_the_base_urls_are_the_librarys(self) -> None:
        for service, known in SERVICES.items():
            if not known.base_url:
                continue
            options = {"secret_key": "x", "project_id": "x", known.api_key: "x"}
            backend = import_module(f"anymail.backends.{service}").EmailBackend(**options)
            assert backend.api_url == known.base_url

    @pytest.mark.parametrize(
        ("service", "options", "text"),
        [
            ("carrier_pigeon", {}, "brevo, mailersend, mailgun"),
            ("mailjet", {}, "mailjet needs api_key, secret_key"),
            ("postmark", {"secret_key": "x"}, "postmark needs api_key, and no other"),
            ("postmark", {"sender_domain": "x"}, "no other"),
            ("mailgun", {"project_id": "x"}, "perhaps sender_domain"),
            ("scaleway", {}, "project_id"),
            ("postal", {}, "base_url"),
            ("unisender_go", {}, "base_url"),
        ],
    )
    def test_a_wrong_set_of_them(self, service: str, options: dict[str, str], text: str) -> None:
        with pytest.raises(ValueError, match=text):
            AnymailAdapter(service, SECRET, SENDER, **options)

    @pytest.mark.parametrize("sender", ["", "carillon", "a@b.example, c@d.example", "josé@example.com"])
    def test_a_sender_that_is_none(self, sender: str) -> None:
        with pytest.raises(ValueError):
            AnymailAdapter("postmark", SECRET, sender)

    def test_every_row_of_the_table_is_met(self) -> None:
        for service, pattern, outcome in BY_REFUSAL:
            said = []
            for row in REFUSALS:
                if row[0] == service and row[3] == outcome:
                    try:
                        said.append(str(_SAID[service](row[2])))
                    except (LookupError, TypeError):
                        continue
            assert [one for one in said if re.match(pattern, one)], (service, pattern)


HOSTILE = {
    "SEND_DEFAULTS": {"cc": ["spy@example.com"], "tags": ["t"], "metadata": {"x": "y"}},
    "IGNORE_UNSUPPORTED_FEATURES": True,
    "IGNORE_RECIPIENT_STATUS": True,
    "DEBUG_API_REQUESTS": True,
    "REQUESTS_TIMEOUT": 0.001,
    "IDNA_ENCODER": "no.such.encoder",
    **{
        f"{service.upper()}_{name}": value
        for service in SERVICES
        for name, value in {
            "API_KEY": "k",
            "API_TOKEN": "k",
            "API_URL": "http://127.0.0.1:9/",
            "GENERATE_MESSAGE_ID": True,
            "IDNA_ENCODER": "no.such.encoder",
            "MESSAGE_STREAM": "spy",
            "PREVENT_HEADER_ENCODING_BUGS": False,
            "PROJECT_ID": "spy",
            "REGION": "spy",
            "SANDBOX_ID": 7,
            "SECRET_KEY": "k",
            "SENDER_DOMAIN": "spy.example",
            "SEND_DEFAULTS": {"bcc": ["spy@example.com"]},
            "SERVER_TOKEN": "k",
            "SUBACCOUNT": "spy",
            "USE_BULK_API": True,
            "BATCH_SEND_MODE": "use-bulk-email",
        }.items()
    },
}


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.asyncio
async def test_the_settings_of_the_library_change_nothing(
    service: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = mail(html="<p>")
    seen = []
    for settings in ({}, HOSTILE):
        with override_settings(ANYMAIL=settings):
            async with listening() as server:
                adapter = build(service, server.url)
                await send(adapter, [message])
                await adapter.close()
        lines = server.heads[0].lower().split(b"\r\n")
        seen.append(([line for line in lines if not line.startswith(b"host:")], server.bodies))
    assert seen[0] == seen[1]
    assert capsys.readouterr().out == ""
