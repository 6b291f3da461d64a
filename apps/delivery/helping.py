"""Answers to HELP: whoever asks by SMS who writes to them is told, by the ordinary way of every message."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import NamedTuple

from django.conf import settings

from apps.delivery.evidence import Effect
from apps.notifications import intake
from apps.notifications.intake import Order
from apps.users.normalise import DEFAULT_TIMEZONE
from apps.users.people import Reach
from project import clock, db

CHANNEL = "sms"
RELATED = "inbound-help"  # what an answer is about: the person who asked, by their id
_OF_USE = timedelta(hours=1)  # until then it is sent, and no other one is


class Asked(NamedTuple):
    """A receipt that says that somebody asked for help."""

    receipt: int
    number: str


class _Asker(NamedTuple):
    number: str
    user_id: int
    organization_id: int


def answer(asked: Iterable[Asked]) -> tuple[dict[int, Effect], set[str]]:
    """Accept an answer to each number, once an hour: what each receipt did, and the lanes that have work.

    In the caller's transaction, before any summary is locked; ring after COMMIT. Without a text nobody is
    answered.
    """
    given = list(asked) if settings.SMS_HELP_TEXT else []
    if not given:
        return {}, set()
    askers = _askers({one.number for one in given})
    recently = _answered(askers.values())
    effects: dict[int, Effect] = {}
    first: dict[int, _Asker] = {}
    for one in given:
        asker = askers.get(one.number)
        if asker is None:
            effects[one.receipt] = Effect.NO_TARGET
        elif asker.user_id in recently:
            effects[one.receipt] = Effect.ALREADY
        else:
            recently.add(asker.user_id)
            first[one.receipt] = asker
    answered, lanes = _accept(first)
    return effects | answered, lanes


# The fence keeps a planner from looking for the number among all people in the order of their ids. Who is
# found is locked, so that two that ask at once are answered one after the other.
_FIND = """
SELECT g.number, u.id, u.organization_id
FROM unnest(%b::text[]) AS g(number)
CROSS JOIN LATERAL (
    SELECT min(id) AS id
    FROM (SELECT id FROM users_user WHERE phone = g.number AND is_active OFFSET 0) same_number
) lowest
JOIN users_user u ON u.id = lowest.id
ORDER BY u.id FOR NO KEY UPDATE OF u
"""


def _askers(numbers: Collection[str]) -> dict[str, _Asker]:
    """Whose numbers these are; where several people have one, it is the first of them."""
    return {row[0]: _Asker(*row) for row in db.rows(_FIND, [sorted(numbers)])}


_ANSWERED = """
SELECT g.user_id
FROM unnest(%b::bigint[], %b::bigint[]) AS g(user_id, organization_id)
CROSS JOIN LATERAL (
    SELECT created_at FROM notifications_notification
    WHERE organization_id = g.organization_id AND related_type = %s
      AND related_id = g.user_id::text AND related_id <> ''
    ORDER BY id DESC LIMIT 1
) latest
WHERE latest.created_at > carillon_now() - %s
"""


def _answered(askers: Collection[_Asker]) -> set[int]:
    """Of these the people who were answered not long ago."""
    if not askers:
        return set()
    people = [one.user_id for one in askers], [one.organization_id for one in askers]
    return {id for (id,) in db.rows(_ANSWERED, [*people, RELATED, _OF_USE])}


def _accept(askers: dict[int, _Asker]) -> tuple[dict[int, Effect], set[str]]:
    """Write the answers; what that made of the receipts, and the lanes with work."""
    if not askers:
        return {}, set()
    now = clock.now()
    orders = [
        (
            Order(
                organization_id=one.organization_id,
                body=settings.SMS_HELP_TEXT,
                channels=[CHANNEL],
                priority="critical",
                expires_at=now + _OF_USE,
                related_type=RELATED,
                related_id=str(one.user_id),
            ),
            [Reach(one.user_id, None, "", one.number, DEFAULT_TIMEZONE, is_active=True)],
        )
        for one in askers.values()
    ]
    accepted = intake.accept(orders, now)
    did = (Effect.ANSWERED if one.lanes else Effect.SKIPPED for one in accepted)
    return dict(zip(askers, did, strict=True)), {lane for one in accepted for lane in one.lanes}
