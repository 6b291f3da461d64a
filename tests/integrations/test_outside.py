from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from apps.integrations import outside
from apps.integrations.outside import Forbidden, check_url, connector, networks, permits
from apps.integrations.session import Session

LOOPBACK = networks("127.0.0.0/8")

CLOSED = [
    *("0.0.0.0", "0.255.255.255", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200"),
    *("100.127.255.255", "127.0.0.1", "127.255.255.255", "168.63.129.16", "169.254.169.254", "172.16.0.1"),
    *("172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.31.196.1", "192.52.193.1"),
    *("192.88.99.1", "192.168.0.1", "192.168.255.255", "192.175.48.1", "198.18.0.1", "198.19.255.255"),
    *("198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *(
        "::",
        "::1",
        "::2",
        "::7f00:1",
        "100::1",
        "fc00::1",
        "fd00:ec2::254",
        "fdff::1",
        "fe80::1",
        "fe80::1%1",
    ),
    *("febf::1", "fec0::1", "feff::1", "ff02::1", "ff0e::1", "2001::1", "2001:0:7f00:1::", "2001:20::1"),
    *("2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "2620:4f:8000::1", "3fff::1", "4000::1", "5f00::1"),
    *("64:ff9b:1::1", "64:ff9b:1::808:808"),
]
OPEN = [
    *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255"),
    *("128.0.0.0", "168.63.129.17", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0"),
    *("192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255"),
    *("2000::1", "2001:200::1", "2001:4860:4860::8888", "2003::1", "2606:4700::1111", "2a00:1450::1"),
    "3ffe:ffff::1",
]
V4 = [address for address in CLOSED if ":" not in address]


@pytest.mark.parametrize("address", CLOSED)
def test_what_is_not_on_the_internet_is_closed(address: str) -> None:
    assert not permits(address)


@pytest.mark.parametrize("address", OPEN)
def test_what_is_next_to_it_is_open(address: str) -> None:
    assert permits(address)


@pytest.mark.parametrize("prefix", ["::ffff:", "0:0:0:0:0:ffff:", "64:ff9b::"])
@pytest.mark.parametrize("address", V4)
def test_ipv4_within_ipv6_is_judged_as_ipv4(prefix: str, address: str) -> None:
    assert not permits(prefix + address)
    assert permits(prefix + "8.8.8.8")


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0177.0.0.1", "2130706433", "8.8.8.8.", "8.8.8"])
def test_what_is_no_address_is_not_permitted(text: str) -> None:
    assert not permits(text)


def test_an_allowed_network_is_open_in_each_of_its_forms() -> None:
    allowed = networks("10.1.0.0/16, fd12::/48")
    assert (
        permits("10.1.2.3", allowed) and permits("::ffff:10.1.2.3", allowed) and permits("fd12::1", allowed)
    )
    assert not permits("10.2.0.1", allowed) and not permits("fd13::1", allowed)
    assert not permits("127.0.0.1", allowed)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "nowhere", "10.0.0.0/33"])
def test_networks_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        networks(text)
    assert networks("") == ()


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://example.com", "https://example.com"),
        ("https://Example.COM:443/A?b=c%20d", "https://example.com/A?b=c%20d"),
        ("https://bücher.example/ä", "https://xn--bcher-kva.example/%C3%A4"),
        ("https://a_b.example:8443/", "https://a_b.example:8443/"),
        ("https://example.com.:1024/", "https://example.com.:1024/"),
        ("https://8.8.8.8/", "https://8.8.8.8/"),
        ("https://[2606:4700::1111]:65535/", "https://[2606:4700::1111]:65535/"),
        ("https://example.com/" + "a" * 2_028, "https://example.com/" + "a" * 2_028),
    ],
)
def test_urls_that_may_be_called(url: str, normal: str) -> None:
    assert str(check_url(url)) == normal


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://example.com/", "scheme"),
        ("ftp://example.com/", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("//example.com/", "scheme"),
        ("", "scheme"),
        ("https://user@example.com/", "userinfo"),
        ("https://user:pass@example.com/", "userinfo"),
        ("https://@example.com/", "userinfo"),
        ("https://example.com@127.0.0.1/", "userinfo"),
        ("https:///path", "host"),
        ("https:example.com", "host"),
        ("https://a..b/", "host"),
        ("https://%31%32%37.0.0.1.example/", "host"),
        ("https://" + "a" * 64 + ".example/", "host"),
        ("https://" + "a." * 127 + "example/", "host"),
        ("https://example.com:22/", "port"),
        ("https://example.com:80/", "port"),
        ("https://example.com:0/", "port"),
        ("https://example.com:1023/", "port"),
        ("https://example.com:65536/", "url"),
        ("https://example.com:x/", "url"),
        ("https://example.com\\@127.0.0.1/", "url"),
        ("https://[::1/", "url"),
        ("https://exa mple.com/", "url"),
        (" https://example.com/", "url"),
        ("https://exam\nple.com/", "url"),
        ("https://example.com/a\tb", "url"),
        ("https://example.com/\x00", "url"),
        ("https://example.com/\ud800", "url"),
        ("https://example.com/#there", "fragment"),
        ("https://example.com/#", "fragment"),
        ("https://example.com/" + "a" * 2_029, "too_long"),
        ("https://example.com/" + "ä" * 400, "too_long"),
    ],
)
def test_urls_that_may_not(url: str, code: str) -> None:
    with pytest.raises(Forbidden) as refused:
        check_url(url)
    assert (refused.value.code, str(refused.value)) == (code, code)


SPELLINGS = [
    *("127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0x7f.1"),
    *("0177.0.0.1", "017700000001", "0x7F.0x0.0x0.0x1", "127.0.0.01", "１２７.0.0.1", "127。0。0。1"),
    *("①②⑦.⓪.⓪.①", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[fe80::1%25lo]"),
    *("[64:ff9b::7f00:1]", "169.254.169.254", "[fd00:ec2::254]", "0", "0x", "999.1.1.1", "1.2.3.4.5"),
]  # fmt: skip


@pytest.mark.parametrize("host", SPELLINGS)
def test_an_address_in_any_spelling(host: str) -> None:
    with pytest.raises(Forbidden, match=r"^address$"):
        check_url(f"https://{host}/")


def test_plain_http_is_for_allowed_networks() -> None:
    assert str(check_url("http://127.0.0.1:8025/x", LOOPBACK)) == "http://127.0.0.1:8025/x"
    assert str(check_url("http://[::ffff:127.0.0.1]/", LOOPBACK)) == "http://[::ffff:7f00:1]/"
    assert str(check_url("http://hooks.internal/", LOOPBACK)) == "http://hooks.internal/"
    for url, code in (("http://8.8.8.8/", "scheme"), ("http://10.0.0.1/", "address")):
        with pytest.raises(Forbidden, match=f"^{code}$"):
            check_url(url, LOOPBACK)


@dataclass
class Listener:
    """An HTTP server that counts who connected, and what they asked."""

    port: int = 0
    connections: int = 0
    requests: list[str] = field(default_factory=list)
    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head.decode())
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(host: str = "127.0.0.1", port: int = 0, tls: Any = None) -> AsyncIterator[Listener]:
    listener = Listener()
    server = await asyncio.start_server(listener.talk, host, port, ssl=tls)
    listener.port = server.sockets[0].getsockname()[1]
    async with server:
        yield listener


class Names(AbstractResolver):
    """Answers with one list after the other, then with the last."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in addresses
        ]

    async def close(self) -> None: ...


async def post(url: str, allowed: str = "", **options: Any) -> tuple[int, bytes]:
    """What a session with that connector gets."""
    session = Session(5.0, 10, connector=partial(connector(networks(allowed)), **options))
    try:
        answer = await session.post(url, b"{}", {})
        return answer.status, answer.body
    finally:
        await session.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost", "0x7f.1", "0.0.0.0"])
@pytest.mark.asyncio
async def test_nothing_connects_to_what_is_closed(host: str) -> None:
    async with listening() as server:
        with pytest.raises(Forbidden) as refused:
            await post(f"http://{host}:{server.port}/")
        assert str(refused.value) == "address"
        assert server.connections == 0


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0177.0.0.1"])
@pytest.mark.asyncio
async def test_nothing_connects_to_spellings_that_socket_would_read(host: str) -> None:
    async with listening() as server:
        with pytest.raises((Forbidden, aiohttp.InvalidURL)):
            await post(f"http://{host}:{server.port}/")
        assert server.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
@pytest.mark.asyncio
async def test_an_allowed_network_is_reached(host: str) -> None:
    async with listening() as server:
        assert await post(f"http://{host}:{server.port}/", "127.0.0.0/8, ::1/128") == (200, b"ok")
        assert server.connections == 1


@pytest.mark.asyncio
async def test_one_closed_answer_closes_them_all() -> None:
    async with listening("127.0.0.2") as server:
        for answers in (
            ["127.0.0.2", "10.0.0.1"],
            ["10.0.0.1", "127.0.0.2"],
            ["127.0.0.2", "::ffff:10.0.0.1"],
        ):
            with pytest.raises(Forbidden):
                await post(f"http://hook.example:{server.port}/", "127.0.0.2/32", resolver=Names(answers))
        assert server.connections == 0


@pytest.mark.asyncio
async def test_a_name_that_changes_its_mind_is_judged_again() -> None:
    names = Names(["127.0.0.2"], ["127.0.0.3"])
    async with listening("127.0.0.2") as first, listening("127.0.0.3", first.port) as second:
        make = partial(connector(networks("127.0.0.2/32")), resolver=names, use_dns_cache=False)
        session = Session(5.0, 10, connector=make)
        url = f"http://hook.example:{first.port}/"
        assert (await session.post(url, b"{}", {})).status == 200
        with pytest.raises(Forbidden):
            await session.post(url, b"{}", {})
        await session.close()
        assert names.asked == ["hook.example", "hook.example"]
        assert (first.connections, second.connections) == (1, 0)


@pytest.mark.asyncio
async def test_what_was_judged_is_what_gets_connected_to() -> None:
    names = Names(["127.0.0.2"], ["127.0.0.3"])
    async with listening("127.0.0.2") as first, listening("127.0.0.3", first.port) as second:
        url = f"http://hook.example:{first.port}/"
        assert (await post(url, "127.0.0.2/32", resolver=names))[0] == 200
        assert names.asked == ["hook.example"]
        assert (first.connections, second.connections) == (1, 0)


@pytest.mark.asyncio
async def test_the_peer_is_looked_at_should_all_else_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([True, False])  # of the socket, of the peer
    asked: list[str] = []

    def judge(address: str, _allowed: object) -> bool:
        asked.append(address)
        return next(answers)

    monkeypatch.setattr(outside, "permits", judge)
    async with listening() as server:
        with pytest.raises(Forbidden, match=r"^address$"):
            await post(f"http://127.0.0.1:{server.port}/")
        assert asked == ["127.0.0.1", "127.0.0.1"]
        assert server.requests == []


@pytest.mark.asyncio
async def test_plain_http_goes_to_allowed_networks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "permits", lambda _address, _allowed: True)  # as if this were the internet
    async with listening() as server:
        with pytest.raises(Forbidden, match=r"^scheme$"):
            await post(f"http://hook.example:{server.port}/", "10.0.0.0/8", resolver=Names(["127.0.0.1"]))
        assert server.requests == []


@pytest.mark.asyncio
async def test_redirects_are_not_followed() -> None:
    async with listening() as trap, listening() as server:
        there = f"http://127.0.0.1:{trap.port}/"
        server.answer = f"HTTP/1.1 307 Go\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n".encode()
        assert await post(f"http://127.0.0.1:{server.port}/", "127.0.0.0/8") == (307, b"")
        assert (server.connections, trap.connections) == (1, 0)


@pytest.mark.asyncio
async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as proxy, listening() as server:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert (await post(f"http://127.0.0.1:{server.port}/", "127.0.0.0/8"))[0] == 200
        with pytest.raises(Forbidden):
            await post(f"http://127.0.0.1:{server.port}/")
        assert (proxy.connections, server.connections) == (0, 1)


def certificate(name: str, folder: Path) -> Path:
    """A file with a key, and a certificate for that name that it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "server.pem"
    path.write_bytes(pem + signed.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.asyncio
async def test_tls_and_host_have_the_name(tmp_path: Path) -> None:
    pem = certificate("hook.example", tmp_path)
    ours, theirs = ssl.create_default_context(cafile=pem), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(pem)
    asked: list[str | None] = []
    theirs.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with listening(tls=theirs) as server:
        options = {"resolver": Names(["127.0.0.1"]), "ssl": ours}
        url = f"https://hook.example:{server.port}/"
        assert (await post(url, "127.0.0.0/8", **options))[0] == 200
        assert asked == ["hook.example"]
        assert f"Host: hook.example:{server.port}\r\n" in server.requests[0]
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await post(f"https://other.example:{server.port}/", "127.0.0.0/8", **options)
        assert len(server.requests) == 1
