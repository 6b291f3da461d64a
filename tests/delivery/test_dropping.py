"""What must not be sent any more although it was queued: dropped by the claim, or kept by the last check."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from apps.delivery import claims, engine, sweeper
from apps.delivery.models import Claim
from apps.delivery.settling import Ended, settle
from apps.integrations.contract import (
    Accepted,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.notifications import holds, transitions
from apps.notifications.models import NotificationTarget
from apps.notifications.statuses import Status
from apps.preferences import suppression
from apps.preferences.suppression import Cause, Fact
from apps.users.models import DEFAULT_ORGANIZATION_ID as OURS
from project import clock, queues
from tests.api_helpers import make_organization
from tests.support import rows
from tests.support.adapters import accepting, always
from tests.support.database import move_clock
from tests.support.rows import LANE

pytestmark = pytest.mark.django_db
ADA = "ada@example.com"


def suppress(address: str = ADA, channel: str = "email", of: int | None = None) -> None:
    suppression.suppress([Fact(of, channel, address, Cause.BOUNCED)])


def ask_to_cancel(ids: list[UUID]) -> None:
    NotificationTarget.objects.filter(id__in=ids).update(cancel_asked_at=clock.now())


def stands(id: UUID) -> tuple[str, str]:
    row = rows.row(id)
    return row["status"], row["reason"]


# --- By the claim ----------------------------------------------------------------------------------------


def test_a_claim_goes_on_without_what_was_suppressed_meanwhile(adapter) -> None:
    scripted = adapter(accepting)
    gone, ben = rows.queued(address=ADA), rows.queued(2, address="ben@example.com")
    suppress()
    assert engine.work(LANE) == 3
    assert stands(gone[0]) == ("skipped", "suppressed")
    assert rows.statuses(ben) == ["sent", "sent"]
    assert {message.address for message in scripted.sent} == {"ben@example.com"}
    assert rows.attempts(gone) == [] and rows.row(gone[0])["attempts"] == 0
    rows.assert_books_balance()
    rows.assert_shapes_hold()


def test_a_claim_keeps_only_the_targets_that_are_left() -> None:
    rows.queued(address=ADA)
    ben = rows.queued(address="ben@example.com")
    suppress()
    claim = claims.take(LANE, "scripted", 10)
    assert claim is not None
    assert [target.id for target in claim.targets] == Claim.objects.get().target_ids == ben
    assert (claim.dropped, claim.full) == (1, False)


def test_a_claim_of_which_nothing_is_left_is_not_kept_and_nobody_called(adapter) -> None:
    scripted = adapter(accepting)
    ids = rows.queued(3, address=ADA)
    suppress()
    assert engine.work(LANE) == 3
    assert set(rows.statuses(ids)) == {"skipped"}
    assert scripted.sent == [] and not Claim.objects.exists()
    assert engine.work(LANE) == 0
    rows.assert_books_balance()


def test_a_full_claim_rings_again_even_if_nothing_of_it_is_left(adapter, monkeypatch) -> None:
    rung: list[str] = []
    monkeypatch.setattr(queues, "ring_now", rung.append)
    adapter(accepting, batch_size=5)
    rows.queued(5, address=ADA)
    rows.queued(3, next_attempt_at=clock.now())
    suppress()
    engine.work(LANE)
    assert rung == [LANE]


@pytest.mark.parametrize(
    ("of", "channel", "address", "sent"),
    [
        (None, "email", ADA, False),
        (OURS, "email", ADA, False),
        ("other", "email", ADA, True),
        (None, "sms", ADA, True),
        (None, "email", "Ada@example.com", True),
    ],
)
def test_a_suppression_is_for_its_organization_channel_and_address(
    of: Any, channel: str, address: str, sent: bool, adapter
) -> None:
    adapter(accepting)
    target = rows.queued(address=ADA)
    suppress(address, channel, make_organization().pk if of == "other" else of)
    engine.work(LANE)
    assert rows.statuses(target) == ["sent" if sent else "skipped"]


@pytest.mark.parametrize(("seconds", "ends"), [(59, "skipped"), (61, "sent")])
def test_what_is_suppressed_for_a_time_is_sent_after_it(seconds: int, ends: str, adapter) -> None:
    adapter(accepting)
    (target,) = rows.queued(address=ADA)
    end = clock.now() + timedelta(seconds=60)
    suppression.suppress([Fact(None, "email", ADA, Cause.MANUAL, until=end)])
    move_clock(seconds)
    engine.work(LANE)
    assert rows.statuses([target]) == [ends]


@pytest.mark.parametrize(("seconds", "ends"), [(60, "queued"), (-60, "sent")])
def test_the_last_check_asks_whether_it_still_holds(seconds: int, ends: str, adapter, before_start) -> None:
    adapter(accepting)
    (target,) = rows.queued(address=ADA)
    end = clock.now() + timedelta(seconds=seconds)
    before_start(lambda: suppression.suppress([Fact(None, "email", ADA, Cause.MANUAL, until=end)]))
    engine.work(LANE)
    assert rows.statuses([target]) == [ends]


def test_what_was_lifted_is_sent_again(adapter) -> None:
    adapter(accepting)
    suppress()
    suppression.lift("email", ADA, causes=[Cause.BOUNCED])
    target = rows.queued(address=ADA)
    engine.work(LANE)
    assert rows.statuses(target) == ["sent"]


def test_without_a_provider_the_suppressed_are_still_skipped(monkeypatch) -> None:
    monkeypatch.setattr(engine.providers, "of_channel", lambda channel: [])
    ada, ben = rows.queued(address=ADA), rows.queued()
    suppress()
    engine.work(LANE)
    assert rows.statuses(ada + ben) == ["skipped", "dead"]
    rows.assert_books_balance()


def test_a_retry_is_dropped_like_a_first_attempt(adapter) -> None:
    scripted = adapter(always(TemporaryFailure("busy")))
    (target,) = rows.queued(address=ADA)
    engine.work(LANE)
    suppress()
    move_clock(86_400)
    engine.work(LANE)
    assert stands(target) == ("skipped", "suppressed")
    assert len(scripted.sent) == 1 and rows.row(target)["attempts"] == 1


def test_what_was_held_is_released_and_dropped_by_the_claim(adapter) -> None:
    scripted = adapter(accepting)
    (target,) = rows.targets(rows.notification(kept=True), Status.HELD, address=ADA)
    suppress()
    holds.release_due(10)
    assert rows.statuses([target]) == ["queued"]
    engine.work(LANE)
    assert stands(target) == ("skipped", "suppressed") and scripted.sent == []
    rows.assert_books_balance()


def test_what_expired_while_it_was_queued_expires_in_the_claim(adapter) -> None:
    scripted = adapter(accepting)
    (late,) = rows.queued(expires_at=clock.now())
    (whole,) = rows.queued(expires_at=clock.now() + timedelta(hours=1))
    engine.work(LANE)
    assert stands(late) == ("expired", "expires_at")
    assert [message.target for message in scripted.sent] == [whole]
    rows.assert_books_balance()


def test_what_was_asked_to_be_cancelled_is_cancelled_in_the_claim(adapter) -> None:
    scripted = adapter(accepting)
    (stopped,), (other,) = rows.queued(), rows.queued()
    ask_to_cancel([stopped])
    engine.work(LANE)
    assert stands(stopped) == ("cancelled", "cancelled")
    assert [message.target for message in scripted.sent] == [other]
    rows.assert_books_balance()


@pytest.mark.django_db(transaction=True)
def test_a_claim_that_fails_while_dropping_has_taken_nothing(monkeypatch) -> None:
    ada, ben = rows.queued(address=ADA), rows.queued(address="ben@example.com")
    suppress()

    def fail(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(claims, "_keep", fail)
    with pytest.raises(KeyboardInterrupt):
        claims.take(LANE, "scripted", 10)
    assert rows.statuses(ada + ben) == ["queued", "queued"]
    rows.assert_books_balance()


# --- At the last check -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("what", "ends"), [("suppressed", "skipped"), ("cancelled", "cancelled")])
def test_what_is_stopped_between_claim_and_call_stays_and_the_next_claim_drops_it(
    what: str, ends: str, adapter, before_start
) -> None:
    scripted = adapter(accepting)
    (ada,), (ben,) = rows.queued(address=ADA), rows.queued(address="ben@example.com")
    before_start(suppress if what == "suppressed" else lambda: ask_to_cancel([ada]))
    engine.work(LANE)
    assert rows.statuses([ada, ben]) == ["queued", "sent"]
    assert rows.row(ada)["attempts"] == 0
    engine.work(LANE)
    assert stands(ada) == (ends, what)
    assert [message.target for message in scripted.sent] == [ben]
    assert rows.attempts([ada]) == [] and not Claim.objects.exists()
    rows.assert_books_balance()


def test_what_another_organization_suppressed_meanwhile_goes(adapter, before_start) -> None:
    adapter(accepting)
    (ada,) = rows.queued(address=ADA)
    other = make_organization().pk
    before_start(lambda: suppress(of=other))
    engine.work(LANE)
    assert rows.statuses([ada]) == ["sent"]


# --- After a call ----------------------------------------------------------------------------------------


def in_the_air(lane: str = LANE) -> tuple[claims.Claim, UUID]:
    """A claim whose one target is being sent while its cancellation is asked for."""
    (id,) = rows.queued(lane=lane)
    claim = claims.take(lane, "scripted", 10)
    assert claim is not None and claims.start(claim, [id]) is not None
    ask_to_cancel([id])
    return claim, id


def end(claim: claims.Claim, outcome: Outcome) -> None:
    unknown = settle(claim, [Ended(target, outcome, claim.taken_at) for target in claim.targets])
    claims.close(claim.id, unknown)


def test_a_failed_attempt_of_what_was_asked_to_be_cancelled_is_not_repeated(adapter) -> None:
    scripted = adapter(accepting)
    claim, id = in_the_air()
    end(claim, TemporaryFailure("busy", 3600.0))
    assert stands(id) == ("retrying", "busy")
    assert rows.row(id)["next_attempt_at"] == clock.now()  # not in an hour: the next claim cancels it
    assert engine.work(LANE) == 1
    assert stands(id) == ("cancelled", "cancelled")
    assert scripted.sent == [] and rows.row(id)["attempts"] == 1
    rows.assert_books_balance()
    rows.assert_shapes_hold()


@pytest.mark.parametrize(
    ("outcome", "status"),
    [(Accepted("x"), "sent"), (PermanentFailure("no"), "failed"), (UnknownOutcome("timeout"), "unknown")],
)
def test_every_other_end_of_the_call_is_what_it_is(outcome: Outcome, status: str) -> None:
    claim, id = in_the_air()
    end(claim, outcome)
    assert rows.statuses([id]) == [status]


def test_the_last_attempt_that_fails_is_a_dead_letter_all_the_same() -> None:
    claim, id = in_the_air()
    NotificationTarget.objects.filter(id=id).update(attempts_allowed=1)
    end(replace(claim, targets=[claim.targets[0]._replace(attempts_allowed=1)]), TemporaryFailure("busy"))
    assert stands(id) == ("dead", "attempts_used_up")
    rows.assert_books_balance()


def test_an_unknown_outcome_the_policy_repeats_is_cancelled_instead(adapter, settings) -> None:
    scripted = adapter(accepting)
    claim, id = in_the_air("email.critical")
    end(claim, UnknownOutcome("timeout"))
    move_clock(settings.UNKNOWN_GRACE + 1)
    sweeper.judge_unknown(10)
    assert rows.statuses([id]) == ["retrying"]
    move_clock(86_400)
    engine.work("email.critical")
    assert rows.statuses([id]) == ["cancelled"] and scripted.sent == []
    rows.assert_books_balance()


def test_what_a_rescue_gives_back_is_cancelled_by_the_next_claim(adapter, settings) -> None:
    scripted = adapter(accepting)
    (id,) = rows.queued()
    claims.take(LANE, "scripted", 10)
    ask_to_cancel([id])
    move_clock(settings.CLAIM_LEASE + 1)
    sweeper.rescue_leases(10)
    assert rows.statuses([id]) == ["queued"]
    engine.work(LANE)
    assert rows.statuses([id]) == ["cancelled"] and scripted.sent == []


def test_a_person_who_redrives_it_decides_anew(adapter) -> None:
    scripted = adapter(accepting)
    (id,) = rows.targets(rows.notification(), Status.FAILED, cancel_asked_at=clock.now())
    transitions.redrive([id], more_attempts=1, by=None)
    engine.work(LANE)
    assert rows.statuses([id]) == ["sent"] and len(scripted.sent) == 1
