"""The first pass: where the clouds of a scene are, on a coarse grid, and which cells hold data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decr.cloud.change import cloudy_cells, probability_to_byte
from decr.cloud.detector import Detector
from decr.errors import ConfigError, warn
from decr.geo.cells import cell_sums
from decr.geo.gdal import COARSE_CACHE_BYTES, gdal_environment
from decr.geo.lattice import Block, Blocks, Lattice
from decr.geo.mask_file import MaskClasses, MaskFile, doubt_of, open_mask
from decr.geo.reader import SceneReader, reader
from decr.geo.scene import Scene
from decr.geo.sources import check_parts
from decr.pipeline.engine import Engine, Tell, in_order
from decr.pipeline.journal import WorkDir
from decr.pipeline.mapped import flushed, let_go, on_disk, unnamed
from decr.pipeline.memory import give_back
from decr.pipeline.networks import Named, the_detector
from decr.pipeline.tiles import (
    FULL,
    BlockSum,
    Int32,
    Spills,
    add_spills,
    cut_tiles,
    neighbours_before,
)
from decr.progress import Counted
from decr.radiometry import Radiometry, shows_reflectance

Float32 = NDArray[np.float32]
CLOUDS_FILE = "clouds.npy"
"""The raster in a work directory."""
DETECTION_TILE_PX = 256
DETECTION_OVERLAP_PX = 64
_STRIDES = 4
"""Of a block, along each axis."""
_ROW = "survey_row"
"""Of entries in the journal: a row of blocks, and what was counted up to it."""
_BEYOND = 0.01
"""How far a probability may lie beyond 0..1: sums of classes in 16 bits are not exact."""


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """Cloud probability of a scene on a grid ``k`` times coarser, anchored at pixel (0, 0).

    Attributes
    ----------
    k
        Scene pixels per cell along each axis.
    stored
        (h, w) uint8: probability in 0..250, `INVALID` where a cell has no valid pixel. May be a
        memory map.
    cloudy_px, valid_px
        Valid pixels in cloudy cells, or those that a user's mask marks, and all valid pixels.
    thick
        As ``stored``, of thick cloud; None where nobody could tell it from thin.
    """

    k: int
    stored: NDArray[np.uint8]
    cloudy_px: int
    valid_px: int
    thick: NDArray[np.uint8] | None = None

    @property
    def ccp(self) -> float:
        """Cloud coverage: ``cloudy_px / valid_px``; 0 without valid pixels."""
        return self.cloudy_px / self.valid_px if self.valid_px else 0.0


def survey_factor(
    scene: Scene,
    detector: Detector,
    assumed_gsd_m: float | None = None,
    stated_gsd_m: float | None = None,
) -> int:
    """Scene pixels per cell: the detector's GSD over the scene's, kept at 64 cells or more.

    A scene whose GSD nobody tells is kept at 256 cells: it may be a picture from far, whose clouds
    are small. On real pairs of 30 m, 256 px wide, four pixels per cell found next to none of them.

    Parameters
    ----------
    assumed_gsd_m
        GSD of a scene whose own nobody tells, metres: the model's. None takes the detector's, of
        which a pixel is a cell.
    stated_gsd_m
        What the user says of a scene that does not tell; believed as if the scene told it.
    """
    known = scene.grid.gsd_m or stated_gsd_m
    gsd_m = known or assumed_gsd_m or detector.gsd_m
    least = 64 if known else 256
    wanted = max(1, round(detector.gsd_m / gsd_m))
    return max(1, min(wanted, min(scene.grid.height, scene.grid.width) // least))


@dataclass(frozen=True, slots=True)
class MaskSource:
    """A user's mask, and what its numbers mean."""

    path: Path | str
    classes: MaskClasses = MaskClasses()  # noqa: RUF009 (a frozen value)


@dataclass(frozen=True, slots=True, eq=False)
class SurveyTask:
    """Everything that surveying a block of cells takes; small, and fit to travel.

    Attributes
    ----------
    feed, radiometry
        Scene bands for the detector's, and the range of those.
    networks
        The detector, or its name for a process that must load it.
    mask
        The user's mask; replaces the detector.
    channels
        1, or 2 where thick cloud is told from thin.
    """

    scene: Scene
    blocks: Blocks
    block: Block
    k: int
    feed: tuple[int, ...]
    radiometry: Radiometry
    networks: Detector | Named
    mask: MaskSource | None
    channels: int


@dataclass(frozen=True, slots=True, eq=False)
class CellSums:
    """A surveyed block.

    Attributes
    ----------
    total
        (channels, h, w) int32 of the core: the weighted sum of its tiles' probabilities. Complete
        once the spills of the blocks before it are added; `decr.pipeline.tiles.FULL` then stands
        for 1.0.
    spills
        What its tiles sum to beyond the core.
    count
        (h, w) int32: valid pixels per cell.
    marked_px
        Valid pixels that a user's mask marks: fewer than its cloudy cells hold, since one marked
        pixel makes a cell cloudy. None without such a mask.
    """

    total: Int32
    spills: Spills
    count: NDArray[np.int32]
    marked_px: int | None = None


def surveyed_block(task: SurveyTask, _: Tell) -> CellSums:
    """Read a block of cells and find its clouds, in whatever process."""
    sums = _sums(task)
    give_back()
    return sums


def _sums(task: SurveyTask) -> CellSums:
    with gdal_environment(COARSE_CACHE_BYTES), reader(task.scene) as source:
        core, total = task.block.core, BlockSum(task.blocks, task.block, task.channels)
        if task.mask is not None:
            with open_mask(task.mask.path, task.scene.grid, task.mask.classes) as mask:
                return _marked(task, source, mask)
        roles = task.scene.bands.fed_roles
        detector = the_detector(task.networks).for_scene(task.k, roles)
        if shows_reflectance(task.radiometry, task.scene.range_dtype):
            detector = detector.for_reflectance(roles)
        seen, count = source.read_coarse(total.window, task.k, task.feed, detector.darkest)
    # Means and, if they were read, the darkest have the bands and the range of the scene alike.
    looks = np.split(seen, 1 + detector.darkest)
    view: Float32 = np.concatenate([task.radiometry.encode(look) for look in looks])
    wanted = task.blocks.tiles_of(task.block)
    tiles = list(cut_tiles(view, count > 0, total.window, task.blocks, wanted))
    if tiles:
        stack = np.stack([(tile + 1.0) / 2.0 for _, tile in tiles])
        found = _found(detector, stack, task.channels)
        for (index, _), probability in zip(tiles, found, strict=True):
            total.add(index, probability)
    return CellSums(total.core().copy(), total.spills(), count[core.slices(total.window)])


def _marked(task: SurveyTask, source: SceneReader, mask: MaskFile) -> CellSums:
    """A block of a user's mask: a cell is cloudy if any of its pixels is, and pixels count."""
    core, k = task.block.core, task.k
    cloudy, count = np.zeros((task.channels, *core.shape), bool), np.zeros(core.shape, np.int32)
    cloudy_px = 0
    for cells in source.cell_pieces(core, k):
        pixels = cells.scaled(k).clipped(task.scene.grid.window)
        valid, piece = source.valid(pixels), cells.slices(core)
        count[piece] = cell_sums(valid, k)
        for plane, thick in zip(cloudy, (False, True), strict=False):
            found = mask.cloudy(pixels, thick)
            plane[piece] = cell_sums(found, k) > 0
            cloudy_px += 0 if thick else int((found & valid).sum())
    return CellSums(cloudy.astype(np.int32) * np.int32(FULL), [], count, cloudy_px)


def _found(detector: Detector, views: Float32, channels: int) -> Float32:
    """What a detector finds in views, (N, channels, H, W), if it is what a detector may find."""
    found = np.asarray(detector.probability(views), np.float32)
    count, _, height, width = views.shape
    wanted = (count, height, width) if channels == 1 else (count, channels, height, width)
    if found.shape != wanted or not np.isfinite(found).all():
        raise ConfigError(
            f"the detector {detector.name} answered {found.shape} for {views.shape}, wanted "
            f"{wanted} and finite numbers; tell its authors"
        )
    if found.size and not (found.min() >= -_BEYOND and found.max() <= 1.0 + _BEYOND):
        raise ConfigError(
            f"the detector {detector.name} answered numbers from {found.min():g} to "
            f"{found.max():g}, which are no probabilities; tell its authors"
        )
    return found.reshape(count, channels, height, width)


def survey_scene(
    scene: Scene,
    radiometry: Radiometry,
    detector: Detector,
    k: int,
    threshold: float,
    engine: Engine,
    *,
    networks: Detector | Named | None = None,
    mask: MaskSource | None = None,
    store: Path | None = None,
    work: WorkDir | None = None,
    told: Counted | None = None,
) -> Survey:
    """Run the detector (or read the user's mask) over the whole scene, block by block.

    Parameters
    ----------
    radiometry
        Over all bands of the scene.
    networks
        The detector's name, for an engine whose tasks travel.
    mask
        The user's mask; replaces the detector.
    store
        A folder in which the raster lies as a memory map, and one more where thick cloud is told:
        see `decr.pipeline.mapped.unnamed`.
    work
        Keeps them instead, and notes rows of blocks, so that a survey that was killed goes on
        after them.

    Raises
    ------
    SceneError, GridMismatchError
        If the scene is damaged, or the mask lacks a part or does not lie over it.

    Warns
    -----
    DecrWarning
        If a mask may mean something else: see `decr.geo.mask_file.doubt_of`.
    """
    if mask is not None:
        check_parts(str(mask.path))
    height, width = -(-scene.grid.height // k), -(-scene.grid.width // k)
    blocks = Blocks(Lattice(height, width, DETECTION_TILE_PX, DETECTION_OVERLAP_PX), _STRIDES)
    feed = scene.bands.data_indices[:1] if mask else scene.feed(detector.bands, "detector")
    encoding, networks = radiometry.pick(feed), networks or detector
    tells = bool(mask.classes.thin) if mask else detector.tells_thin
    names = (CLOUDS_FILE, "clouds_thick.npy")[: 2 if tells else 1]
    shape = (height, width)
    row = None if work is None else work.last(_ROW)
    rasters = [
        unnamed(store, shape, np.uint8)
        if work is None
        else on_disk(work.path / name, shape, np.uint8, row is not None)
        for name in names
    ]
    # The last finished row is surveyed again, for what it leaves in the next.
    everything = blocks.blocks()
    todo = [b for b in everything if row is None or b.row_index >= row["row"]]
    tasks = (
        SurveyTask(scene, blocks, b, k, feed, encoding, networks, mask, len(names)) for b in todo
    )
    spills: dict[tuple[int, int], Spills] = {}
    cloudy_px, valid_px = (0, 0) if row is None else (row["cloudy_px"], row["valid_px"])
    results = in_order(engine, surveyed_block, tasks, lambda _: None)
    for done, (task, sums) in enumerate(results, start=len(everything) - len(todo) + 1):
        block = task.block
        add_spills(
            sums.total, block.core, [s for n in neighbours_before(block) for s in spills.get(n, [])]
        )
        spills[block.row_index, block.col_index] = sums.spills
        # Spills are used by the next row of blocks at the latest.
        spills.pop((block.row_index - 2, block.col_index), None)
        if row is not None and block.row_index == row["row"]:
            continue
        probability = (sums.total / np.float64(FULL)).astype(np.float32)
        for raster, plane in zip(rasters, probability, strict=True):
            raster[block.core.slices()] = probability_to_byte(plane, sums.count > 0)
        cloudy = cloudy_cells(np.asarray(rasters[0][block.core.slices()]), threshold)
        in_cells = int(sums.count[cloudy].sum())
        cloudy_px += in_cells if sums.marked_px is None else sums.marked_px
        valid_px += int(sums.count.sum())
        if work is not None and block.core.col_stop == width and block is not everything[-1]:
            flushed(*rasters)
            counts = {"cloudy_px": cloudy_px, "valid_px": valid_px}
            work.note_rows(_ROW, block.row_index, rasters[0], block.core.slices()[0], **counts)
        for raster in rasters:
            let_go(raster)
        if told is not None:
            told(done, len(everything))
    if mask is not None and (doubt := doubt_of(mask.path, mask.classes, cloudy_px > 0)):
        warn(doubt)
    return Survey(k, rasters[0], cloudy_px, valid_px, rasters[1] if tells else None)
