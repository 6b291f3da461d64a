from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from apps.delivery import claims, providers
from apps.delivery.providers import Account
from apps.integrations import registry
from apps.integrations.contract import Accepted
from project import queues
from tests.support.adapters import Script, Scripted, accepting
from tests.support.receivers import KEY, ScriptedReceiver
from tests.support.vendor import KEY as VENDOR
from tests.support.vendor import Vendor, VendorReceiver

Install = Callable[..., Scripted]


def an_account(name: str = "scripted", **fields: Any) -> Account:
    """A provider of e-mail, unless the fields say otherwise."""
    return Account(**{"name": name, "adapter": name, "channel": "email"} | fields)


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    """No watermark and no moved clock from another test."""
    claims._marks.clear()
    providers.forget()
    yield
    if connection.connection is not None and not connection.in_atomic_block:
        connection.close()  # with its clock


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make every channel's provider one with this script."""

    def install(script: Script = accepting, **options: float) -> Scripted:
        scripted = Scripted(script, **options)
        monkeypatch.setattr(providers, "adapter_of", lambda account: scripted)
        monkeypatch.setattr(providers, "of_channel", lambda channel: [an_account(channel=channel)])
        return scripted

    return install


@pytest.fixture
def read_already(db: None) -> Iterator[None]:
    """The providers were read a moment ago, and will not be again during the test."""
    providers.of_channel("email")
    providers._known.until = float("inf")
    yield
    providers.forget()


@pytest.fixture
def before_start(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Let something happen between the claim and the start."""

    def install(happens: Callable[[], object]) -> None:
        real = claims.start

        def start(*arguments: Any) -> Any:
            happens()
            return real(*arguments)

        monkeypatch.setattr(claims, "start", start)

    return install


@pytest.fixture
def reporting(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[type[ScriptedReceiver]]:
    """A provider that reports, signed with the word "sesame"."""
    monkeypatch.setitem(registry.RECEIVERS, KEY, f"{ScriptedReceiver.__module__}.{ScriptedReceiver.__name__}")
    settings.RECEIPT_OPTIONS = {KEY: {"word": "sesame"}, "unconfigured": {"word": ""}}
    ScriptedReceiver.verified.clear()
    providers._receiver.cache_clear()
    yield ScriptedReceiver
    providers._receiver.cache_clear()


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lanes whose bells were rung, instead of ringing them."""
    heard: list[str] = []
    monkeypatch.setattr(queues, "ring", lambda *lanes: heard.extend(sorted(lanes)))
    return heard


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> type[Vendor]:
    """An adapter of SMS that takes a secret token and a sender, with a receiver."""
    monkeypatch.setitem(registry.ADAPTERS, VENDOR, f"{Vendor.__module__}.{Vendor.__name__}")
    monkeypatch.setitem(registry.RECEIVERS, VENDOR, f"{VendorReceiver.__module__}.{VendorReceiver.__name__}")
    monkeypatch.setattr(Vendor, "sent", [])
    monkeypatch.setattr(Vendor, "closed", 0)
    monkeypatch.setattr(Vendor, "answer", Accepted("id-1"))
    return Vendor
