"""GET: notifications, their targets and attempts; filters, pages and summaries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

import pytest

from apps.notifications.models import (
    AudienceChunk,
    DeliveryAttempt,
    Notification,
    NotificationSummary,
    NotificationTarget,
)
from apps.notifications.statuses import SETTLED, Status
from apps.users.models import Scope, ServiceClient
from project import clock, ids
from project.paging import MAX_PAGE_SIZE, encode_cursor
from tests.api_helpers import Api, fields, make_key, make_organization, make_service, problem
from tests.notifications.api_support import SEND, accepted, send, template
from tests.support import rows
from tests.support.database import capture

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rung")]


def page(api: Api, path: str, **query: object) -> dict[str, Any]:
    response = api.get(f"{path}?{urlencode(query)}")
    assert response.status_code == 200, response.content
    body: dict[str, Any] = response.json()
    return body


def found(api: Api, path: str = SEND, **query: object) -> list[str]:
    return [item["id"] for item in page(api, path, **query)["items"]]


def walk(api: Api, path: str, way: str, size: int, start: str | None = None, **query: object) -> list[str]:
    """The ids of everything, page by page: `after` forwards, `before` backwards, in list order."""
    pages: list[list[str]] = []
    cursor = start
    while not pages or cursor:
        body = page(api, path, page_size=size, **query, **({way: cursor} if cursor else {}))
        pages.append([item["id"] for item in body["items"]])
        assert len(pages[-1]) <= size and body["page_info"]["page_size"] == size
        cursor = body["page_info"][way]
    return [id for one in (pages if way == "after" else reversed(pages)) for id in one]


def below(of: Notification, what: str) -> str:
    return f"{SEND}{of.pk}/{what}/"


def attempts(targets: list[UUID], each: int) -> list[str]:
    """So many attempts for each target; their ids in order."""
    made = [
        DeliveryAttempt(
            id=ids.attempt_id(target, number), target_id=target, number=number, provider="smtp",
            worker="w", started_at=clock.now(), outcome="temporary_failure",
            code="busy" if number > 1 else "", finished_at=clock.now() if number < each else None,
        )
        for target in targets
        for number in range(1, each + 1)
    ]  # fmt: skip
    DeliveryAttempt.objects.bulk_create(made)
    return sorted(str(attempt.id) for attempt in made)


# --- One notification ------------------------------------------------------------------------------------


def test_what_is_not_ours_is_not_there(api: Api) -> None:
    theirs = rows.notification(organization_id=make_organization().pk)
    rows.targets(theirs)
    ours = rows.notification()
    for id in (theirs.pk, ids.uuid7()):
        for path in (f"{SEND}{id}/", f"{SEND}{id}/targets/", f"{SEND}{id}/attempts/"):
            problem(api.get(path), 404, "not_found")
            problem(api.get(f"{path}?page_size=1"), 404, "not_found")
    assert found(api) == [str(ours.pk)]


def test_what_is_no_id_is_no_address(api: Api) -> None:
    problem(api.get(f"{SEND}17/"), 404, "unknown_route")


def test_reading_needs_its_scope(service: ServiceClient) -> None:
    row = rows.notification()
    reader = Api(make_key(service, [Scope.READ]))
    sender = Api(make_key(service, [Scope.SEND]))
    for path in (SEND, f"{SEND}{row.pk}/", below(row, "targets"), below(row, "attempts")):
        assert reader.get(path).status_code == 200
        problem(sender.get(path), 403, "missing_scope")
        problem(Api(None).get(path), 401, "not_authenticated")


def test_another_service_of_the_organization_reads_it_too(api: Api) -> None:
    row = rows.notification()
    assert found(Api(make_key(make_service()))) == [str(row.pk)]


# --- The list --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 7, 8, 100])
def test_everything_once_forwards_and_back(api: Api, size: int) -> None:
    expected = sorted((str(rows.notification().pk) for _ in range(7)), reverse=True)
    assert walk(api, SEND, "after", size) == expected
    last = encode_cursor("id", expected[-1])
    assert walk(api, SEND, "before", size, last) == expected[:-1]


def test_the_first_and_the_last_page_say_so(api: Api) -> None:
    for _ in range(3):
        rows.notification()
    first = page(api, SEND, page_size=2)["page_info"]
    assert first["before"] is None
    last = page(api, SEND, page_size=2, after=first["after"])["page_info"]
    assert last["after"] is None and last["before"] is not None


def test_what_comes_meanwhile_is_not_in_the_way(api: Api) -> None:
    old = sorted((str(rows.notification().pk) for _ in range(4)), reverse=True)
    first = page(api, SEND, page_size=2)
    rows.notification()
    assert found(api, page_size=2, after=first["page_info"]["after"]) == old[2:]


def test_an_empty_list(api: Api) -> None:
    assert page(api, SEND) == {"items": [], "page_info": {"after": None, "before": None, "page_size": 20}}


def test_filters(api: Api) -> None:
    (person,) = rows.people()
    template("news", email=[])

    def sent(**more: Any) -> str:
        return str(accepted(send(api, targets=[person.pk], **more))["id"])

    order = sent(related_object={"type": "order", "id": "17"})
    invoice = sent(related_object={"type": "invoice", "id": "17"}, priority="high")
    news = sent(template="news", priority="high")
    assert found(api, related_type="order", related_id="17") == [order]
    assert found(api, related_id="17") == [invoice, order]
    assert found(api, related_type="invoice") == [invoice]
    assert found(api, related_type="order", related_id="18") == []
    assert found(api, priority="high") == [news, invoice]
    assert found(api, priority="high", template="news") == [news]
    assert found(api, template="nothing") == []
    assert walk(api, SEND, "after", 1, priority="high") == [news, invoice]


def test_filters_by_time(api: Api) -> None:
    now = clock.now()
    old, new = (rows.notification(created_at=now - timedelta(days=days)) for days in (2, 1))
    day = new.created_at.isoformat()
    assert found(api, created_after=day) == [str(new.pk)]
    assert found(api, created_before=day) == [str(old.pk)]
    assert found(api, created_after=day, created_before=day) == []
    unescaped = day.replace(":", "%3A")  # a newcomer's curl: + means a space in an address
    assert "+" in unescaped
    assert len(api.get(f"{SEND}?created_after={unescaped}").json()["items"]) == 1


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ({"relatedType": "order"}, {"relatedType": "unknown_field"}),
        ({"page": "2", "offset": "1"}, {"page": "unknown_field", "offset": "unknown_field"}),
        ({"priority": "urgent"}, {"priority": "invalid"}),
        ({"priority": "bulk"}, {"priority": "invalid"}),
        ({"related_id": ""}, {"related_id": "invalid"}),
        ({"related_type": "x" * 101}, {"related_type": "too_long"}),
        ({"related_id": "x" * 201}, {"related_id": "too_long"}),
        ({"template": "\0"}, {"template": "invalid"}),
        ({"related_type": "\0", "related_id": "\0"}, {"related_type": "invalid", "related_id": "invalid"}),
        ({"created_after": "yesterday"}, {"created_after": "invalid"}),
        ({"created_before": "1700000000"}, {"created_before": "invalid"}),
        ({"created_after": "2026-01-01T00:00:00"}, {"created_after": "invalid"}),
        ({"created_after": "0001-01-01T00:00:00+14:00"}, {"created_after": "invalid"}),
        ({"page_size": 0}, {"page_size": "out_of_range"}),
        ({"page_size": MAX_PAGE_SIZE + 1}, {"page_size": "out_of_range"}),
        ({"after": "x"}, {"after": "invalid_cursor"}),
        ({"after": encode_cursor("sequence", 3)}, {"after": "invalid_cursor"}),
        ({"before": encode_cursor("id", "x")}, {"before": "invalid_cursor"}),
        (
            {"priority": "x", "after": "x", "page_size": "x", "more": 1},
            {
                "priority": "invalid",
                "after": "invalid_cursor",
                "page_size": "out_of_range",
                "more": "unknown_field",
            },
        ),
    ],
)
def test_a_bad_query_is_told_in_full(api: Api, query: dict[str, object], wrong: dict[str, str]) -> None:
    rows.notification()
    assert fields(api.get(f"{SEND}?{urlencode(query)}")) == wrong


# --- Targets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 4, 10, 11])
def test_targets_once_forwards_and_back(api: Api, size: int) -> None:
    row, other = rows.notification(), rows.notification()
    expected = [str(id) for id in rows.targets(row, count=10)]
    rows.targets(other, count=3)
    path = below(row, "targets")
    assert walk(api, path, "after", size) == expected
    assert walk(api, path, "before", size, encode_cursor("id", expected[-1])) == expected[:-1]


def test_targets_by_status_and_channel(api: Api) -> None:
    row = rows.notification()
    made = {
        (status, channel): [str(id) for id in rows.targets(row, status, 2, channel=channel)]
        for status in (Status.SENT, Status.SKIPPED)
        for channel in ("email", "sms")
    }
    path = below(row, "targets")
    for (status, channel), targets in made.items():
        assert found(api, path, status=status.value, channel=channel) == targets
        assert walk(api, path, "after", 1, status=status.value, channel=channel) == targets
    assert len(found(api, path, channel="sms")) == len(found(api, path, status="sent")) == 4
    assert found(api, path, status="failed") == []


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ({"status": "gone"}, {"status": "invalid"}),
        ({"status": ""}, {"status": "invalid"}),
        ({"status": "\0", "channel": "\0"}, {"status": "invalid", "channel": "invalid"}),
        ({"channel": "fax"}, {"channel": "invalid"}),
        ({"user": "1", "page_size": "0"}, {"user": "unknown_field", "page_size": "out_of_range"}),
    ],
)
def test_a_bad_query_for_targets(api: Api, query: dict[str, object], wrong: dict[str, str]) -> None:
    path = below(rows.notification(), "targets")
    assert fields(api.get(f"{path}?{urlencode(query)}")) == wrong
    if "status" in query:
        attempts_path = path.replace("targets", "attempts")
        wrong = dict.fromkeys(query, "unknown_field")
        assert fields(api.get(f"{attempts_path}?{urlencode(query)}")) == wrong


@pytest.mark.parametrize("status", Status)
def test_a_target_in_every_status(api: Api, status: Status) -> None:
    row = rows.notification()
    (id,) = rows.targets(row, status)
    (item,) = page(api, below(row, "targets"))["items"]
    kept = rows.row(id)
    assert item["id"] == str(id) and item["user"] == kept["user_id"] and item["status"] == status
    assert item["reason"] == (kept["reason"] or None)
    times = ("next_attempt_at", "held_until", "sent_at", "delivered_at", "settled_at", "created_at")
    for name in times:
        assert item[name] == (kept[name] and kept[name].isoformat().replace("+00:00", "Z"))


# --- Attempts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 5, 12, 13])
def test_attempts_once_forwards_and_back(api: Api, size: int) -> None:
    row, other = rows.notification(), rows.notification()
    targets = rows.targets(row, count=6)
    attempts(rows.targets(other, count=2), 2)
    expected = sorted(attempts(targets[:1], 1) + attempts(targets[2:4], 5) + attempts(targets[5:], 1))
    path = below(row, "attempts")
    assert walk(api, path, "after", size) == expected
    assert walk(api, path, "before", size, encode_cursor("id", expected[-1])) == expected[:-1]
    for id in expected:  # from everywhere, also from the middle of a target
        assert walk(api, path, "after", size, encode_cursor("id", id)) == [x for x in expected if x > id]


def test_an_attempt(api: Api) -> None:
    row = rows.notification()
    (target,) = rows.targets(row)
    attempts([target], 2)
    first, second = page(api, below(row, "attempts"))["items"]
    assert (first["target"], first["number"], first["provider"]) == (str(target), 1, "smtp")
    assert (first["code"], second["code"], second["number"]) == (None, "busy", 2)
    assert first["finished_at"] and second["finished_at"] is None
    assert first["outcome"] == "temporary_failure" and first["provider_message_id"] is None


def test_the_last_attempt_a_target_can_have(api: Api) -> None:
    row = rows.notification()
    expected = attempts(rows.targets(row, count=2), ids.MAX_ATTEMPT_NUMBER)
    assert walk(api, below(row, "attempts"), "after", 100) == expected


# --- Summaries -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipients", [100, 101])
def test_derived_and_kept_summaries_agree_with_the_targets(api: Api, recipients: int) -> None:
    row = rows.notification(kept=recipients > 100, recipient_count=recipients)
    for number, status in enumerate(Status, start=1):
        rows.targets(row, status, number)
    total = NotificationTarget.objects.count()
    expected = {status.value: number for number, status in enumerate(Status, start=1)}
    in_progress = sum(expected.pop(name) for name in ("queued", "sending", "retrying", "unknown"))
    summary = page(api, f"{SEND}{row.pk}/")["summary"]
    assert summary == {"targets": total, "in_progress": in_progress, **expected, "settled": False}
    assert page(api, SEND)["items"][0]["summary"] == summary


@pytest.mark.parametrize("recipients", [100, 101])
@pytest.mark.parametrize(
    ("statuses", "settled"), [(list(SETTLED), True), ([Status.SENT, Status.HELD], False), ([], True)]
)
def test_settled_is_all_of_them(api: Api, recipients: int, statuses: list[Status], settled: bool) -> None:
    row = rows.notification(kept=recipients > 100, recipient_count=recipients)
    for status in statuses:
        rows.targets(row, status)
    assert page(api, f"{SEND}{row.pk}/")["summary"]["settled"] is settled


@pytest.mark.parametrize("people", [100, 101])
def test_a_summary_of_what_was_posted(api: Api, people: int) -> None:
    made = [person.pk for person in rows.people(people - 1)] + [rows.people(email="")[0].pk]
    id = accepted(send(api, targets=made, channels=["email"]))["id"]
    assert NotificationSummary.objects.exists() == (people > 100)
    summary = page(api, f"{SEND}{id}/")["summary"]
    assert (summary["targets"], summary["skipped"], summary["in_progress"]) == (people, 1, people - 1)
    rows.assert_books_balance()


@pytest.mark.parametrize("recipients", [1, 101])
def test_an_audience_that_is_still_planned_is_not_settled(api: Api, recipients: int) -> None:
    row = rows.notification(kept=recipients > 100, recipient_count=recipients)
    rows.targets(row, Status.SENT)
    chunk = AudienceChunk.objects.create(notification=row, user_ids=[1])
    summary = page(api, f"{SEND}{row.pk}/")["summary"]
    assert (summary["settled"], summary["targets"], summary["sent"]) == (False, 1, 1)
    chunk.delete()
    assert page(api, f"{SEND}{row.pk}/")["summary"] == summary | {"settled": True}


# --- Statements ------------------------------------------------------------------------------------------


def statements(get: Callable[[], Any]) -> list[str]:
    with capture() as ran:
        assert get().status_code == 200
    return ran


@pytest.mark.parametrize("size", [2, 50])
def test_statements_do_not_grow_with_the_page(api: Api, size: int) -> None:
    for _ in range(26):
        rows.targets(rows.notification(), count=2)
        rows.notification(kept=True, recipient_count=101)
    big = rows.notification()
    attempts(rows.targets(big, count=30), 2)
    listed = statements(lambda: api.get(f"{SEND}?page_size={size}"))
    assert len(listed) == 4  # the key, the page, kept summaries, derived ones
    assert len(statements(lambda: api.get(f"{SEND}{big.pk}/"))) == 3
    for what in ("targets", "attempts"):
        ran = statements(lambda what=what: api.get(f"{below(big, what)}?page_size={size}"))
        assert len(ran) == 3  # the key, the notification, the page
        assert not [sql for sql in ran if "count(" in sql.lower() or "offset" in sql.lower()]


def test_nothing_of_a_big_notification_is_counted(api: Api) -> None:
    rows.notification(kept=True, recipient_count=101)
    for path in (SEND, f"{SEND}{Notification.objects.get().pk}/"):
        assert not [sql for sql in statements(lambda path=path: api.get(path)) if "count(" in sql.lower()]


def test_a_cursor_is_safe_in_an_address(api: Api) -> None:
    cursor = encode_cursor("id", ids.uuid7())
    assert quote(cursor, safe="") == cursor
