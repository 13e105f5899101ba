"""The second pass: blocks computed by an engine, taken here in raster order, settled, written."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from decr.geo.overlay import Patch
from decr.pipeline.block import restored_block
from decr.pipeline.engine import Engine, in_order
from decr.pipeline.restoration import Restoration
from decr.pipeline.settle import Settling
from decr.progress import Counted


def restore_blocks(
    run: Restoration, engine: Engine, on_tiles: Counted, to_write: bool = True
) -> list[Patch]:
    """Restore all planned blocks that the journal does not name yet, or whose work is damaged.

    ``on_tiles`` is told at the start, and after every batch or block, how many of all tiles are
    done. Patches of an earlier run are read to their end only if the output is ``to_write``.

    Returns
    -------
    list of Patch
        Every changed block of the scene, also those of an earlier run, in block order.
    """
    with ThreadPoolExecutor(run.at_once, "decr-settle") as pool:
        settling = Settling(run, pool)
        settling.forget_damaged(patches=to_write)
        todo = [b for b in run.plan.work if ("block", *b.index) not in run.work.done]
        done = run.plan.restore - sum(len(b.tiles) for b in todo)
        tiles = Tally(run.plan.restore, done, on_tiles)
        tasks = (run.task(block) for block in todo)
        for task, result in in_order(engine, restored_block, tasks, tiles.under_way):
            # On this thread: no further block is begun before this one is on disk, so that results
            # do not pile up where the disk is slower than the networks.
            settling.keep(task.block, result)
            del result  # 25 MB, for as long as the next block takes
            settling.settle_around(task.block)
            tiles.finished(len(task.block.tiles))
        settling.finish()
    return patches_of(run)


class Tally:
    """Counts tiles for a progress bar: those under way where they can be seen, and whole blocks."""

    def __init__(self, total: int, done: int, on_tiles: Counted) -> None:
        self._total, self._done, self._seen, self._told = total, done, 0, -1
        self._lock, self._on_tiles = threading.Lock(), on_tiles
        self._tell()

    def under_way(self, count: int) -> None:
        """Some tiles of a block that is not finished; called from any thread."""
        with self._lock:
            self._seen += count
            self._tell()

    def finished(self, count: int) -> None:
        """A whole block, whose tiles may have been counted under way."""
        with self._lock:
            self._done, self._seen = self._done + count, max(0, self._seen - count)
            self._tell()

    def _tell(self) -> None:
        now = min(self._total, self._done + self._seen)
        if now > self._told:
            self._told = now
            self._on_tiles(now, self._total)


def patches_of(run: Restoration) -> list[Patch]:
    """The patches on disk, in block order."""
    out = []
    for block in run.plan.work:
        if run.work.done.get(("patch", *block.index), {}).get("changed", 0):
            path = run.work.block_file("patch", *block.index, "tif")
            out.append(Patch(path, run.fine(block.block.core), run.composer.targets))
    return out
