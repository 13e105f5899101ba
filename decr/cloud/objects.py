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
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

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
    sizes: list[int] = []
    touching: set[tuple[int, int]] = set()
    above: NDArray[np.int64] | None = None
    for read in strips:
        labels, count = ndimage.label(read(), _TOUCHING)
        start = len(sizes)
        first.append(start)
        sizes.extend(np.bincount(labels.ravel(), minlength=count + 1)[1:].tolist())
        top, bottom = (labels[row].astype(np.int64) + start * (labels[row] > 0) for row in (0, -1))
        if above is not None:
            touching |= _meeting(above, top)
        above = bottom
    if not sizes:
        return Objects(tuple(first), np.zeros(0, np.int64))
    pairs = np.array(sorted(touching), np.int64).reshape(-1, 2).T - 1
    graph = coo_array((np.ones(pairs.shape[1], np.int8), tuple(pairs)), (len(sizes), len(sizes)))
    _, clouds = connected_components(graph, directed=False)
    totals = np.bincount(clouds, np.array(sizes, np.float64)).astype(np.int64)
    return Objects(tuple(first), totals[clouds])


def _meeting(above: NDArray[np.int64], below: NDArray[np.int64]) -> set[tuple[int, int]]:
    """Labels (counted from 1, 0 is no cloud) that touch across a border, or by a corner."""
    padded, found = np.pad(above, 1), set()
    for shift in range(3):
        upper = padded[shift : shift + len(below)]
        both = (upper > 0) & (below > 0)
        found |= {*zip(upper[both].tolist(), below[both].tolist(), strict=True)}
    return found
