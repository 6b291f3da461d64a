"""A guard for addresses that others gave us: webhook URLs, Web Push endpoints, chat hooks.

Whoever may name a URL makes us call it from within our network, where the databases and the cloud's metadata
service are. A name may lead elsewhere each time it is asked for, so what is judged is the very address that
gets connected to: https://owasp.org/www-community/attacks/Server_Side_Request_Forgery.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

LONGEST_URL = 2_048  # characters
LOWEST_PORT = 1_024  # but for the scheme's own: those below it belong to mail, files, logins …

Network = IPv4Network | IPv6Network

# Not on the internet, or not one host of it: https://www.iana.org/assignments/iana-ipv4-special-registry.
CLOSED = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier NAT; also a cloud's metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
        "169.254.0.0/16",  # link-local, which metadata is
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",  # documentation, as 198.51.100 and 203.0.113 are
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",
    )
)
# Of IPv6 only what IANA has given out: https://www.iana.org/assignments/ipv6-unicast-address-assignments.
# So ::1, fc00::/7, fe80::/10, fec0::/10, ff00::/8, 64:ff9b:1::/48 and all to come are closed.
UNICAST = IPv6Network("2000::/3")
CLOSED_6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocols, with Teredo (2001::/32), which has an IPv4 address inside
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, likewise
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
NAT64 = IPv6Network("64:ff9b::/96")  # https://www.rfc-editor.org/rfc/rfc6052#section-2.1

_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # a last label that makes a host an IPv4 address, to socket
_DROPPED = re.compile(r"[\x00-\x20\x7f\ud800-\udfff]")


class Forbidden(Exception):
    """An address that may not be called. `code` says what is wrong with it; nothing names the address."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def networks(text: str) -> tuple[Network, ...]:
    """Networks from "10.1.0.0/16, fd12::/48", as an option has them. Raises ValueError."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def permits(address: str, allowed: Sequence[Network] = ()) -> bool:
    """Whether this IP address is on the internet, or in one of these networks. Not a name: that is False."""
    try:
        ip = _unwrapped(ip_address(address))
    except ValueError:
        return False
    if _within(ip, allowed):
        return True
    if isinstance(ip, IPv4Address):
        return not _within(ip, CLOSED)
    return ip in UNICAST and not _within(ip, CLOSED_6)


def check_url(url: str, allowed: Sequence[Network] = ()) -> URL:
    """The URL to call, normalised. Raises Forbidden. Where a name leads is not asked here.

    It must be https, without user, password or fragment, at port 443 or from 1024 up, 2,048 characters at
    most. Plain http is for `allowed` networks: with a name, the connector sees to it.
    """
    parsed = _parsed(url)
    if parsed.scheme != "https" and not (parsed.scheme == "http" and allowed):
        raise Forbidden("scheme")
    _check_host((parsed.raw_host or "").lower(), parsed.scheme, allowed)
    if not (parsed.is_default_port() or (parsed.port or 0) >= LOWEST_PORT):
        raise Forbidden("port")
    return parsed


def connector(allowed: Sequence[Network] = ()) -> Callable[..., aiohttp.BaseConnector]:
    """For a `Session`: connects only to what is on the internet, or in these networks.

    A request to anywhere else raises Forbidden before any byte of it leaves. A name is asked for once; if
    any of its addresses is closed, all are refused, and what was judged is what gets connected to. TLS and
    Host have the name.
    """
    return partial(Connector, allowed)


class Connector(aiohttp.TCPConnector):
    """See `connector`."""

    def __init__(
        self, allowed: Sequence[Network], *, resolver: AbstractResolver | None = None, **options: Any
    ) -> None:
        guarded = Resolver(resolver or aiohttp.DefaultResolver(), allowed)
        super().__init__(resolver=guarded, socket_factory=self._socket, **options)
        self._allowed = allowed

    def _socket(self, info: Any) -> socket.socket:
        """A socket for this address. IP addresses in URLs come here without having met the resolver."""
        family, kind, protocol, _, address = info
        if not permits(address[0], self._allowed):
            raise Forbidden("address")
        return socket.socket(family, kind, protocol)

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
        """Look at who is on the other end, before the request goes to them."""
        protocol = await super()._create_connection(req, traces, timeout)
        try:
            _check_peer(protocol.transport, req.is_ssl(), self._allowed)
        except Forbidden:
            protocol.close()
            raise
        return protocol


class Resolver(AbstractResolver):
    """What another resolver answers, if all of it is permitted. Raises Forbidden."""

    def __init__(self, resolver: AbstractResolver, allowed: Sequence[Network]) -> None:
        self._resolver = resolver
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """See aiohttp."""
        answers = await self._resolver.resolve(host, port, family)
        if not all(permits(answer["host"], self._allowed) for answer in answers):
            raise Forbidden("address")
        return answers

    async def close(self) -> None:
        """See aiohttp."""
        await self._resolver.close()


def _check_peer(transport: Any, tls: bool, allowed: Sequence[Network]) -> None:
    peer = transport.get_extra_info("peername")[0] if transport is not None else ""
    if not permits(peer, allowed):
        raise Forbidden("address")
    if not tls and not _within(_unwrapped(ip_address(peer)), allowed):
        raise Forbidden("scheme")


def _parsed(url: str) -> URL:
    """Raises Forbidden. What parsers drop, each in places of its own, is refused."""
    if "#" in url:
        raise Forbidden("fragment")
    try:
        parsed, authority = URL(url), urlsplit(url).netloc
    except ValueError as error:
        raise Forbidden("url") from error
    if _DROPPED.search(url):
        raise Forbidden("url")
    if "@" in authority:
        raise Forbidden("userinfo")
    if len(str(parsed)) > LONGEST_URL:
        raise Forbidden("too_long")
    return parsed


def _check_host(host: str, scheme: str, allowed: Sequence[Network]) -> None:
    if ":" in host or _NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2]):
        if not permits(host, allowed):  # also an IPv4 address in any spelling but four decimals
            raise Forbidden("address")
        if scheme == "http" and not _within(_unwrapped(ip_address(host)), allowed):
            raise Forbidden("scheme")
    elif not _NAME.fullmatch(host):
        raise Forbidden("host")


def _unwrapped(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address within an IPv6 one, where it is the one that is reached."""
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return ip.ipv4_mapped
        if ip in NAT64:
            return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


def _within(ip: IPv4Address | IPv6Address, of: Sequence[Network]) -> bool:
    return any(ip in network for network in of)
