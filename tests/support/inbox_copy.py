"""A client's own copy of its inbox, kept by the frames alone as docs/inbox-protocol.md says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

EVENTS = ("notification", "changed", "recalled")


class Unexpected(Exception):
    """A frame that a client cannot make sense of."""


@dataclass
class Copy:
    """The items by id, without recalled ones; the last number that was applied; the latest counts."""

    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    last: int = 0
    counts: Mapping[str, int] = field(default_factory=lambda: {"head": 0, "unread": 0, "unseen": 0})

    def apply(self, frame: Mapping[str, Any]) -> None:
        """One frame, whatever it is. Raises Unexpected for a change of an item that it does not have."""
        if "counts" in frame:
            self.count(frame["counts"])
        if frame["type"] not in EVENTS:
            return
        item = frame["item"]
        if frame["type"] == "notification":
            self.items[item["id"]] = dict(item)
        elif frame["type"] == "recalled":
            self.items.pop(item["id"], None)
        elif item["id"] in self.items:
            self.items[item["id"]] |= item
        else:
            raise Unexpected(f"{item['id']} changed with {frame['sequence']}, and never came")
        self.last = frame["sequence"]

    def count(self, counts: Mapping[str, int]) -> None:
        """Counts from anywhere."""
        if counts["head"] >= self.counts["head"]:
            self.counts = counts

    def read_anew(self, items: Iterable[Mapping[str, Any]], counts: Mapping[str, int]) -> None:
        """Start from a list that was read, after counts that were read before it."""
        self.items = {item["id"]: dict(item) for item in items}
        self.last = counts["head"]
        self.count(counts)

    def twin(self) -> Copy:
        """The same, to go on by itself."""
        return Copy({id: dict(item) for id, item in self.items.items()}, self.last, self.counts)
