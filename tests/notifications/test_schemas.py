"""What is wrong with a request: every bad field at once, each with its code, and nothing written."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from apps.users.models import Scope, User
from project import clock
from project.api import MAX_ERRORS
from tests.api_helpers import Api, fields, make_key, make_organization, make_service, problem
from tests.notifications.api_support import BULK, SEND, everything, send, template
from tests.support import rows
from tests.support.database import capture

pytestmark = [pytest.mark.django_db]
Bad = dict[str, Any]


@pytest.fixture
def keys() -> dict[str, str]:
    """Keys that may not send."""
    return {
        "inactive": make_key(make_service(is_active=False)),
        "reader": make_key(scopes=[Scope.READ, Scope.USERS]),
    }


@pytest.fixture(autouse=True)
def nothing_comes_of_it(api: Api, keys: dict[str, str], rung: list[str]) -> Iterator[None]:
    """Whatever is refused here leaves every table as it was, and rings nothing."""
    rows.people(external_id="ada")
    rows.people(external_id="theirs", organization=make_organization())
    template("news", email=["edition", "author"])
    before = everything()
    yield
    assert everything() == before and rung == []


def ada() -> int:
    return User.objects.get(external_id="ada").pk


WRONG: dict[str, tuple[Bad, dict[str, str]]] = {
    # title and body
    "no words": ({"title": "", "body": ""}, {"title": "required"}),
    "title of a wrong type": ({"title": 5}, {"title": "invalid"}),
    "title null": ({"title": None}, {"title": "invalid"}),
    "title too long": ({"title": "x" * 501}, {"title": "too_long"}),
    "title of two lines": ({"title": "a\nBcc: b"}, {"title": "invalid"}),
    "title with a NUL": ({"title": "a\0"}, {"title": "null_character"}),
    "title with a C1 control": ({"title": "a\x85"}, {"title": "invalid"}),
    "title with a line separator": ({"title": "a\u2028b"}, {"title": "invalid"}),
    "body too long": ({"body": "x" * 100_001}, {"body": "too_long"}),
    "body a list": ({"body": ["x"]}, {"body": "invalid"}),
    "body with a NUL": ({"body": "\0"}, {"body": "null_character"}),
    # template and payload
    "unknown template": ({"template": "none"}, {"template": "unknown_template"}),
    "template empty": ({"template": ""}, {"template": "invalid"}),
    "template a number": ({"template": 1}, {"template": "invalid"}),
    "template too long": ({"template": "x" * 101}, {"template": "too_long"}),
    "template and title": (
        {"template": "news", "title": "x", "payload": {"edition": 1, "author": 1}},
        {"template": "conflict"},
    ),
    "variables missing": (
        {"template": "news", "payload": {"Edition": 1}},
        {"payload.edition": "required", "payload.author": "required"},
    ),
    "no content for a channel": (
        {"template": "news", "payload": {"edition": 1, "author": None}, "channels": ["email", "sms"]},
        {"channels[1]": "no_content"},
    ),
    "payload a list": ({"title": "x", "payload": []}, {"payload": "invalid"}),
    "payload null": ({"title": "x", "payload": None}, {"payload": "invalid"}),
    # targets
    "targets empty": ({"targets": []}, {"targets": "too_few"}),
    "targets too many": ({"targets": ["ada"] * 1_001}, {"targets": "too_many"}),
    "targets null": ({"targets": None}, {"targets": "invalid"}),
    "targets a person": ({"targets": "ada"}, {"targets": "invalid"}),
    "targets of wrong types": (
        {"targets": ["ada", True, 1.0, None, ["ada"], "", "a\tb", "x" * 201]},
        {
            **{f"targets[{index}]": "invalid" for index in (1, 2, 3, 4, 5, 6)},
            "targets[7]": "too_long",
        },
    ),
    "ids that cannot be": (
        {"targets": [0, -1, 2**63, 2**64 - 1, 2**64]},
        {f"targets[{index}]": "invalid" for index in range(5)},
    ),
    "unknown people": (
        {"targets": [2**63 - 1, "ada", "nobody", "ADA", "ada ", "1"]},
        {f"targets[{index}]": "unknown_user" for index in (0, 2, 3, 4, 5)},
    ),
    "a new person beside an unknown one": (
        {"targets": [{"external_id": "new"}, "nobody"]},
        {"targets[1]": "unknown_user"},
    ),
    "a known person changed beside an unknown one": (
        {"targets": [{"external_id": "ada", "name": "Changed"}, "nobody"]},
        {"targets[1]": "unknown_user"},
    ),
    "bad new people": (
        {
            "targets": [
                {"email": "x"},
                {"external_id": "b", "phone": "030", "nickname": "b"},
                {"external_id": "", "timezone": "Mars", "language": "?"},
                {},
            ]
        },
        {
            "targets[0].external_id": "required",
            "targets[0].email": "invalid",
            "targets[1].phone": "invalid",
            "targets[1].nickname": "unknown_field",
            "targets[2].external_id": "invalid",
            "targets[2].timezone": "invalid",
            "targets[2].language": "invalid",
            "targets[3].external_id": "required",
        },
    ),
    # channels
    "channels empty": ({"channels": []}, {"channels": "too_few"}),
    "channels null": ({"channels": None}, {"channels": "invalid"}),
    "channels a channel": ({"channels": "email"}, {"channels": "invalid"}),
    "channels all in a list": ({"channels": ["all"]}, {"channels[0]": "unknown_channel"}),
    "channels an object": ({"channels": {"email": True}}, {"channels": "invalid"}),
    "unknown channels": (
        {"channels": ["email", "fax", "EMAIL", ""]},
        {f"channels[{index}]": "unknown_channel" for index in (1, 2, 3)},
    ),
    "channels of wrong types": (
        {"channels": ["fax", None, 1, ["email"]]},
        {
            "channels[0]": "unknown_channel",
            "channels[1]": "invalid",
            "channels[2]": "invalid",
            "channels[3]": "invalid",
        },
    ),
    # the rest
    "unknown priority": ({"priority": "urgent"}, {"priority": "invalid"}),
    "priority null": ({"priority": None}, {"priority": "invalid"}),
    "bulk is no priority": ({"priority": "bulk"}, {"priority": "invalid"}),
    "attempts": ({"max_attempts": 0}, {"max_attempts": "invalid"}),
    "attempts too many": ({"max_attempts": 256}, {"max_attempts": "invalid"}),
    "attempts as text": ({"max_attempts": "3"}, {"max_attempts": "invalid"}),
    "attempts true": ({"max_attempts": True}, {"max_attempts": "invalid"}),
    "attempts a fraction": ({"max_attempts": 1.0}, {"max_attempts": "invalid"}),
    "attempts huge": ({"max_attempts": 10**30}, {"max_attempts": "invalid"}),
    "related to half": ({"related_object": {"type": "order"}}, {"related_object.id": "required"}),
    "related to a number": ({"related_object": {"type": "o", "id": 17}}, {"related_object.id": "invalid"}),
    "related to nothing": (
        {"related_object": {"type": "", "id": "", "url": "x"}},
        {
            "related_object.type": "invalid",
            "related_object.id": "invalid",
            "related_object.url": "unknown_field",
        },
    ),
    "metadata a text": ({"metadata": "x"}, {"metadata": "invalid"}),
    "metadata with a NUL": ({"metadata": {"a": ["\0"]}}, {"metadata.a[0]": "null_character"}),
    "unknown fields": ({"sender": "x", "Title": "x"}, dict.fromkeys(("sender", "Title"), "unknown_field")),
    "a field without a name": ({"": 1}, {"(body)": "unknown_field"}),
    "past": ({"expires_at": "2020-01-01T00:00:00Z"}, {"expires_at": "past"}),
    "expires before it is due": (
        {"scheduled_at": "2101-01-02T00:00:00Z", "expires_at": "2101-01-02T00:00:00Z"},
        {"expires_at": "conflict"},
    ),
}


@pytest.mark.parametrize(("bad", "found"), WRONG.values(), ids=WRONG)
def test_wrong_fields_are_named(api: Api, bad: Bad, found: dict[str, str]) -> None:
    assert fields(send(api, **{"targets": ["ada"]} | bad)) == found


TIMES = [
    *("", "tomorrow", "2101-01-01", "2101-01-01T00:00:00", "2101-01-01T00:00Z", "2101-13-01T00:00:00Z"),
    *("2101-02-29T00:00:00Z", "4134009600", 4134009600, 4134009600.5, True, [], {}, "2101-01-01T24:00:01Z"),
    *("0000-01-01T00:00:00Z", "٢101-01-01T00:00:00Z", "2101-01-01T00:00:00Z\n", "10000-01-01T00:00:00Z"),
    *("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "2101-01-01T00:00:00+99:99"),
]


@pytest.mark.parametrize("time", TIMES, ids=repr)
@pytest.mark.parametrize("field", ["scheduled_at", "expires_at"])
def test_times_that_are_none(api: Api, field: str, time: object) -> None:
    assert fields(send(api, targets=["ada"], **{field: time})) == {field: "invalid"}


def test_now_is_past_by_the_databases_clock(api: Api) -> None:
    now = clock.now()  # of the transaction this test is
    assert fields(send(api, targets=["ada"], expires_at=now.isoformat())) == {"expires_at": "past"}
    late = (now + timedelta(microseconds=1)).isoformat()
    assert fields(send(api, targets=["nobody"], expires_at=late)) == {"targets[0]": "unknown_user"}


def test_missing_targets(api: Api) -> None:
    assert fields(api.post(SEND, {"title": "x"})) == {"targets": "required"}
    assert fields(api.post(SEND, {})) == {"targets": "required", "title": "required"}
    assert fields(api.post(SEND)) == {"targets": "required", "title": "required"}


# --- Everything at once ----------------------------------------------------------------------------------


def test_shape_people_template_and_times_are_told_together(api: Api) -> None:
    bad = {
        "template": "news",
        "title": "also",
        "targets": ["nobody", True, "ada", {"external_id": "new", "email": "x"}, 2**62],
        "channels": ["fax", 7, "sms", "email"],
        "priority": "urgent",
        "expires_at": "2020-01-01T00:00:00Z",
        "scheduled_at": "soon",
        "related_object": {},
        "extra": 1,
    }
    assert fields(send(api, **bad)) == {
        "targets[0]": "unknown_user",
        "targets[1]": "invalid",
        "targets[3].email": "invalid",
        "targets[4]": "unknown_user",
        "channels[0]": "unknown_channel",
        "channels[1]": "invalid",
        "channels[2]": "no_content",
        "priority": "invalid",
        "expires_at": "past",
        "scheduled_at": "invalid",
        "related_object.type": "required",
        "related_object.id": "required",
        "extra": "unknown_field",
        "template": "conflict",
        "payload.edition": "required",
        "payload.author": "required",
    }


LACKING = {"payload.author": "required", "payload.edition": "required"}


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        ({"title": 5, "body": ""}, {"title": "invalid"}),  # there may be words, once it is a text
        ({"title": "", "template": 5}, {"template": "invalid"}),
        ({"template": "news", "payload": 5}, {"payload": "invalid"}),  # nor is anything said to lack
        ({"template": "news", "channels": 5}, {"channels": "invalid", **LACKING}),
        ({"template": "news", "channels": [5]}, {"channels[0]": "invalid", **LACKING}),
        (
            {"template": "none", "channels": ["fax"]},
            {"template": "unknown_template", "channels[0]": "unknown_channel"},
        ),
    ],
)
def test_what_cannot_be_judged_is_not(api: Api, bad: Bad, found: dict[str, str]) -> None:
    assert fields(send(api, targets=["ada"], **bad)) == found


def test_a_field_is_named_once(api: Api) -> None:
    response = send(api, targets=["nobody", True], channels=["fax", 5], title="a\n" + "x" * 500)
    named = [error["field"] for error in response.json()["errors"]]
    assert sorted(named) == ["channels[0]", "channels[1]", "targets[0]", "targets[1]", "title"]


def test_an_unknown_channel_is_told_the_known_ones(api: Api) -> None:
    (error,) = send(api, targets=["ada"], channels=["email", "fax"]).json()["errors"]
    assert error == {
        "field": "channels[1]",
        "code": "unknown_channel",
        "detail": "There is no such channel. There are: in_app, email, sms, push, webhook, chat.",
    }


def test_a_request_of_a_wrong_shape_costs_no_more_statements_than_a_right_one(api: Api) -> None:
    with capture() as statements:
        send(api, targets=["nobody"] * 500 + [True] * 500, template="none")
    assert len(statements) == 4  # the key, the time, the people, the template


def test_no_more_errors_than_anybody_reads(api: Api) -> None:
    found = fields(send(api, targets=[f"nobody{n}" for n in range(1_000)], channels=["fax"] * 500))
    assert len(found) == MAX_ERRORS


# --- Not even a request ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [SEND, BULK])
@pytest.mark.parametrize("body", [b"{", b"", b"\xff", b'{"title": NaN}', b"[" * 10_000, b'"\\ud800"'])
def test_what_is_not_json(api: Api, path: str, body: bytes) -> None:
    if body:
        problem(api.post(path, body), 400, "not_json")
    else:
        problem(api.post(path, body), 400, "invalid_request")


@pytest.mark.parametrize("path", [SEND, BULK])
@pytest.mark.parametrize("body", [b"[]", b'"x"', b"1", b"null", b"[{}]"])
def test_what_is_no_object(api: Api, path: str, body: bytes) -> None:
    response = api.post(path, body)
    assert fields(response) == {"(body)": "invalid"}
    assert response.json()["errors"][0]["detail"] == "Send a JSON object."


def test_what_is_too_large(api: Api, settings) -> None:
    body = b'{"x": 1%s}'
    for path, limit in ((SEND, settings.MAX_BODY_BYTES), (BULK, 10 * settings.MAX_BODY_BYTES)):
        full = body % (b" " * (limit - len(body) + 2))
        assert fields(api.post(path, full))["x"] == "unknown_field"
        problem(api.post(path, full + b" "), 413, "body_too_large")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_another_content_type(api: Api, kind: str) -> None:
    response = api.send("POST", SEND, {"title": "x", "targets": ["ada"]}, content_type=kind)
    problem(response, 415, "unsupported_media_type")


def test_a_body_without_a_length(api: Api) -> None:
    problem(api.post(SEND, transfer_encoding="chunked"), 411, "length_required")


@pytest.mark.parametrize("path", [SEND, BULK])
def test_credentials(path: str, keys: dict[str, str]) -> None:
    body = {"title": "x", "targets": ["ada"], "notifications": [{"title": "x", "targets": ["ada"]}]}
    problem(Api(None).post(path, body), 401, "not_authenticated")
    problem(Api("ck_00000000_nonsense").post(path, body), 401, "invalid_credentials")
    problem(Api(keys["inactive"]).post(path, body), 401, "invalid_credentials")
    problem(Api(keys["reader"]).post(path, body), 403, "missing_scope")
    problem(Api(None).post(path, b"{"), 401, "not_authenticated")  # before anything else


def test_people_of_another_organization_are_unknown(api: Api) -> None:
    theirs = User.objects.get(external_id="theirs")
    found = fields(send(api, targets=["ada", theirs.pk, "theirs"]))
    assert found == {"targets[1]": "unknown_user", "targets[2]": "unknown_user"}


@pytest.mark.parametrize("time", ["9:00", "24:00", "09:00Z", "0001-01-01T00:00", "9999-12-31T23:59", ""])
def test_a_local_time_that_is_none_anywhere(api: Api, time: str) -> None:
    """At the ends of the calendar it is another year elsewhere, which there may not be."""
    assert fields(send(api, targets=["ada"], local_time=time)) == {"local_time": "invalid"}


def test_a_local_time_is_not_a_time_for_all(api: Api) -> None:
    later = (clock.now() + timedelta(hours=1)).isoformat()
    sent = send(api, targets=["ada"], local_time="09:00", scheduled_at=later)
    assert fields(sent) == {"local_time": "conflict"}


@pytest.mark.parametrize("key", ["dedupe_key", "collapse_key"])
@pytest.mark.parametrize("value", ["", "x" * 256, "a\0", 7])
def test_keys_are_texts_of_some_length(api: Api, key: str, value: object) -> None:
    assert fields(send(api, targets=["ada"], **{key: value})).keys() == {key}
