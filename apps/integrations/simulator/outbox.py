"""A page on which a person reads what was accepted."""

from __future__ import annotations

from pathlib import Path

import orjson
from aiohttp import web

from apps.integrations.simulator.ledger import Ledger
from apps.integrations.simulator.routes import Handler, Route

STATIC = Path(__file__).parent / "static"
# Nothing from elsewhere and no inline scripts; inline styles are for the mails, which inherit this in
# their sandboxed frames, where no form is sent. The page sends one: to unsubscribe, to where a mail says.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "base-uri 'none'; form-action http: https:; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def routes(ledger: Ledger) -> list[Route]:
    """The page, its two files, and what it polls."""

    async def messages(request: web.BaseRequest) -> web.Response:
        found = [line for line in reversed(ledger.recent) if _wanted(line, request)]
        body = orjson.dumps({"accepted": ledger.seq, "channels": ledger.channels, "messages": found})
        return web.Response(body=body, content_type="application/json", headers=HEADERS)

    return [
        ("GET", "/", _file("outbox.html", "text/html")),
        ("GET", "/outbox.css", _file("outbox.css", "text/css")),
        ("GET", "/outbox.js", _file("outbox.js", "text/javascript")),
        ("GET", "/messages", messages),
    ]


def _wanted(line: dict[str, object], request: web.BaseRequest) -> bool:
    """By the query: `after` (a sequence number), `channel`, `address` (a part of one)."""
    query = request.query
    after, address = query.get("after", ""), query.get("address", "").strip().lower()
    return (
        (not after.isdecimal() or int(str(line["seq"])) > int(after))
        and query.get("channel", "") in ("", line["channel"])
        and address in str(line["address"]).lower()
    )


def _file(name: str, content_type: str) -> Handler:
    text = (STATIC / name).read_text()

    async def serve(_request: web.BaseRequest) -> web.Response:
        return web.Response(text=text, content_type=content_type, headers=HEADERS)

    return serve
