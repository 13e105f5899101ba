"""Fetches what a task of Dask returned, and goes on with it where one stops to wait."""

from __future__ import annotations

import asyncio
from typing import Any


class Fetching:
    """Waits for results of one Dask client, a while at a time.

    Dask's own futures give up what has travelled so far as that while ends, and begin anew at the
    next: what takes longer never comes.
    """

    _future: Any = None
    _task: asyncio.Task[Any] | None = None

    def __init__(self, client: Any) -> None:
        self._client = client

    def result(self, future: Any, timeout: float) -> Any:
        """What it returned; another future than that of the last call takes its place.

        Raises
        ------
        TimeoutError
            If it has not come after so many seconds. Its errors are raised as they are.
        """
        return self._client.sync(self._arrived, future, callback_timeout=timeout)

    async def _arrived(self, future: Any) -> Any:
        if self._task is None or future is not self._future:
            self._drop()
            self._future = future
            self._task = asyncio.ensure_future(future._result())
            self._task.add_done_callback(_seen)
        await asyncio.wait([self._task])
        return self._task.result()

    def stop(self) -> None:
        """Nobody waits any more."""
        self._client.loop.add_callback(self._drop)

    def _drop(self) -> None:
        if self._task is not None and not self._task.done():
            # It ends by that. Were it cancelled, what Dask waits for in it would go on, and print.
            self._future.release()
        self._task = self._future = None


def _seen(task: asyncio.Task[Any]) -> None:
    """Keep asyncio from printing an error that nobody has waited for."""
    if not task.cancelled():
        task.exception()
