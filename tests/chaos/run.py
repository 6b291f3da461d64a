"""One run: let faults rain on what has started, heal, wait for quiet, hold all books against each other."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from uuid import UUID

from apps.integrations.http import MISCONFIGURED_WAIT
from project import loop
from tests.chaos import evidence, excuses, observe, people, simulator
from tests.chaos.choices import Choices
from tests.chaos.client import Client
from tests.chaos.evidence import Asked, Evidence, Probe
from tests.chaos.excuses import Hit
from tests.chaos.fault import Fault
from tests.chaos.faults import FAULTS
from tests.chaos.plan import PROFILES, PROVIDERS, Planned
from tests.chaos.probes import Probes
from tests.chaos.sockets import Sockets
from tests.chaos.stage import GRACE, LEASE, RETRY_CAP, SWEEP, TIMEOUT, Stage
from tests.chaos.traffic import Traffic

LOOK_EVERY = 0.1  # seconds
PATIENCE = 60.0  # seconds for the traffic to catch up when everything works
MARGIN = 20.0  # seconds a busy machine may take beyond what waits add up to
# From the last heal and the last POST until everything is settled: a claim is lost, its grace runs out, it is
# repeated after the longest wait, and that call times out. Or a provider refused our credentials while there
# was no other.
SETTLED_WITHIN = LEASE + SWEEP + GRACE + RETRY_CAP * 1.25 + TIMEOUT + MARGIN + MISCONFIGURED_WAIT
REPORTED = ("sms", "email")  # channels whose providers send receipts, round by round
# The shares of all targets that come at once, by the bulk lanes: while faults rain, and in the calms.
IN_ROUNDS, IN_CALMS = 0.25, 0.25
_HEADS = "SELECT user_id, head FROM notifications_inboxstate"
TWO_TABS = 6  # of those who listen: the second one only looks on


@dataclass
class Outcome:
    """How one fault went. Times are seconds since 1970."""

    planned: Planned
    fault: Fault
    began: float
    healed: float = 0.0
    recovering: Future[float | None] | None = None

    @property
    def recovery(self) -> float | None:
        """Seconds until what it hit worked again; None if it did not."""
        return self.recovering.result() if self.recovering is not None and self.recovering.done() else None


class Run:
    """A run on a stage that has started."""

    def __init__(self, stage: Stage, key: str, chance: random.Random) -> None:
        self.stage, self.chance = stage, chance
        self.client = Client(stage.api_url, key)
        self.people = loop.run(people.make(self.client)).result()
        people.settle_in(self.people, stage)
        self.sockets = Sockets(f"http://127.0.0.1:{stage.socket_port}", self.client, chance)
        self.probes = Probes(self.client, self.sockets, self.people)
        self.choices = Choices(self.client, self.people.choosing, chance)
        self.traffic = Traffic(self.client, self.people, self.choices, chance)
        self.watch = observe.Watch(stage.connection)
        self.outcomes: list[Outcome] = []
        self.quiet_after: float | None = None

    def play(self, rounds: list[list[Planned]], profile: str, deliveries: int) -> None:
        """Traffic, faults and calms, until everything is healed and has had time to settle."""
        pace = PROFILES[profile]
        for user_id in self.people.listening:
            loop.run(self.sockets.come_and_go(user_id, changes=True))
        for user_id in self.people.listening[:TWO_TABS]:
            loop.run(self.sockets.come_and_go(user_id, changes=False))
        critical = loop.run(self.probes.keep_critical())
        changes = loop.run(self.traffic.change_devices())
        told = loop.run(self.traffic.tell_choosing())
        choices = loop.run(self.choices.keep_changing())
        for number, planned in enumerate(rounds, 1):
            due = deliveries * number // len(rounds)
            at_once = loop.run(self.traffic.burst(int(deliveries * IN_ROUNDS / len(rounds))))
            steady = due - self.made - int(deliveries * (IN_ROUNDS + IN_CALMS) / len(rounds))
            flow = loop.run(self.traffic.flow(steady, pace.in_round * pace.between))
            self._let_report(REPORTED[number % len(REPORTED)])
            self._round(planned)
            self._finish(at_once)
            self._finish(flow)
            burst = loop.run(self.traffic.burst(due - self.made))
            self._until(lambda: False, pace.calm)
            self._finish(burst)
        for endless in (critical, changes, told):
            if not endless.cancel():
                endless.result()  # raises what ended it
        self.choices.stop()
        self._finish(choices)
        self._settle()

    @property
    def made(self) -> int:
        return self.traffic.made + sum(self.probes.sent.values())

    def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Supervise until the condition holds; False if it does not in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            self.stage.tick()
            self.watch.look()
            time.sleep(LOOK_EVERY)
        return True

    def _let_report(self, channel: str) -> None:
        simulator.let_report(self.stage, channel)
        self.probes.reporting = channel

    def _finish(self, work: Future[None]) -> None:
        """Supervise until the traffic is through. Raises what it raised."""
        if self._until(work.done, PATIENCE):
            work.result()
        else:
            self.traffic.wrong.append(f"requests have no definite answer after {PATIENCE:.0f} s")

    def _round(self, planned: list[Planned]) -> None:
        began = time.monotonic()
        waiting, on = sorted(planned, key=lambda one: one.at), list[Outcome]()
        while waiting or on:
            now = time.monotonic() - began
            while waiting and waiting[0].at <= now:
                on.append(self._begin(waiting.pop(0)))
            for outcome in [one for one in on if time.time() - one.began >= one.fault.seconds]:
                self._heal(outcome)
                on.remove(outcome)
            self._until(lambda: False, LOOK_EVERY)
        recovering = [one.recovering for one in self.outcomes[-len(planned) :] if one.recovering]
        self._until(lambda: all(future.done() for future in recovering), 90)

    def _begin(self, planned: Planned) -> Outcome:
        fault = FAULTS[planned.kind](planned, self.stage, self.chance)
        self.watch.begin(fault.effect.air)
        outcome = Outcome(planned, fault, began=time.time())
        fault.strike()
        self.outcomes.append(outcome)
        return outcome

    def _heal(self, outcome: Outcome) -> None:
        outcome.fault.heal()
        outcome.healed = time.time()
        self.watch.end(outcome.fault.effect.air)
        outcome.recovering = loop.run(self.probes.recovery(outcome.fault.effect.path))

    def _settle(self) -> None:
        self._finish(loop.run(self.traffic.finish()))
        self._finish(loop.run(self.choices.choose_nothing()))
        self.sockets.be_content()
        began = time.monotonic()
        if self._until(self._is_quiet, SETTLED_WITHIN):
            self.quiet_after = time.monotonic() - began
        self.sockets.stay()
        self._until(self._have_all, MARGIN)

    def _is_quiet(self) -> bool:
        with self.stage.connection() as connection:
            return not observe.unsettled(connection)

    def _have_all(self) -> bool:
        with self.stage.connection() as connection:
            heads = dict(connection.execute(_HEADS).fetchall())
        return all(one.copy.last >= heads.get(one.user_id, 0) for one in self.sockets.listeners)

    # --- the books -----------------------------------------------------------------------------------------

    def evidence(self) -> Evidence:
        """Everything the checks look at."""
        with self.stage.connection() as connection:
            cancelled = {UUID(id): at for id, at in self.traffic.cancelled.items()}
            asked = Asked(
                cancelled,
                self.watch.suppressed,
                self.traffic.removed,
                self.stage.drains,
                self.choices.offs,
            )
            seen = evidence.read_database(connection, asked)
        seen.ledger = evidence.read_ledger(self.stage.ledger)
        seen.promised = {UUID(id): (one.row, one.targets) for id, one in self.traffic.accepted.items()}
        seen.told_cancelled = {UUID(id) for id in self.traffic.told_cancelled}
        seen.wrong = self.traffic.wrong
        seen.listened = [loop.run(self.sockets.listened(one)).result() for one in self.sockets.listeners]
        answered = {UUID(one.id): one.answered for one in self.probes.critical}
        seen.probes = [
            Probe(id, target.channel, answered[target.notification])
            for id, target in seen.targets.items()
            if target.notification in answered
        ]
        seen.excused = excuses.windows(map(_hit, self.outcomes), self.watch.opened)
        seen.bad_answers = self.people.bad_answers
        seen.backed_up = self.watch.backed_up
        seen.unanswered = sum(self.stage.links[name].unanswered for name in PROVIDERS)
        seen.in_the_air = self.watch.air.total()
        return seen


def _hit(outcome: Outcome) -> Hit:
    seconds = outcome.recovery
    end = outcome.healed + seconds if seconds is not None else float("inf")
    why = f"{outcome.planned.kind} {outcome.planned.variant}".strip()
    effect = outcome.fault.effect
    return Hit(outcome.began, end, why, effect.excuses, effect.away)
