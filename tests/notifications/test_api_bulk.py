"""POST /api/notifications/bulk/: each row judged alone, all of it one transaction."""

from __future__ import annotations

from typing import Any

import pytest

from apps.content import catalog
from apps.notifications.api import MAX_ROW_ERRORS
from apps.notifications.models import Notification, NotificationTarget
from apps.notifications.schemas import MAX_BULK_TARGETS
from apps.users.models import DEFAULT_ORGANIZATION_ID, User
from tests.api_helpers import Api, fields
from tests.notifications.api_support import BULK, SEND, everything, targets_of, template
from tests.support import rows
from tests.support.database import capture

pytestmark = pytest.mark.django_db


def post(api: Api, *notifications: object) -> list[dict[str, Any]]:
    """The results of these rows."""
    response = api.post(BULK, {"notifications": list(notifications)})
    assert response.status_code == 202, response.content
    body = response.json()
    results: list[dict[str, Any]] = body["results"]
    assert [result["index"] for result in results] == list(range(len(notifications)))
    accepted = [result for result in results if result["status"] == "accepted"]
    assert (body["accepted"], body["rejected"]) == (len(accepted), len(results) - len(accepted))
    for result in results:
        assert result.keys() == {
            "index",
            "status",
            "notification" if result["status"] == "accepted" else "errors",
        }
    return results


def bad_fields(result: dict[str, Any]) -> dict[str, str]:
    return {error["field"]: error["code"] for error in result["errors"]}


def to(*targets: object, **more: object) -> dict[str, Any]:
    return {"title": "x", "channels": ["email"], "targets": list(targets), **more}


@pytest.fixture(autouse=True)
def people(rung: list[str]) -> list[User]:
    return [rows.people(external_id=name)[0] for name in ("ada", "ben")]


def test_a_row_is_answered_as_if_it_came_alone(api: Api, people: list[User]) -> None:
    row = to("ada", "ben", metadata={"a": 1}, related_object={"type": "order", "id": "17"})
    (result,) = post(api, row)
    alone = api.post(SEND, row).json()
    its_own = ("id", "created_at", "targets")
    assert {k: v for k, v in result["notification"].items() if k not in its_own} == {
        k: v for k, v in alone.items() if k not in its_own
    }
    assert targets_of(result["notification"]) == targets_of(alone)


def test_a_bad_row_fails_alone_and_the_order_stays(api: Api, people: list[User], rung: list[str]) -> None:
    ada, ben = people
    template("news", email=["edition"])
    results = post(
        api,
        to("ada"),
        to("nobody", True, channels=["fax"]),
        5,
        to("ben", priority="high"),
        {"targets": ["ada"], "template": "news", "payload": {}, "expires_at": "2020-01-01T00:00:00Z"},
        None,
        to(ada.pk, ben.pk),
        {},
        [],
    )
    good = {result["index"] for result in results if result["status"] == "accepted"}
    assert good == {0, 3, 6}
    assert bad_fields(results[1]) == {
        "targets[0]": "unknown_user",
        "targets[1]": "invalid",
        "channels[0]": "unknown_channel",
    }
    assert bad_fields(results[4]) == {"payload.edition": "required", "expires_at": "past"}
    assert bad_fields(results[7]) == {"targets": "required", "title": "required"}
    for index in (2, 5, 8):
        assert bad_fields(results[index]) == {"(body)": "invalid"}
    found = [targets_of(results[index]["notification"])[0][0] for index in (0, 3, 6)]
    assert found == [ada.pk, ben.pk, ada.pk]
    assert Notification.objects.count() == 3 and NotificationTarget.objects.count() == 4
    assert set(rung) == {"email.normal", "email.high"}


def test_rows_that_are_all_bad_write_nothing(api: Api, rung: list[str]) -> None:
    before = everything()
    results = post(api, *[to({"external_id": "new"}, "nobody")] * 3)
    assert {result["status"] for result in results} == {"rejected"}
    assert everything() == before and rung == []


def test_people_a_bad_row_brings_along_are_not_written(api: Api) -> None:
    post(api, to({"external_id": "new"}), to({"external_id": "newer"}, "nobody"))
    assert User.objects.filter(external_id="new").exists()
    assert not User.objects.filter(external_id="newer").exists()


def test_a_person_in_several_rows_is_one_person(api: Api) -> None:
    results = post(
        api,
        to({"external_id": "cleo", "email": "cleo@example.com"}),
        to({"external_id": "cleo", "name": "Cleo"}),
        to({"external_id": "ada", "email": "new@example.com"}),
        to("ada"),
    )
    cleo = User.objects.get(external_id="cleo")
    assert (cleo.name, cleo.email) == ("Cleo", "cleo@example.com")
    told = [result["notification"]["targets"][0]["user"] for result in results]
    assert told[:2] == [cleo.pk, cleo.pk] and told[2] == told[3]
    addresses = NotificationTarget.objects.order_by("id").values_list("address", flat=True)
    assert sorted(addresses) == ["cleo@example.com"] * 2 + ["new@example.com"] * 2


def test_a_thousand_rows_and_no_more(api: Api) -> None:
    assert len(post(api, *[to("ada")] * 1_000)) == 1_000
    before = everything()
    found = fields(api.post(BULK, {"notifications": [to("ada")] * 1_001}))
    assert found == {"notifications": "too_many"}
    assert everything() == before


def test_ten_thousand_targets_and_no_more(api: Api) -> None:
    assert MAX_BULK_TARGETS == 10_000
    full = [to(*["ada"] * 1_000)] * 10
    assert len(post(api, *full)) == 10
    before = everything()
    assert fields(api.post(BULK, {"notifications": [*full, to("ada")]})) == {"notifications": "too_many"}
    assert everything() == before


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({}, {"notifications": "required"}),
        ({"notifications": []}, {"notifications": "too_few"}),
        ({"notifications": None}, {"notifications": "invalid"}),
        ({"notifications": {"title": "x"}}, {"notifications": "invalid"}),
        ({"notifications": [{}], "dry_run": True}, {"dry_run": "unknown_field"}),
    ],
)
def test_a_body_that_is_none(api: Api, body: object, found: dict[str, str]) -> None:
    assert fields(api.post(BULK, body)) == found


def test_a_row_is_told_its_first_errors(api: Api) -> None:
    (result,) = post(api, to(*(f"nobody{n}" for n in range(1_000))))
    assert list(bad_fields(result)) == [f"targets[{n}]" for n in range(MAX_ROW_ERRORS)]


def test_as_many_statements_for_two_rows_as_for_two_hundred(api: Api) -> None:
    def count(number: int) -> int:
        bodies = [
            to("ada", "nobody" if n % 5 == 4 else "ben", {"external_id": f"new-{number}-{n}"})
            | {"title": "", "template": "news"}
            for n in range(number)
        ]
        with capture() as statements:
            response = api.post(BULK, {"notifications": bodies}, idempotency_key=f"key-{number}")
        assert response.status_code == 202
        return len(statements)

    template("news", email=[])
    catalog.find(DEFAULT_ORGANIZATION_ID, templates=["news"])  # this process has met the version
    # two keys, the people, the template, the new people, what is suppressed and wanted, the notifications,
    # the targets, the answer
    assert count(2) == count(200) == 9


def test_kept_summaries_cost_two_more_for_any_number(api: Api) -> None:
    many = rows.people(101)
    row = to(*(person.pk for person in many))
    counts = []
    for number in (1, 5):
        with capture() as statements:
            post(api, *[row] * number)
        counts.append(len(statements))
    # the key, the time, the people, what is suppressed and wanted, two and the summaries' two
    assert counts == [8, 8]
    rows.assert_books_balance()
