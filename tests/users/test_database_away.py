"""Postgres restarts, or is not there at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import OperationalError, connection, transaction

from apps.users.models import ServiceClient, User
from apps.users.tokens import mint
from tests.api_helpers import Api, make_key, make_service, problem

pytestmark = pytest.mark.django_db(transaction=True)


def kill_own_connection() -> None:
    """As a restart of Postgres does to every idle connection."""
    own = connection.connection.info.backend_pid
    rival = connection.copy()
    with rival.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [own])
    rival.close()


@contextmanager
def nowhere() -> Iterator[None]:
    """New connections are refused, and there is no old one."""
    settings = connection.settings_dict
    port = settings["PORT"]
    connection.close()
    settings["PORT"] = "1"
    try:
        yield
    finally:
        settings["PORT"] = port
        connection.close()


def test_the_next_request_after_a_restart_notices_nothing(api: Api) -> None:
    api.put("/api/users/ada/", {})
    kill_own_connection()
    assert api.get("/api/users/ada/").status_code == 200
    kill_own_connection()
    assert api.put("/api/users/ada/", {"name": "Ada"}).status_code == 200
    assert User.objects.get(external_id="ada").name == "Ada"


def test_nor_does_a_person_with_a_token(service: ServiceClient) -> None:
    person = Api(mint(User.objects.create(external_id="ada"), 60)[0])
    assert person.get("/api/inbox/").status_code == 200
    kill_own_connection()
    assert person.get("/api/inbox/").status_code == 200


def test_a_connection_lost_later_in_a_request_is_a_503_and_the_next_request_is_served(
    api: Api, monkeypatch
) -> None:
    from apps.users import people

    upsert = people.upsert

    def cut_off(*args: object) -> object:
        kill_own_connection()
        return upsert(*args)

    monkeypatch.setattr(people, "upsert", cut_off)
    problem(api.put("/api/users/ada/", {}), 503, "unavailable")
    monkeypatch.undo()
    assert api.put("/api/users/ada/", {}).status_code == 201


def test_no_database_at_all() -> None:
    service = make_service()
    key, token = make_key(service), mint(User.objects.create(external_id="ada"), 60)[0]
    with nowhere():
        for address, credential in (("/api/users/ada/", key), ("/api/inbox/", token)):
            response = Api(credential).get(address)
            problem(response, 503, "unavailable")
            assert response["Retry-After"] == "5"
        # What needs no database is still told.
        problem(Api(None).get("/api/users/ada/"), 401, "not_authenticated")
        problem(Api("nonsense").get("/api/users/ada/"), 401, "invalid_credentials")
    problem(Api(key).get("/api/users/nobody/"), 404, "not_found")


def test_a_transaction_is_not_repeated(api: Api) -> None:
    """The first read is repeated only where nothing came before it."""
    with pytest.raises(OperationalError), transaction.atomic():
        User.objects.count()
        kill_own_connection()
        problem(api.get("/api/users/ada/"), 503, "unavailable")
