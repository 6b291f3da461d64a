"""What people choose: what is off is known, and in the end nothing can be held."""

from __future__ import annotations

import asyncio
import math
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

import orjson
import pytest

from tests.chaos import choices
from tests.chaos.choices import ALERT, LAST_ZONE, ZONES, Choices
from tests.chaos.client import Answer, Client

PEOPLE = {n: f"choosing-{n}" for n in range(10, 34)}
LATEST = 1_000_000.0  # when answers come


class Api:
    """Answers everything, after so many tries; tells `of` to stop after so many calls."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.tries = 1
        self.stops = 300
        self.of: Choices | None = None

    async def call(self, method: str, path: str, body: bytes) -> Answer:
        self.asked.append((method, path, orjson.loads(body)))
        if self.of and len(self.asked) == self.stops:
            self.of.stop()
        return Answer(200, b"", False, LATEST, self.tries)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def chosen(api: Api, monkeypatch: pytest.MonkeyPatch) -> Choices:
    monkeypatch.setattr(choices, "EVERY", 0.0)
    api.of = Choices(cast(Client, api), PEOPLE, random.Random(1))
    return api.of


async def switched(chosen: Choices, times: int) -> None:
    for _ in range(times):
        await chosen._switch(10)


def test_every_choice_is_made_and_what_was_off_is_remembered(api: Api, chosen: Choices) -> None:
    asyncio.run(chosen.keep_changing())
    assert (chosen.changes, len(api.asked)) == (300, 300)
    told = {key for _, _, body in api.asked for key in body}
    assert told == {"types", "digest", "quiet", "timezone"}
    said = [body["types"][ALERT] for _, _, body in api.asked if ALERT in body.get("types", {})]
    assert sum(how == "on" for one in said for how in one.values()) == len(chosen.offs) > 5


def test_it_is_off_from_the_answer_until_it_is_asked_for_again(api: Api, chosen: Choices) -> None:
    before = time.time()
    asyncio.run(switched(chosen, 2))
    (off,) = chosen.offs
    (_, _, first), (_, _, second) = api.asked
    assert first == {"types": {ALERT: {off.channel: "off"}}}
    assert second == {"types": {ALERT: {off.channel: "on"}}}
    assert (off.user, off.type, off.begin) == (10, ALERT, LATEST) and before <= off.end <= time.time()


def test_after_a_switching_on_that_had_no_answer_the_next_is_not_judged(api: Api, chosen: Choices) -> None:
    api.tries = 2
    asyncio.run(switched(chosen, 2))
    api.tries = 1
    asyncio.run(switched(chosen, 4))
    assert [off.begin for off in chosen.offs] == [LATEST, math.inf, LATEST]


def test_in_the_end_all_is_as_if_they_had_chosen_nothing(api: Api, chosen: Choices) -> None:
    asyncio.run(switched(chosen, 1))
    api.asked.clear()
    asyncio.run(chosen.choose_nothing())
    paths = [f"/api/users/{name}/preferences/" for name in PEOPLE.values()]
    assert api.asked == [("PUT", path, {"timezone": LAST_ZONE}) for path in paths]
    assert len(chosen.offs) == 1


def test_it_is_nowhere_later_than_in_the_last_zone() -> None:
    now = datetime.now(UTC)
    walls = {zone: now.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for zone in ZONES}
    assert max(walls, key=lambda zone: walls[zone]) == LAST_ZONE


def test_a_story_has_the_same_people_and_keys_and_the_next_one_others(chosen: Choices) -> None:
    requests = [chosen.rows() for _ in range(8)]
    people = [{tuple(row["targets"]) for row in rows} for rows in requests]
    assert people == [{(10, 11, 12)}] * 4 + [{(13, 14, 15)}] * 4
    keys = [row.get("collapse_key") or row.get("dedupe_key") for rows in requests for row in rows]
    assert set(keys) == {"story-0", "story-1", None}


def test_a_local_time_is_some_seconds_ahead_where_the_first_of_them_is(chosen: Choices) -> None:
    chosen._zones = dict.fromkeys(PEOPLE, "Asia/Kolkata")
    rows = [row for _ in range(30) for row in chosen.rows() if "local_time" in row]
    now = datetime.now(ZoneInfo("Asia/Kolkata")).replace(tzinfo=None)
    ahead = [datetime.fromisoformat(row["local_time"]) - now for row in rows]
    assert ahead and all(timedelta(0) < one < timedelta(seconds=7) for one in ahead)
