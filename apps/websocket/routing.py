"""The sockets' routes."""

from __future__ import annotations

from typing import Any

from django.urls import path, re_path

from apps.websocket.consumers import InboxConsumer


async def nowhere(scope: Any, receive: Any, send: Any) -> None:
    """HTTP 403. Channels' router would log a traceback for every path a scanner tries."""
    await receive()
    await send({"type": "websocket.close"})


urlpatterns = [path("ws/notifications/", InboxConsumer.as_asgi()), re_path(r"", nowhere)]  # type: ignore[arg-type]
