"""A Teams workflow's trigger, as its callers see it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import web

from apps.integrations.hooks import ATTEMPT, TARGET
from apps.integrations.simulator.answers import as_json
from apps.integrations.simulator.ledger import Entry
from apps.integrations.simulator.server import Dialect, Simulator

TRIGGER = re.compile(r"(?:/powerautomate/automations/direct)?/workflows/[\w+-]+/triggers/manual/paths/invoke")
CARD = "application/vnd.microsoft.card.adaptive"


class Workflow(Dialect):
    """Answers as https://learn.microsoft.com/azure/logic-apps/logic-apps-http-endpoint has them."""

    provider = "teams"

    def accepted(self, entries: Sequence[Entry]) -> web.Response:
        return web.Response(status=202, headers={"x-ms-workflow-run-id": entries[0]["id"]})

    def refused(self, fault: str, entries: Sequence[Entry]) -> web.Response | None:
        if fault != "reject":
            return None
        return _error(404, "WorkflowNotFound", "The workflow could not be found.")

    def failed(self, status: int, headers: dict[str, str]) -> web.Response:
        code = "ResourceRequestsThrottled" if status == 429 else "ServiceUnavailable"
        return _error(status, code, "", headers)


def register(simulator: Simulator) -> None:
    """Serve any workflow's trigger whose URL is signed."""
    dialect = Workflow()

    async def invoke(request: web.BaseRequest) -> web.Response:
        if not request.query.get("sig"):
            return _error(401, "DirectApiAuthorizationRequired", "The request must be authenticated.")
        try:
            blocks = _blocks(orjson.loads(await request.read()))
        except (ValueError, TypeError, KeyError):
            return _error(400, "TriggerInputSchemaMismatch", "The input body is not as it should be.")
        return await simulator.answer(request, dialect, [_entry(request, blocks)])

    simulator.routes.add([("POST", TRIGGER, invoke)])


def _blocks(payload: Any) -> list[dict[str, Any]]:
    """The card's blocks. Raises what a payload of another shape makes it raise."""
    [attachment] = payload["attachments"]
    card = attachment["content"]
    if (payload["type"], attachment["contentType"], card["type"]) != ("message", CARD, "AdaptiveCard"):
        raise ValueError("not a message with a card")
    blocks: list[dict[str, Any]] = card["body"]
    if not all(block["type"] == "TextBlock" and block["text"] for block in blocks):
        raise ValueError("not a text")
    return blocks


def _entry(request: web.BaseRequest, blocks: Sequence[dict[str, Any]]) -> Entry:
    subject = "".join(block["text"] for block in blocks if block.get("weight") == "Bolder")
    lines = [block for block in blocks if block.get("weight") != "Bolder"]
    text = "".join(("\n" if "spacing" in block else "\n\n") + block["text"] for block in lines)
    return {
        "channel": "chat",
        "id": secrets.token_hex(16).upper(),
        "target": request.headers.get(TARGET, ""),
        "attempt": request.headers.get(ATTEMPT, ""),
        "address": f"{request.scheme}://{request.host}{request.rel_url}",
        "subject": subject,
        "text": text.lstrip("\n"),
        "html": "",
    }


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"error": {"code": code, "message": message}}
    return as_json(body, status=status, headers=headers)
