from __future__ import annotations

import pytest

from apps.notifications import inbox
from project import queues


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lanes whose bells were rung, instead of ringing them."""
    heard: list[str] = []
    monkeypatch.setattr(queues, "ring", lambda *lanes: heard.extend(sorted(lanes)))
    return heard


@pytest.fixture
def hinted(monkeypatch: pytest.MonkeyPatch) -> list[dict[int, int]]:
    """The heads the socket servers are told, instead of telling them."""
    found: list[dict[int, int]] = []
    monkeypatch.setattr(inbox, "hint", lambda heads: found.append(dict(heads)))
    return found
