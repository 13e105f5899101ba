"""Tiles of a block: cut, filled, quantised, and blended in sums that do not depend on order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decr.geo.grid import Window
from decr.geo.lattice import FEATHER_SUM, Block, Blocks

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
N = TypeVar("N", bound=np.generic)

LEVELS = 2**15
"""Integer steps per unit: [-1, 1] spans twice as many, as many as a 16-bit scene has DN."""
FULL = LEVELS * FEATHER_SUM**2
"""Blended sum that stands for 1.0: 2**29, so that int32 holds the difference of any two sums."""
Spills = list[tuple[Window, Int32]]
"""What blocks leave beyond their cores: windows, and sums under them."""
STRIP_ROWS = 256
"""Rows of a block that are settled at a time; a row of a patch's storage blocks."""

READ_BYTES = 16 * 2**20
"""Most that is read of a block at a time, unless a strip is more: a file's own blocks may be high,
and are decoded anew for each read."""


def strips_of(window: Window, rows: int = STRIP_ROWS) -> Iterator[Window]:
    """Cut a window into strips of so many rows; the last may be less."""
    for first in range(0, window.height, rows):
        yield replace(window, row=window.row + first, height=min(rows, window.height - first))


def reads_of(window: Window, bytes_per_pixel: int) -> Iterator[Window]:
    """Cut a window into pieces of whole strips, of `READ_BYTES` at the most if those are less."""
    strip_bytes = STRIP_ROWS * window.width * bytes_per_pixel
    return strips_of(window, STRIP_ROWS * max(1, READ_BYTES // strip_bytes))


def quantised(unit: Float32) -> Int32:
    """Unit values as whole numbers of 1 / LEVELS."""
    whole: Int32 = np.rint(unit * np.float32(LEVELS)).astype(np.int32)
    return whole


def filled(pixels: NDArray[N], valid: NDArray[np.bool_]) -> NDArray[N]:
    """Replace invalid pixels by their nearest valid ones, so that no network sees nodata.

    Parameters
    ----------
    pixels
        (C, H, W), units or numbers of the scene.
    valid
        (H, W), with at least one True.
    """
    if valid.all():
        return pixels
    nearest = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return pixels[:, nearest[0], nearest[1]]


def padded(tile: NDArray[N], tile_px: int) -> NDArray[N]:
    """Mirror a tile of a scene smaller than a tile up to the full size, at the bottom and right."""
    _, height, width = tile.shape
    if height == tile_px and width == tile_px:
        return tile
    return np.pad(tile, ((0, 0), (0, tile_px - height), (0, tile_px - width)), mode="symmetric")


def cut_tiles(
    pixels: NDArray[N],
    valid: NDArray[np.bool_],
    origin: Window,
    blocks: Blocks,
    tiles: Iterable[tuple[int, int]],
) -> Iterator[tuple[tuple[int, int], NDArray[N]]]:
    """Yield ((i, j), (C, tile_px, tile_px)) for each wanted tile with a valid pixel.

    Parameters
    ----------
    pixels, valid
        (C, H, W) units or numbers of the scene, and (H, W), under ``origin``.
    """
    for index in tiles:
        place = blocks.lattice.tile(*index).slices(origin)
        if valid[place].any():
            yield index, padded(filled(pixels[:, *place], valid[place]), blocks.lattice.tile_px)


class BlockSum:
    """The weighted sum of a block's tiles, over its core and what its tiles reach beyond."""

    def __init__(self, blocks: Blocks, block: Block, channels: int) -> None:
        self.blocks, self.block = blocks, block
        self.window = blocks.reach(block)
        self.total: Int32 = np.zeros((channels, *self.window.shape), np.int32)

    def add(self, index: tuple[int, int], tile: Float32) -> None:
        """Add one restored tile (C, tile_px, tile_px), unit."""
        window = self.blocks.lattice.tile(*index)
        cut = quantised(tile[:, : window.height, : window.width])
        weights = self.blocks.lattice.tile_weights(*index)
        self.total[:, *window.slices(self.window)] += cut * weights

    def core(self) -> Int32:
        """The core's sum of this block's tiles (a view); see `add_spills`."""
        return self.total[:, *self.block.core.slices(self.window)]

    def spills(self) -> Spills:
        """What the tiles left beyond the core: a strip to the right and one below."""
        core, reach = self.block.core, self.window
        out = []
        if reach.col_stop > core.col_stop:
            right = Window(core.row, core.col_stop, reach.height, reach.col_stop - core.col_stop)
            out.append((right, self._cut(right)))
        if reach.row_stop > core.row_stop:
            below = Window(core.row_stop, core.col, reach.row_stop - core.row_stop, core.width)
            out.append((below, self._cut(below)))
        return out

    def _cut(self, window: Window) -> Int32:
        return np.ascontiguousarray(self.total[:, *window.slices(self.window)])


def add_spills(total: Int32, core: Window, spills: Iterable[tuple[Window, Int32]]) -> None:
    """Add to a core's sum, in place, what its neighbours left there; then `FULL` stands for 1.0."""
    for window, values in spills:
        shared = window.intersection(core)
        if shared is not None:
            total[:, *shared.slices(core)] += values[:, *shared.slices(window)]


def neighbours_before(block: Block) -> list[tuple[int, int]]:
    """Indices of the blocks whose tiles may reach into this one: left, above, and above left."""
    i, j = block.row_index, block.col_index
    return [(a, b) for a, b in ((i, j - 1), (i - 1, j), (i - 1, j - 1)) if a >= 0 and b >= 0]
