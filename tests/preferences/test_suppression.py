"""Facts about addresses: written once, found by pairs, lifted by cause, and never in each other's way."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from django.db import connection

from apps.preferences import suppression
from apps.preferences.models import Suppression
from apps.preferences.suppression import Cause, Fact
from apps.users.models import DEFAULT_ORGANIZATION_ID as OURS
from project import clock, db
from tests.api_helpers import make_organization
from tests.support.database import capture, move_clock, other_connection, waits_for_a_lock
from tests.support.database import until as wait_until

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


# --- For a time ------------------------------------------------------------------------------------------


def until(days: float) -> datetime:
    return clock.now() + timedelta(days=days)


def test_it_holds_until_its_time_and_no_longer() -> None:
    suppression.suppress([replace(fact(), until=until(1)), fact("b@example.com")])
    asked = [("email", ADA), ("email", "b@example.com")]
    assert len(suppression.among(asked)) == 2
    move_clock(86_399)
    assert len(suppression.among(asked)) == 2
    move_clock(86_401)
    assert suppression.among(asked) == {(None, "email", "b@example.com")}


@pytest.mark.parametrize(
    ("known", "told", "stands"),
    [
        (None, None, "known"),
        (None, 1, "known"),
        (1, 1, "known"),
        (2, 1, "known"),
        (1, 2, "told"),
        (1, None, "told"),
        (-1, 1, "told"),
        (-1, None, "told"),
    ],
)
def test_what_holds_longer_stands_with_all_that_is_known_of_it(
    known: float | None, told: float | None, stands: str
) -> None:
    ends = {name: None if days is None else until(days) for name, days in (("known", known), ("told", told))}
    suppression.suppress([replace(fact(cause="manual"), until=ends["known"], note="known", client_id=1)])
    Suppression.objects.update(created_by_id=5, created_at=until(-3))
    learned = replace(fact(cause="bounced"), until=ends["told"], note="told", client_id=2)
    assert suppression.suppress([learned]) == (stands == "told")
    row = Suppression.objects.get()
    assert (row.note, row.until) == (stands, ends[stands])
    is_new = (row.cause, row.client_id, row.created_by_id, row.created_at) == (
        "bounced",
        2,
        None,
        clock.now(),
    )
    assert is_new == (stands == "told")
    assert row.cause == ("bounced" if is_new else "manual")


def test_of_several_told_at_once_the_one_that_holds_longest_is_kept() -> None:
    facts = [replace(fact(of=OURS), until=until(days), note=str(days)) for days in (1, 3, 2)]
    assert suppression.suppress([*facts, fact()]) == 2
    assert set(Suppression.objects.values_list("note", flat=True)) == {"3", ""}
    assert suppression.suppress([*facts, fact(of=OURS, cause="invalid")]) == 1
    assert {row.until for row in Suppression.objects.all()} == {None}


def test_what_an_older_version_writes_holds_for_good() -> None:
    db.execute(
        "INSERT INTO preferences_suppression (organization_id, channel, address, cause)"
        " VALUES (NULL, 'email', %s, 'bounced') ON CONFLICT DO NOTHING",
        [ADA],
    )
    row = Suppression.objects.get()
    assert (row.until, row.note, row.created_by_id, row.client_id) == (None, "", None, None)
    assert suppression.among([("email", ADA)]) == {(None, "email", ADA)}


def test_what_is_over_is_forgotten_and_nothing_else() -> None:
    ends = {"over": until(-1), "now": until(0), "later": until(1), "never": None}
    suppression.suppress([replace(fact(name), until=end) for name, end in ends.items()])
    assert suppression.forget_over(1) == 1
    assert {address for _, _, address, _ in kept()} == {"now", "later", "never"}
    assert suppression.forget_over(10) == 1
    assert suppression.forget_over(10) == 0
    assert {address for _, _, address, _ in kept()} == {"later", "never"}


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
        wait_until(lambda: pids and waits_for_a_lock(prober, pids[0]))
        prober.execute("SET lock_timeout = '1s'")
        prober.execute(INSERT, ["b@x.org"])  # fails if the thread has written it
        prober.rollback()
        holder.rollback()
    thread.join(10)
    assert {address for _, _, address, _ in kept()} == set(order)
