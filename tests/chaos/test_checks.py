"""The checker itself: clean books pass, and what is wrong with each invariant is found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from uuid import UUID

import pytest

from apps.notifications.inbox_numbers import Counts
from project.ids import attempt_id
from tests.chaos import checks
from tests.chaos.checks import CRITICAL_BOUND, DRAINED_WITHIN
from tests.chaos.evidence import Attempt, Drain, Entry, Evidence, Move, Probe, Target, Window
from tests.chaos.inboxes import Inboxes, Item, Step
from tests.chaos.stage import LEASE
from tests.chaos.violation import Violation

NOTIFICATION, CANCELLED, CRITICAL = UUID(int=1 << 64), UUID(int=2 << 64), UUID(int=3 << 64)
EMAIL, SMS, IN_APP, DEAD, GONE, BLOCKED, CODE, PUSH, HOOK, OLD_APP = (UUID(int=n << 8) for n in range(1, 11))
PHONE, APP = "fcm:0a000000-0000-0000-0000-000000000000", "fcm:0b000000-0000-0000-0000-000000000000"
NEW = UUID(int=99 << 8)
USER, ADDRESS = 5, "p@example.com"
NOW = 1_000_000.0


def target(
    channel: str, status: str, *, of: UUID = NOTIFICATION, lane: str = "", address: str = ""
) -> Target:
    at = NOW if status == "delivered" else None
    return Target(of, USER, channel, lane or f"{channel}.normal", address or ADDRESS, status, at)


def attempt(
    of: UUID, outcome: str, *, number: int = 1, at: float = NOW, unknown: bool = False, by: str = ""
) -> Attempt:
    return Attempt(of, attempt_id(of, number), outcome, at, unknown, by)


def accepted(of: UUID, number: int = 1, at: float = NOW, *, by: str = "", key: str = "") -> Entry:
    return Entry(attempt_id(of, number), at, by, key)


@pytest.fixture
def seen() -> Evidence:
    """A run that went well: something of each kind, one ambiguity, one excuse."""
    return Evidence(
        targets={
            EMAIL: target("email", "sent"),
            SMS: target("sms", "delivered"),
            IN_APP: target("in_app", "delivered"),
            DEAD: target("email", "dead"),
            GONE: target("sms", "cancelled", of=CANCELLED),
            BLOCKED: target("sms", "skipped", address="+15005550911"),
            CODE: target("sms", "sent", of=CRITICAL, lane="sms.critical", address="+15005551234"),
            PUSH: target("push", "sent", address=PHONE),
            HOOK: target("webhook", "sent"),
            OLD_APP: target("push", "skipped", address=APP),
        },
        ledger={
            EMAIL: [accepted(EMAIL, by="ses")],
            SMS: [accepted(SMS)],
            PUSH: [accepted(PUSH, by="fcm", key="push")],
            HOOK: [accepted(HOOK, 1, NOW, key="hook"), accepted(HOOK, 2, NOW + 5, key="hook")],
            DEAD: [accepted(DEAD)],
            CODE: [accepted(CODE, 1, NOW + 1), accepted(CODE, 2, NOW + 9)],
        },
        unknown=Counter({DEAD: 1, CODE: 1, HOOK: 1}),
        made_by={attempt_id(EMAIL, 1): "ses", attempt_id(PUSH, 1): "fcm"},
        drains=[Drain("sendgrid", NOW, NOW + 20)],
        by_drained=[attempt(SMS, "accepted", at=NOW + DRAINED_WITHIN - 1, by="sendgrid")],
        removed={APP: NOW},
        bad_answers={"+15005550905", PHONE},
        attempts={
            DEAD: [attempt(DEAD, "unknown", unknown=True)],
            BLOCKED: [attempt(BLOCKED, "temporary_failure")],
        },
        rows={NOTIFICATION: "key-1/0", CANCELLED: "key-2/0", CRITICAL: "probe-1"},
        promised={NOTIFICATION: ("key-1/0", 8), CANCELLED: ("key-2/0", 1)},
        moves=[Move("queued", "sending", False, 9, EMAIL), Move("sent", "sent", False, 1, SMS)],
        cancelled={CANCELLED: NOW},
        told_cancelled={GONE},
        suppressed={("sms", "+15005550911"): NOW + 1},
        inboxes=Inboxes(
            items={USER: {IN_APP: Item(1)}},
            standings={USER: Counts(1, 1, 1)},
            steps={USER: [Step(1, IN_APP, Item(1))]},
        ),
        probes=[Probe(CODE, "sms", NOW)],
        backed_up=[NOW - 0.5],
        unanswered=2,
        in_the_air=1,
    )


def found(seen: Evidence) -> set[str]:
    return {violation.invariant for violation in checks.violations(seen)}


def test_a_good_run_passes(seen: Evidence) -> None:
    assert checks.violations(seen) == []


def promised_target_is_missing(seen: Evidence) -> None:
    seen.promised[NOTIFICATION] = ("key-1/0", 9)


def promised_notification_is_missing(seen: Evidence) -> None:
    seen.promised[UUID(int=9 << 64)] = ("key-9/0", 1)


def target_is_stuck(seen: Evidence) -> None:
    seen.targets[EMAIL] = target("email", "sending")


def target_is_held_for_ever(seen: Evidence) -> None:
    seen.targets[BLOCKED] = target("sms", "held", address="+15005550911")


def dead_without_an_attempt(seen: Evidence) -> None:
    seen.attempts.clear()


def dead_after_an_acceptance(seen: Evidence) -> None:
    seen.attempts[DEAD] = [attempt(DEAD, "accepted")]


def claim_is_left_over(seen: Evidence) -> None:
    seen.claims = 1


@pytest.mark.parametrize(
    "plant",
    [
        promised_target_is_missing,
        promised_notification_is_missing,
        target_is_stuck,
        target_is_held_for_ever,
        dead_without_an_attempt,
        dead_after_an_acceptance,
        claim_is_left_over,
    ],
)
def test_i1_finds_what_is_lost(seen: Evidence, plant: Callable[[Evidence], None]) -> None:
    plant(seen)
    assert "I1" in found(seen)
    assert any(violation.kind == "lost" for violation in checks.violations(seen))


@pytest.mark.parametrize("outcome", ["temporary_failure", "permanent_failure"])
def test_i1_takes_a_refusal_for_a_reason(seen: Evidence, outcome: str) -> None:
    seen.attempts[DEAD] = [attempt(DEAD, outcome)]
    assert found(seen) == set()


@pytest.mark.parametrize("id", [EMAIL, SMS, PUSH, HOOK])
def test_i2_finds_a_sent_target_the_provider_never_had(seen: Evidence, id: UUID) -> None:
    del seen.ledger[id]
    assert found(seen) == {"I2"}
    assert [violation.kind for violation in checks.violations(seen)] == ["lost"]


def test_i2_finds_a_message_of_no_target(seen: Evidence) -> None:
    seen.ledger[NEW] = [accepted(NEW)]
    assert found(seen) == {"I2"}


def test_i3_finds_a_second_message_without_an_unknown_attempt(seen: Evidence) -> None:
    seen.ledger[EMAIL].append(accepted(EMAIL, 2))
    assert found(seen) == {"I3"}
    assert [violation.kind for violation in checks.violations(seen)] == ["duplicated"]


def test_i3_finds_a_repeat_where_the_policy_does_not_repeat(seen: Evidence) -> None:
    seen.ledger[DEAD].append(accepted(DEAD, 2))
    assert found(seen) == {"I3"}


def test_i3_finds_a_third_message_after_one_unknown_attempt(seen: Evidence) -> None:
    seen.ledger[CODE].append(accepted(CODE, 3))
    assert found(seen) == {"I3"}


def test_i3_finds_one_attempt_that_called_twice(seen: Evidence) -> None:
    seen.ledger[CODE] = [accepted(CODE, 1, NOW + 1), accepted(CODE, 1, NOW + 2)]
    assert found(seen) == {"I3"}


def test_i3_finds_that_everything_is_called_unknown(seen: Evidence) -> None:
    seen.unknown.update([EMAIL, SMS])
    assert found(seen) == {"I3"}


def test_i3_finds_a_failover_after_a_temporary_failure_that_was_none(seen: Evidence) -> None:
    seen.ledger[EMAIL].append(accepted(EMAIL, 2, NOW + 1, by="sendgrid"))
    seen.made_by[attempt_id(EMAIL, 2)] = "sendgrid"
    assert found(seen) == {"I3"}
    assert [violation.kind for violation in checks.violations(seen)] == ["duplicated"]


def test_i3_finds_a_webhook_that_is_repeated_without_an_unknown_attempt(seen: Evidence) -> None:
    del seen.unknown[HOOK]
    assert found(seen) == {"I3"}


@pytest.mark.parametrize("key", ["another", ""])
def test_i3_finds_a_repetition_that_nobody_would_recognise(seen: Evidence, key: str) -> None:
    seen.ledger[HOOK][1] = accepted(HOOK, 2, NOW + 5, key=key)
    assert found(seen) == {"I3"}


def test_i3_finds_a_push_without_a_collapse_id(seen: Evidence) -> None:
    seen.ledger[PUSH] = [accepted(PUSH, by="fcm")]
    assert found(seen) == {"I3"}


def test_i3_allows_for_answers_that_tell_nothing(seen: Evidence) -> None:
    seen.targets[SMS] = target("sms", "delivered", address="+15005550905")
    seen.unknown.update([SMS, PUSH])
    assert found(seen) == set()


def test_i4_finds_a_key_that_took_effect_twice(seen: Evidence) -> None:
    seen.rows[NEW] = "key-1/0"
    assert "I4" in found(seen)
    assert any(violation.kind == "duplicated" for violation in checks.violations(seen))


def test_i4_finds_an_answer_that_names_another_notification(seen: Evidence) -> None:
    seen.rows[NEW] = seen.rows.pop(NOTIFICATION)
    assert "I4" in found(seen)


def test_i4_finds_two_answers_to_one_key(seen: Evidence) -> None:
    seen.wrong.append("key-1: two answers to one key")
    assert found(seen) == {"I4"}


def test_i5_finds_a_message_after_the_cancel(seen: Evidence) -> None:
    seen.ledger[GONE] = [accepted(GONE, 1, NOW + 2)]
    seen.attempts[GONE] = [attempt(GONE, "accepted", at=NOW + 1)]
    assert found(seen) == {"I5"}


def test_i5_finds_a_message_after_the_suppression(seen: Evidence) -> None:
    seen.ledger[BLOCKED] = [accepted(BLOCKED, 2, NOW + 3)]
    seen.attempts[BLOCKED].append(attempt(BLOCKED, "accepted", number=2, at=NOW + 2))
    assert found(seen) == {"I5"}


def test_i5_finds_an_inbox_item_after_the_cancel(seen: Evidence) -> None:
    seen.cancelled[NOTIFICATION] = NOW - 1
    assert found(seen) == {"I5"}


def test_i5_finds_a_target_that_was_told_to_be_cancelled_and_is_not(seen: Evidence) -> None:
    seen.told_cancelled.add(EMAIL)
    assert found(seen) == {"I5"}


def test_i5_finds_a_message_of_a_cancelled_notification_that_counts_as_sent(seen: Evidence) -> None:
    seen.cancelled[CRITICAL] = NOW + 0.5
    seen.attempts[CODE] = [attempt(CODE, "accepted", number=2, at=NOW + 8)]
    assert found(seen) == {"I5"}


def test_i5_allows_what_was_checked_before(seen: Evidence) -> None:
    seen.ledger[GONE] = [accepted(GONE, 1, NOW + 2)]
    seen.attempts[GONE] = [attempt(GONE, "unknown", at=NOW - 1, unknown=True)]
    assert found(seen) == set()


def test_i5_allows_a_later_attempt_that_did_not_reach_the_provider(seen: Evidence) -> None:
    seen.ledger[BLOCKED] = [accepted(BLOCKED, 1, NOW)]
    seen.attempts[BLOCKED].append(attempt(BLOCKED, "temporary_failure", number=2, at=NOW + 2))
    assert found(seen) == set()


@pytest.mark.parametrize("outcome", ["accepted", "permanent_failure", "unknown"])
def test_i5_finds_any_call_to_a_device_that_is_dead(seen: Evidence, outcome: str) -> None:
    seen.suppressed["push", PHONE] = NOW
    seen.attempts[PUSH] = [attempt(PUSH, outcome, at=NOW + 0.1)]
    assert found(seen) == {"I5"}


def test_i5_finds_a_call_to_a_device_that_was_removed_before_its_claim(seen: Evidence) -> None:
    seen.attempts[OLD_APP] = [attempt(OLD_APP, "permanent_failure", at=NOW + LEASE + 0.1)]
    assert found(seen) == {"I5"}


def test_i5_allows_a_call_to_a_device_that_was_removed_after_it_was_looked_up(seen: Evidence) -> None:
    seen.attempts[OLD_APP] = [attempt(OLD_APP, "permanent_failure", at=NOW + LEASE - 0.1)]
    assert found(seen) == set()


@pytest.mark.parametrize(
    ("old", "new"), [("sent", "queued"), ("delivered", "sent"), ("cancelled", "sending")]
)
def test_i6_finds_a_move_that_is_not_in_the_table(seen: Evidence, old: str, new: str) -> None:
    seen.moves.append(Move(old, new, False, 1, EMAIL))
    assert found(seen) == {"I6"}


def test_i6_finds_an_engagement_time_that_changed(seen: Evidence) -> None:
    seen.moves.append(Move("sent", "sent", True, 1, EMAIL))
    assert found(seen) == {"I6"}


def late(seen: Evidence) -> None:
    seen.ledger[CODE] = [accepted(CODE, 1, NOW + CRITICAL_BOUND + 1)]


def never(seen: Evidence) -> None:
    del seen.ledger[CODE]
    seen.targets[CODE] = seen.targets[CODE]._replace(status="cancelled")


@pytest.mark.parametrize("plant", [late, never])
def test_i8_finds_a_critical_message_that_is_late(seen: Evidence, plant: Callable[[Evidence], None]) -> None:
    plant(seen)
    assert found(seen) == {"I8"}


@pytest.mark.parametrize("plant", [late, never])
def test_i8_excuses_what_falls_into_an_outage_of_its_channel(
    seen: Evidence, plant: Callable[[Evidence], None]
) -> None:
    plant(seen)
    seen.probes.append(Probe(IN_APP, "in_app", NOW))
    seen.excused = [Window("sms", NOW + 1, NOW + 2, "kill-broker")]
    assert found(seen) == set()
    seen.excused = [Window("in_app", NOW + 1, NOW + 2, "kill-broker")]
    assert "I8" in found(seen)


def test_i8_finds_that_nothing_was_measured_under_load(seen: Evidence) -> None:
    seen.backed_up = [NOW - 60]
    assert found(seen) == {"I8"}


def test_i9_finds_a_message_that_another_provider_accepted(seen: Evidence) -> None:
    seen.ledger[EMAIL] = [accepted(EMAIL, by="sendgrid")]
    assert found(seen) == {"I9"}


def test_i9_finds_a_call_of_a_drained_provider(seen: Evidence) -> None:
    seen.by_drained.append(attempt(EMAIL, "accepted", at=NOW + DRAINED_WITHIN + 1, by="sendgrid"))
    assert found(seen) == {"I9"}


@pytest.mark.parametrize(("by", "after"), [("ses", DRAINED_WITHIN + 1), ("sendgrid", 21)])
def test_i9_allows_what_another_one_sends_and_what_it_sends_again(
    seen: Evidence, by: str, after: float
) -> None:
    seen.by_drained.append(attempt(EMAIL, "accepted", at=NOW + after, by=by))
    assert found(seen) == set()


@pytest.mark.parametrize(("of_time", "code"), [([], 0), ([True, True], 3), ([True, False], 1), ([False], 1)])
def test_only_what_a_busy_machine_brings_about_may_be_measured_again(of_time: list[bool], code: int) -> None:
    assert checks.exit_code([Violation("I", "wrong", "", of_time=one) for one in of_time]) == code
