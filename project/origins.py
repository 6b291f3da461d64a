"""Which pages of other origins may call us: those in WEBSOCKET_ALLOWED_ORIGINS, by socket and over HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from corsheaders.signals import check_request_enabled
from django.conf import settings
from django.dispatch import receiver
from django.http import HttpRequest


def matches(origin: str, entries: Iterable[str]) -> bool:
    """Whether one of them is this origin, given in lower case.

    An entry is a host as in ALLOWED_HOSTS (`.example.com` with its subdomains), a whole origin, or `*`.
    """
    try:
        host = urlsplit(origin).hostname  # None of "null", which a sandboxed frame sends
    except ValueError:
        return False
    return host is not None and any(
        entry == "*" or (origin == entry if "://" in entry else _within(host, entry.strip("[]")))
        for entry in (entry.lower() for entry in entries)
    )


def _within(host: str, domain: str) -> bool:
    return host in (domain, domain.removeprefix(".")) or (domain.startswith(".") and host.endswith(domain))


@receiver(check_request_enabled)
def may_call(request: HttpRequest, **_: Any) -> bool:
    """Whether a page of another origin may read the answer: of what people call with their tokens."""
    origin = request.headers.get("origin", "").strip().lower()
    called = re.match(settings.CORS_URLS_REGEX, request.path_info)
    return called is not None and matches(origin, settings.WEBSOCKET_ALLOWED_ORIGINS)
