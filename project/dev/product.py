"""The product of bin/dev: a page with an inbox on it, and a form in place of what happens in a product.

    python -m project.dev.product --port 8005 --api http://127.0.0.1:8000 --sockets http://127.0.0.1:8001

It is a program of its own on an origin of its own, and knows Carillon as any product does: with an API key
(from the environment, CARILLON_KEY) that never leaves the server, and a token for whoever has logged in.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

PAGE = Path(__file__).parent / "page"
PEOPLE = ("ada", "grace")  # who the page offers to be; Carillon may know more
_CALLS = aiohttp.ClientTimeout(total=10)
_CARILLON = web.AppKey("carillon", aiohttp.ClientSession)
_PLACES = web.AppKey("places", argparse.Namespace)


def application(options: argparse.Namespace, key: str) -> web.Application:
    """The product's server."""
    app = web.Application()
    app[_PLACES] = options

    async def carillon(app: web.Application) -> AsyncIterator[None]:
        headers = {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession(options.api, headers=headers, timeout=_CALLS) as session:
            app[_CARILLON] = session
            yield

    app.cleanup_ctx.append(carillon)
    app.router.add_get("/", _page)
    app.router.add_get("/places", _places)
    app.router.add_post("/token", _token)
    app.router.add_post("/send", _send)
    app.router.add_static("/page/", PAGE)
    return app


async def _page(request: web.Request) -> web.StreamResponse:
    """With as strict a Content Security Policy as there is: the inbox needs no more."""
    places = request.app[_PLACES]
    sockets = places.sockets
    policy = {
        "default-src": "'none'",
        "script-src": f"'self' {places.api}",
        "style-src": "'self'",
        "img-src": "'self' data: https:",
        "connect-src": f"'self' {places.api} {sockets} {_websocket(sockets)}",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }
    header = "; ".join(f"{name} {value}" for name, value in policy.items())
    return web.FileResponse(PAGE / "index.html", headers={"Content-Security-Policy": header})


async def _places(request: web.Request) -> web.Response:
    """Where the page finds Carillon."""
    places = request.app[_PLACES]
    socket = f"{_websocket(places.sockets)}/ws/notifications/"
    return web.json_response({"api": places.api, "socket": socket, "people": PEOPLE})


def _websocket(url: str) -> str:
    return f"ws://{urlsplit(url).netloc}"


async def _token(request: web.Request) -> web.Response:
    """A token for the person who is logged in. A product takes them from its session, not from the page."""
    asked = await request.json()
    return await _call(request, "/api/tokens/", {"user": asked["person"], "expires_in": 600})


async def _send(request: web.Request) -> web.Response:
    """Hand a notification over, and pass on what Carillon answers."""
    return await _call(request, "/api/notifications/", await request.json())


async def _call(request: web.Request, path: str, body: object) -> web.Response:
    async with request.app[_CARILLON].post(path, json=body) as answer:
        return web.json_response(body=await answer.read(), status=answer.status)


def main() -> None:
    parser = argparse.ArgumentParser(prog="project.dev.product", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--api", required=True)
    parser.add_argument("--sockets", required=True)
    options = parser.parse_args()
    app = application(options, os.environ["CARILLON_KEY"])
    web.run_app(app, host="127.0.0.1", port=options.port, print=None, access_log=None)


if __name__ == "__main__":
    main()
