"""python -m tests.chaos.skewed SECONDS SCRIPT [arguments]: runs it with a clock that is so many seconds off.

Only of this process and its children, and only the clock of the wall; what measures time elapsed is right, as
on a machine whose clock was set wrongly. Nothing but the standard library is imported before.
"""

from __future__ import annotations

import datetime
import runpy
import sys
import time
from typing import Any

REAL = datetime.datetime


class _Meta(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, REAL)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, REAL)


def skew(seconds: float) -> None:
    """Set the clock of this process off."""
    offset = datetime.timedelta(seconds=seconds)
    now, now_ns, gmtime, localtime = time.time, time.time_ns, time.gmtime, time.localtime

    class Skewed(REAL, metaclass=_Meta):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return REAL.now(tz) + offset

        @classmethod
        def utcnow(cls) -> Any:
            return REAL.now(datetime.UTC).replace(tzinfo=None) + offset

        @classmethod
        def today(cls) -> Any:
            return REAL.now() + offset

    Skewed.__module__, Skewed.__qualname__, Skewed.__name__ = "datetime", "datetime", "datetime"
    datetime.datetime = Skewed  # type: ignore[misc]
    time.time = lambda: now() + seconds
    time.time_ns = lambda: now_ns() + int(seconds * 1_000_000_000)
    time.gmtime = lambda at=None: gmtime(time.time() if at is None else at)
    time.localtime = lambda at=None: localtime(time.time() if at is None else at)


if __name__ == "__main__":
    offset, script, *arguments = sys.argv[1:]
    skew(float(offset))
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")
