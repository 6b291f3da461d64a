"""Cancelling single targets; and targets that wait for a digest, or left together with others."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from apps.notifications import cancelling, intake
from apps.notifications.intake import Order
from apps.notifications.models import AudienceChunk, DedupeMark, Notification, NotificationTarget
from apps.notifications.statuses import Status
from apps.users.models import DEFAULT_ORGANIZATION_ID as OURS
from project import clock, ids
from tests.api_helpers import Api, fields, make_organization, problem
from tests.notifications.api_support import SEND, everything
from tests.support import rows
from tests.support.database import capture

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rung")]


def cancel(api: Api, note: object, *targets: UUID) -> dict[str, Any]:
    body = {"targets": [str(id) for id in targets]} if targets else None
    response = api.post(f"{SEND}{note}/cancel/", body)
    assert response.status_code == 200, response.content
    answer: dict[str, Any] = response.json()
    return answer


def results(answer: dict[str, Any]) -> dict[UUID, str]:
    return {UUID(one["id"]): one["result"] for one in answer["targets"]}


# --- Single targets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [True, False])
def test_only_what_is_named_is_cancelled_and_told_of(kept: bool, api: Api) -> None:
    note = rows.notification(kept=kept)
    first, *others, last = rows.targets(note, Status.QUEUED, 5)
    (sent,) = rows.targets(note, Status.SENT)
    answer = cancel(
        api, note.pk, last, sent, first, first
    )  # in any order, and once however often it is named
    assert results(answer) == {first: "cancelled", last: "cancelled", sent: "already_sent"}
    assert answer["counts"]["cancelled"] == 2 and sum(answer["counts"].values()) == 3
    assert rows.statuses([first, *others, last]) == ["cancelled", *["queued"] * 3, "cancelled"]
    assert (answer["cancelled_at"], answer["unplanned"]) == (None, 0)
    note.refresh_from_db()
    assert note.cancelled_at is None
    rows.assert_books_balance()


def test_after_the_whole_was_cancelled_a_target_says_since_when(api: Api) -> None:
    note = rows.notification()
    (id,) = rows.targets(note)
    at = cancel(api, note.pk)["cancelled_at"]
    answer = cancel(api, note.pk, id)
    assert (answer["cancelled_at"], results(answer)) == (at, {id: "ended"})


def test_an_audience_is_planned_on_when_only_some_of_it_is_cancelled(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.notifications import audiences

    monkeypatch.setattr(intake, "CHUNK", 5)
    people = [person.pk for person in rows.people(15)]
    id = intake.accept_audience(Order(organization_id=OURS, channels=["email"], title="Hello"), people)
    audiences.plan_chunk()
    planned = NotificationTarget.objects.order_by("id").values_list("id", flat=True)[0]
    assert cancel(api, id, planned)["unplanned"] == 0
    assert AudienceChunk.objects.count() == 2
    while audiences.plan_chunk():
        pass
    statuses = sorted(NotificationTarget.objects.values_list("status", flat=True))
    assert statuses == ["cancelled", *["queued"] * 14]
    rows.assert_books_balance()


def test_what_is_not_of_this_notification_is_named_and_nothing_is_done(api: Api) -> None:
    note = rows.notification(kept=True)
    mine = rows.targets(note, Status.QUEUED, 2)
    (other,) = rows.targets(rows.notification())
    (theirs,) = rows.targets(rows.notification(organization_id=make_organization().pk))
    before = everything()
    asked = [mine[0], other, ids.target_id(), mine[1], theirs]
    response = api.post(f"{SEND}{note.pk}/cancel/", {"targets": [str(id) for id in asked]})
    assert fields(response) == {f"targets[{number}]": "unknown_target" for number in (1, 2, 4)}
    assert rows.statuses([*mine, other, theirs]) == ["queued"] * 4 and everything() == before


@pytest.mark.parametrize(
    ("targets", "wrong"),
    [
        ([], {"targets": "too_few"}),
        (None, {"targets": "invalid"}),
        ("x", {"targets": "invalid"}),
        (["x", 7], {"targets[0]": "invalid", "targets[1]": "invalid"}),
        ([str(ids.target_id()) for _ in range(1001)], {"targets": "too_many"}),
    ],
)
def test_a_list_that_is_none_cancels_nothing_at_all(targets: object, wrong: dict[str, str], api: Api) -> None:
    note = rows.notification()
    mine = rows.targets(note)
    assert fields(api.post(f"{SEND}{note.pk}/cancel/", {"targets": targets})) == wrong
    assert rows.statuses(mine) == ["queued"]


def test_targets_of_what_is_not_ours_are_not_there(api: Api) -> None:
    theirs = rows.notification(organization_id=make_organization().pk)
    (id,) = rows.targets(theirs)
    problem(api.post(f"{SEND}{theirs.pk}/cancel/", {"targets": [str(id)]}), 404, "not_found")
    assert rows.statuses([id]) == ["queued"]


@pytest.mark.parametrize("count", [1, 300])
def test_any_number_of_targets_costs_the_same(count: int) -> None:
    note = rows.notification(kept=True)
    targets = rows.targets(note, Status.QUEUED, count)
    with capture() as found:
        cancelling.cancel_targets(note.pk, targets)
    # whose they are, since when the whole was, the lock, who carries others, the move, the summary
    assert len(found) == 6, found


def test_a_thousand_are_taken_at_once(api: Api) -> None:
    note = rows.notification(kept=True)
    targets = rows.targets(note, Status.QUEUED, 1000)
    answer = cancel(api, note.pk, *targets)
    assert (answer["counts"]["cancelled"], len(answer["targets"])) == (1000, 1000)
    rows.assert_books_balance()


# --- Digests ---------------------------------------------------------------------------------------------


def test_what_waits_for_a_digest_is_taken_out_of_it(api: Api) -> None:
    note = rows.notification(kept=True)
    (in_digest,) = rows.targets(note, Status.HELD, reason="digest")
    (quiet,) = rows.targets(note, Status.HELD, reason="quiet_hours")
    (retried,) = rows.targets(note, Status.RETRYING, reason="digest")  # not of ours: it has left once
    answer = cancel(api, note.pk)
    assert results(answer) == {
        in_digest: "removed_from_digest", quiet: "cancelled", retried: "cancelled",
    }  # fmt: skip
    assert rows.statuses([in_digest]) == ["cancelled"] and rows.row(in_digest)["held_until"] is None
    assert set(results(cancel(api, note.pk)).values()) == {"ended"}
    rows.assert_books_balance()


# Status of the target it was merged into -> what is told of it
OF_CARRIER = {
    Status.QUEUED: "in_flight",
    Status.HELD: "in_flight",
    Status.RETRYING: "in_flight",
    Status.SENDING: "in_flight",
    Status.UNKNOWN: "in_flight",
    Status.SENT: "already_sent",
    Status.DELIVERED: "already_sent",
    Status.SKIPPED: "ended",
    Status.FAILED: "ended",
    Status.DEAD: "ended",
    Status.CANCELLED: "ended",
    Status.EXPIRED: "ended",
}


def merged_into(carrier: UUID, note: Notification) -> UUID:
    (id,) = rows.targets(note, Status.SKIPPED, reason="merged", merged_into=carrier)
    return id


@pytest.mark.parametrize("status", Status)
def test_what_left_together_with_others_follows_the_one_that_went_out(status: Status, api: Api) -> None:
    (carrier,) = rows.targets(rows.notification(kept=True), status)
    note = rows.notification(kept=True)
    merged = merged_into(carrier, note)
    before = rows.row(carrier), rows.row(merged)
    answer = cancel(api, note.pk)
    assert results(answer) == {merged: OF_CARRIER[status]}
    assert answer["targets"][0]["status"] == "skipped"
    assert (rows.row(carrier), rows.row(merged)) == before


@pytest.mark.parametrize("status", Status)
def test_what_carries_others_goes_on_with_them(status: Status, api: Api) -> None:
    note = rows.notification(kept=True)
    (carrier,) = rows.targets(note, status)
    merged_into(carrier, rows.notification())
    before = rows.row(carrier)
    assert results(cancel(api, note.pk)) == {carrier: OF_CARRIER[status]}
    assert rows.row(carrier) == before
    rows.assert_books_balance()


def test_what_carries_only_its_own_notification_is_cancelled_with_it(api: Api) -> None:
    note = rows.notification(kept=True)
    (carrier,) = rows.targets(note)
    merged = merged_into(carrier, note)
    assert results(cancel(api, note.pk)) == {carrier: "cancelled", merged: "ended"}
    rows.assert_books_balance()


def test_who_is_asked_for_by_many_is_looked_up_at_once() -> None:
    (carrier,) = rows.targets(rows.notification(), Status.SENT)
    note = rows.notification()
    for _ in range(20):
        merged_into(carrier, note)
    with capture() as found:
        assert cancelling.cancel(note.pk).counts == {"already_sent": 20}
    assert len(found) == 6, found  # a mark, the chunks, the events, the page, the carriers, what is behind it


# --- Events it told of -----------------------------------------------------------------------------------


def mark(note: Notification, user: int, key: str = "order-1") -> None:
    DedupeMark.objects.create(user_id=user, type="", key=key, notification=note, until=clock.now())


def test_a_corrected_message_is_no_duplicate_of_the_cancelled_one(api: Api) -> None:
    note, other = rows.notification(), rows.notification()
    (id,) = rows.targets(note)
    mark(note, 1)
    mark(note, 2)
    mark(other, 3)
    cancel(api, note.pk, id)
    assert DedupeMark.objects.count() == 3  # of single targets nothing is forgotten
    cancel(api, note.pk)
    assert list(DedupeMark.objects.values_list("notification", flat=True)) == [other.pk]
