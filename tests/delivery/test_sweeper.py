"""The sweeper: what the clock alone brings about, and that two of them do it once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from apps.delivery import claims, providers, sweeper
from apps.delivery.models import Claim
from apps.delivery.retry import Policy
from apps.notifications import inbox, transitions
from apps.notifications.inbox_models import InboxItem
from apps.notifications.models import AudienceChunk, DeadLetter, IdempotencyKey, NotificationTarget
from apps.notifications.statuses import Status
from project import clock, db, queues
from tests.api_helpers import make_service
from tests.support import inboxes, rows
from tests.support.database import in_threads, move_clock, other_connection
from tests.support.inboxes import ADA
from tests.support.rows import LANE

pytestmark = pytest.mark.django_db


def claimed(count: int = 2, *, lane: str = LANE, **fields: Any) -> claims.Claim:
    rows.targets(rows.notification(kept=True), Status.QUEUED, count, lane=lane, **fields)
    claim = claims.take(lane, "scripted", 100)
    assert claim is not None
    return claim


def ids_of(claim: claims.Claim) -> list[UUID]:
    return sorted(target.id for target in claim.targets)


def started(count: int = 2, **fields: Any) -> claims.Claim:
    claim = claimed(count, **fields)
    claims.start(claim, ids_of(claim))
    return claim


def after_the_lease() -> None:
    from django.conf import settings

    move_clock(settings.CLAIM_LEASE + 1)


def after_the_grace() -> None:
    from django.conf import settings

    move_clock(settings.CLAIM_LEASE + settings.UNKNOWN_GRACE + 2)


def test_a_lease_that_still_runs_is_left_alone(settings) -> None:
    claim = started()
    move_clock(settings.CLAIM_LEASE - 1)
    assert sweeper.rescue_leases(10) == 0
    assert rows.statuses(ids_of(claim)) == ["sending"] * 2


def test_a_claim_lost_before_its_call_is_given_back_without_an_attempt() -> None:
    claim = claimed()
    after_the_lease()
    assert sweeper.rescue_leases(10) == 1
    found = [rows.row(id) for id in ids_of(claim)]
    assert {(row["status"], row["attempts"], row["claim_id"]) for row in found} == {("queued", 0, None)}
    assert {row["next_attempt_at"] for row in found} == {clock.now()}
    assert rows.attempts(ids_of(claim)) == [] and not Claim.objects.exists()
    rows.assert_shapes_hold()


def test_a_claim_lost_in_its_call_leaves_attempts_nobody_saw_the_end_of(settings) -> None:
    claim = started()
    call_started_at = clock.now()
    after_the_lease()
    sweeper.rescue_leases(10)
    assert rows.statuses(ids_of(claim)) == ["unknown"] * 2
    for attempt in rows.attempts(ids_of(claim)):
        assert (attempt["outcome"], attempt["code"], attempt["number"]) == ("unknown", "worker_lost", 1)
        assert (attempt["started_at"], attempt["finished_at"]) == (call_started_at, None)
        assert (attempt["provider"], attempt["worker"]) == ("scripted", claim.worker)
    row = Claim.objects.get()
    assert (row.target_ids, row.lease_until) == (ids_of(claim), None)
    assert row.grace_until == clock.now() + timedelta(seconds=settings.UNKNOWN_GRACE)
    rows.assert_shapes_hold()


def test_what_a_lost_claim_had_settled_stays_settled() -> None:
    claim = started(3)
    sent, unknown, lost = ids_of(claim)
    transitions.settle(claim.id, [
        transitions.Settled(sent, Status.SENT, "", None, 1),
        transitions.Settled(unknown, Status.UNKNOWN, "timeout", None, 1),
    ])  # fmt: skip
    after_the_lease()
    sweeper.rescue_leases(10)
    assert rows.statuses([sent, unknown, lost]) == ["sent", "unknown", "unknown"]
    assert rows.row(unknown)["reason"] == "timeout"
    assert Claim.objects.get().target_ids == [unknown, lost]


def test_during_the_grace_nothing_is_judged(settings) -> None:
    claim = started()
    after_the_lease()
    sweeper.rescue_leases(10)
    move_clock(settings.CLAIM_LEASE + settings.UNKNOWN_GRACE)
    assert sweeper.judge_unknown(10) == 0
    assert rows.statuses(ids_of(claim)) == ["unknown"] * 2


def judged(claim: claims.Claim) -> list[dict[str, Any]]:
    after_the_lease()
    assert sweeper.rescue_leases(10) == 1
    after_the_grace()
    assert sweeper.judge_unknown(10) == 1
    assert not Claim.objects.exists()
    rows.assert_books_balance()
    rows.assert_shapes_hold()
    return [rows.row(id) for id in ids_of(claim)]


@pytest.mark.parametrize("lane", ["email.normal", "email.bulk", "sms.high"])
def test_after_the_grace_an_email_or_sms_is_left_to_a_person(lane: str) -> None:
    found = judged(started(lane=lane, channel=lane.partition(".")[0]))
    assert {(row["status"], row["reason"]) for row in found} == {("dead", "unknown_outcome")}
    letters = DeadLetter.objects.values_list("target_id", "reason", "resolved_at")
    assert sorted(letters) == [(row["id"], "unknown_outcome", None) for row in found]


@pytest.mark.parametrize("channel", ["email", "sms"])
def test_after_the_grace_a_critical_one_is_repeated_and_marked(channel: str) -> None:
    found = judged(started(lane=f"{channel}.critical", channel=channel))
    assert {(row["status"], row["reason"]) for row in found} == {("retrying", "possibly_double")}
    assert all(row["next_attempt_at"] > clock.now() for row in found)
    assert not DeadLetter.objects.exists()


def test_after_the_grace_a_channel_whose_receivers_recognise_repeats_repeats(monkeypatch) -> None:
    policy = Policy(base=10, cap=60, repeats_unknown=True)
    monkeypatch.setattr(sweeper, "policy_of", lambda channel: policy)
    found = judged(started())
    assert {(row["status"], row["reason"]) for row in found} == {("retrying", "repeated")}


def test_after_the_grace_the_last_attempt_is_not_repeated() -> None:
    found = judged(started(lane="email.critical", attempts=5))
    assert {(row["status"], row["reason"]) for row in found} == {("dead", "attempts_used_up")}


def test_after_the_grace_nothing_is_repeated_past_its_expiry() -> None:
    found = judged(started(lane="email.critical", expires_at=clock.now() + timedelta(seconds=60)))
    assert {(row["status"], row["reason"]) for row in found} == {("dead", "no_time_left")}


def test_what_a_receipt_cleared_during_the_grace_is_not_judged() -> None:
    claim = started(3)
    delivered, cancelled, unknown = ids_of(claim)
    after_the_lease()
    sweeper.rescue_leases(10)
    transitions.prove(delivered=[delivered])
    transitions.cancel([cancelled])
    after_the_grace()
    sweeper.judge_unknown(10)
    assert rows.statuses([delivered, cancelled, unknown]) == ["delivered", "cancelled", "dead"]
    assert not Claim.objects.exists()
    rows.assert_books_balance()


def test_a_grace_says_nothing_of_rows_that_a_later_claim_holds() -> None:
    claim = started(1)
    (id,) = ids_of(claim)
    after_the_lease()
    sweeper.rescue_leases(10)
    transitions.repeat_unknown([id], at=clock.now(), reason="repeated")
    later = claims.take(LANE, "scripted", 10)
    assert later is not None
    transitions.settle(later.id, [transitions.Settled(id, Status.UNKNOWN, "timeout", None, 2)])
    after_the_grace()
    sweeper.judge_unknown(10)
    assert rows.statuses([id]) == ["unknown"]


def test_more_claims_than_one_step_takes_are_rescued_and_judged_in_one_sweep(monkeypatch) -> None:
    monkeypatch.setattr(queues, "ring", lambda *lanes: None)
    monkeypatch.setattr(providers, "policy_of", lambda channel: Policy(base=10, cap=60))
    many = [started(1) for _ in range(2 * sweeper._CLAIMS_AT_ONCE + 1)]
    after_the_lease()
    sweeper.sweep()
    targets = [id for claim in many for id in ids_of(claim)]
    assert set(rows.statuses(targets)) == {"unknown"}
    after_the_grace()
    sweeper.sweep()
    assert set(rows.statuses(targets)) == {"dead"}


def test_what_waits_past_its_expiry_expires() -> None:
    note, soon = rows.notification(kept=True), clock.now() + timedelta(seconds=10)
    late = [rows.targets(note, status, expires_at=soon)[0] for status in (Status.QUEUED, Status.RETRYING)]
    stays = [
        *rows.targets(note, Status.SENDING, expires_at=soon),
        *rows.targets(note, Status.UNKNOWN, expires_at=soon),
        *rows.targets(note, Status.SENT, expires_at=soon),
        *rows.targets(note, Status.QUEUED, expires_at=soon + timedelta(seconds=1)),
        *rows.targets(note, Status.QUEUED),
    ]
    before = rows.statuses(stays)
    move_clock(9.9)
    assert sweeper.expire_overdue(10) == 0
    move_clock(10)
    assert sweeper.expire_overdue(10) == 2
    assert rows.statuses(late) == ["expired"] * 2 and rows.statuses(stays) == before
    rows.assert_books_balance()


def test_the_lanes_with_something_due_are_rung(monkeypatch) -> None:
    note, now = rows.notification(), clock.now()
    rows.targets(note, Status.QUEUED, lane="sms.critical")
    rows.targets(note, Status.RETRYING, lane="email.bulk")
    rows.targets(note, Status.QUEUED, lane="email.low", next_attempt_at=now + timedelta(seconds=1))
    rows.targets(note, Status.SENDING, lane="in_app.high")
    assert sorted(sweeper.due_lanes()) == ["email.bulk", "sms.critical"]
    AudienceChunk.objects.create(notification=note, user_ids=[1])
    rung: list[str] = []
    monkeypatch.setattr(queues, "ring", lambda *lanes: rung.extend(lanes))
    sweeper.sweep()
    assert sorted(rung) == ["email.bulk", "planning", "sms.critical"]


def test_idempotency_keys_are_forgotten_after_their_day(monkeypatch) -> None:
    monkeypatch.setattr(queues, "ring", lambda *lanes: None)
    client = make_service()
    for key, age in (("old", 24 * 3600 + 1), ("new", 24 * 3600 - 1)):
        IdempotencyKey.objects.create(
            client=client, key=key, fingerprint=b"x", status_code=202, body=b"{}",
            created_at=clock.now() - timedelta(seconds=age),
        )  # fmt: skip
    sweeper.sweep()
    assert list(IdempotencyKey.objects.values_list("key", flat=True)) == ["new"]


def test_a_sweep_ends_even_if_there_is_always_more() -> None:
    calls: list[int] = []
    sweeper._until_nothing_left(lambda limit: calls.append(limit) or limit, 3, most=21)
    assert calls == [3] * 7


def test_a_step_that_fails_does_not_stop_the_others(monkeypatch) -> None:
    def fail(limit: int) -> int:
        raise ValueError("a row nobody foresaw")

    monkeypatch.setattr(sweeper, "judge_unknown", fail)
    rung: list[str] = []
    monkeypatch.setattr(queues, "ring", lambda *lanes: rung.extend(lanes))
    (held,) = rows.targets(rows.notification(), Status.HELD)
    sweeper.sweep()
    assert (rows.statuses([held]), rung) == (["queued"], [LANE])


def test_snoozed_items_come_back_in_a_sweep(monkeypatch) -> None:
    hinted: list[dict[int, int]] = []
    monkeypatch.setattr(inbox, "hint", lambda heads: hinted.append(dict(heads)))
    due, later, plain = inboxes.deliver(ADA, 3)
    inboxes.do("snooze", due)
    move_clock(1800)
    inboxes.do("snooze", later)
    hinted.clear()
    sweeper.sweep()
    assert inboxes.there(ADA) == [plain] and hinted == []
    move_clock(3601)
    sweeper.sweep()
    assert inboxes.there(ADA) == [plain, due] and hinted == [{ADA: 6}]
    assert inboxes.counts(ADA) == (6, 2, 2)


@pytest.mark.django_db(transaction=True)
def test_snoozed_items_come_back_once_whoever_sweeps(monkeypatch) -> None:
    monkeypatch.setattr(inbox, "hint", lambda heads: None)
    for user in (1, 2, 3):
        inboxes.do("snooze", *inboxes.deliver(user, 20), user=user)
    InboxItem.objects.update(snoozed_until=clock.now() - timedelta(seconds=1))

    def sweep(number: int) -> int:
        rounds = 0
        while inbox.return_snoozed(7):
            rounds += 1
        return rounds

    in_threads(3, sweep)
    for user in (1, 2, 3):  # 20 came, were snoozed, and came back
        assert inboxes.counts(user) == (60, 20, 20) and len(inboxes.there(user)) == 20
    inboxes.assert_books_balance()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("step", [sweeper.rescue_leases, sweeper.judge_unknown])
def test_a_claim_in_another_sweepers_hands_is_left_to_it_without_waiting(step) -> None:
    past = clock.now() - timedelta(seconds=1)
    held, free = started(1), started(1)
    if step is sweeper.judge_unknown:
        for claim in (held, free):
            target = ids_of(claim)[0]
            transitions.settle(claim.id, [transitions.Settled(target, Status.UNKNOWN, "x", None, 1)])
            claims.close(claim.id, [target])
        Claim.objects.update(grace_until=past)
    else:
        Claim.objects.update(lease_until=past)
    before = rows.statuses(ids_of(held))
    with other_connection() as other:
        other.execute("SELECT 1 FROM delivery_claim WHERE id = %s FOR UPDATE", [held.id])
        db.execute("SET lock_timeout = '300ms'")
        assert step(10) == 1
        assert rows.statuses(ids_of(held)) == before != rows.statuses(ids_of(free))
        other.rollback()
    assert step(10) == 1


def everything_at_once() -> dict[str, list[UUID]]:
    """Something for every step of a sweep, all of it due some time ago; the clock itself stays."""
    now = clock.now()
    lost = started(2)
    unstarted = claimed(2, lane="email.high")
    in_grace = started(2, lane="sms.normal", channel="sms")
    transitions.settle(
        in_grace.id, [transitions.Settled(id, Status.UNKNOWN, "x", None, 1) for id in ids_of(in_grace)]
    )
    claims.close(in_grace.id, ids_of(in_grace))
    past = now - timedelta(seconds=1)
    Claim.objects.filter(id__in=[lost.id, unstarted.id]).update(lease_until=past)
    Claim.objects.filter(id=in_grace.id).update(grace_until=past)
    note = rows.notification(kept=True)
    return {
        "unknown": ids_of(lost),
        "queued": ids_of(unstarted) + rows.targets(note, Status.HELD, 5),
        "dead": ids_of(in_grace),
        "expired": rows.targets(note, Status.QUEUED, 5, expires_at=past)
        + rows.targets(note, Status.HELD, 5, expires_at=past),
    }


@pytest.mark.django_db(transaction=True)
def test_sweepers_at_the_same_time_do_each_thing_once(monkeypatch) -> None:
    monkeypatch.setattr(queues, "ring", lambda *lanes: None)
    expected = everything_at_once()
    in_threads(3, lambda number: sweeper.sweep())
    for status, targets in expected.items():
        assert set(rows.statuses(targets)) == {status}
    assert [attempt["number"] for attempt in rows.attempts(expected["unknown"])] == [1, 1]
    assert sorted(DeadLetter.objects.values_list("target_id", flat=True)) == sorted(expected["dead"])
    assert Claim.objects.count() == 1
    assert NotificationTarget.objects.filter(attempts__gt=1).count() == 0
    rows.assert_books_balance()
    rows.assert_shapes_hold()
