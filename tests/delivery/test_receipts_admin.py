"""What the admin shows of receipts."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.test import Client

from apps.delivery import receipts
from apps.delivery.admin import receipts as admin
from apps.integrations.contract import ReceiptEvent, ReceiptKind
from apps.notifications.models import NotificationTarget
from apps.notifications.statuses import Status
from apps.users.models import User
from project import clock, db, ids
from tests.support import rows
from tests.support.database import Prepared, capture

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rung")]
LIST = "/admin/delivery/receipt/"


@pytest.fixture
def browser() -> Client:
    rows.people(1)
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def told(target: UUID, kind: ReceiptKind, event_id: str) -> None:
    attempt = ids.attempt_id(target, 1)
    receipts.store("p", [ReceiptEvent(
        event_id=event_id, kind=kind, attempt=attempt, code="code-7", address="ada@example.com",
        raw=b'{"said": "<b>"}', occurred_at=clock.now(),
    )])  # fmt: skip


def page_of(target: UUID) -> str:
    notification = NotificationTarget.objects.get(id=target).notification_id
    return f"/admin/notifications/notification/{notification}/change/"


def test_the_page_of_a_notification_tells_what_was_reported_and_what_it_did(browser: Client) -> None:
    (target,) = rows.targets(rows.notification(), Status.SENT)
    told(target, ReceiptKind.DELIVERED, "1")
    receipts.apply(10)
    told(target, ReceiptKind.OPENED, "2")
    text = " ".join(browser.get(page_of(target)).content.decode().split())
    assert "<td>delivered</td> <td>p</td>" in text and "<td>opened</td>" in text
    assert text.index("<td>delivered</td>") < text.index("<td>opened</td>") < text.index("<td>waits</td>")
    assert "code-7" in text


def test_it_costs_one_statement_for_any_number_of_targets_by_the_index(browser: Client) -> None:
    note = rows.notification()
    targets = rows.targets(note, Status.SENT, 30)
    with capture() as few:
        browser.get(page_of(targets[0]))
    for target in targets:
        for number in range(admin.LATEST + 2):
            told(target, ReceiptKind.OPENED, f"{target} {number}")
    with capture() as many:
        browser.get(page_of(targets[0]))
    assert len(few) == len(many)
    assert len(list(admin.of_targets(targets))) == 30 * admin.LATEST
    db.execute("ANALYZE delivery_receipt")
    nodes = Prepared("receipts_of_targets", admin._OF_TARGETS, [targets, admin.LATEST]).nodes()
    (scan,) = [node for node in nodes if "Index Name" in node]
    assert scan["Index Name"] == "receipt_of_target" and "target_id" in scan["Index Cond"]


def test_the_list_is_searched_by_target_and_shows_no_address(browser: Client) -> None:
    first, second = rows.targets(rows.notification(), Status.SENT, 2)
    told(first, ReceiptKind.OPENED, "1")
    told(second, ReceiptKind.CLICKED, "2")
    text = browser.get(LIST).content.decode()
    assert "opened" in text and "clicked" in text and "ada@" not in text
    found = browser.get(LIST, {"q": str(first)}).context["cl"].result_list
    assert [receipt.kind for receipt in found] == ["opened"]
    assert not browser.get(LIST, {"q": "nonsense"}).context["cl"].result_list


def test_one_is_shown_as_it_came_and_cannot_be_changed(browser: Client) -> None:
    (target,) = rows.targets(rows.notification(), Status.SENT)
    told(target, ReceiptKind.OPENED, "1")
    ((id,),) = db.rows("SELECT id FROM delivery_receipt")
    address = f"{LIST}{id}/change/"
    assert "&lt;b&gt;" in browser.get(address).content.decode()
    assert browser.post(address, {"kind": "x"}).status_code == 403
    assert browser.get(f"{LIST}add/").status_code == 403
