"""Mean W of the fusion over a scene, as small as a quicklook, gathered from tiles as they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decr.geo.grid import Window
from decr.pipeline.journal import WorkDir

Float32 = NDArray[np.float32]
Index = tuple[int, int]
WEIGHTS = "weights"
"""Of the files in the work directory; unknown to the journal, since the output needs none."""


@dataclass(frozen=True, slots=True, eq=False)
class Allocation:
    """Sums of W over quicklook pixels.

    Attributes
    ----------
    window
        On the grid of quicklook pixels.
    total, count
        (h, w) sum of W, and how many scene pixels went into it.
    """

    window: Window
    total: NDArray[np.float64]
    count: NDArray[np.int64]

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """What `gathered` reads."""
        place = np.array(astuple(self.window))
        return {"window": place, "total": self.total, "count": self.count}


def empty(window: Window) -> Allocation:
    """Nothing yet."""
    return Allocation(window, np.zeros(window.shape), np.zeros(window.shape, np.int64))


def cells_under(tile: Window, factor: int, look_px: int) -> Window:
    """The quicklook pixels that a window of the work grid touches."""
    return tile.scaled(factor).coarsened(look_px)


def add(allocation: Allocation, tile: Window, factor: int, look_px: int, weight: Float32) -> None:
    """Add the W of a tile; what lies beyond the allocation's window is left out.

    Parameters
    ----------
    tile
        On the work grid, of ``factor`` scene pixels.
    look_px
        Scene pixels per quicklook pixel.
    weight
        (tile.height, tile.width) W, 0..1.
    """
    fine = tile.scaled(factor)
    values = np.repeat(np.repeat(weight, factor, 0), factor, 1)
    rows, cols = (
        np.arange(first, first + count) // look_px
        for first, count in ((fine.row, fine.height), (fine.col, fine.width))
    )
    starts = [np.flatnonzero(np.diff(line, prepend=line[0] - 1)) for line in (rows, cols)]
    sums = np.add.reduceat(np.add.reduceat(values.astype(np.float64), starts[0], 0), starts[1], 1)
    sizes = np.outer(np.diff(starts[0], append=len(rows)), np.diff(starts[1], append=len(cols)))
    cells = cells_under(tile, factor, look_px)
    shared = cells.intersection(allocation.window)
    if shared is not None:
        here, there = shared.slices(cells), shared.slices(allocation.window)
        allocation.total[there] += sums[here]
        allocation.count[there] += sizes[here]


def gathered(
    work: WorkDir, blocks: Sequence[Index], shape: tuple[int, int]
) -> NDArray[np.uint8] | None:
    """Mean W of all blocks, (h, w) uint8: 0 where no tile was restored, else 1..255 for W to 1.

    None if a block's W was not kept, as by an earlier run that made no report, if it is damaged,
    which a warning says, or if there are no blocks.
    """
    if not blocks:
        return None
    whole = empty(Window(0, 0, *shape))
    for index in blocks:
        if not work.block_file(WEIGHTS, *index, "npz").exists():
            return None
        if not work.is_whole(WEIGHTS, *index, "the report goes without its picture of W"):
            return None
        window, total, count = work.load(WEIGHTS, *index, "window", "total", "count")
        own = Window(*window.tolist())
        cells = own.intersection(whole.window)
        if cells is not None:
            whole.total[cells.slices()] += total[cells.slices(own)]
            whole.count[cells.slices()] += count[cells.slices(own)]
    mean = whole.total / np.maximum(whole.count, 1)
    levels = np.clip(np.rint(255 * mean), 1, 255)
    return np.where(whole.count > 0, levels, 0).astype(np.uint8)
