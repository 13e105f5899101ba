"""Memory that was used and is free again goes back to the system."""

from __future__ import annotations

import ctypes
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


@lru_cache(maxsize=1)
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library, or none by that name
        return None
