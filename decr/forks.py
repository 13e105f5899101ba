"""Locks that a forked child can use: it has none of the threads that may have held them."""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager


def fork_lock() -> AbstractContextManager[bool]:
    """A lock that is free in a forked child, whatever it was in the parent."""
    lock = threading.Lock()
    # As the standard library does with its own; typeshed leaves the method out.
    os.register_at_fork(after_in_child=lock._at_fork_reinit)  # type: ignore[attr-defined]
    return lock
