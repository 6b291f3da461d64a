from __future__ import annotations

import pytest

from project import queues


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lanes whose bells were rung, instead of ringing them."""
    heard: list[str] = []
    monkeypatch.setattr(queues, "ring", lambda *lanes: heard.extend(sorted(lanes)))
    return heard
