"""The checker of what people choose: clean books pass, and what is wrong with each invariant is found."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from project.ids import attempt_id
from tests.chaos import checks, choice_checks
from tests.chaos.evidence import Attempt, Digest, Entry, Evidence, Off, Target, Typed
from tests.chaos.violation import Violation

FIRST, REPEATED, OLD, NEWER, OTHER, MADE, CANCELLED = (UUID(int=n << 64) for n in range(1, 8))
TOLD, AGAIN, REPLACED, NEWEST, ITEM, DIGEST, OPTED_OUT, STRANGER = (UUID(int=n << 8) for n in range(1, 9))
USER = 5
NOW = 1_000_000.0
EVENT, THREAD = Typed("collaboration_alert", dedupe_key="story"), Typed("status_update", collapse_key="story")
OFF = Off(USER, EVENT.type, "sms", NOW, NOW + 10)
Plant = Callable[[Evidence], None]


def target(
    of: UUID, reason: str = "", into: UUID | None = None, *, channel: str = "email", user: int = USER
) -> Target:
    status = "skipped" if reason else "sent"
    return Target(of, user, channel, f"{channel}.normal", f"{user}@x.test", status, None, False, reason, into)


@pytest.fixture
def seen() -> Evidence:
    """One who was told once of an event; whose newest of two went, with another, into a digest."""
    return Evidence(
        targets={
            TOLD: target(FIRST, channel="sms"),
            AGAIN: target(REPEATED, "duplicate"),
            REPLACED: target(OLD, "replaced", NEWEST),
            NEWEST: target(NEWER, "merged", DIGEST),
            ITEM: target(OTHER, "merged", DIGEST),
            DIGEST: target(MADE),
            OPTED_OUT: target(CANCELLED, "opted_out", channel="sms"),
        },
        ledger={TOLD: [Entry(attempt_id(TOLD, 1), NOW)]},
        unknown=Counter(),
        attempts={TOLD: [Attempt(TOLD, attempt_id(TOLD, 1), "accepted", NOW - 1, False)]},
        rows=dict.fromkeys((FIRST,), "key-1/0") | {REPEATED: "key-1/1", OLD: "key-2/0", MADE: ""},
        typed={
            FIRST: EVENT, REPEATED: EVENT, CANCELLED: EVENT,
            OLD: THREAD, NEWER: THREAD, OTHER: Typed("status_update"), MADE: Typed("digest_email"),
        },
        cancelled={CANCELLED: NOW},
        offs=[OFF],
        digests={DIGEST: Digest(MADE, 2, [NEWER, OTHER])},
    )  # fmt: skip


def found(seen: Evidence) -> set[tuple[str, str]]:
    """By invariant and kind."""
    every = (
        choice_checks.choices_are_kept,
        choice_checks.events_are_told_once,
        choice_checks.merged_goes_out_elsewhere,
        choice_checks.digests_are_complete,
        checks.keys_work_once,
    )
    return {(one.invariant, one.kind) for check in every for one in check(seen)}


def test_a_good_run_passes(seen: Evidence) -> None:
    assert found(seen) == set()


def test_the_run_asks_all_of_them(seen: Evidence) -> None:
    seen.targets[STRANGER] = target(OLD, "merged")
    assert Violation("I12", "lost", f"target {STRANGER} is merged into None") in checks.violations(seen)


# --- I4: who asked for it ----------------------------------------------------------------------------------


def test_i4_knows_digests_and_finds_what_nobody_has_asked_for(seen: Evidence) -> None:
    seen.digests[STRANGER] = Digest(CANCELLED, 0, [])
    seen.rows[CANCELLED] = ""
    assert found(seen) == set()
    del seen.digests[STRANGER]
    assert found(seen) == {("I4", "wrong")}


# --- I10: what is off --------------------------------------------------------------------------------------


def began(seen: Evidence, after: float) -> None:
    seen.attempts[TOLD] = [Attempt(TOLD, attempt_id(TOLD, 1), "accepted", NOW + after, False)]


def test_i10_finds_what_goes_out_while_it_is_off(seen: Evidence) -> None:
    began(seen, 0.1)
    assert found(seen) == {("I10", "wrong")}


def test_i10_finds_it_in_the_inbox(seen: Evidence) -> None:
    seen.offs.append(OFF._replace(channel="in_app"))
    seen.targets[TOLD] = target(FIRST, channel="in_app")._replace(delivered_at=NOW + 0.1)
    assert found(seen) == {("I10", "wrong")}


@pytest.mark.parametrize("after", [-0.1, 10.1])
def test_i10_allows_what_began_before_it_and_after_it(seen: Evidence, after: float) -> None:
    began(seen, after)
    assert found(seen) == set()


@pytest.mark.parametrize("other", [{"user": 6}, {"type": "status_update"}, {"channel": "push"}])
def test_i10_allows_what_is_of_somebody_or_something_else(seen: Evidence, other: dict[str, Any]) -> None:
    began(seen, 0.1)
    seen.offs = [OFF._replace(**other)]
    del seen.targets[OPTED_OUT]
    assert found(seen) == set()


def test_i10_allows_it_if_a_late_try_may_have_switched_it_on(seen: Evidence) -> None:
    began(seen, 0.1)
    seen.offs = [OFF._replace(begin=math.inf)]
    assert found(seen) == set()


def test_i10_finds_what_is_opted_out_without_a_choice(seen: Evidence) -> None:
    seen.targets[OPTED_OUT] = target(CANCELLED, "opted_out", channel="push")
    assert found(seen) == {("I10", "lost")}


# --- I11: what was told before -----------------------------------------------------------------------------


def test_i11_finds_an_event_that_is_told_twice(seen: Evidence) -> None:
    seen.targets[AGAIN] = target(REPEATED)
    assert found(seen) == {("I11", "duplicated")}


@pytest.mark.parametrize(
    "typed", [EVENT._replace(type="status_update"), EVENT._replace(dedupe_key="another"), Typed(EVENT.type)]
)
def test_i11_allows_another_event(seen: Evidence, typed: Typed) -> None:
    seen.targets[AGAIN], seen.typed[REPEATED] = target(REPEATED), typed
    assert found(seen) == set()


def test_i11_allows_somebody_else_and_what_follows_a_cancelled_one(seen: Evidence) -> None:
    seen.targets[AGAIN] = target(REPEATED, user=6)
    assert found(seen) == set()
    seen.targets[AGAIN] = target(REPEATED)
    seen.cancelled[FIRST] = NOW
    assert found(seen) == set()


def test_i11_finds_an_event_of_which_nobody_tells(seen: Evidence) -> None:
    del seen.targets[TOLD], seen.targets[OPTED_OUT], seen.ledger[TOLD]
    assert found(seen) == {("I11", "lost")}


# --- I12: what goes out in another's place -----------------------------------------------------------------


def into_nothing(seen: Evidence) -> None:
    seen.targets[REPLACED] = target(OLD, "replaced")


def into_what_is_not_there(seen: Evidence) -> None:
    seen.targets[REPLACED] = target(OLD, "replaced", STRANGER)


def into_another_channel(seen: Evidence) -> None:
    seen.targets[REPLACED] = target(OLD, "replaced", NEWEST, channel="sms")


def into_somebody_elses(seen: Evidence) -> None:
    seen.targets[REPLACED] = target(OLD, "replaced", NEWEST, user=6)


def into_another_address(seen: Evidence) -> None:
    seen.targets[REPLACED] = seen.targets[REPLACED]._replace(address="old@x.test")


def into_one_of_another_key(seen: Evidence) -> None:
    seen.typed[NEWER] = THREAD._replace(collapse_key="another")


def into_one_without_a_key(seen: Evidence) -> None:
    seen.typed[OLD] = seen.typed[NEWER] = Typed(THREAD.type)


def in_a_circle(seen: Evidence) -> None:
    seen.targets[NEWEST] = target(NEWER, "replaced", REPLACED)
    seen.digests[DIGEST] = Digest(MADE, 1, [OTHER])


def merged_into_no_digest(seen: Evidence) -> None:
    seen.targets[STRANGER] = target(OTHER, "merged", AGAIN)


@pytest.mark.parametrize(
    "plant",
    [
        into_nothing,
        into_what_is_not_there,
        into_another_channel,
        into_somebody_elses,
        into_another_address,
        into_one_of_another_key,
        into_one_without_a_key,
        in_a_circle,
        merged_into_no_digest,
    ],
)
def test_i12_finds_what_is_in_no_ones_place(seen: Evidence, plant: Plant) -> None:
    plant(seen)
    assert found(seen) == {("I12", "lost")}


def test_i12_finds_what_its_digest_does_not_have(seen: Evidence) -> None:
    seen.digests[DIGEST] = Digest(MADE, 1, [OTHER])
    assert found(seen) == {("I12", "lost")}


@pytest.mark.parametrize(("size", "listed"), [(3, [NEWER, OTHER]), (2, [NEWER, OLD]), (2, [OTHER, OTHER])])
def test_i12_finds_what_only_its_digest_has(seen: Evidence, size: int, listed: list[UUID]) -> None:
    seen.digests[DIGEST] = Digest(MADE, size, listed)
    assert found(seen) == {("I12", "duplicated")}


def test_i12_finds_one_that_is_in_two_digests(seen: Evidence) -> None:
    seen.targets[STRANGER] = target(CANCELLED)
    seen.digests[STRANGER] = Digest(CANCELLED, 1, [NEWER])
    assert found(seen) == {("I12", "duplicated")}


def test_i12_lets_a_long_digest_list_only_some(seen: Evidence) -> None:
    seen.digests[DIGEST] = Digest(MADE, 2, [OTHER])
    assert found(seen) == set()
