"""Forked children have none of their parent's threads: locks that they can use, and who is one."""

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


def is_forked() -> bool:
    """Whether this process was forked from one that had decr: pools of threads are not there."""
    return bool(_FORKED)


_FORKED: list[bool] = []
os.register_at_fork(after_in_child=lambda: _FORKED.append(True))
