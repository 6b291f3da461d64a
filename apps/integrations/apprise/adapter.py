"""Discord, Telegram and the other services apprise knows: https://appriseit.com/services/."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from apps.integrations import outside
from apps.integrations.apprise import plugins
from apps.integrations.apprise.transport import Trace
from apps.integrations.contract import (
    Accepted,
    Message,
    OneAtATime,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.integrations.hooks import reference

# Services that are always reached at the same hosts, so no URL can lead elsewhere (a test looks where each of
# them connects to), and that refuse by their HTTP status or are understood by their plugin. Not so dingtalk,
# feishu, lark and wecombot: they refuse within a 200, which their plugins take for a success.
SCHEMES = "discord,gchat,groupme,line,pbul,pover,prowl,revolt,tgram,viber,webex,wxteams"


class AppriseAdapter(OneAtATime):
    """`batch_size` messages at once, each in a thread; the message's address is an apprise URL.

    `schemes` are the services it is used for, by the beginnings of their URLs, comma-separated; the default
    has services at fixed hosts only. One more that takes the host from the URL (mmost, ntfy, json …) lets
    whoever names an address call that host: guarded, but with the scheme's own format and credentials.
    `allow` has the networks that are connected to although they are not on the internet, as
    "10.1.0.0/16, fd12::/48". `timeout` is seconds, for all requests of a message together.
    """

    key = "apprise"
    channel = "chat"
    kinds = frozenset({"apprise"})

    def __init__(
        self, *, schemes: str = SCHEMES, allow: str = "", timeout: float = 10.0, batch_size: int = 16
    ) -> None:
        self.timeout = timeout
        self.batch_size = batch_size
        self._schemes = {scheme.strip().lower() for scheme in schemes.split(",")}
        self._allowed = outside.networks(allow)
        self._threads = ThreadPoolExecutor(batch_size, thread_name_prefix="apprise")

    async def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False)

    async def send(self, message: Message) -> Outcome:
        """See the contract. apprise tells no id."""
        scheme, separator, _ = message.address.partition("://")
        if not separator or scheme.lower() not in self._schemes:
            return PermanentFailure("scheme_not_allowed")
        if not _sendable(message):
            return PermanentFailure("invalid_content")
        trace = Trace(reference(message), timeout=self.timeout, allowed=self._allowed)
        call = asyncio.get_running_loop().run_in_executor(self._threads, _deliver, message, trace)
        try:
            return await asyncio.wait_for(call, self.timeout + 0.2)  # the trace times out first
        except TimeoutError:
            trace.give_up()
            return UnknownOutcome("timeout") if trace.left else TemporaryFailure("unreachable")


def _sendable(message: Message) -> bool:
    """Whether there is something in it, and that Unicode."""
    try:
        return bool((message.subject + message.text).encode().strip())
    except UnicodeEncodeError:
        return False


def _deliver(message: Message, trace: Trace) -> Outcome:
    """In a thread. What a plugin raises, it raises instead of saying False."""
    try:
        # "upstream": whole, and not in pieces of which some might be taken.
        plugin = plugins.opened(message.address)
        parts = {"title": message.subject, "body_format": "text", "overflow": "upstream"}
        taken = trace.follow(partial(plugin.notify, message.text, **parts))
    except plugins.Refused as refusal:
        return PermanentFailure(refusal.code)
    except Exception:
        taken = False
    return Accepted() if taken and trace.left else trace.failure()
