"""Which handler gets a request. aiohttp's own application and router take a fifth of the simulator's time."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Route = tuple[str, str | re.Pattern[str], Handler]  # method, the whole path, handler


class Routes:
    """A handler itself: of what has no other it says so."""

    def __init__(self) -> None:
        self._plain: dict[tuple[str, str], Handler] = {}
        self._patterns: list[tuple[str, re.Pattern[str], Handler]] = []

    def add(self, routes: Iterable[Route]) -> None:
        """Serve these too."""
        for method, path, handler in routes:
            if isinstance(path, str):
                self._plain[method, path] = handler
            else:
                self._patterns.append((method, path, handler))

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        handler = self._plain.get((request.method, request.path)) or self._matching(request)
        return await handler(request)

    def _matching(self, request: web.BaseRequest) -> Handler:
        for method, path, handler in self._patterns:
            if method == request.method and path.fullmatch(request.path):
                return handler
        raise web.HTTPNotFound
