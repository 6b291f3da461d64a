from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.db import connection

from apps.delivery import claims, providers
from tests.support.adapters import Script, Scripted, accepting

Install = Callable[..., Scripted]


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    """No watermark and no moved clock from another test."""
    claims._watermarks.clear()
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
