"""What it costs to claim and settle a row while the tables grow to ten million settled targets and attempts.

Four databases with 10,000 to 10,000,000 settled rows; in turn each claims and settles 2,000 rows by the
engine's own statements, in batches of 500, without a provider, and the medians of seven rounds count. Buffers
are the blocks of tables and indexes that were touched, from shared memory or not, by `pg_statio_user_tables`.
The floor of each figure is that of 10,000 rows; autovacuum is off. `…_held_open`: a claim and settle after
50,000 others, with a transaction held open all the while, among 1,000,000 rows; its floor is the same with
none.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from tests.bench.floor import SETTLED
from tests.bench.settler import Cost, Settler
from tests.bench.stage import stage

SIZES = {"10k": 10_000, "100k": 100_000, "1M": 1_000_000, "10M": 10_000_000}
HELD_OPEN, FREE = "1M_held_open", "1M"
FILLED_AT_ONCE = 100_000
FILLERS = 2
ROUNDS = 7
BATCHES = 4  # a round
BEFORE = 100  # batches while a transaction is held open, before those that are measured


def main(argv: list[str]) -> tuple[dict[str, float], dict[str, float]]:
    sizes = {name: size for name, size in SIZES.items() if not argv or name in ("10k", FREE, *argv)}
    with stage(), _databases(sizes) as urls:
        settlers = {name: Settler(url) for name, url in urls.items()}
        costs = _growing({name: settlers[name] for name in sizes})
        held, free = settlers[HELD_OPEN], settlers[FREE]
        held_cost, free_cost = _held_open(held, free, urls[HELD_OPEN])
    figures: dict[str, float] = {}
    floor: dict[str, float] = {}
    pairs = {name: (cost, costs["10k"]) for name, cost in costs.items() if name != "10k"}
    for name, (cost, least) in {**pairs, "held_open": (held_cost, free_cost)}.items():
        figures |= {f"buffers_{name}": round(cost.buffers, 2), f"us_{name}": round(cost.seconds * 1e6, 1)}
        floor |= {f"buffers_{name}": round(least.buffers, 2), f"us_{name}": round(least.seconds * 1e6, 1)}
    return figures, floor


def _growing(settlers: dict[str, Settler]) -> dict[str, Cost]:
    """The medians, by the size of the tables; each round is every size's in turn. The first warms up."""
    costs: dict[str, list[Cost]] = {name: [] for name in settlers}
    for _ in range(ROUNDS + 1):
        for name, settler in settlers.items():
            settler.plan(BATCHES)
            costs[name].append(settler.settle(BATCHES))
    return {name: _median(found[1:]) for name, found in costs.items()}


def _held_open(held: Settler, free: Settler, url: str) -> tuple[Cost, Cost]:
    """The medians in two databases alike, deep in a lane, one of which has a transaction held open."""
    for settler in (held, free):
        settler.plan(BEFORE + ROUNDS * BATCHES)
    with psycopg.connect(url) as holder:
        holder.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        holder.execute("SELECT 1 FROM notifications_notificationtarget LIMIT 1")
        for settler in (held, free):
            settler.settle(BEFORE)
        costs = [(held.settle(BATCHES), free.settle(BATCHES)) for _ in range(ROUNDS)]
    return _median([cost for cost, _ in costs]), _median([cost for _, cost in costs])


def _median(costs: list[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.buffers for cost in costs), statistics.median(cost.seconds for cost in costs)
    )


@contextmanager
def _databases(sizes: dict[str, int]) -> Iterator[dict[str, str]]:
    """A filled copy of the stage's database for each size, and one of `FREE` once more; their URLs."""
    own = os.environ["DATABASE_URL"]
    urls = {name: f"{own}_{name.lower()}" for name in (*sizes, HELD_OPEN)}
    with psycopg.connect(own.rpartition("/")[0] + "/postgres", autocommit=True) as connection:

        def run(statement: str, *urls: str) -> None:
            names = [sql.Identifier(url.rpartition("/")[2]) for url in urls]
            connection.execute(sql.SQL(statement).format(*names))

        try:
            for name, url in urls.items():
                run("DROP DATABASE IF EXISTS {} WITH (FORCE)", url)
                run("CREATE DATABASE {} TEMPLATE {}", url, urls[FREE] if name == HELD_OPEN else own)
                if name != HELD_OPEN:
                    _fill(name, url, sizes[name])
            yield urls
        finally:
            for url in urls.values():
                run("DROP DATABASE IF EXISTS {} WITH (FORCE)", url)


def _fill(name: str, url: str, size: int) -> None:
    """So many settled targets with an attempt each, vacuumed as they would have been by now."""
    started = time.monotonic()
    starts = iter(range(0, size, FILLED_AT_ONCE))
    lock = threading.Lock()

    def fill() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while True:
                with lock:
                    first = next(starts, None)
                if first is None:
                    return
                last = min(first + FILLED_AT_ONCE, size)
                connection.execute(SETTLED, {"first": first + 1, "last": last})

    threads = [threading.Thread(target=fill) for _ in range(FILLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        for (table,) in connection.execute(_TABLES).fetchall():
            connection.execute(
                sql.SQL("ALTER TABLE {} SET (autovacuum_enabled = false)").format(sql.Identifier(table))
            )
        ((size_now,),) = connection.execute("SELECT pg_database_size(current_database())").fetchall()
    print(f"{name}: {size_now / 1e9:.2f} GB in {time.monotonic() - started:.0f} s", flush=True)


_TABLES = """
SELECT relname FROM pg_class
WHERE relkind = 'r' AND (relname LIKE 'notifications\\_%' OR relname = 'delivery_claim')
"""
