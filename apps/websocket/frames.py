"""What clients are sent, over sockets and streams alike: docs/inbox-protocol.md, Frames from the server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

from apps.notifications.inbox_changes import Done
from apps.notifications.inbox_numbers import Counts
from apps.websocket.store import Event


def encode(frame: Any) -> str:
    """As it is sent."""
    return orjson.dumps(frame, option=orjson.OPT_UTC_Z).decode()


def hello(user_id: int, counts: Counts, *, until: float, reconnect_within: float) -> dict[str, Any]:
    """until: when the token or session ends, in seconds since 1970. reconnect_within: in seconds."""
    return {
        "type": "hello",
        "user": user_id,
        "head": counts.head,
        "counts": counts.as_json(),
        "expires_at": _moment(until),
        "reconnect_within": reconnect_within,
    }


def subscribed(since: int, counts: Counts) -> dict[str, Any]:
    """The answer to a `since`: also that it is ahead of the inbox."""
    if since > counts.head:
        detail = "since is after the last change. Read the inbox anew."
        return error("since_ahead", detail) | {"counts": counts.as_json()}
    return {"type": "subscribed", "since": since, "head": counts.head}


def authenticated(until: float) -> dict[str, Any]:
    """The answer to a new token. until: when it ends, in seconds since 1970."""
    return {"type": "authenticated", "expires_at": _moment(until)}


def event(one: Event, counts: Counts) -> str:
    """An item that came, changed or was recalled."""
    item: dict[str, Any] = {"id": one.id}
    kind = "recalled"
    if not one.is_recalled:
        kind, item = ("notification", one.whole()) if one.is_coming else ("changed", one.state())
    return encode({"type": kind, "sequence": one.number, "item": item, "counts": counts.as_json()})


def resync(counts: Counts) -> str:
    """Too much has changed to be sent one by one."""
    return encode({"type": "resync", "counts": counts.as_json()})


def heartbeat(counts: Counts, *, reconnect_within: float) -> str:
    """All up to the head of these counts was sent. reconnect_within: in seconds."""
    frame = {"type": "heartbeat", "head": counts.head, "counts": counts.as_json()}
    return encode(frame | {"reconnect_within": reconnect_within})


def ack(done: Done, *, ref: str | None) -> dict[str, Any]:
    """A change is committed. ref: the client's word for it."""
    return {"type": "ack", "ref": ref, "changed": done.changed, "counts": done.counts.as_json()}


def counts(standing: Counts, *, ref: str | None) -> dict[str, Any]:
    """The answer to `counts`, the numbers also under the names of older clients."""
    return {
        "type": "counts",
        "ref": ref,
        "counts": standing.as_json(),
        "unread_count": standing.unread,
        "unseen_count": standing.unseen,
    }


def error(code: str, detail: str, *, ref: str | None = None) -> dict[str, Any]:
    """`code` is stable; `detail` says to a person what is wrong. With `ref` if the message had one."""
    frame = {"type": "error", "code": code, "detail": detail}
    return frame if ref is None else frame | {"ref": ref}


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
