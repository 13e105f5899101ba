"""How much memory and disk the work on a scene takes: by construction, and as measured."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from decr.geo.gdal import CACHE_BYTES, COARSE_CACHE_BYTES
from decr.geo.lattice import Axis, Blocks
from decr.pipeline.tiles import READ_BYTES, STRIP_ROWS
from decr.pipeline.tone import CELLS

if TYPE_CHECKING:
    from decr.pipeline.plan import BlockPlan

MB = 2**20
_PATCH_BYTES = 24_000
"""Of memory for each patch that the output is put together from: its XML here, and what GDAL makes
of that, 12 kB each over 3000 patches of four bands (by a script that was not kept)."""
_RUNTIME_MB = 720
"""Python, torch, GDAL and the embedded networks at work, without any scene.

Measured by tests/benchmarks/scaling.py ("model alone", 615), and 100 for memory that is free but
lies in pieces. Larger networks need more.
"""
_LANE_MB = 80
"""What one more tile in the making takes, with the embedded networks."""
_SURVEY_MB = 94 + COARSE_CACHE_BYTES // MB
"""Two blocks of cells at a time, read in pieces of bounded size; measured, but for the cache."""
_KEPT_MB = 50
"""What the restoring leaves behind; measured."""
_LZW = 1.4
"""How much larger than they are numbers may get that LZW cannot compress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a run has to carry, whatever is planned.

    Attributes
    ----------
    bytes_per_pixel
        Of the scene, all bands together.
    beside
        Bytes per pixel of rasters that are written beside the output.
    channels
        Bands the model restores.
    write_bytes
        What writing the output takes, after the restoring (`decr.geo.output.write_memory_bytes`).
    side_by_side, batch
        Tiles restored at a time, and handed over for each of those.
    at_once
        Blocks restored at a time.
    """

    bytes_per_pixel: int
    beside: int
    channels: int
    write_bytes: int
    side_by_side: int
    batch: int
    at_once: int


def planned_memory_mb(blocks: Blocks, factor: int, work: Sequence[BlockPlan], load: Load) -> float:
    """Peak memory by construction, in MB of 2^20 bytes: what the greediest stage holds at a time.

    With Dask, this is the memory of each worker at the most, and of the process that writes.
    """
    lattice = blocks.lattice
    rows, cols = _longest_reach(blocks, 0), _longest_reach(blocks, 1)
    pixels = rows * cols
    strip = min(STRIP_ROWS, rows * factor) * cols * factor
    sums = pixels * load.channels * 4
    numbers = pixels * load.bytes_per_pixel if factor == 1 else sums
    # A block at hand: its numbers, and the sum of its tiles, which becomes their change.
    at_hand = numbers + sums
    # A strip being settled: its change and a correction, its numbers before and after, weights,
    # masks; what three neighbours left there; and what was read with it.
    settled = strip * (2 * load.bytes_per_pixel + 2 * load.channels * 4 + 16) + READ_BYTES
    settled += 3 * (rows + cols) * lattice.overlap_px * load.channels * 4
    if factor > 1:  # the whole change is put together, and brought to full resolution by strips
        settled += 2 * sums + 2 * strip * load.channels * 4
    # One more is read ahead, and the result of one more is on its way to disk.
    arrays = load.at_once * (at_hand + settled) + numbers + sums
    # Tiles: a batch encoded, restored, and put together; and two rows of the block's, compared.
    held = 3 * load.batch * load.side_by_side + 2 * blocks.strides
    tiles = held * load.channels * lattice.tile_px**2 * 4 * load.at_once
    restoring = CACHE_BYTES / MB + (arrays + tiles) / MB + _LANE_MB * (load.side_by_side - 1)
    write_bytes = load.write_bytes + _PATCH_BYTES * len(work)
    return _RUNTIME_MB + max(_SURVEY_MB, restoring, _KEPT_MB + write_bytes / MB)


def planned_disk_mb(
    blocks: Blocks, factor: int, work: Sequence[BlockPlan], scene_px: int, load: Load
) -> float:
    """What patches, restored blocks and all that is written take if nothing is compressed.

    Levels of ground are left out: they are less than a hundredth of that.
    """
    restored_px = min(scene_px, sum(b.block.core.area for b in work) * factor**2)
    patches = _LZW * restored_px * load.bytes_per_pixel
    # A pyramid of overviews is a third of its base, and made once beside the file and once in it.
    output = scene_px * load.bytes_per_pixel * 5 // 3
    lying = lying_bytes(blocks, factor, work, load.channels, load.at_once)
    return (patches + max(output, lying) + scene_px * load.beside) / MB


def lying_bytes(
    blocks: Blocks, factor: int, work: Sequence[BlockPlan], channels: int, at_once: int
) -> int:
    """What restored blocks, and changes on a coarse work grid, take while they wait for others."""
    indices = [block.index for block in work]
    cells = CELLS**2 * 2 * channels * 4
    kept = [blocks.reach(b.block).area * channels * 4 + len(b.tiles) * cells for b in work]
    changes = [0 if factor == 1 else b.block.core.area * channels * 4 for b in work]
    kept_before, changes_before = ([0, *accumulate(sizes)] for sizes in (kept, changes))
    most = 0
    for at, (i, j) in enumerate(indices):
        # One more for each block that is being settled. A block waits for those two rows below, a
        # change is made when a row below is restored, and waits for those two rows further.
        first = max(0, bisect_left(indices, (i - 2, j - 1)) - at_once - 1)
        second = max(0, bisect_left(indices, (i - 3, j - 2)) - at_once - 1)
        stop = max(second, bisect_left(indices, (i - 1, j)))
        lying = kept_before[at + 1] - kept_before[first]
        most = max(most, lying + changes_before[stop] - changes_before[second])
    return most


def _longest_reach(blocks: Blocks, axis: Axis) -> int:
    """Pixels of the longest block with its tiles along an axis; the last block may be longest."""
    longest = max(stop - first for first, stop in pairwise(blocks.edges(axis)))
    size = blocks.lattice.width if axis else blocks.lattice.height
    return min(size, longest + blocks.lattice.overlap_px)
