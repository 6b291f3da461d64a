"""The process's one event loop, in a thread of its own, for code that is not async itself.

It is made on first use, so after a fork, and lives as long as the process: pooled clients stay bound to it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
_lock = threading.Lock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}


def run(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Start a coroutine on the loop and return at once."""
    return asyncio.run_coroutine_threadsafe(coroutine, _loop())


def _loop() -> asyncio.AbstractEventLoop:
    with _lock:
        if os.getpid() not in _loops:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="loop", daemon=True).start()
            _loops[os.getpid()] = loop
        return _loops[os.getpid()]
