"""How many statements each step costs: the same for 2 targets and for 200."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from django.db import transaction

from apps.content import catalog
from apps.delivery import claims, engine, receipts, sweeper, watch
from apps.integrations.contract import (
    Accepted,
    Outcome,
    PermanentFailure,
    ReceiptEvent,
    ReceiptKind,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.notifications import contents, holds, inbox, intake
from apps.notifications.intake import Order
from apps.notifications.models import NotificationTarget
from apps.notifications.statuses import Status
from apps.preferences import suppression
from apps.preferences.suppression import Cause, Fact
from apps.users import people
from project import clock, db, ids, queues
from tests.support import rows, templates
from tests.support.adapters import always, answering
from tests.support.database import capture, move_clock
from tests.support.receivers import KEY
from tests.support.rows import LANE

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("read_already")]


@pytest.fixture
def health_aside(monkeypatch) -> None:
    """What failures say of the provider is noted in statements of its own: tests/delivery/test_watch.py."""
    monkeypatch.setattr(watch, "report", lambda account, seen: None)


MIXED: list[Outcome] = [Accepted("x"), TemporaryFailure("a"), PermanentFailure("b"), UnknownOutcome("c")]


@pytest.fixture(autouse=True)
def ids_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claim ids come fifty at a time; here they are there already."""
    claims._ids.next()  # which makes them this process's
    while not claims._ids._ids:
        claims._ids.next()
    monkeypatch.setattr(inbox, "hint", lambda heads: None)


def queued(count: int, lane: str = LANE) -> list[UUID]:
    """Targets of two notifications, both with a summary."""
    half = count // 2
    return [
        id
        for share in (half, count - half)
        for id in rows.targets(
            rows.notification(kept=True), Status.QUEUED, share, lane=lane, channel=lane.partition(".")[0]
        )
    ]


def cost(work: Callable[[], object]) -> int:
    with capture() as statements:
        work()
    return len(statements)


def test_raw_statements_are_seen_by_the_capture() -> None:
    with capture() as statements:
        db.rows("SELECT 1, %s::int", [2])
        db.execute("UPDATE users_user SET name = %(name)s WHERE false", {"name": "x"})
    assert len(statements) == 2 and "SELECT 1" in statements[0] and "UPDATE" in statements[1]


@pytest.mark.parametrize("count", [2, 200])
def test_a_claim_is_three_statements(count: int) -> None:
    """Rows, what of them is suppressed, the claim."""
    queued(count)
    assert cost(lambda: claims.take(LANE, "scripted", 500)) == 3


@pytest.mark.parametrize("count", [3, 300])
def test_dropping_costs_one_statement_more_whatever_the_reasons(count: int) -> None:
    ids, other = queued(count), queued(1)
    suppression.suppress([Fact(None, "email", "gone@example.com", Cause.BOUNCED)])
    for number, values in enumerate(
        ({"address": "gone@example.com"}, {"expires_at": clock.now()}, {"cancel_asked_at": clock.now()})
    ):
        NotificationTarget.objects.filter(id__in=ids[number::3]).update(**values)
    assert cost(lambda: claims.take(LANE, "scripted", 500)) == 4
    assert set(rows.statuses(ids)) == {"skipped", "expired", "cancelled"}
    assert rows.statuses(other) == ["sending"]


@pytest.mark.parametrize("count", [2, 200])
def test_a_start_is_one_statement(count: int) -> None:
    queued(count)
    claim = claims.take(LANE, "scripted", 500)
    assert claim is not None
    assert cost(lambda: claims.start(claim, [target.id for target in claim.targets])) == 1


@pytest.mark.parametrize("count", [2, 200])
def test_a_batch_that_is_all_accepted_costs_eight_statements(count: int, adapter) -> None:
    """Claim 3, texts 1, start 1; attempts, targets with their summaries, claim."""
    adapter(always(Accepted("x")))
    targets = queued(count)
    contents._cache.clear()
    assert cost(lambda: engine.work(LANE)) == 8
    assert set(rows.statuses(targets)) == {"sent"}


@pytest.mark.parametrize("count", [4, 200])
def test_a_batch_of_mixed_outcomes_costs_one_more(count: int, adapter, health_aside) -> None:
    """Of the unknown ones a receipt may have come already."""
    outcomes = iter(MIXED * 50)
    adapter(answering(lambda message: next(outcomes)))
    targets = queued(count)
    contents._cache.clear()
    assert cost(lambda: engine.work(LANE)) == 9
    assert set(rows.statuses(targets)) == {"sent", "retrying", "failed", "unknown"}


@pytest.mark.parametrize("count", [2, 200])
def test_dead_addresses_cost_one_statement_more(count: int, adapter) -> None:
    adapter(always(PermanentFailure("no_such_address", address_is_dead=True)))
    targets = queued(count)
    contents._cache.clear()
    assert cost(lambda: engine.work(LANE)) == 9
    assert set(rows.statuses(targets)) == {"failed"}


@pytest.mark.parametrize("count", [2, 200])
def test_dead_letters_cost_one_statement_more(count: int, adapter, health_aside) -> None:
    adapter(always(TemporaryFailure("busy")))
    note = rows.notification(kept=True)
    rows.targets(note, Status.QUEUED, count, attempts=5)
    contents._cache.clear()
    assert cost(lambda: engine.work(LANE)) == 9


@pytest.mark.parametrize("count", [2, 200])
def test_an_in_app_batch_costs_four_statements(count: int) -> None:
    """Rows, texts, inbox, targets with their summaries."""
    targets = queued(count, "in_app.normal")
    contents._cache.clear()
    assert cost(lambda: engine.work("in_app.normal")) == 4
    assert set(rows.statuses(targets)) == {"delivered"}


@pytest.mark.parametrize("count", [1, 40])
def test_accepting_notifications_costs_the_same_for_any_number(count: int) -> None:
    somebody = people.find(1, ids=[user.pk for user in rows.people(3)])
    order = Order(organization_id=1, channels=["email", "sms"], title="Hello")
    assert cost(lambda: intake.accept([(order, somebody)] * count, clock.now())) <= 5


@pytest.mark.parametrize("count", [2, 200])
def test_rescuing_a_claim_costs_the_same_for_any_number_of_targets(count: int, settings) -> None:
    queued(count)
    claim = claims.take(LANE, "scripted", 500)
    assert claim is not None
    claims.start(claim, [target.id for target in claim.targets])
    move_clock(settings.CLAIM_LEASE + 1)
    rescue = cost(lambda: sweeper.rescue_leases(10))
    move_clock(settings.CLAIM_LEASE + settings.UNKNOWN_GRACE + 2)
    judge = cost(lambda: sweeper.judge_unknown(10))
    assert (rescue, judge) == (7, 6)


def held(count: int, reason: str) -> None:
    """Of as many people, two for each of them."""
    note = rows.notification(kept=True, type="news")
    for person in rows.people(count):
        rows.targets(note, Status.HELD, 2, user_id=person.pk, reason=reason, address=person.email)


@pytest.mark.parametrize("count", [2, 500])
def test_a_release_costs_seven_statements_for_any_number(count: int) -> None:
    """Who is due, their lock, what they have waiting; the time, what they want; targets, summaries."""
    note = rows.notification(kept=True)
    ids = [rows.targets(note, Status.HELD)[0] for _ in range(count)]
    assert cost(lambda: holds.release_due(1_000)) == 7
    assert set(rows.statuses(ids)) == {"queued"}


@pytest.mark.parametrize("count", [2, 200])
@pytest.mark.parametrize(
    ("reason", "statements"),
    [
        ("quiet_hours", 9),  # and types, decisions
        ("digest", 14),  # and the template, the texts, the people; notifications and targets of digests
    ],
)
def test_a_release_of_what_belongs_together_costs_the_same_for_any_number(
    reason: str, statements: int, count: int
) -> None:
    templates.template("digest_email", {"email": {"subject": "{{ count }}", "body": "x"}})
    templates.type_of("news")
    catalog.find(1, templates=["digest_email"])  # this process has met the version
    held(count, reason)
    assert cost(lambda: holds.release_due(1_000)) == statements


@pytest.mark.parametrize("count", [2, 200])
def test_deciding_anew_costs_the_same_for_any_number(count: int) -> None:
    """The lock, what they have waiting; the time, what they want; targets, summaries, decisions."""
    note = rows.notification(kept=True)
    (person,) = rows.people()
    rows.targets(note, Status.HELD, count, user_id=person.pk, reason="quiet_hours")
    with transaction.atomic():
        assert cost(lambda: holds.decide_anew([person.pk], why="preferences")) == 7


def told(kind: ReceiptKind, status: Status, count: int) -> list[ReceiptEvent]:
    """One of each target of two notifications, of a dead address."""
    half = count // 2
    notes = [(rows.notification(kept=True), share) for share in (half, count - half)]
    attempts = [ids.attempt_id(id, 1) for note, share in notes for id in rows.targets(note, status, share)]
    return [ReceiptEvent(event_id=str(id), kind=kind, attempt=id, address_is_dead=True) for id in attempts]


@pytest.mark.parametrize("count", [2, 200])
def test_storing_receipts_is_one_statement(count: int) -> None:
    events = told(ReceiptKind.DELIVERED, Status.SENT, count)
    assert cost(lambda: receipts.store("p", events)) == 1


@pytest.mark.parametrize("count", [2, 200])
@pytest.mark.parametrize(
    ("kind", "status", "statements"),
    [
        (ReceiptKind.ACCEPTED, Status.SENT, 4),  # receipts, targets, attempts; receipts
        (ReceiptKind.DELIVERED, Status.SENT, 6),  # and the targets' status, their summaries
        (ReceiptKind.OPENED, Status.SENT, 7),  # and their times
        (ReceiptKind.DELIVERED, Status.DEAD, 7),  # or their dead letters
        (ReceiptKind.BOUNCED, Status.SENT, 8),  # or their times, and suppressions
    ],
)
def test_applying_receipts_costs_the_same_for_any_number(
    kind: ReceiptKind, status: Status, statements: int, count: int, monkeypatch
) -> None:
    monkeypatch.setattr(queues, "ring", lambda *lanes: None)
    receipts.store("p", told(kind, status, count))
    assert cost(lambda: receipts.apply(500)) == statements


@pytest.mark.parametrize("count", [1, 40])
def test_answering_help_costs_six_more_for_any_number(count: int, monkeypatch, reporting, settings) -> None:
    """Who asks, who was answered; the time, what is suppressed, notifications, targets."""
    monkeypatch.setattr(queues, "ring", lambda *lanes: None)
    monkeypatch.setattr(reporting, "channel", "sms")
    events = [
        ReceiptEvent(event_id=str(n), kind=ReceiptKind.ASKED_HELP, address=f"+49301{n}") for n in range(count)
    ]
    for event in events:
        rows.people(phone=event.address)
    receipts.store(KEY, events)
    receipts.store(KEY, [ReceiptEvent(event_id="x", kind=ReceiptKind.ASKED_HELP, address="+49309")])
    receipts.store(KEY, told(ReceiptKind.DELIVERED, Status.SENT, 2))
    settings.SMS_HELP_TEXT = "Carillon"
    assert cost(lambda: receipts.apply(500)) == 12
    assert NotificationTarget.objects.filter(status="queued", channel="sms").count() == count


@pytest.mark.parametrize("count", [1, 40])
def test_applying_receipts_of_all_kinds_costs_thirteen_at_most(count: int) -> None:
    """The four of any; times; three moves, each with its dead letters; summaries; suppressions."""
    for kind in (ReceiptKind.ACCEPTED, ReceiptKind.OPENED, ReceiptKind.BOUNCED):
        receipts.store("p", told(kind, Status.DEAD, count))
    assert cost(lambda: receipts.apply(500)) == 13
