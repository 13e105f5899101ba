"""Tiles side by side, each on one thread: the number of cores changes speed, never a bit."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from decr.forks import fork_lock

T = TypeVar("T")
R = TypeVar("R")

_POOLS: dict[int, ThreadPoolExecutor] = {}
_STARTING = fork_lock()


def available_lanes() -> int:
    """As many as torch has threads: the machine's cores, or what ``OMP_NUM_THREADS`` allows."""
    return max(1, torch.get_num_threads())


def in_lanes(function: Callable[[T], R], items: Iterable[T], lanes: int) -> Iterator[R]:
    """Call a function for every item on single-threaded lanes; results in the order of the items.

    Torch splits one convolution among threads, and rounds differently for another number of them.
    Here each call has one thread to itself, so a result is the same for any number of lanes. It is
    also faster: the threads need not wait for one another within a tile.

    Parameters
    ----------
    function
        Uses torch, or anything else that lets go of Python's lock while it computes.
    lanes
        Calls at a time. All callers of a process that give the same number share the lanes.

    Examples
    --------
    >>> list(in_lanes(lambda value: value + torch.get_num_threads(), [10, 20], lanes=2))
    [11, 21]
    """
    return _pool(lanes).map(function, items)


def _pool(lanes: int) -> ThreadPoolExecutor:
    with _STARTING:
        if lanes not in _POOLS:
            _POOLS[lanes] = _started(lanes)
        return _POOLS[lanes]


def _started(lanes: int) -> ThreadPoolExecutor:
    """Threads that each have one torch thread; all others keep what they had."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(lanes, "decr-lane")
    together = threading.Barrier(lanes)

    def take_one_thread(_: int) -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # binds the number to this thread
        together.wait()

    list(pool.map(take_one_thread, range(lanes)))
    torch.set_num_threads(before)  # for threads to come
    return pool


def _in_child() -> None:
    """Forget threads that a forked child has not: the lanes', and OpenMP's, which torch awaits."""
    if _POOLS:
        _POOLS.clear()
        torch.set_num_threads(1)


os.register_at_fork(after_in_child=_in_child)
