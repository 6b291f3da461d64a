"""Frames as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import random
from typing import Any

import orjson

from apps.websocket.messages import Close


def event_of(frame: str, *, goes_on: bool) -> bytes:
    """A frame (JSON, in which no line ends) as an event.

    goes_on: the stream began from a number that the client had, so what `hello` says is no place of it yet.
    """
    known = orjson.loads(frame)
    lines = [f"event: {known['type']}"]
    if (place := _place_of(known, goes_on=goes_on)) is not None:
        lines.append(f"id: {place}")
    if (within := known.get("reconnect_within")) is not None:
        lines.append(_retry(within))
    return "\n".join([*lines, f"data: {frame}", "", ""]).encode()


def close_event(code: Close) -> bytes:
    """The last event: why it ends."""
    return event_of(orjson.dumps({"type": "close", "code": int(code)}).decode(), goes_on=True)


def opening(reconnect_within: float) -> bytes:
    """What comes first, before any event: when to come back if the stream ends."""
    return f"{_retry(reconnect_within)}\n\n".encode()


def _retry(within: float) -> str:
    """By chance, so that not all come back together; after a second at least: a browser tries for ever."""
    seconds = random.uniform(min(1.0, within), within)  # noqa: S311
    return f"retry: {round(seconds * 1000)}"


def _place_of(frame: dict[str, Any], *, goes_on: bool) -> Any:
    """Up to which number a client that has this frame has everything; a browser comes back with the last one.

    None: it says nothing about that.
    """
    match frame["type"]:
        case "hello":
            return None if goes_on else frame["head"]
        case "heartbeat":
            return frame["head"]
        case "resync" | "error":  # since_ahead, that is: no other error has counts
            return frame["counts"]["head"] if "counts" in frame else None
    return frame.get("sequence")
