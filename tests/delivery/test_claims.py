"""Claims: nothing is in two of them, they never wait, and what they take first."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from uuid import UUID

import pytest

from apps.delivery import claims
from apps.delivery.models import Claim
from apps.notifications import transitions
from apps.notifications.models import NotificationTarget
from apps.notifications.statuses import Status
from apps.notifications.transitions import Due
from project import clock, db
from tests.support import rows
from tests.support.database import in_threads, move_clock, other_connection
from tests.support.rows import LANE

SECOND = timedelta(seconds=1)


def due_rows(count: int, *, lane: str = LANE) -> list[UUID]:
    """Queued rows, each due a second after the one before, the last one a second ago."""
    note, now = rows.notification(), clock.now()
    return [
        rows.targets(note, Status.QUEUED, lane=lane, next_attempt_at=now - SECOND * (count - n))[0]
        for n in range(count)
    ]


def drain(number: int) -> list[UUID]:
    """Claim until nothing is left; a claim that would wait for a lock fails."""
    db.execute("SET lock_timeout = '200ms'")
    taken: list[UUID] = []
    for round_ in range(1000):
        with db.one_transaction():
            found = transitions.claim(Due(LANE, 7), number * 1000 + round_)
        if not found:
            return taken
        taken += [target.id for target in found]
    raise AssertionError("it never ends")


@pytest.mark.django_db(transaction=True)
def test_under_contention_every_target_is_claimed_by_exactly_one() -> None:
    ids = rows.targets(rows.notification(), Status.QUEUED, 300)
    shares = in_threads(4, drain)
    assert sorted(id for share in shares for id in share) == ids
    claimed = NotificationTarget.objects.values_list("id", "status", "claim_id")
    owners = {id: number for number, share in enumerate(shares) for id in share}
    assert {id: claim // 1000 for id, _, claim in claimed} == owners
    assert {status for _, status, _ in claimed} == {"sending"}


@pytest.mark.django_db(transaction=True)
def test_a_claim_passes_over_rows_that_somebody_holds_locked() -> None:
    ids = rows.targets(rows.notification(), Status.QUEUED, 40)
    with other_connection() as other:
        held = [id for (id,) in other.execute(
            "SELECT id FROM notifications_notificationtarget ORDER BY id LIMIT 10 FOR UPDATE"
        )]  # fmt: skip
        shares = in_threads(2, drain)
        assert sorted(id for share in shares for id in share) == sorted(set(ids) - set(held))
        other.rollback()
    assert sorted(drain(9)) == sorted(held)


@pytest.mark.django_db(transaction=True)
def test_a_row_cancelled_while_it_is_claimed_is_cancelled_or_claimed_never_both() -> None:
    ids = rows.targets(rows.notification(kept=True), Status.QUEUED, 200)

    def work(number: int) -> set[UUID]:
        if number:
            return set(drain(number))
        moved: set[UUID] = set()
        for id in reversed(ids):
            moved |= {move.id for move in transitions.cancel([id])}
        return moved

    cancelled, *claimed = in_threads(3, work)
    assert cancelled.isdisjoint(set().union(*claimed))
    assert cancelled.union(*claimed) == set(ids)
    rows.assert_books_balance()


@pytest.mark.django_db
def test_four_fifths_of_a_claim_are_the_oldest_and_a_fifth_the_newest() -> None:
    ids = due_rows(30)
    claim = claims.take(LANE, "scripted", 10)
    assert claim is not None and claim.full
    assert sorted(target.id for target in claim.targets) == sorted(ids[:8] + ids[-2:])


@pytest.mark.django_db
def test_the_order_of_a_claim_does_not_depend_on_the_plan() -> None:
    note, now = rows.notification(), clock.now()
    newest_first = [rows.targets(note, next_attempt_at=now - SECOND * n)[0] for n in range(20)]
    for option, value in (("seqscan", "on"), ("indexscan", "off"), ("bitmapscan", "off")):
        db.execute(f"SET LOCAL enable_{option} = {value}")
    db.execute("DISCARD PLANS")
    found = transitions.claim(Due(LANE, 10), 1)
    assert {target.id for target in found} == {*newest_first[-8:], *newest_first[:2]}


@pytest.mark.django_db
def test_rows_due_at_the_same_moment_go_by_their_ids() -> None:
    ids = rows.targets(rows.notification(), Status.QUEUED, 6)
    claim = claims.take(LANE, "scripted", 4)
    assert claim is not None
    assert sorted(target.id for target in claim.targets) == ids[:4]


@pytest.mark.django_db
@pytest.mark.parametrize("waiting", [0, 1, 4, 5, 9])
def test_a_claim_takes_all_there_is_when_that_is_less(waiting: int) -> None:
    ids = due_rows(waiting)
    claim = claims.take(LANE, "scripted", 10)
    assert sorted(target.id for target in claim.targets) == sorted(ids) if claim else waiting == 0
    assert claim is None or not claim.full
    assert Claim.objects.count() == min(waiting, 1)


@pytest.mark.django_db
def test_a_claim_is_a_row_with_a_lease(settings) -> None:
    settings.CLAIM_LEASE = 60.0
    ids = due_rows(3)
    claim = claims.take(LANE, "scripted", 10)
    assert claim is not None
    row = Claim.objects.get(id=claim.id)
    assert (row.lane, row.provider, row.worker) == (LANE, "scripted", claims.worker_name())
    assert sorted(row.target_ids) == sorted(ids)
    assert row.lease_until == clock.now() + timedelta(seconds=60)
    assert (row.call_started_at, row.grace_until) == (None, None)


@pytest.mark.django_db
def test_claim_ids_never_repeat() -> None:
    taken = []
    for _ in range(120):
        rows.targets(rows.notification(), Status.QUEUED)
        claim = claims.take(LANE, "scripted", 1)
        assert claim is not None
        taken.append(claim.id)
    assert len(set(taken)) == 120


class Watermarked:
    """A lane that has been claimed from in full, with a hand on the process's clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, count: int = 40, limit: int = 5) -> None:
        self.seconds = 1000.0
        self.after: list[int] = []
        monkeypatch.setattr(claims, "time", SimpleNamespace(monotonic=lambda: self.seconds))
        real = transitions.claim

        def spy(due: Due, claim_id: int) -> list[transitions.Claimed]:
            self.after.append(due.marks.after[0])
            return real(due, claim_id)

        monkeypatch.setattr(transitions, "claim", spy)
        self.ids = due_rows(count)
        self.limit = limit
        self.take()
        self.after.clear()

    def take(self) -> set[UUID]:
        claim = claims.take(LANE, "scripted", self.limit)
        return {target.id for target in claim.targets} if claim else set()


@pytest.mark.django_db
def test_after_a_full_claim_the_next_one_looks_past_its_rows(monkeypatch) -> None:
    lane = Watermarked(monkeypatch)
    assert lane.take() == {*lane.ids[4:8], lane.ids[-2]}
    assert len(lane.after) == 1 and lane.after[0] > 0


@pytest.mark.django_db
def test_the_newest_end_is_taken_downwards_and_what_has_just_come_due_first(monkeypatch) -> None:
    lane = Watermarked(monkeypatch)  # which has taken ids[-1]
    assert lane.ids[-2] in lane.take()
    (fresh,) = rows.targets(rows.notification(), Status.QUEUED, next_attempt_at=clock.now())
    taken = lane.take()
    assert fresh in taken and lane.ids[-3] not in taken
    assert lane.ids[-3] in lane.take()


@pytest.mark.django_db
def test_a_row_committed_late_is_found_within_the_marks_time(monkeypatch) -> None:
    lane = Watermarked(monkeypatch)
    (late,) = rows.targets(rows.notification(), Status.QUEUED, next_attempt_at=clock.now() - 9999 * SECOND)
    for _ in range(3):
        lane.seconds += claims.MARKS_SECONDS / 4
        assert late not in lane.take()
    lane.seconds += claims.MARKS_SECONDS / 4 + 0.01
    assert late in lane.take()


@pytest.mark.django_db
def test_a_claim_that_finds_too_little_past_the_watermark_looks_before_it(monkeypatch) -> None:
    lane = Watermarked(monkeypatch, count=7)
    (late,) = rows.targets(rows.notification(), Status.QUEUED, next_attempt_at=clock.now() - 9999 * SECOND)
    assert lane.take() == {late, *lane.ids[4:6]}
    assert lane.take() == set()


@pytest.mark.django_db
def test_after_a_claim_that_was_not_full_the_next_starts_at_the_beginning(monkeypatch) -> None:
    lane = Watermarked(monkeypatch, count=7)
    lane.take()
    lane.after.clear()
    lane.take()
    assert lane.after == [0]


@pytest.mark.django_db
def test_rows_given_back_are_claimed_again_by_the_next(monkeypatch) -> None:
    lane = Watermarked(monkeypatch, count=6)
    given_back = lane.ids[:2]
    claim_id = rows.row(given_back[0])["claim_id"]
    transitions.give_back(given_back, claim_id)
    move_clock(1)
    assert lane.take() == {*given_back, lane.ids[4]}


@pytest.mark.django_db
def test_each_lane_has_its_own_watermark(monkeypatch) -> None:
    lane = Watermarked(monkeypatch)
    rows.targets(
        rows.notification(), Status.QUEUED, lane="email.high", next_attempt_at=clock.now() - 9999 * SECOND
    )
    claim = claims.take("email.high", "scripted", lane.limit)
    assert claim is not None and len(claim.targets) == 1


def taken(count: int = 3) -> claims.Claim:
    due_rows(count)
    claim = claims.take(LANE, "scripted", 10)
    assert claim is not None
    return claim


@pytest.mark.django_db
def test_starting_renews_the_lease_and_tells_when(settings) -> None:
    claim = taken()
    move_clock(10)
    started = claims.start(claim, [target.id for target in claim.targets])
    row = Claim.objects.get()
    assert started == (clock.now(), set())
    assert row.call_started_at == clock.now()
    assert row.lease_until == clock.now() + timedelta(seconds=settings.CLAIM_LEASE)


@pytest.mark.django_db
def test_nothing_starts_once_the_lease_has_run_out(settings) -> None:
    claim = taken()
    move_clock(settings.CLAIM_LEASE + 1)
    assert claims.start(claim, [target.id for target in claim.targets]) is None
    assert Claim.objects.get().call_started_at is None


@pytest.mark.django_db
def test_what_moved_on_or_expired_meanwhile_does_not_start() -> None:
    claim = taken(4)
    gone, expired, stolen, stays = (target.id for target in claim.targets)
    transitions.prove(delivered=[gone])
    NotificationTarget.objects.filter(id=expired).update(expires_at=clock.now())
    NotificationTarget.objects.filter(id=stolen).update(claim_id=claim.id + 1)
    _, stay = claims.start(claim, [gone, expired, stolen, stays])
    assert stay == {gone, expired, stolen}


@pytest.mark.django_db
def test_a_closed_claim_is_gone_or_keeps_what_is_unknown_for_its_grace(settings) -> None:
    claim, other = taken(), taken()
    left = [target.id for target in claim.targets[:2]]
    claims.close(claim.id, left)
    claims.close(other.id, [])
    row = Claim.objects.get()
    assert (row.id, row.target_ids, row.lease_until) == (claim.id, sorted(left), None)
    assert row.grace_until == clock.now() + timedelta(seconds=settings.UNKNOWN_GRACE)


@pytest.mark.django_db
def test_closing_again_forgets_no_grace() -> None:
    claim = taken()
    claims.close(claim.id, [claim.targets[0].id])
    claims.close(claim.id, [])
    assert Claim.objects.get().target_ids == [claim.targets[0].id]


@pytest.mark.django_db
def test_the_claims_own_clock_goes_on_from_the_databases() -> None:
    move_clock(86_400)
    claim = taken()
    assert clock.now() <= claim.now < clock.now() + timedelta(seconds=30)
