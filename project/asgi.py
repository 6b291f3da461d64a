"""Sockets and streams, for Daphne. It serves all of HTTP, slowly: the API's own server is project.wsgi's."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
_django = get_asgi_application()  # before the imports below: they need the apps loaded

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.sessions import SessionMiddlewareStack  # noqa: E402
from django.urls import path, re_path  # noqa: E402

from apps.websocket.flow import Backpressure  # noqa: E402
from apps.websocket.routing import urlpatterns  # noqa: E402
from apps.websocket.stream import inbox_stream  # noqa: E402

_stream = Backpressure(SessionMiddlewareStack(inbox_stream))
_http = [path("api/inbox/stream/", _stream), re_path(r"", _django)]  # type: ignore[arg-type]

application = ProtocolTypeRouter(
    {
        "http": URLRouter(_http),
        "websocket": Backpressure(SessionMiddlewareStack(URLRouter(urlpatterns))),
    }
)
