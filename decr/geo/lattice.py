"""The lattice of tiles over a scene, their exact feather weights, and blocks of tiles."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from decr.errors import ConfigError
from decr.geo.grid import Window

FEATHER_SUM = 128
"""Weights of one axis sum to this at every coordinate; those of a pixel to its square."""

Axis = Literal[0, 1]


@dataclass(frozen=True, slots=True)
class Lattice:
    """Overlapping tiles anchored at pixel (0, 0); the last of each axis is flush with the edge.

    Attributes
    ----------
    height, width
        Scene size in pixels.
    tile_px
        Side of a tile. A scene smaller than this has one, clipped, tile on that axis.
    overlap_px
        Pixels that neighbours share, at most half a tile. The flush tile may share more.

    Raises
    ------
    ConfigError
        If a size is not positive, or the overlap is negative or above half a tile.

    Examples
    --------
    >>> Lattice(500, 256).starts(0)
    (0, 192, 244)
    """

    height: int
    width: int
    tile_px: int = 256
    overlap_px: int = 64

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.tile_px) <= 0:
            raise ConfigError(
                f"scene of {self.height} x {self.width} px in tiles of {self.tile_px} px: "
                "all sizes must be at least 1"
            )
        if not 0 <= self.overlap_px <= self.tile_px // 2:
            raise ConfigError(
                f"overlap of {self.overlap_px} px does not suit tiles of {self.tile_px} px; "
                f"choose 0 to {self.tile_px // 2}"
            )

    @property
    def stride(self) -> int:
        """Pixels from the start of a tile to that of the next."""
        return self.tile_px - self.overlap_px

    @property
    def shape(self) -> tuple[int, int]:
        """Tiles down and across."""
        return len(self.starts(0)), len(self.starts(1))

    def starts(self, axis: Axis) -> tuple[int, ...]:
        """First pixel of each tile along an axis (0: rows, 1: columns), strictly increasing."""
        return _starts(self.width if axis else self.height, self.tile_px, self.stride)

    def tile(self, i: int, j: int) -> Window:
        """Window of the tile in lattice row i and column j, clipped to the scene."""
        height, width = min(self.tile_px, self.height), min(self.tile_px, self.width)
        return Window(self.starts(0)[i], self.starts(1)[j], height, width)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """All (i, j), row by row."""
        rows, cols = self.shape
        return product(range(rows), range(cols))

    def weights(self, axis: Axis) -> tuple[NDArray[np.int32], ...]:
        """Feather weight of each tile along an axis.

        Returns
        -------
        tuple of ndarray
            One (length of the clipped tile,) int32 array per tile, read-only, all entries >= 1.
            At every coordinate those of the tiles covering it sum to `FEATHER_SUM` exactly.

        Notes
        -----
        The weight of a pixel of tile (i, j) is the product of its row's and column's weight.
        Tiles form a full lattice, so these products sum to ``FEATHER_SUM ** 2`` exactly. Integer
        sums do not depend on the order in which tiles are added. Tiles change places over the
        middle half of their overlap: networks see least of what surrounds a pixel at their edge.
        """
        return _weights(self.width if axis else self.height, self.tile_px, self.overlap_px)

    def tile_weights(self, i: int, j: int) -> NDArray[np.int32]:
        """(height, width) int32 weights of one tile, >= 1; see `weights`."""
        return np.multiply.outer(self.weights(0)[i], self.weights(1)[j])


@lru_cache(maxsize=64)
def _starts(size: int, tile: int, stride: int) -> tuple[int, ...]:
    """Regular starts while a tile stays clear of the far edge, then the flush one."""
    return (*range(0, size - tile, stride), size - tile) if size > tile else (0,)


@lru_cache(maxsize=16)
def _weights(size: int, tile: int, overlap: int) -> tuple[NDArray[np.int32], ...]:
    """Cut the apportioned weights of an axis into one array per tile."""
    starts = _starts(size, tile, tile - overlap)
    length = min(tile, size)
    # The first tile over each coordinate; the others follow it.
    first = np.searchsorted(np.asarray(starts) + length, np.arange(size), side="right")
    shares = _apportion(_ramps(starts, length, size, overlap, first))
    cut = []
    for index, start in enumerate(starts):
        x = np.arange(start, start + length)
        weight = shares[index - first[x], x].astype(np.int32)
        weight.flags.writeable = False
        cut.append(weight)
    return tuple(cut)


def _ramps(
    starts: tuple[int, ...], length: int, size: int, overlap: int, first: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(3, size) trapezoid heights of the up to three tiles over each coordinate; 0 = no tile.

    With an overlap of at most half a tile no coordinate lies under more than two regular tiles;
    the flush one makes three.
    """
    x = np.arange(size)
    edge = overlap // 4
    top = overlap - 2 * edge + 1
    heights = np.zeros((3, size), dtype=np.int64)
    where = np.asarray(starts)
    for slot in range(3):
        index = np.minimum(first + slot, len(starts) - 1)
        rise = np.where(index > 0, x - where[index] + 1 - edge, top)
        fall = np.where(index < len(starts) - 1, where[index] + length - x - edge, top)
        # Next to nothing at the edges, but never nothing: elsewhere only edges may meet.
        height = np.clip(FEATHER_SUM * np.minimum(rise, fall), 1, FEATHER_SUM * top)
        covers = (first + slot < len(starts)) & (x >= where[index]) & (x < where[index] + length)
        heights[slot] = np.where(covers, height, 0)
    return heights


def _apportion(heights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Share FEATHER_SUM in proportion to the heights, in whole parts of at least one.

    Every tile present gets one part, the rest is shared by largest remainders; equal remainders
    go to the first tile. All of it is integer arithmetic, hence the same on every machine.
    """
    present = heights > 0
    rest = FEATHER_SUM - present.sum(axis=0)
    quota, remainder = np.divmod(heights * rest, heights.sum(axis=0))
    left = rest - quota.sum(axis=0)
    order = np.argsort(-remainder, axis=0, kind="stable")
    rank = np.argsort(order, axis=0, kind="stable")
    return np.where(present, 1 + quota + (rank < left), 0)


@dataclass(frozen=True, slots=True)
class Block:
    """One core region of `Blocks`: cores partition the scene."""

    row_index: int
    col_index: int
    core: Window


@dataclass(frozen=True, slots=True)
class Blocks:
    """A partition of the scene into cores of so many tile strides, and of the tiles among them.

    Notes
    -----
    A tile belongs to the core that holds its first pixel. A remainder shorter than a tile is
    absorbed by the last core, so the flush tile always starts in the last core, each core holds a
    tile's start, and tiles reach beyond their core by exactly the overlap, only down and right.
    """

    lattice: Lattice
    strides: int

    def __post_init__(self) -> None:
        if self.strides <= 0:
            raise ConfigError(f"blocks of {self.strides} tile strides: choose at least 1")

    @property
    def block_px(self) -> int:
        """Side of a core, but for the last ones."""
        return self.strides * self.lattice.stride

    def edges(self, axis: Axis) -> tuple[int, ...]:
        """Bounds of the cores along an axis: 0, ..., size of the scene."""
        size = self.lattice.width if axis else self.lattice.height
        inner = range(self.block_px, size - self.lattice.tile_px + 1, self.block_px)
        return (0, *inner, size)

    def blocks(self) -> list[Block]:
        """All blocks, row by row."""
        rows, cols = self.edges(0), self.edges(1)
        return [
            Block(i, j, Window(rows[i], cols[j], rows[i + 1] - rows[i], cols[j + 1] - cols[j]))
            for i, j in product(range(len(rows) - 1), range(len(cols) - 1))
        ]

    def tiles_of(self, block: Block) -> list[tuple[int, int]]:
        """(i, j) of the tiles whose first pixel lies in the core, row by row."""
        core = block.core
        rows = _starting(self.lattice.starts(0), core.row, core.row_stop)
        cols = _starting(self.lattice.starts(1), core.col, core.col_stop)
        return list(product(rows, cols))

    def reach(self, block: Block) -> Window:
        """Smallest window that holds the core and its tiles."""
        tiles = self.tiles_of(block)
        first, last = self.lattice.tile(*tiles[0]), self.lattice.tile(*tiles[-1])
        return block.core.union(first).union(last)


def _starting(starts: tuple[int, ...], first: int, stop: int) -> range:
    """Return the indices of the tiles that start in [first, stop)."""
    return range(bisect_left(starts, first), bisect_left(starts, stop))
