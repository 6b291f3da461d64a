"""What a person does with their inbox while they look at it: reads, archives, snoozes, presses a button."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from apps.notifications.inbox_changes import Kind
from tests.chaos.inboxes import Done
from tests.support.inbox_copy import Copy

ACT = "act"
FEW = 5  # items at once
SNOOZED = (3, 12)  # seconds, so that they come back within the run
LAZY = 0.15  # of all changes: everything up to a number


class Wish(NamedTuple):
    """A change of one's inbox: either of `ids` or of all `up_to` a number."""

    kind: str
    ids: tuple[str, ...] | None = None
    up_to: int | None = None
    until: datetime | None = None
    action: str = ""

    def message(self, ref: str) -> dict[str, Any]:
        """As the socket takes it."""
        if self.kind == ACT and self.ids:
            return {"type": ACT, "ref": ref, "id": self.ids[0], "action": self.action}
        return {"type": self.kind, "ref": ref} | self.body()

    def body(self) -> dict[str, Any]:
        """As the API takes it, but for `act`."""
        until = {"until": self.until.isoformat()} if self.until else {}
        return until | ({"up_to": self.up_to} if self.ids is None else {"ids": list(self.ids)})

    def done(self, user: int, answer: Mapping[str, Any]) -> Done:
        """That it was acknowledged."""
        ids = None if self.ids is None else tuple(map(UUID, self.ids))
        changed, head = answer["changed"], answer["counts"]["head"]
        return Done(user, self.kind, changed, head, ids, self.up_to, self.until, self.action)


def wish(copy: Copy, chance: random.Random) -> Wish | None:
    """One of what can be wanted of these items; None if there are none."""
    if not copy.items:
        return None
    buttons = [(id, one["id"]) for id, item in copy.items.items() for one in item["actions"]]
    if buttons and chance.random() < LAZY:
        id, action = chance.choice(buttons)
        return Wish(ACT, ids=(id,), action=action)
    kind = chance.choice(list(Kind))
    until = datetime.now(UTC) + timedelta(seconds=chance.uniform(*SNOOZED)) if kind is Kind.SNOOZE else None
    if chance.random() < LAZY:
        return Wish(kind, up_to=chance.randint(0, copy.last), until=until)
    ids = chance.sample(list(copy.items), min(FEW, len(copy.items), chance.randint(1, FEW)))
    return Wish(kind, ids=tuple(ids), until=until)
