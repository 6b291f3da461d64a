"""Suppressed addresses over the API: entered once, listed page by page, lifted by whose they are."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from apps.preferences import suppression
from apps.preferences.addresses import normalised
from apps.preferences.models import Suppression
from apps.preferences.suppression import Cause, Fact
from apps.users.models import DEFAULT_ORGANIZATION_ID as OURS
from apps.users.models import Scope, ServiceClient
from project import clock, db
from project.paging import encode_cursor
from tests.api_helpers import Api, fields, make_key, make_organization, problem
from tests.support.database import Prepared, capture, move_clock

pytestmark = pytest.mark.django_db
PATH = "/api/suppressions/"
ADA, PHONE = "ada@example.com", "+4930123456"


def enter(api: Api, status: int = 201, **values: Any) -> dict[str, Any]:
    response = api.post(PATH, {"channel": "email", "address": ADA} | values)
    assert response.status_code == status, response.content
    body: dict[str, Any] = response.json()
    return body


def listed(api: Api, **query: object) -> list[dict[str, Any]]:
    response = api.get(f"{PATH}?{urlencode(query)}")
    assert response.status_code == 200, response.content
    items: list[dict[str, Any]] = response.json()["items"]
    return items


def soon(**span: float) -> str:
    return (clock.now() + timedelta(**span)).isoformat()


def learned(address: str = ADA, of: int | None = OURS, channel: str = "email", **more: Any) -> Suppression:
    suppression.suppress([Fact(of, channel, address, more.pop("cause", "bounced"), **more)])
    return Suppression.objects.get(organization=of, channel=channel, address=address)


def holds(address: str = ADA, channel: str = "email") -> bool:
    return suppression.holds(suppression.among([(channel, address)]), OURS, channel, address)


# --- Entering --------------------------------------------------------------------------------------------


def test_an_address_is_suppressed_and_answered_as_it_is_kept(api: Api, service: ServiceClient) -> None:
    body = enter(api, address="ada@EXAMPLE.com", note="asked for it")
    row = Suppression.objects.get()
    assert body == {
        "id": row.pk,
        "channel": "email",
        "address": ADA,
        "cause": "manual",
        "everywhere": False,
        "since": body["since"],
        "until": None,
        "note": "asked for it",
        "client": service.pk,
    }
    assert (row.organization_id, row.created_by_id) == (OURS, None)
    assert api.get(f"{PATH}{row.pk}/").json() == body
    assert holds()


def test_what_is_suppressed_already_is_200_and_keeps_its_cause(api: Api) -> None:
    row = learned(cause=Cause.COMPLAINED)
    body = enter(api, 200, note="again")
    assert (body["id"], body["cause"], body["note"], body["client"]) == (row.pk, "complained", "", None)
    assert enter(api, 201, address="b@example.com") == enter(api, 200, address="b@example.com")


def test_what_holds_longer_stands(api: Api) -> None:
    first = enter(api, until=soon(days=2), note="first")
    assert enter(api, 200, until=soon(days=1), note="shorter") == first
    longer = enter(api, 200, until=soon(days=3), note="longer")
    assert (longer["id"], longer["note"]) == (first["id"], "longer") and longer["until"] > first["until"]
    for_good = enter(api, 200, note="for good")
    assert (for_good["until"], for_good["note"]) == (None, "for good")
    assert enter(api, 200, until=soon(days=9)) == for_good


def test_what_is_over_is_new_again(api: Api) -> None:
    first = enter(api, until=soon(days=1), note="first")
    move_clock(86_401)
    assert not holds() and listed(api) == []
    problem(api.get(f"{PATH}{first['id']}/"), 404, "not_found")
    problem(api.send("DELETE", f"{PATH}{first['id']}/"), 404, "not_found")
    again = enter(api, 201, until=soon(hours=1))
    assert again["note"] == "" and again["since"] > first["since"] and holds()


def test_what_holds_for_everybody_is_beside_the_organizations_own(api: Api) -> None:
    learned(of=None)
    own = enter(api)
    assert not own["everywhere"] and Suppression.objects.count() == 2
    suppression.lift("email", ADA, organization_id=OURS, causes=Cause.values)
    assert holds()


def test_another_organization_has_its_own(api: Api) -> None:
    learned(of=make_organization().pk)
    enter(api, 201)
    assert Suppression.objects.count() == 2


@pytest.mark.parametrize(
    ("channel", "address", "kept"),
    [
        ("email", "Ada@BÜCHER.example", "Ada@xn--bcher-kva.example"),
        ("sms", "+49 (30) 123-456", PHONE),
        ("push", f"fcm:{'a1' * 4}-0000-7000-8000-000000000000", None),
    ],
)
def test_addresses_are_kept_in_the_spelling_they_are_written_to(channel, address, kept) -> None:
    assert normalised(channel, address) == (kept or address)


@pytest.mark.parametrize(
    "address", ["", "fcm", "fcm:", "FCM:" + "0" * 36, "fcm:" + "0" * 37, "fcm:" + "z" * 36]
)
def test_of_other_channels_an_address_is_a_kind_and_an_id(address: str) -> None:
    with pytest.raises(ValueError, match="kind and id"):
        normalised("push", address)


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"channel": "fax"}, {"channel": "invalid"}),
        ({"channel": "in_app", "address": "1"}, {"channel": "invalid"}),
        ({"address": "ada"}, {"address": "invalid"}),
        ({"address": 5}, {"address": "invalid"}),
        ({"channel": "sms"}, {"address": "invalid"}),
        ({"channel": "sms", "address": "030 123456"}, {"address": "invalid"}),
        ({"until": "2001-01-01T00:00:00Z"}, {"until": "past"}),
        ({"until": "tomorrow"}, {"until": "invalid"}),
        ({"until": 1}, {"until": "invalid"}),
        ({"note": "x" * 501}, {"note": "too_long"}),
        ({"note": "a\0b"}, {"note": "null_character"}),
        ({"cause": "bounced"}, {"cause": "unknown_field"}),
        (
            {"address": "ada", "until": "2001-01-01T00:00:00Z", "note": 1, "who": 1},
            {"address": "invalid", "until": "past", "note": "invalid", "who": "unknown_field"},
        ),
    ],
)
def test_every_bad_field_is_named_and_nothing_written(api: Api, values: Any, wrong: dict[str, str]) -> None:
    assert fields(api.post(PATH, {"channel": "email", "address": ADA} | values)) == wrong
    assert not Suppression.objects.exists()


def test_what_is_missing_is_named(api: Api) -> None:
    assert fields(api.post(PATH, {})) == {"channel": "required", "address": "required"}
    problem(api.post(PATH, b"{"), 400, "not_json")
    assert fields(api.post(PATH, [])) == {"(body)": "invalid"}


def test_times_come_with_any_offset_and_are_answered_in_utc(api: Api) -> None:
    assert enter(api, until="2101-01-31T09:00:00+09:00")["until"] == "2101-01-31T00:00:00Z"


# --- Lists -----------------------------------------------------------------------------------------------


def test_the_list_is_ours_and_everybodys_newest_first(api: Api) -> None:
    rows = [learned(f"p{n}@example.com", of=(OURS, None)[n % 2]) for n in range(5)]
    learned(of=make_organization().pk)
    assert [item["id"] for item in listed(api)] == [row.pk for row in reversed(rows)]
    assert [item["everywhere"] for item in listed(api)] == [False, True, False, True, False]


def test_of_what_holds_for_everybody_only_the_fact_is_told(api: Api) -> None:
    learned(of=None, note="between us", client_id=7)
    (item,) = listed(api)
    assert (item["note"], item["client"], item["cause"]) == ("", None, "bounced")


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pages_hold_every_row_once_both_ways(api: Api, size: int) -> None:
    ids = [learned(f"p{n}@example.com", of=(OURS, None)[n % 3 == 0]).pk for n in range(7)]
    seen: list[int] = []
    cursor = None
    while True:
        query = {"page_size": size} | ({"after": cursor} if cursor else {})
        body = api.get(f"{PATH}?{urlencode(query)}").json()
        seen += [item["id"] for item in body["items"]]
        if not (cursor := body["page_info"]["after"]):
            break
    assert seen == ids[::-1]
    back: list[int] = []
    before = encode_cursor("id", seen[-1])
    while before:
        body = api.get(f"{PATH}?{urlencode({'page_size': size, 'before': before})}").json()
        back = [item["id"] for item in body["items"]] + back
        before = body["page_info"]["before"]
    assert back == seen[:-1]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"channel": "sms"}, {PHONE}),
        ({"cause": "complained"}, {"b@example.com"}),
        ({"address": "Ada@EXAMPLE.com"}, {"Ada@example.com"}),
        ({"address": "+49 30 123456"}, {PHONE}),
        ({"address": " 4930123456"}, {PHONE}),  # a + that was not escaped
        ({"address": ADA, "channel": "email", "cause": "bounced"}, {ADA}),
        ({"address": ADA, "cause": "complained"}, set()),
        ({"address": "nobody@example.com"}, set()),
    ],
)
def test_the_list_is_filtered(api: Api, query: dict[str, str], found: set[str]) -> None:
    for address in (ADA, "Ada@example.com"):
        learned(address)
    learned("b@example.com", cause="complained")
    learned(PHONE, of=None, channel="sms")
    assert {item["address"] for item in listed(api, **query)} == found


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ({"channel": "fax"}, {"channel": "invalid"}),
        ({"cause": "x"}, {"cause": "invalid"}),
        ({"address": "ada"}, {"address": "invalid"}),
        ({"address": ADA, "channel": "sms"}, {"address": "invalid"}),
        ({"adress": ADA, "page_size": "0"}, {"adress": "unknown_field", "page_size": "out_of_range"}),
        ({"after": "x"}, {"after": "invalid_cursor"}),
        ({"after": encode_cursor("id", "9" * 30)}, {"after": "invalid_cursor"}),
    ],
)
def test_a_bad_query_is_told(api: Api, query: dict[str, str], wrong: dict[str, str]) -> None:
    assert fields(api.get(f"{PATH}?{urlencode(query)}")) == wrong


# --- One of them -----------------------------------------------------------------------------------------


def test_ours_is_lifted_and_the_log_has_ids_only(
    api: Api, service: ServiceClient, caplog: pytest.LogCaptureFixture
) -> None:
    row = learned(cause=Cause.OPTED_OUT)
    with caplog.at_level(logging.INFO):
        response = api.send("DELETE", f"{PATH}{row.pk}/")
    assert (response.status_code, response.content) == (204, b"")
    assert not holds()
    (record,) = [one for one in caplog.records if one.name == "apps.preferences.api"]
    assert (record.__dict__["suppression"], record.__dict__["client"]) == (row.pk, service.pk)
    assert "ada" not in caplog.text
    problem(api.send("DELETE", f"{PATH}{row.pk}/"), 404, "not_found")


def test_what_holds_for_everybody_is_seen_but_not_lifted(api: Api) -> None:
    row = learned(of=None)
    assert api.get(f"{PATH}{row.pk}/").json()["everywhere"] is True
    problem(api.send("DELETE", f"{PATH}{row.pk}/"), 403, "permission_denied")
    assert holds()


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_another_organizations_is_not_there(api: Api, method: str) -> None:
    row = learned(of=make_organization().pk)
    for id in (row.pk, 0, 2**63, 10**40):
        problem(api.send(method, f"{PATH}{id}/"), 404, "not_found")
    assert Suppression.objects.count() == 1


def test_each_needs_its_scope(service: ServiceClient) -> None:
    row = learned()
    reader, writer = Api(make_key(service, [Scope.READ])), Api(make_key(service, [Scope.SUPPRESSIONS]))
    for path in (PATH, f"{PATH}{row.pk}/"):
        assert reader.get(path).status_code == 200
        problem(writer.get(path), 403, "missing_scope")
    problem(reader.post(PATH, {}), 403, "missing_scope")
    problem(reader.send("DELETE", f"{PATH}{row.pk}/"), 403, "missing_scope")
    assert writer.send("DELETE", f"{PATH}{row.pk}/").status_code == 204


# --- What it costs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 60])
def test_the_statements_of_each(api: Api, count: int) -> None:
    for n in range(count):
        row = learned(f"p{n}@example.com")
    costs = {}
    for name, ask in {
        "list": lambda: api.get(PATH),
        "by address": lambda: api.get(f"{PATH}?address=p0@example.com"),
        "one": lambda: api.get(f"{PATH}{row.pk}/"),
        "enter": lambda: api.post(PATH, {"channel": "email", "address": ADA}),
        "lift": lambda: api.send("DELETE", f"{PATH}{row.pk}/"),
    }.items():
        with capture() as statements:
            assert ask().status_code < 300
        costs[name] = len(statements)
    # Each begins with the key. Entering: the time, was it held, the fact, what stands now.
    assert costs == {"list": 2, "by address": 3, "one": 2, "enter": 5, "lift": 3}


@pytest.mark.parametrize("backwards", [False, True])
def test_a_page_reads_what_it_shows_however_many_there_are(api: Api, backwards: bool) -> None:
    db.execute(
        "INSERT INTO preferences_suppression (organization_id, channel, address, cause)"
        " SELECT CASE WHEN n %% 100 = 0 THEN 1 WHEN n %% 100 = 1 THEN NULL ELSE %s END,"
        " 'email', n || '@example.com', 'bounced' FROM generate_series(1, 20000) n",
        [make_organization().pk],
    )
    db.execute("ANALYZE preferences_suppression")
    cursor = encode_cursor("id", Suppression.objects.latest("id").pk - 10_000)
    with capture() as statements:
        page = api.get(f"{PATH}?{'before' if backwards else 'after'}={cursor}").json()
    assert len(page["items"]) == 20
    (sql,) = [sql for sql in statements if "UNION ALL" in sql]
    nodes = Prepared(f"page_{backwards}", sql.replace("%", "%%"), []).nodes()
    scans = [node for node in nodes if "Index Name" in node]
    assert [scan["Index Name"] for scan in scans] == ["suppression_newest"] * 2
    assert all("organization_id" in scan["Index Cond"] and "id" in scan["Index Cond"] for scan in scans)
    sorted_below_a_limit = [
        child["Node Type"] for node in nodes for child in node.get("Plans", ()) if "Index Name" in child
        and "Sort" in node["Node Type"]
    ]  # fmt: skip
    assert sorted_below_a_limit == []
