"""Chat services' incoming webhooks: URLs that are address and credential in one."""

from __future__ import annotations

from collections.abc import Mapping

from yarl import URL

from apps.integrations import http, outside
from apps.integrations.contract import Message, Outcome, PermanentFailure
from apps.integrations.session import Answer, Session

# Our reference, where a service's format has no place for it: headers a server does not know it ignores.
TARGET, ATTEMPT = "Carillon-Target", "Carillon-Attempt"

NO_HEADERS: Mapping[str, str] = {}

DEAD = PermanentFailure("invalid_address", address_is_dead=True)
FORBIDDEN = PermanentFailure("forbidden_address")
# Who is refused is this one address, not our account, so no other message has to wait for anything.
BY_STATUS: dict[int, Outcome] = {
    401: PermanentFailure("unauthorized"),
    403: PermanentFailure("unauthorized"),
    404: DEAD,
    410: DEAD,
}


def by_status(status: int, headers: Mapping[str, str], body: bytes = b"") -> Outcome:
    """The outcome of an answer that was not understood as an acceptance: the URL is the credential."""
    return BY_STATUS.get(status) or http.by_status(status, headers, body)


def reference(message: Message) -> dict[str, str]:
    """The headers that carry our reference."""
    return {TARGET: str(message.target), ATTEMPT: str(message.attempt)}


class Hooks:
    """Posts JSON to hooks that people gave us: at the service's own hosts, or below `base_url`.

    A host is a name, or the end of names with its dot (".example.com"). `base_url`, if any, is another place
    that speaks the service's language. Nothing but the internet and the networks of `allow` ("10.1.0.0/16,
    fd12::/48") is connected to, also not below `base_url`. `timeout` is seconds. Raises ValueError for what
    is no network.
    """

    def __init__(self, *hosts: str, base_url: str, allow: str, timeout: float, connections: int) -> None:
        self._hosts = hosts
        self._base = URL(base_url.rstrip("/")) if base_url else None
        self._allowed = outside.networks(allow)
        self._session = Session(timeout, connections, connector=outside.connector(self._allowed))

    async def post(self, hook: str, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> Answer | Outcome:
        """POST this JSON to the hook; the answer, or the outcome without one."""
        sent = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "Carillon", **headers}
        try:
            url = outside.check_url(hook, self._allowed)
            return await self._session.post(url, body, sent) if self._serves(url) else FORBIDDEN
        except outside.Forbidden:
            return FORBIDDEN
        except Exception as error:
            return http.by_exception(error)

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._session.close()

    def _serves(self, url: URL) -> bool:
        host = url.raw_host or ""
        if url.scheme == "https" and url.is_default_port() and any(_within(host, one) for one in self._hosts):
            return True
        base = self._base
        return base is not None and url.origin() == base.origin() and _below(url.raw_path, base.raw_path)


def _within(host: str, of: str) -> bool:
    return host.endswith(of) if of.startswith(".") else host == of


def _below(path: str, base: str) -> bool:
    return path.startswith(base if base.endswith("/") else f"{base}/")
