"""What happens between claim, start and settle to a claim that expires, is lost, or is written off."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from apps.delivery import claims, engine, sweeper
from apps.delivery.models import Claim
from apps.integrations.contract import (
    Accepted,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.notifications.models import NotificationTarget
from project import clock
from tests.support import rows
from tests.support.adapters import accepting, always
from tests.support.database import move_clock
from tests.support.rows import LANE

pytestmark = pytest.mark.django_db


def test_what_expires_before_the_call_is_not_sent_and_uses_no_attempt(adapter, before_start) -> None:
    scripted = adapter(accepting)
    (late,) = rows.queued(expires_at=clock.now() + timedelta(seconds=5))
    (whole,) = rows.queued()
    before_start(lambda: move_clock(10))
    engine.work(LANE)
    assert [message.target for message in scripted.sent] == [whole]
    assert rows.statuses([late, whole]) == ["queued", "sent"]
    sweeper.expire_overdue(10)
    assert rows.statuses([late]) == ["expired"]
    assert rows.row(late)["attempts"] == 0 and rows.attempts([late]) == []
    assert not Claim.objects.exists()
    rows.assert_books_balance()


def test_nothing_is_sent_once_the_lease_is_lost(adapter, before_start, settings) -> None:
    scripted = adapter(accepting)
    targets = rows.queued(3)

    def sweep() -> None:
        move_clock(settings.CLAIM_LEASE + 1)
        assert sweeper.rescue_leases(10) == 1

    before_start(sweep)
    engine.work(LANE)
    assert scripted.sent == []
    assert rows.statuses(targets) == ["queued"] * 3
    assert {rows.row(target)["attempts"] for target in targets} == {0}
    assert not Claim.objects.exists()


def test_a_row_that_another_claim_took_over_is_left_to_it(adapter, before_start, settings) -> None:
    scripted = adapter(accepting)
    (target,) = rows.queued()

    def taken_over() -> None:
        move_clock(settings.CLAIM_LEASE + 1)
        sweeper.rescue_leases(10)
        move_clock(settings.CLAIM_LEASE + 2)
        assert claims.take(LANE, "other", 10) is not None

    before_start(taken_over)
    engine.work(LANE)
    assert (scripted.sent, rows.statuses([target])) == ([], ["sending"])
    assert Claim.objects.get().provider == "other"


def test_a_process_that_stood_still_too_long_gives_back_what_it_had_not_sent(
    adapter, before_start, settings, monkeypatch
) -> None:
    scripted = adapter(accepting)
    targets = rows.queued(2)
    seconds = [0.0]
    monkeypatch.setattr(engine, "time", type("time", (), {"monotonic": lambda: seconds[0]}))
    before_start(lambda: seconds.__setitem__(0, settings.CLAIM_LEASE - settings.CLAIM_MARGIN))
    engine.work(LANE)
    assert scripted.sent == []
    assert rows.statuses(targets) == ["queued"] * 2
    assert not Claim.objects.exists()


@pytest.fixture
def written_off(monkeypatch: pytest.MonkeyPatch, settings) -> Callable[..., None]:
    """Let the sweeper take a started claim for dead just before its worker settles it."""

    def install(*, after: Callable[[], object] = lambda: None) -> None:
        real = engine.until_committed

        def until_committed(write: Callable[[], Any]) -> Any:
            move_clock(settings.CLAIM_LEASE + 1)
            assert sweeper.rescue_leases(10) == 1
            after()
            return real(write)

        monkeypatch.setattr(engine, "until_committed", until_committed)

    return install


def judged() -> None:
    move_clock(10_000)
    assert sweeper.judge_unknown(10) == 1


def dead() -> None:
    judged()
    assert NotificationTarget.objects.get().status == "dead"


def retrying() -> None:
    Claim.objects.update(lane="email.critical")
    judged()
    assert NotificationTarget.objects.get().status == "retrying"


@pytest.mark.parametrize("meanwhile", [lambda: None, dead, retrying])
def test_an_acceptance_learned_late_counts_whatever_became_of_the_target(
    meanwhile, adapter, written_off
) -> None:
    adapter(always(Accepted("late")))
    (target,) = rows.queued()
    written_off(after=meanwhile)
    engine.work(LANE)
    assert rows.attempted(target) == ("sent", "", "accepted", "")
    (attempt,) = rows.attempts([target])
    assert attempt["provider_message_id"] == "late" and attempt["finished_at"] is not None
    move_clock(99_999)
    sweeper.judge_unknown(10)
    assert rows.statuses([target]) == ["sent"]
    assert not Claim.objects.exists()
    rows.assert_books_balance()
    rows.assert_shapes_hold()


@pytest.mark.parametrize(
    "outcome", [TemporaryFailure("busy"), PermanentFailure("rejected"), UnknownOutcome("timeout")]
)
def test_a_failure_learned_late_moves_nothing_and_the_grace_still_ends(outcome, adapter, written_off) -> None:
    adapter(always(outcome))
    (target,) = rows.queued()
    written_off()
    engine.work(LANE)
    assert rows.statuses([target]) == ["unknown"]
    (attempt,) = rows.attempts([target])
    known = not isinstance(outcome, UnknownOutcome)
    assert (attempt["code"] == outcome.code, attempt["finished_at"] is not None) == (known, known)
    judged()
    assert rows.statuses([target]) == ["dead"]
    assert not Claim.objects.exists()
    rows.assert_books_balance()
