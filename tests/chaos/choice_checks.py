"""The invariants of what people choose, and of what goes out in another's place: as in `checks`."""

from __future__ import annotations

from uuid import UUID

from apps.notifications.statuses import Reason, Status
from tests.chaos.evidence import Evidence, Off, Target, Typed
from tests.chaos.violation import Found, Violation


def choices_are_kept(seen: Evidence) -> Found:
    """I10: nothing goes out that its person has off just then, and only what they had off is opted out."""
    offs: dict[tuple[int, str, str], list[Off]] = {}
    for off in seen.offs:
        offs.setdefault((off.user, off.type, off.channel), []).append(off)
    for id, target in seen.targets.items():
        typed = seen.typed.get(target.notification)
        times = offs.get((target.user, typed.type, target.channel), []) if typed else []
        if target.reason == Reason.OPTED_OUT and target.status == Status.SKIPPED and not times:
            yield Violation("I10", "lost", f"target {id} is opted out, and its person had nothing off")
        for at in seen.began(id) if times else ():
            for off in times:
                if off.begin < at < off.end:
                    text = f"target {id} was sent {at - off.begin:.3f} s after it was switched off"
                    yield Violation("I10", "wrong", text)


def events_are_told_once(seen: Evidence) -> Found:
    """I11: of one dedupe_key each person is told by one notification. One that is cancelled tells nothing."""
    told: dict[tuple[int, Typed], set[UUID]] = {}
    for target in seen.targets.values():
        typed = seen.typed.get(target.notification)
        if typed and typed.dedupe_key:
            tellers = told.setdefault((target.user, typed), set())
            tellers |= set() if target.reason == Reason.DUPLICATE else {target.notification}
    for (user, typed), tellers in told.items():
        if not tellers:
            yield Violation("I11", "lost", f"user {user}: {typed.dedupe_key} has nothing but duplicates")
        if len(left := tellers - seen.cancelled.keys()) > 1:
            ids = ", ".join(map(str, sorted(left)))
            yield Violation("I11", "duplicated", f"user {user}: {typed.dedupe_key} is told by {ids}")


def merged_goes_out_elsewhere(seen: Evidence) -> Found:
    """I12: what is replaced or merged names what goes out in its place, to the same person and address."""
    for id, target in seen.targets.items():
        if target.merged_into is None and target.reason not in (Reason.REPLACED, Reason.MERGED):
            continue
        into = seen.targets.get(target.merged_into) if target.merged_into else None
        if into is None or _place(into) != _place(target):
            yield Violation("I12", "lost", f"target {id} is {target.reason} into {target.merged_into}")
        elif target.reason == Reason.MERGED and target.merged_into not in seen.digests:
            yield Violation("I12", "lost", f"target {id} is merged into {target.merged_into}, no digest")
        elif target.reason == Reason.REPLACED and not _same_key(seen, target, into):
            yield Violation("I12", "lost", f"target {id} is replaced by one of another key")
        elif not _ends(seen, target):
            yield Violation("I12", "lost", f"target {id} is merged in a circle")


def _place(target: Target) -> tuple[int, str, str]:
    return target.user, target.channel, target.address


def _same_key(seen: Evidence, one: Target, other: Target) -> bool:
    nothing = Typed("")
    typed, its = seen.typed.get(one.notification, nothing), seen.typed.get(other.notification, nothing)
    return (typed.type, typed.collapse_key) == (its.type, its.collapse_key) and bool(typed.collapse_key)


def _ends(seen: Evidence, target: Target) -> bool:
    """Whether what it went into, and so on, comes to one that stood for itself."""
    passed = set[UUID]()
    while target.merged_into and target.merged_into not in passed:
        passed.add(target.merged_into)
        target = seen.targets[target.merged_into]
    return not target.merged_into


def digests_are_complete(seen: Evidence) -> Found:
    """I12, also: a digest has what was merged into it, and nothing else."""
    merged: dict[UUID | None, list[UUID]] = {}
    for target in seen.targets.values():
        merged.setdefault(target.merged_into, []).append(target.notification)
    for id, digest in seen.digests.items():
        into = merged.get(id, [])
        if digest.size != len(into) or len(set(digest.listed)) < len(digest.listed):
            text = f"digest {id} tells of {digest.size}, and {len(into)} are merged into it"
            yield Violation("I12", "lost" if digest.size < len(into) else "duplicated", text)
        for notification in set(digest.listed) - set(into):
            yield Violation("I12", "duplicated", f"digest {id} has {notification}, which was not merged")
