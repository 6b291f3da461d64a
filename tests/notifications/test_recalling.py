"""Recalling: what is in an inbox disappears from it by a cancellation, and stays delivered."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from apps.notifications import cancelling, inbox, inbox_changes
from apps.notifications.inbox_changes import Change, Kind
from apps.notifications.inbox_models import InboxItem
from apps.notifications.models import Notification
from apps.notifications.statuses import Status
from apps.users import tokens
from apps.users.models import User
from project import clock
from tests.api_helpers import Api
from tests.notifications.api_support import SEND
from tests.support import inboxes, rows
from tests.support.database import capture, move_clock
from tests.support.inboxes import deliver

HOUR = timedelta(hours=1)
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rung", "hinted")]


def cancel(api: Api, note: Notification, *targets: UUID) -> dict[UUID, str]:
    body = {"targets": [str(id) for id in targets]} if targets else None
    response = api.post(f"{SEND}{note.pk}/cancel/", body)
    assert response.status_code == 200, response.content
    return {UUID(one["id"]): one["result"] for one in response.json()["targets"]}


def listed(person: User) -> list[int]:
    """The sequences in GET /api/inbox/."""
    response = Api(tokens.mint(person, 60)[0]).get("/api/inbox/")
    assert response.status_code == 200, response.content
    return [item["sequence"] for item in response.json()["items"]]


def test_a_recalled_item_is_in_no_list_and_its_words_are_gone(api: Api, hinted: list[dict[int, int]]) -> None:
    (ada,) = rows.people()
    note, other = rows.notification(kept=True), rows.notification()
    deliver(ada.pk, of=other)
    (id,) = deliver(ada.pk, of=note, link="/x", avatar="/a.png", actions=inboxes.ACTIONS)
    deliver(ada.pk, of=other)
    before, item = rows.row(id), inboxes.item(id)
    assert cancel(api, note) == {id: "recalled"}
    assert listed(ada) == [3, 1]
    assert rows.row(id) == before | {"recalled_at": clock.now()}  # the proof stays
    assert inboxes.item(id) == item | {
        "title": "", "body": "", "link": "", "avatar": "", "actions": None, "recalled_at": clock.now(),
        "change": 4,
    }  # fmt: skip
    assert hinted == [{ada.pk: 4}]
    rows.assert_books_balance()
    rows.assert_shapes_hold()


def test_the_counts_fall_by_what_was_unread_and_unseen_and_there(api: Api) -> None:
    (ada,) = rows.people()
    note = rows.notification()
    _, seen, read, archived, snoozed, _, _ = deliver(ada.pk, 7, of=note)
    deliver(ada.pk)
    until = clock.now() + HOUR
    for kind, id in (("seen", seen), ("read", read), ("archive", archived), ("snooze", snoozed)):
        inbox_changes.change(ada.pk, Change(kind=Kind(kind), ids=[id], until=until))
    assert inboxes.counts(ada.pk) == (12, 5, 4)
    cancel(api, note)
    assert inboxes.counts(ada.pk) == (19, 1, 1)  # seven numbers, and only the other one is left
    inboxes.assert_books_balance()
    move_clock(7200)
    assert inbox.return_snoozed(10) == 0  # what was recalled does not come back


def test_its_number_is_not_given_out_again(api: Api) -> None:
    (ada,) = rows.people()
    note = rows.notification()
    deliver(ada.pk, 2, of=note)
    cancel(api, note)
    assert listed(ada) == [] and inboxes.counts(ada.pk) == (4, 0, 0)
    deliver(ada.pk)
    assert listed(ada) == [5]


def test_only_the_named_item_is_recalled(api: Api, hinted: list[dict[int, int]]) -> None:
    ada, bob = rows.people(2)
    note = rows.notification()
    (hers,), (his,) = deliver(ada.pk, of=note), deliver(bob.pk, of=note)
    assert cancel(api, note, hers) == {hers: "recalled"}
    assert (listed(ada), listed(bob)) == ([], [1])
    assert rows.row(his)["recalled_at"] is None and inboxes.counts(bob.pk) == (1, 1, 1)
    assert hinted == [{ada.pk: 2}]


def test_again_says_the_same_and_changes_nothing(api: Api, hinted: list[dict[int, int]]) -> None:
    (ada,) = rows.people()
    note = rows.notification()
    (id,) = deliver(ada.pk, of=note)
    cancel(api, note)
    before, item = rows.row(id), inboxes.item(id)
    move_clock(5)
    assert cancel(api, note) == {id: "recalled"} == cancel(api, note, id)
    assert (rows.row(id), inboxes.item(id)) == (before, item)
    assert [heads for heads in hinted if heads] == [{ada.pk: 2}]


def test_what_has_not_come_is_cancelled_and_what_left_by_others_is_sent(api: Api) -> None:
    (ada,) = rows.people()
    note = rows.notification(kept=True)
    (there,) = deliver(ada.pk, of=note)
    values: dict[str, Any] = {"channel": "in_app", "lane": "in_app.normal", "user_id": ada.pk}
    (queued,) = rows.targets(note, Status.QUEUED, **values)
    (held,) = rows.targets(note, Status.HELD, **values)
    (mailed,) = rows.targets(note, Status.DELIVERED)
    assert cancel(api, note) == {
        there: "recalled", queued: "cancelled", held: "cancelled", mailed: "already_sent",
    }  # fmt: skip
    rows.assert_books_balance()


def test_one_whose_item_is_not_there_was_sent(api: Api, hinted: list[dict[int, int]]) -> None:
    note = rows.notification()
    (id,) = deliver(7, of=note)
    InboxItem.objects.all().delete()
    assert cancel(api, note) == {id: "already_sent"}
    assert rows.row(id)["recalled_at"] is None and hinted == [{}]


def test_what_holds_others_stays_and_what_is_in_it_follows_it(api: Api) -> None:
    """An item of several notifications, in the inbox: that of one of them cannot be taken out."""
    (ada,) = rows.people()
    note, other = rows.notification(), rows.notification()
    (carrier,) = deliver(ada.pk, of=note)
    (merged,) = rows.targets(other, Status.SKIPPED, reason="merged", merged_into=carrier)
    assert cancel(api, note) == {carrier: "already_sent"}
    assert cancel(api, other) == {merged: "already_sent"}
    assert listed(ada) == [1]
    rows.change([carrier], recalled_at=clock.now())
    assert cancel(api, other) == {merged: "recalled"}


def test_the_targets_say_when(api: Api) -> None:
    note = rows.notification()
    deliver(7, of=note)
    path = f"{SEND}{note.pk}/targets/"
    assert api.get(path).json()["items"][0]["recalled_at"] is None
    cancel(api, note)
    item = api.get(path).json()["items"][0]
    assert item["status"] == "delivered" and item["recalled_at"] and item["delivered_at"]


@pytest.mark.parametrize("count", [2, 300])
def test_a_recall_costs_the_same_for_any_number(count: int) -> None:
    note = rows.notification(kept=True)
    deliver(7, count, of=note)
    with capture() as found:
        assert cancelling.cancel(note.pk).counts == {"recalled": count}
    # a mark, the chunks, the events, the page, the lock, who carries others, what is behind; of the recall:
    # whose they are, the targets' mark, the inboxes' locks, the items
    assert len(found) == 11, found
    with capture() as found:
        assert cancelling.cancel(note.pk).counts == {"recalled": count}
    assert len(found) == 5, found
