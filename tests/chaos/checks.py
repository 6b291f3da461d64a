"""The invariants. Each takes the evidence and yields its violations, with ids: pure, tested by planting some.

I3's bound. An attempt may be unknown only because
(a) a provider did not answer the request it was in: our proxy counts those on the wire, message by message,
    whoever is to blame;
(b) its worker or the database was taken away between the call's start and the settling: the `sending` targets
    of started claims in the lanes that the fault hits, read from the database at the moment of the fault and
    while it lasts, each claim once;
(c) the provider's answer tells nothing (a gateway's 502, nonsense): the simulator does that for certain
    addresses only.
So over a run

    unknown attempts <= unanswered messages (a) + in the air at faults (b) + attempts to such addresses (c)

None of (a), (b), (c) grows when more is called unknown, so calling everything unknown does not pass.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from uuid import UUID

from apps.notifications.statuses import MOVES, SETTLED, Status
from tests.chaos import choice_checks, inbox_checks
from tests.chaos.evidence import Evidence, Probe, Target
from tests.chaos.stage import LEASE
from tests.chaos.violation import Found, Violation

CRITICAL_BOUND = 3.0  # seconds from a critical POST's answer to the provider, or into the inbox
BACKED_UP_WITHIN = 1.0  # seconds: the backlog was seen so shortly before or after
KNOWN_FOR = 1.0  # seconds: a worker's idea of the providers may be that old when it claims
CLAIMING = 1.0  # seconds a claim may take to commit
# A claim may start its calls as long as its lease lasts.
DRAINED_WITHIN = KNOWN_FOR + CLAIMING + LEASE
REFUSALS = ("temporary_failure", "permanent_failure")
ACCEPTED = ("sent", "delivered")
KEYED = ("push", "webhook")  # collapse id, topic, webhook-id; chats have nothing of the kind


def exit_code(violations: Collection[Violation]) -> int:
    """0: every invariant holds. 3: all but what a busy machine can break. 1: others."""
    if not violations:
        return 0
    return 3 if all(one.of_time for one in violations) else 1


def promises_are_kept(seen: Evidence) -> Found:
    """I1: what a 2xx promised is there, settled; and nothing is given up without a reason."""
    there: dict[UUID, int] = {}
    for target in seen.targets.values():
        there[target.notification] = there.get(target.notification, 0) + 1
    for id, (row, targets) in seen.promised.items():
        if there.get(id, 0) != targets:
            yield Violation("I1", "lost", f"{row} {id}: {there.get(id, 0)} of {targets} targets")
    for id, target in seen.targets.items():
        if target.status not in SETTLED:
            yield Violation("I1", "lost", f"target {id} is still {target.status} in {target.lane}")
        if target.status == Status.DEAD and not _has_reason(seen, id):
            yield Violation("I1", "lost", f"target {id} is dead without a refusal or an unknown attempt")
    if seen.claims:
        yield Violation("I1", "lost", f"{seen.claims} claims are left over")


def _has_reason(seen: Evidence, id: UUID) -> bool:
    return any(one.was_unknown or one.outcome in REFUSALS for one in seen.attempts.get(id, ()))


def sent_is_accepted(seen: Evidence) -> Found:
    """I2: what is sent is in the ledger, and what is in the ledger is a target."""
    for id, target in seen.targets.items():
        if target.status in ACCEPTED and target.channel != "in_app" and not seen.ledger.get(id):
            yield Violation("I2", "lost", f"target {id} is {target.status}, and the provider never had it")
    for id in seen.ledger.keys() - seen.targets.keys():
        yield Violation("I2", "wrong", f"the provider has target {id}, and we do not")


def nothing_is_doubled(seen: Evidence) -> Found:
    """I3, first half: never more often at the provider than unknown attempts excuse."""
    for id, entries in seen.ledger.items():
        target = seen.targets.get(id)
        allowed = 1 + (seen.unknown[id] if target and _repeats(target) else 0)
        if len(entries) > allowed:
            attempts = ", ".join(f"#{entry.attempt.bytes[-1]}" for entry in entries)
            yield Violation(
                "I3", "duplicated", f"target {id}: {len(entries)} times ({attempts}), {allowed} allowed"
            )
        if len(set(entries)) < len(entries) or len({entry.attempt for entry in entries}) < len(entries):
            yield Violation("I3", "duplicated", f"target {id}: one attempt called the provider twice")


def repeats_are_recognised(seen: Evidence) -> Found:
    """I3, also: where a receiver knows a repetition by a key, all messages of a target have the same."""
    for id, entries in seen.ledger.items():
        target = seen.targets.get(id)
        if target and target.channel in KEYED and len(keys := {entry.key for entry in entries}) != 1:
            yield Violation("I3", "duplicated", f"target {id}: {len(entries)} times, with {len(keys)} keys")
        if target and target.channel in KEYED and any(not entry.key for entry in entries):
            yield Violation("I3", "duplicated", f"target {id} went out without a key")


def _repeats(target: Target) -> bool:
    """Whether this channel repeats what is unknown."""
    return target.channel not in ("email", "sms") or target.lane.endswith(".critical")


def unknown_is_bounded(seen: Evidence) -> Found:
    """I3, second half: only what was in the air may be unknown. See above."""
    unknown, most = seen.unknown.total(), unknown_bound(seen)
    if unknown > most:
        told = f"{unknown} unknown attempts, and at most {most} were in the air"
        yield Violation("I3", "wrong", told, of_time=True)


def unknown_bound(seen: Evidence) -> int:
    """How many attempts may be unknown."""
    bad_answers = sum(
        count
        for id, count in seen.unknown.items()
        if (target := seen.targets.get(id)) and target.address in seen.bad_answers
    )
    return seen.unanswered + seen.in_the_air + bad_answers


def keys_work_once(seen: Evidence) -> Found:
    """I4: one notification per key and row, the one that was answered; repeats are answered alike.

    The engine's own digests, and nothing else, are nobody's.
    """
    by_row: dict[str, UUID] = {}
    own = {digest.notification for digest in seen.digests.values()}
    for id, row in seen.rows.items():
        if id in own:
            continue
        if not row:
            yield Violation("I4", "wrong", f"nobody has asked for {id}")
        if row in by_row:
            yield Violation("I4", "duplicated", f"{row} took effect twice: {by_row[row]} and {id}")
        by_row[row] = id
    for id, (row, _) in seen.promised.items():
        if row in by_row and seen.rows.get(id) != row:
            yield Violation(
                "I4", "duplicated", f"{row} was answered with {id}, and {by_row[row]} was written"
            )
    for text in seen.wrong:
        yield Violation("I4", "wrong", text)


def no_means_no(seen: Evidence) -> Found:
    """I5: nothing began after a cancel, a suppression or a device's end was known to be committed."""
    for id, target in seen.targets.items():
        yield from _sent_after(seen, id, seen.cancelled.get(target.notification), "cancelled")
        known = seen.suppressed.get((target.channel, target.address))
        yield from _sent_after(seen, id, known, "suppressed")
        # A device is looked up when its claim is taken, so a lease before its call at most.
        known = seen.removed.get(target.address)
        yield from _sent_after(seen, id, None if known is None else known + LEASE, "removed and unleased")
    for id in seen.told_cancelled:
        status = seen.targets[id].status if id in seen.targets else "missing"
        if status != Status.CANCELLED:
            yield Violation("I5", "wrong", f"target {id} was told to be cancelled, and is {status}")


def _sent_after(seen: Evidence, id: UUID, known: float | None, why: str) -> Found:
    """`known`: when the commit was seen from outside. An attempt's start is its last check.

    What counts is what the provider took; to a device or an endpoint, whose end it tells itself, every call.
    """
    if known is None:
        return
    for at in seen.began(id):
        if at > known:
            yield Violation("I5", "wrong", f"target {id} was sent {at - known:.3f} s after it was {why}")


_LEGAL = {(old, new) for sources, goals in MOVES.values() for old in sources for new in goals}


def nothing_goes_backwards(seen: Evidence) -> Found:
    """I6: every move is in the table, and no engagement time ever changed."""
    for move in seen.moves:
        if move.engagement_changed:
            yield Violation("I6", "wrong", f"{move.times} engagement times changed, as of {move.example}")
        if move.old != move.new and (move.old, move.new) not in _LEGAL:
            text = f"{move.times} targets went from {move.old} to {move.new}, as {move.example}"
            yield Violation("I6", "wrong", text)


def critical_is_fast(seen: Evidence) -> Found:
    """I8: within its bound wherever nothing that it needs is away; and that was measured under load."""
    measured = 0
    for probe, seconds in latencies(seen):
        if seconds is None or seconds > CRITICAL_BOUND:
            took = "never" if seconds is None else f"after {seconds:.1f} s"
            text = f"{probe.channel} {probe.target}, answered at {clock(probe.answered)}, arrived {took}"
            yield Violation("I8", "wrong", text, of_time=True)
        measured += _is_backed_up(seen, probe.answered)
    if not measured:
        yield Violation("I8", "wrong", "no critical notification was measured while the bulk lanes were full")


def providers_are_as_told(seen: Evidence) -> Found:
    """I9: who accepted a message is the provider its attempt names, and one that is drained gets nothing."""
    for id, entries in seen.ledger.items():
        for entry in entries:
            if (named := seen.made_by.get(entry.attempt, entry.provider)) != entry.provider:
                yield Violation(
                    "I9", "wrong", f"target {id} was accepted by {entry.provider}, not by {named}"
                )
    for one in seen.by_drained:
        for drain in seen.drains:
            since = one.started_at - drain.begin
            if drain.provider == one.provider and since > DRAINED_WITHIN and one.started_at < drain.end:
                text = f"{one.provider} got target {one.target} {since:.1f} s after it was drained"
                yield Violation("I9", "wrong", text)


def latencies(seen: Evidence) -> Iterator[tuple[Probe, float | None]]:
    """The critical targets that nothing excuses, each with the seconds it took; None if it never arrived."""
    for probe in seen.probes:
        arrived = _arrival(seen, probe.target)
        end = arrived if arrived is not None else probe.answered + CRITICAL_BOUND
        if not any(
            w.channel == probe.channel and w.begin <= end and w.end >= probe.answered for w in seen.excused
        ):
            yield probe, None if arrived is None else arrived - probe.answered


def _arrival(seen: Evidence, id: UUID) -> float | None:
    if entries := seen.ledger.get(id):
        return min(entry.at for entry in entries)
    target = seen.targets.get(id)
    return target.delivered_at if target else None


def clock(at: float) -> str:
    """As the logs have it."""
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S.%f}"[:-4]


def _is_backed_up(seen: Evidence, at: float) -> bool:
    place = bisect_left(seen.backed_up, at - BACKED_UP_WITHIN)
    return place < len(seen.backed_up) and seen.backed_up[place] <= at + BACKED_UP_WITHIN


CHECKS: tuple[Callable[[Evidence], Found], ...] = (
    promises_are_kept,
    sent_is_accepted,
    nothing_is_doubled,
    repeats_are_recognised,
    unknown_is_bounded,
    keys_work_once,
    no_means_no,
    nothing_goes_backwards,
    inbox_checks.inboxes_arrive,
    inbox_checks.clients_have_it,
    inbox_checks.events_come_once,
    inbox_checks.inboxes_are_numbered,
    inbox_checks.inboxes_are_counted,
    inbox_checks.changes_are_kept,
    critical_is_fast,
    providers_are_as_told,
    choice_checks.choices_are_kept,
    choice_checks.events_are_told_once,
    choice_checks.merged_goes_out_elsewhere,
    choice_checks.digests_are_complete,
)


def violations(seen: Evidence) -> list[Violation]:
    """Everything that is wrong."""
    return [violation for check in CHECKS for violation in check(seen)]
