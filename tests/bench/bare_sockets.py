"""The floor of the sockets: a bare Channels consumer, the message in the broadcast itself, nothing kept."""

from __future__ import annotations

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
_http = get_asgi_application()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter  # noqa: E402

EVERYBODY = "everybody"  # as in tests/bench/sockets.py, which is not imported: this is the server


class BareConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """In a group of its own, named by what stands where the token would, and in everybody's."""

    async def connect(self) -> None:
        bearer = self.scope["subprotocols"][-1].removeprefix("bearer.")
        await self.channel_layer.group_add(bearer, self.channel_name)
        await self.channel_layer.group_add(EVERYBODY, self.channel_name)
        await self.accept("carillon")
        await self.send("hello")

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """What one of a group says, all of it hear."""
        bearer = self.scope["subprotocols"][-1].removeprefix("bearer.")
        await self.channel_layer.group_send(bearer, {"type": "bare.message", "text": text_data})

    async def bare_message(self, message: dict[str, Any]) -> None:
        await self.send(message["text"])


application = ProtocolTypeRouter({"http": _http, "websocket": BareConsumer.as_asgi()})
