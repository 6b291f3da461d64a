"""Several providers of a channel: who gets what, what waits, and what an operator sees of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from apps.delivery import claims, dispatch, engine, providers, receipts, sweeper, watch
from apps.delivery.models import Claim, Provider, ProviderEvent, ProviderHealth
from apps.integrations.contract import (
    Accepted,
    Message,
    Outcome,
    Outcomes,
    PermanentFailure,
    ReceiptEvent,
    ReceiptKind,
    TemporaryFailure,
    UnknownOutcome,
)
from apps.notifications.statuses import Status
from apps.preferences.suppression import Fact, suppress
from project import clock, queues
from tests.support import rows
from tests.support.adapters import Script, Scripted, accepting, always
from tests.support.database import capture, move_clock
from tests.support.rows import LANE

pytestmark = pytest.mark.django_db
DOWN = always(TemporaryFailure("unavailable"))
Several = Callable[..., dict[str, Scripted]]


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> Several:
    """Providers by name, each with its script; more fields of one in a dict under its name."""

    def install(channel: str = "email", fields: Any = None, **scripts: Script) -> dict[str, Scripted]:
        adapters = {name: Scripted(script) for name, script in scripts.items()}
        for name in scripts:
            more = (fields or {}).get(name, {})
            Provider.objects.create(name=name, adapter="scripted", channel=channel, **more)
        monkeypatch.setattr(providers, "adapter_of", lambda account: adapters[account.name])
        providers.forget()
        return adapters

    return install


@pytest.fixture(autouse=True)
def no_bells(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """The lanes that are to be rung later, and when, instead of ringing any."""
    later: list[tuple[str, float]] = []
    monkeypatch.setattr(queues, "ring_after", lambda lane, seconds: later.append((lane, seconds)))
    monkeypatch.setattr(queues, "ring_now", lambda lane: True)
    for key in queues.broker().scan_iter("carillon:[lw]*"):  # limits, waiting
        queues.broker().delete(key)
    return later


def tried(target: UUID) -> list[str]:
    return [attempt["provider"] for attempt in rows.attempts([target])]


def sent(adapters: dict[str, Scripted]) -> dict[str, int]:
    return {name: len(adapter.sent) for name, adapter in adapters.items()}


def events(name: str) -> list[str]:
    found = ProviderEvent.objects.filter(provider=name).order_by("id")
    return [f"{event.kind}: {event.detail}" for event in found]


# --- Choosing --------------------------------------------------------------------------------------------


def test_a_batch_is_shared_by_weight_and_each_attempt_says_why(several) -> None:
    adapters = several(a=accepting, b=accepting, fields={"a": {"weight": 90}, "b": {"weight": 10}})
    targets = rows.queued(200)
    assert engine.work(LANE) == 200
    assert set(rows.statuses(targets)) == {"sent"}
    counts = sent(adapters)
    assert counts["a"] + counts["b"] == 200 and 140 <= counts["a"] <= 198
    why = Counter((one["provider"], one["route"]) for one in rows.attempts(targets))
    assert why == {("a", "weight 90 of 100"): counts["a"], ("b", "weight 10 of 100"): counts["b"]}
    assert not Claim.objects.exists()
    rows.assert_books_balance()
    rows.assert_shapes_hold()


def test_one_alone_says_so(several) -> None:
    several(a=accepting)
    (target,) = rows.queued()
    engine.work(LANE)
    assert [(one["provider"], one["route"]) for one in rows.attempts([target])] == [("a", "the only one")]


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({"a": {"mode": "pinned", "weight": 1}}, {"a": 20, "b": 0}),
        ({"a": {"mode": "drained"}}, {"a": 0, "b": 20}),
        ({"a": {"is_active": False}}, {"a": 0, "b": 20}),
        ({"a": {"serves": ["example.org"]}}, {"a": 0, "b": 20}),
        ({"a": {"weight": 0}}, {"a": 0, "b": 20}),
    ],
    ids=["pinned", "drained", "inactive", "serves others", "last resort"],
)
def test_an_operators_word_counts(several, fields: Any, counts: dict[str, int]) -> None:
    adapters = several(a=accepting, b=accepting, fields=fields)
    targets = rows.queued(20)
    engine.work(LANE)
    assert sent(adapters) == counts and set(rows.statuses(targets)) == {"sent"}


def test_without_an_active_one_there_is_no_route_whatever_the_settings_name(several) -> None:
    adapters = several(a=accepting, fields={"a": {"is_active": False}})
    (target,) = rows.queued()
    engine.work(LANE)
    assert (rows.statuses([target]), rows.row(target)["reason"]) == (["dead"], "no_provider")
    assert sent(adapters) == {"a": 0}


def test_what_nobody_serves_is_dead_and_its_neighbours_are_not(several) -> None:
    several(a=accepting, fields={"a": {"serves": ["example.com"]}})
    good, bad = rows.queued(2)
    rows.change([bad], address="x@example.org")
    engine.work(LANE)
    assert rows.statuses([good, bad]) == ["sent", "dead"]
    assert rows.row(bad)["reason"] == "no_provider"


def test_what_is_suppressed_or_late_is_dropped_on_this_way_too(several) -> None:
    adapters = several(a=accepting, b=accepting)
    stopped, late, good = rows.queued(3)
    rows.change([stopped], address="stop@example.com")
    rows.change([late], expires_at=clock.now())
    suppress([Fact(None, "email", "stop@example.com", "manual")])
    assert engine.work(LANE) == 3
    assert rows.statuses([stopped, late, good]) == ["skipped", "expired", "sent"]
    assert not Claim.objects.exists()
    assert sum(sent(adapters).values()) == 1


def test_what_it_cost_is_kept_with_what_was_accepted_only(several) -> None:
    several(a=always(Accepted("x")), fields={"a": {"cost": Decimal("0.0008")}})
    (target,) = rows.queued()
    engine.work(LANE)
    assert rows.attempts([target])[0]["cost"] == Decimal("0.0008")
    Provider.objects.all().delete()
    several(b=DOWN, fields={"b": {"cost": Decimal(1)}})
    (target,) = rows.queued()
    engine.work(LANE)
    assert rows.attempts([target])[0]["cost"] is None


def test_a_hung_provider_does_not_hold_what_went_by_the_other(several, monkeypatch, settings) -> None:
    settings.CLAIM_MARGIN = 0.2

    async def hanging(messages: Sequence[Message]) -> AsyncIterator[Outcomes]:
        await asyncio.sleep(60)
        yield []

    adapters = several(a=hanging, b=accepting)
    adapters["a"].timeout = 0.2
    settled: list[set[str]] = []
    real = engine._Flight.give_up

    def give_up(flight: Any) -> None:
        settled.append(set(rows.statuses(targets)))
        real(flight)

    monkeypatch.setattr(engine._Flight, "give_up", give_up)
    targets = rows.queued(40)
    engine.work(LANE)
    assert settled == [{"sent", "sending"}]  # when the time of the one was up, the other's were settled
    assert Counter(rows.statuses(targets)) == {
        "unknown": len(adapters["a"].sent), "sent": len(adapters["b"].sent)
    }  # fmt: skip


# --- Failing over ----------------------------------------------------------------------------------------


def test_a_temporary_failure_goes_to_the_next_one_at_once(several) -> None:
    several(a=DOWN, b=accepting, fields={"a": {"mode": "pinned"}})
    (target,) = rows.queued()
    engine.work(LANE)
    assert rows.attempted(target) == ("retrying", "unavailable", "temporary_failure", "unavailable")
    move_clock(1)
    engine.work(LANE)
    assert rows.statuses([target]) == ["sent"]
    first, second = rows.attempts([target])
    assert (first["provider"], second["provider"]) == ("a", "b")
    assert second["route"] == "failover, the only one"


def test_the_next_one_does_not_wait_for_the_sweeper(several, monkeypatch) -> None:
    rung: list[str] = []
    monkeypatch.setattr(queues, "ring_now", rung.append)
    several(a=DOWN, b=DOWN, fields={"a": {"mode": "pinned"}})
    rows.queued()
    engine.work(LANE)
    assert rung == [LANE]
    move_clock(1)
    engine.work(LANE)  # and all had it
    assert rung == [LANE]


def test_when_all_had_it_it_waits_and_then_any_may_have_it_again(several) -> None:
    several(a=DOWN, b=DOWN)
    (target,) = rows.queued()
    engine.work(LANE)
    move_clock(1)
    engine.work(LANE)
    assert sorted(tried(target)) == ["a", "b"]
    assert rows.row(target)["next_attempt_at"] > clock.now()
    assert engine.work(LANE) == 0
    move_clock(20)
    providers.forget()
    assert engine.work(LANE) == 1
    assert len(tried(target)) == 3


def test_every_provider_tried_counts_as_an_attempt(several) -> None:
    several(a=DOWN, b=DOWN)
    (target,) = rows.queued(attempts_allowed=2)
    engine.work(LANE)
    move_clock(1)
    engine.work(LANE)
    assert (rows.statuses([target]), rows.row(target)["reason"]) == (["dead"], "attempts_used_up")


@pytest.mark.parametrize(
    ("outcome", "status"),
    [(UnknownOutcome("timeout"), "unknown"), (PermanentFailure("rejected"), "failed")],
)
def test_what_may_have_been_sent_and_what_never_will_be_is_not_given_to_another(
    several, outcome: Outcome, status: str
) -> None:
    adapters = several(a=always(outcome), b=accepting, fields={"a": {"mode": "pinned"}})
    (target,) = rows.queued()
    engine.work(LANE)
    assert engine.work(LANE) == 0
    assert rows.statuses([target]) == [status] and sent(adapters) == {"a": 1, "b": 0}


def test_one_that_serves_only_others_is_no_spare(several) -> None:
    several(a=DOWN, b=accepting, fields={"b": {"serves": ["example.org"]}})
    (target,) = rows.queued()
    engine.work(LANE)
    assert rows.row(target)["next_attempt_at"] > clock.now()
    assert engine.work(LANE) == 0


# --- The breaker -----------------------------------------------------------------------------------------


def opened(name: str = "a", *, seconds: float = 30.0) -> None:
    """Its breaker has just opened."""
    watch._note(name, watch.Tally(bad=1, stopping=True, code="unauthorized"), clock.now())
    providers.forget()
    assert ProviderHealth.objects.get(provider=name).open_seconds == seconds


def test_a_provider_that_fails_gets_less_and_then_nothing(several) -> None:
    adapters = several(a=DOWN, b=accepting, fields={"a": {"mode": "pinned"}})
    for _ in range(3):
        rows.queued(1)
        engine.work(LANE)
    before = sent(adapters)
    targets = rows.queued(10)
    engine.work(LANE)
    engine.work(LANE)
    assert set(rows.statuses(targets)) == {"sent"}
    assert sent(adapters)["a"] == before["a"]
    assert events("a") == ["lowered: to 75 %: unavailable", "opened: unavailable; for 30 s"]
    assert events("b") == []


def test_wrong_credentials_stop_the_provider_at_once_and_not_the_worker(several, caplog) -> None:
    adapters = several(a=always(TemporaryFailure("unauthorized", 60)), b=accepting)
    Provider.objects.filter(name="a").update(mode="pinned")
    providers.forget()
    targets = rows.queued(3)
    engine.work(LANE)
    move_clock(1)
    engine.work(LANE)
    assert set(rows.statuses(targets)) == {"sent"} and sent(adapters) == {"a": 3, "b": 3}
    assert any(record.levelname == "ERROR" and record.provider == "a" for record in caplog.records)


def test_with_no_other_the_lane_waits_and_says_why_and_no_attempt_is_used(several, no_bells) -> None:
    adapters = several(a=accepting)
    opened()
    (target,) = rows.queued()
    assert engine.work(LANE) == 0
    assert rows.row(target)["attempts"] == 0 and rows.statuses([target]) == ["queued"]
    assert sent(adapters) == {"a": 0} and not Claim.objects.exists()
    assert queues.waiting([LANE, "email.high"]) == {LANE: "provider_down"}
    [(lane, seconds)] = no_bells
    assert lane == LANE and 25 < seconds <= 30


def test_after_its_time_one_message_tries_it_and_closes_it(several) -> None:
    adapters = several(a=accepting)
    opened()
    targets = rows.queued(5)
    move_clock(31)
    providers.forget()
    assert engine.work(LANE) == 1
    assert sent(adapters) == {"a": 1}
    assert [one["route"] for one in rows.attempts(targets)] == ["probe"]
    assert engine.work(LANE) == 4
    assert set(rows.statuses(targets)) == {"sent"}
    assert events("a")[-1] == "closed: a message came through"


def test_a_probe_that_fails_opens_it_again_for_longer(several) -> None:
    several(a=DOWN)
    opened()
    rows.queued(5)
    move_clock(31)
    providers.forget()
    assert engine.work(LANE) == 1
    assert engine.work(LANE) == 0
    assert events("a")[-1] == "opened: unavailable; for 60 s"


def test_beside_a_healthy_one_a_probe_gets_one_message_of_the_batch(several) -> None:
    adapters = several(a=accepting, b=accepting)
    opened()
    rows.queued(10)
    move_clock(31)
    providers.forget()
    assert engine.work(LANE) == 10
    assert sent(adapters) == {"a": 1, "b": 9}


@pytest.mark.parametrize("alone", [True, False])
def test_one_that_is_drained_is_not_even_tried(several, no_bells, alone: bool) -> None:
    adapters = several(a=accepting) if alone else several(a=accepting, b=accepting)
    opened()
    Provider.objects.filter(name="a").update(mode="drained")
    targets = rows.queued(5)
    move_clock(31)
    providers.forget()
    assert engine.work(LANE) == (0 if alone else 5)
    assert sent(adapters)["a"] == 0
    assert set(rows.statuses(targets)) == ({"queued"} if alone else {"sent"})
    assert no_bells == ([(LANE, dispatch.LONGEST_PAUSE)] if alone else [])
    Provider.objects.filter(name="a").update(mode="normal")
    rows.queued(1)
    providers.forget()
    engine.work(LANE)
    assert sent(adapters)["a"] == 1  # nobody holds its probe


def test_one_probe_at_a_time_and_none_is_kept_without_a_message(several) -> None:
    several(a=accepting)
    opened()
    move_clock(31)
    providers.forget()
    (account,) = providers.of_channel("email")
    assert watch.begin_probe(account)
    assert not watch.begin_probe(account)
    watch.end_probe("a")
    assert engine.work(LANE) == 0  # nothing there to try it with
    assert watch.begin_probe(account)


def test_what_only_an_open_one_serves_waits_and_its_neighbours_do_not(several) -> None:
    adapters = several(a=accepting, b=accepting, fields={"b": {"serves": ["example.org"]}})
    opened()
    waits, goes = rows.queued(2)
    rows.change([goes], address="x@example.org")
    assert engine.work(LANE) == 2
    assert rows.statuses([waits, goes]) == ["queued", "sent"]
    assert rows.row(waits)["reason"] == "provider_down" and rows.row(waits)["attempts"] == 0
    assert rows.row(waits)["next_attempt_at"] > clock.now()
    assert sent(adapters) == {"a": 0, "b": 1}


def test_one_that_cannot_be_built_is_told_of_and_the_others_go_on(several, monkeypatch) -> None:
    adapters = several(a=accepting, b=accepting)

    def adapter_of(account: providers.Account) -> Scripted:
        if account.name == "a":
            raise providers.CannotBuild("api_key: MAIL_KEY is not in the environment.")
        return adapters[account.name]

    monkeypatch.setattr(providers, "adapter_of", adapter_of)
    targets = rows.queued(3)
    engine.work(LANE)
    assert set(rows.statuses(targets)) == {"sent"} and sent(adapters) == {"a": 0, "b": 3}
    assert "cannot be built: api_key: MAIL_KEY is not in the environment." in events("a")[-1]


def test_one_that_is_taken_away_after_the_claim_leaves_its_messages_to_the_others(
    several, monkeypatch
) -> None:
    adapters = several(a=accepting, b=accepting, fields={"a": {"mode": "pinned"}})
    take = dispatch.take

    def taken(lane: str) -> Any:
        batch = take(lane)
        Provider.objects.filter(name="a").update(is_active=False)
        providers.forget()
        return batch

    monkeypatch.setattr(dispatch, "take", taken)
    (target,) = rows.queued()
    engine.work(LANE)
    assert rows.statuses([target]) == ["queued"] and rows.row(target)["attempts"] == 0
    engine.work(LANE)
    assert rows.statuses([target]) == ["sent"] and sent(adapters) == {"a": 0, "b": 1}


def test_one_that_is_changed_while_its_messages_are_in_the_air_is_not_closed(monkeypatch) -> None:
    built: list[Scripted] = []
    closed: list[Scripted] = []

    async def slowly(messages: Sequence[Message]) -> AsyncIterator[Outcomes]:
        await asyncio.sleep(0.3)
        cut = bool(closed)
        yield [(one, UnknownOutcome("disconnected") if cut else Accepted("x")) for one in messages]

    class Closing(Scripted):
        async def close(self) -> None:
            closed.append(self)

    def build(account: providers.Account) -> Scripted:
        if account.name == "b":
            return Scripted(DOWN)
        built.append(Closing(slowly))
        return built[-1]

    start = claims.start

    def change(*arguments: Any) -> Any:
        started = start(*arguments)
        Provider.objects.filter(name="a").update(updated_at=clock.now() + timedelta(seconds=len(built)))
        providers.forget()
        return started

    monkeypatch.setattr(providers, "build", build)
    monkeypatch.setattr(providers, "_adapters", {})
    Provider.objects.create(name="a", adapter="scripted", channel="email")
    Provider.objects.create(name="b", adapter="scripted", channel="email", mode="pinned")
    (had,) = rows.queued()
    engine.work(LANE)
    Provider.objects.filter(name="b").update(mode="drained")
    providers.forget()
    move_clock(1)
    (fresh,) = rows.queued()
    monkeypatch.setattr(claims, "start", change)
    engine.work(LANE)
    by_a = {one["route"] for one in rows.attempts([had, fresh]) if one["provider"] == "a"}
    assert by_a == {"failover, the only one", "the only one"}
    assert rows.statuses([had, fresh]) == ["sent", "sent"] and closed == []
    assert sum(len(one.sent) for one in built) == 2


def test_webhooks_have_no_breaker(several) -> None:
    adapters = several(a=DOWN)
    adapters["a"].is_one_service = False  # type: ignore[misc]
    for _ in range(5):
        rows.queued(1)
        engine.work(LANE)
    assert events("a") == [] and sent(adapters) == {"a": 5}


# --- Limits ----------------------------------------------------------------------------------------------


def test_beyond_its_limit_messages_wait_without_an_attempt(several, no_bells) -> None:
    adapters = several(a=accepting, fields={"a": {"per_hour": 100}})  # ten at once
    targets = rows.queued(30)
    assert engine.work(LANE) == 8  # a fifth is kept
    assert engine.work(LANE) == 0
    assert Counter(rows.statuses(targets)) == {"sent": 8, "queued": 22}
    assert {rows.row(target)["attempts"] for target in targets} == {0, 1}
    assert queues.waiting([LANE]) == {LANE: "rate_limited"}
    [(lane, seconds)] = no_bells
    assert lane == LANE and 30 < seconds <= 60
    assert sent(adapters) == {"a": 8}


def test_what_is_critical_may_have_the_last_fifth(several) -> None:
    adapters = several(a=accepting, fields={"a": {"per_hour": 100}})
    rows.queued(30)
    engine.work(LANE)
    rows.queued(5, lane="email.critical")
    assert engine.work("email.critical") == 2
    assert sent(adapters) == {"a": 10}


def test_what_one_may_not_take_any_more_goes_by_the_other(several) -> None:
    adapters = several(a=accepting, b=accepting, fields={"a": {"per_hour": 100, "mode": "pinned"}})
    targets = rows.queued(30)
    engine.work(LANE)
    engine.work(LANE)
    assert set(rows.statuses(targets)) == {"sent"} and sent(adapters) == {"a": 8, "b": 22}


def test_tokens_of_messages_that_were_not_there_are_given_back(several) -> None:
    several(a=accepting, fields={"a": {"per_hour": 1_000}})
    rows.queued(3)
    for _ in range(20):
        engine.work(LANE)
    targets = rows.queued(70)
    assert engine.work(LANE) >= 70
    assert set(rows.statuses(targets)) == {"sent"}


# --- And the rest ----------------------------------------------------------------------------------------


def test_a_worker_that_dies_leaves_each_claim_to_the_sweeper(several) -> None:
    several(a=accepting, b=accepting)
    targets = rows.queued(40)
    batch = dispatch.take(LANE)
    assert {claim.provider for claim in batch.claims} == {"a", "b"}
    move_clock(61)
    assert sum(sweeper.rescue_leases(1) for _ in range(3)) == 2
    assert set(rows.statuses(targets)) == {"queued"} and not Claim.objects.exists()


@pytest.mark.parametrize("count", [2, 200])
def test_a_routed_batch_costs_the_same_whatever_its_size(several, count: int) -> None:
    """Rows, suppression, their claims, the two claims; then per claim its start, settle and end."""
    several(a=accepting, b=accepting)
    Provider.objects.filter(name="b").update(mode="drained")
    providers.forget()
    providers.of_channel("email")
    providers._known.until = float("inf")
    rows.queued(count)
    with capture() as statements:
        dispatch.take(LANE)
    assert len(statements) == 4


def test_what_is_suppressed_is_asked_once_for_all_providers(several) -> None:
    several(a=accepting, b=accepting)
    rows.queued(40)
    with capture() as statements:
        batch = dispatch.take(LANE)
    assert len(batch.claims) == 2
    assert sum("preferences_suppression" in statement for statement in statements) == 1


def test_who_had_it_costs_one_statement_more(several) -> None:
    several(a=accepting, b=accepting)
    rows.targets(rows.notification(), Status.RETRYING, 50)
    providers.of_channel("email")
    providers._known.until = float("inf")
    with capture() as statements:
        dispatch.take(LANE)
    assert sum("deliveryattempt" in statement for statement in statements) == 1


# --- Slow receipts ---------------------------------------------------------------------------------------


def delivered(count: int, seconds: float) -> None:
    """So many receipts of deliveries that took so long, applied."""
    targets = rows.targets(rows.notification(), Status.SENT, count)
    at = rows.row(targets[0])["sent_at"] + timedelta(seconds=seconds)
    receipts.store(
        "a",
        [
            ReceiptEvent(event_id=str(id), kind=ReceiptKind.DELIVERED, target=id, occurred_at=at)
            for id in targets
        ],
    )
    receipts.apply(500)


def test_slow_receipts_lower_a_providers_share(several) -> None:
    several(a=accepting, b=accepting)
    delivered(10, 300)
    assert events("a") == ["lowered: to 75 %: slow receipts"] and events("b") == []
    assert {one.name: one.factor for one in providers.of_channel("email")} == {"a": 75, "b": 100}


def test_receipts_in_time_change_nothing_and_cost_nothing(several) -> None:
    several(a=accepting)
    providers.of_channel("email")
    with capture() as statements:
        delivered(10, 200)
    assert events("a") == [] and not any("providerhealth SET" in one for one in statements)
