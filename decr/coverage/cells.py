"""From a survey to cloudy cells: threshold, small clouds left out, margin, and a soft edge.

A pixel is as cloudy as its cell. All of this is exact: what is said of a pixel depends neither on
the window in which it is asked for, nor on how the survey was cut.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decr.cloud.change import ChangeRule, cloudy_cells, rule_in_cells
from decr.cloud.objects import find_objects
from decr.config import CcpConfig
from decr.errors import ConfigError, SceneError
from decr.geo.grid import Window
from decr.pipeline.change_map import ChangeMap
from decr.pipeline.mapped import let_go, unnamed
from decr.pipeline.survey import Survey

Bool = NDArray[np.bool_]
_STRIP_CELLS = 2**24


@dataclass(frozen=True, slots=True, eq=False)
class CloudCells:
    """The clouds of a scene, cell by cell.

    Attributes
    ----------
    survey
        Probabilities as the detector found them.
    kept
        The same, but 0 where a cloud is too small.
    rule
        Threshold and margin, in cells; without a feather.
    soft
        Weights of the soft edge; None without one.
    """

    survey: Survey
    kept: NDArray[np.uint8]
    rule: ChangeRule
    soft: ChangeMap | None

    @property
    def tells_thin(self) -> bool:
        """Whether thin cloud is told from thick."""
        return self.survey.thick is not None

    def cloudy(self, cells: Window) -> Bool:
        """(h, w) True where a cell is cloudy."""
        return self._grown(self.kept, cells)

    def thin(self, cells: Window) -> Bool:
        """(h, w) True where a cell is cloudy, and not within the margin of thick cloud."""
        assert self.survey.thick is not None
        return self.cloudy(cells) & ~self._grown(self.survey.thick, cells)

    def let_go(self) -> None:
        """Let the system take the pages of rasters on disk, which are read again if needed."""
        for raster in (self.survey.stored, self.survey.thick, self.kept):
            if raster is not None:
                let_go(raster)

    def _grown(self, stored: NDArray[np.uint8], cells: Window) -> Bool:
        if self.rule.margin_cells <= 0:
            return cloudy_cells(np.asarray(stored[cells.slices()]), self.rule.threshold)
        whole = Window(0, 0, *self.kept.shape)
        wide = cells.expand(self.rule.reach_cells, whole)
        # Thick cloud that was too small to be kept grows nowhere.
        near = np.minimum(stored[wide.slices()], self.kept[wide.slices()])
        return self.rule.weights(near)[cells.slices(wide)] > 0


def check_metres(path: str, config: CcpConfig, pixel_m: tuple[float, float] | None) -> None:
    """Refuse options in metres for an image of which nobody says how large a pixel is.

    Raises
    ------
    ConfigError
        Naming it.
    SceneError
        If it says that they have no size.
    """
    if not (config.min_object_m2 or config.margin_m or config.feather_m):
        return
    if pixel_m is not None and not min(pixel_m) > 0:
        raise SceneError(f"{path}: its transform says that pixels have no size; mend it")
    if pixel_m is None:
        raise ConfigError(
            f"{path}: sizes of clouds in metres need the size of a pixel, which the image does not "
            f"say; give it with --gsd, or leave out --min-object, --margin and --feather"
        )


def cloud_cells(
    survey: Survey,
    config: CcpConfig,
    shape: tuple[int, int],
    pixel_m: tuple[float, float] | None,
    store: Path | None,
) -> CloudCells:
    """Apply the options of `CcpConfig` that make clouds of probabilities.

    Parameters
    ----------
    shape
        (height, width) of the scene.
    pixel_m
        Metres along both sides of a pixel; None if nobody says, see `check_metres`.
    store
        A folder for rasters of the survey's size: see `decr.pipeline.mapped.unnamed`.
    """
    threshold = config.threshold
    kept, soft = survey.stored, None
    rule = ChangeRule(threshold, 0.0, 0.0)
    if pixel_m is not None:
        gsd_m = (pixel_m[0] + pixel_m[1]) / 2
        if config.min_object_m2 > 0:
            cell_m2 = (pixel_m[0] * survey.k) * (pixel_m[1] * survey.k)
            cells = math.ceil(config.min_object_m2 / cell_m2)
            kept = _without_small(survey.stored, threshold, cells, store)
        rule = rule_in_cells(threshold, config.margin_m, 0.0, gsd_m, survey.k)
        if config.feather_m > 0:
            edge = rule_in_cells(threshold, config.margin_m, config.feather_m, gsd_m, survey.k)
            soft = ChangeMap(shape, replace(survey, stored=kept), edge, None)
    return CloudCells(survey, kept, rule, soft)


def _without_small(
    stored: NDArray[np.uint8], threshold: float, cells: int, store: Path | None
) -> NDArray[np.uint8]:
    """The probabilities, but 0 in clouds of fewer than so many cells."""
    height, width = stored.shape
    rows = max(1, _STRIP_CELLS // width)
    cuts = [slice(row, min(row + rows, height)) for row in range(0, height, rows)]

    def strip(cut: slice) -> Bool:
        return cloudy_cells(np.asarray(stored[cut]), threshold)

    objects = find_objects([partial(strip, cut) for cut in cuts])
    kept = unnamed(store, (height, width), np.uint8)
    for number, cut in enumerate(cuts):
        cloudy = strip(cut)
        small = cloudy & ~objects.at_least(number, cloudy, cells)
        kept[cut] = np.where(small, np.uint8(0), stored[cut])
    return kept
