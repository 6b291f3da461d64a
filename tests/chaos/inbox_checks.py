"""I7 and I13: what clients have, how changes are numbered and counted, and that none is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from uuid import UUID

from apps.notifications.inbox_changes import Kind
from apps.notifications.inbox_numbers import Counts
from apps.notifications.statuses import Status
from tests.chaos.evidence import Evidence
from tests.chaos.inboxes import Done, Item, Step
from tests.chaos.violation import Found, Violation

ACT = "act"


def inboxes_arrive(seen: Evidence) -> Found:
    """I7: what was delivered in-app and not recalled is in its person's inbox, and nothing else is."""
    delivered: dict[int, set[UUID]] = {}
    for id, target in seen.targets.items():
        if target.channel == "in_app" and target.status == Status.DELIVERED and not target.recalled:
            delivered.setdefault(target.user, set()).add(id)
    for user in delivered.keys() | seen.inboxes.items.keys():
        wanted, there = delivered.get(user, set()), seen.inboxes.items.get(user, {}).keys()
        if lost := wanted - there:
            yield Violation("I7", "lost", f"user {user}: {_few(lost)} delivered and not in the inbox")
        if strange := there - wanted:
            yield Violation("I7", "wrong", f"user {user}: {_few(strange)} in the inbox and not delivered")


def clients_have_it(seen: Evidence) -> Found:
    """I7: in the end each client has its person's inbox and counts, and the API lists the same."""
    for one in seen.listened:
        inbox = seen.inboxes.items.get(one.user, {})
        for name, got in (("socket", one.items), ("REST lists", one.by_rest)):
            if got != inbox:
                yield Violation("I7", "wrong", f"user {one.user}, {name}: {_difference(got, inbox)}")
        if one.counts != (standing := _standing(seen, one.user)):
            yield Violation("I7", "wrong", f"user {one.user} shows {one.counts}, and has {standing}")


def events_come_once(seen: Evidence) -> Found:
    """I7: on each connection in the order of their numbers, and each coming of an item once in all."""
    for one in seen.listened:
        for numbers in one.connections:
            if any(after <= before for before, after in pairwise(numbers)):
                yield Violation("I7", "wrong", f"user {one.user}: events out of order, {numbers[-20:]}")
        if twice := [coming for coming, times in Counter(one.shown).items() if times > 1]:
            yield Violation("I7", "duplicated", f"user {one.user}: {_few(twice)} shown twice")
        for text in one.wrong:
            yield Violation("I7", "wrong", f"user {one.user}: {text}")


def inboxes_are_numbered(seen: Evidence) -> Found:
    """I13: each change of a person's items has taken one number, and these are 1, 2, 3 … up to the head."""
    for user in seen.inboxes.standings.keys() | seen.inboxes.steps.keys():
        numbers = [step.number for step in seen.inboxes.steps.get(user, ())]
        head = _standing(seen, user).head
        if numbers != list(range(1, head + 1)):
            twice = [number for number, times in Counter(numbers).items() if times > 1]
            missing = set(range(1, head + 1)) - set(numbers)
            text = f"{len(numbers)} changes up to {head}, missing {_few(missing)}, twice {_few(twice)}"
            yield Violation("I13", "wrong", f"user {user}: {text}")


def inboxes_are_counted(seen: Evidence) -> Found:
    """I13: of everybody, the counts that are kept are those of the items."""
    for user in seen.inboxes.standings.keys() | seen.inboxes.items.keys():
        shown = [item for item in seen.inboxes.items.get(user, {}).values() if item.in_inbox]
        unread, unseen = sum(not one.read_at for one in shown), sum(not one.seen_at for one in shown)
        if (standing := _standing(seen, user))[1:] != (unread, unseen):
            text = f"user {user}: {standing}, and counted {unread} unread, {unseen} unseen"
            yield Violation("I13", "wrong", text)


def changes_are_kept(seen: Evidence) -> Found:
    """I13: what was acknowledged was so when it was answered: under its numbers, with what was asked for.

    What it is in the end is the later changes' of the same item, each under a number of its own.
    """
    done: dict[int, list[Done]] = {}
    for listened in seen.listened:
        done.setdefault(listened.user, []).extend(listened.done)
    for user, changes in done.items():
        for one, own, then in _in_order(changes, seen.inboxes.steps.get(user, [])):
            if len(own) != one.changed or (one.ids is not None and not own <= set(one.ids)):
                yield Violation("I13", "lost", f"{_name(one)}: its numbers are those of {_few(own)}")
            if undone := [id for id, item in _meant(one, then) if not _is_done(one, item)]:
                yield Violation("I13", "lost", f"{_name(one)}: {_few(undone)} was not so then")


def _in_order(
    changes: list[Done], steps: list[Step]
) -> Iterator[tuple[Done, set[UUID], Mapping[UUID, Step]]]:
    """Each change, the items that have its numbers, and all items as they were right after it."""
    then: dict[UUID, Step] = {}
    passed = 0
    for one in sorted(changes, key=lambda done: done.head):
        while passed < len(steps) and steps[passed].number <= one.head:
            then[steps[passed].target] = steps[passed]
            passed += 1
        numbers = range(one.head - one.changed + 1, one.head + 1)
        yield one, {step.target for step in steps[numbers.start - 1 : passed] if step.number in numbers}, then


def _meant(done: Done, then: Mapping[UUID, Step]) -> Iterator[tuple[UUID, Item]]:
    """The items that the change was about, recalled ones aside."""
    everywhere = done.kind in (Kind.UNARCHIVE, Kind.UNSNOOZE)
    for id in then if done.ids is None else done.ids:
        step = then.get(id)
        if step is None or step.recalled:
            continue
        shown = everywhere or step.item.in_inbox
        if done.ids is not None or (shown and step.item.sequence <= (done.up_to or 0)):
            yield id, step.item


def _is_done(done: Done, item: Item) -> bool:
    return {
        Kind.READ: bool(item.read_at and item.seen_at),
        Kind.UNREAD: not item.read_at,
        Kind.SEEN: bool(item.seen_at),
        Kind.ARCHIVE: bool(item.archived_at),
        Kind.UNARCHIVE: not item.archived_at,
        Kind.SNOOZE: item.snoozed_until == done.until,
        Kind.UNSNOOZE: not item.snoozed_until,
        ACT: item.action == done.action,
    }[done.kind]


def _standing(seen: Evidence, user: int) -> Counts:
    return seen.inboxes.standings.get(user, Counts(0, 0, 0))


def _name(done: Done) -> str:
    what = f"up to {done.up_to}" if done.ids is None else f"of {len(done.ids)} items"
    return f"user {done.user}: {done.kind} {what}, answered {done.changed} changed, head {done.head}"


def _difference(got: Mapping[UUID, Item], inbox: Mapping[UUID, Item]) -> str:
    other = {id for id in got.keys() & inbox.keys() if got[id] != inbox[id]}
    missing, strange = inbox.keys() - got.keys(), got.keys() - inbox.keys()
    told = f"missing {_few(missing)}, not there {_few(strange)}, otherwise {_few(other)}"
    return f"{len(got)} of {len(inbox)}, {told}"


def _few(ids: Iterable[object]) -> str:
    found = sorted(map(str, ids))
    return f"{len(found)} ({', '.join(found[:3])}{' …' if len(found) > 3 else ''})" if found else "none"
