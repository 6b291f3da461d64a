"""The pages of the defaults and of a person's preferences."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, time
from html import unescape

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from apps.content.models import NotificationType
from apps.preferences import choices
from apps.preferences.choices import Wanted
from apps.preferences.models import Choice, PreferenceDefaults, UserPreference
from apps.users.models import DEFAULT_ORGANIZATION_ID as OURS
from apps.users.models import User
from tests.support.database import capture
from tests.support.rows import people

pytestmark = pytest.mark.django_db
DEFAULTS = "/admin/preferences/preferencedefaults/"
PEOPLE = "/admin/preferences/preferencesofperson/"
NIGHT = {"days": ["mon", "sun"], "start": "22:00", "end": "07:00"}
EMPTY = dict.fromkeys(("hours", "quiet", "daily_at", "weekly_day", "weekly_at", "cap_per_hour"), "")


@pytest.fixture(autouse=True)
def types() -> None:
    NotificationType.objects.all().delete()
    PreferenceDefaults.objects.all().delete()
    for slug in ("news", "alert"):
        NotificationType.objects.create(slug=slug, category="immediate", critical=slug == "alert")
    NotificationType.objects.create(slug="ours", category="immediate", organization_id=OURS)


@pytest.fixture
def browser() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def text_of(browser: Client, path: str) -> str:
    response = browser.get(path)
    assert response.status_code == 200
    return unescape(response.content.decode())


# --- Defaults --------------------------------------------------------------------------------------------


def save(browser: Client, path: str = f"{DEFAULTS}add/", **values: str) -> str:
    """The page's text if it is refused; empty if it is kept."""
    response = browser.post(path, EMPTY | {"organization": "", "channels": "", "types": ""} | values)
    assert response.status_code in (200, 302)
    return unescape(response.content.decode())


def test_defaults_are_kept_as_sending_reads_them(browser: Client) -> None:
    assert not save(
        browser,
        organization=str(OURS),
        channels='{"sms": false, "all": "weekly"}',
        types='{"news": {"email": "daily"}, "ours": "off"}',
        hours="[]",
        quiet=json.dumps([NIGHT]),
        daily_at="07:30",
        weekly_day="fri",
        cap_per_hour="10",
    )
    row = PreferenceDefaults.objects.get()
    assert row.organization_id == OURS
    assert row.choices == {"": {"": "weekly", "sms": "off"}, "news": {"email": "daily"}, "ours": {"": "off"}}
    assert (row.hours, row.quiet) == ([], [NIGHT])
    assert (row.daily_at, row.weekly_day, row.weekly_at, row.cap_per_hour) == (time(7, 30), 4, None, 10)


def form_of(page: str) -> dict[str, str]:
    """What the page's fields have in them."""
    found = dict(re.findall(r'<textarea name="(\w+)"[^>]*>\s*(.*?)</textarea>', page, re.DOTALL))
    for tag in re.findall(r"<input[^>]*>", page):
        name, value = re.search(r'name="([\w-]+)"', tag), re.search(r'value="([^"]*)"', tag)
        if name and "submit" not in tag:
            found[name[1]] = value[1] if value else ""
    for name, options in re.findall(r'<select name="([\w-]+)"[^>]*>(.*?)</select>', page, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)" selected', options)
        found[name] = chosen[1] if chosen else ""
    return found


def test_a_page_saved_as_it_is_shown_changes_nothing(browser: Client) -> None:
    save(
        browser,
        channels='{"sms": "off"}',
        types='{"news": "off"}',
        quiet=json.dumps([NIGHT]),
        weekly_at="09:00",
    )
    row = PreferenceDefaults.objects.get()
    page = f"{DEFAULTS}{row.pk}/change/"
    assert save(browser, page, **form_of(text_of(browser, page))) == ""
    again = PreferenceDefaults.objects.get()
    for name in ("choices", "hours", "quiet", "daily_at", "weekly_day", "weekly_at", "cap_per_hour"):
        assert getattr(again, name) == getattr(row, name), name
    assert again.updated_at >= row.updated_at


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"hours": "[{]"}, "This is not JSON: "),
        ({"quiet": "{}"}, "quiet: "),
        ({"quiet": '[{"days": ["mon"], "start": "9:00", "end": "07:00"}]'}, "quiet[0].start: Send HH:MM"),
        ({"hours": json.dumps([NIGHT]), "quiet": json.dumps([NIGHT])}, "quiet: With these hours"),
        ({"channels": '{"fax": "off"}'}, "channels.fax: There is no such channel."),
        ({"types": '{"spam": "off"}'}, "types.spam: There is no such type"),
        ({"types": '{"ours": "off"}'}, "types.ours: There is no such type"),
        ({"types": '{"alert": {"sms": "off"}}'}, "types.alert.sms: It is critical"),
        ({"daily_at": "8"}, "digest.daily_at: Send HH:MM"),
        ({"cap_per_hour": "0"}, "cap_per_hour: "),
        ({"cap_per_hour": "x"}, "Enter a whole number."),
        ({"weekly_day": "x"}, "Select a valid choice."),
    ],
)
def test_a_mistake_is_told_with_its_place_and_nothing_kept(
    browser: Client, values: dict[str, str], told: str
) -> None:
    assert told in save(browser, **values)
    assert not PreferenceDefaults.objects.exists()


def test_an_organizations_hours_are_judged_with_the_systems_quiet_times(browser: Client) -> None:
    assert save(browser, quiet=json.dumps([NIGHT])) == ""
    assert "hours: With these hours" in save(browser, organization=str(OURS), hours=json.dumps([NIGHT]))


def test_each_has_its_defaults_once_and_the_systems_stay(browser: Client) -> None:
    assert save(browser) == save(browser, organization=str(OURS)) == ""
    assert "already exists" in save(browser)
    assert "already exists" in save(browser, organization=str(OURS))
    system, ours = PreferenceDefaults.objects.order_by("pk")
    assert browser.post(f"{DEFAULTS}{system.pk}/delete/", {"post": "yes"}).status_code == 403
    assert browser.post(f"{DEFAULTS}{ours.pk}/delete/", {"post": "yes"}).status_code == 302
    assert PreferenceDefaults.objects.get() == system


def test_the_list_of_defaults_costs_the_same_for_any_number(browser: Client) -> None:
    save(browser, organization=str(OURS))
    text_of(browser, DEFAULTS)
    with capture() as few:
        assert "Default" in text_of(browser, DEFAULTS)
    save(browser)
    with capture() as more:
        assert "system" in text_of(browser, DEFAULTS)
    assert len(few) == len(more)


# --- A person --------------------------------------------------------------------------------------------


def choose(browser: Client, person: User, *rows: dict[str, str], **values: str) -> str:
    """Save the person's page with these rows of choices; its text if it is refused."""
    held = list(Choice.objects.filter(user=person).order_by("type", "channel"))
    form = {"choices-TOTAL_FORMS": str(len(rows)), "choices-INITIAL_FORMS": str(len(held))}
    for n, row in enumerate(rows):
        fields = {"type": "", "channel": "", "how": "off", "until_0": "", "until_1": "", "reason": ""} | row
        fields |= {"id": str(held[n].pk) if n < len(held) else "", "user": str(person.pk)}
        form |= {f"choices-{n}-{name}": value for name, value in fields.items()}
    response = browser.post(f"{PEOPLE}{person.pk}/change/", EMPTY | form | values)
    assert response.status_code in (200, 302)
    return unescape(response.content.decode())


@pytest.fixture
def ada() -> User:
    (person,) = people(external_id="ada", timezone="Asia/Tokyo")
    until = datetime(2101, 1, 31, 9, tzinfo=UTC)
    wanted = [Wanted("news", "email", "off", until, "too many"), Wanted("", "sms", "daily")]
    choices.write(person.pk, wanted, source="link")
    return person


SMS = {"channel": "sms", "how": "daily"}
NEWS = {
    "type": "news",
    "channel": "email",
    "until_0": "2101-01-31",
    "until_1": "09:00:00",
    "reason": "too many",
}


def test_a_persons_choices_are_read_with_who_made_them_until_when_and_why(browser: Client, ada: User) -> None:
    page = text_of(browser, f"{PEOPLE}{ada.pk}/change/")
    for shown in ("Asia/Tokyo", "too many", "link", "2101-01-31", "off (person, until 2101-01-31 09:00 UTC)"):
        assert shown in page
    assert "daily (person)" in page and "on (type)" in page
    assert "ada" in text_of(browser, f"{PEOPLE}?q=ad") and "ada" not in text_of(browser, f"{PEOPLE}?q=b")


def test_what_staff_changes_is_theirs_and_the_rest_stays(browser: Client, ada: User) -> None:
    told: list[list[int]] = []

    def listen(*, user_ids: list[int], **_: object) -> None:
        told.append(user_ids)

    choices.changed.connect(listen)
    new = {"type": "ours", "how": "weekly", "reason": "by telephone"}
    assert choose(browser, ada, SMS, NEWS | {"DELETE": "on"}, new, quiet=json.dumps([NIGHT])) == ""
    choices.changed.disconnect(listen)
    found = {(row.type, row.channel): (row.how, row.source, row.reason) for row in Choice.objects.all()}
    assert found == {("", "sms"): ("daily", "link", ""), ("ours", ""): ("weekly", "admin", "by telephone")}
    assert UserPreference.objects.get().quiet == [NIGHT]
    assert told == [[ada.pk]]


def test_a_choice_may_become_one_of_something_else(browser: Client, ada: User) -> None:
    assert choose(browser, ada, {"channel": "push", "how": "daily"}, NEWS) == ""
    assert set(Choice.objects.values_list("type", "channel", "source")) == {
        ("", "push", "admin"),
        ("news", "email", "link"),
    }


def test_a_page_that_is_saved_as_it_is_writes_nothing(browser: Client, ada: User) -> None:
    before = list(Choice.objects.values())
    assert choose(browser, ada, SMS, NEWS) == ""
    assert list(Choice.objects.values()) == before and not UserPreference.objects.exists()


@pytest.mark.parametrize(
    ("row", "values", "told"),
    [
        ({"type": "alert"}, {}, "alert is critical"),
        ({"type": "spam"}, {}, "Select a valid choice."),
        ({"channel": "fax"}, {}, "Select a valid choice."),
        ({"type": "ours", "until_0": "2001-01-31", "until_1": "09:00:00"}, {}, "This time is past."),
        (SMS, {}, "Please correct the duplicate data"),
        ({"type": "ours"}, {"hours": '[{"days": []}]'}, "hours[0].days: "),
        ({"type": "ours"}, {"daily_at": "later"}, "digest.daily_at: Send HH:MM"),
    ],
)
def test_a_mistake_of_a_persons_is_told_and_nothing_kept(
    browser: Client, ada: User, row: dict[str, str], values: dict[str, str], told: str
) -> None:
    before = list(Choice.objects.values())
    assert told in choose(browser, ada, SMS, NEWS, row, **values)
    assert list(Choice.objects.values()) == before and not UserPreference.objects.exists()


def test_a_persons_page_costs_the_same_for_any_number_of_choices_and_types(
    browser: Client, ada: User
) -> None:
    page = f"{PEOPLE}{ada.pk}/change/"
    text_of(browser, page)
    with capture() as few:
        text_of(browser, page)
    for n in range(20):
        NotificationType.objects.create(slug=f"t{n}", category="immediate")
    choices.write(ada.pk, [Wanted(f"t{n}", "", "off") for n in range(20)], source="person")
    with capture() as many:
        text_of(browser, page)
    assert len(few) == len(many)


def test_whoever_may_only_look_sees_what_holds(ada: User) -> None:
    clerk = User.objects.create(login="clerk", is_staff=True)
    names = ("view_preferencesofperson", "view_choice", "view_preferencedefaults")
    clerk.user_permissions.set(Permission.objects.filter(codename__in=names))
    browser = Client()
    browser.force_login(clerk)
    page = text_of(browser, f"{PEOPLE}{ada.pk}/change/")
    assert "too many" in page and "daily (person)" in page and "<textarea" not in page
    assert browser.post(f"{PEOPLE}{ada.pk}/change/", {}).status_code == 403
    row = PreferenceDefaults.objects.create(choices={"": {"sms": "off"}})
    assert '"sms": "off"' in text_of(browser, f"{DEFAULTS}{row.pk}/change/")


def test_whoever_may_not_see_them_does_not(ada: User) -> None:
    client = Client()
    client.force_login(User.objects.create(login="clerk", is_staff=True))
    for path in (DEFAULTS, PEOPLE, f"{PEOPLE}{ada.pk}/change/"):
        assert client.get(path).status_code == 403


def test_nobody_is_made_or_deleted_here(browser: Client, ada: User) -> None:
    assert browser.get(f"{PEOPLE}add/").status_code == 403
    assert browser.post(f"{PEOPLE}{ada.pk}/delete/", {"post": "yes"}).status_code == 403
