"""What the page of one notification shows: a fixed number of statements for any number of targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain
from typing import Any
from uuid import UUID

from apps.notifications import decisions, engagement, representations, waits
from apps.notifications.admin import words
from apps.notifications.because import label
from apps.notifications.explaining import Story, explain
from apps.notifications.models import DeadLetter, DeliveryAttempt, Notification, NotificationTarget
from apps.notifications.statuses import Status
from apps.users.models import User
from project.api import Problem
from project.paging import Page, paginate

PAGE = 100  # targets
LATEST = 20  # attempts of a target, and its first

# What a layer above this one adds to the page: of these targets the receipts, oldest first, one statement.
# Each has target_id, kind, code, at, received_at and applied.
receipts_of: list[Callable[[Sequence[UUID]], Iterable[Any]]] = []

REDRIVABLE = (Status.FAILED, Status.DEAD)


@dataclass(frozen=True)
class Shown:
    """One target with all that is known of it."""

    story: Story
    person: User | None
    dead_letters: Sequence[DeadLetter]
    receipts: Sequence[Any]

    @property
    def target(self) -> NotificationTarget:
        return self.story.target

    @property
    def attempts(self) -> Sequence[DeliveryAttempt]:
        return self.story.attempts

    @property
    def explanation(self) -> list[str]:
        return explain(self.story)

    @property
    def tone(self) -> str:
        return words.tone(self.target.status)

    @property
    def reason(self) -> str:
        return label(self.target.reason)

    @property
    def redrivable(self) -> bool:
        return self.target.status in REDRIVABLE

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [
            {"row": a, "tone": words.tone(a.outcome), "took": _milliseconds(a.started_at, a.finished_at)}
            for a in self.attempts
        ]

    @property
    def hidden(self) -> int:
        """Attempts that are not shown."""
        return max(0, self.target.attempts - len(self.attempts))

    @property
    def timing(self) -> list[tuple[str, datetime, str]]:
        """The moments of its way in their order: what, when, how long after the one before."""
        first = next((a.started_at for a in self.attempts if a.number == 1), None)
        target = self.target
        moments = [
            ("accepted", self.story.notification.created_at),
            ("first call", first),
            ("sent", target.sent_at),
            ("delivered", target.delivered_at),
            ("recalled", target.recalled_at),
            ("bounced", target.bounced_at),
            ("opened", target.opened_at),
            ("clicked", target.clicked_at),
            ("complained", target.complained_at),
            ("read", self.story.item.read_at if self.story.item else None),
        ]
        if target.status not in (Status.SENT, Status.DELIVERED):
            moments.append((target.status, target.settled_at))
        known = sorted(((what, at) for what, at in moments if at), key=lambda moment: moment[1])
        before = [None, *(at for _, at in known)]
        return [(what, at, words.duration(last, at)) for (what, at), last in zip(known, before, strict=False)]

    @property
    def waiting_for(self) -> datetime | None:
        return self.target.next_attempt_at or self.target.held_until


@dataclass(frozen=True)
class Detail:
    """The page."""

    notification: Notification
    summary: Mapping[str, Any]
    targets: Sequence[Shown]
    status: str  # of the targets asked for; empty: all
    page_info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def counts(self) -> list[tuple[str, int, str]]:
        return words.counts(self.summary)

    @property
    def statuses(self) -> list[str]:
        return list(Status.values)


def detail(notification: Notification, query: Mapping[str, str]) -> Detail:
    """The page these query parameters (`status`, `after`, `before`) ask for; the first if they are wrong."""
    status = query["status"] if query.get("status") in Status.values else ""
    page = _targets(notification, status, query)
    targets: list[NotificationTarget] = page.items
    waits.tell(targets)
    attempts = _by_target(latest_attempts([target.pk for target in targets]))
    letters = _by_target(_dead_letters([target.pk for target in targets]))
    reported = _by_target(chain.from_iterable(read([t.pk for t in targets]) for read in receipts_of))
    decided = decisions.of([target.pk for target in targets])
    choices = decisions.choices_behind(targets, decided)
    items = engagement.in_inbox(targets)
    people = User.objects.in_bulk({target.user_id for target in targets} | _resolvers(letters))
    for letter in chain.from_iterable(letters.values()):
        letter.resolver = people.get(letter.resolved_by_id)
    shown = [
        Shown(
            story=Story(
                notification=notification,
                target=target,
                decisions=decided.get(target.pk, []),
                attempts=attempts.get(target.pk, []),
                choices=choices,
                item=items.get(target.pk),
            ),
            person=people.get(target.user_id),
            dead_letters=letters.get(target.pk, []),
            receipts=reported.get(target.pk, []),
        )
        for target in targets
    ]
    summary = representations.summaries([notification])[notification.pk]
    return Detail(notification, summary, shown, status, page.page_info)


def _dead_letters(targets: Sequence[UUID]) -> list[DeadLetter]:
    """Oldest first; sorted here, so that the planner takes the index on the target and no other."""
    return sorted(DeadLetter.objects.filter(target__in=targets), key=lambda letter: letter.pk)


def _resolvers(letters: Mapping[UUID, Sequence[DeadLetter]]) -> set[int]:
    return {one.resolved_by_id for one in chain.from_iterable(letters.values()) if one.resolved_by_id}


def _targets(notification: Notification, status: str, query: Mapping[str, str]) -> Page:
    rows = NotificationTarget.objects.filter(notification=notification)
    if status:
        rows = rows.filter(status=status)
    asked = {name: query[name] for name in ("after", "before") if name in query}
    size = {"page_size": str(PAGE)}
    try:
        return paginate(asked | size, rows, "id", newest_first=False)
    except Problem:
        return paginate(size, rows, "id", newest_first=False)


_LATEST = """
SELECT a.* FROM unnest(%s::uuid[]) t(id) CROSS JOIN LATERAL (
    SELECT * FROM notifications_deliveryattempt a
    WHERE a.id > t.id AND a.id <= overlay(t.id::text placing 'ff' from 35)::uuid
    ORDER BY a.number = 1 DESC, a.id DESC LIMIT %s
) a
ORDER BY a.id
"""


def latest_attempts(targets: Sequence[UUID]) -> Iterable[DeliveryAttempt]:
    """The first and the latest attempts of these targets, one statement."""
    return DeliveryAttempt.objects.raw(_LATEST, [list(targets), LATEST + 1])


def _by_target(rows: Iterable[Any]) -> dict[UUID, list[Any]]:
    found: dict[UUID, list[Any]] = {}
    for row in rows:
        found.setdefault(row.target_id, []).append(row)
    return found


def _milliseconds(start: datetime, end: datetime | None) -> int | None:
    return round((end - start) / timedelta(milliseconds=1)) if end else None
