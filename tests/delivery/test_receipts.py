"""What becomes of a receipt once it is written down."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError

from apps.delivery import addresses, claims, engine, receipts, sweeper
from apps.delivery.models import Claim, Receipt
from apps.integrations.contract import (
    Accepted,
    PermanentFailure,
    ReceiptEvent,
    ReceiptKind,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.notifications import transitions
from apps.notifications.models import DeadLetter, DeliveryAttempt
from apps.notifications.statuses import Status
from apps.preferences.models import Suppression
from project import clock, db, ids, queues
from tests.support import rows
from tests.support.adapters import always
from tests.support.database import in_threads, move_clock
from tests.support.receivers import KEY
from tests.support.rows import LANE

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rung")]
K = ReceiptKind
_event_ids = count()


def report(target: UUID | None, kind: ReceiptKind, number: int = 1, **fields: Any) -> ReceiptEvent:
    attempt = ids.attempt_id(target, number) if target else None
    event_id = fields.pop("event_id", f"event-{next(_event_ids)}")
    return ReceiptEvent(**{"event_id": event_id, "kind": kind, "target": target, "attempt": attempt} | fields)


def tell(*events: ReceiptEvent) -> list[str]:
    """Store and apply these; what each did."""
    receipts.store(KEY, events)
    receipts.apply(500)
    did = dict(Receipt.objects.values_list("event_id", "applied"))
    return [did[event.event_id] for event in events]


def made(status: Status, **fields: Any) -> UUID:
    return rows.targets(rows.notification(kept=True), status, **fields)[0]


def attempt(target: UUID, outcome: str, number: int = 1, **fields: Any) -> None:
    now = clock.now()
    DeliveryAttempt.objects.create(
        id=ids.attempt_id(target, number), target_id=target, number=number, provider=KEY, worker="w",
        started_at=now - timedelta(seconds=9), outcome=outcome, **fields,
    )  # fmt: skip


def suppressed() -> set[tuple[int | None, str, str, str]]:
    found = Suppression.objects.values_list("organization_id", "channel", "address", "cause")
    return set(found)


# --- As they come ----------------------------------------------------------------------------------------


def test_an_event_is_written_once_however_often_it_comes() -> None:
    event = report(made(Status.SENT), K.DELIVERED)
    assert receipts.store(KEY, [event, event]) == 1
    assert receipts.store(KEY, [event]) == 0
    assert receipts.store("another", [event]) == 1
    assert receipts.store(KEY, []) == 0


def test_all_of_an_event_is_kept() -> None:
    target, at = made(Status.SENT), clock.now() - timedelta(seconds=5)
    receipts.store(KEY, [report(
        target, K.BOUNCED, 3, provider_message_id="m", address="a@example.com", code="550",
        address_is_dead=True, occurred_at=at, raw=b"\x00\xff",
    )])  # fmt: skip
    found = Receipt.objects.get()
    assert (found.provider, found.kind, found.target_id) == (KEY, "bounced", target)
    assert (found.attempt_id, found.provider_message_id) == (ids.attempt_id(target, 3), "m")
    assert (found.address, found.code, found.address_is_dead) == ("a@example.com", "550", True)
    assert (found.occurred_at, bytes(found.raw), found.applied) == (at, b"\x00\xff", "")
    assert found.due_at == found.received_at == clock.now()


def test_what_postgres_cannot_take_loses_no_event() -> None:
    long = report(
        None, K.OTHER, code="\0x" * 100, address="\ud800" + "a" * 400, provider_message_id="m" * 300
    )
    assert receipts.store(KEY, [long]) == 1
    found = Receipt.objects.get()
    assert (len(found.address), len(found.provider_message_id), found.code) == (320, 200, "x" * 30)


def test_the_attempt_names_the_target_and_one_of_another_target_is_none() -> None:
    mine, others = made(Status.SENT), made(Status.SENT)
    only_attempt = ReceiptEvent(event_id="1", kind=K.DELIVERED, attempt=ids.attempt_id(mine, 1))
    mixed_up = ReceiptEvent(event_id="2", kind=K.OPENED, target=mine, attempt=ids.attempt_id(others, 1))
    receipts.store(KEY, [only_attempt, mixed_up])
    found = dict(Receipt.objects.order_by("event_id").values_list("target_id", "attempt_id"))
    assert list(Receipt.objects.values_list("target_id", flat=True)) == [mine, mine]
    assert found == {mine: None}


# --- Statuses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status", "ends", "effect"),
    [
        (K.ACCEPTED, Status.SENDING, "sent", "sent"),
        (K.ACCEPTED, Status.UNKNOWN, "sent", "sent"),
        (K.OTHER, Status.DEAD, "sent", "sent"),
        (K.OPTED_OUT, Status.RETRYING, "sent", "sent"),
        (K.ACCEPTED, Status.SENT, "sent", "already"),
        (K.ACCEPTED, Status.DELIVERED, "delivered", "already"),
        (K.ACCEPTED, Status.CANCELLED, "cancelled", "too_late"),
        (K.DELIVERED, Status.SENDING, "delivered", "delivered"),
        (K.DELIVERED, Status.SENT, "delivered", "delivered"),
        (K.DELIVERED, Status.DEAD, "delivered", "delivered"),
        (K.DELIVERED, Status.FAILED, "delivered", "delivered"),
        (K.DELIVERED, Status.DELIVERED, "delivered", "already"),
        (K.DELIVERED, Status.EXPIRED, "expired", "too_late"),
        (K.DELIVERED, Status.QUEUED, "queued", "too_late"),
        (K.OPENED, Status.SENT, "delivered", "delivered"),
        (K.CLICKED, Status.UNKNOWN, "delivered", "delivered"),
        (K.COMPLAINED, Status.SENT, "delivered", "delivered"),
        (K.OPENED, Status.DELIVERED, "delivered", "stamped"),
        (K.OPENED, Status.SKIPPED, "skipped", "stamped"),
        (K.BOUNCED, Status.SENDING, "failed", "failed"),
        (K.BOUNCED, Status.SENT, "failed", "failed"),
        (K.BOUNCED, Status.UNKNOWN, "failed", "failed"),
        (K.BOUNCED, Status.RETRYING, "failed", "failed"),
        (K.BOUNCED, Status.DEAD, "failed", "failed"),
        (K.BOUNCED, Status.DELIVERED, "delivered", "stamped"),
    ],
)
def test_what_a_receipt_makes_of_a_target(kind: ReceiptKind, status: Status, ends: str, effect: str) -> None:
    target = made(status)
    assert tell(report(target, kind)) == [effect]
    assert rows.statuses([target]) == [ends]
    assert not Receipt.objects.exclude(due_at=None).exists()
    rows.assert_books_balance()
    rows.assert_shapes_hold()


def test_a_bounce_gives_the_vendors_reason_and_ours_where_there_is_none() -> None:
    told, untold = made(Status.SENT), made(Status.SENT)
    tell(report(told, K.BOUNCED, code="550"), report(untold, K.BOUNCED))
    assert [rows.row(target)["reason"] for target in (told, untold)] == ["550", "bounced"]
    assert {rows.row(target)["bounced_at"] for target in (told, untold)} == {clock.now()}


def test_the_bounce_of_an_older_attempt_is_stale_but_its_address_is_dead() -> None:
    target = made(Status.SENT, attempts=2)
    assert tell(report(target, K.BOUNCED, 1, address_is_dead=True)) == ["stale"]
    found = rows.row(target)
    assert (found["status"], found["bounced_at"]) == ("sent", None)
    assert suppressed() == {(1, "email", "p@example.com", "bounced")}


def test_a_bounce_after_the_delivery_is_a_time_and_a_suppression() -> None:
    target = made(Status.DELIVERED)
    assert tell(report(target, K.BOUNCED, address_is_dead=True)) == ["stamped"]
    found = rows.row(target)
    assert (found["status"], found["bounced_at"]) == ("delivered", clock.now())
    assert suppressed() == {(1, "email", "p@example.com", "bounced")}


def test_what_proves_a_dead_one_resolves_its_letter() -> None:
    targets = [made(Status.DEAD) for _ in range(3)]
    tell(*map(report, targets, (K.ACCEPTED, K.DELIVERED, K.BOUNCED)))
    letters = dict(DeadLetter.objects.values_list("target_id", "resolution"))
    assert [letters[target] for target in targets] == ["accepted", "delivered", "bounced"]


def test_a_bounced_one_that_a_person_sends_anew_is_not_sent_by_old_news() -> None:
    target = made(Status.SENT)
    tell(report(target, K.BOUNCED))
    transitions.redrive([target], more_attempts=1, by=None)
    assert claims.take(LANE, KEY, 10) is not None
    assert tell(report(target, K.ACCEPTED, 1)) == ["already"]
    assert rows.statuses([target]) == ["sending"]
    assert tell(report(target, K.ACCEPTED, 2)) == ["sent"]
    assert rows.row(target)["attempts"] == 2


def test_times_are_the_vendors_but_not_in_the_future() -> None:
    target, now = made(Status.DELIVERED), clock.now()
    tell(
        report(target, K.OPENED, occurred_at=now - timedelta(minutes=1)),
        report(target, K.OPENED, occurred_at=now - timedelta(minutes=2)),
        report(target, K.CLICKED, occurred_at=now + timedelta(days=1)),
        report(target, K.COMPLAINED),
    )
    found = rows.row(target)
    assert found["opened_at"] == now - timedelta(minutes=2)
    assert found["clicked_at"] == found["complained_at"] == now


def test_of_no_message_of_ours_nothing_is_learned() -> None:
    stranger = ids.target_id()
    assert tell(
        report(None, K.BOUNCED, address="a@example.com", address_is_dead=True),
        report(stranger, K.OPTED_OUT, address="a@example.com"),
        report(None, K.COMPLAINED, address="a@example.com"),
    ) == ["no_target"] * 3  # fmt: skip
    assert suppressed() == set()


# --- Attempts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [K.ACCEPTED, K.DELIVERED, K.BOUNCED, K.OPENED, K.OTHER, K.OPTED_OUT])
def test_any_receipt_of_an_unknown_attempt_proves_that_it_was_accepted(kind: ReceiptKind) -> None:
    target, before = made(Status.UNKNOWN), clock.now() - timedelta(seconds=5)
    attempt(target, "unknown", code="timeout", unknown_at=before)
    tell(report(target, kind, provider_message_id="m-1"))
    (found,) = rows.attempts([target])
    assert (found["outcome"], found["code"], found["provider_message_id"]) == ("accepted", "", "m-1")
    assert (found["finished_at"], found["unknown_at"]) == (clock.now(), before)


def test_what_an_attempt_knows_already_stays() -> None:
    target = made(Status.RETRYING)
    attempt(target, "temporary_failure", code="busy", provider_message_id="m-0")
    before = rows.attempts([target])
    tell(report(target, K.DELIVERED, provider_message_id="m-1"))
    assert rows.attempts([target]) == before


@pytest.mark.parametrize("outcome", [Accepted("x"), TemporaryFailure("busy"), UnknownOutcome("timeout")])
def test_an_attempt_that_ended_unknown_says_since_when(outcome: Any, adapter) -> None:
    adapter(always(outcome))
    targets = rows.queued()
    engine.work(LANE)
    (found,) = rows.attempts(targets)
    assert found["unknown_at"] == (clock.now() if isinstance(outcome, UnknownOutcome) else None)


def test_a_receipt_that_comes_before_the_timeout_proves_the_attempt_when_that_is_written(
    adapter, monkeypatch
) -> None:
    adapter(always(UnknownOutcome("timeout")))
    (target,) = rows.queued()
    real = engine.until_committed

    def until_committed(write: Any) -> Any:
        assert tell(report(target, K.ACCEPTED, provider_message_id="m-1")) == ["sent"]
        return real(write)

    monkeypatch.setattr(engine, "until_committed", until_committed)
    engine.work(LANE)
    (found,) = rows.attempts([target])
    assert (found["outcome"], found["provider_message_id"]) == ("accepted", "m-1")
    assert found["unknown_at"] is not None
    assert (rows.row(target)["status"], rows.row(target)["attempts"]) == ("sent", 1)
    rows.assert_books_balance()


def unknown_in_grace(adapter: Any, count: int = 1) -> list[UUID]:
    adapter(always(UnknownOutcome("timeout")))
    targets = rows.queued(count)
    engine.work(LANE)
    assert rows.statuses(targets) == ["unknown"] * count
    return targets


@pytest.mark.parametrize(
    ("kind", "ends"), [(K.DELIVERED, "delivered"), (K.ACCEPTED, "sent"), (K.BOUNCED, "failed")]
)
def test_the_end_of_a_grace_changes_nothing_of_what_a_receipt_cleared(kind, ends: str, adapter) -> None:
    cleared, unknown = unknown_in_grace(adapter, 2)
    tell(report(cleared, kind))
    move_clock(10_000)
    sweeper.judge_unknown(10)
    assert rows.statuses([cleared, unknown]) == [ends, "dead"]
    assert not Claim.objects.exists()
    rows.assert_books_balance()
    rows.assert_shapes_hold()


def test_a_worker_that_was_only_slow_changes_nothing_of_what_a_receipt_proved(adapter, monkeypatch) -> None:
    """Its claim is rescued, a receipt comes, then it tells of a failure."""
    adapter(always(TemporaryFailure("busy")))
    (target,) = rows.queued()
    real = engine.until_committed

    def until_committed(write: Any) -> Any:
        move_clock(10_000)
        assert sweeper.rescue_leases(10) == 1
        tell(report(target, K.DELIVERED))
        return real(write)

    monkeypatch.setattr(engine, "until_committed", until_committed)
    engine.work(LANE)
    assert rows.attempted(target) == ("delivered", "", "accepted", "")


# --- Addresses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "dead", "cause"),
    [
        (K.BOUNCED, True, "bounced"),
        (K.BOUNCED, False, None),
        (K.COMPLAINED, False, "complained"),
        (K.OPTED_OUT, False, "opted_out"),
        (K.DELIVERED, False, None),
        (K.OPENED, False, None),
    ],
)
def test_what_is_learned_of_an_address_is_of_the_targets_in_its_organization(kind, dead, cause) -> None:
    target = made(Status.SENT, address="a@example.com", channel="sms")
    tell(report(target, kind, address_is_dead=dead, address="elsewhere@example.com"))
    assert suppressed() == ({(1, "sms", "a@example.com", cause)} if cause else set())


def test_a_stop_that_answers_no_message_counts_for_everybody_until_the_start(reporting) -> None:
    stop, start = (report(None, kind, address="a@example.com") for kind in (K.OPTED_OUT, K.OPTED_IN))
    assert tell(stop) == ["address"]
    assert suppressed() == {(None, "email", "a@example.com", "opted_out")}
    assert tell(start) == ["address"]
    assert suppressed() == set()


def test_a_start_lifts_no_bounce(reporting) -> None:
    tell(report(made(Status.SENT), K.BOUNCED, address_is_dead=True))
    tell(report(None, K.OPTED_IN, address="p@example.com"))
    assert suppressed() == {(1, "email", "p@example.com", "bounced")}


@pytest.mark.parametrize("seconds", [-1, 0, 1])
def test_of_a_stop_and_a_start_the_later_counts_and_of_two_at_once_the_stop(seconds, reporting) -> None:
    at = clock.now() - timedelta(minutes=1)
    target = made(Status.DELIVERED)
    tell(
        report(target, K.OPTED_IN, occurred_at=at),
        report(target, K.OPTED_OUT, occurred_at=at + timedelta(seconds=seconds)),
    )
    assert suppressed() == (set() if seconds < 0 else {(1, "email", "p@example.com", "opted_out")})


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (PermanentFailure("21211", address_is_dead=True), "invalid"),
        (PermanentFailure(addresses.OPTED_OUT, address_is_dead=True), "opted_out"),
        (PermanentFailure("too_long"), None),
    ],
)
def test_an_address_the_provider_refuses_as_dead_is_suppressed_with_the_settle(
    failure, cause, adapter
) -> None:
    adapter(always(failure))
    targets = rows.queued(2)
    engine.work(LANE)
    assert rows.statuses(targets) == ["failed"] * 2
    assert suppressed() == ({(1, "email", "p@example.com", cause)} if cause else set())


# --- The batch -------------------------------------------------------------------------------------------


def test_a_full_batch_rings_before_its_work_and_any_other_does_not(rung: list[str], monkeypatch) -> None:
    monkeypatch.setattr(queues, "answered", lambda lane: rung.append(f"answered {lane}"))
    monkeypatch.setattr(receipts, "BATCH", 2)
    monkeypatch.setattr(receipts, "_apply", lambda told: rung.append("applied") or receipts.Afterwards())
    receipts.store(KEY, [report(None, K.OTHER) for _ in range(3)])
    assert receipts.work() == 2
    assert rung == ["answered receipts", "receipts", "applied"]
    Receipt.objects.filter(id__in=Receipt.objects.order_by("id")[:2]).update(due_at=None)
    rung.clear()
    assert receipts.work() == 1
    assert rung == ["answered receipts", "applied"]


def test_one_receipt_nobody_foresaw_does_not_hold_up_the_others(monkeypatch) -> None:
    good, bad = made(Status.SENT), made(Status.SENT)
    real = receipts._weigh

    def weigh(told: Any, targets: Any) -> Any:
        if bad in targets:
            raise ValueError("nobody foresaw this")
        return real(told, targets)

    monkeypatch.setattr(receipts, "_weigh", weigh)
    assert tell(report(bad, K.DELIVERED), report(good, K.DELIVERED)) == ["", "delivered"]
    assert rows.statuses([bad, good]) == ["sent", "delivered"]
    assert receipts.apply(10) == 0 and sweeper.due_lanes() == []
    monkeypatch.undo()
    move_clock(3601)
    assert receipts.apply(10) == 1
    assert rows.statuses([bad]) == ["delivered"]


def test_without_a_database_nothing_is_put_off(monkeypatch) -> None:
    def away(*_: object) -> None:
        raise OperationalError("the connection is gone")

    receipts.store(KEY, [report(None, K.OTHER)])
    monkeypatch.setattr(receipts, "_apply", away)
    with pytest.raises(OperationalError):
        receipts.apply(10)
    monkeypatch.undo()
    assert receipts.apply(10) == 1


@pytest.mark.django_db(transaction=True)
def test_workers_at_the_same_time_apply_each_receipt_once() -> None:
    """Their batches share targets and notifications, in opposite orders."""
    targets = [
        target for _ in range(2) for target in rows.targets(rows.notification(kept=True), Status.SENT, 30)
    ]
    for order in (targets, targets[::-1]):
        receipts.store(KEY, [report(target, K.DELIVERED) for target in order])
        receipts.store(KEY, [report(target, K.OPENED) for target in order])

    def work(number: int) -> int:
        done = 0
        while taken := receipts.apply(7 + number):
            done += taken
        return done

    assert sum(in_threads(3, work)) == 240
    assert set(rows.statuses(targets)) == {"delivered"}
    assert not Receipt.objects.exclude(due_at=None).exists()
    rows.assert_books_balance()


def test_a_due_receipt_rings_its_lane_and_an_applied_one_does_not(rung: list[str]) -> None:
    receipts.store(KEY, [report(None, K.OTHER)])
    sweeper.sweep()
    assert rung == ["receipts"]
    rung.clear()
    receipts.apply(10)
    sweeper.sweep()
    assert rung == []


def test_applied_receipts_are_forgotten_after_their_time(settings) -> None:
    tell(report(None, K.OTHER, event_id="old"))
    receipts.store(KEY, [report(None, K.OTHER, event_id="old but due")])
    move_clock(60)
    tell(report(None, K.OTHER, event_id="new"))
    Receipt.objects.filter(event_id="old but due").update(due_at=clock.now(), applied="")
    move_clock(settings.RECEIPTS_KEPT.total_seconds() + 1)
    assert receipts.forget_old(10) == 1
    assert set(Receipt.objects.values_list("event_id", flat=True)) == {"old but due", "new"}
    assert receipts.forget_old(10) == 0


def test_nothing_due_is_nothing_done() -> None:
    assert receipts.apply(10) == 0
    assert db.rows("SELECT 1 FROM delivery_receipt") == []
