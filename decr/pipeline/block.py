"""One block restored, in whatever process: pixels read, tiles restored and summed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from decr.forks import fork_lock
from decr.geo.gdal import gdal_environment
from decr.geo.grid import Window
from decr.geo.lattice import Blocks
from decr.geo.missing import blank
from decr.geo.reader import reader
from decr.geo.scene import Scene
from decr.pipeline.allocation import Allocation, add, cells_under, empty
from decr.pipeline.engine import Tell
from decr.pipeline.memory import give_back
from decr.pipeline.networks import Named, the_restorer
from decr.pipeline.plan import BlockPlan
from decr.pipeline.seams import Overlaps, Squares
from decr.pipeline.tiles import FULL, LEVELS, BlockSum, Float32, Int32, Spills, cut_tiles, quantised
from decr.pipeline.tone import Index, cell_means
from decr.plugins import checked
from decr.predictor import Restorer
from decr.radiometry import Radiometry

_TURNS: dict[int, threading.BoundedSemaphore] = {}
"""By how many blocks of a process are restored at a time; another may be read meanwhile."""
_TURNS_LOCK = fork_lock()
os.register_at_fork(after_in_child=_TURNS.clear)
_STRIP_ROWS = 64

Tile = tuple[Index, NDArray[np.generic]]
"""A tile's index, and its numbers as the scene has them, (C, tile_px, tile_px)."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BlockTask:
    """Everything that restoring a block takes; small, and fit to travel if its networks are.

    Attributes
    ----------
    scene, blocks, block, factor
        What to read: the block on the work grid, ``factor`` scene pixels per work pixel.
    feed, radiometry
        Scene bands for the model's, and the range of those.
    networks
        The model, or its name for a process that must load it.
    batch
        Tiles handed over at once, for each that is computed side by side.
    at_once
        Blocks restored at a time in one process.
    look_px
        Scene pixels per quicklook pixel, if mean W is wanted at that size and the model has one.
    """

    scene: Scene
    blocks: Blocks
    block: BlockPlan
    factor: int
    feed: tuple[int, ...]
    radiometry: Radiometry
    networks: Restorer | Named
    batch: int
    at_once: int = 1
    look_px: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BlockResult:
    """What a block's own tiles make of it.

    Attributes
    ----------
    change
        (C, h, w) int32 of the core: the weighted sum of its tiles, less that of the source. What
        the model changed, once the spills of the blocks left, above and above left are added;
        `decr.pipeline.tiles.FULL` then stands for 1.0.
    spills
        What its tiles sum to beyond the core.
    seen, said
        Each tile before, and what the model changed in it, as `decr.pipeline.tone.cell_means`.
    difference
        Between neighbouring tiles where they overlap.
    allocation
        Mean W of the fusion, if it was wanted and there is one.
    """

    change: Int32
    spills: Spills
    seen: dict[Index, Float32]
    said: dict[Index, Float32]
    difference: Squares
    allocation: Allocation | None = None


def restored_block(task: BlockTask, tell: Tell) -> BlockResult:
    """Read and restore a block; ``tell`` hears of every batch how many tiles it was."""
    result = _made(task, tell)
    give_back()
    return result


def _made(task: BlockTask, tell: Tell) -> BlockResult:
    with gdal_environment():
        dn, valid = _read(task)
    restorer = the_restorer(task.networks)
    overlaps = Overlaps(task.blocks.lattice)
    seen, said = dict[Index, Float32](), dict[Index, Float32]()
    with _turn(task.at_once):  # a block that waits for it holds nothing but what it has read
        sums = BlockSum(task.blocks, task.block.block, len(task.feed))
        weighed = _weighed(task, restorer, sums.window)
        tiles = cut_tiles(dn, valid, sums.window, task.blocks, task.block.tiles)
        for group in _grouped(tiles, task.batch * restorer.side_by_side):
            restored = _restored(task, restorer, group, weighed)
            give_back()  # what the networks were at work in, before there is more
            for (index, tile), found in zip(group, restored, strict=True):
                clear = np.clip(found, -1.0, 1.0)
                sums.add(index, clear)
                overlaps.add(index, clear)
                # Encoded again, which takes no time: a model may have changed what it was handed.
                cloudy = task.radiometry.encode(tile)
                seen[index] = cell_means(cloudy, task.blocks.lattice, index)
                said[index] = cell_means(clear - cloudy, task.blocks.lattice, index)
            tell(len(group))
        core = task.block.block.core.slices(sums.window)
        change = sums.core()
        _lessen(change, dn[:, *core], valid[core], task.radiometry)
    return BlockResult(change, sums.spills(), seen, said, overlaps.difference, weighed)


def _lessen(
    total: Int32, dn: NDArray[np.generic], valid: NDArray[np.bool_], radiometry: Radiometry
) -> None:
    """Take from a sum of tiles, in place, what it would be had the model changed nothing."""
    for first in range(0, total.shape[1], _STRIP_ROWS):  # in little room: units of 8 bytes
        rows = slice(first, first + _STRIP_ROWS)
        unit = radiometry.encode(dn[:, rows])
        blank(unit, valid[rows])
        total[:, rows] -= quantised(unit) * np.int32(FULL // LEVELS)


def _turn(at_once: int) -> threading.BoundedSemaphore:
    """What a block of this process waits for before it is restored."""
    with _TURNS_LOCK:
        if at_once not in _TURNS:
            _TURNS[at_once] = threading.BoundedSemaphore(at_once)
        return _TURNS[at_once]


def _read(task: BlockTask) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """DN of the model's bands and the valid mask, on the work grid, under core and reach."""
    window = task.blocks.reach(task.block.block)
    with reader(task.scene) as source:
        if task.factor == 1:
            return source.read(window, task.feed)
        mean, count = source.read_coarse(window, task.factor, task.feed)
        return mean, count > 0


def _weighed(task: BlockTask, restorer: Restorer, window: Window) -> Allocation | None:
    """Where to put W, if it is wanted and the model has one."""
    if task.look_px is None or restorer.restore_weighed is None:
        return None
    return empty(cells_under(window, task.factor, task.look_px))


def _restored(
    task: BlockTask, restorer: Restorer, group: list[Tile], weighed: Allocation | None
) -> Float32:
    """What the model makes of some tiles, all of them encoded into one array."""
    windows = [task.blocks.lattice.tile(*index) for index, _ in group]
    stack = np.empty((len(group), *group[0][1].shape), np.float32)
    for unit, (_, tile) in zip(stack, group, strict=True):
        unit[:] = task.radiometry.encode(tile)
    corners = [(w.row, w.col) for w in windows]
    if weighed is None or restorer.restore_weighed is None or task.look_px is None:
        return checked(restorer.name, restorer.restore(stack, corners), stack.shape)
    restored, weights = restorer.restore_weighed(stack, corners)
    restored = checked(restorer.name, restored, stack.shape)
    weights = checked(restorer.name, weights, (len(stack), *stack.shape[2:]))
    for window, weight in zip(windows, weights, strict=True):
        # Of a scene smaller than a tile, the rest of it is mirrored.
        own = weight[: window.height, : window.width]
        add(weighed, window, task.factor, task.look_px, own)
    return restored


def _grouped(tiles: Iterator[Tile], size: int) -> Iterator[list[Tile]]:
    return iter(lambda: list(islice(tiles, size)), [])
