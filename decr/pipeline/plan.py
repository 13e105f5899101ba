"""What will be done: which tiles to restore, copy or skip, in how much memory, disk and time."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from decr.geo.gdal import CACHE_BYTES, COARSE_CACHE_BYTES
from decr.geo.grid import Window
from decr.geo.lattice import Axis, Block, Blocks
from decr.pipeline.change_map import ChangeMap
from decr.pipeline.tiles import READ_BYTES, STRIP_ROWS
from decr.pipeline.tone import CELLS, REACH, Index

_PATCH_BYTES = 24_000
"""Of memory for each patch that the output is put together from: its XML here, and what GDAL makes
of that, 12 kB each over 3000 patches of four bands (by a script that was not kept)."""
_RUNTIME_MB = 720
"""Python, torch, GDAL and the embedded networks at work, without any scene.

Measured by tests/benchmarks/scaling.py ("model alone", 615), and 100 for memory that is free but
lies in pieces. Larger networks need more.
"""


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """A block that needs work, and the lattice indices of its tiles to restore."""

    block: Block
    tiles: tuple[tuple[int, int], ...]

    @property
    def index(self) -> tuple[int, int]:
        """Row and column among the blocks."""
        return self.block.row_index, self.block.col_index


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything decided before the first tile is restored.

    Attributes
    ----------
    blocks
        The tile lattice on the work grid, cut into blocks.
    factor
        Scene pixels per pixel of the work grid along each axis; 1 unless ``--gsd model``.
    work
        Blocks with tiles to restore, in order.
    restore, copy, skip
        Numbers of tiles.
    ccp
        Cloud coverage before, 0..1.
    memory_mb
        Planned peak of the process with the embedded model, in 2^20 bytes; larger networks need
        more.
    disk_mb
        What the output and all work on it would take at the most if nothing could be compressed,
        in 2^20 bytes.
    seconds_per_tile
        From a timed probe; None if none was made.
    """

    blocks: Blocks
    factor: int
    work: tuple[BlockPlan, ...]
    restore: int
    copy: int
    skip: int
    ccp: float
    memory_mb: float
    disk_mb: float
    seconds_per_tile: float | None = None

    @property
    def seconds(self) -> float | None:
        """Estimated time for the tiles, without reading the scene and writing the file."""
        return None if self.seconds_per_tile is None else self.seconds_per_tile * self.restore

    def facts(self) -> dict[str, float | None]:
        """The numbers above without the blocks, for JSON."""
        return {
            "restore": self.restore,
            "copy": self.copy,
            "skip": self.skip,
            "ccp": self.ccp,
            "memory_mb": round(self.memory_mb),
            "disk_mb": round(self.disk_mb),
            "seconds_per_tile": self.seconds_per_tile,
            "seconds": self.seconds,
        }


def make_plan(
    blocks: Blocks,
    factor: int,
    change: ChangeMap,
    scene_window: Window,
    bytes_per_pixel: int,
    channels: int,
    write_bytes: int,
    side_by_side: int,
    batch: int,
    at_once: int,
    beside: int,
    on_progress: Callable[[int, int], None],
) -> Plan:
    """Decide for every tile; pure but for reading the survey's raster.

    Parameters
    ----------
    scene_window
        The whole scene at full resolution, to clip windows of the work grid.
    bytes_per_pixel
        Of the scene, all bands together.
    channels
        Bands the model restores.
    write_bytes
        What writing the output takes, after the restoring (`decr.geo.output.write_memory_bytes`).
    side_by_side, batch
        Tiles restored at a time, and handed over for each of those.
    at_once
        Blocks restored at a time.
    beside
        Bytes per pixel of rasters that are written beside the output.
    on_progress
        Told of blocks looked at, and of all blocks.
    """
    counts: Counter[str] = Counter()
    cloudy: list[tuple[Block, list[Index]]] = []
    inside: set[Index] = set()
    everything = blocks.blocks()
    for done, block in enumerate(everything):
        on_progress(done, len(everything))
        tiles = blocks.tiles_of(block)
        windows = [blocks.lattice.tile(*t).scaled(factor).clipped(scene_window) for t in tiles]
        if factor > 1:
            # Interpolation to the scene's pixels also looks at the cell beside.
            windows = [window.expand(factor, scene_window) for window in windows]
        actions = change.touched(windows)
        counts.update(actions)
        todo = [t for t, action in zip(tiles, actions, strict=True) if action == "restore"]
        if todo:
            cloudy.append((block, todo))
        if change.aoi is not None:
            of = dict(zip(tiles, windows, strict=True))
            inside.update(tile for tile in todo if change.inside(of[tile]))
    on_progress(len(everything), len(everything))
    if change.aoi is not None:
        # Tones are settled with tiles beyond the area, or it would not get the whole scene's.
        wanted = _around(inside)
        cloudy = [(block, [tile for tile in todo if tile in wanted]) for block, todo in cloudy]
    work = tuple(BlockPlan(block, tuple(todo)) for block, todo in cloudy if todo)
    restore = sum(len(block.tiles) for block in work)
    return Plan(
        blocks,
        factor,
        work,
        restore,
        counts["copy"] + counts["restore"] - restore,
        counts["skip"],
        change.survey.ccp,
        planned_memory_mb(
            blocks,
            factor,
            bytes_per_pixel,
            channels,
            write_bytes + _PATCH_BYTES * len(work),
            side_by_side,
            batch,
            at_once,
        )
        + change.survey.stored.nbytes / _MB,  # mapped from disk, but counted as resident
        planned_disk_mb(blocks, factor, work, scene_window.area, bytes_per_pixel, channels, at_once)
        + (change.survey.stored.nbytes + scene_window.area * beside) / _MB,
    )


def _around(tiles: set[Index]) -> set[Index]:
    """Indices at most `REACH` from one of these along each axis."""
    around = range(-REACH, REACH + 1)
    return {(i + a, j + b) for i, j in tiles for a in around for b in around}


def planned_memory_mb(
    blocks: Blocks,
    factor: int,
    bytes_per_pixel: int,
    channels: int,
    write_bytes: int,
    side_by_side: int = 1,
    batch: int = 4,
    at_once: int = 1,
) -> float:
    """Peak memory by construction, in MB of 2^20 bytes: what the greediest stage holds at a time.

    With Dask, this is the memory of each worker at the most, and of the process that writes.
    """
    lattice = blocks.lattice
    pixels = _longest_reach(blocks, 0) * _longest_reach(blocks, 1)
    strip = min(STRIP_ROWS, _longest_reach(blocks, 0) * factor) * _longest_reach(blocks, 1) * factor
    sums = pixels * channels * 4
    numbers = pixels * bytes_per_pixel if factor == 1 else sums
    # A block at hand: its numbers, and the sum of its tiles, which becomes their change.
    at_hand = numbers + sums
    # A strip being settled: its change and a correction, its numbers before and after, weights,
    # masks; what three neighbours left there; and what was read with it.
    settled = strip * (2 * bytes_per_pixel + 2 * channels * 4 + 16) + READ_BYTES
    settled += (
        3
        * (_longest_reach(blocks, 0) + _longest_reach(blocks, 1))
        * (lattice.overlap_px * channels * 4)
    )
    if factor > 1:  # the whole change is put together, and brought to full resolution by strips
        settled += 2 * sums + 2 * strip * channels * 4
    # One more is read ahead, and the result of one more is on its way to disk.
    arrays = at_once * (at_hand + settled) + numbers + sums
    # Tiles: a batch encoded, restored, and put together; and two rows of the block's, compared.
    held = 3 * batch * side_by_side + 2 * blocks.strides
    tiles = held * channels * lattice.tile_px**2 * 4 * at_once
    restoring = CACHE_BYTES / _MB + (arrays + tiles) / _MB + _LANE_MB * (side_by_side - 1)
    return _RUNTIME_MB + max(_SURVEY_MB, restoring, _KEPT_MB + write_bytes / _MB)


_LZW = 1.4
"""How much larger than they are numbers may get that LZW cannot compress."""


def planned_disk_mb(
    blocks: Blocks,
    factor: int,
    work: Sequence[BlockPlan],
    scene_px: int,
    bytes_per_pixel: int,
    channels: int,
    at_once: int,
) -> float:
    """What patches, restored blocks and the output take at the most if nothing is compressed.

    Levels of ground are left out: they are less than a hundredth of that.
    """
    restored_px = min(scene_px, sum(b.block.core.area for b in work) * factor**2)
    patches = _LZW * restored_px * bytes_per_pixel
    # A pyramid of overviews is a third of its base, and made once beside the file and once in it.
    output = scene_px * bytes_per_pixel * 5 // 3
    return (patches + max(output, lying_bytes(blocks, factor, work, channels, at_once))) / _MB


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


_MB = 2**20
_LANE_MB = 80
"""What one more tile in the making takes, with the embedded networks."""
_SURVEY_MB = 94 + COARSE_CACHE_BYTES // _MB
"""Two blocks of cells at a time, read in pieces of bounded size; measured, but for the cache."""
_KEPT_MB = 50
"""What the restoring leaves behind; measured."""


def _longest_reach(blocks: Blocks, axis: Axis) -> int:
    """Pixels of the longest block with its tiles along an axis; the last block may be longest."""
    longest = max(stop - first for first, stop in pairwise(blocks.edges(axis)))
    size = blocks.lattice.width if axis else blocks.lattice.height
    return min(size, longest + blocks.lattice.overlap_px)


def describe(plan: Plan) -> str:
    """The plan in a few lines for a person."""
    lattice = plan.blocks.lattice
    total = max(1, plan.restore + plan.copy + plan.skip)
    lines = [
        f"tiles     {total} of {lattice.tile_px} px, overlap {lattice.overlap_px} px"
        + (f", at 1/{plan.factor} of the scene's resolution" if plan.factor > 1 else ""),
        f"restore   {plan.restore} ({100 * plan.restore / total:.1f} %)",
        f"copy      {plan.copy} (no cloud: left bit for bit)",
        f"skip      {plan.skip} (no data)",
        f"clouds    {100 * plan.ccp:.1f} % of valid pixels (CCP before)",
        f"memory    about {plan.memory_mb:.0f} MB at the peak",
        f"disk      up to {_size(plan.disk_mb)} with the output, if nothing could be compressed",
    ]
    if plan.seconds is not None:
        assert plan.seconds_per_tile is not None
        lines.append(
            f"time      about {_duration(plan.seconds)} for the tiles "
            f"({plan.seconds_per_tile:.2f} s each)"
        )
    return "\n".join(lines)


def _size(mb: float) -> str:
    return f"{mb:.0f} MB" if mb < 10_000 else f"{mb / 1024:.0f} GB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
