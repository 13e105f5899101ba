"""Who is told how far a work is."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[str, int, int], None]
"""Told a stage, and how much of how much of it is done."""
Counted = Callable[[int, int], None]
"""Told how much of how much is done."""


def silent(stage: str, done: int, total: int) -> None:
    """Tell nobody."""
