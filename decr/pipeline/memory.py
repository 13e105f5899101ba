"""Memory that was used and is free again goes back to the system."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any


def give_back() -> None:
    """Let the C library return what it keeps for later.

    glibc keeps freed memory, for each thread apart. A run whose threads take turns with large
    arrays would need the sum of what each needed at its worst. This takes some milliseconds; where
    the C library has nothing like it, nothing happens.
    """
    trim = _trim()
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


@lru_cache(maxsize=1)
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library, or none by that name
        return None
