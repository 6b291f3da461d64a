"""One of the services apprise knows, as it sees it: a Mattermost server's incoming webhooks (mmost://).

https://developers.mattermost.com/integrate/webhooks/incoming/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import web

from apps.integrations.hooks import ATTEMPT, TARGET
from apps.integrations.simulator.answers import as_json
from apps.integrations.simulator.ledger import Entry
from apps.integrations.simulator.server import Dialect, Simulator

HOOK = re.compile(r"(/mattermost)/hooks/([\w-]+)")


class Mattermost(Dialect):
    """Answers "ok", or an error as https://developers.mattermost.com/api-documentation/ has it."""

    provider = "apprise"

    def accepted(self, entries: Sequence[Entry]) -> web.Response:
        return web.Response(text="ok")

    def refused(self, fault: str, entries: Sequence[Entry]) -> web.Response | None:
        if fault != "reject":
            return None
        return _error(400, "web.incoming_webhook.invalid.app_error", "Invalid webhook")

    def failed(self, status: int, headers: dict[str, str]) -> web.Response:
        return _error(status, "api.context.error", "Try again later", headers)


def register(simulator: Simulator) -> None:
    """Serve the webhooks of a Mattermost below /mattermost."""
    dialect = Mattermost()

    async def post(request: web.BaseRequest) -> web.Response:
        payload = _payload(await request.read())
        if not payload.get("text"):
            return _error(400, "web.incoming_webhook.text.app_error", "No text specified")
        return await simulator.answer(request, dialect, [_entry(request, payload)])

    simulator.routes.add([("POST", HOOK, post)])


def _payload(body: bytes) -> dict[str, Any]:
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return payload if isinstance(payload, dict) else {}


def _entry(request: web.BaseRequest, payload: dict[str, Any]) -> Entry:
    """The address is the apprise URL. apprise puts the subject above the text; nothing tells them apart."""
    found = HOOK.fullmatch(request.path)
    assert found is not None
    return {
        "channel": "chat",
        "id": "",
        "target": request.headers.get(TARGET, ""),
        "attempt": request.headers.get(ATTEMPT, ""),
        "address": f"mmost://{request.host}{found[1]}/{found[2]}",
        "subject": "",
        "text": payload["text"],
        "html": "",
    }


def _error(status: int, id: str, text: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"id": id, "message": text, "status_code": status}
    return as_json(body, status=status, headers=headers)
