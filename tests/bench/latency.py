"""Milliseconds from a critical POST to the provider's call and to the person's open socket, under a backlog.

Critical POSTs (in-app and, in turn, e-mail or SMS) at ten a second, while 1,000,000 bulk e-mails wait and the
e-mail workers send them as fast as they can. From just before the request is sent to the simulator's
acceptance, and to the WebSocket client's receipt; all by the one clock of this machine. The floor is the same
with empty lanes.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psycopg

from tests.bench.floor import PLAN
from tests.bench.pipeline import version_of
from tests.bench.stage import GROUPS, Stage, make_key, make_people, stage

PEOPLE = 100_000
BACKLOG = 1_000_000
PLANNED_AT_ONCE = 10_000
POSTS = 400
EVERY = 0.1  # seconds
SOCKETS = 50
LATEST = 30.0  # seconds after the last POST for all to have come
CHANNELS = (["in_app", "email"], ["in_app", "sms"])


def main(_argv: list[str]) -> tuple[dict[str, float], dict[str, float]]:
    with stage() as built:
        user_ids = make_people(PEOPLE)
        built.start_everything()
        measurement = _Measurement(built, user_ids[:SOCKETS], make_key())
        measurement.run(POSTS // 10)  # so that the clock does not measure how processes start
        floor = measurement.run(POSTS)
        print(f"empty lanes: {floor}", flush=True)
        built.processes.stop(["email"])
        backed_up = _back_up(user_ids)
        built.processes.worker("email", concurrency=GROUPS["email"])
        while _left() > backed_up - 10_000:
            time.sleep(0.2)
        figures = measurement.run(POSTS)
        if not (left := _left()):
            raise AssertionError("the backlog was gone before the measurement was over")
    return {**figures, "backlog_start": backed_up, "backlog_end": left}, floor


@dataclass
class _Times:
    """When each target's POST was sent and its message came, in seconds since 1970."""

    posted: dict[str, float] = field(default_factory=dict)  # target -> when
    provider: set[str] = field(default_factory=set)  # the targets that need one
    received: dict[str, float] = field(default_factory=dict)


class _Measurement:
    """The API, the sockets, and people with an open page each."""

    def __init__(self, built: Stage, user_ids: list[int], key: str) -> None:
        from apps.users import tokens
        from apps.users.models import User

        self._ledger = built.ledger
        self._api = built.start_api()
        self._socket_port, _ = built.start_sockets()
        self._headers = {"Authorization": f"Bearer {key}"}
        self._people = {id: tokens.mint(User(id=id), 3_600)[0] for id in user_ids}

    def run(self, posts: int) -> dict[str, float]:
        """So many POSTs, one every `EVERY` seconds whatever becomes of those before."""
        offset = self._ledger.stat().st_size
        times = asyncio.run(self._post_all(posts))
        accepted = _accepted(self._ledger, offset, times.provider)
        provider = [accepted[target] - times.posted[target] for target in times.provider]
        socket = [times.received[target] - times.posted[target] for target in times.received]
        return {
            "provider_p99_ms": _percentile(provider, 99),
            "socket_p99_ms": _percentile(socket, 99),
            "provider_p50_ms": _percentile(provider, 50),
            "socket_p50_ms": _percentile(socket, 50),
        }

    async def _post_all(self, posts: int) -> _Times:
        times = _Times()
        async with aiohttp.ClientSession() as session:
            listening = [
                asyncio.create_task(self._listen(session, token, times)) for token in self._people.values()
            ]
            await asyncio.sleep(1)  # all have said hello by then
            sending = []
            due = time.monotonic()
            for number in range(posts):
                sending.append(asyncio.create_task(self._post(session, number, times)))
                due += EVERY
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            await asyncio.gather(*sending)
            await self._all_came(times)
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
        return times

    async def _post(self, session: aiohttp.ClientSession, number: int, times: _Times) -> None:
        body = {
            "title": "Your code is 123456",
            "body": "It is good for five minutes.",
            "targets": [[*self._people][number % len(self._people)]],
            "channels": CHANNELS[number % len(CHANNELS)],
            "priority": "critical",
        }
        sent = time.time()
        async with session.post(
            f"{self._api}/api/notifications/", json=body, headers=self._headers
        ) as answer:
            answer.raise_for_status()
            for target in (await answer.json())["targets"]:
                times.posted[target["id"]] = sent
                if target["channel"] != "in_app":
                    times.provider.add(target["id"])

    async def _listen(self, session: aiohttp.ClientSession, token: str, times: _Times) -> None:
        url = f"ws://127.0.0.1:{self._socket_port}/ws/notifications/"
        async with session.ws_connect(url, protocols=("carillon", f"bearer.{token}")) as socket:
            async for message in socket:
                now = time.time()
                frame = orjson.loads(message.data)
                if frame["type"] == "notification":
                    times.received[frame["item"]["id"]] = now

    async def _all_came(self, times: _Times) -> None:
        wanted = times.posted.keys() - times.provider
        async with asyncio.timeout(LATEST):
            while wanted - times.received.keys():
                await asyncio.sleep(0.05)


def _accepted(ledger: Path, offset: int, targets: set[str]) -> dict[str, float]:
    """When the simulator accepted these, as soon as it has all of them. Raises TimeoutError."""
    deadline = time.monotonic() + LATEST
    while time.monotonic() < deadline:
        with ledger.open("rb") as file:
            file.seek(offset)
            whole = (line for line in file if line.endswith(b"\n"))
            lines: list[dict[str, Any]] = [orjson.loads(line) for line in whole]
        found = {line["target"]: line["at"] for line in lines if line["target"] in targets}
        if len(found) == len(targets):
            return found
        time.sleep(0.5)
    raise TimeoutError(f"{len(targets) - len(found)} of {len(targets)} critical messages did not leave")


def _percentile(seconds: list[float], percent: int) -> float:
    """In milliseconds."""
    return round(sorted(seconds)[(len(seconds) * percent - 1) // 100] * 1_000, 1)


def _back_up(user_ids: list[int]) -> int:
    """Plan the backlog of one big notification by SQL, as its workers would in ten times the time."""
    import os

    from apps.notifications import intake
    from apps.notifications.intake import Order

    order = Order(
        organization_id=1,
        channels=["email"],
        version_id=version_of("email"),
        template="order-shipped",
        payload={"order": "A-1001", "day": "Tuesday"},
    )
    id = intake.accept_audience(order, user_ids[:2_000])
    values = {"notification": id, "channel": "email", "lane": "email.bulk", "people": PEOPLE}

    def plan(first: int, last: int) -> None:
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
            for start in range(first, last, PLANNED_AT_ONCE):
                connection.execute(PLAN, {**values, "first": start + 1, "last": start + PLANNED_AT_ONCE})

    half = BACKLOG // 2
    threads = [threading.Thread(target=plan, args=[first, first + half]) for first in (0, half)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _left()


def _left() -> int:
    """Bulk e-mails that wait, roughly: the table's newest minus what its summary says was sent."""
    from project import db

    ((left,),) = db.rows(
        "SELECT %s + sum(planned) - sum(sent) FROM notifications_notificationsummary", [BACKLOG]
    )
    return int(left)
