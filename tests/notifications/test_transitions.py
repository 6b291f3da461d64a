"""The table of moves: every move from every status, column by column, and what follows from each."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, transaction

from apps.notifications import transitions
from apps.notifications.models import DeadLetter, NotificationSummary, NotificationTarget
from apps.notifications.statuses import MOVES, Status
from apps.notifications.transitions import Due, Planned, Redecided, Settled
from project import clock, ids
from tests.support import rows
from tests.support.rows import CLAIM, LANE

pytestmark = pytest.mark.django_db
Ids = list[UUID]
Act = Callable[[Ids, datetime], list[Any]]
LATER = timedelta(hours=2)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Gone:
    """A row that moved, told by a move that only tells of those that stayed."""

    id: UUID
    old: None = None


def gone(ids: Ids, stayed: set[UUID]) -> list[Gone]:
    assert stayed <= set(ids)
    return [Gone(id) for id in ids if id not in stayed]


def settle(claim: int, results: list[Settled]) -> list[Gone]:
    return gone([result.id for result in results], transitions.settle(claim, results))


def settling(status: Status) -> Act:
    def act(ids: Ids, now: datetime) -> list[Gone]:
        at = now + LATER if status is Status.RETRYING else None
        return settle(CLAIM, [Settled(id, status, "code", at, 4) for id in ids])

    return act


def delivering_in_app(status: Status) -> Act:
    return lambda ids, now: gone(ids, transitions.deliver_in_app([(id, status, "code") for id in ids]))


INTO = UUID(int=7)
# Move -> (how to ask for it, the columns it sets). Every other column must stay. "now" and "later" are times.
SETTLED: dict[str, Any] = {"next_attempt_at": None, "held_until": None, "claim_id": None, "settled_at": "now"}
QUEUED: dict[str, Any] = {
    "status": "queued", "next_attempt_at": "now", "held_until": None, "claim_id": None, "settled_at": None,
}  # fmt: skip
# What a proof sets: it may overtake the settle of the attempt.
PROVEN = SETTLED | {"sent_at": "first", "attempts": "counted"}
ENDED: dict[str, Any] = {"claim_id": None, "attempts": 4, "reason": "code"}
ACTS: dict[str, tuple[Act, dict[str, Any]]] = {
    "redecide queued": (
        lambda ids, now: transitions.redecide(Redecided(id, Status.QUEUED) for id in ids),
        QUEUED | {"reason": ""},
    ),
    "redecide held": (
        lambda ids, now: transitions.redecide(
            Redecided(id, Status.HELD, "quiet_hours", now + LATER) for id in ids
        ),
        {"held_until": "later", "reason": "quiet_hours"},
    ),
    "redecide skipped": (
        lambda ids, now: transitions.redecide(
            Redecided(id, Status.SKIPPED, "merged", None, INTO) for id in ids
        ),
        SETTLED | {"status": "skipped", "reason": "merged", "merged_into": INTO},
    ),
    "redecide expired": (
        lambda ids, now: transitions.redecide(Redecided(id, Status.EXPIRED, "expires_at") for id in ids),
        SETTLED | {"status": "expired", "reason": "expires_at"},
    ),
    "claim": (
        lambda ids, now: transitions.claim(Due(LANE, 10), 99),
        {"status": "sending", "claim_id": 99, "next_attempt_at": None},
    ),
    "give_back": (lambda ids, now: transitions.give_back(ids, CLAIM), QUEUED),
    "settle sent": (
        settling(Status.SENT),
        ENDED | {"status": "sent", "sent_at": "now", "settled_at": "now"},
    ),
    "settle retrying": (
        settling(Status.RETRYING),
        ENDED | {"status": "retrying", "next_attempt_at": "later"},
    ),
    "settle failed": (settling(Status.FAILED), ENDED | {"status": "failed", "settled_at": "now"}),
    "settle dead": (settling(Status.DEAD), ENDED | {"status": "dead", "settled_at": "now"}),
    "settle skipped": (settling(Status.SKIPPED), ENDED | {"status": "skipped", "settled_at": "now"}),
    "settle expired": (settling(Status.EXPIRED), ENDED | {"status": "expired", "settled_at": "now"}),
    "settle cancelled": (settling(Status.CANCELLED), ENDED | {"status": "cancelled", "settled_at": "now"}),
    "settle unknown": (settling(Status.UNKNOWN), ENDED | {"status": "unknown", "claim_id": CLAIM}),
    "accept": (
        lambda ids, now: transitions.prove(accepted=ids),
        PROVEN | {"status": "sent", "reason": ""},
    ),
    "repeat_unknown": (
        lambda ids, now: transitions.repeat_unknown(ids, at=now + LATER, reason="repeated"),
        {"status": "retrying", "next_attempt_at": "later", "claim_id": None, "reason": "repeated"},
    ),
    "bury_unknown": (
        lambda ids, now: transitions.bury_unknown(ids, reason="unknown_outcome"),
        SETTLED | {"status": "dead", "reason": "unknown_outcome"},
    ),
    "deliver": (
        lambda ids, now: transitions.prove(delivered=ids),
        PROVEN | {"status": "delivered", "reason": "", "delivered_at": "now"},
    ),
    "deliver_in_app delivered": (
        delivering_in_app(Status.DELIVERED),
        SETTLED | {"status": "delivered", "reason": "code", "sent_at": "now", "delivered_at": "now"},
    ),
    "deliver_in_app dead": (
        delivering_in_app(Status.DEAD),
        SETTLED | {"status": "dead", "reason": "code"},
    ),
    "deliver_in_app skipped": (
        delivering_in_app(Status.SKIPPED),
        SETTLED | {"status": "skipped", "reason": "code"},
    ),
    "deliver_in_app expired": (
        delivering_in_app(Status.EXPIRED),
        SETTLED | {"status": "expired", "reason": "code"},
    ),
    "deliver_in_app cancelled": (
        delivering_in_app(Status.CANCELLED),
        SETTLED | {"status": "cancelled", "reason": "code"},
    ),
    "bounce": (
        lambda ids, now: transitions.prove(bounced=dict.fromkeys(ids, "mailbox_full")),
        PROVEN | {"status": "failed", "bounced_at": "now", "reason": "mailbox_full"},
    ),
    "cancel": (
        lambda ids, now: transitions.cancel(ids),
        SETTLED | {"status": "cancelled", "reason": "cancelled"},
    ),
    "expire": (
        lambda ids, now: transitions.expire(ids),
        SETTLED | {"status": "expired", "reason": "expires_at"},
    ),
    "skip": (
        lambda ids, now: transitions.skip(ids, reason="unsubscribed"),
        SETTLED | {"status": "skipped", "reason": "unsubscribed"},
    ),
    "redrive": (
        lambda ids, now: transitions.redrive(ids, more_attempts=9, by=5),
        QUEUED | {"reason": "", "attempts_allowed": 10, "sent_at": None, "cancel_asked_at": None},
    ),
}


def moved_ids(moves: list[Any]) -> Ids:
    return sorted(move.id for move in moves)


def test_every_move_of_the_table_is_tried_here() -> None:
    tried = {name.split()[0] for name in ACTS} | {"create"}
    assert tried == set(MOVES)
    for name, (_, targets) in MOVES.items():
        ends = {act.split()[1] for act in ACTS if act.startswith(f"{name} ")}
        assert not ends or ends == {target.value for target in targets}


@pytest.mark.parametrize("source", Status)
@pytest.mark.parametrize("name", ACTS)
def test_a_move_sets_its_columns_or_nothing_at_all(name: str, source: Status) -> None:
    act, sets = ACTS[name]
    now = clock.now()
    (id,) = rows.targets(rows.notification(kept=True), source)
    before = rows.row(id)
    times = {
        "now": now,
        "later": now + LATER,
        "first": before["sent_at"] or now,
        "counted": before["attempts"] + (source is Status.SENDING),
    }
    expected = {column: times.get(value, value) for column, value in sets.items()}
    legal = source in MOVES[name.split(maxsplit=1)[0]][0]

    moved = act([id], now)

    assert moved_ids(moved) == ([id] if legal else [])
    assert rows.row(id) == (before | expected if legal else before)
    rows.assert_books_balance()
    rows.assert_shapes_hold()


@pytest.mark.parametrize("status", Status)
def test_what_returns_says_where_each_row_came_from(status: Status) -> None:
    note = rows.notification()
    (id,) = rows.targets(note, status)
    moved = transitions.prove(delivered=[id])
    told = [(m.id, m.notification_id, m.organization_id, m.old, m.new) for m in moved]
    wanted = [(id, note.pk, note.organization_id, status.value, "delivered")]
    assert told == (wanted if status in MOVES["deliver"][0] else [])


def planned(note: Any, status: Status, at: datetime | None, **fields: Any) -> Planned:
    values = {
        "user_id": 1,
        "channel": "email",
        "address": "a@example.com",
        "lane": LANE,
        "attempts_allowed": 3,
    }
    return Planned(
        id=ids.target_id(),
        notification_id=note.pk,
        organization_id=1,
        status=status,
        at=at,
        **(values | fields),
    )


def test_created_rows_are_queued_held_or_skipped_with_their_times() -> None:
    now, note = clock.now(), rows.notification(kept=True)
    queued = planned(note, Status.QUEUED, now, expires_at=now + LATER)
    held = planned(note, Status.HELD, now + LATER, reason="scheduled")
    skipped = planned(note, Status.SKIPPED, None, reason="no_address")
    transitions.create([queued, held, skipped], summarised={note.pk})
    found = [rows.row(one.id) for one in (queued, held, skipped)]
    assert [one["next_attempt_at"] for one in found] == [now, None, None]
    assert [one["held_until"] for one in found] == [None, now + LATER, None]
    assert [one["settled_at"] for one in found] == [None, None, now]
    assert [one["reason"] for one in found] == ["", "scheduled", "no_address"]
    assert [one["expires_at"] for one in found] == [now + LATER, None, None]
    assert {(one["attempts"], one["attempts_allowed"], one["claim_id"]) for one in found} == {(0, 3, None)}
    rows.assert_books_balance()
    assert NotificationSummary.objects.get().planned == 3


def test_creating_nothing_is_nothing() -> None:
    transitions.create([], summarised=())
    assert not NotificationTarget.objects.exists()


@pytest.mark.parametrize(
    ("status", "columns"),
    [
        ("queued", {}),  # claimable without a time: no claim would ever see it
        ("retrying", {}),
        ("held", {}),  # would never be released
        ("sent", {"next_attempt_at": "now"}),  # would be claimed again
        ("queued", {"next_attempt_at": "now", "held_until": "now"}),
        ("posted", {}),  # no such status
    ],
)
def test_the_database_refuses_rows_that_contradict_themselves(status: str, columns: dict[str, str]) -> None:
    (id,) = rows.targets(rows.notification(), Status.SENT)
    values = {"next_attempt_at": None, "held_until": None} | {name: clock.now() for name in columns}
    with pytest.raises(IntegrityError), transaction.atomic():
        NotificationTarget.objects.filter(id=id).update(status=status, **values)


FENCED: dict[str, Callable[[Ids], list[Any]]] = {
    "settle": lambda ids: settle(CLAIM + 1, [Settled(i, Status.SENT, "", None, 1) for i in ids]),
    "give_back": lambda ids: transitions.give_back(ids, CLAIM + 1),
}


@pytest.mark.parametrize("name", FENCED)
def test_another_claims_worker_moves_nothing(name: str) -> None:
    (id,) = rows.targets(rows.notification(kept=True), Status.SENDING)
    before = rows.row(id)
    assert FENCED[name]([id]) == []
    assert rows.row(id) == before
    rows.assert_books_balance()


def test_a_row_without_a_claim_is_nobodys_to_settle() -> None:
    (id,) = rows.targets(rows.notification(), Status.SENDING, claim_id=None)
    assert settle(CLAIM, [Settled(id, Status.SENT, "", None, 1)]) == []


def test_of_a_batch_only_the_rows_that_fit_move() -> None:
    note = rows.notification(kept=True)
    by_status = {status: rows.targets(note, status)[0] for status in Status}
    moved = transitions.cancel(reversed(list(by_status.values())))
    assert moved_ids(moved) == sorted(by_status[status] for status in MOVES["cancel"][0] if status)
    rows.assert_books_balance()


def test_an_unknown_id_and_the_same_id_twice_are_harmless() -> None:
    (id,) = rows.targets(rows.notification(kept=True), Status.QUEUED)
    assert moved_ids(transitions.cancel([id, ids.target_id(), id])) == [id]
    rows.assert_books_balance()


def test_a_claim_takes_only_its_lane_and_only_what_is_due() -> None:
    note, now = rows.notification(), clock.now()
    (due,) = rows.targets(note, Status.QUEUED, next_attempt_at=now)
    rows.targets(note, Status.QUEUED, next_attempt_at=now + timedelta(microseconds=1))
    rows.targets(note, Status.QUEUED, lane="email.high")
    (claimed,) = transitions.claim(Due(LANE, 10), CLAIM)
    assert (claimed.id, claimed.attempts) == (due, 0)
    assert claimed.due == (now - EPOCH) // timedelta(microseconds=1)


def test_a_redrive_allows_more_attempts_and_never_fewer() -> None:
    note = rows.notification()
    used_up = rows.targets(note, Status.DEAD, attempts=6, attempts_allowed=6)
    refused = rows.targets(note, Status.FAILED, attempts=1, attempts_allowed=6)
    transitions.redrive(used_up + refused, more_attempts=2, by=None)
    assert [rows.row(id)["attempts_allowed"] for id in used_up + refused] == [8, 6]
    assert [rows.row(id)["attempts"] for id in used_up + refused] == [6, 1]


def test_a_redrive_stops_where_attempts_can_no_longer_be_numbered() -> None:
    note = rows.notification()
    (last,) = rows.targets(note, Status.DEAD, attempts=254, attempts_allowed=254)
    (none,) = rows.targets(note, Status.DEAD, attempts=255, attempts_allowed=255)
    assert moved_ids(transitions.redrive([last, none], more_attempts=10, by=None)) == [last]
    assert rows.row(last)["attempts_allowed"] == 255
    rows.assert_books_balance()


@pytest.mark.parametrize(
    ("move", "resolution", "by"),
    [("accept", "accepted", None), ("deliver", "delivered", None), ("redrive", "re-driven", 5)],
)
def test_leaving_dead_resolves_the_dead_letter(move: str, resolution: str, by: int | None) -> None:
    (id,) = rows.targets(rows.notification(), Status.DEAD)
    ACTS[move][0]([id], clock.now())
    letter = DeadLetter.objects.get()
    assert (letter.target_id, letter.resolution, letter.resolved_by_id) == (id, resolution, by)
    assert letter.resolved_at == clock.now()


def test_dying_again_opens_a_second_dead_letter_with_its_own_reason() -> None:
    (id,) = rows.targets(rows.notification(), Status.DEAD)
    transitions.redrive([id], more_attempts=1, by=None)
    transitions.claim(Due(LANE, 1), CLAIM)
    transitions.settle(CLAIM, [Settled(id, Status.DEAD, "rendering", None, 1)])
    letters = DeadLetter.objects.order_by("id").values_list("reason", "resolution")
    assert list(letters) == [("attempts_used_up", "re-driven"), ("rendering", "")]


class Walk:
    """Random moves on real rows beside a model that knows nothing but `MOVES`."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.status: dict[UUID, str] = {}
        self.claim: dict[UUID, int] = {}
        self.bounced: set[UUID] = set()
        self.next_claim = 100
        now = clock.now()
        notes = (rows.notification(kept=True), rows.notification(kept=True), rows.notification())
        kept = {note.pk for note in notes[:2]}
        for note in notes:
            new = [
                planned(note, status, now if status is Status.QUEUED else now + LATER)
                for status in (Status.QUEUED, Status.QUEUED, Status.HELD, Status.SKIPPED)
            ]
            transitions.create(new, summarised=kept)
            self.status |= {one.id: one.status.value for one in new}

    def step(self) -> None:
        name = self.random.choice([*ACTS, "claim", "claim"])  # without claims little else is possible
        chosen = self.random.sample(sorted(self.status), self.random.randint(1, len(self.status)))
        if name == "claim":
            self._claim()
        elif name.startswith("settle"):
            self._settle(Status(name.split()[1]), chosen)
        elif name == "give_back":
            claim = self._some_claim()
            moved = transitions.give_back(chosen, claim)
            self._expect(moved, "give_back", [id for id in chosen if self.claim.get(id) == claim], "queued")
        else:
            ends = name.split()[1] if " " in name else MOVES[name][1][0].value
            self._expect(ACTS[name][0](chosen, clock.now()), name.split()[0], chosen, ends)

    def _some_claim(self) -> int:
        return self.random.choice([*self.claim.values(), 1])

    def _claim(self) -> None:
        self.next_claim += 1
        limit = self.random.randint(1, 5)
        claimed = transitions.claim(Due(LANE, limit), self.next_claim)
        assert len(claimed) <= limit
        assert {self.status[one.id] for one in claimed} <= {"queued", "retrying"}
        for one in claimed:
            self.status[one.id], self.claim[one.id] = "sending", self.next_claim

    def _settle(self, status: Status, chosen: Ids) -> None:
        claim = self._some_claim()
        at = clock.now() if status is Status.RETRYING else None
        attempts = {id: rows.row(id)["attempts"] + 1 for id in chosen}
        moved = settle(claim, [Settled(id, status, "x", at, min(attempts[id], 250)) for id in chosen])
        self._expect(moved, "settle", [id for id in chosen if self.claim.get(id) == claim], status.value)

    def _expect(self, moved: list[Any], name: str, chosen: Ids, ends: str) -> None:
        sources = {source.value for source in MOVES[name][0] if source}
        refused = self.bounced if name == "accept" else set()
        assert moved_ids(moved) == sorted(
            id for id in chosen if self.status[id] in sources - ({"failed"} if id in refused else set())
        )
        for move in moved:
            if name == "bounce":
                self.bounced.add(move.id)
            assert move.old in {self.status[move.id], None}
            self.status[move.id] = ends
            if ends not in {"sending", "unknown"}:
                self.claim.pop(move.id, None)

    def check(self) -> None:
        assert dict(NotificationTarget.objects.values_list("id", "status")) == self.status
        rows.assert_books_balance()
        rows.assert_shapes_hold()


@pytest.mark.parametrize("seed", range(6))
def test_after_any_moves_in_any_order_the_books_balance(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(60):
        walk.step()
        walk.check()


_ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+?) \|", re.MULTILINE)


def test_the_documented_table_is_the_table() -> None:
    text = (Path(__file__).parents[2] / "docs" / "states.md").read_text()
    names = {"–": None} | {status.value: status for status in Status}
    documented = {
        move: tuple(frozenset(names[word] for word in re.split(r", ", cell)) for cell in cells)
        for move, *cells in _ROW.findall(text)
    }
    assert documented == {
        move: (frozenset(sources), frozenset(ends)) for move, (sources, ends) in MOVES.items()
    }
    assert {status.value for status in Status} <= set(re.findall(r"\*\*(\w+)\*\*", text))
