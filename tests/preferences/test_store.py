"""Preferences read for many at once: every level, one statement, by the indexes."""

from __future__ import annotations

from datetime import time, timedelta
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.preferences import store
from apps.preferences.models import Choice, PreferenceDefaults, UserPreference
from apps.preferences.rules import NO_RULES, Chosen, Rules, Window
from apps.users.models import DEFAULT_ORGANIZATION_ID as OURS
from apps.users.models import User
from project import clock, db
from tests.api_helpers import make_organization
from tests.support.database import Prepared, capture, move_clock
from tests.support.rows import people

NINE_TO_SIX = [{"days": ["mon", "fri"], "start": "09:00", "end": "18:00"}]
NIGHT = [{"days": ["sun"], "start": "22:00", "end": "07:00"}]


@pytest.fixture
def ada(db: None) -> User:
    PreferenceDefaults.objects.all().delete()
    return people()[0]


def rules(user: User) -> Rules:
    return store.rules_of({user.pk: OURS}).of(user.pk)


def choose(user: User, type: str, channel: str, how: str, **more: Any) -> None:
    Choice.objects.create(user=user, type=type, channel=channel, how=how, source="person", **more)


def defaults(organization_id: int | None, **fields: Any) -> None:
    PreferenceDefaults.objects.create(organization_id=organization_id, **fields)


# --- Levels ----------------------------------------------------------------------------------------------


def test_without_any_rows_there_are_no_rules(ada: User) -> None:
    assert rules(ada) == NO_RULES


def test_nobody_costs_nothing(ada: User) -> None:
    with capture() as statements:
        store.rules_of({})
    assert statements == []


@pytest.mark.parametrize(
    ("field", "kept", "read"),
    [
        ("hours", (NINE_TO_SIX, NIGHT, []), ((Window(frozenset({0, 4}), 540, 1080),), None, ())),
        ("quiet", (NIGHT, NINE_TO_SIX, []), ((Window(frozenset({6}), 1320, 420),), None, ())),
        ("daily_at", (time(7), time(8, 30), time(23, 59)), (420, 510, 1439)),
        ("weekly_day", (1, 2, 0), (1, 2, 0)),
        ("weekly_at", (time(1), time(2), time(0)), (60, 120, 0)),
        ("cap_per_hour", (1, 2, 3), (1, 2, 3)),
    ],
)
def test_each_field_is_as_the_nearest_level_has_it(ada: User, field: str, kept: Any, read: Any) -> None:
    seen = [getattr(rules(ada), field)]
    defaults(None, **{field: kept[0]})
    seen.append(getattr(rules(ada), field))
    defaults(OURS, **{field: kept[1]})
    seen.append(getattr(rules(ada), field))
    UserPreference.objects.create(user=ada, **{field: kept[2]})
    seen.append(getattr(rules(ada), field))
    assert seen[0] == getattr(NO_RULES, field)
    assert seen[1] == read[0] and seen[2] not in (seen[0], seen[1]) and seen[3] == read[2]
    others = {name for name in Rules.__slots__ if name not in (field, f"{field}_level")}
    assert {name: getattr(rules(ada), name) for name in others} == {
        name: getattr(NO_RULES, name) for name in others
    }


def test_hours_and_quiet_times_say_whose_they_are(ada: User) -> None:
    defaults(None, hours=[], quiet=NIGHT)
    defaults(OURS, hours=NINE_TO_SIX)
    assert (rules(ada).hours_level, rules(ada).quiet_level) == ("organization", "system")
    UserPreference.objects.create(user=ada, hours=[])
    assert (rules(ada).hours, rules(ada).hours_level, rules(ada).quiet_level) == ((), "person", "system")


def test_each_choice_is_as_the_nearest_level_has_it(ada: User) -> None:
    defaults(None, choices={"": {"sms": "off", "email": "off"}, "news": {"": "weekly"}})
    defaults(OURS, choices={"": {"email": "daily"}, "alert": {"": "on"}})
    choose(ada, "news", "", "off")
    choose(ada, "news", "push", "on")
    assert rules(ada).choices == {
        ("", "sms"): Chosen("off", None, "system"),
        ("", "email"): Chosen("daily", None, "organization"),
        ("alert", ""): Chosen("on", None, "organization"),
        ("news", ""): Chosen("off", None, "person"),
        ("news", "push"): Chosen("on", None, "person"),
    }


def test_when_a_choices_time_is_over_the_defaults_hold_again(ada: User) -> None:
    defaults(OURS, choices={"": {"": "daily"}})
    until = clock.now() + timedelta(hours=1)
    choose(ada, "", "", "off", until=until)
    assert rules(ada).choices == {("", ""): Chosen("off", until, "person")}
    move_clock(3_601)
    assert rules(ada).choices == {("", ""): Chosen("daily", None, "organization")}


def test_people_of_several_organizations_have_their_own_defaults(ada: User) -> None:
    other = make_organization()
    ben, cleo = people(2, organization=other)
    defaults(other.pk, cap_per_hour=5)
    choose(cleo, "news", "", "off")
    found = store.rules_of({ada.pk: OURS, ben.pk: other.pk, cleo.pk: other.pk})
    assert [found.of(one.pk).cap_per_hour for one in (ada, ben, cleo)] == [None, 5, 5]
    assert [len(found.of(one.pk).choices) for one in (ada, ben, cleo)] == [0, 0, 1]


def test_who_has_chosen_nothing_shares_one_object(ada: User) -> None:
    ben, cleo = people(2)
    choose(cleo, "news", "", "off")
    found = store.rules_of(dict.fromkeys((ada.pk, ben.pk, cleo.pk), OURS))
    assert found.of(ada.pk) is found.of(ben.pk) is rules(ada)
    assert found.of(cleo.pk) != found.of(ada.pk)
    defaults(None, cap_per_hour=3)
    assert (found.of(ada.pk).cap_per_hour, rules(ada).cap_per_hour) == (None, 3)


def test_the_same_hours_are_parsed_once() -> None:
    text = '[{"days": ["mon"], "start": "00:00", "end": "00:00"}]'
    assert store.windows_of(text) is store.windows_of("".join(text))
    assert store.windows_of(text) == (Window(frozenset({0}), 0, 1440),)


# --- What it costs ---------------------------------------------------------------------------------------

OF_PEOPLE = ("choice_once", "preferences_userpreference_pkey")


@pytest.mark.parametrize("count", [1, 1_000])
def test_one_statement_for_any_number(ada: User, count: int) -> None:
    everyone = people(count)
    choose(everyone[0], "news", "", "off")
    UserPreference.objects.create(user=everyone[0], cap_per_hour=1)
    defaults(None, cap_per_hour=3)
    with capture() as statements:
        found = store.rules_of({one.pk: OURS for one in everyone})
    assert len(statements) == 1
    assert found.of(everyone[0].pk).choices == {("news", ""): Chosen("off")}
    assert [found.of(one.pk).cap_per_hour for one in everyone] == [1, *[3] * (count - 1)]


@pytest.mark.django_db
@pytest.mark.parametrize("filled_first", [False, True])
def test_it_probes_the_indexes_whatever_the_statistics_say(filled_first: bool) -> None:
    if not filled_first:
        db.execute("ANALYZE preferences_choice, preferences_userpreference, preferences_preferencedefaults")
    ids = [one.pk for one in people(2_000)]
    db.execute(
        "INSERT INTO preferences_choice (user_id, type, channel, how, source)"
        " SELECT id, t, '', 'off', 'person' FROM unnest(%b::bigint[]) id, unnest('{a,b}'::text[]) t",
        [ids],
    )
    db.execute(
        "INSERT INTO preferences_userpreference (user_id, cap_per_hour) SELECT unnest(%b::bigint[]), 1", [ids]
    )
    if filled_first:
        db.execute("ANALYZE preferences_choice, preferences_userpreference, preferences_preferencedefaults")
    given = {"people": ids[:1_000], "organizations": [OURS]}
    nodes = Prepared(f"rules_{filled_first}", store._READ, given).nodes()
    assert not [node for node in nodes if node["Node Type"] == "Seq Scan"]
    probes = [node["Index Cond"] for node in nodes if node.get("Index Name") in OF_PEOPLE]
    assert len(probes) == 2 and all("user_id = p" in one for one in probes)


# --- Spread ----------------------------------------------------------------------------------------------


@given(st.integers(0, 2**63 - 1))
def test_a_place_is_within_the_spread_and_always_the_same(user_id: int) -> None:
    assert 0 <= store.spread_of(user_id) < 300
    assert store.spread_of(user_id) == store.spread_of(user_id)


def test_neighbours_are_spread_evenly(settings: Any) -> None:
    settings.HOLD_SPREAD = 60.0
    seconds = [0] * 60
    for user_id in range(50_000, 56_000):
        seconds[int(store.spread_of(user_id))] += 1
    assert 80 < min(seconds) <= max(seconds) < 120
    settings.HOLD_SPREAD = 0.0
    assert store.spread_of(7) == 0


# --- The system's defaults ---------------------------------------------------------------------------------


def test_the_migrations_row_says_what_holds_without_it_and_keeps_what_is_there(ada: User) -> None:
    migration = import_module("apps.preferences.migrations.0005_system_defaults")
    db.execute(migration.SYSTEM)
    row = PreferenceDefaults.objects.get()
    assert (row.organization, row.hours, row.quiet, row.choices) == (None, [], [], {})
    assert rules(ada) == NO_RULES
    PreferenceDefaults.objects.update(cap_per_hour=9)
    db.execute(migration.SYSTEM)
    assert PreferenceDefaults.objects.get().cap_per_hour == 9
