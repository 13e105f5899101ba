"""The C library's heap: one for all threads, which gives back what is free when it is told to."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_ARENA_MAX of glibc's malloc.h."""
_OUTSIDE_BYTES = 16_000_000
"""Arrays from this size on lie outside the heap: sums of blocks do, what networks make does not."""


def share_heap() -> None:
    """Let all threads of this process, from here on, take memory from one heap.

    glibc gives each thread a heap of its own, and keeps what is freed in each: a run whose threads
    take turns with large arrays would need the sum of what each needed at its worst. By itself it
    also gives the end of the heap back whenever that is free and takes it anew, page by page, many
    times a tile, which costs the networks time; and it raises the size from which arrays lie
    outside the heap until all lie in it, between one another's gaps. With this, memory goes back
    when `give_back` says so, and the largest arrays lie outside.

    This is for programs to call before they start threads, not for libraries; where the C library
    has nothing like it, nothing happens.
    """
    set_option = _of_the_c_library("mallopt")
    if set_option is not None:
        set_option(_ARENA_MAX, 1)
        set_option(_TRIM_THRESHOLD, 1 << 30)
        set_option(_MMAP_THRESHOLD, _OUTSIDE_BYTES)


def give_back() -> None:
    """Let the C library return what it keeps for later.

    This takes some milliseconds; where the C library has nothing like it, nothing happens.
    """
    trim = _of_the_c_library("malloc_trim")
    if trim is not None:
        trim(0)


@contextmanager
def giving_back() -> Iterator[None]:
    """`give_back` once a second, while a library is at work for minutes."""
    done = threading.Event()

    def until_done() -> None:
        while not done.wait(1.0):
            give_back()

    thread = threading.Thread(target=until_done, name="decr-memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        give_back()


@lru_cache(maxsize=2)
def _of_the_c_library(name: str) -> Any:
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # another C library, or none by that name
        return None
