"""What will be done: which tiles to restore, copy or skip, and what that takes (see room.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decr.geo.grid import Window
from decr.geo.lattice import Axis, Block, Blocks, Lattice
from decr.pipeline.change_map import ChangeMap
from decr.pipeline.mapped import let_go
from decr.pipeline.room import MB, Load, planned_disk_mb, planned_memory_mb
from decr.pipeline.tone import REACH, Index
from decr.progress import Counted


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
        From a timed probe: of tiles side by side, the time of all over their number; None if none
        was made.
    bands
        Role of each of the scene's bands in file order, as `decr.geo.bands.Bands.roles`.
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
    bands: tuple[str, ...] = ()

    @property
    def seconds(self) -> float | None:
        """Estimated time for the tiles, without reading the scene and writing the file."""
        return None if self.seconds_per_tile is None else self.seconds_per_tile * self.restore

    def facts(self) -> dict[str, Any]:
        """What is above without the blocks, for JSON."""
        return {
            "bands": self.bands,
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
    blocks: Blocks, factor: int, change: ChangeMap, scene_window: Window, load: Load, told: Counted
) -> Plan:
    """Decide for every tile; pure but for reading the survey's raster.

    Parameters
    ----------
    scene_window
        The whole scene at full resolution, to clip windows of the work grid.
    told
        Told of blocks looked at, and of all blocks.
    """
    skip = valid = 0
    rows, cols = (tile_spans(blocks.lattice, axis, factor, scene_window) for axis in (0, 1))
    cloudy: list[tuple[Block, list[Index]]] = []
    inside: set[Index] = set()
    everything = blocks.blocks()
    for done, block in enumerate(everything):
        told(done, len(everything))
        tiles = blocks.tiles_of(block)
        (top, left), (bottom, right) = tiles[0], tiles[-1]
        data, restored = change.touched(rows[top : bottom + 1], cols[left : right + 1])
        valid += int(data.sum())
        skip += len(tiles) - int(data.sum())
        todo = [t for t, wanted in zip(tiles, restored.ravel().tolist(), strict=True) if wanted]
        if todo:
            cloudy.append((block, todo))
        if change.aoi is not None:
            inside.update((i, j) for i, j in todo if change.inside(_window(rows[i], cols[j])))
        let_go(change.survey.stored)
    told(len(everything), len(everything))
    if change.aoi is not None:
        # Tones are settled with tiles beyond the area, or it would not get the whole scene's.
        wanted = _around(inside)
        cloudy = [(block, [tile for tile in todo if tile in wanted]) for block, todo in cloudy]
    work = tuple(BlockPlan(block, tuple(todo)) for block, todo in cloudy if todo)
    restore = sum(len(block.tiles) for block in work)
    survey_mb = change.survey.stored.nbytes / MB  # mapped from disk, but counted as resident
    return Plan(
        blocks=blocks,
        factor=factor,
        work=work,
        restore=restore,
        copy=valid - restore,
        skip=skip,
        ccp=change.survey.ccp,
        memory_mb=planned_memory_mb(blocks, factor, work, load) + survey_mb,
        disk_mb=planned_disk_mb(blocks, factor, work, scene_window.area, load) + survey_mb,
    )


def tile_spans(lattice: Lattice, axis: Axis, factor: int, scene: Window) -> NDArray[np.int64]:
    """(n, 2) first scene pixel and stop of what each tile along an axis depends on.

    Parameters
    ----------
    factor
        Scene pixels per pixel of the lattice's grid. If more than 1, interpolation to the scene's
        pixels also looks at the cell beside a tile.
    scene
        The whole scene.
    """
    starts = np.array(lattice.starts(axis))
    beside = factor if factor > 1 else 0
    first, stop = starts * factor - beside, (starts + lattice.tile_px) * factor + beside
    return np.stack([first, stop], axis=1).clip(0, scene.shape[axis])


def _window(rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Window:
    """The window of a span of rows and one of columns."""
    (top, bottom), (left, right) = rows.tolist(), cols.tolist()
    return Window(top, left, bottom - top, right - left)


def _around(tiles: set[Index]) -> set[Index]:
    """Indices at most `REACH` from one of these along each axis."""
    around = range(-REACH, REACH + 1)
    return {(i + a, j + b) for i, j in tiles for a in around for b in around}


def described(plan: Plan) -> str:
    """The plan in a few lines for a person."""
    lattice = plan.blocks.lattice
    total = max(1, plan.restore + plan.copy + plan.skip)
    lines = [
        f"bands     {', '.join(plan.bands)}",
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
