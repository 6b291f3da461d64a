"""apprise's plugins, loaded when first wanted and bound to our transport."""

from __future__ import annotations

import logging
import sys
import threading
from functools import cache
from typing import Any

import requests

from apps.integrations.apprise.transport import Requests, Trace

_loading = threading.Lock()


class Refused(Exception):
    """A URL that is not used; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def opened(url: str) -> Any:
    """The plugin of an apprise URL, for one message. Raises Refused.

    The first call of a process imports apprise with all its plugins, which takes a second or more.
    """
    with _loading:
        apprise, asset = _load()
    plugin = apprise.Apprise.instantiate(url, asset=asset)
    if plugin is None:
        raise Refused("invalid_address")
    if not isinstance(getattr(sys.modules[type(plugin).__module__], "requests", None), Requests):
        raise Refused("scheme_not_allowed")  # it has a way of its own into the network, or to this machine
    if _reads_files(plugin, apprise.AppriseAttachment):
        raise Refused("option_not_allowed")
    plugin.retry = 0  # len() counts retries; `notify` itself makes none
    if len(plugin) > 1:  # some of them might get it, and then again
        raise Refused("several_recipients")
    plugin.throttle = _no_wait
    return plugin


@cache
def _load() -> tuple[Any, Any]:
    """apprise, and its plugins' settings: nothing is written to disk or read there, no logos."""
    import apprise
    from apprise.plugins import N_MGR

    list(N_MGR.plugins())  # type: ignore[no-untyped-call]  # imports them
    ours = Requests()
    for name, module in list(sys.modules.items()):
        if name.startswith("apprise.") and getattr(module, "requests", None) is requests:
            module.requests = ours  # type: ignore[attr-defined]
    logging.getLogger("apprise").addFilter(_nothing)  # it logs URLs and texts; filters outlive changed levels
    logging.getLogger("urllib3.connectionpool").addFilter(_not_ours)  # paths, which have tokens in them
    memory = apprise.PersistentStoreMode.MEMORY
    names = ("app_desc", "app_url", "image_url_mask", "image_url_logo", "image_path_mask")
    empty: dict[str, Any] = dict.fromkeys(names, "")
    asset = apprise.AppriseAsset(storage_mode=memory, app_id="Carillon", http_redirects=False, **empty)
    return apprise, asset


def _reads_files(plugin: Any, attachment: Any) -> bool:
    """Whether an option (`template`) names a file, or a URL, of which the message would be made."""
    return any(isinstance(value, attachment) and len(value) for value in vars(plugin).values())


def _no_wait(*_arguments: Any, **_options: Any) -> None:
    """In the place of the plugin's own throttle, which sleeps. One message, one request."""


def _nothing(_record: logging.LogRecord) -> bool:
    return False


def _not_ours(_record: logging.LogRecord) -> bool:
    return Trace.current.get() is None
