"""What becomes of one target, by table: what makes it impossible, when it may go, not after it expires."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.content.catalog import TypeRules
from apps.notifications.deciding import Asking, Decided, Place, decide
from apps.notifications.statuses import Status
from apps.preferences import localtime
from apps.preferences.rules import MINUTES_A_DAY, Chosen, Rules, Window

NOW = datetime(2026, 5, 1, 21, 30, tzinfo=UTC)  # a Friday; 23:30 in Berlin
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
TOLD = {"rule": "dedupe", "key": "k", "window": 60}
DAYS = frozenset(range(7))
QUIET = Rules(quiet=(Window(DAYS, 22 * 60, 7 * 60),), quiet_level="person")
OFF = Rules(choices={("news", ""): Chosen("off")})
DAILY = Rules(choices={("news", ""): Chosen("daily")})
NEVER = Rules(hours=(Window(frozenset({0}), 0, 1), Window(frozenset({1}), 0, 1)), quiet=(Window(DAYS, 0, 1),))
NEWS = TypeRules("news")
NO_END = {"until": None}


def asking(**fields: Any) -> Asking:
    values: dict[str, Any] = {
        "type": NEWS,
        "critical": False,
        "scheduled_at": None,
        "local_time": "",
        "expires_at": None,
        "accepted_at": NOW,
    }
    return Asking(**(values | fields))


def place(**fields: Any) -> Place:
    values = {"channel": "email", "address": "a@example.com", "zone": "Europe/Berlin", "rules": Rules()}
    return Place(**(values | fields))


def test_what_nothing_speaks_against_is_queued_now() -> None:
    assert decide(asking(), place(), NOW) == Decided(Status.QUEUED, "", NOW)


IMPOSSIBLE = {
    "inactive": {"is_active": False},
    "duplicate": {"told": TOLD},
    "no_address": {"address": ""},
    "suppressed": {"suppressed": True},
}


@pytest.mark.parametrize("critical", [False, True])
@pytest.mark.parametrize("reason", IMPOSSIBLE)
def test_the_impossible_is_skipped_whatever_is_asked_for(reason: str, critical: bool) -> None:
    """The first of them is told: to whom nothing new is told, that is so by every channel."""
    names = list(IMPOSSIBLE)
    fields = {k: v for name in names[names.index(reason) :] for k, v in IMPOSSIBLE[name].items()}
    found = decide(asking(scheduled_at=NOW + HOUR, critical=critical), place(**fields, rules=OFF), NOW)
    assert found == Decided(Status.SKIPPED, reason, None, TOLD if reason == "duplicate" else {})


HELD, QUEUED, SKIPPED = Status.HELD, Status.QUEUED, Status.SKIPPED
SEVEN = datetime(2026, 5, 2, 5, tzinfo=UTC)  # in Berlin
EIGHT = SEVEN + HOUR
CASES: list[tuple[dict[str, Any], dict[str, Any], Status, str, datetime | None]] = [
    # The caller's time, before anything the person wants.
    ({"scheduled_at": NOW + HOUR}, {"rules": OFF}, HELD, "scheduled", NOW + HOUR),
    ({"scheduled_at": NOW + HOUR, "critical": True}, {}, HELD, "scheduled", NOW + HOUR),
    ({"scheduled_at": NOW}, {}, QUEUED, "", NOW),
    ({"scheduled_at": NOW - HOUR}, {"rules": QUIET}, HELD, "quiet_hours", SEVEN),
    ({"scheduled_at": NOW + HOUR, "expires_at": NOW + SECOND}, {}, HELD, "scheduled", NOW + SECOND),
    # A time of day, by each person's own clock.
    ({"local_time": "08:00"}, {}, HELD, "local_time", EIGHT),
    ({"local_time": "08:00"}, {"zone": "America/New_York"}, HELD, "local_time", EIGHT + 6 * HOUR),
    ({"local_time": "23:30"}, {}, QUEUED, "", NOW),
    ({"local_time": "23:30:00"}, {}, QUEUED, "", NOW),
    ({"local_time": "23:29"}, {}, HELD, "local_time", NOW + 24 * HOUR - 60 * SECOND),
    ({"local_time": "2026-05-02T08:00"}, {}, HELD, "local_time", EIGHT),
    ({"local_time": "2026-04-30T08:00"}, {}, QUEUED, "", NOW),
    ({"local_time": "08:00", "critical": True}, {}, HELD, "local_time", EIGHT),
    ({"local_time": "08:00", "expires_at": NOW + HOUR}, {}, HELD, "local_time", NOW + HOUR),
    # Counted from the acceptance: in the morning it is not put off by another day.
    ({"local_time": "08:00", "accepted_at": NOW - 24 * HOUR}, {}, QUEUED, "", NOW),
    ({"local_time": "08:00", "accepted_at": NOW - 24 * HOUR}, {"rules": QUIET}, HELD, "quiet_hours", SEVEN),
    # What the person wants, unless it is critical.
    ({}, {"rules": QUIET}, HELD, "quiet_hours", SEVEN),
    ({}, {"rules": QUIET, "spread": 90.0}, HELD, "quiet_hours", SEVEN + 90 * SECOND),
    ({"expires_at": NOW + HOUR}, {"rules": QUIET}, HELD, "quiet_hours", NOW + HOUR),
    ({"expires_at": EIGHT}, {"rules": QUIET}, HELD, "quiet_hours", SEVEN),
    ({"critical": True}, {"rules": QUIET}, QUEUED, "", NOW),
    ({}, {"rules": QUIET, "channel": "in_app", "address": "7"}, QUEUED, "", NOW),
    ({}, {"rules": OFF}, SKIPPED, "opted_out", None),
    ({}, {"rules": OFF, "channel": "in_app", "address": "7"}, SKIPPED, "opted_out", None),
    ({"critical": True}, {"rules": OFF}, QUEUED, "", NOW),
    ({"type": None}, {"rules": OFF}, QUEUED, "", NOW),
    ({"type": TypeRules("other")}, {"rules": OFF}, QUEUED, "", NOW),
    ({}, {"rules": DAILY}, HELD, "digest", EIGHT),
    ({"expires_at": NOW + HOUR}, {"rules": DAILY}, HELD, "digest", NOW + HOUR),
    ({}, {"rules": DAILY, "collected": True}, QUEUED, "", NOW),
    ({"type": TypeRules("sum", "digest")}, {}, HELD, "digest", EIGHT),
    ({"type": TypeRules("sum", "digest")}, {"collected": True, "rules": QUIET}, HELD, "quiet_hours", SEVEN),
    ({}, {"rules": NEVER}, HELD, "outside_hours", NOW + 24 * HOUR),
]


@pytest.mark.parametrize(("asked", "where", "status", "reason", "at"), CASES)
def test_when_it_may_go(
    asked: dict[str, Any], where: dict[str, Any], status: Status, reason: str, at: datetime | None
) -> None:
    assert decide(asking(**asked), place(**where), NOW)[:3] == (status, reason, at)


@pytest.mark.parametrize(
    ("asked", "where", "detail"),
    [
        ({"local_time": "08:00"}, {}, {"rule": "local_time", "local_time": "08:00", "zone": "Europe/Berlin"}),
        (
            {},
            {"rules": OFF},
            {"rule": "choice", "type": "news", "channel": "", "level": "person", "until": None},
        ),
        ({"scheduled_at": NOW + HOUR}, {}, {}),
        ({}, {}, {}),
    ],
)
def test_the_detail_says_by_what_it_was_decided(
    asked: dict[str, Any], where: dict[str, Any], detail: dict[str, Any]
) -> None:
    assert decide(asking(**asked), place(**where), NOW).detail == detail


moments = st.integers(-3 * 86_400, 3 * 86_400).map(lambda seconds: NOW + timedelta(seconds=seconds))
windows = st.lists(
    st.builds(
        Window,
        days=st.frozensets(st.integers(0, 6), min_size=1),
        start=st.integers(0, MINUTES_A_DAY - 1),
        end=st.integers(1, MINUTES_A_DAY),
    ),
    max_size=2,
).map(tuple)
asked = st.builds(
    asking,
    scheduled_at=st.none() | moments,
    expires_at=st.none() | moments,
    local_time=st.sampled_from(["", "08:00", "23:59:59", "2026-05-02T00:30"]),
)
places = st.builds(
    place,
    rules=st.builds(Rules, hours=windows, quiet=windows, choices=st.sampled_from([{}, DAILY.choices])),
    spread=st.floats(0, 900),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Pacific/Apia", "nowhere"]),
)


@given(asked, places)
def test_a_hold_ends_later_than_now_and_not_after_it_expires(what: Asking, where: Place) -> None:
    found, expires_at = decide(what, where, NOW), what.expires_at
    assert (found.at is None) == (found.status is SKIPPED)
    if found.status is HELD:
        assert found.at is not None and (found.at > NOW or found.at == expires_at)
        assert expires_at is None or found.at <= expires_at
    if found.reason == "local_time":
        assert found.at in {expires_at, localtime.due(what.local_time, where.zone, NOW)}
