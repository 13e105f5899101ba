"""How a scene is cut for reading all of it: in little memory, along its file's storage blocks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import gcd

import numpy as np

from decr.geo.grid import Window

_BYTES = 32 * 2**20
"""Most memory for the pixels of a piece."""
_BLOCK_PX = 2**22
"""Most pixels of a storage block that are read at a time, where a block takes more than that."""


def whole_blocks(scene: Window, block: tuple[int, int], bytes_per_px: int) -> Iterator[Window]:
    """Cut a scene into pieces of whole storage blocks, so that each block is decoded once.

    Parameters
    ----------
    block
        (rows, cols) of a storage block. One of more than `_BLOCK_PX` pixels is cut.
    bytes_per_px
        Of all bands.
    """
    height, width = block
    rows, cols = min(height, max(1, _BLOCK_PX // width)), width
    budget = _BYTES // (2 * bytes_per_px + 4)
    cols *= max(1, min(-(-scene.width // cols), budget // (rows * cols)))
    rows *= max(1, budget // (rows * cols))
    for row, col in product(range(0, scene.height, rows), range(0, scene.width, cols)):
        yield Window(row, col, rows, cols).clipped(scene)


def along_blocks(
    cells: Window, k: int, block: tuple[int, int], bytes_per_px: int, bands: int
) -> Iterator[Window]:
    """Cut a window of cells of k x k pixels into pieces of whole cells that fit in memory.

    Parameters
    ----------
    block, bytes_per_px
        As for `whole_blocks`.
    bands
        Whose sums take memory, too.
    """
    # Numbers twice (GDAL hands over a copy where bands are reordered), sums, masks.
    per_px = 2 * bytes_per_px + bands * (8 // k) + 4
    budget = max(1, _BYTES // (per_px * k * k))
    rows = min(max(1, block[0] // k), budget)
    cols = min(cells.width, max(1, budget // rows))
    whole = block[1] // gcd(block[1], k)
    if whole <= cols < cells.width:
        cols -= cols % whole
    rows *= max(1, budget // (rows * cols))
    # Pieces start at multiples of their size from (0, 0). The next one is below, or beside where
    # blocks are wider: then blocks that both need may still be in GDAL's cache.
    down = range(cells.row - cells.row % rows, cells.row_stop, rows)
    across = range(cells.col - cells.col % cols, cells.col_stop, cols)
    beside = block[1] > cols * k
    for first in product(down, across) if beside else product(across, down):
        row, col = first if beside else first[::-1]
        piece = Window(row, col, rows, cols).intersection(cells)
        if piece is not None:
            yield piece


def spread_windows(scene: Window, block: tuple[int, int], most: int) -> list[Window]:
    """Up to ``most`` x ``most`` windows, one anywhere in each part of a scene, from the top.

    Places are drawn (from a fixed seed): on a regular grid of windows, ground or clouds that
    repeat could be missed altogether. Of a file in blocks, which are decoded whole in any case,
    windows have 512 pixels along each side and begin where a block begins; of one in strips, 64.
    """
    in_blocks = block[1] <= 1024
    size, begin = (512, block) if in_blocks else (64, (1, 1))
    rng = np.random.default_rng(0)
    height, width = scene.shape
    rows, cols = (min(most, -(-n // size)) for n in (height, width))
    shifts = rng.random((rows, cols, 2))
    windows = []
    for i, j in product(range(rows), range(cols)):
        # A window that is all of the scene's rows or columns begins with them.
        down, right = (np.array([i, j]) + shifts[i, j]) / (rows, cols) * (height, width)
        row = int(down) // begin[0] * begin[0] if height > size else 0
        col = int(right) // begin[1] * begin[1] if width > size else 0
        windows.append(Window(row, col, min(size, height - row), min(size, width - col)))
    # From the top: some formats are decoded from there, and again for each step back.
    return sorted(windows, key=lambda w: (w.row, w.col))
