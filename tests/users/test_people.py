"""One statement for any number of people."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, transaction

from apps.users import people, signals
from apps.users.models import DEFAULT_ORGANIZATION_ID, Organization, User
from apps.users.schemas import UserInput
from project import db

ORGANIZATION = DEFAULT_ORGANIZATION_ID


def said(external_id: str, **fields: Any) -> UserInput:
    return UserInput.model_validate({"external_id": external_id, **fields})


@pytest.fixture
def in_thread(transactional_db: None) -> Iterator[Callable[[Callable[[], Any]], threading.Thread]]:
    """Runs something on a connection of its own."""
    Organization.objects.get_or_create(id=ORGANIZATION, defaults={"name": "Default"})
    threads: list[threading.Thread] = []

    def start(work: Callable[[], Any]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            finally:
                connection.close()

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return threads[-1]

    yield start
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.django_db
def test_created_changed_and_left_alone() -> None:
    first = people.upsert(ORGANIZATION, [said("a", name="A"), said("b", name="B")])
    assert [first[key].created for key in "ab"] == [True, True]
    second = people.upsert(ORGANIZATION, [said("a", name="A"), said("b", name="C"), said("c")])
    assert {key: person.created for key, person in second.items()} == {"a": False, "b": False, "c": True}
    assert second["a"] == first["a"]._replace(created=False)
    assert second["b"].name == "C"
    assert people.upsert(ORGANIZATION, []) == {}


@pytest.mark.django_db
def test_a_row_that_stays_as_it_is_is_not_written() -> None:
    people.upsert(ORGANIZATION, [said("a", name="A", email="a@example.com")])
    version = "SELECT ctid, xmax::text FROM users_user WHERE external_id = 'a'"
    before = db.rows(version)
    people.upsert(ORGANIZATION, [said("a", name="A")])
    assert db.rows(version) == before


@pytest.mark.django_db
def test_a_deactivated_person_stays_deactivated() -> None:
    people.upsert(ORGANIZATION, [said("a")])
    User.objects.update(is_active=False)
    assert not people.upsert(ORGANIZATION, [said("a", name="A")])["a"].is_active


@pytest.mark.django_db
def test_find() -> None:
    other = Organization.objects.create(name="Other")
    ours = people.upsert(ORGANIZATION, [said("a"), said("b"), said("c")])
    theirs = people.upsert(other.pk, [said("a")])
    found = people.find(ORGANIZATION, ids=[ours["b"].id, theirs["a"].id, 2**62], external_ids=["a", "b", "x"])
    assert sorted(person.id for person in found) == sorted([ours["a"].id, ours["b"].id])
    assert people.find(ORGANIZATION) == []


def test_an_insert_that_lost_the_race_changes_only_what_it_was_given(in_thread) -> None:
    """The row appears between the snapshot and the insert: nothing of it is reset to a default."""
    results: dict[str, people.Person] = {}
    with transaction.atomic():
        people.upsert(ORGANIZATION, [said("a", email="first@example.com", language="de")])
        rival = in_thread(lambda: results.update(people.upsert(ORGANIZATION, [said("a", name="Second")])))
        wait_until_blocked()
    rival.join(10)
    person = results["a"]
    assert (person.name, person.email, person.language) == ("Second", "first@example.com", "de")
    assert not person.created


def test_two_requests_with_the_same_people_do_not_deadlock(in_thread) -> None:
    keys = [f"u{number}" for number in range(200)]
    errors: list[Exception] = []

    def many_times(order: list[str], name: str) -> None:
        try:
            for turn in range(20):
                people.upsert(ORGANIZATION, [said(key, name=f"{name}{turn}") for key in order])
        except Exception as error:
            errors.append(error)

    there = in_thread(lambda: many_times(keys, "x"))
    back = in_thread(lambda: many_times(keys[::-1], "y"))
    there.join(30)
    back.join(30)
    assert errors == []
    assert User.objects.count() == len(keys)


@pytest.mark.django_db
def test_plans_go_by_the_indexes_though_the_statistics_say_the_table_is_empty() -> None:
    connection.cursor().execute("ANALYZE users_user")
    connection.cursor().execute(
        "INSERT INTO users_user (organization_id, external_id, name, email, phone, timezone, language,"
        " password, is_active, is_staff, is_superuser)"
        " SELECT 1, 'x' || i, '', '', '', 'UTC', 'en', '!', true, false, false"
        " FROM generate_series(1, 5000) i"
    )
    upsert = plan(people._UPSERT, organization_id=1, people='{"x1": {}, "y": {"name": "Y"}}')
    assert "user_external_id" in upsert and "Rows Removed by Filter: 5" not in upsert
    named = {"organization_id": 1, "ids": [1, 2], "external_ids": ["x1", "x2"]}
    find, reach = plan(people._FIND_PERSON, **named), plan(people._FIND_REACH, **named)
    for text in (find, reach):
        assert "users_user_pkey" in text and "user_external_id" in text
    for text in (upsert, find, reach):
        assert "Seq Scan on users_user" not in text and "Bitmap" not in text


def plan(sql: str, **values: Any) -> str:
    return "\n".join(row[0] for row in db.rows(f"EXPLAIN (ANALYZE, TIMING OFF) {sql}", values))


def wait_until_blocked() -> None:
    """Until somebody waits for what our transaction has locked."""
    waiting = "SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    for _ in range(200):
        if db.rows(waiting):
            return
        time.sleep(0.02)
    raise AssertionError("nobody waits")


@pytest.fixture
def moved() -> Iterator[list[list[int]]]:
    """Who was said to have another time zone, and whether that was in a transaction."""
    told: list[list[int]] = []

    def listen(*, user_ids: list[int], **_: object) -> None:
        assert connection.in_atomic_block
        told.append(user_ids)

    signals.moved.connect(listen)
    yield told
    signals.moved.disconnect(listen)


@pytest.mark.django_db
def test_whose_time_zone_changed_is_told_once(moved: list[list[int]]) -> None:
    first = people.upsert(ORGANIZATION, [said("a", timezone="Europe/Berlin"), said("b"), said("c")])
    assert moved == [] and not any(person.moved for person in first.values())
    there = [said(key, timezone="Asia/Tokyo", name="N") for key in "cab"] + [said("d", timezone="Asia/Tokyo")]
    second = people.upsert(ORGANIZATION, there)
    assert {key: person.moved for key, person in second.items()} == dict.fromkeys("abc", True) | {"d": False}
    assert moved == [sorted(first[key].id for key in "abc")]


@pytest.mark.django_db
@pytest.mark.parametrize("fields", [{"name": "N"}, {"timezone": "UTC"}, {"timezone": None, "name": "N"}])
def test_nobody_moves_who_stays_in_the_zone(moved: list[list[int]], fields: dict[str, Any]) -> None:
    people.upsert(ORGANIZATION, [said("a")])
    assert not people.upsert(ORGANIZATION, [said("a", **fields)])["a"].moved
    assert moved == []


@pytest.mark.django_db(transaction=True)
def test_what_is_not_heard_is_not_written(moved: list[list[int]]) -> None:
    """By a caller without a transaction, too: the write and whoever is told of it stand or fall together."""
    Organization.objects.get_or_create(id=ORGANIZATION, defaults={"name": "Default"})
    people.upsert(ORGANIZATION, [said("a")])

    def fails(**_: object) -> None:
        raise RuntimeError

    signals.moved.connect(fails)
    try:
        with pytest.raises(RuntimeError):
            people.upsert(ORGANIZATION, [said("a", timezone="Asia/Tokyo")])
    finally:
        signals.moved.disconnect(fails)
    assert User.objects.get(external_id="a").timezone == "UTC"


@pytest.mark.django_db
def test_settle_writes_what_changes_and_tells_who_moved(moved: list[list[int]]) -> None:
    person = people.upsert(ORGANIZATION, [said("a", language="de")])["a"]
    assert not people.settle(person.id, language="de")
    assert not people.settle(person.id, language="fr", timezone="UTC")
    assert moved == []
    assert people.settle(person.id, timezone="Asia/Tokyo")
    assert moved == [[person.id]]
    row = User.objects.get(pk=person.id)
    assert (row.language, row.timezone) == ("fr", "Asia/Tokyo")
    assert not people.settle(2**62, timezone="Asia/Tokyo")
