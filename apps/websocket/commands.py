"""What people do with their items over a socket, and the answers."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from django.db import Error as DatabaseError
from pydantic import BaseModel, ConfigDict, ValidationError

from apps.notifications import inbox_changes, inbox_numbers
from apps.notifications.inbox_changes import Kind
from apps.notifications.inbox_schemas import change_of
from apps.websocket import frames
from apps.websocket.messages import BadMessage
from apps.websocket.relay import Relay
from project.api import field_errors

logger = logging.getLogger(__name__)
Frame = dict[str, Any]

MAX_UNANSWERED = 16  # commands of one socket
_NAMED = 3  # ids or fields that an error names
_DETAIL = 500  # characters: names of fields are the client's
_OTHER_NAMES = {**inbox_changes.OTHER_NAMES, "unread_count": "counts"}
_TYPES = {*Kind, "act", "counts", *_OTHER_NAMES}


def is_command(type: str) -> bool:
    """Whether messages of this type are commands."""
    return type in _TYPES


class Commands:
    """One socket's: carried out in order, each answered. Its methods are plain calls from the event loop."""

    def __init__(self, user_id: int, relay: Relay, answer: Callable[[Frame], Awaitable[None]]) -> None:
        self._user_id = user_id
        self._relay = relay
        self._answer = answer
        self._unanswered: deque[Frame] = deque()
        self._may_start = False
        self._task: asyncio.Task[None] | None = None

    def add(self, message: Frame) -> bool:
        """Carry this out when those before it are answered. False if too many are not."""
        if len(self._unanswered) >= MAX_UNANSWERED:
            return False
        self._unanswered.append(message)
        self._start()
        return True

    def start(self) -> None:
        """From now on: it is known that the person may."""
        self._may_start = True
        self._start()

    def _start(self) -> None:
        if self._may_start and self._task is None and self._unanswered:
            self._task = asyncio.create_task(self._carry_out())

    async def _carry_out(self) -> None:
        """Goes on when the socket is closed: what was sent before that is done."""
        while self._unanswered:
            message = self._unanswered[0]
            frame = await self._relay.writers.run(answer_to, self._user_id, message)
            if counts := frame.get("counts"):
                self._relay.moved(self._user_id, counts["head"])  # the hint comes too, unless Redis is away
            try:
                await self._answer(frame)
            except Exception as error:  # the connection is gone; the server is about to say so
                logger.info("not answered", extra={"user": self._user_id, "error": type(error).__name__})
            self._unanswered.popleft()
        self._task = None


def answer_to(user_id: int, message: Frame) -> Frame:
    """Do what the message asks for, and commit. The frame that answers it."""
    try:
        return _done(user_id, message)
    except Exception as error:
        if (told := _told(error)) is None:
            expected = isinstance(error, DatabaseError)  # whose words may repeat the row: not into the log
            extra = {"user": user_id, "error": type(error).__name__}
            logger.warning("inbox not changed", extra=extra, exc_info=not expected)
            told = "unavailable", "The database did not answer. Send it again."
        return frames.error(*told, ref=message.get("ref"))


def _done(user_id: int, message: Frame) -> Frame:
    name: str = message["type"]
    kind = _OTHER_NAMES.get(name, name)
    fields = {name: value for name, value in message.items() if name not in ("type", "ref")}
    if kind == "counts":
        return frames.counts(inbox_numbers.counts_of(user_id), ref=message.get("ref"))
    if kind == "act":
        pressed = Act.model_validate(fields)
        done = inbox_changes.act(user_id, pressed.id, pressed.action)
    else:
        done = inbox_changes.change(user_id, change_of(Kind(kind), _with_ids(fields)))
    return frames.ack(done, ref=message.get("ref"))


class Act(BaseModel):
    """A button of an item that was pressed."""

    model_config = ConfigDict(extra="forbid")

    id: UUID
    action: str


def _with_ids(fields: Frame) -> Frame:
    """`id` is another way to say `ids`, of one."""
    one = fields.pop("id", None)
    if one is None:
        return fields
    if fields.get("ids") is not None:
        raise BadMessage("invalid", "ids: Send ids or id, not both.")
    return fields | {"ids": [one]}


def _told(error: Exception) -> tuple[str, str] | None:
    """The code and the detail, unless the fault is ours."""
    match error:
        case BadMessage():
            told = error.code, str(error)
        case ValidationError():
            wrong = [f"{one['field']}: {one['detail']}" for one in field_errors(error)]
            told = "invalid", " ".join(wrong[:_NAMED])[:_DETAIL]
        case inbox_changes.UnknownItems():
            ids = ", ".join(map(str, error.ids[:_NAMED]))
            told = "not_found", f"No item of yours has {len(error.ids)} of these ids: {ids}."
        case inbox_changes.NoSuchAction():
            told = "not_found", "The item has no such action."
        case inbox_changes.SequenceAhead():
            told = "sequence_ahead", f"The last number given out is {error.head}."
        case inbox_changes.AlreadyActed():
            told = "already_acted", f"The action {error.action} was taken before."
        case _:
            return None
    return told
