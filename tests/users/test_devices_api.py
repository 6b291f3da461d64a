"""/api/devices/: registered by people and for them, moved to whoever holds the phone, listed, forgotten."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from apps.users import places, tokens
from apps.users.models import Device, Scope, ServiceClient, User
from apps.users.places import MAX_DEVICES
from project import db, ids
from tests.api_helpers import Api, fields, make_key, make_organization, make_service, problem
from tests.support import rows
from tests.support.database import capture, in_threads, move_clock
from tests.support.places import device

pytestmark = pytest.mark.django_db
DEVICES = "/api/devices/"
TOKEN = "cXw3:APA91b_-" + "x" * 100


def as_person(user: User) -> Api:
    return Api(tokens.mint(user, 60)[0])


@pytest.fixture
def ada(service: ServiceClient) -> User:
    return rows.people(external_id="ada")[0]


@pytest.fixture
def ben(service: ServiceClient) -> User:
    return rows.people(external_id="ben")[0]


def register(api: Api, status: int = 201, **given: Any) -> dict[str, Any]:
    response = api.post(DEVICES, {"kind": "fcm", "token": TOKEN} | given)
    assert response.status_code == status, response.content
    body: dict[str, Any] = response.json()
    return body


# --- Registering -----------------------------------------------------------------------------------------


def test_a_persons_own_device(ada: User) -> None:
    body = register(as_person(ada), name="Ada's phone")
    row = Device.objects.get()
    assert body == {
        "id": str(row.pk),
        "kind": "fcm",
        "name": "Ada's phone",
        "is_active": True,
        "deactivated_reason": None,
        "created_at": body["created_at"],
    }
    assert (row.user_id, row.organization_id, row.token, row.is_active) == (ada.pk, 1, TOKEN, True)
    assert datetime.fromisoformat(body["created_at"]) == row.created_at
    assert places.places([ada.pk], ["push"]) == {(ada.pk, "push"): [f"fcm:{body['id']}"]}


@pytest.mark.parametrize("by", ["pk", "external_id"])
def test_a_service_registers_it_for_a_person(api: Api, ada: User, by: str) -> None:
    register(api, user=getattr(ada, by))
    assert Device.objects.get().user_id == ada.pk


def test_the_same_again_is_the_same_device_and_fresh(ada: User) -> None:
    mine = as_person(ada)
    first = register(mine, name="phone")
    before = Device.objects.get()
    move_clock(60)
    assert register(mine, 200) == first  # a name that is left out stays
    assert register(mine, 200, name="tablet") == first | {"name": "tablet"}
    move_clock(0)
    after = Device.objects.get()
    assert (after.pk, after.created_at) == (
        before.pk,
        before.created_at,
    ) and after.updated_at > before.updated_at


def test_a_phone_that_changes_hands_is_the_new_owners_and_another_device(ada: User, ben: User) -> None:
    adas = register(as_person(ada), name="Ada's")
    bens = register(as_person(ben))
    row = Device.objects.get()
    assert (row.user_id, str(row.pk), row.name) == (ben.pk, bens["id"], "") and bens["id"] != adas["id"]
    under_way, now = f"fcm:{adas['id']}", f"fcm:{bens['id']}"
    assert places.destinations([under_way, now]).keys() == {now}
    assert places.places([ada.pk, ben.pk], ["push"]) == {(ben.pk, "push"): [now]}


def test_one_that_comes_back_is_active_and_a_new_device(ada: User) -> None:
    first = register(as_person(ada), name="phone")
    places.deactivate([f"fcm:{first['id']}"], "unregistered")
    second = register(as_person(ada))
    assert second["id"] != first["id"] and second["name"] == "phone"
    row = Device.objects.get()
    assert (row.is_active, row.deactivated_at, row.deactivated_reason) == (True, None, "")


def test_the_same_token_in_another_organization_or_of_another_kind_is_another(ada: User) -> None:
    other = make_organization()
    (eve,) = rows.people(organization=other)
    register(as_person(ada))
    register(as_person(eve))
    token = "ab" * 32
    register(as_person(ada), token=token)
    register(as_person(ada), kind="apns", token=token)
    assert Device.objects.count() == 4


def test_who_has_twenty_must_remove_one(ada: User, ben: User) -> None:
    mine = as_person(ada)
    device(ada, is_active=False)
    known = [device(ada, token="t" * (20 + number)) for number in range(MAX_DEVICES)]
    response = mine.post(DEVICES, {"kind": "fcm", "token": TOKEN})
    assert "20" in problem(response, 409, "too_many_devices")["detail"]
    assert not Device.objects.filter(token=TOKEN).exists()
    register(mine, 200, token=known[0].token)  # what is known needs no room
    register(as_person(ben))
    problem(mine.post(DEVICES, {"kind": "fcm", "token": TOKEN}), 409, "too_many_devices")
    assert Device.objects.get(token=TOKEN).user_id == ben.pk
    assert mine.send("DELETE", f"{DEVICES}{known[1].pk}/").status_code == 204
    register(mine)


@pytest.mark.django_db(transaction=True)
def test_two_at_once_do_not_both_find_room_for_one() -> None:
    make_service()
    (ada,) = rows.people()
    for _ in range(MAX_DEVICES - 1):
        device(ada)
    mine = as_person(ada)
    bodies = [{"kind": "fcm", "token": TOKEN + str(number)} for number in range(4)]
    found = in_threads(4, lambda number: mine.post(DEVICES, bodies[number]).status_code)
    assert sorted(found) == [201, 409, 409, 409]


def test_statements(api: Api, ada: User) -> None:
    mine = as_person(ada)
    for caller, given, count in ((mine, {}, 3), (mine, {}, 3), (api, {"user": ada.pk}, 4)):
        with capture() as statements:
            caller.post(DEVICES, {"kind": "fcm", "token": TOKEN} | given)
        assert len(statements) == count, statements  # who calls, the person, their row's lock, the device


# --- What is wrong ---------------------------------------------------------------------------------------


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


POINT = ec.generate_private_key(ec.SECP256R1()).public_key()
P256DH = POINT.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
AUTH = bytes(range(16))
ENDPOINT = "https://push.example.com/send/abc"


def subscription(**changes: Any) -> str:
    keys = {"p256dh": b64(P256DH), "auth": b64(AUTH)}
    return json.dumps({"endpoint": ENDPOINT, "expirationTime": None, "keys": keys} | changes)


@pytest.mark.parametrize("padding", ["", "="])
def test_a_browsers_subscription_is_kept_in_one_spelling(ada: User, padding: str) -> None:
    keys = {"auth": b64(AUTH) + padding * 2, "p256dh": b64(P256DH) + padding}
    register(as_person(ada), kind="webpush", token=subscription(keys=keys))
    register(as_person(ada), 200, kind="webpush", token=subscription())
    kept = {"endpoint": ENDPOINT, "keys": {"auth": b64(AUTH), "p256dh": b64(P256DH)}}
    assert json.loads(Device.objects.get().token) == kept


@pytest.mark.parametrize(
    "token",
    [
        *("", "x", "null", "[]", '"x"', "{}", subscription(endpoint="http://push.example.com/x")),
        *(
            subscription(endpoint=1),
            subscription(endpoint=""),
            subscription(keys=None),
            subscription(keys={}),
        ),
        subscription(keys={"p256dh": b64(P256DH), "auth": b64(AUTH[1:])}),
        subscription(keys={"p256dh": b64(P256DH), "auth": "!" + b64(AUTH)}),
        subscription(keys={"p256dh": b64(P256DH), "auth": 5}),
        subscription(keys={"p256dh": b64(P256DH[:-1]), "auth": b64(AUTH)}),
        subscription(keys={"p256dh": b64(b"\x04" + bytes(64)), "auth": b64(AUTH)}),  # not on the curve
        subscription(keys={"p256dh": b64(b"\x02" + P256DH[1:]), "auth": b64(AUTH)}),
    ],
)
def test_what_is_no_subscription(ada: User, token: str) -> None:
    response = as_person(ada).post(DEVICES, {"kind": "webpush", "token": token})
    assert fields(response) == {"token": "invalid"}


@pytest.mark.parametrize("token", ["ab" * 32, "AB" * 32, "0f" * 100])
def test_a_token_of_apns_is_kept_in_lower_case(ada: User, token: str) -> None:
    register(as_person(ada), kind="apns", token=token)
    assert Device.objects.get().token == token.lower()


@pytest.mark.parametrize(
    ("kind", "token"),
    [
        *(("apns", token) for token in ("", "ab" * 31, "ab" * 101, "xy" * 32, "ab" * 32 + "\n")),
        *(("fcm", token) for token in ("", "short", "a" * 19, TOKEN + " ", TOKEN + "\n", "ü" * 30)),
    ],
)
def test_what_is_no_token(ada: User, kind: str, token: str) -> None:
    response = as_person(ada).post(DEVICES, {"kind": kind, "token": token})
    assert fields(response) == {"token": "invalid"}
    assert not token or token not in response.json()["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({}, {"kind": "required", "token": "required"}),
        ({"kind": "fax", "token": "?"}, {"kind": "invalid"}),
        ({"kind": "webhook", "token": TOKEN}, {"kind": "invalid"}),
        ({"kind": "fcm", "token": 5}, {"token": "invalid"}),
        ({"kind": "fcm", "token": "a" * 4097}, {"token": "too_long"}),
        ({"kind": "apns", "token": "?", "name": "a\nb"}, {"token": "invalid", "name": "invalid"}),
        ({"kind": "fcm", "token": TOKEN, "name": "a" * 201}, {"name": "too_long"}),
        ({"kind": "fcm", "token": TOKEN, "user": 1}, {"user": "unknown_field"}),  # a person is who they are
    ],
)
def test_every_bad_field_is_named(ada: User, body: dict[str, Any], found: dict[str, str]) -> None:
    assert fields(as_person(ada).post(DEVICES, body)) == found
    assert not Device.objects.exists()


@pytest.mark.parametrize(
    ("user", "code"),
    [(None, "required"), ("nobody", "unknown_user"), ("eve", "unknown_user"), ("gone", "inactive_user")],
)
def test_a_service_must_say_whose(api: Api, user: str | None, code: str) -> None:
    rows.people(external_id="eve", organization=make_organization())
    rows.people(external_id="gone", is_active=False)
    given = {"kind": "fcm", "token": TOKEN} | ({} if user is None else {"user": user})
    assert fields(api.post(DEVICES, given)) == {"user": code}


# --- Listing and forgetting ------------------------------------------------------------------------------


def listed(api: Api, query: str = "") -> list[str]:
    response = api.get(DEVICES + query)
    assert response.status_code == 200, response.content
    return [one["id"] for one in response.json()["items"]]


def test_the_devices_of_a_person_newest_first_without_their_tokens(api: Api, ada: User, ben: User) -> None:
    old, new = device(ada), device(ada, "apns", name="phone")
    device(ben)
    places.deactivate([str(old)], "unregistered")
    mine = as_person(ada).get(DEVICES).json()
    assert [
        (one["id"], one["name"], one["is_active"], one["deactivated_reason"]) for one in mine["items"]
    ] == [
        (str(new.pk), "phone", True, None),
        (str(old.pk), "", False, "unregistered"),
    ]
    for query in (f"?user={ada.pk}", "?external_id=ada"):
        assert api.get(DEVICES + query).json() == mine
    assert new.token not in json.dumps(mine)


def test_page_by_page(ada: User) -> None:
    made = [str(device(ada).pk) for _ in range(5)]
    page = as_person(ada).get(f"{DEVICES}?page_size=3").json()
    rest = as_person(ada).get(f"{DEVICES}?page_size=3&after={page['page_info']['after']}").json()
    assert [one["id"] for one in page["items"] + rest["items"]] == made[::-1]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {"user": "required"}),
        ("?user=1&external_id=ada", {"external_id": "conflict"}),
        ("?user=ada", {"user": "invalid"}),
        ("?user=0&page_size=0", {"user": "invalid", "page_size": "out_of_range"}),
        ("?external_id=nobody", {"external_id": "unknown_user"}),
        (f"?user={2**62}&after=x", {"user": "unknown_user", "after": "invalid_cursor"}),
        ("?external_id=ada&kind=fcm", {"kind": "unknown_field"}),
    ],
)
def test_a_service_asks_for_one_person(api: Api, ada: User, query: str, found: dict[str, str]) -> None:
    assert fields(api.get(DEVICES + query)) == found


def test_a_person_asks_for_nobody_else(ada: User, ben: User) -> None:
    assert fields(as_person(ada).get(f"{DEVICES}?user={ben.pk}")) == {"user": "unknown_field"}


def test_forgotten_with_its_token(api: Api, ada: User) -> None:
    for caller in (as_person(ada), api):
        made = device(ada)
        response = caller.send("DELETE", f"{DEVICES}{made.pk}/")
        assert (response.status_code, response.content) == (204, b"")
        problem(caller.send("DELETE", f"{DEVICES}{made.pk}/"), 404, "not_found")
    assert not Device.objects.exists() and listed(as_person(ada)) == []


def test_nobody_forgets_anothers(api: Api, ada: User, ben: User) -> None:
    (eve,) = rows.people(organization=make_organization())
    bens, eves = device(ben), device(eve)
    problem(as_person(ada).send("DELETE", f"{DEVICES}{bens.pk}/"), 404, "not_found")
    problem(api.send("DELETE", f"{DEVICES}{eves.pk}/"), 404, "not_found")
    problem(api.send("DELETE", f"{DEVICES}{ids.uuid7()}/"), 404, "not_found")
    assert Device.objects.count() == 2


def test_the_scope_it_needs_and_credentials(service: ServiceClient, ada: User) -> None:
    others = Api(make_key(service, [scope for scope in Scope.values if scope != Scope.USERS]))
    one = f"{DEVICES}{device(ada).pk}/"
    for method, path in (("GET", DEVICES), ("POST", DEVICES), ("DELETE", one)):
        assert "users:write" in problem(others.send(method, path), 403, "missing_scope")["detail"]
        problem(Api(None).send(method, path), 401, "not_authenticated")
        for credential in ("nonsense", "ck_00000000_" + "a" * 43, tokens.mint(ada, -1)[0]):
            problem(Api(credential).send(method, path), 401, "invalid_credentials")
    User.objects.update(is_active=False)
    problem(as_person(ada).get(DEVICES), 401, "invalid_credentials")


def test_a_list_is_two_statements_and_goes_by_its_index(ada: User) -> None:
    with capture() as statements:
        listed(as_person(ada))
    assert len(statements) == 2
    plan = "\n".join(row[0] for row in db.rows(f"EXPLAIN {statements[1]}"))
    assert "device_of_user" in plan and "Sort" not in plan
