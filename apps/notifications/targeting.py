"""From people to targets, for many notifications at once: all there is to know is looked up, then decided."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from apps.notifications import decisions, dedupe, overflow, planning, transitions
from apps.notifications.decisions import Decision
from apps.notifications.dedupe import Mark
from apps.notifications.overflow import Plan
from apps.notifications.planning import Known, Places, Recipient, Wish
from apps.notifications.transitions import Planned
from apps.preferences import store
from apps.users import places

Asked = Sequence[tuple[Wish, Sequence[Recipient]]]


def places_of(asked: Sequence[tuple[Collection[str], Sequence[Recipient]]]) -> Places:
    """The devices and endpoints of the people who may be reached by these channels; one statement or none."""
    going = [(channels, people) for channels, people in asked if not places.CHANNELS.isdisjoint(channels)]
    user_ids = {person.id for _, people in going for person in people}
    return places.places(user_ids, {channel for channels, _ in going for channel in channels})


def plan(asked: Asked, now: datetime, *, found: Places) -> list[list[Planned]]:
    """The targets of each, in the caller's transaction: decided, and charged to people's caps.

    found: the places of all of them. One statement for suppressed addresses and preferences, one for
    events if there is a dedupe_key, two for caps if there are any, and two for each further channel that is
    tried; whatever the number of notifications.
    """
    suppressed, rules = store.look_up(
        _wanting(asked),
        {pair for wish, people in asked for pair in planning.addresses(wish.reach, people, found)},
    )
    told = _told(asked)
    planned = []
    for wish, people in asked:
        known = Known(
            places=found, suppressed=suppressed, rules=rules, told=told.get(wish.notification_id, ())
        )
        planned.append(Plan(wish, people, planning.plan(wish, people, now, known), known))
    overflow.settle(planned, now)
    return [one.targets for one in planned]


def create(targets: Sequence[Planned], *, summarised: Collection[UUID]) -> None:
    """Write them, in the caller's transaction, and why each was decided that needs explaining."""
    transitions.create(targets, summarised=summarised)
    decisions.record(
        [
            Decision(one.id, one.status.value, one.reason, one.at if one.held else None, one.detail)
            for one in targets
            if one.detail
        ]
    )


def _wanting(asked: Asked) -> dict[int, int]:
    """The people whose wishes count, with their organizations: all but those of critical ones."""
    return {
        person.id: wish.organization_id for wish, people in asked if not wish.critical for person in people
    }


def _told(asked: Asked) -> dict[UUID, set[int]]:
    """Who was told before of what a notification tells, by its id."""
    marks = [
        Mark(
            person.id,
            wish.type.slug if wish.type else "",
            wish.dedupe_key,
            wish.notification_id,
            wish.dedupe_window,
        )
        for wish, people in asked
        if wish.dedupe_key
        for person in people
    ]
    if not marks:
        return {}
    known, firsts = dedupe.take(marks), dedupe.firsts(marks)
    told: dict[UUID, set[int]] = {}
    for mark in marks:
        if mark[:3] in known or firsts[mark[:3]].notification_id != mark.notification_id:
            told.setdefault(mark.notification_id, set()).add(mark.user_id)
    return told
