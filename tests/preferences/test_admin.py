"""The page of suppressed addresses: entered in the right spelling, found by their beginning, removed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from apps.preferences import suppression
from apps.preferences.models import Suppression
from apps.preferences.suppression import Cause, Fact
from apps.users.models import DEFAULT_ORGANIZATION_ID as OURS
from apps.users.models import User
from tests.api_helpers import make_service
from tests.support.database import capture

pytestmark = pytest.mark.django_db
LIST = "/admin/preferences/suppression/"


@pytest.fixture
def browser() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def text_of(browser: Client, path: str = LIST) -> str:
    response = browser.get(path)
    assert response.status_code == 200
    return str(response.content.decode())


def add(browser: Client, address: str, channel: str = "email", organization: str = "", **more: str) -> str:
    """Enter it; the page's text if it is refused."""
    fields = {"channel": channel, "address": address, "organization": organization, "note": ""} | more
    response = browser.post(f"{LIST}add/", fields)
    assert response.status_code in (200, 302)
    return str(response.content.decode())


@pytest.mark.parametrize(
    ("channel", "entered", "kept"),
    [("email", " Ada@EXAMPLE.com ", "Ada@example.com"), ("sms", "+49 (30) 123456", "+4930123456")],
)
def test_an_address_is_entered_in_the_spelling_it_is_written_to(
    browser: Client, channel: str, entered: str, kept: str
) -> None:
    add(browser, entered, channel)
    row = Suppression.objects.get()
    assert (row.channel, row.address, row.cause, row.organization_id) == (channel, kept, "manual", None)


def test_an_address_may_be_suppressed_for_one_organization(browser: Client) -> None:
    add(browser, "ada@example.com", organization=str(OURS))
    assert Suppression.objects.get().organization_id == OURS


def test_it_says_who_entered_it_why_and_until_when(browser: Client) -> None:
    add(browser, "ada@example.com", note="asked by telephone", until_0="2101-01-31", until_1="09:00:00")
    row = Suppression.objects.get()
    assert (row.created_by, row.client, row.note) == (User.objects.get(), None, "asked by telephone")
    assert row.until == datetime(2101, 1, 31, 9, tzinfo=UTC)
    page = text_of(browser, f"{LIST}{row.pk}/change/")
    assert "asked by telephone" in page and "root" in page and "2101" in page
    assert "2101" in text_of(browser)


def test_a_service_is_named_and_whoever_is_gone_is_not(browser: Client) -> None:
    client = make_service()
    suppression.suppress([Fact(None, "email", "ada@example.com", Cause.MANUAL, client_id=client.pk)])
    assert ">shop<" in text_of(browser)
    client.delete()
    Suppression.objects.update(created_by_id=4711)
    assert ">shop<" not in text_of(browser)
    assert "ada@example.com" in text_of(browser, f"{LIST}{Suppression.objects.get().pk}/change/")


@pytest.mark.parametrize(
    ("day", "told"), [("2001-01-31", "This time is past."), ("soon", "Enter a valid date.")]
)
def test_a_time_that_is_past_is_told(browser: Client, day: str, told: str) -> None:
    assert told in add(browser, "ada@example.com", until_0=day, until_1="09:00:00")
    assert not Suppression.objects.exists()


@pytest.mark.parametrize(
    ("channel", "address", "told"),
    [
        ("email", "ada", "This is not an e-mail address."),
        ("sms", "030 123456", "Send the number with + and its country"),
        ("in_app", "1", "Select a valid choice."),
        ("email", "", "This field is required."),
    ],
)
def test_a_mistake_is_told_and_nothing_kept(browser: Client, channel: str, address: str, told: str) -> None:
    assert told in add(browser, address, channel)
    assert not Suppression.objects.exists()


@pytest.mark.parametrize("organization", ["", str(OURS)])
def test_what_is_suppressed_already_is_told(browser: Client, organization: str) -> None:
    add(browser, "ada@example.com", organization=organization)
    assert "This address is suppressed already." in add(browser, "ada@EXAMPLE.com", organization=organization)
    assert Suppression.objects.count() == 1


def test_the_list_is_newest_first_and_costs_the_same_for_any_number(browser: Client) -> None:
    suppression.suppress([Fact(None, "email", "first@example.com", Cause.BOUNCED)])
    text_of(browser)
    with capture() as few:
        text_of(browser)
    suppression.suppress([Fact(OURS, "sms", f"+49301{n:06}", Cause.OPTED_OUT) for n in range(120)])
    with capture() as many:
        page = text_of(browser)
    assert len(few) == len(many) == 4  # session, user, how many, the page
    assert not any("COUNT(" in statement for statement in many)
    assert "+49301000119" in page and "first@example.com" not in page
    assert "told the provider to stop" in page


def test_it_is_found_by_the_beginning_of_its_address(browser: Client) -> None:
    names = ("ada@example.com", "ada@example.org", "ben@ada.example")
    suppression.suppress([Fact(None, "email", name, Cause.BOUNCED) for name in names])
    page = text_of(browser, f"{LIST}?q=ada@")
    assert names[0] in page and names[1] in page and names[2] not in page
    page = text_of(browser, f"{LIST}?q=ada@example.org")
    assert names[0] not in page and names[1] in page


def test_it_can_be_removed_but_not_changed(browser: Client) -> None:
    suppression.suppress([Fact(None, "email", "ada@example.com", Cause.BOUNCED)])
    row = Suppression.objects.get()
    page = f"{LIST}{row.pk}/change/"
    assert "ada@example.com" in text_of(browser, page)
    assert browser.post(page, {"channel": "email", "address": "x@example.com"}).status_code == 403
    assert Suppression.objects.get().address == "ada@example.com"
    assert browser.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Suppression.objects.exists()


def test_the_admins_log_has_no_address(browser: Client) -> None:
    add(browser, "ada@example.com")
    browser.post(f"{LIST}{Suppression.objects.get().pk}/delete/", {"post": "yes"})
    entries = LogEntry.objects.all()
    assert len(entries) == 2
    assert not any("ada" in f"{entry.object_repr} {entry.change_message}" for entry in entries)


def test_whoever_may_not_see_it_does_not() -> None:
    client = Client()
    client.force_login(User.objects.create(login="clerk", is_staff=True))
    assert client.get(LIST).status_code == 403
