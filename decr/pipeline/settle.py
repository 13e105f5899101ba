"""From what blocks were restored to, to patches: levels and tones settled, then written.

A block is settled as soon as the blocks around it are restored. Until then, and until those around
it are settled, what it was restored to lies in the work directory. On a coarse work grid, settled
changes lie there in the same way until the blocks around are patches.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decr.geo.gdal import gdal_environment
from decr.geo.grid import Window
from decr.geo.reader import SceneReader, reader
from decr.geo.whole import check_whole
from decr.pipeline.allocation import WEIGHTS
from decr.pipeline.block import BlockResult
from decr.pipeline.compose import change_at_full_resolution
from decr.pipeline.ground import shift_towards
from decr.pipeline.journal import readable
from decr.pipeline.mapped import let_go
from decr.pipeline.memory import give_back
from decr.pipeline.patch_file import patch_file
from decr.pipeline.plan import BlockPlan
from decr.pipeline.restoration import Restoration
from decr.pipeline.seams import Gradients, Squares, gradients, noted
from decr.pipeline.tiles import (
    STRIP_ROWS,
    Float32,
    Int32,
    Spills,
    add_spills,
    neighbours_before,
    reads_of,
    strips_of,
)
from decr.pipeline.tone import CELLS, Index, at_full_size, cells_of, corrections, disagreement


class Settling:
    """Keeps restored blocks, and settles and writes them on a pool of ``run.at_once`` threads."""

    def __init__(self, run: Restoration, pool: ThreadPoolExecutor) -> None:
        self._run, self._pool = run, pool
        self._planned = {block.index: block for block in run.plan.work}
        self._begun: set[Index] = set()
        self._kind = "patch" if run.plan.factor == 1 else "change"
        self._interpolated: set[Index] = set()
        self._choosing = threading.Lock()
        self._under_way: deque[Future[None]] = deque()

    def forget_damaged(self, patches: bool) -> None:
        """Forget damaged work that is still needed, and ``patches`` if wanted: it is made anew."""
        work = self._run.work
        for index in self._damaged_patches() if patches else ():
            self._forget("patch", index)
        for kind, for_it in (("change", "patch"), ("block", self._kind)):
            for index in self._planned:
                needed = self._has(kind, index) and not self._all_near(for_it, index)
                if needed and not work.is_whole(kind, *index):
                    self._forget(kind, index)

    def _damaged_patches(self) -> Iterator[Index]:
        """Those that do not hold what was written, read on all threads."""
        work = self._run.work
        noted = {
            work.block_file("patch", *index, "tif"): index
            for index in self._planned
            if work.done.get(("patch", *index), {}).get("changed", 0)
        }
        checks = {file: self._pool.submit(self._checked, index) for file, index in noted.items()}
        try:
            for file, index in noted.items():
                if readable(file, lambda one: checks[one].result()) is None:
                    yield index
        finally:
            for check in checks.values():
                check.cancel()

    def _checked(self, index: Index) -> Path:
        """The file of a noted patch, which is whole."""
        work = self._run.work
        file, noted = work.block_file("patch", *index, "tif"), work.done["patch", *index]["sums"]
        with gdal_environment():
            check_whole(file, {Window(*place): found for *place, found in noted}, {})
        return file

    def _forget(self, kind: str, index: Index) -> None:
        """Forget a block's file of this kind, so that it is made anew.

        The files around it that it is made of may have been removed: they are forgotten, too.
        """
        self._run.work.forget((kind, *index))
        if kind != "block":
            for near in self._near(index):
                self._forget("block" if kind == self._kind else "change", near)

    def keep(self, block: BlockPlan, result: BlockResult) -> None:
        """Put a restored block on disk; it need not stay in memory."""
        arrays: dict[str, NDArray[Any]] = {
            "tiles": np.array(list(result.said), np.int64).reshape(-1, 2),
            "said": np.array([_padded(means) for means in result.said.values()], np.float32),
            "shift": np.array([_padded(cells) for cells in self._shifts(result)], np.float32),
            "windows": np.array([astuple(window) for window, _ in result.spills], np.int64),
        }
        core = block.block.core
        for i, strip in enumerate(strips_of(core)):
            arrays[f"change{i}"] = result.change[:, *strip.slices(core)]
        arrays |= {f"spill{i}": values for i, (_, values) in enumerate(result.spills)}
        self._run.work.save("block", *block.index, arrays)
        if result.allocation is not None:
            self._run.work.save(WEIGHTS, *block.index, result.allocation.arrays())
        self._run.work.note("block", *block.index, **noted(difference=result.difference))

    def settle_around(self, block: BlockPlan) -> None:
        """Settle all whose neighbours are restored, now that this one is."""
        for near in self._near(block.index):
            self._settle_if_ready(near)

    def finish(self) -> None:
        """Settle what is left, when all blocks are restored."""
        for index in self._planned:
            self._settle_if_ready(index)
        self._wait_for_all()
        if self._run.plan.factor > 1:
            for index in self._planned:  # those whose changes an interrupted run has left
                if not self._has("patch", index):
                    self._begin(self._interpolate_if_ready, index)
        self._wait_for_all()

    def _begin(self, function: Callable[[Index], None], index: Index) -> None:
        """As soon as a thread is free: what waits for one is in memory."""
        while len(self._under_way) >= self._run.at_once:
            self._under_way.popleft().result()
        self._under_way.append(self._pool.submit(function, index))

    def _wait_for_all(self) -> None:
        while self._under_way:
            self._under_way.popleft().result()

    def _near(self, index: Index) -> list[Index]:
        """The planned blocks around one, itself included, in raster order."""
        i, j = index
        around = product((i - 1, i, i + 1), (j - 1, j, j + 1))
        return [near for near in around if near in self._planned]

    def _has(self, kind: str, index: Index) -> bool:
        return (kind, *index) in self._run.work.done

    def _all_near(self, kind: str, index: Index) -> bool:
        return all(self._has(kind, near) for near in self._near(index))

    def _settle_if_ready(self, index: Index) -> None:
        if index in self._begun or self._has(self._kind, index):
            return
        if self._all_near("block", index):
            self._begun.add(index)
            self._begin(self._settle_and_drop, index)

    def _settle_and_drop(self, index: Index) -> None:
        with gdal_environment():
            self._settle(index)
        give_back()
        self._drop_unneeded("block", self._kind, index)
        if self._run.plan.factor > 1:
            for near in self._near(index):
                self._interpolate_if_ready(near)

    def _interpolate_if_ready(self, index: Index) -> None:
        with self._choosing:  # threads may find the last change around a block together
            if index in self._interpolated or self._has("patch", index):
                return
            if not self._all_near("change", index):
                return
            self._interpolated.add(index)
        self._interpolate(index)
        give_back()
        self._drop_unneeded("change", "patch", index)

    def _drop_unneeded(self, kind: str, of_it: str, index: Index) -> None:
        """Drop what a block and those around it were made of, where all around are made."""
        for near in self._near(index):
            if self._all_near(of_it, near):
                self._run.work.drop(kind, *near)

    def _settle(self, index: Index) -> None:
        """Complete a block's change with its neighbours' spills and the agreed tones."""
        run, block = self._run, self._planned[index]
        lattice, core = run.plan.blocks.lattice, block.block.core
        befores = [near for near in neighbours_before(block.block) if near in self._planned]
        spills = [spill for near in befores for spill in self._spills(near)]
        said, shifts = self._said(index)
        over = [tile for tile in sorted(said) if lattice.tile(*tile).intersection(core)]
        level = {tile: means + shifts[tile] for tile, means in said.items()}
        agreed = corrections(level, lattice, over)
        added = {tile: shifts[tile] + agreed[tile] for tile in over}

        def settled(strip: Window) -> Int32:
            first = (strip.row - core.row) // STRIP_ROWS
            (change,) = run.work.load("block", *index, f"change{first}")
            add_spills(change, strip, spills)
            for tile in over:
                window = lattice.tile(*tile)
                if added[tile].any() and window.intersection(strip):
                    shift = at_full_size(added[tile], lattice, tile) * lattice.tile_weights(*tile)
                    add_spills(change, strip, [(window, shift)])
            return change

        own = {tile: added[tile] for tile in block.tiles if tile in added}
        tone = disagreement(said, lattice, own)
        if run.plan.factor > 1:
            whole = np.concatenate([settled(strip) for strip in strips_of(core)], axis=1)
            run.work.save("change", *index, {"change": whole})
            run.work.note("change", *index, **noted(tone=tone))
        else:
            self._write(index, settled, tone)

    def _spills(self, index: Index) -> Spills:
        (windows,) = self._run.work.load("block", *index, "windows")
        names = [f"spill{i}" for i in range(len(windows))]
        arrays = self._run.work.load("block", *index, *names)
        return [
            (Window(*window.tolist()), values)
            for window, values in zip(windows, arrays, strict=True)
        ]

    def _said(self, index: Index) -> tuple[dict[Index, Float32], dict[Index, Float32]]:
        """What all tiles of a block and its neighbours say, and their shifts to the ground."""
        found: dict[Index, Float32] = {}
        shifts: dict[Index, Float32] = {}
        for near in self._near(index):
            tiles, said, shift = self._run.work.load("block", *near, "tiles", "said", "shift")
            for (i, j), change, towards in zip(tiles, said, shift, strict=True):
                tile = int(i), int(j)
                cells = cells_of(self._run.plan.blocks.lattice, tile)
                own = (slice(None), slice(cells.height), slice(cells.width))
                found[tile], shifts[tile] = change[own], towards[own]
        return found, shifts

    def _shifts(self, result: BlockResult) -> Iterator[Float32]:
        """Of a block's own tiles, towards the level of clear ground around them."""
        run, lattice = self._run, self._run.plan.blocks.lattice
        for tile, said in result.said.items():
            if run.ground is None:
                yield np.zeros_like(said)
                continue
            depths = run.change.depths(
                cells_of(lattice, tile), lattice.tile_px // CELLS * run.plan.factor
            )
            window = run.fine(lattice.tile(*tile))
            yield shift_towards(run.ground, window, result.seen[tile], said, depths)
        if run.ground is not None:
            let_go(run.ground.levels)
            let_go(run.change.survey.stored)

    def _interpolate(self, index: Index) -> None:
        """Turn a change on a coarse work grid into a patch; it looks one cell beyond the core."""
        plan = self._run.plan
        lattice = plan.blocks.lattice
        core = self._planned[index].block.core
        window = core.expand(1, Window(0, 0, lattice.height, lattice.width))
        change = np.zeros((len(self._run.composer.feed), *window.shape), np.int32)
        for near in self._near(index):
            (values,) = self._run.work.load("change", *near, "change")
            add_spills(change, window, [(self._planned[near].block.core, values)])
        factor = plan.factor
        with gdal_environment():
            self._write(
                index, lambda strip: change_at_full_resolution(change, window, factor, strip), None
            )

    def _write(
        self,
        index: Index,
        change_in: Callable[[Window], NDArray[np.floating] | Int32],
        tone: tuple[Squares, Squares] | None,
    ) -> None:
        """Read, change and write a block strip by strip, so that little is in memory at a time."""
        run, lattice = self._run, self._run.plan.blocks.lattice
        window = run.fine(self._planned[index].block.core)
        changed, steps = 0, Gradients()
        above: tuple[NDArray[np.generic], NDArray[np.bool_]] | None = None
        with (
            reader(run.scene) as source,
            run.change.reading() as weights,
            patch_file(
                run.work.block_file("patch", *index, "tif"), run.scene, run.composer.targets, window
            ) as patch,
        ):
            for strip, dn, valid in _read(source, window, run.composer.targets):
                weight = weights(strip)
                out = run.composer.compose(dn, valid, weight, change_in(strip))
                changed += _differing(out, dn)
                patch.write(out, strip)
                whole = valid & (weight >= 1)
                steps += gradients(out, whole, lattice, run.plan.factor, strip, above)
                above = out[:, -1:].copy(), whole[-1:].copy()
            patch.wanted = changed > 0
        let_go(run.change.survey.stored)
        sums = [(*astuple(place), found) for place, found in patch.sums.items()]
        seams = noted(tone=tone, steps=steps)
        run.work.note("patch", *index, changed=changed, sums=sums, **seams)


def _read(
    source: SceneReader, window: Window, bands: tuple[int, ...]
) -> Iterator[tuple[Window, NDArray[Any], NDArray[np.bool_]]]:
    """The strips of a window, their numbers and where these are valid; several a read."""
    bytes_per_pixel = len(bands) * np.dtype(source.scene.dtype).itemsize
    for piece in reads_of(window, bytes_per_pixel):
        dn, valid = source.read(piece, bands)
        for strip in strips_of(piece):
            inside = strip.slices(piece)
            yield strip, dn[:, *inside], valid[inside]


def _differing(one: NDArray[np.generic], other: NDArray[np.generic]) -> int:
    """Pixels that differ in any band; NaN counts as equal to NaN. Band by band, in little room."""
    differs = np.zeros(one.shape[1:], np.bool_)
    for a, b in zip(one, other, strict=True):
        differs |= (a != b) & ~((a != a) & (b != b))
    return int(differs.sum())


def _padded(means: Float32) -> Float32:
    """Cells of a tile in an array of the one size that all tiles' fit in."""
    _, height, width = means.shape
    return np.pad(means, ((0, 0), (0, CELLS - height), (0, CELLS - width)))
