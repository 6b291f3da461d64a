"""Inboxes for tests: items in them, and what their numbers and counts must say."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from apps.notifications import inbox, inbox_changes, inbox_numbers
from apps.notifications.inbox_changes import Change, Done, Kind
from apps.notifications.inbox_models import IN_INBOX, InboxItem, InboxState
from apps.notifications.models import Notification
from apps.notifications.statuses import Status
from project import clock
from tests.support import rows

ADA, BOB = 7, 8  # people, by their ids
ACTIONS = '[{"id":"yes","label":"Yes","link":""},{"id":"no","label":"No","link":"/no"}]'


def deliver(user_id: int, count: int = 1, *, of: Notification | None = None, **entry: Any) -> list[UUID]:
    """So many items, each with its delivered target. Their ids, oldest first."""
    note = of or rows.notification()
    targets = rows.targets(
        note, Status.DELIVERED, count, channel="in_app", lane="in_app.normal", user_id=user_id, address=""
    )
    words = {"type": "", "title": "Title", "body": "Body"} | entry
    inbox.add([inbox.Entry(id, user_id, note.pk, **words) for id in targets])
    return targets


def soon() -> datetime:
    """When what is snoozed by `do` comes back."""
    return clock.now() + timedelta(hours=1)


def do(kind: Kind | str, *which: UUID, up_to: int | None = None, user: int = ADA) -> Done:
    """The change of these items, or of all up to a number; a snooze is for an hour."""
    kind = Kind(kind)
    until = soon() if kind is Kind.SNOOZE else None
    chosen = list(which) if up_to is None else None
    return inbox_changes.change(user, Change(kind=kind, ids=chosen, up_to=up_to, until=until))


def item(id: UUID) -> dict[str, Any]:
    """Every column of an item."""
    return InboxItem.objects.values().get(pk=id)


def there(user_id: int) -> list[UUID]:
    """What is in the inbox, oldest first: neither archived, snoozed nor recalled."""
    rows = InboxItem.objects.filter(IN_INBOX, user_id=user_id)
    return list(rows.order_by("sequence").values_list("pk", flat=True))


def counts(user_id: int) -> tuple[int, int, int]:
    """The kept head, unread and unseen."""
    return tuple(inbox_numbers.counts_of(user_id))


def assert_books_balance() -> None:
    """The kept counts are those of the table, numbers are given once, and none beyond the head."""
    assert InboxState.objects.exists()
    for state in InboxState.objects.all():
        items = InboxItem.objects.filter(IN_INBOX, user_id=state.user_id)
        unread, unseen = items.filter(read_at=None).count(), items.filter(seen_at=None).count()
        assert (state.unread, state.unseen) == (unread, unseen)
        of_person = InboxItem.objects.filter(user_id=state.user_id)
        pairs = of_person.values_list("sequence", "change")
        numbers = [number for pair in pairs for number in pair if number]
        assert len(numbers) == len(set(numbers)) and max(numbers) <= state.head
    assert not InboxItem.objects.filter(read_at__isnull=False, seen_at=None).exists()
