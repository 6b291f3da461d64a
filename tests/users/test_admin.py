"""The admin's pages of people, services and keys."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.users import signals
from apps.users.admin import UserAdmin
from apps.users.authentication import find_key
from apps.users.models import ApiKey, Device, Endpoint, Organization, Scope, ServiceClient, User
from apps.users.places import destinations
from tests.api_helpers import make_key, make_service
from tests.support import places, rows

pytestmark = pytest.mark.django_db
PERSON = {
    "external_id": "ada",
    "name": "Ada",
    "email": "Ada@Example.com",
    "phone": "+49 30 123456",
    "timezone": "Europe/Berlin",
    "language": "pt-br",
    "organization": "1",
}


@pytest.fixture
def root() -> User:
    return User.objects.create_superuser("root", "a long password")


@pytest.fixture
def browser(root: User) -> Client:
    client = Client()
    client.force_login(root)
    return client


def people(count: int) -> None:
    User.objects.bulk_create(
        User(external_id=f"u{number:03}", email=f"u{number}@example.com", phone=f"+4930{number:06}")
        for number in range(count)
    )


def text_of(response: Any) -> str:
    """What a person reads."""
    assert response.status_code == 200, response
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


# --- Logging in ------------------------------------------------------------------------------------------


def test_login(root: User) -> None:
    client = Client()
    sent = {"username": "root", "password": "a long password", "next": "/admin/"}
    assert client.post("/admin/login/", sent).status_code == 302
    assert "Service clients" in text_of(client.get("/admin/"))


@pytest.mark.parametrize("password", ["", "!", "wrong"])
def test_people_without_a_password_cannot_log_in(password: str) -> None:
    User.objects.create(login="ada", is_staff=True)
    assert not Client().login(username="ada", password=password)


def test_a_superuser_without_a_password_cannot_log_in_either() -> None:
    user = User.objects.create_superuser("root")
    assert user.is_superuser and not user.has_usable_password()


def test_from_the_command_line(monkeypatch) -> None:
    from django.core.management import call_command

    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "a long password")
    call_command("createsuperuser", login="root", interactive=False, verbosity=0)
    assert Client().login(username="root", password="a long password")


def test_a_token_or_key_opens_no_page(service: ServiceClient) -> None:
    response = Client().get("/admin/", headers={"authorization": f"Bearer {make_key(service)}"})
    assert response.status_code == 302


# --- Lists -----------------------------------------------------------------------------------------------


def listed(browser: Client, **query: str) -> tuple[list[str], str]:
    """The external ids on the page, and what it says."""
    response = browser.get("/admin/users/user/", query)
    ids = re.findall(r'class="field-external_id">(?:<a[^>]*>)?([^<]*)<', response.content.decode())
    ids += re.findall(r'<th class="field-external_id"><a[^>]*>([^<]*)<', response.content.decode())
    return ids, text_of(response)


def test_a_long_list_is_paged_and_never_counted(browser: Client) -> None:
    people(120)
    with CaptureQueriesContext(connection) as queries:
        ids, page = listed(browser)
    assert ids == [f"u{number:03}" for number in range(119, 69, -1)]
    assert "50+ users" in page
    assert b"showall" not in browser.get("/admin/users/user/").content
    assert not [query["sql"] for query in queries if "COUNT(" in query["sql"]]
    ids, page = listed(browser, p="2")
    assert (ids[0], len(ids)) == ("u069", 50) and "100+ users" in page
    ids, page = listed(browser, p="3")
    assert (ids[0], len(ids)) == ("u019", 21) and "121 users" in page  # 120 and the administrator


def test_the_pages_to_click_on(browser: Client) -> None:
    people(120)
    assert browser.get("/admin/users/user/").content.count(b"?p=2") >= 1
    last = browser.get("/admin/users/user/?p=3").content
    assert b"?p=2" in last and b"?p=4" not in last


@pytest.mark.parametrize("page", ["4", "9999999999999999999999", "-1", "x", "٣", "0"])
def test_pages_there_are_not(browser: Client, page: str) -> None:
    people(120)
    response = browser.get("/admin/users/user/", {"p": page})
    assert response.status_code in (200, 302)
    if response.status_code == 302:
        assert browser.get(response["Location"]).status_code == 200


def test_a_short_list(browser: Client) -> None:
    people(3)
    ids, page = listed(browser)
    assert len(ids) == 4 and "4 users" in page
    assert listed(browser, all="")[0] == ids


@pytest.mark.parametrize(
    ("term", "found"),
    [
        ("u00", ["u002", "u001", "u000"]),
        ("u002", ["u002"]),
        ("u1@example.com", ["u001"]),
        ("u1@", ["u001"]),
        ("+4930000002", ["u002"]),
        ("root", [""]),
        ("example.com", []),
        ("U00", []),
        ("%", []),
        ("u_", []),
    ],
)
def test_search_by_beginnings(browser: Client, term: str, found: list[str]) -> None:
    people(3)
    assert [key.replace("-", "") for key in listed(browser, q=term)[0]] == found


def test_search_goes_by_the_indexes(browser: Client) -> None:
    people(2_000)
    connection.cursor().execute("ANALYZE users_user")
    with CaptureQueriesContext(connection) as queries:
        listed(browser, q="u1999")
    searches = [query["sql"] for query in queries if "LIKE" in query["sql"]]
    assert searches
    for sql in searches:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {sql}")
            plan = "\n".join(row[0] for row in cursor.fetchall())
        for index in ("user_external_id", "user_search_email", "user_search_phone", "users_user_login"):
            assert index in plan, plan


def test_nothing_is_deleted_from_a_page(browser: Client, root: User) -> None:
    assert browser.post(f"/admin/users/user/{root.pk}/delete/", {"post": "yes"}).status_code == 403
    response = browser.post(
        "/admin/users/user/", {"action": "delete_selected", "_selected_action": [root.pk]}
    )
    assert User.objects.filter(pk=root.pk).exists() and response.status_code in (200, 302)


@pytest.mark.parametrize("model", ["organization", "user", "serviceclient", "apikey"])
def test_every_page_opens(browser: Client, service: ServiceClient, model: str) -> None:
    make_key(service)
    assert text_of(browser.get(f"/admin/users/{model}/"))
    assert text_of(browser.get(f"/admin/users/{model}/", {"q": "x"}))
    assert text_of(browser.get(f"/admin/users/{model}/add/"))
    row = {"organization": Organization, "user": User, "serviceclient": ServiceClient, "apikey": ApiKey}[
        model
    ]
    first = row.objects.first()
    assert first is not None
    assert text_of(browser.get(f"/admin/users/{model}/{first.pk}/change/"))


def test_suggestions_are_not_counted_either(browser: Client) -> None:
    ServiceClient.objects.bulk_create(ServiceClient(name=f"shop {number:02}") for number in range(60))
    query = {"app_label": "users", "model_name": "apikey", "field_name": "client", "term": "shop"}
    with CaptureQueriesContext(connection) as queries:
        first = browser.get("/admin/autocomplete/", query).json()
    assert first["pagination"]["more"] and not [q for q in queries if "COUNT(" in q["sql"]]
    last = browser.get("/admin/autocomplete/", query | {"page": "3"}).json()
    assert len(last["results"]) == 20 and not last["pagination"]["more"]


# --- People ----------------------------------------------------------------------------------------------


def test_add_a_person(browser: Client) -> None:
    response = browser.post("/admin/users/user/add/", PERSON | {"usable_password": "false"})
    assert response.status_code == 302, response.content
    ada = User.objects.get(external_id="ada")
    kept = (ada.email, ada.phone, ada.language, ada.login)
    assert kept == ("Ada@example.com", "+4930123456", "pt-BR", None)
    assert not ada.has_usable_password()


def test_add_two_without_external_id_or_login(browser: Client) -> None:
    for _ in range(2):
        sent = PERSON | {"external_id": "", "login": "", "usable_password": "false"}
        assert browser.post("/admin/users/user/add/", sent).status_code == 302
    assert User.objects.filter(external_id=None, login=None).count() == 2


def test_add_an_operator(browser: Client) -> None:
    secret = {"usable_password": "true", "password1": "a long password", "password2": "a long password"}
    assert browser.post("/admin/users/user/add/", PERSON | secret | {"login": "ada"}).status_code == 302
    assert Client().login(username="ada", password="a long password")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[
            ("email", "ada"),
            ("phone", "030123"),
            ("timezone", "Mars"),
            ("language", "x_y"),
            ("name", "a\x7fb"),
        ],
        ("external_id", "a\x85b"),
    ],
)
def test_the_same_rules_as_the_apis(browser: Client, field: str, value: str) -> None:
    response = browser.post("/admin/users/user/add/", PERSON | {"usable_password": "false", field: value})
    assert response.status_code == 200
    assert field in response.context["adminform"].form.errors
    assert not User.objects.filter(name__startswith="A").exists()


def test_change_a_person(browser: Client) -> None:
    ada = User.objects.create(external_id="ada", name="Ada")
    response = browser.post(f"/admin/users/user/{ada.pk}/change/", PERSON | {"phone": ""})
    assert response.status_code == 302, response.context["adminform"].form.errors
    after = User.objects.get(pk=ada.pk)
    assert (after.email, after.phone, after.is_active) == ("Ada@example.com", "", False)  # unticked


def test_a_change_moves_updated_at(browser: Client) -> None:
    ada = User.objects.create(external_id="ada")
    connection.cursor().execute("SELECT set_config('carillon.clock_offset', '1 hour', true)")
    browser.post(f"/admin/users/user/{ada.pk}/change/", PERSON)
    after = User.objects.get(pk=ada.pk)
    assert after.updated_at > after.created_at


def test_another_time_zone_is_told(browser: Client) -> None:
    ada = User.objects.create(external_id="ada")
    told: list[list[int]] = []

    def listen(*, user_ids: list[int], **_: object) -> None:
        told.append(user_ids)

    signals.moved.connect(listen)
    for _ in range(2):  # the second time it stays
        browser.post(f"/admin/users/user/{ada.pk}/change/", PERSON)
    signals.moved.disconnect(listen)
    assert told == [[ada.pk]]


def test_set_a_password(browser: Client) -> None:
    ada = User.objects.create(login="ada")
    sent = {"usable_password": "true", "password1": "a long password", "password2": "a long password"}
    assert browser.post(f"/admin/users/user/{ada.pk}/password/", sent).status_code == 302
    assert Client().login(username="ada", password="a long password")


# --- Keys ------------------------------------------------------------------------------------------------


def key_on(response: Any) -> str:
    found = re.findall(r"ck_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", response.content.decode())
    assert len(found) == 1
    return str(found[0])


def test_issue_a_key_of_a_service_and_show_it_once(browser: Client, service: ServiceClient) -> None:
    sent = {"action": "issue_key", "_selected_action": [service.pk]}
    text = key_on(browser.post("/admin/users/serviceclient/", sent, follow=True))
    key = find_key(text)
    assert key is not None and key.client == service and Scope.KEEP_LANE not in key.scopes
    for page in ("serviceclient/", f"serviceclient/{service.pk}/change/", f"apikey/{key.pk}/change/"):
        again = browser.get(f"/admin/users/{page}").content.decode()
        assert text not in again and text[12:] not in again
    history = text_of(browser.get(f"/admin/users/serviceclient/{service.pk}/history/"))
    assert f"Issued {key}" in history and text not in history


def test_add_a_key_with_scopes(browser: Client, service: ServiceClient) -> None:
    sent = {"client": service.pk, "scopes": [Scope.SEND, Scope.KEEP_LANE]}
    key = find_key(key_on(browser.post("/admin/users/apikey/add/", sent, follow=True)))
    assert key is not None and key.scopes == [Scope.SEND, Scope.KEEP_LANE]


def test_change_a_keys_scopes_and_nothing_else(browser: Client, service: ServiceClient) -> None:
    text = make_key(service)
    key = ApiKey.objects.get()
    sent = {"scopes": [Scope.READ], "client": make_service().pk, "prefix": "x", "revoked_at_0": "2020-01-01"}
    response = browser.post(f"/admin/users/apikey/{key.pk}/change/", sent, follow=True)
    assert "ck_" + "_" not in response.content.decode() and text not in response.content.decode()
    after = find_key(text)
    assert after is not None and (after.scopes, after.client) == ([Scope.READ], service)


def test_a_scope_there_is_not(browser: Client, service: ServiceClient) -> None:
    sent = {"client": service.pk, "scopes": ["everything"]}
    assert browser.post("/admin/users/apikey/add/", sent).status_code == 200
    assert not ApiKey.objects.exists()


def test_revoke(browser: Client, service: ServiceClient) -> None:
    text, other = make_key(service), make_key(service)
    key = find_key(text)
    assert key is not None
    sent = {"action": "revoke", "_selected_action": [key.pk]}
    for _ in range(2):
        page = text_of(browser.post("/admin/users/apikey/", sent, follow=True))
        assert "Revoked" in page
    assert find_key(text) is None and find_key(other) is not None
    first = ApiKey.objects.get(pk=key.pk).revoked_at
    assert first is not None


def test_a_deactivated_service_gets_no_key(browser: Client) -> None:
    service = make_service(is_active=False)
    sent = {"action": "issue_key", "_selected_action": [service.pk]}
    assert b"ck_" not in browser.post("/admin/users/serviceclient/", sent, follow=True).content
    assert not ApiKey.objects.exists()


def test_every_searched_field_is_a_field_of_a_person() -> None:
    assert {field.split("__")[0] for field in UserAdmin.search_fields} <= {
        field.name for field in User._meta.get_fields()
    }


# --- Devices and endpoints -------------------------------------------------------------------------------


def place_of(kind: str) -> Device | Endpoint:
    (ada,) = rows.people(external_id="ada")
    if kind == "device":
        return places.device(ada, token="secret-token-of-a-phone", name="Phone")
    return places.endpoint(ada, "slack_webhook", "https://hooks.example.com/services/secret-part")


def act(browser: Client, kind: str, action: str, place: Device | Endpoint) -> None:
    sent = {"action": action, "_selected_action": [str(place.pk)]}
    assert browser.post(f"/admin/users/{kind}/", sent).status_code == 302
    place.refresh_from_db()


@pytest.mark.parametrize(("kind", "seen"), [("device", "secr…"), ("endpoint", "https://hooks.example.com/…")])
def test_a_place_is_shown_without_what_leads_there(browser: Client, kind: str, seen: str) -> None:
    place = place_of(kind)
    for path in ("", f"{place.pk}/change/", f"{place.pk}/delete/", f"{place.pk}/history/"):
        page = browser.get(f"/admin/users/{kind}/{path}")
        assert page.status_code == 200
        for secret in (b"secret-", place.digest.encode()):
            assert secret not in page.content
        if not path or "change" in path:
            assert seen in text_of(page)
    assert browser.get(f"/admin/users/{kind}/add/").status_code == 403


@pytest.mark.parametrize("kind", ["device", "endpoint"])
def test_a_place_is_switched_off_and_on(browser: Client, kind: str) -> None:
    place = place_of(kind)
    act(browser, kind, "deactivate", place)
    assert (place.is_active, place.deactivated_reason) == (False, "by_hand") and place.deactivated_at
    assert destinations([str(place)]) == {}
    act(browser, kind, "activate", place)
    assert (place.is_active, place.deactivated_reason, place.deactivated_at) == (True, "", None)
    assert destinations([str(place)])
    assert LogEntry.objects.filter(object_id=str(place.pk)).count() == 2


@pytest.mark.parametrize("kind", ["device", "endpoint"])
def test_a_page_changes_nothing_of_a_place(browser: Client, kind: str) -> None:
    place = place_of(kind)
    browser.post(f"/admin/users/{kind}/{place.pk}/change/", {"kind": "x", "user": "1", "is_active": ""})
    before = {**vars(place)}
    place.refresh_from_db()
    names = ("kind", "user_id", "is_active", "digest")
    assert [vars(place)[name] for name in names] == [before[name] for name in names]


@pytest.mark.parametrize("kind", ["device", "endpoint"])
def test_a_place_is_found_by_its_address_and_by_its_person(browser: Client, kind: str) -> None:
    place = place_of(kind)
    for term in (str(place), str(place.pk), "ada", str(place.user_id), f" {place} "):
        assert str(place) in text_of(browser.get(f"/admin/users/{kind}/", {"q": term})), term
    for term in ("ad", "0", "fcm:x", "9" * 30):
        assert str(place) not in text_of(browser.get(f"/admin/users/{kind}/", {"q": term})), term


@pytest.mark.parametrize("kind", ["device", "endpoint"])
def test_a_place_can_be_forgotten(browser: Client, kind: str) -> None:
    place = place_of(kind)
    assert browser.post(f"/admin/users/{kind}/{place.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not type(place).objects.exists()
