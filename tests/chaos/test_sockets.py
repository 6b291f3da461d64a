"""A client of the chaos run: what it makes of frames, and what of them makes no sense."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

import pytest

from tests.chaos import habits
from tests.chaos.habits import Wish
from tests.chaos.inboxes import Item
from tests.chaos.sockets import Listener
from tests.support.inbox_copy import Copy

ID = UUID(int=7)
COUNTS = {"head": 1, "unread": 1, "unseen": 1}
STATE = dict.fromkeys(Item._fields[1:])
ITEM = {"id": str(ID), "sequence": 1, "actions": [{"id": "yes", "label": "Yes", "link": ""}], **STATE}
AT = "2026-11-20T08:00:00Z"


def event(type: str, number: int, **item: Any) -> dict[str, Any]:
    counts = COUNTS | {"head": number}
    return {"type": type, "sequence": number, "item": {"id": str(ID)} | item, "counts": counts}


@pytest.fixture
def listener() -> Listener:
    made = Listener(5, changes=True, connections=[[]])
    assert made.take(event("notification", 1, **ITEM))
    return made


def test_it_keeps_what_frames_say(listener: Listener) -> None:
    assert listener.take(event("changed", 2, **STATE | {"sequence": 1, "read_at": AT, "seen_at": AT}))
    had = listener.listened([dict(listener.copy.items[str(ID)])])
    assert had.items == had.by_rest and had.items[ID].read_at is not None
    assert (had.connections, had.shown, had.wrong) == ([[1, 2]], [(1, ID)], [])
    assert had.counts.head == listener.copy.last == 2
    assert listener.take(event("recalled", 3))
    assert listener.listened([]).items == {}


def test_a_change_of_what_never_came_is_wrong_unless_lists_were_read(listener: Listener) -> None:
    strange = event("changed", 2, **STATE | {"id": str(UUID(int=8))})
    listener.rereads = 1
    assert not listener.take(strange) and listener.wrong == []
    listener.rereads = 0
    assert listener.take(strange) and len(listener.wrong) == 1


def test_a_heartbeat_tells_what_is_missing(listener: Listener) -> None:
    listener.take({"type": "heartbeat", "head": 1, "counts": COUNTS})
    assert listener.wrong == []
    listener.take({"type": "heartbeat", "head": 2, "counts": COUNTS | {"head": 2}})
    assert len(listener.wrong) == 1


def test_an_ack_is_of_what_was_asked_for(listener: Listener) -> None:
    listener.asked["r1"] = Wish("read", ids=(str(ID),))
    ack = {"type": "ack", "ref": "r1", "changed": 1, "counts": COUNTS | {"head": 2}}
    listener.take(ack)
    (done,) = listener.done
    assert (done.user, done.kind, done.ids, done.changed, done.head) == (5, "read", (ID,), 1, 2)
    listener.take(ack)
    assert len(listener.wrong) == 1 and len(listener.done) == 1


@pytest.mark.parametrize(
    ("kind", "code", "is_wrong"),
    [
        ("act", "already_acted", False),
        ("act", "not_found", False),
        ("snooze", "invalid", False),
        ("read", "unavailable", False),
        ("read", "not_found", True),
        ("read", "invalid", True),
        ("read", "sequence_ahead", True),
        ("", "since_ahead", True),
    ],
)
def test_errors_that_have_no_reason_are_wrong(
    listener: Listener, kind: str, code: str, is_wrong: bool
) -> None:
    ref = {"ref": "r1"} if kind else {}
    listener.asked |= {"r1": Wish(kind, ids=(str(ID),))} if kind else {}
    listener.take({"type": "error", "code": code, "detail": "no", **ref})
    assert (bool(listener.wrong), listener.done) == (is_wrong, [])


def test_everything_is_wanted_at_some_time() -> None:
    copy, chance = Copy({str(ID): ITEM}, last=1), random.Random(1)
    wishes = [one for one in (habits.wish(copy, chance) for _ in range(500)) if one is not None]
    assert {one.kind for one in wishes} == {*habits.Kind, habits.ACT}
    assert all((one.ids is None) != (one.up_to is None) for one in wishes)
    assert {one.until is not None for one in wishes if one.kind == "snooze"} == {True}
    assert habits.wish(Copy(), chance) is None
