"""Where blocks are computed: on threads of this process, or by the workers of a Dask cluster."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from decr.errors import ConfigError

T = TypeVar("T")
R = TypeVar("R")
Tell = Callable[[int], None]
"""Told how many tiles have just been done; may raise to stop the work."""


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """Computes tasks somewhere.

    Attributes
    ----------
    submit
        (function, task, tell) to a future of ``function(task, tell)``.
    in_flight
        Tasks under way at most. What they return is held until it is asked for.
    travels
        Whether tasks leave this process, so that they must be small and hold no network.
    elsewhere
        Whether they go to processes that may have been started in other folders than this one.
    at_once
        Blocks that one process computes at a time, and the writer writes.
    lanes
        Tiles at a time in each process that computes; None leaves it to the networks.
    ask
        (function, *arguments) to what the function returns where tasks are computed.
    name
        For people: what computes.
    dashboard
        Address of a page that shows the work, if there is one.
    """

    submit: Callable[[Callable[[Any, Tell], Any], Any, Tell], Any]
    in_flight: int
    travels: bool = False
    elsewhere: bool = False
    at_once: int = 1
    lanes: int | None = None
    ask: Callable[..., Any] = lambda function, *arguments: function(*arguments)
    name: str = "this process"
    dashboard: str | None = None


def in_order(
    engine: Engine, function: Callable[[T, Tell], R], tasks: Iterable[T], tell: Tell
) -> Iterator[tuple[T, R]]:
    """Compute all tasks; yield each with its result, in the order of the tasks.

    A slow task holds back those after it, so that never more than ``engine.in_flight`` results
    wait in memory, however many tasks there are. Nothing here holds on to a result that was
    yielded: whoever takes it decides how long it lives.
    """
    pending: deque[tuple[T, Any]] = deque()

    def first() -> tuple[T, R]:
        task, future = pending.popleft()
        return task, future.result()

    try:
        for task in tasks:
            if len(pending) == engine.in_flight:
                yield first()
            pending.append((task, engine.submit(function, task, tell)))
        while pending:
            yield first()
    finally:
        for _, future in pending:
            future.cancel()


class _StoppedError(Exception):
    """Raised in a thread whose result nobody waits for any more."""


def closed() -> ConfigError:
    """What an engine says that is given tasks once it has been left."""
    return ConfigError("the engine is closed: call within its `with`")


@contextmanager
def local_engine(at_once: int = 1) -> Iterator[Engine]:
    """Threads of this process: some compute a block each while one more reads the next.

    On leaving, blocks that are not done are given up after the tiles at hand.

    Raises
    ------
    ConfigError
        If it is given tasks once it has been left.
    """
    stopping = threading.Event()

    def submit(function: Callable[[Any, Tell], Any], task: Any, tell: Tell) -> Any:
        def unless_stopped(count: int) -> None:
            if stopping.is_set():
                raise _StoppedError
            tell(count)

        if stopping.is_set():
            raise closed()
        return pool.submit(function, task, unless_stopped)

    pool = ThreadPoolExecutor(at_once + 1, "decr-block")
    try:
        yield Engine(submit, in_flight=at_once + 1, at_once=at_once)
    finally:
        stopping.set()
        pool.shutdown(wait=True, cancel_futures=True)
