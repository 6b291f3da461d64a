"""Facts about addresses: written once, found by pairs, lifted by cause, and never in each other's way."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from apps.preferences import suppression
from apps.preferences.models import Suppression
from apps.preferences.suppression import Cause, Fact
from apps.users.models import DEFAULT_ORGANIZATION_ID as OURS
from project import db
from tests.api_helpers import make_organization
from tests.support.database import capture, other_connection, until, waits_for_a_lock

pytestmark = pytest.mark.django_db
ADA = "ada@example.com"
PHONE = "+4930123456"


def fact(address: str = ADA, channel: str = "email", of: int | None = None, cause: str = "bounced") -> Fact:
    return Fact(of, channel, address, cause)


def kept() -> list[tuple[int | None, str, str, str]]:
    columns = ("organization_id", "channel", "address", "cause")
    return list(Suppression.objects.order_by("id").values_list(*columns))


# --- Writing ---------------------------------------------------------------------------------------------


def test_a_fact_is_kept_with_its_cause_and_time() -> None:
    suppression.suppress([fact(of=OURS, cause=Cause.COMPLAINED)])
    row = Suppression.objects.get()
    assert kept() == [(OURS, "email", ADA, "complained")]
    assert row.created_at is not None and str(row) == str(row.pk)


@pytest.mark.parametrize("of", [None, OURS])
def test_the_same_again_is_nothing_new_and_keeps_its_cause(of: int | None) -> None:
    suppression.suppress([fact(of=of), fact(of=of, cause=Cause.OPTED_OUT)])
    suppression.suppress([fact(of=of, cause=Cause.COMPLAINED)])
    ((*what, _),) = kept()
    assert what == [of, "email", ADA]
    assert Suppression.objects.get().cause in {"bounced", "opted_out"}


def test_organization_channel_and_address_each_make_another_fact() -> None:
    other = make_organization().pk
    facts = [fact(), fact(of=OURS), fact(of=other), fact(channel="sms"), fact("Ada@example.com")]
    suppression.suppress(facts)
    assert len(kept()) == len(facts)


def test_no_facts_are_no_statement() -> None:
    with capture() as statements:
        suppression.suppress([])
        assert suppression.among([]) == set()
    assert statements == []


@pytest.mark.parametrize("count", [1, 500])
def test_any_number_is_one_statement(count: int) -> None:
    with capture() as statements:
        suppression.suppress([fact(f"p{n}@example.com") for n in range(count)])
    assert len(statements) == 1 and len(kept()) == count


# --- Finding ---------------------------------------------------------------------------------------------


def test_what_is_suppressed_is_found_and_nothing_else() -> None:
    suppression.suppress([fact(of=OURS), fact(PHONE, "sms")])
    asked = {("email", ADA), ("sms", PHONE), ("sms", ADA), ("email", PHONE), ("email", "ben@example.com")}
    with capture() as statements:
        found = suppression.among(asked)
    assert found == {(OURS, "email", ADA), (None, "sms", PHONE)}
    assert len(statements) == 1


def test_an_address_is_found_for_all_it_is_suppressed_for() -> None:
    other = make_organization().pk
    suppression.suppress([fact(of=OURS), fact(of=other), fact()])
    assert {of for of, *_ in suppression.among([("email", ADA)])} == {OURS, other, None}


@pytest.mark.parametrize(
    "address", ['a"b@example.com', "a\\u0041@example.com", "a%_@example.com", "ü@example.com"]
)
def test_an_address_is_compared_as_it_is(address: str) -> None:
    suppression.suppress([fact(address)])
    assert suppression.among([("email", address), ("email", ADA)]) == {(None, "email", address)}


def test_it_holds_for_its_organization_or_for_all() -> None:
    found = {(None, "email", "all@example.com"), (7, "email", "seven@example.com")}
    assert suppression.holds(found, 7, "email", "all@example.com")
    assert suppression.holds(found, 7, "email", "seven@example.com")
    assert not suppression.holds(found, 8, "email", "seven@example.com")
    assert not suppression.holds(found, 7, "sms", "seven@example.com")


# --- Lifting ---------------------------------------------------------------------------------------------


def test_lifting_deletes_what_has_one_of_the_causes() -> None:
    suppression.suppress([fact(PHONE, "sms", cause=Cause.OPTED_OUT), fact(ADA, cause=Cause.BOUNCED)])
    suppression.lift("email", ADA, causes=[Cause.OPTED_OUT])
    suppression.lift("sms", PHONE, causes=[])
    assert len(kept()) == 2
    suppression.lift("sms", PHONE, causes=[Cause.OPTED_OUT, Cause.MANUAL])
    assert kept() == [(None, "email", ADA, "bounced")]


def test_lifting_is_for_every_organization_or_for_one() -> None:
    other = make_organization().pk
    suppression.suppress([fact(of=OURS), fact(of=other), fact()])
    suppression.lift("email", ADA, organization_id=other, causes=Cause.values)
    assert {of for of, *_ in kept()} == {OURS, None}
    suppression.lift("email", ADA, causes=Cause.values)
    assert kept() == []


def test_lifting_spares_every_other_address_and_channel() -> None:
    suppression.suppress([fact(), fact("b@example.com"), fact(channel="sms")])
    suppression.lift("email", ADA, causes=Cause.values)
    assert {what[1:3] for what in kept()} == {("email", "b@example.com"), ("sms", ADA)}


# --- At once ---------------------------------------------------------------------------------------------

INSERT = "INSERT INTO preferences_suppression (channel, address, cause) VALUES ('email', %s, 'bounced')"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("order", [("a@x.org", "b@x.org"), ("b@x.org", "a@x.org")])
def test_facts_are_written_in_one_order_whatever_order_they_came_in(order: tuple[str, str]) -> None:
    """Who waits for the first must not have written the second yet: two of them would deadlock."""
    pids: list[int] = []

    def write() -> None:
        pids.append(db.rows("SELECT pg_backend_pid()")[0][0])
        suppression.suppress([fact(address) for address in order])
        connection.close()

    with other_connection() as holder, other_connection() as prober:
        holder.execute(INSERT, ["a@x.org"])
        thread = threading.Thread(target=write)
        thread.start()
        until(lambda: pids and waits_for_a_lock(prober, pids[0]))
        prober.execute("SET lock_timeout = '1s'")
        prober.execute(INSERT, ["b@x.org"])  # fails if the thread has written it
        prober.rollback()
        holder.rollback()
    thread.join(10)
    assert {address for _, _, address, _ in kept()} == set(order)
