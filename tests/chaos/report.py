"""What a run prints: a table of its faults, what was violated, and the last line."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

from apps.notifications.statuses import Status
from tests.chaos import checks
from tests.chaos.evidence import Evidence
from tests.chaos.run import Outcome, Run
from tests.chaos.violation import Violation

MOST = 20  # violations of one invariant that are written out


def table(outcomes: Sequence[Outcome]) -> str:
    """Each kind of fault, how often, and how long until what it hit worked again."""
    by_kind: dict[str, list[float | None]] = {}
    for outcome in outcomes:
        by_kind.setdefault(outcome.planned.kind, []).append(outcome.recovery)
    lines = [f"{'fault':20} {'times':>5} {'recovery p50':>13} {'max':>8}"]
    for kind, seconds in sorted(by_kind.items()):
        known = [one for one in seconds if one is not None]
        p50 = f"{statistics.median(known):.1f} s" if known else "never"
        most = f"{max(known):.1f} s" if len(known) == len(seconds) else "never"
        lines.append(f"{kind:20} {len(seconds):5} {p50:>13} {most:>8}")
    return "\n".join(lines)


def timeline(outcomes: Sequence[Outcome]) -> str:
    """When each fault was on, to read the logs by."""
    lines = []
    for outcome in outcomes:
        seconds = outcome.recovery
        again = checks.clock(outcome.healed + seconds) if seconds is not None else "never"
        name = f"{outcome.planned.kind} {outcome.planned.variant}"
        lines.append(
            f"{checks.clock(outcome.began)} {name:34} healed {checks.clock(outcome.healed)}, works {again}"
        )
    return "\n".join(lines)


def about(run: Run, seen: Evidence) -> str:
    """What else is good to know of the run."""
    seconds = sorted(took for _, took in checks.latencies(seen) if took is not None)
    p50, p99 = (seconds[int(len(seconds) * share)] if seconds else 0.0 for share in (0.5, 0.99))
    latency = f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, bound {checks.CRITICAL_BOUND:.0f} s"
    quiet = f"after {run.quiet_after:.1f} s" if run.quiet_after is not None else "never"
    restarts, stuck = _counts(run.stage.restarts), _counts(run.stage.stuck)
    accepted = Counter(entry.provider for entries in seen.ledger.values() for entry in entries)
    skipped = Counter(one.reason for one in seen.targets.values() if one.status == Status.SKIPPED)
    lines = [
        f"accepted by {_counts(accepted)}; {seen.failovers} failovers, {len(run.stage.drains)} drains",
        f"requests: {len(run.traffic.accepted)} accepted, {run.client.ambiguous} tries without an answer",
        f"unknown attempts: {seen.unknown.total()} of at most {checks.unknown_bound(seen)}",
        f"  {seen.unanswered} messages were not answered, {seen.in_the_air} were in the air at faults",
        f"critical lane: {len(seconds)} of {len(seen.probes)} not excused, {latency}",
        _clients(run, seen),
        f"cancelled: {len(seen.cancelled)} notifications; suppressed: {len(seen.suppressed)} addresses",
        f"removed: {len(seen.removed)} devices",
        f"choices: {run.choices.changes} changes, {len(seen.offs)} times off; {len(seen.digests)} digests",
        f"skipped: {_counts(skipped)}",
        f"restarted as they had ended: {restarts}; as they were stuck: {stuck}",
        f"quiet: {quiet}",
    ]
    return "\n".join(lines)


def _clients(run: Run, seen: Evidence) -> str:
    listeners = run.sockets.listeners
    connections = sum(len(one.connections) for one in listeners)
    rereads = sum(one.rereads for one in listeners)
    events = sum(len(numbers) for one in listeners for numbers in one.connections)
    changes = sum(len(one.done) for one in listeners)
    told = f"{len(listeners)}, {connections} connections, {events} events, {rereads} times read anew"
    return f"clients: {told}; {changes} changes of inboxes acknowledged, {_steps(seen)} of all people's"


def _steps(seen: Evidence) -> int:
    return sum(map(len, seen.inboxes.steps.values()))


def _counts(names: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(names.items())) or "none"


def told(violations: Sequence[Violation]) -> str:
    """The violations, of each invariant the first ones."""
    lines = []
    for invariant in sorted({violation.invariant for violation in violations}):
        of_it = [violation.text for violation in violations if violation.invariant == invariant]
        lines += [f"{invariant} violated: {text}" for text in of_it[:MOST]]
        if len(of_it) > MOST:
            lines.append(f"{invariant} violated: … and {len(of_it) - MOST} more")
    return "\n".join(lines)


def last_line(run: Run, seen: Evidence, violations: Sequence[Violation], seed: int) -> str:
    """The run in one line."""
    count = {kind: sum(v.kind == kind for v in violations) for kind in ("lost", "duplicated")}
    return (
        f"lost={count['lost']} duplicated={count['duplicated']} ambiguous={seen.unknown.total()}"
        f" faults={len(run.outcomes)} deliveries={len(seen.targets)} seed={seed}"
    )
