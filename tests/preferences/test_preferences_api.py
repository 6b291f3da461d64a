"""/api/preferences/ and /api/users/{external_id}/preferences/."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from apps.content.models import NotificationType
from apps.preferences import choices
from apps.preferences.choosing import in_effect
from apps.preferences.models import Choice, How, PreferenceDefaults, UserPreference
from apps.preferences.resolver import Answer, Asked, resolve
from apps.preferences.rules import Chosen, Rules
from apps.users.models import DEFAULT_ORGANIZATION_ID as OURS
from apps.users.models import Organization, Scope, ServiceClient, User
from apps.users.tokens import mint
from project import clock
from project.queues import CHANNELS
from tests.api_helpers import Api, fields, make_key, make_organization, problem
from tests.support.database import capture, in_threads, move_clock
from tests.support.rows import people

OWN = "/api/preferences/"
EVERY_DAY = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
NIGHT = {"days": EVERY_DAY, "start": "22:00", "end": "07:00"}
DAY = {"days": ["mon", "tue"], "start": "09:00", "end": "18:00"}
NO_DIGEST = {"daily_at": None, "weekly_day": None, "weekly_at": None}
NOTHING = {
    "channels": {},
    "types": {},
    "hours": None,
    "quiet": None,
    "digest": NO_DIGEST,
    "cap_per_hour": None,
    "paused_until": None,
}


def a_type(slug: str, organization_id: int | None = None, **fields: Any) -> NotificationType:
    values = {"name": slug.title(), "category": "immediate", "organization_id": organization_id} | fields
    return NotificationType.objects.create(slug=slug, **values)


def make_person() -> User:
    NotificationType.objects.all().delete()
    PreferenceDefaults.objects.all().delete()
    a_type("status_update")
    a_type("news")
    a_type("alert", critical=True)
    return people(external_id="ada", timezone="UTC", language="en")[0]


@pytest.fixture
def person(db: None) -> User:
    return make_person()


def api_of(person: User) -> Api:
    return Api(mint(person, 600)[0])


@pytest.fixture
def me(person: User) -> Api:
    return api_of(person)


@pytest.fixture
def told() -> Iterator[list[list[int]]]:
    """Who was said to want something else, and that it was said in the transaction."""
    heard: list[list[int]] = []

    def listen(*, user_ids: list[int], **_: object) -> None:
        assert connection.in_atomic_block
        heard.append(list(user_ids))

    choices.changed.connect(listen)
    yield heard
    choices.changed.disconnect(listen)


def said(response: Any) -> dict[str, Any]:
    """What the person has chosen, without what comes of it."""
    assert response.status_code == 200, response.content
    body: dict[str, Any] = response.json()
    return {name: value for name, value in body.items() if name in NOTHING}


def patch(api: Api, body: object, path: str = OWN) -> Any:
    return api.send("PATCH", path, body)


def rows(person: User) -> dict[tuple[str, str], str]:
    found = Choice.objects.filter(user=person).values_list("type", "channel", "how")
    return {(type, channel): how for type, channel, how in found}


def effective(response: Any, type: str = "news") -> dict[str, tuple[str, str]]:
    types = response.json()["effective"]["types"]
    (found,) = [one for one in types if one["type"] == type]
    return {channel: (one["how"], one["level"]) for channel, one in found["channels"].items()}


# --- Reading ---------------------------------------------------------------------------------------------


def test_without_any_choice_the_defaults_hold(me: Api) -> None:
    response = me.get(OWN)
    assert said(response) == NOTHING
    body = response.json()
    assert (body["language"], body["timezone"]) == ("en", "UTC")
    digest = {"daily_at": "08:00", "weekly_day": "mon", "weekly_at": "08:00"}
    types = body["effective"]["types"]
    holds = {name: value for name, value in body["effective"].items() if name != "types"}
    assert holds == {"hours": [], "quiet": [], "digest": digest, "cap_per_hour": None}
    assert [one["type"] for one in types] == ["alert", "news", "status_update"]
    news = {name: value for name, value in types[1].items() if name != "channels"}
    assert news == {
        "type": "news",
        "name": "News",
        "description": "",
        "category": "immediate",
        "critical": False,
    }
    assert types[1]["channels"].keys() == set(CHANNELS)
    assert types[1]["channels"]["sms"] == {"how": "on", "level": "system", "until": None}
    assert set(effective(response, "alert").values()) == {("on", "type")}


def test_an_organizations_type_hides_the_systems_and_anothers_is_not_there(me: Api) -> None:
    a_type("news", OURS, name="Ours", description="of us", critical=True)
    a_type("theirs", make_organization().pk)
    types = {one["type"]: one for one in me.get(OWN).json()["effective"]["types"]}
    assert types.keys() == {"alert", "news", "status_update"}
    assert (types["news"]["name"], types["news"]["critical"]) == ("Ours", True)


def test_what_holds_says_whose_it_is(me: Api) -> None:
    PreferenceDefaults.objects.create(choices={"": {"sms": "off"}}, quiet=[NIGHT], cap_per_hour=9)
    PreferenceDefaults.objects.create(organization_id=OURS, choices={"news": {"": "weekly"}}, hours=[DAY])
    response = patch(me, {"types": {"news": {"email": "daily"}}, "digest": {"weekly_day": "fri"}})
    assert effective(response) == {
        "in_app": ("on", "organization"),  # is never collected
        "webhook": ("on", "organization"),
        "email": ("daily", "person"),
        "sms": ("off", "system"),
        "push": ("weekly", "organization"),
        "chat": ("weekly", "organization"),
    }
    holds = response.json()["effective"]
    assert (holds["hours"], holds["quiet"], holds["cap_per_hour"]) == ([DAY], [NIGHT], 9)
    assert holds["digest"]["weekly_day"] == "fri"
    assert said(response)["hours"] is None


def test_a_type_that_is_made_for_digests_comes_daily(me: Api) -> None:
    a_type("summary", category="digest")
    assert effective(me.get(OWN), "summary")["email"] == ("daily", "type")
    assert effective(patch(me, {"types": {"summary": "on"}}), "summary")["email"] == ("on", "person")


def test_whoever_turns_all_off_still_gets_what_is_critical(me: Api) -> None:
    response = patch(me, {"channels": {"all": "off"}})
    assert set(effective(response).values()) == {("off", "person")}
    assert set(effective(response, "alert").values()) == {("on", "type")}


# --- Changing --------------------------------------------------------------------------------------------


def test_patch_changes_what_is_sent(me: Api, person: User) -> None:
    everything = {
        "channels": {"sms": "off", "email": True, "push": False},
        "types": {"status_update": "daily", "news": {"email": "off", "push": "on"}},
        "hours": [DAY],
        "quiet": [NIGHT],
        "digest": {"daily_at": "07:30", "weekly_day": "fri", "weekly_at": "17:00"},
        "cap_per_hour": 10,
        "paused_until": "2101-01-31T09:00:00+01:00",
    }
    kept = everything | {
        "channels": {"sms": "off", "email": "on", "push": "off"},
        "paused_until": "2101-01-31T08:00:00Z",
    }
    assert said(patch(me, everything)) == kept
    assert said(me.get(OWN)) == kept
    assert said(patch(me, {})) == kept
    assert said(patch(me, {"cap_per_hour": None, "digest": {"weekly_day": None}})) == kept | {
        "cap_per_hour": None,
        "digest": {"daily_at": "07:30", "weekly_day": None, "weekly_at": "17:00"},
    }
    assert said(
        patch(me, {"quiet": [], "channels": {"sms": None, "email": "weekly"}, "types": None})
    ) == kept | {
        "cap_per_hour": None,
        "digest": {"daily_at": "07:30", "weekly_day": None, "weekly_at": "17:00"},
        "quiet": [],
        "channels": {"email": "weekly", "push": "off"},
        "types": {},
    }
    gone = dict.fromkeys(("channels", "hours", "quiet", "digest", "paused_until"))
    assert said(patch(me, gone)) == NOTHING
    assert rows(person) == {} and not UserPreference.objects.exists()


def test_put_replaces_all_but_language_and_time_zone(me: Api, person: User) -> None:
    body = {"channels": {"sms": "off"}, "hours": [DAY], "timezone": "Asia/Tokyo", "language": "pt-br"}
    said(patch(me, body | {"paused_until": "2101-01-31T09:00:00Z", "cap_per_hour": 5}))
    response = me.put(OWN, {"types": {"news": {"email": "off", "all": "weekly"}}})
    assert said(response) == NOTHING | {"types": {"news": {"email": "off", "all": "weekly"}}}
    assert rows(person) == {("news", ""): "weekly", ("news", "email"): "off"}
    assert (response.json()["language"], response.json()["timezone"]) == ("pt-BR", "Asia/Tokyo")
    assert said(me.put(OWN, {})) == NOTHING


def test_what_get_answers_can_be_put(me: Api, person: User) -> None:
    body = {"types": {"news": "daily", "status_update": {"sms": "off"}}, "channels": {"all": "weekly"}}
    first = patch(me, body | {"quiet": [NIGHT], "cap_per_hour": 3, "digest": {"daily_at": "06:00"}})
    before = list(Choice.objects.order_by("id").values())
    document = {name: value for name, value in first.json().items() if name != "effective"}
    assert me.put(OWN, document).json() == first.json()
    assert list(Choice.objects.order_by("id").values()) == before


def test_of_a_whole_type_takes_the_place_of_what_was_said_of_its_channels(me: Api) -> None:
    said(patch(me, {"types": {"news": {"email": "off", "sms": "daily"}, "status_update": {"sms": "off"}}}))
    types = {"news": "on", "status_update": {"all": "daily"}}
    assert said(patch(me, {"types": types}))["types"] == {
        "news": "on",
        "status_update": {"all": "daily", "sms": "off"},
    }
    assert said(patch(me, {"types": {"news": None}}))["types"].keys() == {"status_update"}


def test_a_pause_ends_by_itself_and_is_not_a_choice_of_all(me: Api, person: User) -> None:
    until = clock.now() + timedelta(hours=1)
    response = patch(me, {"paused_until": until.isoformat()})
    assert said(response)["channels"] == {}
    assert set(effective(response).values()) == {("off", "person")}
    assert said(patch(me, {"channels": {"all": None, "sms": "daily"}}))["paused_until"] is not None
    move_clock(3_601)
    assert said(me.get(OWN)) == NOTHING | {"channels": {"sms": "daily"}}
    assert said(patch(me, {"channels": {"all": "off"}, "paused_until": None}))["channels"]["all"] == "off"
    assert said(patch(me, {"paused_until": None}))["channels"]["all"] == "off"


def test_turning_all_off_ends_a_pause_for_good(me: Api, person: User) -> None:
    said(patch(me, {"paused_until": "2101-01-31T09:00:00Z"}))
    found = said(patch(me, {"channels": {"all": "off"}}))
    assert (found["channels"], found["paused_until"]) == ({"all": "off"}, None)
    assert Choice.objects.get().until is None


def test_an_earlier_reason_stays_with_what_is_said_again(me: Api, person: User) -> None:
    choices.write(person.pk, [choices.Wanted("news", "email", "off", None, "too many")], source="link")
    said(patch(me, {"types": {"news": {"email": "off", "sms": "off"}}}))
    found = {row.channel: (row.source, row.reason) for row in Choice.objects.all()}
    assert found == {"email": ("link", "too many"), "sms": ("person", "")}


def test_a_choice_of_a_type_there_is_no_longer_is_not_shown(me: Api, person: User) -> None:
    said(patch(me, {"types": {"news": "off", "status_update": "off"}}))
    NotificationType.objects.filter(slug="news").delete()
    NotificationType.objects.update(critical=True)
    assert said(me.get(OWN))["types"] == {}


def test_hours_are_kept_in_one_spelling(me: Api, person: User) -> None:
    given = [{"days": ["sun", "mon", "sun"], "start": "00:00", "end": "00:00"}]
    kept = [{"days": ["mon", "sun"], "start": "00:00", "end": "00:00"}]
    response = patch(me, {"hours": given})
    assert said(response)["hours"] == response.json()["effective"]["hours"] == kept
    assert UserPreference.objects.get().hours == kept


# --- Who is told -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"channels": {"sms": "off"}},
        {"cap_per_hour": 3},
        {"timezone": "Asia/Tokyo"},
        {"timezone": "Asia/Tokyo", "channels": {"sms": "off"}, "hours": [DAY], "paused_until": None},
    ],
)
def test_a_change_is_told_once_and_what_changes_nothing_is_not(
    me: Api, person: User, told: list[list[int]], body: Any
) -> None:
    said(patch(me, body))
    assert told == [[person.pk]]
    said(patch(me, body))
    said(patch(me, {"language": "de"}))
    assert told == [[person.pk]]


def test_whoever_is_told_sees_all_of_the_change(me: Api, person: User) -> None:
    seen = []

    def look(**_: object) -> None:
        row = User.objects.get(pk=person.pk)
        seen.append((row.timezone, rows(person), UserPreference.objects.get().cap_per_hour))

    choices.changed.connect(look)
    try:
        said(patch(me, {"timezone": "Asia/Tokyo", "channels": {"sms": "off"}, "cap_per_hour": 3}))
    finally:
        choices.changed.disconnect(look)
    assert seen == [("Asia/Tokyo", {("", "sms"): "off"}, 3)]


def test_another_time_zone_by_the_users_api_is_told_as_well(
    api: Api, person: User, told: list[list[int]]
) -> None:
    assert api.put("/api/users/ada/", {"timezone": "Asia/Tokyo"}).status_code == 200
    assert told == [[person.pk]]
    api.put("/api/users/ada/", {"timezone": "Asia/Tokyo", "name": "A"})
    assert told == [[person.pk]]


# --- Who may ---------------------------------------------------------------------------------------------


def test_a_service_reads_and_writes_those_of_its_people(api: Api, person: User) -> None:
    path = "/api/users/ada/preferences/"
    assert said(api.get(path)) == NOTHING
    assert said(patch(api, {"channels": {"sms": "off"}}, path))["channels"] == {"sms": "off"}
    assert Choice.objects.get().source == "service"
    assert said(api.put(path, {"cap_per_hour": 2})) == NOTHING | {"cap_per_hour": 2}
    assert api.get(path).json() == api_of(person).get(OWN).json()


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH"])
def test_of_nobody_there_are_none(api: Api, person: User, method: str) -> None:
    people(external_id="theirs", organization=make_organization())
    for name in ("nobody", "theirs", "%00", str(person.pk)):
        problem(api.send(method, f"/api/users/{name}/preferences/", {}), 404, "not_found")


def test_an_external_id_may_have_slashes(api: Api, person: User) -> None:
    people(external_id="urn:x/preferences")
    assert api.get("/api/users/urn:x%2Fpreferences/preferences/").status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH"])
def test_a_service_needs_the_scope_and_a_person_a_token(
    service: ServiceClient, person: User, me: Api, method: str
) -> None:
    other = Api(make_key(service, [scope for scope in Scope.values if scope != Scope.USERS]))
    problem(other.send(method, "/api/users/ada/preferences/", {}), 403, "missing_scope")
    problem(other.send(method, OWN, {}), 401, "invalid_credentials")
    problem(me.send(method, "/api/users/ada/preferences/", {}), 401, "invalid_credentials")


def test_a_page_of_the_same_site_uses_the_session(person: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(person)
    assert browser.get(OWN).status_code == 200
    refused = browser.generic("PATCH", OWN, b'{"cap_per_hour": 1}', content_type="application/json")
    problem(refused, 403, "permission_denied")
    assert not UserPreference.objects.exists()


# --- Errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"language": "x"}, {"language": "invalid"}),
        ({"timezone": "Mars"}, {"timezone": "invalid"}),
        ({"channels": {"fax": "off"}}, {"channels.fax": "unknown_channel"}),
        ({"channels": {"sms": "never"}}, {"channels.sms": "invalid"}),
        ({"channels": {"sms": 1}}, {"channels.sms": "invalid"}),
        ({"channels": {"sms": ["off"]}}, {"channels.sms": "invalid"}),
        ({"channels": []}, {"channels": "invalid"}),
        ({"types": "off"}, {"types": "invalid"}),
        ({"types": {"spam": "off"}}, {"types.spam": "unknown_type"}),
        ({"types": {"spam": {"fax": "off"}}}, {"types.spam": "unknown_type"}),
        ({"types": {"spam": {}}}, {"types.spam": "unknown_type"}),
        ({"types": {"": "off"}}, {"types.": "unknown_type"}),
        ({"types": {"news": {"fax": "x"}}}, {"types.news.fax": "unknown_channel"}),
        ({"types": {"news": {"": "off"}}}, {"types.news.": "unknown_channel"}),
        ({"types": {"news": {"sms": {"all": "off"}}}}, {"types.news.sms": "invalid"}),
        ({"types": {"alert": "off"}}, {"types.alert": "critical_type"}),
        ({"types": {"alert": False}}, {"types.alert": "critical_type"}),
        ({"types": {"alert": "daily"}}, {"types.alert": "critical_type"}),
        ({"types": {"alert": {"sms": "off"}}}, {"types.alert.sms": "critical_type"}),
        ({"hours": [DAY] * 21}, {"hours": "too_many"}),
        ({"hours": [{"days": [], "start": "09:00", "end": "18:00"}]}, {"hours[0].days": "too_few"}),
        ({"hours": [DAY | {"days": ["monday"]}]}, {"hours[0].days[0]": "invalid"}),
        ({"hours": [DAY | {"start": "9:00", "end": "24:00"}]},
         {"hours[0].start": "invalid", "hours[0].end": "invalid"}),
        ({"quiet": [DAY, {"days": ["mon"], "start": "0900"}]},
         {"quiet[1].start": "invalid", "quiet[1].end": "required"}),
        ({"quiet": [DAY | {"zone": "UTC"}]}, {"quiet[0].zone": "unknown_field"}),
        ({"quiet": "night"}, {"quiet": "invalid"}),
        ({"quiet": [{"days": EVERY_DAY, "start": "00:00", "end": "00:00"}]}, {"quiet": "never_open"}),
        ({"hours": [DAY], "quiet": [DAY | {"start": "08:00"}]}, {"quiet": "never_open"}),
        ({"digest": {"daily_at": "25:00", "weekly_day": 0, "at": 1}},
         {"digest.daily_at": "invalid", "digest.weekly_day": "invalid", "digest.at": "unknown_field"}),
        ({"digest": []}, {"digest": "invalid"}),
        ({"cap_per_hour": 0}, {"cap_per_hour": "invalid"}),
        ({"cap_per_hour": True}, {"cap_per_hour": "invalid"}),
        ({"cap_per_hour": 1001}, {"cap_per_hour": "invalid"}),
        ({"paused_until": "2001-01-31T09:00:00Z"}, {"paused_until": "past"}),
        ({"paused_until": "tomorrow"}, {"paused_until": "invalid"}),
        ({"paused_until": "2101-01-31T09:00:00Z", "channels": {"all": "off"}}, {"paused_until": "conflict"}),
        ({"effective": {}, "sms": "off"}, {"effective": "unknown_field", "sms": "unknown_field"}),
        (["off"], {"(body)": "invalid"}),
        (
            {
                "timezone": "Mars",
                "channels": {"fax": "off", "sms": "off"},
                "types": {"spam": "off", "alert": "off", "news": "x"},
                "quiet": [{"days": EVERY_DAY, "start": "12:00", "end": "12:00"}],
                "cap_per_hour": "3",
            },
            {
                "timezone": "invalid",
                "channels.fax": "unknown_channel",
                "types.spam": "unknown_type",
                "types.alert": "critical_type",
                "types.news": "invalid",
                "quiet": "never_open",
                "cap_per_hour": "invalid",
            },
        ),
    ],
)  # fmt: skip
def test_every_bad_field_is_named_and_nothing_written(
    me: Api, told: list[list[int]], method: str, body: Any, wrong: dict[str, str]
) -> None:
    good = {"language": "de", "types": {"status_update": "off"}, "digest": {"daily_at": "01:00"}}
    sent = {**good, **body} if isinstance(body, dict) else body
    assert fields(me.send(method, OWN, sent)) == wrong
    assert not Choice.objects.exists() and not UserPreference.objects.exists() and told == []
    assert User.objects.get(external_id="ada").language == "en"


def test_never_open_is_judged_with_what_the_person_or_the_defaults_say_elsewhere(me: Api) -> None:
    PreferenceDefaults.objects.create(organization_id=OURS, quiet=[DAY])
    assert fields(patch(me, {"hours": [DAY]})) == {"hours": "never_open"}
    assert said(patch(me, {"hours": [DAY], "quiet": []}))["hours"] == [DAY]
    assert fields(patch(me, {"quiet": None})) == {"quiet": "never_open"}
    assert said(patch(me, {"cap_per_hour": 1}))["quiet"] == []


def test_critical_types_may_be_left_on(me: Api) -> None:
    assert said(patch(me, {"types": {"alert": {"sms": True}}}))["types"] == {"alert": {"sms": "on"}}
    assert said(patch(me, {"types": {"alert": None}}))["types"] == {}


# --- In effect -------------------------------------------------------------------------------------------

LEVELS = st.sampled_from(["person", "organization", "system"])
CHOSEN = st.builds(Chosen, st.sampled_from(How.values), st.none(), LEVELS)
KEYS = st.tuples(st.sampled_from(["", "news", "other"]), st.sampled_from(["", "email", "in_app", "sms"]))


@given(
    st.dictionaries(KEYS, CHOSEN),
    st.sampled_from(CHANNELS),
    st.sampled_from(["immediate", "digest", "scheduled"]),
    st.booleans(),
)
def test_what_is_shown_is_what_is_decided(
    chosen: dict[tuple[str, str], Chosen], channel: str, category: str, critical: bool
) -> None:
    shown = in_effect(NotificationType(slug="news", category=category, critical=critical), channel, chosen)
    asked = Asked(channel, "", "news", category, critical)
    verdict = resolve(asked, Rules(choices=chosen), zone="UTC", now=datetime(2026, 11, 20, tzinfo=UTC))
    decided = {Answer.SEND: "on", Answer.SKIP: "off", Answer.HOLD: verdict.detail.get("period")}
    assert shown.how == decided[verdict.answer]
    assert verdict.answer == Answer.SEND or shown.level == verdict.detail["level"]


# --- At once, and what it costs ----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_two_at_once_lose_nothing() -> None:
    Organization.objects.get_or_create(id=OURS, defaults={"name": "Default"})
    person = make_person()
    bodies: list[Any] = [{"channels": {channel: "off"}} for channel in ("email", "sms", "push", "chat")] + [
        {"hours": [DAY]},
        {"cap_per_hour": 3},
        {"digest": {"daily_at": "01:00"}},
        {"quiet": [NIGHT]},
    ]
    found = in_threads(len(bodies), lambda number: patch(api_of(person), bodies[number]).status_code)
    assert set(found) == {200}
    assert said(api_of(person).get(OWN)) == NOTHING | {
        "channels": dict.fromkeys(("email", "sms", "push", "chat"), "off"),
        "hours": [DAY],
        "quiet": [NIGHT],
        "digest": NO_DIGEST | {"daily_at": "01:00"},
        "cap_per_hour": 3,
    }


@pytest.mark.parametrize("count", [0, 30])
def test_the_statements_of_each(me: Api, person: User, count: int) -> None:
    for n in range(count):
        a_type(f"t{n}", OURS if n % 2 else None)
    said(patch(me, {"types": {f"t{n}": "off" for n in range(count)}, "cap_per_hour": 7}))
    with capture() as reading:
        me.get(OWN)
    with capture() as writing:
        patch(me, {"types": {"news": "off"}, "cap_per_hour": 1, "timezone": "Asia/Tokyo"})
    # Whose token it is; the person, all levels, choices, hours, types.
    assert len(reading) == 6
    # The token, the lock; choices, hours, types, defaults, the time; hours, choices, zone; what waits for the
    # person, under their lock; and as above.
    assert len(writing) == 1 + 1 + 5 + 3 + 2 + 5


# --- docs/preferences.md -----------------------------------------------------------------------------------

DOCUMENT = (settings.BASE_DIR / "docs" / "preferences.md").read_text()


def test_the_documents_examples_work(me: Api) -> None:
    for slug in ("digest_email", "milestone_alert"):
        a_type(slug)
    bodies = re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL) + re.findall(r"-d '(.*?)'", DOCUMENT)
    assert len(bodies) == 7
    for body in bodies:
        assert patch(me, body.encode()).status_code == 200, body
    named = {name for body in bodies for name in orjson.loads(body)}
    assert named == {*NOTHING, "language", "timezone"}
