"""Requests read and answered in JSON."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web


def as_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer, in one buffer."""
    return web.Response(
        body=orjson.dumps(value), status=status, headers=headers, content_type="application/json"
    )


async def fields(request: web.BaseRequest) -> dict[str, Any]:
    """The object in the request's body. Raises what `bad` makes."""
    try:
        value = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise bad("not JSON") from error
    if not isinstance(value, dict):
        raise bad("not an object")
    return value


def bad(detail: str) -> web.HTTPBadRequest:
    """A 400 that says what is wrong."""
    return web.HTTPBadRequest(
        text=orjson.dumps({"title": "Bad request", "status": 400, "detail": detail}).decode(),
        content_type="application/problem+json",
    )
