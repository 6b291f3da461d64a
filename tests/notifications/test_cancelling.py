"""Cancelling a notification: what becomes of a target in each status, and what the answer says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import pytest

from apps.delivery import sweeper
from apps.delivery.models import Claim
from apps.notifications import audiences, cancelling, intake
from apps.notifications.intake import Order
from apps.notifications.models import AudienceChunk, DeadLetter, Notification, NotificationTarget
from apps.notifications.statuses import Status
from apps.users.models import DEFAULT_ORGANIZATION_ID as OURS
from apps.users.models import Scope, ServiceClient
from project import clock, db, ids
from tests.api_helpers import JSON, Api, fields, make_key, make_organization, problem
from tests.notifications.api_support import SEND, accepted, everything, send
from tests.support import rows
from tests.support.database import capture, in_threads, move_clock, other_connection, until, waits_for_a_lock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rung")]

# Status before -> (result, status after)
OUTCOMES: dict[Status, tuple[str, str]] = {
    Status.QUEUED: ("cancelled", "cancelled"),
    Status.HELD: ("cancelled", "cancelled"),
    Status.RETRYING: ("cancelled", "cancelled"),
    Status.SENDING: ("in_flight", "sending"),
    Status.UNKNOWN: ("in_flight_unknown", "cancelled"),
    Status.SENT: ("already_sent", "sent"),
    Status.DELIVERED: ("already_sent", "delivered"),
    Status.SKIPPED: ("ended", "skipped"),
    Status.FAILED: ("ended", "failed"),
    Status.DEAD: ("ended", "dead"),
    Status.CANCELLED: ("ended", "cancelled"),
    Status.EXPIRED: ("ended", "expired"),
}


def cancel(api: Api, id: object) -> dict[str, Any]:
    response = api.post(f"{SEND}{id}/cancel/")
    assert response.status_code == 200, response.content
    body: dict[str, Any] = response.json()
    return body


def counted(body: dict[str, Any]) -> dict[str, int]:
    """The counts that are not zero."""
    return {result: number for result, number in body["counts"].items() if number}


def audience(count: int, *, chunk: int, monkeypatch: pytest.MonkeyPatch) -> UUID:
    monkeypatch.setattr(intake, "CHUNK", chunk)
    people = [person.pk for person in rows.people(count)]
    return intake.accept_audience(Order(organization_id=OURS, channels=["email"], title="Hello"), people)


# --- Each status -----------------------------------------------------------------------------------------


def test_every_status_has_its_result() -> None:
    assert OUTCOMES.keys() == set(Status)
    assert {result for result, _ in OUTCOMES.values()} | {"recalled", "removed_from_digest"} == set(
        cancelling.CancelResult
    )


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("status", Status)
def test_a_target_is_cancelled_or_says_why_not(status: Status, kept: bool, api: Api) -> None:
    note = rows.notification(kept=kept)
    (id,) = rows.targets(note, status, user_id=17)
    before = rows.row(id)
    result, after = OUTCOMES[status]
    body = cancel(api, note.pk)
    assert body["targets"] == [
        {"id": str(id), "user": 17, "channel": "email", "status": after, "result": result}
    ]
    assert counted(body) == {result: 1} and body["counts"].keys() == set(cancelling.CancelResult)
    assert rows.statuses([id]) == [after]
    if status == Status.SENDING:
        assert rows.row(id) == before | {"cancel_asked_at": clock.now()}
    elif result in ("already_sent", "ended"):
        assert rows.row(id) == before
    else:
        assert (rows.row(id)["reason"], rows.row(id)["settled_at"]) == ("cancelled", clock.now())
    rows.assert_books_balance()
    rows.assert_shapes_hold()


def test_a_notification_in_every_status_is_told_target_by_target(api: Api) -> None:
    note = rows.notification(kept=True)
    by_status = {status: rows.targets(note, status)[0] for status in Status}
    body = cancel(api, note.pk)
    told = {one["id"]: (one["result"], one["status"]) for one in body["targets"]}
    assert told == {str(id): OUTCOMES[status] for status, id in by_status.items()}
    assert [one["id"] for one in body["targets"]] == sorted(told)
    assert counted(body) == {
        "cancelled": 3, "in_flight": 1, "in_flight_unknown": 1, "already_sent": 2, "ended": 5,
    }  # fmt: skip
    rows.assert_books_balance()


def test_in_app_is_cancelled_too(api: Api, rung: list[str]) -> None:
    (ada,) = rows.people()
    body = accepted(send(api, targets=[ada.pk], channels=["in_app", "email"]))
    assert counted(cancel(api, body["id"])) == {"cancelled": 2}
    assert set(NotificationTarget.objects.values_list("channel", "status")) == {
        ("in_app", "cancelled"),
        ("email", "cancelled"),
    }


def test_nothing_of_another_notification_is_touched(api: Api) -> None:
    other = rows.targets(rows.notification(), Status.QUEUED, 3)
    note = rows.notification()
    rows.targets(note)
    cancel(api, note.pk)
    assert rows.statuses(other) == ["queued"] * 3


def test_it_says_since_when_and_the_notification_does_too(api: Api) -> None:
    note = rows.notification()
    rows.targets(note)
    assert api.get(f"{SEND}{note.pk}/").json()["cancelled_at"] is None
    at = cancel(api, note.pk)["cancelled_at"]
    assert Notification.objects.get().cancelled_at == clock.now()
    read = api.get(f"{SEND}{note.pk}/").json()
    assert read["cancelled_at"] == at
    assert (read["summary"]["cancelled"], read["summary"]["settled"]) == (1, True)


def test_again_is_harmless_and_says_what_it_finds(api: Api) -> None:
    note = rows.notification(kept=True)
    for status in (Status.QUEUED, Status.SENDING, Status.SENT):
        rows.targets(note, status)
    first = cancel(api, note.pk)
    before = everything()
    asked = NotificationTarget.objects.get(status="sending").cancel_asked_at
    move_clock(5)
    second = cancel(api, note.pk)
    assert counted(first) == {"cancelled": 1, "in_flight": 1, "already_sent": 1}
    assert counted(second) == {"ended": 1, "in_flight": 1, "already_sent": 1}
    assert second["cancelled_at"] == first["cancelled_at"]
    assert NotificationTarget.objects.get(status="sending").cancel_asked_at == asked
    assert everything() == before
    rows.assert_books_balance()


def test_a_notification_without_targets_is_cancelled_all_the_same(api: Api) -> None:
    body = cancel(api, rows.notification().pk)
    assert (counted(body), body["targets"], body["unplanned"]) == ({}, [], 0)


def test_what_nobody_knows_is_judged_no_more_and_leaves_no_dead_letter(api: Api, settings) -> None:
    note = rows.notification(kept=True)
    stopped, other = rows.targets(note, Status.UNKNOWN), rows.targets(rows.notification(), Status.UNKNOWN)
    Claim.objects.create(
        id=rows.CLAIM, lane=rows.LANE, provider="p", worker="w", target_ids=[*stopped, *other],
        grace_until=clock.now(),
    )  # fmt: skip
    cancel(api, note.pk)
    move_clock(1)
    assert sweeper.judge_unknown(10) == 1
    assert rows.statuses(stopped + other) == ["cancelled", "dead"]
    assert [letter.target_id for letter in DeadLetter.objects.all()] == other
    assert not Claim.objects.exists()
    rows.assert_books_balance()


# --- Who may ---------------------------------------------------------------------------------------------


def test_what_is_not_ours_is_not_there_and_stays(api: Api) -> None:
    theirs = rows.notification(organization_id=make_organization().pk)
    targets = rows.targets(theirs)
    for id in (theirs.pk, ids.uuid7()):
        problem(api.post(f"{SEND}{id}/cancel/"), 404, "not_found")
    assert rows.statuses(targets) == ["queued"]
    theirs.refresh_from_db()
    assert theirs.cancelled_at is None


def test_it_needs_the_scope_to_send(service: ServiceClient) -> None:
    note = rows.notification()
    targets = rows.targets(note)
    path = f"{SEND}{note.pk}/cancel/"
    problem(Api(make_key(service, [Scope.READ])).post(path), 403, "missing_scope")
    problem(Api(None).post(path), 401, "not_authenticated")
    assert rows.statuses(targets) == ["queued"]
    assert Api(make_key(service, [Scope.SEND])).post(path).status_code == 200


def test_it_is_a_post_and_takes_no_other_fields(api: Api) -> None:
    note = rows.notification()
    targets = rows.targets(note)
    path = f"{SEND}{note.pk}/cancel/"
    problem(api.get(path), 405, "method_not_allowed")
    assert fields(api.post(path, {"channels": ["email"]})) == {"channels": "unknown_field"}
    problem(api.post(path, b"{"), 400, "not_json")
    assert rows.statuses(targets) == ["queued"]
    assert api.post(path, {}).status_code == 200


def test_it_needs_no_content_type_where_there_is_no_content(api: Api) -> None:
    note = rows.notification()
    for content_type in (JSON, "", "text/plain"):
        response = api.send("POST", f"{SEND}{note.pk}/cancel/", content_type=content_type)
        assert response.status_code == 200, response.content


# --- Big ones --------------------------------------------------------------------------------------------


def test_the_list_ends_where_the_counts_go_on(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelling, "AT_ONCE", 3)
    monkeypatch.setattr(cancelling, "MOST_TOLD", 7)
    note = rows.notification(kept=True)
    first, rest = rows.targets(note, Status.QUEUED, 8), rows.targets(note, Status.SENT, 3)
    body = cancel(api, note.pk)
    assert [one["id"] for one in body["targets"]] == [str(id) for id in sorted(first + rest)[:7]]
    assert counted(body) == {"cancelled": 8, "already_sent": 3}
    assert set(rows.statuses(first)) == {"cancelled"}
    rows.assert_books_balance()


@pytest.mark.parametrize(
    ("statuses", "count", "expected"),
    [
        # all: a mark, the chunks, the events, the page, what is behind it. Then the lock, who carries others,
        # the move, the summary
        ([Status.QUEUED], 2, 9),
        ([Status.QUEUED], 200, 9),
        ([Status.QUEUED, Status.SENDING, Status.UNKNOWN, Status.SENT], 200, 10),  # and asking
        ([Status.SENT, Status.SKIPPED], 200, 5),
    ],
)
def test_a_batch_costs_the_same_for_any_number(statuses: list[Status], count: int, expected: int) -> None:
    note = rows.notification(kept=True)
    for status in statuses:
        rows.targets(note, status, count)
    with capture() as found:
        cancelling.cancel(note.pk)
    assert len(found) == expected, found


@pytest.mark.django_db(transaction=True)
def test_each_batch_is_a_transaction_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelling, "AT_ONCE", 10)
    note = rows.notification(kept=True)
    targets = rows.targets(note, Status.QUEUED, 25)
    with other_connection() as other:
        other.execute(
            "SELECT 1 FROM notifications_notificationtarget WHERE id = %s FOR UPDATE", [targets[15]]
        )
        db.execute("SET lock_timeout = '200ms'")
        with pytest.raises(Exception, match="lock timeout"):
            cancelling.cancel(note.pk)
        other.rollback()
    assert rows.statuses(targets) == ["cancelled"] * 10 + ["queued"] * 15
    rows.assert_books_balance()
    assert cancelling.cancel(note.pk).counts == {"ended": 10, "cancelled": 15}
    rows.assert_books_balance()


# --- Audiences -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "planned"), [(25, 0), (25, 10), (120, 50), (25, 25)])
def test_what_was_not_planned_is_never_planned(
    count: int, planned: int, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = audience(count, chunk=5, monkeypatch=monkeypatch)
    for _ in range(planned // 5):
        audiences.plan_chunk()
    body = cancel(api, id)
    assert (body["unplanned"], counted(body).get("cancelled", 0)) == (count - planned, planned)
    assert not AudienceChunk.objects.exists() and audiences.plan_chunk() is False
    assert NotificationTarget.objects.filter(status="cancelled").count() == planned
    summary = api.get(f"{SEND}{id}/").json()["summary"]
    assert (summary["targets"], summary["cancelled"], summary["settled"]) == (planned, planned, True)
    assert cancel(api, id)["unplanned"] == 0
    rows.assert_books_balance()


def test_another_audience_is_planned_all_the_same(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    id, other = (audience(10, chunk=5, monkeypatch=monkeypatch) for _ in range(2))
    cancel(api, id)
    while audiences.plan_chunk():
        pass
    assert NotificationTarget.objects.filter(notification=other, status="queued").count() == 10
    assert not NotificationTarget.objects.filter(notification=id).exists()


@pytest.mark.django_db(transaction=True)
def test_a_chunk_that_is_being_planned_is_waited_for_and_then_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    id = audience(15, chunk=5, monkeypatch=monkeypatch)
    real = audiences._plan
    cancelled: list[cancelling.Cancellation] = []

    def plan(notification_id: UUID, user_ids: list[int]) -> set[str]:
        lanes = real(notification_id, user_ids)
        with other_connection() as observer:
            until(lambda: pids and waits_for_a_lock(observer, pids[0]))
        return lanes

    pids: list[int] = []
    monkeypatch.setattr(audiences, "_plan", plan)

    def work(number: int) -> None:
        if number:
            until(lambda: _chunk_is_taken(id))
            pids.append(db.rows("SELECT pg_backend_pid()")[0][0])
            cancelled.append(cancelling.cancel(id))
        else:
            audiences.plan_chunk()

    in_threads(2, work)
    assert (cancelled[0].unplanned, cancelled[0].counts) == (10, {"cancelled": 5})
    assert set(NotificationTarget.objects.values_list("status", flat=True)) == {"cancelled"}
    assert not AudienceChunk.objects.exists()


def _chunk_is_taken(id: UUID) -> bool:
    sql = "SELECT id FROM notifications_audiencechunk WHERE notification_id = %s FOR UPDATE SKIP LOCKED"
    return len(db.rows(sql, [id])) < 3


@pytest.mark.django_db(transaction=True)
def test_planners_and_cancellers_at_once_leave_nothing_to_send(monkeypatch: pytest.MonkeyPatch) -> None:
    id = audience(150, chunk=5, monkeypatch=monkeypatch)
    answers: list[cancelling.Cancellation] = []

    def work(number: int) -> None:
        if number < 2:
            for _ in range(4):
                audiences.plan_chunk()
            answers.append(cancelling.cancel(id))
        while audiences.plan_chunk():
            pass

    in_threads(4, work)
    statuses = _all_statuses(id)
    assert statuses <= {"cancelled"}
    planned = NotificationTarget.objects.filter(notification=id).count()
    assert sum(one.unplanned for one in answers) + planned == 150
    assert sum(one.counts["cancelled"] for one in answers) == planned
    rows.assert_books_balance()


def _all_statuses(id: UUID) -> set[str]:
    found: Iterable[str] = NotificationTarget.objects.filter(notification=id).values_list("status", flat=True)
    return set(found)
