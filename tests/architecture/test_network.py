"""No network inside a transaction: what opens transactions cannot reach a provider, and vice versa."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.architecture.sources import imported, modules, text

CLIENTS = {
    *("aiohttp", "aiosmtplib", "firebase_admin", "ftplib", "grpc", "http.client", "httpx", "pycurl"),
    *("requests", "sendgrid", "smtplib", "socket", "twilio", "urllib.request", "urllib3", "websockets"),
    *("django.core.mail", "apps.integrations.http", "apps.integrations.registry"),
}
# A worker's name has its host's name in it; nothing is sent.
HARMLESS = {("apps/delivery/claims.py", "socket")}
_OPENS = re.compile(r"\b(?:one_transaction|transaction\.atomic|atomic)\s*\(|@(?:transaction\.)?atomic\b")


def clients(source: str) -> set[str]:
    return {
        client
        for client in CLIENTS
        for name in imported(source)
        if name == client or name.startswith(f"{client}.")
    }


def opens_transactions(source: str) -> bool:
    return _OPENS.search(source) is not None


@pytest.mark.parametrize(
    "path", [path for path in modules("apps") if opens_transactions(text(path))], ids=str
)
def test_what_opens_transactions_has_no_client_at_hand(path: Path) -> None:
    assert {client for client in clients(text(path)) if (str(path), client) not in HARMLESS} == set()


@pytest.mark.parametrize("path", modules("apps/integrations"), ids=str)
def test_what_talks_to_providers_has_no_database_and_no_settings_at_hand(path: Path) -> None:
    forbidden = ("django.db", "django.conf", "django.apps")
    reached = {name for name in imported(text(path)) if name.startswith(forbidden)}
    assert reached == set() and not opens_transactions(text(path))


def test_the_modules_in_question_are_found() -> None:
    opening = {str(path) for path in modules("apps") if opens_transactions(text(path))}
    assert {"apps/delivery/engine.py", "apps/delivery/claims.py", "apps/notifications/intake.py"} <= opening
    assert clients("def f():\n    from twilio.rest import Client") == {"twilio"}
    assert clients("import urllib.parse, asyncio") == set()
    assert opens_transactions("with db.one_transaction():") and opens_transactions("@transaction.atomic\n")
