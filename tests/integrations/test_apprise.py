from __future__ import annotations

import io
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import orjson
import pytest
import requests

from apps.integrations import outside
from apps.integrations.apprise import plugins, transport
from apps.integrations.apprise.adapter import SCHEMES, AppriseAdapter, _deliver
from apps.integrations.contract import (
    Accepted,
    Message,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.simulator import Simulator

from .conftest import Canned, Running
from .suite import SECRET, AdapterContract, send
from .test_outside import certificate

LOCAL = "127.0.0.0/8"
DEAD = PermanentFailure("invalid_address", address_is_dead=True)
NOT_ALLOWED = PermanentFailure("scheme_not_allowed")
HEX = "0123456789abcdef" * 4
OWNER = {"ok": True, "result": [{"message": {"from": {"id": 7, "first_name": "Anna"}}}]}
# Of each scheme that is on by default, a URL of it, with where it leads.
SERVICES = {
    "discord": (f"discord://{'1' * 18}/{HEX}", "discord.com"),
    "gchat": ("gchat://workspace/key/token", "chat.googleapis.com"),
    "groupme": (f"groupme://{HEX[:26]}", "api.groupme.com"),
    "line": (f"line://{HEX[:40]}/U{HEX[:32]}", "api.line.me"),
    "pbul": (f"pbul://{HEX[:32]}", "api.pushbullet.com"),
    "pover": (f"pover://{HEX[:30]}@{HEX[:30]}", "api.pushover.net"),
    "prowl": (f"prowl://{HEX[:40]}", "api.prowlapp.com"),
    "revolt": (f"revolt://{HEX[:64]}/{HEX[:26]}", "api.revolt.chat"),
    "tgram": ("tgram://123456789:abcdefg_hijklmnop/12315544", "api.telegram.org"),
    "viber": (f"viber://{HEX[:48]}/target", "chatapi.viber.com"),
    "webex": (f"webex://{HEX * 3}"[:88], "api.ciscospark.com"),
    "wxteams": (f"wxteams://{HEX * 3}"[:90], "api.ciscospark.com"),
}


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    """Before any test with a short timeout."""
    plugins.opened(SERVICES["discord"][0])


class TestApprise(AdapterContract):
    """Against a Mattermost, the plainest of the services whose URLs name a host."""

    channel = "chat"
    tells_id = False
    rejected = PermanentFailure("rejected")  # Mattermost: 400, an invalid webhook
    opted_out = None

    @pytest.fixture(autouse=True)
    def _host_of_the_simulator(self, simulator: Simulator) -> None:
        self.host = simulator.url.removeprefix("http://")

    def build(self, simulator: Simulator, **options: Any) -> AppriseAdapter:
        return AppriseAdapter(**{"schemes": "mmost", "allow": LOCAL, **options})

    def build_at_closed_port(self, port: int) -> AppriseAdapter:
        self.host = f"127.0.0.1:{port}"
        return AppriseAdapter(schemes="mmost", allow=LOCAL)

    def address(self, fault: str, number: int) -> str:
        return f"mmost://{self.host}/mattermost/" + (f"sim-{fault}" if fault else f"{SECRET}{number}")

    def message(self, fault: str = "", number: int = 0, **parts: Any) -> Any:
        return super().message(fault, number, **{"subject": "", **parts})

    @pytest.mark.asyncio
    async def test_a_nonsense_answer_is_unknown(self, simulator: Simulator) -> None:
        """Not here: apprise's Mattermost takes any 200 for an acceptance, which this one is."""
        assert await self.one(simulator, "nonsense") == Accepted()
        assert simulator.ledger.seq == 1

    @pytest.mark.asyncio
    async def test_the_request(self, running: Running) -> None:
        adapter = self.build(running.simulator)
        message = self.message(subject="Grüße", text="Eins & <zwei>\n:smile: \\n *drei*")
        assert await send(adapter, [message]) == [Accepted()]
        await adapter.close()
        [seen] = running.seen
        assert seen.path == "/mattermost/hooks/s3cr3t-value0"
        assert seen.headers["Carillon-Target"] == str(message.target)
        assert seen.headers["Carillon-Attempt"] == str(message.attempt)
        assert seen.headers["User-Agent"] == "Carillon"
        text = "Grüße\r\nEins & <zwei>\n:smile: \\n *drei*"
        assert orjson.loads(seen.body) == {"text": text, "username": "Carillon"}

    @pytest.mark.parametrize(
        ("status", "headers", "body", "outcome"),
        [
            (200, {}, b"ok", Accepted()),
            (201, {}, b"ok", UnknownOutcome("bad_answer")),  # Mattermost's plugin wants 200
            (400, {}, b"", PermanentFailure("rejected")),
            (401, {}, b"", PermanentFailure("unauthorized")),
            (403, {}, b"", PermanentFailure("unauthorized")),
            (404, {}, b"", DEAD),
            (410, {}, b"", DEAD),
            (413, {}, b"", PermanentFailure("too_large")),
            (429, {"Retry-After": "30"}, b"", TemporaryFailure("rate_limited", 30.0)),
            (500, {}, b"", TemporaryFailure("unavailable")),
            (503, {"Retry-After": "7"}, b"", TemporaryFailure("unavailable", 7.0)),
            (504, {}, b"", UnknownOutcome("gateway")),
            (302, {"Location": "/elsewhere"}, b"", TemporaryFailure("misconfigured", 60.0)),
            (200, {}, b"x" * 200_000, Accepted()),
        ],
    )
    @pytest.mark.asyncio
    async def test_each_answer(
        self, canned: Canned, status: int, headers: dict[str, str], body: bytes, outcome: Outcome
    ) -> None:
        canned.status, canned.headers, canned.body = status, headers, body
        self.host = canned.url.removeprefix("http://")
        adapter = AppriseAdapter(schemes="mmost", allow=LOCAL)
        assert await send(adapter, [self.message()]) == [outcome]
        await adapter.close()

    @pytest.mark.parametrize(
        ("address", "outcome"),
        [
            ("mmosts://{host}/mattermost/token", NOT_ALLOWED),
            ("json://{host}/", NOT_ALLOWED),
            ("http://{host}/mattermost/hooks/token", NOT_ALLOWED),
            (" mmost://{host}/token", NOT_ALLOWED),
            ("mmost:/{host}/token", NOT_ALLOWED),
            ("", NOT_ALLOWED),
            ("mmost://{host}/", PermanentFailure("invalid_address")),
            ("mmost://{host}/token?to=one,two", PermanentFailure("several_recipients")),
            ("syslog://", NOT_ALLOWED),  # it makes no requests, but writes to this machine
            ("mailto://user:pass@example.com", NOT_ALLOWED),
            ("discord://{id}/{key}?template=/etc/passwd", PermanentFailure("option_not_allowed")),
            ("tgram://1234567:abc/1?template=http://{host}/", PermanentFailure("option_not_allowed")),
        ],
    )
    @pytest.mark.asyncio
    async def test_what_is_not_called(self, running: Running, address: str, outcome: Outcome) -> None:
        adapter = self.build(running.simulator, schemes="mmost, syslog,mailto,discord,tgram")
        address = address.format(host=self.host, id="1" * 18, key=HEX)
        assert await send(adapter, [self.message(address=address)]) == [outcome]
        await adapter.close()
        assert running.seen == []

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "2130706433"])
    @pytest.mark.asyncio
    async def test_without_leave_no_inner_host_is_called(self, running: Running, host: str) -> None:
        adapter = self.build(running.simulator, allow="10.0.0.0/8")
        address = f"mmost://{host}:{running.simulator.port}/mattermost/token"
        [outcome] = await send(adapter, [self.message(address=address)])
        await adapter.close()
        assert outcome in (PermanentFailure("forbidden_address"), PermanentFailure("invalid_address"))
        assert running.seen == []

    @pytest.mark.asyncio
    async def test_a_name_with_one_closed_address_is_refused(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []

        def resolve(host: str, port: int, **_options: Any) -> list[Any]:
            asked.append(host)
            return [(0, 0, 0, "", (address, port)) for address in ("93.184.215.14", "127.0.0.1")]

        monkeypatch.setattr(transport.socket, "getaddrinfo", resolve)
        adapter = self.build(running.simulator, schemes="mmosts", allow="")
        message = self.message(
            address=f"mmosts://rebinding.example:{running.simulator.port}/mattermost/token"
        )
        assert await send(adapter, [message]) == [PermanentFailure("forbidden_address")]
        await adapter.close()
        assert (asked, running.seen) == (["rebinding.example"], [])

    @pytest.mark.parametrize(
        "address",
        [
            "mmost://93.184.215.14/token",
            "mmosts://127.0.0.1:25/token",
            "mmost://2130706433/token",
        ],
    )
    @pytest.mark.asyncio
    async def test_what_no_url_may_be(self, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
        """Plain http outside of `allow`, a port of mail, other spellings of addresses."""
        connected: list[Any] = []
        monkeypatch.setattr(socket.socket, "connect", lambda _socket, where: connected.append(where))
        adapter = AppriseAdapter(schemes="mmost,mmosts", allow=LOCAL)
        assert await send(adapter, [message(address)]) == [PermanentFailure("forbidden_address")]
        await adapter.close()
        assert connected == []

    @pytest.mark.asyncio
    async def test_an_unknown_name(self, simulator: Simulator) -> None:
        adapter = self.build(simulator)
        message = self.message(address="mmost://nobody.invalid/token")
        assert await send(adapter, [message]) == [TemporaryFailure("unreachable")]
        await adapter.close()

    @pytest.mark.asyncio
    async def test_the_environment_changes_nothing(
        self, running: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("default login anna password secret\n")
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        adapter = self.build(running.simulator)
        assert await send(adapter, [self.message()]) == [Accepted()]
        await adapter.close()
        assert "Authorization" not in running.seen[0].headers

    @pytest.mark.asyncio
    async def test_options_of_the_url_loosen_nothing(self, running: Running) -> None:
        adapter = self.build(running.simulator, timeout=0.4)
        loose = "?rto=60&cto=60&verify=no&redirect=yes&retry=5&wait=0&overflow=split"
        message = self.message(address=self.address("hang", 0) + loose)
        assert await send(adapter, [message]) == [UnknownOutcome("timeout")]
        await adapter.close()
        assert len(running.seen) == 1

    @pytest.mark.asyncio
    async def test_a_dripping_answer_ends_in_time_and_frees_its_thread(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            closed = threading.Event()
            threading.Thread(target=_drip, args=(server, closed), daemon=True).start()
            self.host = f"127.0.0.1:{server.getsockname()[1]}"
            adapter = AppriseAdapter(schemes="mmost", allow=LOCAL, timeout=0.6, batch_size=1)
            assert await send(adapter, [self.message()]) == [UnknownOutcome("timeout")]
            assert closed.wait(10)  # the client has hung up
            await adapter.close()

    @pytest.mark.asyncio
    async def test_tls_is_spoken_with_the_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            names: list[str] = []
            pem = certificate("localhost", tmp_path)
            self.host = f"localhost:{server.getsockname()[1]}"
            monkeypatch.setattr(transport.Trace, "addresses", lambda *_, tls: ["127.0.0.1"])
            adapter = AppriseAdapter(schemes="mmosts", allow=LOCAL)
            message = self.message(address=f"mmosts://{self.host}/token?verify=no")
            for trusted in (False, True):
                if trusted:
                    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(pem))
                threading.Thread(target=_talk_tls, args=(server, pem, names), daemon=True).start()
                outcome = Accepted() if trusted else TemporaryFailure("unreachable")
                assert await send(adapter, [message]) == [outcome]
            await adapter.close()
        assert names == ["localhost", "localhost"]

    @pytest.mark.asyncio
    async def test_of_several_addresses_the_first_that_answers(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transport.Trace, "addresses", lambda *_, tls: ["127.0.0.9", "127.0.0.1"])
        adapter = self.build(running.simulator)
        message = self.message(address=f"mmost://home.example:{running.simulator.port}/mattermost/token")
        assert await send(adapter, [message]) == [Accepted()]
        await adapter.close()
        [seen] = running.seen
        assert seen.headers["Host"] == f"home.example:{running.simulator.port}"

    @pytest.mark.asyncio
    async def test_what_waits_for_a_thread_was_not_taken(self, running: Running) -> None:
        adapter = self.build(running.simulator, timeout=0.2, batch_size=1)
        free = threading.Event()
        blocking = adapter._threads.submit(free.wait, 30)
        assert await send(adapter, [self.message()]) == [TemporaryFailure("unreachable")]
        free.set()
        assert blocking.result(30)
        await adapter.close()
        adapter._threads.shutdown()
        assert running.seen == []

    @pytest.mark.asyncio
    async def test_who_gets_a_thread_too_late_sends_nothing(self, running: Running) -> None:
        late = transport.Trace({}, timeout=0.0, allowed=outside.networks(LOCAL))
        assert _deliver(self.message(), late) == TemporaryFailure("unreachable")
        given_up = transport.Trace({}, timeout=10.0, allowed=outside.networks(LOCAL))
        given_up.give_up()
        assert _deliver(self.message(), given_up) == UnknownOutcome("timeout")
        assert (late.left, given_up.left, running.seen) == (False, False, [])

    @pytest.mark.asyncio
    async def test_nothing_to_say(self, running: Running) -> None:
        adapter = self.build(running.simulator)
        message = self.message(subject=" ", text="\n")
        assert await send(adapter, [message]) == [PermanentFailure("invalid_content")]
        await adapter.close()
        assert running.seen == []


def _talk_tls(server: socket.socket, pem: Path, names: list[str]) -> None:
    """Answer one client, and note the name it asks for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    context.sni_callback = lambda _socket, name, _context: names.append(str(name))
    client, _ = server.accept()
    with suppress(OSError), context.wrap_socket(client, server_side=True) as tls:
        while not tls.recv(65_536).endswith(b"}"):
            pass
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


def _drip(server: socket.socket, closed: threading.Event) -> None:
    """One byte of an answer that has 100 000, whenever there was time to ask for it, until nobody listens."""
    client, _ = server.accept()
    with client:
        client.recv(65_536)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        try:
            while not closed.wait(0.05):
                client.sendall(b"x")
        except OSError:
            closed.set()


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """Instead of the network."""
    wire = Wire()
    monkeypatch.setattr(transport.Guarded, "send", lambda _self, request, **options: wire(request, options))
    yield wire


class Wire:
    """Answers with the next of `statuses`, then with 200; its body is a success to all."""

    def __init__(self) -> None:
        self.seen: list[requests.PreparedRequest] = []
        self.options: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        self.body = b'{"ok":true,"status":0}'

    def __call__(self, request: requests.PreparedRequest, options: dict[str, Any]) -> requests.Response:
        transport._current().left = True
        self.seen.append(request)
        self.options.append(options)
        answer = requests.Response()
        answer.status_code = self.statuses.pop(0) if self.statuses else 200
        answer.request, answer.url, answer.raw = request, request.url or "", io.BytesIO(self.body)
        return answer


def test_each_default_service_is_looked_at_below() -> None:
    assert sorted(SCHEMES.split(",")) == sorted(SERVICES)


def message(address: str, **parts: Any) -> Message:
    return Message(target=uuid4(), attempt=uuid4(), address=address, **{"text": "Hello", **parts})


@pytest.mark.parametrize("scheme", SERVICES)
@pytest.mark.asyncio
async def test_a_default_service_leads_to_its_own_host_only(wire: Wire, scheme: str) -> None:
    address, host = SERVICES[scheme]
    adapter = AppriseAdapter()
    sent = message(address, subject="Subject")
    assert await send(adapter, [sent]) == [Accepted()]
    await adapter.close()
    assert {urlsplit(str(request.url)).hostname for request in wire.seen} == {host}
    assert all(str(request.url).startswith("https://") for request in wire.seen)
    assert all(request.headers["Carillon-Attempt"] == str(sent.attempt) for request in wire.seen)
    assert all(options["verify"] is True and not options["proxies"] for options in wire.options)


@pytest.mark.parametrize("scheme", SERVICES)
@pytest.mark.asyncio
async def test_a_refusal_of_a_default_service_is_its_only_request(wire: Wire, scheme: str) -> None:
    wire.statuses = [429]
    adapter = AppriseAdapter()
    outcomes = await send(adapter, [message(SERVICES[scheme][0])])
    await adapter.close()
    assert outcomes == [TemporaryFailure("rate_limited")]
    assert len(wire.seen) == 1


@pytest.mark.asyncio
async def test_a_refusal_after_a_success_is_incomplete(wire: Wire) -> None:
    """Telegram is asked who wrote to the bot, then told the message."""
    wire.statuses, wire.body = [200, 500], orjson.dumps(OWNER)
    adapter = AppriseAdapter()
    outcomes = await send(adapter, [message("tgram://123456789:abcdefg_hijklmnop")])
    await adapter.close()
    assert outcomes == [UnknownOutcome("incomplete")]
    assert [str(request.url).rpartition("/")[2] for request in wire.seen] == ["getUpdates", "sendMessage"]


@pytest.mark.asyncio
async def test_a_refusal_in_the_body_is_unknown(wire: Wire) -> None:
    """Viber's is, whose plugin says only that it is no success."""
    wire.body = b'{"status":3,"status_message":"badData"}'
    adapter = AppriseAdapter()
    assert await send(adapter, [message(SERVICES["viber"][0])]) == [UnknownOutcome("bad_answer")]
    await adapter.close()
    assert len(wire.seen) == 1


@pytest.mark.asyncio
async def test_discord_shows_a_text_as_it_is(wire: Wire) -> None:
    adapter = AppriseAdapter()
    await send(adapter, [message(SERVICES["discord"][0], subject="Title", text="a < b")])
    await adapter.close()
    [request] = wire.seen
    body = orjson.loads(request.body or b"")
    assert body["content"] == "Title\r\na < b"
    assert "avatar_url" not in body and "apprise" not in str(request.body).lower()


def test_only_our_own_requests_are_kept_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="urllib3.connectionpool")
    logging.getLogger("urllib3.connectionpool").debug("another's")
    trace = transport.Trace({}, timeout=1.0, allowed=())
    trace.follow(lambda: logging.getLogger("urllib3.connectionpool").debug("ours") is None)
    assert [record.getMessage() for record in caplog.records] == ["another's"]


def test_no_plugin_gets_a_session_of_its_own() -> None:
    with pytest.raises(AttributeError):
        _ = transport.Requests().Session
    with pytest.raises(RuntimeError):
        transport.Requests().post("https://example.com/")
