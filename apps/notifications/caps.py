"""How many messages a person may get by a channel in an hour or a day, counted in sliding windows.

What fits is decided by `fit`, which is pure; `charge` reads and writes the times it decides by. A row of them
is kept only where there is a cap: a cap counts from when it was first asked about.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from apps.content.catalog import TypeRules
from project import db

MOST = 1_000  # a cap above it counts as this
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

Row = tuple[int, str, str]  # user_id, channel, type; the type is empty in a person's row for all of them
Times = Mapping[Row, Sequence[datetime]]  # oldest first


class Use(NamedTuple):
    """A message that is to go to a person by a channel, and the caps on it; None: no cap.

    type: a slug, empty if it has none. per_hour: the person's, over all types. The others are the type's.
    """

    user_id: int
    channel: str
    type: str
    per_hour: int | None
    type_per_hour: int | None
    type_per_day: int | None


class Over(NamedTuple):
    """It did not fit. cap: which one, a field of `Use`; of several the last to let go. limit: how many it is.

    again_at: when the next one fits, if nothing is charged until then. UTC.
    """

    cap: str
    limit: int
    again_at: datetime


def use(user_id: int, channel: str, type: TypeRules | None, per_hour: int | None) -> Use:
    """A message of a type to a person who wants so many per hour at most."""
    if type is None:
        return Use(user_id, channel, "", per_hour, None, None)
    return Use(user_id, channel, type.slug, per_hour, type.cap_per_hour, type.cap_per_day)


def detail(over: Over, overflow: str) -> dict[str, Any]:
    """Why it did not fit and what came of it, for people who ask. overflow: of `content.models.Overflow`."""
    again_at = over.again_at.isoformat()
    return {"rule": "cap", "cap": over.cap, "limit": over.limit, "again_at": again_at, "overflow": overflow}


class _Cap(NamedTuple):
    name: str
    limit: int
    window: timedelta
    row: Row


def charge(uses: Sequence[Use], *, later: Iterable[Use] = ()) -> list[Over | None]:
    """Charge these in their order, in the caller's transaction: None for what fits into all its caps.

    What does not fit is charged nowhere. Two statements for any number, none if nothing has a cap. To be
    called once per transaction, for the rows are locked in their order, also against others who charge; and
    then for what was locked with them: later, what may have to be charged in the same transaction.
    """
    rows = sorted({cap.row for use in (*uses, *later) for cap in _caps(use)})
    if not rows:
        return [None] * len(uses)
    now, times = _lock(rows)
    results, changed = fit(uses, times, now)
    if changed:
        _write(changed)
    return results


def fit(
    uses: Iterable[Use], times: Times, now: datetime
) -> tuple[list[Over | None], dict[Row, list[datetime]]]:
    """What becomes of each, in order, and the rows this changes, with their new times."""
    known: dict[Row, Sequence[datetime]] = dict(times)
    changed: dict[Row, list[datetime]] = {}
    results: list[Over | None] = []
    for use in uses:
        caps = _caps(use)
        hit = [over for cap in caps if (over := _over(cap, known.get(cap.row, ()), now))]
        results.append(max(hit, key=lambda over: over.again_at, default=None))
        if not hit:
            charged = {row: _with(known.get(row, ()), now, most) for row, most in _rows(caps).items()}
            changed |= charged
            known |= charged
    return results, changed


def _rows(caps: Iterable[_Cap]) -> dict[Row, int]:
    """The rows of these caps, and how many times the greatest of each needs."""
    most: dict[Row, int] = {}
    for cap in caps:
        most[cap.row] = max(cap.limit, most.get(cap.row, 0))
    return most


def _caps(use: Use) -> list[_Cap]:
    all_types, of_type = (use.user_id, use.channel, ""), (use.user_id, use.channel, use.type)
    caps = (
        ("per_hour", use.per_hour, HOUR, all_types),
        ("type_per_hour", use.type_per_hour, HOUR, of_type),
        ("type_per_day", use.type_per_day, DAY, of_type),
    )
    return [
        _Cap(name, min(limit, MOST), window, row) for name, limit, window, row in caps if limit is not None
    ]


def _over(cap: _Cap, times: Sequence[datetime], now: datetime) -> Over | None:
    """Whether the window that ends now is full. A time after it, of who began later, counts too."""
    if len(times) - bisect_right(times, now - cap.window) < cap.limit:
        return None
    last = times[-cap.limit] if cap.limit > 0 else now
    return Over(cap.name, cap.limit, last + cap.window)


def _with(times: Sequence[datetime], now: datetime, most: int) -> list[datetime]:
    """These times and now, without what no cap asks about any more."""
    kept = list(times[bisect_right(times, now - DAY) :])
    insort(kept, now)
    return kept[-most:]


# Locks the rows, those that are not there yet too, and tells what they say.
_LOCK = """
INSERT INTO notifications_capuse AS c (user_id, channel, type, times)
SELECT user_id, channel, type, '{{}}' FROM {given}
ON CONFLICT (user_id, channel, type) DO UPDATE SET updated_at = carillon_now()
RETURNING user_id, channel, type, times, carillon_now()
"""
_ROWS = db.Columns((("user_id", "bigint"), ("channel", "text"), ("type", "text")))


def _lock(rows: Sequence[Row]) -> tuple[datetime, Times]:
    given, values = _ROWS.given(rows)
    found = db.rows(_LOCK.format(given=given), values)
    return found[0][4], {(user_id, channel, type): times for user_id, channel, type, times, _ in found}


# As texts: an array of arrays would have to be a rectangle.
_WRITE = """
UPDATE notifications_capuse c SET times = g.times::timestamptz[]
FROM {given} WHERE c.user_id = g.user_id AND c.channel = g.channel AND c.type = g.type
"""
_TIMES = db.Columns((*_ROWS.types, ("times", "text")))


def _write(changed: Mapping[Row, Sequence[datetime]]) -> None:
    given, values = _TIMES.given(
        [(*row, f"{{{','.join(map(str, times))}}}") for row, times in changed.items()]
    )
    db.execute(_WRITE.format(given=given), values)


_FORGET = """
DELETE FROM notifications_capuse WHERE (user_id, channel, type) IN (
    SELECT user_id, channel, type FROM notifications_capuse
    WHERE updated_at < carillon_now() - interval '25 hours' ORDER BY updated_at LIMIT %s
    FOR UPDATE SKIP LOCKED
)
"""


def forget_old(limit: int) -> int:
    """Drop rows that nobody has asked about for longer than any cap counts; how many."""
    return db.execute(_FORGET, [limit])
