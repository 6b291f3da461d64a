"""Recalling: what is in an inbox disappears from it by a cancellation, and stays delivered."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from channels.layers import get_channel_layer

from apps.notifications import cancelling, inbox
from apps.notifications.inbox import Recalled
from apps.notifications.models import InboxItem, InboxState, Notification
from apps.notifications.statuses import Status
from apps.users import tokens
from apps.users.models import User
from apps.websocket import store
from project import clock, loop
from tests.api_helpers import Api
from tests.notifications.api_support import SEND
from tests.support import rows
from tests.support.database import capture, move_clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rung")]


@pytest.fixture(autouse=True)
def hinted(monkeypatch: pytest.MonkeyPatch) -> list[list[Recalled]]:
    """What the socket servers are told."""
    found: list[list[Recalled]] = []
    monkeypatch.setattr(inbox, "hint_recalled", lambda items: found.append(sorted(items)))
    return found


def delivered(note: Notification, user: int, count: int = 1) -> list[UUID]:
    """Targets that are in the person's inbox."""
    made = rows.targets(
        note, Status.DELIVERED, count, channel="in_app", lane="in_app.normal", user_id=user, address=str(user)
    )
    inbox.add([inbox.Entry(id, user, note.pk, "Title", "Body") for id in made])
    return made


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


def replayed(person: User, since: int = 0) -> list[int]:
    (items,) = store.items_after([(person.pk, since)])
    return [item.sequence for item in items]


def test_a_recalled_item_is_in_no_list_and_no_replay(api: Api, hinted: list[list[Recalled]]) -> None:
    (ada,) = rows.people()
    note, other = rows.notification(kept=True), rows.notification()
    delivered(other, ada.pk)
    (id,) = delivered(note, ada.pk)
    delivered(other, ada.pk)
    before = rows.row(id)
    assert cancel(api, note) == {id: "recalled"}
    assert (listed(ada), replayed(ada), replayed(ada, 2)) == ([3, 1], [1, 3], [3])
    assert rows.row(id) == before | {"recalled_at": clock.now()}  # the proof stays
    assert hinted == [[Recalled(id, ada.pk, 2)]]
    rows.assert_books_balance()
    rows.assert_shapes_hold()


def test_its_number_is_not_given_out_again(api: Api) -> None:
    (ada,) = rows.people()
    note = rows.notification()
    delivered(note, ada.pk, 2)
    cancel(api, note)
    assert listed(ada) == [] and store.heads_of([ada.pk]) == {ada.pk: 2}
    delivered(rows.notification(), ada.pk)
    assert listed(ada) == [3]
    assert InboxState.objects.get().head == 3


def test_only_the_named_item_is_recalled(api: Api, hinted: list[list[Recalled]]) -> None:
    ada, bob = rows.people(2)
    note = rows.notification()
    (hers,), (his,) = delivered(note, ada.pk), delivered(note, bob.pk)
    assert cancel(api, note, hers) == {hers: "recalled"}
    assert (listed(ada), listed(bob)) == ([], [1])
    assert rows.row(his)["recalled_at"] is None
    assert hinted == [[Recalled(hers, ada.pk, 1)]]


def test_again_says_the_same_and_changes_nothing(api: Api, hinted: list[list[Recalled]]) -> None:
    (ada,) = rows.people()
    note = rows.notification()
    (id,) = delivered(note, ada.pk)
    cancel(api, note)
    before = rows.row(id)
    move_clock(5)
    assert cancel(api, note) == {id: "recalled"} == cancel(api, note, id)
    assert rows.row(id) == before
    assert [items for items in hinted if items] == [[Recalled(id, ada.pk, 1)]]


def test_what_has_not_come_is_cancelled_and_what_left_by_others_is_sent(api: Api) -> None:
    (ada,) = rows.people()
    note = rows.notification(kept=True)
    (there,) = delivered(note, ada.pk)
    values: dict[str, Any] = {"channel": "in_app", "lane": "in_app.normal", "user_id": ada.pk}
    (queued,) = rows.targets(note, Status.QUEUED, **values)
    (held,) = rows.targets(note, Status.HELD, **values)
    (mailed,) = rows.targets(note, Status.DELIVERED)
    assert cancel(api, note) == {
        there: "recalled", queued: "cancelled", held: "cancelled", mailed: "already_sent",
    }  # fmt: skip
    rows.assert_books_balance()


def test_one_whose_item_is_not_there_was_sent(api: Api, hinted: list[list[Recalled]]) -> None:
    note = rows.notification()
    (id,) = delivered(note, 7)
    InboxItem.objects.all().delete()
    assert cancel(api, note) == {id: "already_sent"}
    assert rows.row(id)["recalled_at"] is None and hinted == [[]]


def test_what_holds_others_stays_and_what_is_in_it_follows_it(api: Api) -> None:
    """An item of several notifications, in the inbox: that of one of them cannot be taken out."""
    (ada,) = rows.people()
    note, other = rows.notification(), rows.notification()
    (carrier,) = delivered(note, ada.pk)
    (merged,) = rows.targets(other, Status.SKIPPED, reason="merged", merged_into=carrier)
    assert cancel(api, note) == {carrier: "already_sent"}
    assert cancel(api, other) == {merged: "already_sent"}
    assert listed(ada) == [1]
    rows.change([carrier], recalled_at=clock.now())
    assert cancel(api, other) == {merged: "recalled"}


def test_the_targets_say_when(api: Api) -> None:
    note = rows.notification()
    delivered(note, 7)
    path = f"{SEND}{note.pk}/targets/"
    assert api.get(path).json()["items"][0]["recalled_at"] is None
    cancel(api, note)
    item = api.get(path).json()["items"][0]
    assert item["status"] == "delivered" and item["recalled_at"] and item["delivered_at"]


@pytest.mark.parametrize("count", [2, 300])
def test_a_recall_costs_the_same_for_any_number(count: int) -> None:
    note = rows.notification(kept=True)
    delivered(note, 7, count)
    with capture() as found:
        assert cancelling.cancel(note.pk).counts == {"recalled": count}
    # a mark, the chunks, the events, the page, the lock, who carries others, the recall, what is behind
    assert len(found) == 8, found
    with capture() as found:
        assert cancelling.cancel(note.pk).counts == {"recalled": count}
    assert len(found) == 5, found


def test_the_hint_tells_every_socket_server_what_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    target = UUID(int=9)

    async def receive() -> Any:
        layer = get_channel_layer()
        channel = await layer.new_channel()
        await layer.group_add(inbox.INBOX_GROUP, channel)
        inbox.hint_recalled([Recalled(target, 7, 12)])
        return await layer.receive(channel)

    assert loop.run(receive()).result(5) == {"type": "inbox.recalled", "items": [[7, str(target), 12]]}
