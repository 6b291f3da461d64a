"""What people switch off counts from its commit, also for what is queued: dropped by the claim, or kept by
the last check."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from apps.delivery import claims, engine
from apps.delivery.claims import Claim
from apps.delivery.routing import NOWHERE, Choice, Routed
from apps.integrations.contract import TemporaryFailure
from apps.notifications.models import InboxItem
from apps.notifications.statuses import Status
from apps.preferences import choices, suppression
from apps.preferences.choices import Wanted
from apps.preferences.suppression import Cause, Fact
from apps.users.models import User
from project import clock
from tests.support import rows
from tests.support.adapters import accepting, always
from tests.support.database import capture, move_clock
from tests.support.rows import LANE

pytestmark = pytest.mark.django_db
OUT = ("skipped", "opted_out")
LANES = ("email.normal", "sms.bulk", "push.high", "webhook.low", "chat.critical")


@pytest.fixture
def ada(db: None) -> User:
    (person,) = rows.people()
    return person


def switch(person: User, *off: tuple[str, str], how: str = "off", until: Any = None) -> None:
    choices.write(person.pk, [Wanted(type, channel, how, until) for type, channel in off], source="link")


def queued(person: User, lane: str = LANE, count: int = 1, **fields: Any) -> list[UUID]:
    """Targets of theirs, of a notification of the type "news" unless the fields say otherwise."""
    note = rows.notification(kept=True, **{"type": "news", **fields})
    channel = lane.partition(".")[0]
    return rows.targets(note, Status.QUEUED, count, lane=lane, channel=channel, user_id=person.pk)


def stands(id: UUID) -> tuple[str, str]:
    row = rows.row(id)
    return row["status"], row["reason"]


# --- By the claim ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lane", LANES)
def test_what_was_queued_before_is_dropped_by_the_claim(lane: str, ada: User, adapter) -> None:
    scripted = adapter(accepting)
    (ben,) = rows.people()
    (out,), (other,) = queued(ada, lane), queued(ben, lane)
    switch(ada, ("news", lane.partition(".")[0]))
    claim = claims.take(lane, "scripted", 10)
    assert claim is not None and [target.id for target in claim.targets] == [other]
    assert stands(out) == OUT and rows.attempts([out]) == [] and rows.row(out)["attempts"] == 0
    assert scripted.sent == []
    rows.assert_books_balance()
    rows.assert_shapes_hold()


@pytest.mark.parametrize(
    ("off", "type", "ends"),
    [
        (("news", "email"), "news", "skipped"),
        (("news", ""), "news", "skipped"),
        (("", "email"), "news", "skipped"),
        (("", ""), "news", "skipped"),
        (("other", "email"), "news", "sent"),
        (("other", ""), "news", "sent"),
        (("news", "sms"), "news", "sent"),
        (("", "sms"), "news", "sent"),
        (("news", "email"), "", "sent"),
        (("", "email"), "", "skipped"),
        (("", ""), "", "skipped"),
    ],
)
def test_off_anywhere_is_off(off: tuple[str, str], type: str, ends: str, ada: User, adapter) -> None:
    adapter(accepting)
    target = queued(ada, type=type)
    switch(ada, off)
    switch(ada, *{("news", "email"), ("news", "")} - {off}, how="on")  # which turns nothing on again
    engine.work(LANE)
    assert rows.statuses(target) == [ends]


@pytest.mark.parametrize("how", ["on", "daily", "weekly"])
def test_only_what_is_off_is_dropped(how: str, ada: User, adapter) -> None:
    adapter(accepting)
    target = queued(ada)
    switch(ada, ("news", "email"), ("", ""), how=how)
    engine.work(LANE)
    assert rows.statuses(target) == ["sent"]


def test_another_persons_choice_is_no_choice(ada: User, adapter) -> None:
    adapter(accepting)
    (ben,) = rows.people()
    target = queued(ben)
    switch(ada, ("", ""))
    engine.work(LANE)
    assert rows.statuses(target) == ["sent"]


@pytest.mark.parametrize("lane", [LANE, "email.critical", "in_app.critical"])
def test_what_is_critical_goes_out_whatever_was_chosen(lane: str, ada: User, adapter) -> None:
    adapter(accepting)
    switch(ada, ("news", "email"), ("", "email"), ("news", ""), ("", ""))
    target = queued(ada, lane, critical=True)
    engine.work(lane)
    assert rows.statuses(target) == ["delivered" if lane.startswith("in_app") else "sent"]


@pytest.mark.parametrize(("seconds", "ends"), [(59, "skipped"), (61, "sent")])
def test_a_pause_ends(seconds: int, ends: str, ada: User, adapter) -> None:
    adapter(accepting)
    target = queued(ada)
    switch(ada, ("", ""), until=clock.now() + timedelta(seconds=60))
    move_clock(seconds)
    engine.work(LANE)
    assert rows.statuses(target) == [ends]


def test_who_subscribes_again_gets_what_is_queued(ada: User, adapter) -> None:
    adapter(accepting)
    target = queued(ada)
    switch(ada, ("news", "email"))
    choices.write(ada.pk, [Wanted("news", "email", None)], source="link")
    engine.work(LANE)
    assert rows.statuses(target) == ["sent"]


def test_a_retry_is_dropped_like_a_first_attempt(ada: User, adapter) -> None:
    scripted = adapter(always(TemporaryFailure("busy")))
    (target,) = queued(ada)
    engine.work(LANE)
    switch(ada, ("news", ""))
    move_clock(86_400)
    engine.work(LANE)
    assert stands(target) == OUT and rows.row(target)["attempts"] == 1
    assert len(scripted.sent) == 1


def test_of_several_reasons_the_cancellation_stands_first(ada: User) -> None:
    (both,), (late,) = queued(ada), queued(ada)
    rows.change([both], cancel_asked_at=clock.now(), expires_at=clock.now())
    rows.change([late], expires_at=clock.now())
    switch(ada, ("", ""))
    suppression.suppress([Fact(None, "email", "p@example.com", Cause.BOUNCED)])
    claims.take(LANE, "scripted", 10)
    assert [stands(both), stands(late)] == [("cancelled", "cancelled"), ("expired", "expires_at")]


def test_of_several_providers_one_claim_drops_it_all(ada: User) -> None:
    (ben,) = rows.people()
    (out,), others = queued(ada), queued(ben, count=2)
    switch(ada, ("news", "email"))
    names = iter(["a", "b"])

    def route(address: str, had: Any) -> Routed:
        return Routed(Choice("", next(names)))

    batch = claims.take_routed(LANE, 10, route, providers=2, pause=1.0)
    assert stands(out) == OUT and NOWHERE not in {claim.provider for claim in batch.claims}
    assert sorted(target.id for claim in batch.claims for target in claim.targets) == sorted(others)
    rows.assert_books_balance()


# --- At the last check -----------------------------------------------------------------------------------


@pytest.mark.parametrize("critical", [False, True])
def test_what_is_switched_off_between_claim_and_call_stays_and_the_next_claim_drops_it(
    critical: bool, ada: User, adapter, before_start
) -> None:
    scripted = adapter(accepting)
    (ben,) = rows.people()
    (hers,), (his,) = queued(ada, critical=critical), queued(ben)
    before_start(lambda: switch(ada, ("news", "email")))
    engine.work(LANE)
    assert rows.statuses([hers, his]) == ["sent" if critical else "queued", "sent"]
    engine.work(LANE)
    if not critical:
        assert stands(hers) == OUT and rows.row(hers)["attempts"] == 0 and rows.attempts([hers]) == []
        assert [message.target for message in scripted.sent] == [his]
    rows.assert_books_balance()


@pytest.mark.parametrize(("seconds", "ends"), [(60, "queued"), (-60, "sent")])
def test_the_last_check_asks_whether_it_still_holds(
    seconds: int, ends: str, ada: User, adapter, before_start
) -> None:
    adapter(accepting)
    target = queued(ada)
    until = clock.now() + timedelta(seconds=seconds)
    before_start(lambda: switch(ada, ("", ""), until=until))
    engine.work(LANE)
    assert rows.statuses(target) == [ends]


# --- In-app ----------------------------------------------------------------------------------------------


def test_in_app_it_comes_into_no_inbox(ada: User) -> None:
    (ben,) = rows.people()
    (out,), (late,), (his,) = (queued(person, "in_app.normal") for person in (ada, ben, ben))
    rows.change([late], expires_at=clock.now())
    switch(ada, ("news", ""))
    assert engine.work("in_app.normal") == 3
    assert [stands(out), stands(late)] == [OUT, ("expired", "expires_at")]
    assert rows.statuses([his]) == ["delivered"]
    assert list(InboxItem.objects.values_list("target_id", flat=True)) == [his]
    rows.assert_books_balance()
    rows.assert_shapes_hold()


# --- What it costs ---------------------------------------------------------------------------------------


def taken(lane: str, limit: int) -> Claim | None:
    return claims.take(lane, "scripted", limit)


@pytest.mark.parametrize("off", [False, True])
@pytest.mark.parametrize("count", [2, 200])
def test_it_costs_no_statement_to_ask_and_one_to_drop(count: int, off: bool, ada: User) -> None:
    """The row says it by itself: rows, what of them is suppressed; then the settle, or the claim."""
    queued(ada, count=count)
    if off:
        switch(ada, ("news", "email"))
    claims._ids.next()
    while not claims._ids._ids:
        claims._ids.next()
    with capture() as statements:
        claim = taken(LANE, 500)
    asked = [sql for sql in statements if "preferences_choice" in sql]
    assert len(asked) == 1 and "UPDATE" in asked[0]
    assert claim is not None and len(claim.targets) == (0 if off else count)
    assert len(statements) == (4 if off else 3)  # of an empty claim: what time it is
