"""Clouds as connected objects of a mask that is read in strips: small ones can be left out.

A cloud may cross any number of strips, so it is joined over their borders first, and judged as a
whole: the result does not depend on how the mask was cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Bool = NDArray[np.bool_]
_TOUCHING = np.ones((3, 3), bool)
"""Cells that touch by a corner belong together."""


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """The clouds of a mask, joined over all strips.

    Attributes
    ----------
    first
        For each strip, the number of labels in the strips before it.
    size
        (labels,) cells of the whole cloud that a label belongs to.
    """

    first: tuple[int, ...]
    size: NDArray[np.int64]

    def at_least(self, strip: int, mask: Bool, cells: int) -> Bool:
        """The mask of a strip without clouds of fewer than so many cells."""
        labels, count = ndimage.label(mask, _TOUCHING)
        kept = np.zeros(count + 1, bool)
        start = self.first[strip]
        kept[1:] = self.size[start : start + count] >= cells
        return np.asarray(kept[labels])


def find_objects(strips: Sequence[Callable[[], Bool]]) -> Objects:
    """Join the clouds of a mask.

    Parameters
    ----------
    strips
        Each reads (h, W) bool; strips follow one another from the top. One is held at a time.
    """
    first: list[int] = []
    parents: list[int] = []
    sizes: list[int] = []
    above = None
    for read in strips:
        mask = read()
        labels, count = ndimage.label(mask, _TOUCHING)
        start = len(parents)
        first.append(start)
        parents.extend(range(start, start + count))
        sizes.extend(np.bincount(labels.ravel(), minlength=count + 1)[1:].tolist())
        top = np.where(labels[0] > 0, labels[0].astype(np.int64) + start, 0)
        if above is not None:
            _join(parents, above, top)
        above = np.where(labels[-1] > 0, labels[-1].astype(np.int64) + start, 0)
    roots = np.array([_root(parents, n) for n in range(len(parents))], np.int64)
    totals = np.bincount(roots, np.array(sizes, np.float64), len(parents)).astype(np.int64)
    return Objects(tuple(first), totals[roots] if len(roots) else totals)


def _join(parents: list[int], above: NDArray[np.int64], below: NDArray[np.int64]) -> None:
    """Unite labels (counted from 1, 0 is no cloud) that touch across a border, or by a corner."""
    padded = np.pad(above, 1)
    for shift in range(3):
        upper = padded[shift : shift + len(below)]
        both = (upper > 0) & (below > 0)
        for a, b in {*zip(upper[both].tolist(), below[both].tolist(), strict=True)}:
            one, other = _root(parents, a - 1), _root(parents, b - 1)
            parents[max(one, other)] = min(one, other)


def _root(parents: list[int], n: int) -> int:
    while parents[n] != n:
        parents[n] = parents[parents[n]]
        n = parents[n]
    return n
