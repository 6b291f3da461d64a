"""In-app: one transaction from the claim to the inbox, numbered without gaps, and a hint that may be lost."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from channels.layers import get_channel_layer
from django.db import connection

from apps.delivery import engine, sweeper
from apps.delivery.models import Claim
from apps.notifications import inbox
from apps.notifications.models import InboxItem, NotificationTarget
from apps.notifications.statuses import Status
from project import clock, loop, queues
from tests.support import inboxes, rows
from tests.support.database import in_threads, other_connection

LANE = "in_app.normal"
SECOND = timedelta(seconds=1)


def queued(user: int, count: int = 1, **fields: Any) -> list[UUID]:
    note = fields.pop("notification", None) or rows.notification(kept=True)
    values = {"user_id": user, "channel": "in_app", "lane": LANE, "address": str(user)}
    return rows.targets(note, Status.QUEUED, count, **(values | fields))


def sequences(user: int) -> list[int]:
    return list(
        InboxItem.objects.filter(user_id=user).order_by("sequence").values_list("sequence", flat=True)
    )


@pytest.fixture
def hints(monkeypatch: pytest.MonkeyPatch) -> list[dict[int, int]]:
    sent: list[dict[int, int]] = []
    monkeypatch.setattr(inbox, "hint", lambda heads: sent.append(dict(heads)))
    return sent


@pytest.mark.django_db
def test_a_target_is_delivered_by_being_in_the_inbox(hints) -> None:
    (target,) = queued(7)
    assert engine.work(LANE) == 1
    row = rows.row(target)
    assert (row["status"], row["reason"], row["attempts"]) == ("delivered", "", 0)
    assert row["sent_at"] == row["delivered_at"] == row["settled_at"] == clock.now()
    item = InboxItem.objects.get()
    assert (item.target_id, item.user_id, item.notification_id) == (target, 7, row["notification_id"])
    assert (item.title, item.body, item.sequence, item.change) == ("Title", "Body", 1, 0)
    assert inboxes.counts(7) == (1, 1, 1) and hints == [{7: 1}]
    assert rows.attempts([target]) == [] and not Claim.objects.exists()
    rows.assert_books_balance()
    rows.assert_shapes_hold()


@pytest.mark.django_db
def test_an_item_has_what_its_template_has_beside_the_words(hints) -> None:
    (ada,) = rows.people()
    action = {"id": "open", "label": "Open", "link": "/a"}
    parts = {"subject": "s", "body": "b", "link": "/l", "avatar": "/{{ by }}.png", "actions": [action]}
    note = rows.notification(kept=True, content={"in_app": parts}, payload={"by": "ben"})
    queued(ada.pk, notification=note)
    assert engine.work(LANE) == 1
    item = InboxItem.objects.get()
    assert (item.title, item.body, item.link, item.avatar) == ("s", "b", "/l", "/ben.png")
    assert item.actions == [action]


@pytest.mark.django_db
def test_each_person_has_numbers_of_their_own_and_the_head_is_the_last(hints) -> None:
    queued(7, 3)
    queued(8, 2)
    engine.work(LANE)
    queued(7)
    engine.work(LANE)
    assert (sequences(7), sequences(8)) == ([1, 2, 3, 4], [1, 2])
    assert (inboxes.counts(7), inboxes.counts(8)) == ((4, 4, 4), (2, 2, 2))
    inboxes.assert_books_balance()
    assert hints == [{7: 3, 8: 2}, {7: 4}]


@pytest.mark.django_db
def test_an_item_says_of_which_type_it_is(hints) -> None:
    queued(7, notification=rows.notification(type="comment"))
    queued(7)
    engine.work(LANE)
    assert list(InboxItem.objects.order_by("sequence").values_list("type", flat=True)) == ["comment", ""]


@pytest.mark.django_db
def test_what_comes_is_added_to_what_was_left_unread(hints) -> None:
    queued(7, 3)
    engine.work(LANE)
    inboxes.do("read", up_to=2)
    queued(7, 2)
    engine.work(LANE)
    assert inboxes.counts(7) == (7, 3, 3)
    inboxes.assert_books_balance()


@pytest.mark.django_db
def test_within_a_batch_the_older_has_the_smaller_number(hints) -> None:
    targets = queued(7, 20)
    engine.work(LANE)
    assert list(InboxItem.objects.order_by("sequence").values_list("target_id", flat=True)) == targets


@pytest.mark.django_db
def test_what_does_not_render_is_dead_and_its_batch_is_delivered(hints) -> None:
    parts = {"in_app": {"subject": "", "body": "{{ broken", "html": ""}}
    (broken,) = queued(7, notification=rows.notification(content=parts, kept=True))
    (whole,) = queued(7)
    engine.work(LANE)
    assert rows.statuses([broken, whole]) == ["dead", "delivered"]
    assert rows.row(broken)["reason"] == "rendering"
    assert sequences(7) == [1]
    rows.assert_books_balance()


@pytest.mark.django_db
def test_a_text_that_the_database_does_not_take_does_not_block_its_lane(hints) -> None:
    parts = {"in_app": {"subject": "", "body": "{{ '%00' | url_decode }}", "html": ""}}
    (odd,) = queued(7, notification=rows.notification(content=parts))
    (whole,) = queued(7)
    engine.work(LANE)
    assert rows.statuses([whole]) == ["delivered"]
    assert rows.statuses([odd])[0] in {"delivered", "dead"}


@pytest.mark.django_db
def test_what_came_too_late_expires_and_is_in_no_inbox(hints) -> None:
    (late,) = queued(7, expires_at=clock.now())
    (whole,) = queued(7, expires_at=clock.now() + SECOND)
    engine.work(LANE)
    assert rows.statuses([late, whole]) == ["expired", "delivered"]
    assert sequences(7) == [1]
    rows.assert_books_balance()


@pytest.mark.django_db
def test_a_batch_that_is_too_late_altogether_is_work_done(hints) -> None:
    (late,) = queued(7, expires_at=clock.now())
    assert engine.work(LANE) == 1
    assert rows.statuses([late]) == ["expired"]
    assert sequences(7) == [] and hints in ([], [{}])


@pytest.mark.django_db
@pytest.mark.parametrize("count", [3, 7, 8, 9, 12, 13, 30])
def test_a_lane_of_any_length_is_delivered_batch_by_batch(count: int, hints, settings) -> None:
    settings.BULK_BATCH = 5
    now = clock.now()
    for n in range(count):
        queued(7, next_attempt_at=now - SECOND * (count - n))
    batches = 0
    while engine.work(LANE):
        batches += 1
    assert sequences(7) == list(range(1, count + 1))
    assert batches <= -(-count // 5) + 2


@pytest.mark.django_db
def test_a_full_batch_rings_for_the_rest(hints, settings, monkeypatch) -> None:
    settings.BULK_BATCH = 5
    rung: list[str] = []
    monkeypatch.setattr(queues, "ring_now", rung.append)
    queued(7, 7)
    engine.work(LANE)
    assert rung == [LANE]
    engine.work(LANE)
    assert rung == [LANE]


class Reader(threading.Thread):
    """Reads inboxes over and over: at no moment may a number be missing below the highest."""

    def __init__(self) -> None:
        super().__init__()
        self.done = threading.Event()
        self.gaps: list[Any] = []
        self.reads = 0

    def run(self) -> None:
        with other_connection() as mine:
            mine.autocommit = True
            while not self.done.is_set():
                self.gaps += mine.execute(
                    "SELECT user_id, count(*), max(sequence) FROM notifications_inboxitem"
                    " GROUP BY user_id HAVING count(*) <> max(sequence)"
                ).fetchall()
                self.reads += 1


@pytest.fixture
def reader() -> Iterator[Reader]:
    thread = Reader()
    yield thread
    thread.done.set()
    thread.join(10)


@pytest.mark.django_db(transaction=True)
def test_numbers_are_given_in_the_order_of_commits_under_contention(hints, settings, reader) -> None:
    settings.BULK_BATCH = 15
    users = (1, 2, 3, 4, 5)
    now = clock.now()
    targets = [
        id
        for n in range(12)
        for user in users
        for id in queued(user, 4, next_attempt_at=now - SECOND * (n + 1))
    ]  # fmt: skip
    reader.start()

    def drain(number: int) -> int:
        idle = total = 0
        while idle < 3:
            done = engine.work(LANE)
            total += done
            idle = 0 if done else idle + 1
        return total

    assert sum(in_threads(4, drain)) == len(targets)
    reader.done.set()
    reader.join(10)
    assert reader.gaps == [] and reader.reads > 1
    for user in users:
        assert sequences(user) == list(range(1, 49))
    assert sorted(InboxItem.objects.values_list("target_id", flat=True)) == sorted(targets)
    assert Counter(rows.statuses(targets)) == {"delivered": len(targets)}
    inboxes.assert_books_balance()
    heads = Counter[int]()
    for sent in hints:
        heads |= Counter(sent)
    assert heads == dict.fromkeys(users, 48)
    rows.assert_books_balance()


@pytest.mark.django_db(transaction=True)
def test_a_crash_before_the_commit_leaves_everything_to_the_next(hints, monkeypatch) -> None:
    (target,) = queued(7)
    real = inbox.add

    def crash(items: Any) -> dict[int, int]:
        real(items)
        raise KeyboardInterrupt

    monkeypatch.setattr(inbox, "add", crash)
    with pytest.raises(KeyboardInterrupt):
        engine.work(LANE)
    assert (rows.statuses([target]), sequences(7), hints) == (["queued"], [], [])
    monkeypatch.setattr(inbox, "add", real)
    engine.work(LANE)
    assert (rows.statuses([target]), sequences(7)) == (["delivered"], [1])
    rows.assert_books_balance()


@pytest.mark.django_db(transaction=True)
def test_the_hint_follows_the_commit(monkeypatch) -> None:
    seen: list[tuple[bool, int]] = []

    def hint(heads: Any) -> None:
        with other_connection() as other:
            ((count,),) = other.execute("SELECT count(*) FROM notifications_inboxitem").fetchall()
        seen.append((connection.in_atomic_block, count))

    monkeypatch.setattr(inbox, "hint", hint)
    queued(7)
    engine.work(LANE)
    assert seen == [(False, 1)]


@pytest.fixture
def deaf_redis(settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Redis that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        settings.REDIS_URL = url
        settings.REDIS_TIMEOUT = 0.2
        config = settings.CHANNEL_LAYERS["default"]
        settings.CHANNEL_LAYERS = {"default": config | {"CONFIG": {"hosts": [{"address": url}]}}}
        get_channel_layer()  # made here: a hint that made it late would leave it to the next test
        yield


@pytest.mark.django_db
def test_without_redis_it_is_delivered_all_the_same_and_soon(deaf_redis) -> None:
    (target,) = queued(7)
    start = time.monotonic()
    engine.work(LANE)
    assert time.monotonic() - start < 5.0  # not the seconds that each bell or hint would wait
    assert rows.statuses([target]) == ["delivered"]
    assert sequences(7) == [1]


def test_a_hint_costs_no_waiting_without_redis(deaf_redis) -> None:
    start = time.monotonic()
    inbox.hint({7: 1})
    assert time.monotonic() - start < 0.15  # less than one timeout of Redis (0.2 s)


def test_a_hint_that_cannot_be_sent_is_logged_not_raised(deaf_redis, caplog) -> None:
    loop.run(inbox._tell({"type": "inbox.moved", "heads": {"7": 1}})).result(5)
    assert "inbox hint not sent" in caplog.text


def test_the_hint_tells_every_socket_server_whose_inbox_moved_and_to_where() -> None:
    async def receive() -> Any:
        layer = get_channel_layer()
        channel = await layer.new_channel()
        await layer.group_add(inbox.INBOX_GROUP, channel)
        inbox.hint({7: 12, 8: 3})
        return await layer.receive(channel)

    assert loop.run(receive()).result(5) == {"type": "inbox.moved", "heads": {"7": 12, "8": 3}}


@pytest.mark.django_db
def test_a_redriven_in_app_target_is_delivered_once(hints) -> None:
    from apps.notifications import transitions

    parts = {"in_app": {"subject": "", "body": "{{ broken", "html": ""}}
    (target,) = queued(7, notification=rows.notification(content=parts, kept=True))
    engine.work(LANE)
    transitions.redrive([target], more_attempts=1, by=None)
    assert sweeper.due_lanes() == [LANE]
    engine.work(LANE)
    assert rows.statuses([target]) == ["dead"]
    assert NotificationTarget.objects.get().attempts == 0
    rows.assert_books_balance()
