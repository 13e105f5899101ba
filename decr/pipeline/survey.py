"""The first pass: where the clouds of a scene are, on a coarse grid, and which cells hold data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decr.cloud.change import INVALID, ChangeRule, cloudy_cells, probability_to_byte, upsampled
from decr.cloud.detector import Detector
from decr.geo.aoi import Aoi
from decr.geo.grid import Window
from decr.geo.lattice import Blocks, Lattice
from decr.geo.mask_file import MaskFile
from decr.geo.scene import Scene, SceneReader
from decr.pipeline.tiles import FULL, BlockSum, Int32, cut_tiles, neighbours_before
from decr.radiometry import Radiometry

Float32 = NDArray[np.float32]
DETECTION_TILE_PX = 256
DETECTION_OVERLAP_PX = 64


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
        Valid pixels in cloudy cells, and all valid pixels.
    """

    k: int
    stored: NDArray[np.uint8]
    cloudy_px: int
    valid_px: int

    @property
    def ccp(self) -> float:
        """Cloud coverage: valid pixels in cloudy cells / valid pixels; 0 without valid pixels."""
        return self.cloudy_px / self.valid_px if self.valid_px else 0.0


def survey_factor(scene: Scene, detector: Detector, assumed_gsd_m: float | None) -> int:
    """Scene pixels per cell: the detector's GSD over the scene's, kept at 64 cells or more.

    A scene without a GSD is taken to have the model's, but kept at 256 cells: it may be a picture
    from far, whose clouds are small. On real pairs of 30 m, 256 px wide, four pixels per cell found
    next to none of the clouds.
    """
    gsd_m = scene.grid.gsd_m or assumed_gsd_m or detector.gsd_m
    least = 64 if scene.grid.gsd_m else 256
    wanted = max(1, round(detector.gsd_m / gsd_m))
    return max(1, min(wanted, min(scene.grid.height, scene.grid.width) // least))


def survey_scene(
    scene: Scene,
    reader: SceneReader,
    radiometry: Radiometry,
    detector: Detector,
    k: int,
    threshold: float,
    mask: MaskFile | None = None,
    store: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """Run the detector (or read the user's mask) over the whole scene, block by block.

    Parameters
    ----------
    radiometry
        Over all bands of the scene.
    mask
        The user's mask; replaces the detector.
    store
        A .npy file that holds the raster as a memory map; None keeps it in memory.
    """
    height, width = -(-scene.grid.height // k), -(-scene.grid.width // k)
    lattice = Lattice(height, width, DETECTION_TILE_PX, DETECTION_OVERLAP_PX)
    blocks = Blocks(lattice, 4)
    feed = scene.bands.model_map(detector.bands)
    encoding = radiometry.pick(feed)
    stored: NDArray[np.uint8] = (
        np.empty((height, width), np.uint8)
        if store is None
        else np.lib.format.open_memmap(store, "w+", np.uint8, (height, width))
    )
    spills: dict[tuple[int, int], list[tuple[Window, Int32]]] = {}
    cloudy_px = valid_px = 0
    everything = blocks.blocks()
    for done, block in enumerate(everything):
        total = BlockSum(blocks, block, 1)
        needed = block.core if mask is not None else total.window
        mean, count = reader.read_coarse(needed, k, feed)
        inside = count > 0
        if mask is not None:
            probability = mask.coarse_any(needed, k).astype(np.float32)
        else:
            view = encoding.encode(mean)
            for index, tile in cut_tiles(view, inside, needed, blocks, blocks.tiles_of(block)):
                share = detector.probability(((tile + 1.0) / 2.0)[None])
                total.add(index, share)
            earlier = [s for n in neighbours_before(block) for s in spills.get(n, [])]
            spills[block.row_index, block.col_index] = total.spills()
            probability = (total.core(earlier)[0] / np.float64(FULL)).astype(np.float32)
            # Spills are used by the next row of blocks at the latest.
            spills.pop((block.row_index - 2, block.col_index), None)
        rows, cols = block.core.slices(needed)
        inside, count = inside[rows, cols], count[rows, cols]
        cells = probability_to_byte(probability, inside)
        stored[block.core.slices()] = cells
        cloudy_px += int(count[cloudy_cells(cells, threshold)].sum())
        valid_px += int(count.sum())
        if on_progress is not None:
            on_progress(done + 1, len(everything))
    return Survey(k, stored, cloudy_px, valid_px)


@dataclass(frozen=True, slots=True, eq=False)
class ChangeMap:
    """With which weight each pixel may be changed: clouds, user's area, or everything.

    Attributes
    ----------
    rule
        None changes every valid pixel (``--full``).
    aoi
        Limits the work; None is the whole scene.
    """

    grid_shape: tuple[int, int]
    survey: Survey
    rule: ChangeRule | None
    aoi: Aoi | None

    def weights(self, window: Window) -> Float32:
        """(height, width) float32 in [0, 1] under a window at full resolution."""
        if self.rule is None:
            weight = np.ones(window.shape, np.float32)
        else:
            origin, coarse = self._coarse(window, 1)
            weight = upsampled(
                coarse,
                origin.row,
                origin.col,
                self.survey.k,
                window.row,
                window.col,
                window.height,
                window.width,
            )
        if self.aoi is not None:
            weight = weight * self.aoi.mask(window)
        return weight

    def touched(self, windows: list[Window]) -> list[str]:
        """What to do with each of some neighbouring windows: "restore", "copy" or "skip".

        A window is skipped when no pixel in it is valid, restored when a cell in or next to it
        may be changed, copied otherwise.
        """
        whole = windows[0]
        for window in windows[1:]:
            whole = whole.union(window)
        origin, coarse = self._coarse(whole, 1)
        cells = self.survey.stored[origin.slices()]
        return [self._action(window, origin, coarse, cells) for window in windows]

    def _action(
        self, window: Window, origin: Window, coarse: Float32, cells: NDArray[np.uint8]
    ) -> str:
        own = window.coarsened(self.survey.k)
        if (cells[own.slices(origin)] == INVALID).all():
            return "skip"
        near = own.expand(1, self._all_cells).slices(origin)
        if not (coarse[near] > 0).any():
            return "copy"
        if self.aoi is not None and not self.aoi.mask(window).any():
            return "copy"
        return "restore"

    @property
    def _all_cells(self) -> Window:
        return Window(0, 0, *self.survey.stored.shape)

    def _coarse(self, window: Window, border: int) -> tuple[Window, Float32]:
        """The cells under a window and a border of them, and their exact weights."""
        wanted = window.coarsened(self.survey.k).expand(border, self._all_cells)
        if self.rule is None:
            return wanted, np.ones(wanted.shape, np.float32)
        wide = wanted.expand(self.rule.reach_px, self._all_cells)
        weights = self.rule.weights(np.asarray(self.survey.stored[wide.slices()]))
        return wanted, weights[wanted.slices(wide)]
