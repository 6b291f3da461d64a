"""Slack, as its clients see it: incoming webhooks and chat.postMessage.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
https://docs.slack.dev/reference/methods/chat.postMessage
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web

from apps.integrations.simulator.answers import as_json
from apps.integrations.simulator.ledger import Entry
from apps.integrations.simulator.server import Dialect, Simulator

WEBHOOK = re.compile(r"/services/T\w+/B\w+/[\w+-]+")
METHOD = "/api/chat.postMessage"
CONVERSATION = re.compile(r"[CDGU][A-Z0-9]+")
SUBJECT = re.compile(r"\*([^\n]+)\*(?:\n|$)")
LONGEST = 40_000  # characters
ESCAPES = {"&lt;": "<", "&gt;": ">", "&amp;": "&"}


class Webhook(Dialect):
    """Answers in single words."""

    provider = "slack_webhook"

    def accepted(self, entries: Sequence[Entry]) -> web.Response:
        return _word(200, "ok")

    def refused(self, fault: str, entries: Sequence[Entry]) -> web.Response | None:
        return _word(404, "no_service") if fault == "reject" else None

    def failed(self, status: int, headers: dict[str, str]) -> web.Response:
        return _word(429, "rate_limited", headers) if status == 429 else _word(500, "rollup_error")


class WebApi(Dialect):
    """Answers 200 with `ok`, also where it is not."""

    provider = "slack"

    def accepted(self, entries: Sequence[Entry]) -> web.Response:
        channel, _, ts = entries[0]["id"].partition(":")
        return as_json({"ok": True, "channel": channel, "ts": ts, "message": {"type": "message", "ts": ts}})

    def refused(self, fault: str, entries: Sequence[Entry]) -> web.Response | None:
        return _error("channel_not_found") if fault == "reject" else None

    def failed(self, status: int, headers: dict[str, str]) -> web.Response:
        word = "ratelimited" if status == 429 else "service_unavailable"
        return as_json({"ok": False, "error": word}, status=status, headers=headers)


def register(simulator: Simulator) -> None:
    """Serve both ways in."""
    webhook, web_api = Webhook(), WebApi()

    async def hook(request: web.BaseRequest) -> web.Response:
        payload = _payload(await request.read())
        if payload is None:
            return _word(400, "invalid_payload")
        if not payload.get("text"):
            return _word(400, "no_text")
        address = f"{request.scheme}://{request.host}{request.rel_url}"
        return await simulator.answer(request, webhook, [_entry(payload, address, id="")])

    async def post_message(request: web.BaseRequest) -> web.Response:
        if not re.fullmatch(r"Bearer xox[bp]-\S+", request.headers.get("Authorization", "")):
            return _error("invalid_auth")
        payload = _payload(await request.read())
        if word := _refusal(payload or {}):
            return _error(word)
        assert payload is not None
        channel = payload["channel"]
        id = f"{channel}:{time.time():.6f}"
        return await simulator.answer(request, web_api, [_entry(payload, channel, id=id)])

    simulator.routes.add([("POST", WEBHOOK, hook), ("POST", METHOD, post_message)])


def _payload(body: bytes) -> dict[str, Any] | None:
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return payload if isinstance(payload, dict) else None


def _refusal(payload: Mapping[str, Any]) -> str:
    """The word for a payload in which something is missing or wrong; "" if nothing is."""
    if not CONVERSATION.fullmatch(str(payload.get("channel", ""))):
        return "channel_not_found"
    if not payload.get("text"):
        return "no_text"
    return "msg_too_long" if len(payload["text"]) > LONGEST else ""


def _entry(payload: Mapping[str, Any], address: str, *, id: str) -> Entry:
    subject, text = _parts(payload["text"])
    reference = payload.get("metadata", {}).get("event_payload", {})
    return {
        "channel": "chat",
        "id": id,
        "target": reference.get("target", ""),
        "attempt": reference.get("attempt", ""),
        "address": address,
        "subject": subject,
        "text": text,
        "html": "",
    }


def _parts(marked_up: str) -> tuple[str, str]:
    """Subject and text, as a person reads them."""
    for escape, character in ESCAPES.items():
        marked_up = marked_up.replace(escape, character)
    found = SUBJECT.match(marked_up)
    return (found[1], marked_up[found.end() :]) if found else ("", marked_up)


def _word(status: int, word: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=word, headers=headers)


def _error(word: str) -> web.Response:
    return as_json({"ok": False, "error": word})
