"""Threads of a socket server that talk to the database, so that its event loop never waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import ParamSpec, TypeVar

from channels.db import database_sync_to_async
from django.db import connections

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


class Threads:
    """So many threads, each with a connection of its own. No other code runs in them and holds them up."""

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def run(
        self, function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """Call it in one of the threads. What has begun ends, even if nobody waits for it any more."""
        call = database_sync_to_async(function, thread_sensitive=False, executor=self._pool)
        result: Result = await call(*args, **kwargs)
        return result

    async def close(self) -> None:
        """Wait for what runs, and close the connections."""
        everyone = Barrier(self._count)  # so that no thread closes twice and another not at all

        def close_own() -> None:
            everyone.wait()
            connections.close_all()

        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(self._pool, close_own) for _ in range(self._count)))
        self._pool.shutdown()
