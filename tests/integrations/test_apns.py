from __future__ import annotations

import asyncio
import select
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from h2.errors import ErrorCodes

from apps.integrations.apns.adapter import BY_REASON, ApnsAdapter
from apps.integrations.apns.encoding import headers, payload
from apps.integrations.apns.provider_token import ProviderToken
from apps.integrations.apns.simulated import KEY, _Apns
from apps.integrations.contract import (
    Accepted,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.simulator import FAULTS, Simulator
from apps.integrations.simulator.http2 import Drop, Http2Protocol, Reply, Request, Reset

from .suite import BODY, AdapterContract, ledger_of, send

PUBLIC = load_pem_private_key(KEY.encode(), None).public_key()
TOPIC = "com.example.app"
DEAD = PermanentFailure("invalid_address", address_is_dead=True)
UNREACHABLE = TemporaryFailure("unreachable")
UNAVAILABLE = TemporaryFailure("unavailable")


ACCEPTED = Reply(200)
LATER = Reply(200)  # accepted, once the test says so
Told = Reply | Reset | Drop


@dataclass
class Vendor:
    """An HTTP/2 server that answers as it is told, and accepts what it was told nothing about."""

    answers: list[Told] = field(default_factory=list)
    url: str = ""
    seen: list[Request] = field(default_factory=list)
    connections: list[Http2Protocol] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: Request) -> Reply | Reset:
        self.seen.append(request)
        answer = self.answers.pop(0) if self.answers else ACCEPTED
        if isinstance(answer, Drop):
            raise answer
        if answer is LATER:
            await self.go_on.wait()
        if answer is LATER or answer is ACCEPTED:
            return Reply(200, {"apns-id": request.headers["apns-id"]})
        return answer

    def connect(self) -> Http2Protocol:
        self.connections.append(Http2Protocol(self.handle))
        return self.connections[-1]


@asynccontextmanager
async def serving(*answers: Told, tls: ssl.SSLContext | None = None) -> AsyncIterator[Vendor]:
    vendor = Vendor(list(answers))
    server = await asyncio.get_running_loop().create_server(vendor.connect, "127.0.0.1", 0, ssl=tls)
    scheme, port = "https" if tls else "http", server.sockets[0].getsockname()[1]
    vendor.url = f"{scheme}://127.0.0.1:{port}"
    async with server:
        yield vendor


async def closed(connection: Http2Protocol) -> bool:
    """Once the client has closed it."""
    async with asyncio.timeout(10):
        while not connection._transport.is_closing():
            await asyncio.sleep(0)
    return True


def refusal(status: int, reason: str, **headers: str) -> Reply:
    return Reply(status, headers, orjson.dumps({"reason": reason}))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The key and the certificate of 127.0.0.1, signed by nobody."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(addresses, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + certificate.public_bytes(Encoding.PEM))
    return path


class TestApns(AdapterContract):
    channel = "push"
    rejected = PermanentFailure("unregistered", address_is_dead=True)
    opted_out = None
    rate_limited = TemporaryFailure("rate_limited")  # APNs does not say when
    private = (BODY, "a11ce5", "eyJ", KEY.splitlines()[1])

    def build(self, simulator: Simulator, **options: Any) -> ApnsAdapter:
        return self.build_at(simulator.http2_url, **options)

    def build_at(self, url: str, **options: Any) -> ApnsAdapter:
        options = {"key": KEY, "key_id": "ABC123DEFG", "team_id": "DEF123GHIJ", "topic": TOPIC, **options}
        return ApnsAdapter(base_url=url, **options)

    def build_at_closed_port(self, port: int) -> ApnsAdapter:
        return self.build_at(f"http://127.0.0.1:{port}")

    def address(self, fault: str, number: int) -> str:
        return f"a11ce5{number:03d}55509{FAULTS[fault]}" if fault else f"a11ce5{number:010d}"

    async def outcome_of(self, answer: Told) -> Outcome:
        """The outcome of one message that is answered so."""
        async with serving(answer) as vendor:
            adapter = self.build_at(vendor.url)
            [outcome] = await send(adapter, [self.message()])
            await adapter.close()
            assert len(vendor.seen) == 1
            return outcome

    @pytest.mark.asyncio
    async def test_the_request(self) -> None:
        async with serving() as vendor:
            adapter = self.build_at(vendor.url)
            expires_at = datetime.now(UTC) + timedelta(hours=1)
            data = {"order": {"id": 12}, "aps": "no", "ü": None}
            message = self.message(data=data, expires_at=expires_at, urgent=True)
            assert await send(adapter, [message]) == [Accepted(str(message.attempt))]
            await adapter.close()
        [seen] = vendor.seen
        token = seen.headers.pop("authorization").removeprefix("bearer ")
        assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": "ABC123DEFG", "typ": "JWT"}
        claims = jwt.decode(token, PUBLIC, algorithms=["ES256"], options={"verify_iat": False})
        assert claims.pop("iat") <= time.time()
        assert claims == {"iss": "DEF123GHIJ"}
        sent = {name: value for name, value in seen.headers.items() if name.startswith(("apns", ":"))}
        assert sent == {
            ":method": "POST",
            ":scheme": "http",
            ":authority": vendor.url.removeprefix("http://"),
            ":path": f"/3/device/{message.address}",
            "apns-id": str(message.attempt),
            "apns-topic": TOPIC,
            "apns-push-type": "alert",
            "apns-priority": "10",
            "apns-collapse-id": message.idempotency_key,
            "apns-expiration": str(int(expires_at.timestamp())),
        }
        assert orjson.loads(bytes(seen.body)) == {
            "aps": {"alert": {"title": message.subject, "body": message.text}},
            "order": {"id": 12},
            "data_aps": "no",
            "ü": None,
            "carillon_target": str(message.target),
            "carillon_attempt": str(message.attempt),
        }

    @pytest.mark.asyncio
    async def test_what_is_not_urgent_and_does_not_expire(self) -> None:
        async with serving() as vendor:
            adapter = self.build_at(vendor.url)
            assert isinstance((await send(adapter, [self.message(subject="")]))[0], Accepted)
            await adapter.close()
        [seen] = vendor.seen
        assert seen.headers["apns-priority"] == "5"
        assert "apns-expiration" not in seen.headers
        assert orjson.loads(bytes(seen.body))["aps"] == {"alert": {"body": BODY}}

    @pytest.mark.asyncio
    async def test_the_ledger_has_title_and_body(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        message = self.message()
        assert await send(adapter, [message]) == [Accepted(str(message.attempt))]
        await adapter.close()
        [entry] = ledger_of(simulator)
        assert (entry["id"], entry["subject"]) == (str(message.attempt), message.subject)

    @pytest.mark.asyncio
    async def test_all_messages_share_a_connection_and_a_token(self) -> None:
        async with serving() as vendor:
            adapter = self.build_at(vendor.url)
            for _ in range(2):
                messages = [self.message(number=number) for number in range(150)]
                assert all(isinstance(outcome, Accepted) for outcome in await send(adapter, messages))
            await adapter.close()
        assert (len(vendor.connections), len(vendor.seen)) == (1, 300)
        assert len({seen.headers["authorization"] for seen in vendor.seen}) == 1

    @pytest.mark.parametrize(
        ("parts", "outcome"),
        [
            ({"address": ""}, DEAD),
            ({"address": "not-hex"}, DEAD),
            ({"address": "ab/../../x"}, DEAD),
            ({"address": "ab\n"}, DEAD),
            ({"subject": "", "text": ""}, PermanentFailure("invalid_content")),
            ({"subject": "\ud800"}, PermanentFailure("invalid_content")),
            ({"data": {"a": ["\ud800"]}}, PermanentFailure("invalid_content")),
            ({"text": "x" * 4_096}, PermanentFailure("too_large")),
        ],
    )
    @pytest.mark.asyncio
    async def test_what_cannot_be_sent_makes_no_call(self, parts: dict[str, Any], outcome: Outcome) -> None:
        async with serving() as vendor:
            adapter = self.build_at(vendor.url)
            assert await send(adapter, [self.message(**parts)]) == [outcome]
            await adapter.close()
        assert vendor.connections == []

    @pytest.mark.asyncio
    async def test_the_most_that_may_be_sent(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        around = len(orjson.dumps({"aps": {"alert": {"body": ""}}})) + len(
            f',"carillon_target":"{uuid4()}","carillon_attempt":"{uuid4()}"'
        )
        fits = self.message(subject="", text="x" * (4_096 - around))
        over = self.message(subject="", text="x" * (4_097 - around))
        outcomes = await send(adapter, [fits, over])
        await adapter.close()
        assert outcomes == [Accepted(str(fits.attempt)), PermanentFailure("too_large")]

    @pytest.mark.parametrize(("reason", "outcome"), BY_REASON.items())
    @pytest.mark.asyncio
    async def test_each_reason(self, reason: str, outcome: Outcome) -> None:
        assert await self.outcome_of(refusal(400, reason)) == outcome

    @pytest.mark.parametrize(
        ("answer", "outcome"),
        [
            (refusal(400, "BadMessageId"), PermanentFailure("rejected")),
            (refusal(404, "BadPath"), TemporaryFailure("misconfigured", 60.0)),
            (refusal(405, "MethodNotAllowed"), TemporaryFailure("misconfigured", 60.0)),
            (refusal(403, "WhoKnows"), TemporaryFailure("unauthorized", 60.0)),
            (Reply(413, {}, b"<html>"), PermanentFailure("too_large")),
            (Reply(429, {"retry-after": "7"}, b"[]"), TemporaryFailure("rate_limited", 7.0)),
            (
                refusal(429, "TooManyRequests", **{"retry-after": "7"}),
                TemporaryFailure("rate_limited", 7.0),
            ),
            (refusal(500, "WhoKnows"), UNAVAILABLE),
            (refusal(502, "Unregistered"), UnknownOutcome("gateway")),
            (Reply(504), UnknownOutcome("gateway")),
            (Reply(302, {"location": "https://elsewhere.example"}), TemporaryFailure("misconfigured", 60.0)),
            (Reply(200, {}, b'{"reason": "Unregistered"}'), UnknownOutcome("bad_answer")),
            (Reply(201, {"apns-id": "x"}), UnknownOutcome("bad_answer")),
            # The server says that it has not looked at the request, and only then it may go out again.
            (Reset(ErrorCodes.REFUSED_STREAM), UNAVAILABLE),
            (Reset(ErrorCodes.INTERNAL_ERROR), UnknownOutcome("disconnected")),
            (Reset(ErrorCodes.CANCEL), UnknownOutcome("disconnected")),
            (Drop(), UnknownOutcome("disconnected")),
        ],
    )
    @pytest.mark.asyncio
    async def test_each_answer(self, answer: Told, outcome: Outcome) -> None:
        assert await self.outcome_of(answer) == outcome

    @pytest.mark.asyncio
    async def test_a_connection_that_ends_is_replaced(self) -> None:
        async with serving(Drop()) as vendor:
            adapter = self.build_at(vendor.url)
            assert await send(adapter, [self.message()]) == [UnknownOutcome("disconnected")]
            assert isinstance((await send(adapter, [self.message()]))[0], Accepted)
            await adapter.close()
        assert len(vendor.connections) == 2

    @pytest.mark.parametrize(
        ("last", "outcomes"),
        [
            (0, [UNAVAILABLE, UNAVAILABLE]),  # neither was looked at
            (1, [UnknownOutcome("disconnected"), None]),  # the first may have been
            (2**31 - 1, [UnknownOutcome("disconnected"), UnknownOutcome("disconnected")]),
        ],
    )
    @pytest.mark.asyncio
    async def test_a_server_that_says_goodbye(self, last: int, outcomes: list[Outcome | None]) -> None:
        async with serving(LATER, LATER) as vendor:
            adapter = self.build_at(vendor.url)
            messages = [self.message(number=number) for number in range(2)]
            sending = asyncio.create_task(send(adapter, messages))
            while len(vendor.seen) < 2:
                await asyncio.sleep(0)
            vendor.connections[0].go_away(last)
            got = await sending
            await adapter.close()
        wanted = [outcome or Accepted(str(m.attempt)) for m, outcome in zip(messages, outcomes, strict=True)]
        assert got == wanted

    @pytest.mark.skipif(not hasattr(select, "POLLRDHUP"), reason="only Linux tells")
    @pytest.mark.parametrize("closes", [True, False])
    @pytest.mark.asyncio
    async def test_a_goodbye_while_idle_costs_no_message(self, closes: bool) -> None:
        async with serving() as vendor:
            adapter = self.build_at(vendor.url)
            assert isinstance((await send(adapter, [self.message()]))[0], Accepted)
            vendor.connections[0].go_away(1)
            if closes:
                vendor.connections[0]._transport.close()
                await asyncio.sleep(0)
            assert isinstance((await send(adapter, [self.message()]))[0], Accepted)
            await adapter.close()
        assert (len(vendor.connections), len(vendor.seen)) == (2, 2)

    @pytest.mark.parametrize("trusted", [True, False])
    @pytest.mark.asyncio
    async def test_only_who_proves_to_be_the_server_is_told(self, certificate: Path, trusted: bool) -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        tls.set_alpn_protocols(["h2"])
        async with serving(tls=tls) as vendor:
            adapter = self.build_at(vendor.url)
            if trusted:
                adapter._transport._verify.load_verify_locations(certificate)
            for _ in range(2):
                message = self.message()
                wanted = Accepted(str(message.attempt)) if trusted else UNREACHABLE
                assert await send(adapter, [message]) == [wanted]
            await adapter.close()
        assert len(vendor.seen) == (2 if trusted else 0)
        assert not trusted or len(vendor.connections) == 1

    @pytest.mark.asyncio
    async def test_a_server_that_never_greets_is_temporary(self) -> None:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            adapter = self.build_at(f"http://127.0.0.1:{port}", timeout=1.0, batch_size=2)
            # Until it greets, only one request may be on its way: the second one has not left, unless it was
            # so late that it had a connection of its own.
            outcomes = await send(adapter, [self.message(number=number) for number in range(2)])
            assert UnknownOutcome("timeout") in outcomes
            assert set(outcomes) <= {UNREACHABLE, UnknownOutcome("timeout")}
            await adapter.close()

    @pytest.mark.asyncio
    async def test_a_connection_on_which_nothing_is_heard_is_replaced(self) -> None:
        async with serving(ACCEPTED, LATER) as vendor:
            adapter = self.build_at(vendor.url, timeout=1.0)
            assert isinstance((await send(adapter, [self.message()]))[0], Accepted)
            assert await send(adapter, [self.message()]) == [UnknownOutcome("timeout")]
            assert isinstance((await send(adapter, [self.message()]))[0], Accepted)
            await adapter.close()
        assert len(vendor.connections) == 2

    @pytest.mark.asyncio
    async def test_one_message_without_an_answer_costs_no_connection(self) -> None:
        async with serving(ACCEPTED, LATER) as vendor:
            adapter = self.build_at(vendor.url, timeout=1.0)
            assert isinstance((await send(adapter, [self.message()]))[0], Accepted)
            silent = asyncio.create_task(send(adapter, [self.message(number=1)]))
            while len(vendor.seen) < 2:
                await asyncio.sleep(0)
            assert isinstance((await send(adapter, [self.message(number=2)]))[0], Accepted)
            assert await silent == [UnknownOutcome("timeout")]
            assert isinstance((await send(adapter, [self.message(number=3)]))[0], Accepted)
            await adapter.close()
        assert len(vendor.connections) == 1

    @pytest.mark.asyncio
    async def test_what_is_under_way_on_a_replaced_connection_may_still_end_well(self) -> None:
        async with serving(LATER, LATER) as vendor:
            adapter = self.build_at(vendor.url, timeout=1.5)
            first = asyncio.create_task(send(adapter, [self.message(number=1)]))
            await asyncio.sleep(0.7)  # so that it ends earlier than the next
            second = asyncio.create_task(send(adapter, [self.message(number=2)]))
            assert await first == [UnknownOutcome("timeout")]
            assert isinstance((await send(adapter, [self.message(number=3)]))[0], Accepted)
            assert len(vendor.connections) == 2
            vendor.go_on.set()
            assert isinstance((await second)[0], Accepted)
            assert await closed(vendor.connections[0])
            await adapter.close()

    @pytest.mark.asyncio
    async def test_an_expired_token_is_replaced_the_next_time(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        provider_token = adapter._provider_token
        stale = jwt.encode({"iss": "DEF123GHIJ", "iat": 1}, KEY, "ES256", headers={"kid": "ABC123DEFG"})
        provider_token._value, provider_token._issued = stale, int(time.time()) - 1_500
        assert await send(adapter, [self.message()]) == [TemporaryFailure("unauthorized", 60.0)]
        assert isinstance((await send(adapter, [self.message()]))[0], Accepted)
        await adapter.close()
        assert simulator.ledger.seq == 1

    @pytest.mark.parametrize(
        ("options", "outcome"),
        [
            ({"key_id": "short"}, TemporaryFailure("unauthorized", 60.0)),
            ({"team_id": ""}, TemporaryFailure("unauthorized", 60.0)),
            ({"topic": ""}, TemporaryFailure("misconfigured", 60.0)),
        ],
    )
    @pytest.mark.asyncio
    async def test_the_simulator_refuses_wrong_settings(
        self, simulator: Simulator, options: dict[str, str], outcome: Outcome
    ) -> None:
        adapter = self.build(simulator, **options)
        assert await send(adapter, [self.message()]) == [outcome]
        await adapter.close()

    @pytest.mark.parametrize(
        "key", ["", "no key", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----", "AAAA"]
    )
    def test_what_is_no_key(self, key: str) -> None:
        with pytest.raises(ValueError, match="the key"):
            self.build_at("http://127.0.0.1", key=key)

    def test_a_key_of_another_kind(self) -> None:
        other = rsa.generate_private_key(65_537, 2_048)
        pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        with pytest.raises(ValueError, match="elliptic"):
            self.build_at("http://127.0.0.1", key=pem)


class TestProviderToken:
    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        now = [1_800_000_000.0]
        monkeypatch.setattr("apps.integrations.apns.provider_token.time.time", lambda: now[0])
        return now

    def test_it_is_kept_for_forty_minutes(self, clock: list[float]) -> None:
        token = ProviderToken(KEY, "K" * 10, "T" * 10)
        first = token.get()
        clock[0] += 2_399
        assert token.get() == first
        clock[0] += 1
        second = token.get()
        claims = jwt.decode(second, PUBLIC, algorithms=["ES256"], options={"verify_iat": False})
        assert second != first and claims["iat"] == 1_800_002_400

    def test_a_clock_that_was_set_back_makes_a_new_one(self, clock: list[float]) -> None:
        token = ProviderToken(KEY, "K" * 10, "T" * 10)
        first = token.get()
        clock[0] -= 3_600
        assert token.get() != first

    @pytest.mark.parametrize(("age", "replaced"), [(1_199, False), (1_200, True)])
    def test_only_an_old_one_is_replaced_when_it_is_called_expired(
        self, clock: list[float], age: int, replaced: bool
    ) -> None:
        token = ProviderToken(KEY, "K" * 10, "T" * 10)
        first = token.get()
        clock[0] += age
        token.expired(first)
        assert (token.get() != first) is replaced

    def test_many_that_hear_of_it_replace_it_once(self, clock: list[float]) -> None:
        token = ProviderToken(KEY, "K" * 10, "T" * 10)
        first = token.get()
        clock[0] += 1_300
        token.expired(first)
        second = token.get()
        clock[0] += 1_300
        token.expired(first)
        assert token.get() == second

    @pytest.mark.parametrize("line_end", ["", " ", "\\n", "\r\n"])
    def test_a_key_without_its_line_ends(self, line_end: str) -> None:
        token = ProviderToken(KEY.replace("\n", line_end), "K" * 10, "T" * 10).get()
        jwt.decode(token, PUBLIC, algorithms=["ES256"], options={"verify_iat": False})


@pytest.mark.asyncio
class TestSimulator:
    async def test_it_has_an_option_for_its_port(self, tmp_path: Path) -> None:
        command = ["-m", "apps.integrations.simulator", "--port", "0", "--http2-port", "0", "--parent-death"]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *command, "--ledger", str(tmp_path / "ledger")), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        *_, name, address = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().split()
        assert name == "http2"
        adapter = TestApns().build_at(f"http://{address}")
        assert isinstance((await send(adapter, [TestApns().message()]))[0], Accepted)
        await adapter.close()
        process.terminate()
        assert await process.wait() == 0

    async def test_without_a_port_there_is_none(self, tmp_path: Path) -> None:
        async with Simulator(tmp_path / "other") as simulator:
            assert (simulator.http2_port, simulator.smtp_port) == (None, None)

    async def test_who_speaks_something_else_is_left(self, simulator: Simulator) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", simulator.http2_port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + b"x" * 100)
        async with asyncio.timeout(10):
            await reader.read()  # to its end
        writer.close()

    @pytest.mark.parametrize(
        ("change", "status", "reason"),
        [
            ({":method": "PUT"}, 405, "MethodNotAllowed"),
            ({":path": "/3/devices/ab"}, 404, "BadPath"),
            ({":path": "/3/device/abc"}, 400, "BadDeviceToken"),
            ({"authorization": "bearer x.y.z"}, 403, "InvalidProviderToken"),
            ({"authorization": "basic abc"}, 403, "MissingProviderToken"),
            ({"apns-topic": ""}, 400, "MissingTopic"),
            ({"apns-id": "1"}, 400, "BadMessageId"),
            ({"apns-priority": "7"}, 400, "BadPriority"),
            ({"apns-expiration": "soon"}, 400, "BadExpirationDate"),
            ({"apns-collapse-id": "x" * 65}, 400, "BadCollapseId"),
            ({"apns-push-type": "loud"}, 400, "InvalidPushType"),
        ],
    )
    async def test_what_it_refuses(
        self, simulator: Simulator, change: dict[str, str], status: int, reason: str
    ) -> None:
        message = TestApns().message()
        token = ProviderToken(KEY, "K" * 10, "T" * 10).get()
        pseudo = {":method": "POST", ":path": f"/3/device/{message.address}"}
        request = Request({**pseudo, **headers(message, TOPIC, token), **change}, bytearray(payload(message)))
        reply = await _Apns(simulator).notify(request)
        assert (reply.status, orjson.loads(reply.body)) == (status, {"reason": reason})
        assert simulator.ledger.seq == 0

    @pytest.mark.parametrize(
        ("body", "status", "reason"),
        [
            (b"", 400, "PayloadEmpty"),
            (b"{}", 400, "PayloadEmpty"),
            (b"[]", 400, "PayloadEmpty"),
            (b"x" * 4_097, 413, "PayloadTooLarge"),
        ],
    )
    async def test_which_payload_it_refuses(
        self, simulator: Simulator, body: bytes, status: int, reason: str
    ) -> None:
        message = TestApns().message()
        token = ProviderToken(KEY, "K" * 10, "T" * 10).get()
        pseudo = {":method": "POST", ":path": f"/3/device/{message.address}"}
        request = Request({**pseudo, **headers(message, TOPIC, token)}, bytearray(body))
        reply = await _Apns(simulator).notify(request)
        assert (reply.status, orjson.loads(reply.body)) == (status, {"reason": reason})
