"""The plan's peak: 100 million deliveries a day, at 5,787 deliveries/s for a minute, by large audiences.

Each four seconds an audience per channel goes through the intake service: 50 parts e-mail, 30 push (each
person has one device), 15 SMS, 5 in-app. Workers of all groups run as in production. `sustained_per_s` is
what was offered if the backlog (accepted and not settled, looked at each second) did not grow, and else what
was settled. The floor is the same mix by bare SQL, as fast as it goes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from tests.bench import floor
from tests.bench.pipeline import version_of
from tests.bench.stage import GROUPS, make_people, stage

PEAK = 5_787  # deliveries/s: 100 million a day, five times the average of a day
PARTS = {"email": 50, "push": 30, "sms": 15, "in_app": 5}
PERIOD = 4  # seconds between two audiences of a channel
SECONDS = 60
SETTLING_IN = 2 * PERIOD  # seconds at the start that do not count
GROWS = 0.01  # a backlog that grows by less than this part of the offer does not grow
FLOOR_SECONDS = 15  # of the offer, for the floor


def main(argv: list[str]) -> tuple[dict[str, float], dict[str, float]]:
    offered = int(argv[0]) if argv else PEAK
    with stage() as built:
        user_ids = make_people(100_000)
        built.let_push_by_fcm(user_ids)
        lowest = _floor(offered)
        built.start_everything()
        settled, backlog = _offer(offered, user_ids)
    figures = judge(offered, settled, backlog)
    for channel, size in sizes(offered).items():
        figures[f"{channel}_offered_per_s"] = round(size / PERIOD)
    return figures, {"sustained_per_s": round(lowest)}


def sizes(offered: int) -> dict[str, int]:
    """How many each channel's audience has, for so many deliveries/s."""
    return {channel: round(offered * PERIOD * part / sum(PARTS.values())) for channel, part in PARTS.items()}


def judge(offered: int, settled: Sequence[int], backlog: Sequence[int]) -> dict[str, float]:
    """The figures of samples taken once a second, the first at the start."""
    counted = slice(SETTLING_IN, None)
    seconds = len(settled[counted]) - 1
    rate = (settled[-1] - settled[SETTLING_IN]) / seconds
    growth = slope(backlog[counted])
    return {
        "sustained_per_s": offered if growth < GROWS * offered else round(min(rate, offered)),
        "offered_per_s": offered,
        "settled_per_s": round(rate),
        "backlog_slope_per_s": round(growth, 1),
        "backlog_max": max(backlog),
        "backlog_end": backlog[-1],
    }


def slope(samples: Sequence[float]) -> float:
    """The least squares' line through samples at equal distances: its rise from one to the next."""
    middle = (len(samples) - 1) / 2
    mean = sum(samples) / len(samples)
    above = sum((at - middle) * (sample - mean) for at, sample in enumerate(samples))
    return above / sum((at - middle) ** 2 for at in range(len(samples)))


def _offer(offered: int, user_ids: list[int]) -> tuple[list[int], list[int]]:
    """Offer for `SECONDS`, one channel's audience a second; settled and backlog at each second."""
    audiences = _Audiences(offered, user_ids)
    settled, backlog = [0], [0]
    started = time.monotonic()
    for second in range(SECONDS):
        if second % PERIOD < len(PARTS):
            audiences.accept([*PARTS][second % PERIOD])
        time.sleep(max(0.0, started + second + 1 - time.monotonic()))
        settled.append(_settled())
        backlog.append(audiences.accepted - settled[-1])
        if second % 10 == 9:
            print(f"{second + 1} s: accepted {audiences.accepted}, backlog {backlog[-1]}", flush=True)
    return settled, backlog


class _Audiences:
    """People in turn, so that no audience has anybody twice."""

    def __init__(self, offered: int, user_ids: list[int]) -> None:
        self.accepted = 0
        self._sizes = sizes(offered)
        self._user_ids = user_ids

    def accept(self, channel: str) -> None:
        from apps.notifications import intake
        from apps.notifications.intake import Order

        size = self._sizes[channel]
        first = self.accepted % len(self._user_ids)
        people = (self._user_ids[first:] + self._user_ids[:first])[:size]
        intake.accept_audience(
            Order(
                organization_id=1,
                channels=[channel],
                version_id=version_of(channel),
                template="order-shipped",
                payload={"order": "A-1001", "day": "Tuesday"},
            ),
            people,
        )
        self.accepted += size


def _settled() -> int:
    """By the summaries: every audience here is large enough to have one."""
    from project import db

    ((settled,),) = db.rows(
        "SELECT coalesce(sum(sent + delivered), 0) FROM notifications_notificationsummary"
    )
    return int(settled)


def _floor(offered: int) -> float:
    """Targets per second: one channel after the other, each by as many connections as it has workers."""
    targets = {channel: size * FLOOR_SECONDS // PERIOD for channel, size in sizes(offered).items()}
    connections = GROUPS["planning"] + max(GROUPS.values())
    seconds = sum(size / floor.measure(name, size, connections=connections) for name, size in targets.items())
    return sum(targets.values()) / seconds
