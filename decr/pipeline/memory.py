"""The C library's heap: one for all threads, and what is free again goes back to the system."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

_ARENA_MAX = -8
"""M_ARENA_MAX of glibc's malloc.h."""


def share_heap() -> None:
    """Let all threads of this process, from here on, take memory from one heap.

    glibc gives each thread a heap of its own, and keeps what is freed in each: a run whose threads
    take turns with large arrays would need the sum of what each needed at its worst. This is for
    programs to call before they start threads, not for libraries; where the C library has nothing
    like it, nothing happens.
    """
    set_option = _of_the_c_library("mallopt")
    if set_option is not None:
        set_option(_ARENA_MAX, 1)


def give_back() -> None:
    """Let the C library return what it keeps for later.

    This takes some milliseconds; where the C library has nothing like it, nothing happens.
    """
    trim = _of_the_c_library("malloc_trim")
    if trim is not None:
        trim(0)


@contextmanager
def giving_back(every_s: float = 1.0) -> Iterator[None]:
    """`give_back` again and again, while a library is at work for minutes."""
    done = threading.Event()

    def until_done() -> None:
        while not done.wait(every_s):
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
