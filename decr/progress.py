"""Who is told how far a work is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

OnProgress = Callable[[str, int, int], None]
"""Told a stage, and how much of how much of it is done: what verbs take as ``on_progress``."""
Counted = Callable[[int, int], None]
"""The same of one stage, for a part of a verb that does not know which it is."""


def silent(stage: str, done: int, total: int) -> None:
    """Tell nobody."""


def each_told(stage: str, items: Sequence[T], on_progress: OnProgress) -> Iterator[T]:
    """Items one by one, while it is told how many of them are done with.

    Examples
    --------
    >>> for letter in each_told("letters", "ab", print): print(letter)
    letters 0 2
    a
    letters 1 2
    b
    letters 2 2
    """
    for done, item in enumerate(items):
        on_progress(stage, done, len(items))
        yield item
    on_progress(stage, len(items), len(items))
