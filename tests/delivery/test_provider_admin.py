"""The admin's pages of providers: what is entered, what is shown and what never is, and what operators do."""

from __future__ import annotations

import logging
import re
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connections
from django.test import Client

from apps.delivery import providers, watch
from apps.delivery.health import Event, Kind, Tally
from apps.delivery.models import Provider, ProviderEvent, ProviderHealth
from apps.integrations.contract import (
    Message,
    Outcome,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.users.models import User
from project import clock, queues, sealing
from tests.support import rows
from tests.support.database import capture, move_clock
from tests.support.vendor import Vendor

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("vendor")]
LIST = "/admin/delivery/provider/"
ADD = f"{LIST}add/?adapter=vendor"
STEER = f"{LIST}steer/"
EVENTS = "/admin/delivery/providerevent/"
SECRET = "s3cr3t-value"
OPTIONS = '{"sender": "+15005550006"}'


@pytest.fixture
def root() -> User:
    rows.people(1)
    return User.objects.create_superuser("root")


@pytest.fixture
def browser(root: User) -> Client:
    client = Client()
    client.force_login(root)
    return client


@pytest.fixture(autouse=True)
def rung_later(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The lanes that are to be rung a little later."""
    lanes: set[str] = set()
    monkeypatch.setattr(queues, "ring_after", lambda lane, seconds: lanes.add(lane))
    return lanes


def member(*permissions: str) -> Client:
    """Somebody on the staff with these permissions."""
    person = User.objects.create(login=f"staff-{uuid4()}", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(person)
    return client


def entered(**fields: Any) -> dict[str, Any]:
    """The form as a person fills it in."""
    values = {
        "name": "main", "is_active": "on", "options": OPTIONS,
        "secret_token": SECRET, "secret_spare_token": "", "secret_signing_key": "",
        "weight": "100", "serves": "", "cost": "",
        "per_second": "", "per_minute": "", "per_hour": "", "per_day": "",
    }  # fmt: skip
    return {name: value for name, value in (values | fields).items() if value is not None}


def made(name: str = "main", **fields: Any) -> Provider:
    """A row of the vendor's."""
    values = {
        "adapter": "vendor", "channel": "sms", "options": {"sender": "+15005550006"},
        "credentials": {"token": sealing.seal(SECRET)},
    }  # fmt: skip
    return Provider.objects.create(name=name, **(values | fields))


def page_of(row: Provider, what: str = "change") -> str:
    return f"{LIST}{row.pk}/{what}/"


def text_of(response: Any) -> str:
    """What a person reads."""
    assert response.status_code == 200, response
    content = re.sub(r"<(style|script).*?</\1>", "", response.content.decode(), flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", content).split())


def told(response: Any) -> list[str]:
    """The messages on the page that follows."""
    return [str(message) for message in response.context["messages"]]


def wrong(response: Any) -> dict[str, list[str]]:
    """What the form says is wrong, by field."""
    assert response.status_code == 200
    return {field: list(texts) for field, texts in response.context["adminform"].form.errors.items()}


def events(name: str = "main") -> list[tuple[str, str, str]]:
    found = ProviderEvent.objects.filter(provider=name).select_related("user").order_by("id")
    return [(one.kind, one.detail, str(one.user or "")) for one in found]


# --- Entering one ----------------------------------------------------------------------------------------


def test_first_an_adapter_is_chosen(browser: Client) -> None:
    for address in (f"{LIST}add/", f"{LIST}add/?adapter=nonsense"):
        content = browser.get(address).content.decode()
        assert 'href="?adapter=vendor"' in content and 'href="?adapter=smtp"' in content
    assert browser.post(f"{LIST}add/", entered()).status_code == 200
    assert not Provider.objects.exists()


def test_the_form_says_what_the_adapter_takes(browser: Client) -> None:
    response = browser.get(ADD)
    text = text_of(response)
    assert "token is the account&#x27;s" in text
    assert "Options, as JSON: sender (needed), base_url = &quot;https://vendor.example&quot;" in text
    assert "region (for receipts)" in text and "Needed; not set." in text
    assert 'name="secret_token"' in response.content.decode()
    assert '{\n  "sender": ""\n}'.replace('"', "&quot;") in response.content.decode()


def test_a_secret_is_sealed_and_never_shown_again(
    browser: Client, django_capture_on_commit_callbacks, rung_later
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        response = browser.post(ADD, entered(), follow=True)
    row = Provider.objects.get()
    assert (row.name, row.adapter, row.channel, row.options) == (
        "main", "vendor", "sms", {"sender": "+15005550006"}
    )  # fmt: skip
    assert sealing.unseal(row.credentials["token"]) == SECRET and list(row.credentials) == ["token"]
    assert rung_later == {f"sms.{urgency}" for urgency in queues.URGENCIES}
    shown = [response, browser.get(page_of(row)), browser.get(LIST), browser.get(page_of(row, "history"))]
    for page in shown:
        for secret in (SECRET, row.credentials["token"]):
            assert secret not in page.content.decode()
    assert "Needed; set." in text_of(shown[1])
    for entry in LogEntry.objects.all():
        assert SECRET not in f"{entry.change_message} {entry.object_repr}"


def test_what_was_built_for_a_look_is_closed(browser: Client) -> None:
    browser.post(ADD, entered())
    assert Provider.objects.exists()
    assert Vendor.closed == 1 and Vendor.sent == []


def test_a_reference_to_the_environment_is_kept_and_shown(browser: Client, monkeypatch) -> None:
    monkeypatch.setenv("VENDOR_TOKEN", SECRET)
    browser.post(ADD, entered(secret_token="env:VENDOR_TOKEN"))
    row = Provider.objects.get()
    assert row.credentials == {"token": "env:VENDOR_TOKEN"}
    content = browser.get(page_of(row)).content.decode()
    assert "env:VENDOR_TOKEN" in content and SECRET not in content


def test_an_empty_secret_keeps_what_is_there_and_a_new_one_replaces_it(browser: Client) -> None:
    row = made()
    kept, before = row.credentials["token"], row.updated_at
    move_clock(5)
    assert browser.post(page_of(row), entered(secret_token="", weight="7")).status_code == 302
    row.refresh_from_db()
    assert (row.credentials, row.weight) == ({"token": kept}, 7)
    assert (row.updated_at - before).total_seconds() >= 5  # workers build it anew
    browser.post(page_of(row), entered(secret_token="another"))
    row.refresh_from_db()
    assert sealing.unseal(row.credentials["token"]) == "another"
    messages = " ".join(entry.get_change_message() for entry in LogEntry.objects.all())
    assert "token" in messages and "another" not in messages


def test_a_secret_of_several_lines_is_kept_as_it_is(browser: Client) -> None:
    browser.post(ADD, entered(secret_token="-----BEGIN-----\r\nabc\r\n-----END-----"))
    assert (
        sealing.unseal(Provider.objects.get().credentials["token"]) == "-----BEGIN-----\nabc\n-----END-----"
    )


def test_a_secret_the_adapter_can_do_without_can_be_removed(browser: Client) -> None:
    row = made()
    row.credentials["spare_token"] = sealing.seal("spare")
    row.save()
    assert "Secrets it is to be without" in text_of(browser.get(page_of(row)))
    assert wrong(browser.post(page_of(row), entered(secret_token="", remove=["token"])))["remove"]
    browser.post(page_of(row), entered(secret_token="", remove=["spare_token"]))
    row.refresh_from_db()
    assert list(row.credentials) == ["token"]
    assert "Secrets it is to be without" not in text_of(browser.get(page_of(row)))


@pytest.mark.parametrize(
    ("fields", "field", "why"),
    [
        ({"options": "{}"}, "options", "sender: it is needed."),
        ({"options": '{"sender": "x", "colour": 1}'}, "options", "colour: there is no such argument."),
        ({"options": '{"sender": "x", "token": "y"}'}, "options", "token: it is a secret, and no option."),
        ({"options": '{"sender": 15005550006}'}, "options", "sender: a text is wanted."),
        ({"options": '{"sender": "x", "batch_size": true}'}, "options", "batch_size: a whole number"),
        ({"options": '{"sender": "x", "is_test": "yes"}'}, "options", "is_test: true or false is wanted."),
        ({"options": '{"sender": "x", "timeout": NaN}'}, "options", "something in it that cannot be kept"),
        ({"options": '{"sender": "\\u0000"}'}, "options", "something in it that cannot be kept"),
        ({"options": '{"sender": "env:SENDER"}'}, "options", "only secrets are taken from the environment"),
        ({"options": '{"sender": "x", "timeout": 55}'}, "options", "timeout: above 0 and below 55 s"),
        ({"options": '{"sender": "x", "batch_size": 0}'}, "options", "batch_size: at least 1."),
        ({"options": "[1]"}, "options", "An object"),
        ({"options": "{"}, "options", "Enter a valid JSON."),
        ({"secret_token": ""}, "secret_token", "token: it is needed."),
        ({"secret_token": "env:A B"}, "secret_token", "comes the name of a variable"),
        ({"secret_token": "env:NOT_THERE"}, "__all__", "token: NOT_THERE is not in the environment."),
        ({"secret_token": "bad token"}, "__all__", "Its arguments are not accepted (KeyError)."),
        ({"secret_signing_key": "x"}, "__all__", "region missing."),
        ({"serves": "Germany"}, "serves", "Germany: a country has two letters"),
        ({"serves": "XX"}, "serves", "XX: a country has two letters"),
        ({"serves": "DE,+"}, "serves", "+: a prefix is + and digits"),
        ({"per_second": "0"}, "__all__", "At least 1; empty for none."),
        ({"cost": "-1"}, "__all__", "At least 0; empty for none."),
        ({"weight": "-1"}, "weight", "greater than or equal to 0"),
        ({"name": "a/b"}, "name", "valid “slug”"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_field_named(
    browser: Client, fields: dict[str, str], field: str, why: str
) -> None:
    response = browser.post(ADD, entered(**fields))
    errors = wrong(response)
    if field == "__all__" and field not in errors:  # a number's own field
        (field,) = fields
    assert why in " ".join(errors[field])
    assert not Provider.objects.exists()
    assert SECRET not in response.content.decode() and "bad token" not in response.content.decode()


@pytest.mark.parametrize(
    ("adapter", "given", "kept"),
    [
        ("vendor", "de, AT,+49,DE", ["DE", "AT", "+49"]),
        ("smtp", "Example.COM, münchen.example", ["example.com", "xn--mnchen-3ya.example"]),
    ],
)
def test_what_it_serves_has_one_spelling(browser: Client, adapter: str, given: str, kept: list[str]) -> None:
    options = OPTIONS if adapter == "vendor" else '{"host": "h", "port": 25, "sender": "a@example.com"}'
    response = browser.post(f"{LIST}add/?adapter={adapter}", entered(serves=given, options=options))
    assert response.status_code == 302, wrong(response)
    assert Provider.objects.get().serves == kept


@pytest.mark.parametrize("serves", ["a b.example", "DE"])
def test_mail_serves_domains(browser: Client, serves: str) -> None:
    options = '{"host": "h", "port": 25, "sender": "a@example.com"}'
    response = browser.post(f"{LIST}add/?adapter=smtp", entered(serves=serves, options=options))
    assert "is not a domain" in wrong(response)["serves"][0]


def test_a_channel_without_countries_serves_all(browser: Client) -> None:
    response = browser.post(f"{LIST}add/?adapter=webhook", entered(serves="DE", options="{}"))
    assert wrong(response)["serves"] == [
        "Addresses of webhook have no country and no domain: leave it empty."
    ]


def test_its_receiver_is_built_too(browser: Client) -> None:
    options = '{"sender": "x", "region": "eu"}'
    response = browser.post(ADD, entered(options=options, secret_signing_key="bad"))
    assert wrong(response)["__all__"] == ["Its arguments are not accepted (ValueError)."]
    assert browser.post(ADD, entered(options=options, secret_signing_key="good")).status_code == 302
    assert set(Provider.objects.get().credentials) == {"token", "signing_key"}
    providers.forget()
    assert providers.receiver_of("main") is not None


def test_name_and_adapter_stay(browser: Client) -> None:
    row = made()
    browser.post(page_of(row), entered(name="other", adapter="smtp", secret_token=""))
    row.refresh_from_db()
    assert (row.name, row.adapter) == ("main", "vendor")


def test_one_whose_adapter_is_gone_can_still_be_looked_at(browser: Client) -> None:
    row = made(adapter="gone")
    assert "main" in text_of(browser.get(page_of(row)))
    assert "There is no adapter gone." in str(wrong(browser.post(page_of(row), entered(secret_token=""))))


def test_only_an_inactive_one_is_deleted_and_its_history_stays(browser: Client) -> None:
    row = made()
    opened()
    assert browser.post(page_of(row, "delete"), {"post": "yes"}).status_code == 403
    assert "delete_selected" not in browser.get(LIST).content.decode()
    Provider.objects.update(is_active=False)
    assert browser.post(page_of(row, "delete"), {"post": "yes"}).status_code == 302
    assert not Provider.objects.exists() and not ProviderHealth.objects.exists()
    assert events() == [("lowered", "to 75 %: unauthorized", ""), ("opened", "unauthorized; for 30 s", "")]


# --- Who may what ----------------------------------------------------------------------------------------


def test_who_may_only_look_sees_no_secrets_and_no_buttons(monkeypatch) -> None:
    row, client = made(), member("view_provider")
    response = client.get(page_of(row))
    text = text_of(response)
    assert "token: set" in text and "Pin…" not in text and "Send a test message" not in text
    assert (
        SECRET not in response.content.decode() and row.credentials["token"] not in response.content.decode()
    )
    for address, data in (
        (page_of(row), entered()), (STEER, {"action": "drain", "ids": str(row.pk)}),
        (page_of(row, "check"), {"address": "+4930123456"}), (page_of(row, "delete"), {"post": "yes"}),
    ):  # fmt: skip
        assert client.post(address, data).status_code == 403, address
    assert client.get(f"{LIST}add/").status_code == client.get(page_of(row, "check")).status_code == 403
    assert (Vendor.sent, events()) == ([], [])


def test_others_see_nothing_at_all() -> None:
    row, client = made(), member()
    for address in (LIST, page_of(row), EVENTS, f"{STEER}?action=pin&ids={row.pk}"):
        assert client.get(address).status_code == 403
    assert Client().get(LIST).status_code == 302


def test_health_has_no_page_of_its_own(browser: Client) -> None:
    assert browser.get("/admin/delivery/providerhealth/").status_code == 404


# --- The list and the page -------------------------------------------------------------------------------


def opened(name: str = "main") -> None:
    """Its breaker has just opened."""
    watch._note(name, Tally(bad=1, stopping=True, code="unauthorized"), clock.now())


def test_the_list_says_how_each_is_doing(browser: Client) -> None:
    made(per_second=10, per_hour=5_000, weight=90)
    made("other", mode="drained")
    watch._note("other", Tally(bad=1, code="unavailable"), clock.now())
    opened()
    text = text_of(browser.get(LIST))
    wanted = (
        r"main vendor sms normal 90 × 75 % open for (30|29) s more 10/s, 5,000/h \S+ \S+ opened: unauthorized"
    )
    assert re.search(wanted, text)
    assert re.search(r"other vendor sms drained 100 × 75 % closed – \S+ \S+ lowered: to 75 %", text)
    move_clock(31)
    assert "open, to be tried with the next message" in text_of(browser.get(LIST))
    (account,) = [one for one in providers.of_channel("sms") if one.name == "main"]
    assert watch.begin_probe(account)
    assert " trying " in text_of(browser.get(LIST))


def test_the_list_costs_the_same_for_any_number_and_counts_nothing(browser: Client) -> None:
    made()
    browser.get(LIST)
    with capture() as few:
        browser.get(LIST)
    for number in range(30):
        made(f"p{number}")
        opened(f"p{number}")
    with capture() as many:
        browser.get(LIST)
    assert len(few) == len(many) == 4  # session, user, whether there is a next page, the page
    assert not any("COUNT(" in statement for statement in many)


def test_the_page_tells_its_health_and_its_latest_events(browser: Client, root: User) -> None:
    row = made()
    for number in range(55):
        watch.record("main", Event(Kind.RAISED, f"no. {number}"), user_id=root.pk)
    opened()
    browser.get(page_of(row))
    with capture() as statements:
        text = text_of(browser.get(page_of(row)))
    assert "open for" in text and "1 batch in a row" in text and "unauthorized; for 30 s" in text
    assert "no. 54 root" in text and "no. 7 " in text and "no. 6 " not in text
    assert sum("delivery_providerevent" in statement for statement in statements) <= 3


def test_events_are_found_by_a_providers_name_and_read_only(browser: Client) -> None:
    for name in ("main", "mainly"):
        watch.record(name, Event(Kind.OPENED, f"of {name}"))
    shown = browser.get(EVENTS, {"q": "main"}).context["cl"].result_list
    assert [one.detail for one in shown] == ["of main"]
    assert len(browser.get(EVENTS).context["cl"].result_list) == 2
    assert not browser.get(EVENTS, {"q": "'; --"}).context["cl"].result_list
    assert browser.get(f"{EVENTS}add/").status_code == 403
    assert browser.post(f"{EVENTS}{shown[0].pk}/delete/", {"post": "yes"}).status_code == 403


# --- Steering --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "before", "mode"),
    [("pin", "normal", "pinned"), ("drain", "pinned", "drained"), ("resume", "drained", "normal")],
)
def test_its_mode_is_an_operators_word(browser: Client, action: str, before: str, mode: str) -> None:
    row = made(mode=before)
    untouched = row.updated_at
    asked = browser.post(LIST, {"action": f"ask_to_{action}", "_selected_action": [row.pk]}, follow=True)
    assert "main (sms" in text_of(asked) and events() == []
    done = browser.post(STEER, {"action": action, "ids": str(row.pk)}, follow=True)
    row.refresh_from_db()
    assert (row.mode, row.updated_at) == (mode, untouched)  # nothing to build anew
    kind = "resumed" if mode == "normal" else mode
    assert events() == [(kind, "", "root")] and told(done) == [f"main: {kind}."]
    again = browser.post(STEER, {"action": action, "ids": str(row.pk)}, follow=True)
    assert told(again) == ["main: nothing to do."] and len(events()) == 1


def test_lanes_that_wait_look_again(browser: Client, rung_later, django_capture_on_commit_callbacks) -> None:
    row = made(mode="drained")
    with django_capture_on_commit_callbacks(execute=True):
        browser.post(STEER, {"action": "resume", "ids": str(row.pk)})
    assert rung_later == {f"sms.{urgency}" for urgency in queues.URGENCIES}


def test_asking_tells_when_nothing_would_be_left(browser: Client) -> None:
    first, second = made(), made("second")
    made("mail", channel="email")
    warning = "No other provider of sms is left"
    assert warning not in text_of(browser.get(f"{STEER}?action=drain&ids={first.pk}"))
    assert warning in text_of(browser.get(f"{STEER}?action=drain&ids={first.pk},{second.pk}"))
    Provider.objects.filter(name="second").update(is_active=False)
    assert warning in text_of(browser.get(f"{STEER}?action=drain&ids={first.pk}"))
    assert warning not in text_of(browser.get(f"{STEER}?action=pin&ids={first.pk}"))
    assert events() == []


def test_the_breaker_is_closed_by_hand(browser: Client) -> None:
    row = made()
    opened()
    assert "Close the breaker…" in text_of(browser.get(page_of(row)))
    browser.post(STEER, {"action": "close", "ids": str(row.pk)})
    assert events()[-1] == ("closed", "by an operator", "root")
    health = ProviderHealth.objects.get()
    assert (health.factor, health.failures, health.open_seconds, health.open_until) == (100, 0, 0, None)
    assert "Close the breaker…" not in text_of(browser.get(page_of(row)))
    providers.forget()
    (account,) = providers.of_channel("sms")
    assert not account.is_open and not account.is_ailing
    assert told(browser.post(STEER, {"action": "close", "ids": str(row.pk)}, follow=True)) == [
        "main: nothing to do."
    ]


@pytest.mark.parametrize(
    "data",
    [{}, {"action": "explode", "ids": "1"}, {"action": "pin", "ids": "x"}, {"action": "pin", "ids": "99999"}],
)
def test_nonsense_steers_nothing(browser: Client, data: dict[str, str]) -> None:
    row = made()
    for response in (browser.post(STEER, data, follow=True), browser.get(STEER, data, follow=True)):
        assert told(response) == ["Nothing was done: there are no such providers."]
    row.refresh_from_db()
    assert row.mode == "normal" and events() == []


# --- A test message --------------------------------------------------------------------------------------


def test_a_test_message_is_sent_once_to_that_address(browser: Client, caplog) -> None:
    row = made(is_active=False, mode="drained")
    caplog.set_level(logging.DEBUG)
    assert Vendor.sent == [] and "really sent" in text_of(browser.get(page_of(row, "check")))
    response = browser.post(page_of(row, "check"), {"address": "+49 30 123456"}, follow=True)
    [(token, message)] = Vendor.sent
    assert (token, message.address) == (SECRET, "+4930123456") and isinstance(message, Message)
    assert message.target.int + 1 == message.attempt.int
    assert "test" in message.subject.lower() and "test message from Carillon" in message.text
    assert told(response) == ["The provider has accepted it. It calls it id-1."]
    assert events() == [("checked", "accepted", "root")]
    assert "4930123456" not in response.content.decode() and "4930123456" not in caplog.text
    assert not ProviderHealth.objects.exists() and Vendor.closed == 1


@pytest.mark.parametrize(
    ("answer", "detail", "words"),
    [
        (TemporaryFailure("unauthorized", 60), "temporary_failure, unauthorized",
         "Refused for now, for 60 s at least: unauthorized. Look at its credentials."),
        (PermanentFailure("rejected"), "permanent_failure, rejected", "Refused: rejected."),
        (PermanentFailure("x", address_is_dead=True), "permanent_failure, x",
         "Refused: x. It says that nothing will ever reach this address."),
        (UnknownOutcome("timeout"), "unknown, timeout",
         "Nobody knows how it ended: timeout. It may have been sent."),
        (ZeroDivisionError("+4930123456"), "unknown, untold",
         "Nobody knows how it ended: untold. It may have been sent."),
    ],
)  # fmt: skip
def test_how_it_ended_is_told(
    browser: Client, monkeypatch, answer: Outcome | Exception, detail: str, words: str
) -> None:
    monkeypatch.setattr(Vendor, "answer", answer)
    monkeypatch.setattr("apps.delivery.checking.GRACE", 0.2)
    row = made(options={"sender": "x", "timeout": 0.2})
    response = browser.post(page_of(row, "check"), {"address": "+4930123456"}, follow=True)
    assert told(response) == [words]
    assert events() == [("checked", detail, "root")]


def test_one_that_cannot_be_built_sends_nothing(browser: Client) -> None:
    row = made(credentials={"token": "env:NOT_THERE"})
    response = browser.post(page_of(row, "check"), {"address": "+4930123456"}, follow=True)
    assert told(response) == ["Nothing was sent. token: NOT_THERE is not in the environment."]
    assert (Vendor.sent, events()) == ([], [])


@pytest.mark.parametrize("address", ["", "0301234", "a@example.com", "+49 30 123456 7890123456"])
def test_an_address_of_another_channel_is_refused(browser: Client, address: str) -> None:
    row = made()
    response = browser.post(page_of(row, "check"), {"address": address})
    assert response.context["form"].errors["address"] and (Vendor.sent, events()) == ([], [])


def test_where_addresses_have_no_rule_they_go_as_they_are(browser: Client, monkeypatch) -> None:
    monkeypatch.setattr(Vendor, "channel", "webhook")
    row = made(channel="webhook")
    page = page_of(row, "check")
    browser.post(page, {"address": "https://example.com/hook", "secret": "whsec_abc"})
    [(_, message)] = Vendor.sent
    assert (message.address, message.secrets) == ("https://example.com/hook", ("whsec_abc",))
    again = browser.post(page, {"address": "", "secret": "whsec_abc"})
    assert "whsec_abc" not in again.content.decode() and len(Vendor.sent) == 1


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_during_the_call(browser: Client, monkeypatch) -> None:
    row = made()
    seen: list[bool] = []
    real = providers.build

    def build(account: providers.Account) -> Any:
        seen.append(requests_own.in_atomic_block)
        adapter = real(account)
        send = adapter.send

        async def sending(message: Message) -> Outcome:
            seen.append(requests_own.in_atomic_block)
            return await send(message)

        monkeypatch.setattr(adapter, "send", sending)
        return adapter

    requests_own = connections["default"]  # in the loop's thread it would be another
    monkeypatch.setattr(providers, "build", build)
    browser.post(page_of(row, "check"), {"address": "+4930123456"})
    assert seen == [False, False] and events() == [("checked", "accepted", "root")]
