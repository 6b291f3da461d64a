"""Where people are reached beside e-mail and SMS: found, looked up before sending, deactivated."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from django.db import transaction

from apps.users import devices, endpoints, places, signing
from apps.users.models import Device, Endpoint, User
from apps.users.places import Destination
from project import clock, db, ids, sealing
from project.queues import CHANNELS
from tests.support import rows
from tests.support.database import Prepared, capture, in_threads, move_clock
from tests.support.places import device, endpoint, everywhere

pytestmark = pytest.mark.django_db
KEY = "4oEQkWQgwoqG0GjqXzsrYwKQdPbMk9GFIoI8gDbkq0s="


def of(user: User, *channels: str) -> list[list[str]]:
    found = places.places([user.pk], channels)
    return [found.get((user.pk, channel), []) for channel in channels]


# --- The places of people --------------------------------------------------------------------------------


def test_every_kind_leads_to_a_channel_that_exists_and_to_one_table() -> None:
    assert places.CHANNELS == {"push", "webhook", "chat"} <= set(CHANNELS)
    assert not places.DEVICE_KINDS.keys() & places.ENDPOINT_KINDS.keys()


def test_an_address_fits_a_target_and_tells_nothing() -> None:
    (ada,) = rows.people()
    for kind in (*places.DEVICE_KINDS, *places.ENDPOINT_KINDS):
        address = str((device if kind in places.DEVICE_KINDS else endpoint)(ada, kind))
        assert re.fullmatch(rf"{kind}:[0-9a-f-]{{36}}", address) and 40 <= len(address) <= 50


def test_the_places_of_people_by_channel_oldest_first() -> None:
    ada, ben, eve = rows.people(3)
    first, second = device(ada), device(ada, "webpush")
    hook, chat, teams = endpoint(ada), endpoint(ada, "slack"), endpoint(ada, "teams")
    bens = device(ben, "apns")
    device(eve)
    assert places.places([ada.pk, ben.pk], ["push", "webhook", "chat"]) == {
        (ada.pk, "push"): [f"fcm:{first.pk}", f"webpush:{second.pk}"],
        (ada.pk, "webhook"): [f"webhook:{hook.pk}"],
        (ada.pk, "chat"): [f"slack:{chat.pk}", f"teams:{teams.pk}"],
        (ben.pk, "push"): [f"apns:{bens.pk}"],
    }


def test_only_the_channels_asked_for() -> None:
    (ada,) = rows.people()
    everywhere(ada)
    for channel in ("push", "webhook", "chat"):
        assert [key[1] for key in places.places([ada.pk], ["email", channel])] == [channel]


def test_what_is_not_active_is_no_place() -> None:
    (ada,) = rows.people()
    places.deactivate([str(place) for place in everywhere(ada)], "unregistered")
    device(ada, is_active=False)
    assert of(ada, "push", "webhook", "chat") == [[], [], []]


@pytest.mark.parametrize(
    ("channels", "tables"),
    [
        (["push"], ["users_device"]),
        (["webhook"], ["users_endpoint"]),
        (["chat", "webhook"], ["users_endpoint"]),
        (CHANNELS, ["users_device", "users_endpoint"]),
    ],
)
def test_one_statement_of_the_tables_it_needs(channels: list[str], tables: list[str]) -> None:
    people = [user.pk for user in rows.people(50)]
    with capture() as statements:
        places.places(people, channels)
    (sql,) = statements
    assert [table for table in ("users_device", "users_endpoint") if table in sql] == tables


def test_nothing_is_asked_where_there_can_be_nothing() -> None:
    with capture() as statements:
        assert places.places([], CHANNELS) == {} == places.places([1], ["in_app", "email", "sms"])
        assert places.destinations([]) == {} == places.destinations(["ada@example.com", "fcm:x", "fax:1"])
        assert places.deactivate([], "x") == 0 == places.deactivate(["+4930123456"], "x")
    assert statements == []


def test_how_many_places_there_may_be() -> None:
    assert [places.most(channel) for channel in CHANNELS] == [1, 1, 1, 20, 20, 20]


# --- Where they lead -------------------------------------------------------------------------------------


def test_destinations_are_in_clear_and_with_their_secrets() -> None:
    (ada,) = rows.people()
    phone, hook, chat = device(ada, token="t"), endpoint(ada), endpoint(ada, "slack", "https://slack/x")
    found = places.destinations([str(chat), str(phone), str(hook)])
    (secret,) = signing.opened(hook.secrets, clock.now())
    assert found == {
        str(chat): Destination("https://slack/x"),
        str(phone): Destination("t"),
        str(hook): Destination(sealing.unseal(hook.address), (secret.text,)),
    }
    assert list(found) == [str(chat), str(phone), str(hook)]


def test_what_is_gone_is_not_among_them() -> None:
    (ada,) = rows.people()
    there, gone = device(ada), device(ada)
    old = endpoint(ada)
    places.deactivate([str(gone), str(old)], "gone")
    asked = [str(there), str(gone), str(old), f"fcm:{ids.uuid7()}", f"webhook:{there.pk}", f"apns:{there.pk}"]
    assert places.destinations(asked).keys() == {str(there)}


def test_two_statements_for_any_number() -> None:
    (ada,) = rows.people()
    asked = [str(device(ada)) for _ in range(30)] + [str(endpoint(ada)) for _ in range(30)]
    for some, number in ((asked, 2), (asked[:30], 1), (asked[30:], 1)):
        with capture() as statements:
            assert len(places.destinations(some)) == len(some)
        assert len(statements) == number


def test_a_rotated_secret_signs_beside_its_successor_for_a_day() -> None:
    (ada,) = rows.people()
    hook = endpoint(ada)
    (first,) = signing.opened(hook.secrets, clock.now())
    kept = signing.rotated([first], clock.now())
    Endpoint.objects.update(secrets=signing.sealed(kept))
    assert places.destinations([str(hook)])[str(hook)].secrets == (kept[0].text, first.text)
    move_clock(timedelta(hours=23, minutes=59).total_seconds())
    assert len(places.destinations([str(hook)])[str(hook)].secrets) == 2
    move_clock(timedelta(hours=24, minutes=1).total_seconds())
    assert places.destinations([str(hook)])[str(hook)].secrets == (kept[0].text,)
    move_clock(0)


def test_rotating_often_ends_the_oldest_and_moves_no_end() -> None:
    now = clock.now()
    kept = [signing.Secret(signing.make())]
    for hour in range(10):
        kept = signing.rotated(kept, now + timedelta(hours=hour))
    assert len(kept) == len({secret.text for secret in kept}) == signing.MOST
    assert [secret.ends_at for secret in kept] == [
        None,
        *(now + signing.OVERLAP + timedelta(hours=hour) for hour in (9, 8, 7, 6)),
    ]
    assert signing.opened(signing.sealed(kept), now) == kept


def test_what_cannot_be_opened_is_not_gone(settings: Any) -> None:
    (ada,) = rows.people()
    open_ = endpoint(ada)
    settings.ENCRYPTION_KEYS = [KEY]
    hook = endpoint(ada)
    settings.ENCRYPTION_KEYS = []
    found = places.destinations([str(hook), str(open_)])
    assert found[str(hook)] is None and found[str(open_)] is not None


# --- Deactivated -----------------------------------------------------------------------------------------


def test_deactivated_with_time_and_reason_once() -> None:
    (ada,) = rows.people()
    phone, other, hook = device(ada), device(ada), endpoint(ada)
    assert places.deactivate([str(phone), str(hook), str(phone)], "unregistered") == 2
    for place in (phone, hook):
        place.refresh_from_db()
        assert (place.is_active, place.deactivated_reason) == (False, "unregistered")
        assert place.deactivated_at == clock.now()
    other.refresh_from_db()
    assert other.is_active and other.deactivated_at is None
    assert places.deactivate([str(phone)], "again") == 0
    phone.refresh_from_db()
    assert phone.deactivated_reason == "unregistered"


def test_a_reason_of_any_length() -> None:
    (ada,) = rows.people()
    phone = device(ada)
    places.deactivate([str(phone)], "x" * 100)
    phone.refresh_from_db()
    assert phone.deactivated_reason == "x" * 60


def test_deactivated_is_rolled_back_with_what_asked_for_it() -> None:
    (ada,) = rows.people()
    phone = device(ada)
    with pytest.raises(RuntimeError), transaction.atomic():
        places.deactivate([str(phone)], "x")
        raise RuntimeError
    phone.refresh_from_db()
    assert phone.is_active


@pytest.mark.django_db(transaction=True)
def test_many_deactivating_the_same_do_not_deadlock() -> None:
    (ada,) = rows.people()
    asked = [str(device(ada)) for _ in range(50)] + [str(endpoint(ada)) for _ in range(50)]

    def work(number: int) -> int:
        return sum(_again(asked[::-1] if number % 2 else asked) for _ in range(20))

    in_threads(4, work)
    assert Device.objects.filter(is_active=True).count() == 50  # all are active again


def _again(asked: list[str]) -> int:
    """Deactivate them, each of two at a time in one transaction, and make them active in the same order."""
    with transaction.atomic():
        gone = places.deactivate(asked, "x")
        db.execute("UPDATE users_device SET is_active = true WHERE NOT is_active")
        return gone


# --- Plans -----------------------------------------------------------------------------------------------

_FILL_DEVICES = """
INSERT INTO users_device (id, organization_id, user_id, kind, token, digest, name, is_active,
                          deactivated_reason)
SELECT gen_random_uuid(), 1, %s, 'fcm', n::text, n::text, '', true, '' FROM generate_series(1, 5000) n
"""
_FILL_ENDPOINTS = """
INSERT INTO users_endpoint (id, organization_id, user_id, kind, address, digest, secrets, is_active,
                            deactivated_reason)
SELECT gen_random_uuid(), 1, %s, 'webhook', n::text, n::text, '', true, '' FROM generate_series(1, 5000) n
"""
INDEXES = {"device_of_user", "endpoint_of_user", "users_device_pkey", "users_endpoint_pkey"}
_names = count()
STATEMENTS: dict[str, Callable[[], tuple[str, Any]]] = {
    "places": lambda: ("UNION ALL".join([places._DEVICES, places._ENDPOINTS]), {"user_ids": [1, 2]}),
    "tokens": lambda: (places._TOKENS, [[ids.uuid7(), ids.uuid7()]]),
    "urls": lambda: (places._URLS, [[ids.uuid7(), ids.uuid7()]]),
    "dead devices": lambda: (places._DEACTIVATE_DEVICES, {"ids": [ids.uuid7()], "reason": "x"}),
    "registering": lambda: (devices._REGISTER, _values(token="t", name="n", most=20)),
    "adding": lambda: (endpoints._ADD, _values(address="a", secrets="", most=20)),
    "dead endpoints": lambda: (places._DEACTIVATE_ENDPOINTS, {"ids": [ids.uuid7()], "reason": "x"}),
}


def _values(**fields: Any) -> dict[str, Any]:
    user_id = User.objects.create(organization_id=1).pk
    known = {"id": ids.uuid7(), "organization_id": 1, "user_id": user_id, "kind": "fcm", "digest": "d"}
    return known | fields


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_statement_goes_by_an_index_whenever_it_was_prepared(name: str) -> None:
    early = Prepared(f"early_{next(_names)}", *STATEMENTS[name]())  # while the tables are empty
    early.run()
    somebody, *_ = rows.people(2)
    db.execute(_FILL_DEVICES, [somebody.pk])
    db.execute(_FILL_ENDPOINTS, [somebody.pk])
    late = Prepared(f"late_{next(_names)}", *STATEMENTS[name]())
    for prepared in (early, late):
        nodes = prepared.nodes()
        indexes = [node for node in nodes if "Index Name" in node]
        assert {node["Index Name"] for node in indexes} <= INDEXES and indexes
        assert all(_by_the_key(node) for node in indexes)
        assert not [node for node in nodes if node["Node Type"] == "Seq Scan"]


def _by_the_key(node: dict[str, Any]) -> bool:
    return bool(re.match(r"\((user_id|id) = ", node.get("Index Cond", "")))
