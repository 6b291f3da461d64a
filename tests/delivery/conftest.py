from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from apps.delivery import claims, providers
from apps.integrations import registry
from project import queues
from tests.support.adapters import Script, Scripted, accepting
from tests.support.receivers import KEY, ScriptedReceiver

Install = Callable[..., Scripted]


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    """No watermark and no moved clock from another test."""
    claims._marks.clear()
    yield
    if connection.connection is not None and not connection.in_atomic_block:
        connection.close()  # with its clock


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make every channel's provider one with this script."""

    def install(script: Script = accepting, **options: float) -> Scripted:
        scripted = Scripted(script, **options)
        monkeypatch.setattr(providers, "adapter_of", lambda channel: scripted)
        return scripted

    return install


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
