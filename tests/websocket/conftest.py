from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.db import connections

from apps.websocket import hints
from apps.websocket.relay import close_relay


@pytest.fixture(autouse=True)
def quiet_catch_up(settings):
    """What arrives in a test arrives by a hint, unless the test is about the catch-up."""
    settings.WEBSOCKET_CATCH_UP_SECONDS = 3600.0
    settings.WEBSOCKET_ALLOWED_ORIGINS = ["localhost", "https://shop.example.com:8443", ".example.org"]


@pytest_asyncio.fixture(autouse=True)
async def no_relay_left(transactional_db, monkeypatch) -> AsyncIterator[None]:
    monkeypatch.setattr(hints, "ECHO_EVERY", 0.2)
    yield
    await close_relay()
    await sync_to_async(connections.close_all)()
