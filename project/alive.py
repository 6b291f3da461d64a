"""Is a worker alive? The time of its ALIVE_FILE says when its last canary came through (project.canary).

python -m project.alive    exit 0 if that is less than WORKER_STUCK_AFTER seconds ago, else 1; says why

A container's liveness probe runs this every few seconds, so it imports neither Django nor anything of ours.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping

STUCK_AFTER = 60.0  # seconds
HOLDING = 1.0  # seconds between touches of one that holds on


def file() -> str:
    """The path of this worker's file; "" if nobody wants to know."""
    return os.environ.get("ALIVE_FILE", "")


def touch() -> None:
    """Say that this worker is alive.

    It raises nothing, since it is in the way of more important work: a file that cannot be touched gets old,
    and that is noticed.
    """
    if path := file():
        with contextlib.suppress(OSError), open(path, "ab"):
            os.utime(path)


@contextlib.contextmanager
def holding_on() -> Iterator[None]:
    """Say so every second for as long as this lasts: for what must not be killed, however long it takes."""
    done = threading.Event()

    def keep() -> None:
        while not done.wait(HOLDING):
            touch()

    if file():
        threading.Thread(target=keep, name="alive", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def stuck_after(environ: Mapping[str, str] = os.environ) -> float:
    """The age in seconds from which on a file means that its worker is stuck."""
    return float(environ.get("WORKER_STUCK_AFTER") or STUCK_AFTER)


def main() -> int:
    if not (path := file()):
        print("ALIVE_FILE is not set: the worker needs it, and so does this.")
        return 1
    try:
        age = time.time() - os.stat(path).st_mtime
    except OSError as error:
        print(f"no canary has come through yet: {path}: {error.strerror}")
        return 1
    limit = stuck_after()
    verdict = "alive" if age <= limit else "stuck"
    print(f"the last canary came through {age:.1f} s ago: {verdict} (the limit is {limit:g} s)")
    return int(age > limit)


if __name__ == "__main__":
    sys.exit(main())
