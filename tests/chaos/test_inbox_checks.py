"""The checker of inboxes: clean books pass, and what is wrong with I7 and I13 is found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from apps.notifications.inbox_numbers import Counts
from tests.chaos import inbox_checks
from tests.chaos.evidence import Evidence, Target
from tests.chaos.inboxes import Done, Inboxes, Item, Listened, Step
from tests.chaos.violation import Violation

USER, OTHER = 5, 6
NEWS, READ, FILED, GONE, BACK, ASKED, THEIRS, NEW = (UUID(int=n << 8) for n in range(1, 9))
AT = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
LATER = AT + timedelta(hours=1)
CHECKS = (
    inbox_checks.inboxes_arrive,
    inbox_checks.clients_have_it,
    inbox_checks.events_come_once,
    inbox_checks.inboxes_are_numbered,
    inbox_checks.inboxes_are_counted,
    inbox_checks.changes_are_kept,
)
SEEN = {"seen_at": AT, "read_at": AT}


def target(user: int = USER, *, recalled: bool = False) -> Target:
    return Target(UUID(int=1), user, "in_app", "in_app.normal", "", "delivered", 1.0, recalled)


def steps() -> list[Step]:
    """Six come; one is read, archived, recalled, and acted on each; one snoozes and comes back."""
    came = [Step(n, id, Item(n)) for n, id in enumerate((NEWS, READ, FILED, GONE, BACK, ASKED), 1)]
    return [
        *came,
        Step(7, READ, Item(2, **SEEN)),
        Step(8, FILED, Item(3, archived_at=AT)),
        Step(9, GONE, Item(4), recalled=True),
        Step(10, BACK, Item(5, snoozed_until=LATER)),
        Step(11, BACK, Item(11)),
        Step(12, ASKED, Item(6, **SEEN, action="yes", acted_at=AT)),
    ]


def listened(**other: Any) -> Listened:
    inbox = {step.target: step.item for step in steps() if step.target != GONE}
    numbers = [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10], [11, 12]]
    shown = [(n, id) for n, id in enumerate((NEWS, READ, FILED, GONE, BACK, ASKED), 1)]
    of_item = {"kind": "read", "changed": 1, "head": 7, "ids": (READ,)}
    done = [
        Done(USER, **of_item),
        Done(USER, "read", 0, 8, ids=(READ,)),  # again: it made no difference
        Done(USER, "archive", 1, 8, ids=(FILED,)),
        Done(USER, "snooze", 1, 10, ids=(BACK, GONE), until=LATER),
        Done(USER, "unarchive", 0, 8, up_to=2),
        Done(USER, "read", 0, 7, up_to=0),
        Done(USER, "act", 1, 12, ids=(ASKED,), action="yes"),
    ]
    books = {
        "user": USER, "items": inbox, "by_rest": dict(inbox), "counts": Counts(12, 2, 2),
        "connections": numbers, "shown": [*shown, (11, BACK)], "wrong": [], "done": done,
    }  # fmt: skip
    return Listened(**(books | other))


@pytest.fixture
def seen() -> Evidence:
    """A run that went well, with a person who did all kinds of things, and one who only got something."""
    ids = (NEWS, READ, FILED, BACK, ASKED)
    return Evidence(
        targets={id: target() for id in ids} | {GONE: target(recalled=True), THEIRS: target(OTHER)},
        ledger={},
        unknown=Counter(),
        inboxes=Inboxes(
            items={USER: dict(listened().items), OTHER: {THEIRS: Item(1)}},
            standings={USER: Counts(12, 2, 2), OTHER: Counts(1, 1, 1)},
            steps={USER: steps(), OTHER: [Step(1, THEIRS, Item(1))]},
        ),
        listened=[listened()],
    )


def violations(seen: Evidence) -> list[Violation]:
    return [violation for check in CHECKS for violation in check(seen)]


def found(seen: Evidence) -> set[str]:
    return {violation.invariant for violation in violations(seen)}


def test_a_good_run_passes(seen: Evidence) -> None:
    assert violations(seen) == []


# --- I7 ----------------------------------------------------------------------------------------------------


def test_i7_finds_what_was_delivered_and_is_in_no_inbox(seen: Evidence) -> None:
    seen.targets[NEW] = target(OTHER)
    assert [(one.invariant, one.kind) for one in violations(seen)] == [("I7", "lost")]


def test_i7_finds_what_is_in_an_inbox_and_was_recalled_or_never_delivered(seen: Evidence) -> None:
    seen.targets[THEIRS] = target(OTHER, recalled=True)
    assert found(seen) == {"I7"}
    del seen.targets[THEIRS]
    assert found(seen) == {"I7"}


@pytest.mark.parametrize("where", ["items", "by_rest"])
@pytest.mark.parametrize(
    "other",
    [
        {NEWS: None},
        {NEWS: Item(2)},
        {NEWS: Item(1, **SEEN)},
        {READ: Item(2, seen_at=AT)},
        {FILED: Item(3)},
        {BACK: Item(5, snoozed_until=LATER)},
        {ASKED: Item(6, **SEEN, action="no", acted_at=AT)},
        {GONE: Item(4)},
        {THEIRS: Item(1)},
    ],
    ids=["missing", "number", "read", "not read", "not archived", "snoozed", "button", "recalled", "theirs"],
)
def test_i7_finds_a_client_that_has_something_else(
    seen: Evidence, where: str, other: dict[UUID, Item | None]
) -> None:
    had = {id: item for id, item in (listened().items | other).items() if item is not None}
    seen.listened = [listened(**{where: had})]
    assert found(seen) == {"I7"}


@pytest.mark.parametrize("counts", [Counts(12, 1, 2), Counts(12, 2, 3), Counts(11, 2, 2)])
def test_i7_finds_a_client_that_shows_other_counts(seen: Evidence, counts: Counts) -> None:
    seen.listened = [listened(counts=counts)]
    assert found(seen) == {"I7"}


@pytest.mark.parametrize("numbers", [[[1, 2, 2]], [[1, 3, 2]], [[1], [2, 1]]])
def test_i7_finds_events_that_are_not_in_order(seen: Evidence, numbers: list[list[int]]) -> None:
    seen.listened = [listened(connections=numbers)]
    assert found(seen) == {"I7"}


def test_i7_finds_what_was_shown_twice(seen: Evidence) -> None:
    seen.listened = [listened(shown=[*listened().shown, (1, NEWS)])]
    assert [(one.invariant, one.kind) for one in violations(seen)] == [("I7", "duplicated")]


def test_i7_finds_a_frame_that_made_no_sense(seen: Evidence) -> None:
    seen.listened = [listened(wrong=["a change of what never came"])]
    assert found(seen) == {"I7"}


# --- I13 ---------------------------------------------------------------------------------------------------


def number_is_missing(seen: Evidence) -> None:
    del seen.inboxes.steps[OTHER][0]


def number_is_given_twice(seen: Evidence) -> None:
    seen.inboxes.steps[OTHER] *= 2


def head_is_ahead(seen: Evidence) -> None:
    seen.inboxes.standings[OTHER] = Counts(2, 1, 1)


def person_has_no_state(seen: Evidence) -> None:
    del seen.inboxes.standings[OTHER]


def too_much_is_unread(seen: Evidence) -> None:
    seen.inboxes.standings[OTHER] = Counts(1, 2, 1)


def too_little_is_unseen(seen: Evidence) -> None:
    seen.inboxes.standings[OTHER] = Counts(1, 1, 0)


def what_is_archived_is_counted(seen: Evidence) -> None:
    seen.inboxes.items[OTHER] = {THEIRS: Item(1, archived_at=AT)}


def what_is_snoozed_is_counted(seen: Evidence) -> None:
    seen.inboxes.items[OTHER] = {THEIRS: Item(1, snoozed_until=LATER)}


@pytest.mark.parametrize(
    "plant",
    [
        number_is_missing,
        number_is_given_twice,
        head_is_ahead,
        person_has_no_state,
        too_much_is_unread,
        too_little_is_unseen,
        what_is_archived_is_counted,
        what_is_snoozed_is_counted,
    ],
)
def test_i13_finds_what_is_numbered_or_counted_wrongly_of_anybody(
    seen: Evidence, plant: Callable[[Evidence], None]
) -> None:
    plant(seen)
    assert found(seen) == {"I13"}


@pytest.mark.parametrize(
    "done",
    [
        Done(USER, "read", 1, 13, ids=(READ,)),
        Done(USER, "read", 1, 8, ids=(READ,)),
        Done(USER, "read", 2, 7, ids=(READ,)),
        Done(USER, "read", 0, 12, ids=(NEWS,)),
        Done(USER, "unread", 0, 7, ids=(READ,)),
        Done(USER, "seen", 0, 12, ids=(NEWS,)),
        Done(USER, "archive", 0, 7, ids=(FILED,)),
        Done(USER, "unarchive", 0, 8, ids=(FILED,)),
        Done(USER, "snooze", 1, 10, ids=(BACK,), until=AT),
        Done(USER, "unsnooze", 0, 10, ids=(BACK,)),
        Done(USER, "act", 0, 12, ids=(ASKED,), action="no"),
        Done(USER, "read", 0, 7, up_to=2),
        Done(USER, "archive", 0, 12, up_to=1),
        Done(USER, "unarchive", 0, 8, up_to=3),
        Done(USER, "unsnooze", 0, 10, up_to=5),
    ],
    ids=lambda done: f"{done.kind} {done.head}",
)
def test_i13_finds_an_acknowledged_change_that_is_not_in_the_database(seen: Evidence, done: Done) -> None:
    seen.listened = [listened(done=[done])]
    assert {(one.invariant, one.kind) for one in violations(seen)} == {("I13", "lost")}


def test_i13_allows_what_was_changed_again_later(seen: Evidence) -> None:
    """Snoozed until later, as acknowledged; and then it came back."""
    seen.listened = [listened(done=[Done(USER, "snooze", 1, 10, ids=(BACK,), until=LATER)])]
    assert found(seen) == set()
    seen.listened = [listened(done=[Done(USER, "snooze", 0, 11, ids=(BACK,), until=LATER)])]
    assert found(seen) == {"I13"}


def test_i13_allows_what_was_recalled_before_it_was_read(seen: Evidence) -> None:
    seen.listened = [listened(done=[Done(USER, "read", 0, 9, ids=(GONE, READ))])]
    assert found(seen) == set()
