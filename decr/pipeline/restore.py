"""The second pass: restore the planned tiles block by block, with I/O in the background."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from decr.errors import OutputError
from decr.geo.grid import Window
from decr.geo.output import Patch
from decr.geo.scene import Scene, SceneReader, reader
from decr.pipeline.compose import Composer, change_at_full_resolution
from decr.pipeline.journal import WorkDir
from decr.pipeline.plan import BlockPlan, Plan
from decr.pipeline.survey import ChangeMap
from decr.pipeline.tiles import (
    FULL,
    LEVELS,
    BlockSum,
    Float32,
    Int32,
    cut_tiles,
    neighbours_before,
    quantised,
)
from decr.predictor import Restorer

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Restoration:
    """Everything a block needs to be restored."""

    scene: Scene
    plan: Plan
    change: ChangeMap
    composer: Composer
    restorer: Restorer
    batch: int
    work: WorkDir

    def fine(self, window: Window) -> Window:
        """A window of the work grid at full resolution, cut to the scene."""
        inside = window.scaled(self.plan.factor).intersection(self.scene.grid.window)
        assert inside is not None
        return inside


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """A block's pixels on the work grid: DN of the model's bands, valid mask."""

    dn: NDArray[np.generic]
    valid: NDArray[np.bool_]


def restore_blocks(job: Restoration, on_tiles: Progress | None = None) -> list[Patch]:
    """Restore all planned blocks that the journal does not name yet.

    ``on_tiles`` is told at the start, and after every batch, how many of all tiles are done.

    Returns
    -------
    list of Patch
        Every changed block of the scene, also those of an earlier run, in block order.
    """
    kind = "patch" if job.plan.factor == 1 else "change"
    todo = [b for b in job.plan.work if (kind, *_id(b)) not in job.work.done]
    done = sum(len(b.tiles) for b in job.plan.work) - sum(len(b.tiles) for b in todo)

    def tell(count: int) -> None:
        nonlocal done
        done += count
        if on_tiles is not None:
            on_tiles(done, job.plan.restore)

    tell(0)
    with (
        ThreadPoolExecutor(1, "decr-read") as reading,
        ThreadPoolExecutor(1, "decr-write") as writing,
    ):
        pending: Future[None] | None = None
        for block, pixels in _ahead(job, todo, reading):
            sums, base = _restored_sum(job, block, pixels, tell)
            spills = sums.spills()
            change = sums.core(_earlier(job, block)) - base
            job.work.save_arrays("spill", *_id(block), spills)
            if pending is not None:
                pending.result()
            pending = writing.submit(_finish_block, job, block, change)
        if pending is not None:
            pending.result()
    if job.plan.factor > 1:
        _compose_all(job)
    return patches_of(job)


def patches_of(job: Restoration) -> list[Patch]:
    """The patches on disk, in block order."""
    out = []
    for block in job.plan.work:
        path = job.work.block_file("patch", *_id(block), "tif")
        if job.work.done.get(("patch", *_id(block)), {}).get("changed", 0):
            window = job.fine(block.block.core)
            out.append(
                Patch(
                    path, window.row, window.col, window.height, window.width, job.composer.targets
                )
            )
    return out


def _id(block: BlockPlan) -> tuple[int, int]:
    return block.block.row_index, block.block.col_index


def _ahead(
    job: Restoration, todo: Sequence[BlockPlan], pool: ThreadPoolExecutor
) -> Iterator[tuple[BlockPlan, _Read]]:
    """Blocks with their pixels; the next block is read while this one is restored."""
    with reader(job.scene) as source:
        ahead: Future[_Read] | None = None
        for index, block in enumerate(todo):
            pixels = (ahead or pool.submit(_read, job, block, source)).result()
            ahead = None
            if index + 1 < len(todo):
                ahead = pool.submit(_read, job, todo[index + 1], source)
            yield block, pixels


def _read(job: Restoration, block: BlockPlan, source: SceneReader) -> _Read:
    window = job.plan.blocks.reach(block.block)
    if job.plan.factor == 1:
        dn, valid = source.read(window, job.composer.feed)
        return _Read(dn, valid)
    mean, count = source.read_coarse(window, job.plan.factor, job.composer.feed)
    return _Read(mean, count > 0)


def _restored_sum(
    job: Restoration, block: BlockPlan, pixels: _Read, tell: Callable[[int], None]
) -> tuple[BlockSum, Int32]:
    """The block's weighted sum, and what it would be had the model changed nothing (the core).

    ``tell`` hears of every batch how many tiles it was.
    """
    blocks = job.plan.blocks
    sums = BlockSum(blocks, block.block, len(job.composer.feed))
    unit = job.composer.radiometry.pick(job.composer.feed).encode(pixels.dn)
    unit[:, ~pixels.valid] = 0.0
    tiles = cut_tiles(unit, pixels.valid, sums.window, blocks, block.tiles)
    for group in _grouped(tiles, job.batch):
        corners = [blocks.lattice.tile(*index) for index, _ in group]
        stack = np.stack([tile for _, tile in group])
        restored = job.restorer.restore(stack, [(w.row, w.col) for w in corners])
        for (index, _), tile in zip(group, restored, strict=True):
            sums.add(index, np.clip(tile, -1.0, 1.0))
        tell(len(group))
    rows, cols = block.block.core.slices(sums.window)
    return sums, quantised(unit[:, rows, cols]) * np.int32(FULL // LEVELS)


def _grouped(
    tiles: Iterator[tuple[tuple[int, int], Float32]], size: int
) -> Iterator[list[tuple[tuple[int, int], Float32]]]:
    group: list[tuple[tuple[int, int], Float32]] = []
    for item in tiles:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _earlier(job: Restoration, block: BlockPlan) -> list[tuple[Window, Int32]]:
    return [s for n in neighbours_before(block.block) for s in job.work.load_arrays("spill", *n)]


def _finish_block(job: Restoration, block: BlockPlan, change: Int32) -> None:
    """Write what a block became and note it in the journal (on the writer's thread)."""
    # GDAL's settings and error handlers belong to a thread: without this it prints by itself.
    with rasterio.Env():
        _finished_block(job, block, change)


def _finished_block(job: Restoration, block: BlockPlan, change: Int32) -> None:
    if job.plan.factor > 1:
        job.work.save_arrays("change", *_id(block), [(block.block.core, change)])
        job.work.note("change", *_id(block))
        return
    with reader(job.scene) as source:
        _write_patch(job, block, source, block.block.core, change)


def _compose_all(job: Restoration) -> None:
    """Turn changes on the coarse work grid into patches, once all of them are known."""
    planned = {_id(b): b for b in job.plan.work}
    everything = job.plan.blocks.lattice
    whole = Window(0, 0, everything.height, everything.width)
    with reader(job.scene) as source:
        for (row, col), block in planned.items():
            if ("patch", row, col) in job.work.done:
                continue
            window = block.block.core.expand(1, whole)
            change = np.zeros((len(job.composer.feed), *window.shape), np.int32)
            for near in ((row + a, col + b) for a in (-1, 0, 1) for b in (-1, 0, 1)):
                for core, values in (
                    job.work.load_arrays("change", *near) if near in planned else []
                ):
                    shared = core.intersection(window)
                    if shared is not None:
                        mine, theirs = shared.slices(window), shared.slices(core)
                        change[(slice(None), *mine)] = values[(slice(None), *theirs)]
            _write_patch(job, block, source, window, change)


def _write_patch(
    job: Restoration, block: BlockPlan, source: SceneReader, origin: Window, change: Int32
) -> None:
    window = job.fine(block.block.core)
    weight = job.change.weights(window)
    dn, valid = source.read(window, job.composer.targets)
    fine = change_at_full_resolution(change, origin, job.plan.factor, window)
    out = job.composer.compose(dn, valid, weight, fine)
    same = (out == dn) | ((out != out) & (dn != dn))  # NaN counts as equal to NaN
    changed = int((~same).any(axis=0).sum())
    if changed:
        # An unplaced patch would make rasterio warn; any transform will do for it.
        grid = job.scene.grid
        place = grid.window_transform(window) if grid.has_transform else Affine.scale(1, -1)
        _write_tiff(job.work.block_file("patch", *_id(block), "tif"), out, place)
    job.work.note("patch", *_id(block), changed=changed)


def _write_tiff(path: Path, pixels: NDArray[np.generic], transform: Affine) -> None:
    """Write a patch, whole or not at all."""
    part = path.with_suffix(".part")
    count, height, width = pixels.shape
    try:
        with rasterio.open(
            part,
            "w",
            driver="GTiff",
            count=count,
            height=height,
            width=width,
            dtype=pixels.dtype,
            transform=transform,
            tiled=True,
            blockxsize=256,
            blockysize=256,
            compress="lzw",
            predictor=3 if pixels.dtype.kind == "f" else 2,
            bigtiff="if_safer",
        ) as file:
            file.write(pixels)
        # GDAL reports a full disk late or not at all: read the last block back.
        with rasterio.open(part) as file:
            file.read(count, window=((height - 1, height), (width - 1, width)))
        # The journal names this block next: a power cut must not leave it torn.
        with part.open("rb") as file:
            os.fsync(file.fileno())
    except (RasterioError, OSError) as error:
        raise OutputError(
            f"{path.parent}: cannot write finished work ({error}); free some space and run the "
            f"same command again: what is finished is kept"
        ) from error
    part.replace(path)
