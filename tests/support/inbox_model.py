"""What an inbox is, in plain Python: the lists, numbers and counts that the real one must have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from apps.notifications.inbox_changes import Change, Kind
from apps.notifications.inbox_numbers import Counts


@dataclass
class Item:
    sequence: int
    change: int = 0
    seen: bool = False
    read: bool = False
    archived: bool = False
    snoozed_until: datetime | None = None
    action: str = ""
    recalled: bool = False

    @property
    def in_inbox(self) -> bool:
        return not (self.archived or self.snoozed_until or self.recalled)

    @property
    def number(self) -> int:
        return max(self.sequence, self.change)


@dataclass
class Inbox:
    """One person's."""

    head: int = 0
    items: dict[UUID, Item] = field(default_factory=dict)

    @property
    def counts(self) -> Counts:
        shown = [item for item in self.items.values() if item.in_inbox]
        unread, unseen = sum(not item.read for item in shown), sum(not item.seen for item in shown)
        return Counts(self.head, unread, unseen)

    def deliver(self, ids: Iterable[UUID]) -> None:
        for id in sorted(ids):
            self.items[id] = Item(self._next())

    def change(self, wanted: Change) -> int:
        """How many items it makes a difference to."""
        there = [item for item in self._chosen(wanted) if not item.recalled]
        changed = [item for item in there if _makes_a_difference(wanted, item)]
        for item in sorted(changed, key=lambda one: one.sequence):
            self._do(wanted, item)
        return len(changed)

    def act(self, id: UUID, action: str) -> int:
        """Press a button that the item has, for the first time or again."""
        item = self.items[id]
        if item.action:
            return 0
        item.action, item.read, item.seen, item.change = action, True, True, self._next()
        return 1

    def recall(self, ids: Iterable[UUID]) -> int:
        gone = [self.items[id] for id in ids if not self.items[id].recalled]
        for item in sorted(gone, key=lambda one: one.sequence):
            item.recalled, item.snoozed_until, item.change = True, None, self._next()
        return len(gone)

    def come_back(self, now: datetime) -> int:
        """Those that were snoozed until now."""
        due = [one for one in self.items.values() if one.snoozed_until and one.snoozed_until <= now]
        for item in sorted(due, key=lambda one: one.sequence):
            self._come_back(item)
        return len(due)

    def _next(self) -> int:
        self.head += 1
        return self.head

    def _chosen(self, wanted: Change) -> Sequence[Item]:
        if wanted.ids is not None:
            return [self.items[id] for id in set(wanted.ids)]
        everywhere = wanted.kind in (Kind.UNARCHIVE, Kind.UNSNOOZE)
        low = [item for item in self.items.values() if item.sequence <= (wanted.up_to or 0)]
        return [item for item in low if everywhere or item.in_inbox]

    def _do(self, wanted: Change, item: Item) -> None:
        match wanted.kind:
            case Kind.READ:
                item.read = item.seen = True
            case Kind.UNREAD:
                item.read = False
            case Kind.SEEN:
                item.seen = True
            case Kind.ARCHIVE:
                item.archived, item.snoozed_until = True, None
            case Kind.UNARCHIVE:
                item.archived = False
            case Kind.SNOOZE:
                item.archived, item.snoozed_until = False, wanted.until
            case Kind.UNSNOOZE:
                self._come_back(item)
                return
        item.change = self._next()

    def _come_back(self, item: Item) -> None:
        item.read = item.seen = False
        item.snoozed_until, item.sequence, item.change = None, self._next(), 0


def _makes_a_difference(wanted: Change, item: Item) -> bool:
    return {
        Kind.READ: not item.read,
        Kind.UNREAD: item.read,
        Kind.SEEN: not item.seen,
        Kind.ARCHIVE: not item.archived,
        Kind.UNARCHIVE: item.archived,
        Kind.SNOOZE: item.snoozed_until != wanted.until,
        Kind.UNSNOOZE: item.snoozed_until is not None,
    }[wanted.kind]
