"""`manage.py provider`: for scripts, with the same rules as the form's."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.core.management.base import CommandError

from apps.delivery import accounts, providers, watch
from apps.delivery.health import Tally
from apps.delivery.models import Provider, ProviderEvent
from project import clock, queues, sealing
from tests.support.database import move_clock
from tests.support.vendor import Vendor

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("vendor")]
SECRET = "s3cr3t-value"
BASE = ("main", "vendor", "sender=+15005550006", f"token={SECRET}")


@pytest.fixture(autouse=True)
def no_bells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "ring_after", lambda lane, seconds: None)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What it prints."""
    call_command("provider", *words)
    printed = capsys.readouterr()
    assert SECRET not in printed.out + printed.err
    return printed.out.strip()


def refused(*words: str) -> str:
    """Why it is refused; nothing is written."""
    before = list(Provider.objects.values())
    with pytest.raises(CommandError) as error:
        call_command("provider", *words)
    assert list(Provider.objects.values()) == before and SECRET not in str(error.value)
    return str(error.value)


def test_it_makes_one_with_all_that_is_given(capsys) -> None:
    words = (
        "main", "vendor", "--weight", "90", "sender=12345", "--per-second", "10", "--per-day", "1000",
        "is_test=true", "timeout=2.5", "--serves", "de, +43", f"token={SECRET}", "--cost", "0.0075",
        "--mode", "drained", "--inactive", "batch_size=4",
    )  # fmt: skip
    assert run(capsys, *words) == "main: saved."
    row = Provider.objects.get()
    assert (row.name, row.adapter, row.channel, row.weight) == ("main", "vendor", "sms", 90)
    assert row.options == {"sender": "12345", "is_test": True, "timeout": 2.5, "batch_size": 4}
    assert sealing.unseal(row.credentials["token"]) == SECRET
    limits = (row.per_second, row.per_minute, row.per_hour, row.per_day)
    assert limits == (10, None, None, 1000) and row.cost == Decimal("0.0075")
    assert (row.serves, row.mode, row.is_active) == (["DE", "+43"], "drained", False)
    assert Vendor.sent == []


def test_a_second_time_it_changes_nothing(capsys) -> None:
    words = (*BASE, "--serves", "de", "--cost", "0.5", "--mode", "pinned", "timeout=3")
    run(capsys, *words)
    before = Provider.objects.values().get()
    move_clock(5)
    assert run(capsys, *words) == "main: unchanged."
    assert Provider.objects.values().get() == before
    assert not ProviderEvent.objects.exists()


def test_what_is_not_given_stays(capsys) -> None:
    run(capsys, *BASE, "--weight", "5", "--per-second", "9", "--serves", "DE")
    before = Provider.objects.get()
    move_clock(5)
    assert run(capsys, "main", "vendor", "timeout=3") == "main: saved."
    row = Provider.objects.get()
    assert (row.weight, row.per_second, row.serves) == (5, 9, ["DE"])
    assert row.options == {"sender": "+15005550006", "timeout": 3} and row.credentials == before.credentials
    assert row.updated_at > before.updated_at


def test_what_was_given_can_be_taken_away(capsys) -> None:
    run(
        capsys,
        *BASE,
        "timeout=3",
        "spare_token=x",
        "--per-second",
        "9",
        "--cost",
        "1",
        "--serves",
        "DE",
        "--inactive",
    )
    run(capsys, "main", "--per-second", "none", "--cost", "none", "--serves", "", "--active")
    run(capsys, "main", "vendor", "timeout=", "spare_token=")
    row = Provider.objects.get()
    assert (row.per_second, row.cost, row.serves, row.is_active) == (None, None, [], True)
    assert row.options == {"sender": "+15005550006"} and list(row.credentials) == ["token"]


def test_a_secret_of_the_environment_is_named_only(capsys, monkeypatch) -> None:
    monkeypatch.setenv("VENDOR_TOKEN", SECRET)
    run(capsys, *BASE[:3], "token=env:VENDOR_TOKEN")
    assert Provider.objects.get().credentials == {"token": "env:VENDOR_TOKEN"}


def test_a_new_secret_replaces_the_old_one(capsys) -> None:
    run(capsys, *BASE)
    assert run(capsys, "main", "vendor", "token=another") == "main: saved."
    assert sealing.unseal(Provider.objects.get().credentials["token"]) == "another"


def test_a_mode_is_an_event_and_needs_no_building(capsys) -> None:
    run(capsys, *BASE)
    Provider.objects.update(credentials={"token": "env:NOT_THERE"})
    before = Provider.objects.get()
    assert run(capsys, "main", "--mode", "drained") == "main: saved."
    row = Provider.objects.get()
    assert (row.mode, row.updated_at) == ("drained", before.updated_at)
    [event] = ProviderEvent.objects.all()
    assert (event.provider, event.kind, event.detail, event.user) == (
        "main",
        "drained",
        "by the command",
        None,
    )


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("main",), "Which adapter? There are "),
        (("main", "nonsense"), "Which adapter? There are "),
        (BASE[:2], "token: it is needed.|sender: it is needed."),
        (BASE[:3], "token: it is needed."),
        ((*BASE, "colour=red"), "colour: vendor takes, each as name=value: token (needed), "),
        ((*BASE, "colour"), "colour: vendor takes"),
        ((*BASE, "is_test=yes"), "is_test: true or false is wanted."),
        ((*BASE, "batch_size=1.5"), "batch_size: a whole number is wanted."),
        ((*BASE, "timeout=NaN"), "timeout: it has something in it that cannot be kept."),
        ((*BASE[:3], "token=env:NOT_THERE"), "token: NOT_THERE is not in the environment."),
        ((*BASE[:3], "token=env:"), "token: After env: comes the name of a variable, and nothing else."),
        ((*BASE[:3], f"token=bad {SECRET}"), "Its arguments are not accepted (KeyError)."),
        ((*BASE, f"signing_key={SECRET}"), "region missing."),
        ((*BASE, "--serves", "Germany"), "serves: Germany: a country has two letters"),
        ((*BASE, "--per-second", "0"), "per_second: At least 1; empty for none."),
        ((*BASE, "--weight", "-1"), "weight: "),
        ((*BASE, "--cost", "NaN"), "cost: "),
        (("a/b", *BASE[1:]), "name: "),
        ((*BASE, "--per-second", "many"), "'many' is no number, and not none"),
        ((*BASE, "--mode", "asleep"), "invalid choice: 'asleep'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(words: tuple[str, ...], why: str) -> None:
    told = refused(*words).replace("\n", "|")
    assert why in told


def test_a_name_stays_with_its_adapter(capsys) -> None:
    run(capsys, *BASE)
    assert refused("main", "smtp", "host=h") == "main is one of vendor: one of smtp needs another name."


def test_without_a_name_it_lists_them(capsys) -> None:
    run(capsys, *BASE, "--per-second", "10")
    run(capsys, "other", *BASE[1:], "--inactive", "--mode", "drained")
    watch._note("main", Tally(bad=1, stopping=True, code="unauthorized"), clock.now())
    head, first, second = run(capsys).splitlines()
    assert head.split()[:7] == ["name", "adapter", "channel", "active", "mode", "weight", "breaker"]
    assert first.startswith("main   vendor   sms      yes     normal   100 × 75 %  open for ")
    assert first.endswith("opened: unauthorized; for 30 s") and " 10/s " in first
    assert second.split() == ["other", "vendor", "sms", "no", "drained", "100", "closed", "–", "–"]


def test_what_it_made_is_what_the_engine_uses(capsys) -> None:
    run(capsys, *BASE, "timeout=3")
    providers.forget()
    (account,) = providers.of_channel("sms")
    adapter: Any = providers.adapter_of(account)
    assert (adapter.token, adapter.timeout) == (SECRET, 3)


# --- A new key -------------------------------------------------------------------------------------------

OLD, NEW, LOST = (Fernet.generate_key().decode() for _ in range(3))


def test_credentials_are_sealed_anew_in_batches(settings, monkeypatch) -> None:
    monkeypatch.setenv("VENDOR_TOKEN", SECRET)
    settings.ENCRYPTION_KEYS = [LOST]
    lost = sealing.seal("lost")
    settings.ENCRYPTION_KEYS = [OLD]
    for number in range(5):
        credentials = {"token": sealing.seal(SECRET), "spare_token": "env:VENDOR_TOKEN", "lost": lost}
        Provider.objects.create(name=f"p{number}", adapter="vendor", channel="sms", credentials=credentials)
    before = Provider.objects.values_list("updated_at", flat=True).order_by("id")[0]
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    fresh = Provider.objects.create(
        name="fresh", adapter="vendor", channel="sms", credentials={"token": sealing.seal("x")}
    )
    assert [accounts.reseal_credentials(2) for _ in range(4)] == [2, 2, 1, 0]
    settings.ENCRYPTION_KEYS = [NEW]
    for row in Provider.objects.exclude(name="fresh"):
        assert sealing.unseal(row.credentials["token"]) == SECRET
        assert (row.credentials["spare_token"], row.credentials["lost"]) == ("env:VENDOR_TOKEN", lost)
    assert Provider.objects.order_by("id")[0].updated_at == before
    assert Provider.objects.get(name="fresh").credentials == fresh.credentials


def test_what_was_changed_meanwhile_is_left_to_the_next_batch(settings, monkeypatch) -> None:
    settings.ENCRYPTION_KEYS = [OLD]
    row = Provider.objects.create(
        name="p", adapter="vendor", channel="sms", credentials={"token": sealing.seal("old")}
    )
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    real = sealing.resealed

    def resealed(sealed: str) -> str:
        Provider.objects.update(credentials={"token": sealing.seal("new")})
        return real(sealed)

    monkeypatch.setattr(sealing, "resealed", resealed)
    assert accounts.reseal_credentials(10) == 0
    row.refresh_from_db()
    assert sealing.unseal(row.credentials["token"]) == "new"
