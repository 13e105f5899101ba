"""Neighbouring tiles agree on tone: smooth corrections from what they say where they overlap.

A tile under a wide cloud cannot know how bright the ground is, and its neighbour guesses otherwise:
blended, they show as a grid of patches. What they say of their common ground is compared here, in
cells of a sixteenth of a tile, and each tile is moved towards the mean by a smooth field: first as
a whole, then in parts. Corrections reach two tiles far: a part of a scene can be settled alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from decr.geo.grid import Window
from decr.geo.lattice import Lattice
from decr.pipeline.seams import Squares, squares
from decr.pipeline.tiles import Float32, Int32, quantised

CELLS = 16
"""Cells along a tile's side."""
WIDTHS = (16.0, 4.0)
"""Deviation of the smoothing in cells, for each round: the tile as a whole, then its quarters."""
REACH = len(WIDTHS)
"""How many tiles away a tile still counts: one per round."""
_REST = 0.02
"""Weight of "leave it" beside what the overlaps say."""
_LARGEST = 0.5
"""Of a correction, in units, so that sums stay within 32 bits."""

Index = tuple[int, int]
Float64 = NDArray[np.float64]


def cells_of(lattice: Lattice, index: Index) -> Window:
    """The cells that lie wholly in a tile, on the grid of cells from pixel (0, 0); 15 or 16 a side.

    A tile that is larger than the scene counts whole.
    """
    tile, side = lattice.tile(*index), lattice.tile_px // CELLS
    first = [-(-start // side) for start in (tile.row, tile.col)]
    stop = [(start + lattice.tile_px) // side for start in (tile.row, tile.col)]
    return Window(first[0], first[1], stop[0] - first[0], stop[1] - first[1])


def cell_means(tile: Float32, lattice: Lattice, index: Index) -> Float32:
    """A tile, (C, tile_px, tile_px) float32, as means of `cells_of` it, (C, cells, cells)."""
    place, side = lattice.tile(*index), lattice.tile_px // CELLS
    cells = cells_of(lattice, index)
    top, left = cells.row * side - place.row, cells.col * side - place.col
    inner = tile[:, top : top + cells.height * side, left : left + cells.width * side]
    blocks = inner.reshape(len(tile), cells.height, side, cells.width, side)
    means: Float32 = blocks.mean(axis=(2, 4), dtype=np.float64).astype(np.float32)
    return means


def corrections(
    said: Mapping[Index, Float32],
    lattice: Lattice,
    wanted: Collection[Index],
    widths: Sequence[float] = WIDTHS,
) -> dict[Index, Float64]:
    """What to add to the cells of tiles so that neighbours agree.

    Parameters
    ----------
    said
        `cell_means` of all restored tiles up to `REACH` tiles from the wanted ones. Others may be
        there: they do not matter.
    wanted
        Indices of restored tiles.
    widths
        Deviation of the smoothing in cells, for each round; the default is what decr uses.

    Returns
    -------
    dict
        For each wanted tile, as its `cell_means`, float64 in [-0.5, 0.5], unit.
    """
    rings = [set(wanted)]
    for _ in widths[1:]:
        rings.append({t for index in rings[-1] for t in _around(index) if t in said})
    now = {index: means.astype(np.float64) for index, means in said.items()}
    for width, ring in zip(widths, reversed(rings), strict=True):
        moved = {index: now[index] + _step(now, lattice, index, width) for index in ring}
        now = {**now, **moved}
    return {index: np.clip(now[index] - said[index], -_LARGEST, _LARGEST) for index in wanted}


def disagreement(
    said: Mapping[Index, Float32], lattice: Lattice, added: Mapping[Index, Float64]
) -> tuple[Squares, Squares]:
    """Differences of cells between tiles and those above and left, before and after a correction.

    Only pairs of tiles that both have a correction in ``added`` count.
    """
    before, after = Squares(), Squares()
    for i, j in sorted(added):
        for other in ((i - 1, j), (i, j - 1)):
            shared = _shared(lattice, (i, j), other) if other in added else None
            if shared is not None:
                mine, theirs = shared
                difference = said[i, j][mine].astype(np.float64) - said[other][theirs]
                before += squares(difference)
                after += squares(difference + added[i, j][mine] - added[other][theirs])
    return before, after


def at_full_size(cells: Float64, lattice: Lattice, index: Index) -> Int32:
    """A correction at the pixels of the (clipped) tile, (C, h, w) whole numbers, interpolated."""
    tile, side = lattice.tile(*index), lattice.tile_px // CELLS
    origin = cells_of(lattice, index)
    for axis, first, count, start in (
        (1, tile.row, tile.height, origin.row),
        (2, tile.col, tile.width, origin.col),
    ):
        at = (np.arange(first, first + count) + 0.5) / side - 0.5 - start
        cells = _interpolated(cells, np.clip(at, 0, cells.shape[axis] - 1), axis)
    return quantised(cells.astype(np.float32))


def _around(index: Index) -> list[Index]:
    i, j = index
    return [(i + a, j + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]


def _step(now: Mapping[Index, Float64], lattice: Lattice, index: Index, width: float) -> Float64:
    """A smooth field towards the mean of a tile and its neighbours, known where they overlap."""
    own = now[index]
    total, count = own.copy(), np.ones(own.shape[1:])
    for other in _around(index):
        shared = _shared(lattice, index, other) if other != index and other in now else None
        if shared is not None:
            mine, theirs = shared
            total[mine] += now[other][theirs]
            count[mine[1:]] += 1
    known = (count > 1).astype(np.float64)
    pull = _smoothed((total / count - own) * known, width)
    return pull / _smoothed(known[None] + _REST, width)


def _shared(
    lattice: Lattice, index: Index, other: Index
) -> tuple[tuple[slice, slice, slice], tuple[slice, slice, slice]] | None:
    """Where the cells that two tiles share lie in the arrays of each; None if there are none."""
    own, theirs = cells_of(lattice, index), cells_of(lattice, other)
    shared = own.intersection(theirs)
    if shared is None:
        return None
    return (slice(None), *shared.slices(own)), (slice(None), *shared.slices(theirs))


def _smoothed(field: Float64, width: float) -> Float64:
    """(C, h, w) through a Gaussian that counts nothing beyond the tile, not normalised."""
    rows, cols = _gaussian(field.shape[1], width), _gaussian(field.shape[2], width)
    # Not by a matrix product, whose sums depend on the library's number of threads.
    down = np.einsum("ay,cyx->cax", rows, field, optimize=False)
    smooth: Float64 = np.einsum("bx,cax->cab", cols, down, optimize=False)
    return smooth


@lru_cache(maxsize=8)
def _gaussian(count: int, width: float) -> Float64:
    """(count, count) weights of cells for cells along an axis."""
    steps = np.arange(count)
    weights: Float64 = np.exp(-0.5 * ((steps[:, None] - steps) / width) ** 2)
    return weights


def _interpolated(values: Float64, at: Float64, axis: int) -> Float64:
    """Values at fractional places along an axis."""
    low = np.minimum(at.astype(np.intp), max(0, values.shape[axis] - 2))
    high = np.minimum(low + 1, values.shape[axis] - 1)
    share = (at - low).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    first = values.take(low, axis)
    between: Float64 = first + share * (values.take(high, axis) - first)
    return between
