"""What of a scene may change, and how far: the survey's clouds, a rule, and the user's area."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from decr.cloud.change import INVALID, ChangeRule, upsampled
from decr.config import DecloudConfig
from decr.geo.aoi import Aoi
from decr.geo.grid import PixelGrid, Window
from decr.geo.mask_file import MaskClasses, MaskFile, open_mask
from decr.pipeline.survey import Survey
from decr.pipeline.tiles import strips_of

Float32 = NDArray[np.float32]
_STRIP_CELLS = 2**22
"""Cells that `ChangeMap.quicklook` works on at a time."""


def exact_mask(
    config: DecloudConfig, grid: PixelGrid
) -> Callable[[], AbstractContextManager[MaskFile]] | None:
    """What opens the user's mask where its pixels alone decide: without margin and feather."""
    if config.cloud_mask is None or config.margin_m or config.feather_m:
        return None
    return partial(open_mask, config.cloud_mask, grid, MaskClasses())


@dataclass(frozen=True, slots=True, eq=False)
class ChangeMap:
    """With which weight each pixel may be changed: clouds, user's area, or everything.

    Attributes
    ----------
    rule
        None changes every valid pixel (``--full``).
    aoi
        Limits the work; None is the whole scene.
    exact
        Opens a mask: of pixels in cells with a weight, those it marks may change, wholly. None
        takes the cells' weights.
    """

    grid_shape: tuple[int, int]
    survey: Survey
    rule: ChangeRule | None
    aoi: Aoi | None
    exact: Callable[[], AbstractContextManager[MaskFile]] | None = None

    @contextmanager
    def reading(self) -> Iterator[Callable[[Window], Float32]]:
        """`weights` of many windows, while a mask is open: files may be slow at each first look.

        Raises
        ------
        SceneError
            If the mask cannot be read.
        """
        with nullcontext() if self.exact is None else self.exact() as mask:
            yield partial(self._weights, mask)

    def weights(self, window: Window) -> Float32:
        """(height, width) float32 in [0, 1] under a window at full resolution."""
        with self.reading() as weights:
            return weights(window)

    def _weights(self, mask: MaskFile | None, window: Window) -> Float32:
        if self.rule is None:
            weight = np.ones(window.shape, np.float32)
        else:
            weight = self._of_clouds(mask, window)
        if self.aoi is not None:
            weight = weight * self.aoi.mask(window)
        return weight

    def _of_clouds(self, mask: MaskFile | None, window: Window) -> Float32:
        if mask is None:
            return self._at_squares(window, 1, self._coarse)
        if not self._coarse(window, 0)[1].any():
            return np.zeros(window.shape, np.float32)
        return mask.cloudy(window).astype(np.float32)

    def quicklook(self, look_px: int) -> Float32:
        """Weights at the centres of squares of ``look_px`` scene pixels, for a whole scene.

        Returns
        -------
        ndarray
            (h, w) float32 in [0, 1]. Read strip by strip; between cells it is interpolated as
            `weights` are, but a mask that decides alone has that of the pixel there.
        """
        height, width = (-(-side // look_px) for side in self.grid_shape)
        out = np.empty((height, width), np.float32)
        if self.exact is None:
            self._look_at_cells(out, look_px)
        else:
            with self.exact() as mask:
                self._look_at_mask(out, look_px, mask)
        if self.aoi is not None:
            out *= self.aoi.coarsened(look_px).mask(Window(0, 0, height, width))
        return out

    def _look_at_cells(self, out: Float32, look_px: int) -> None:
        cells_per_row = -(-look_px // self.survey.k) * self.survey.stored.shape[1]
        for squares in strips_of(Window(0, 0, *out.shape), max(1, _STRIP_CELLS // cells_per_row)):
            out[squares.slices()] = self._at_squares(squares, look_px, self._coarse)

    def _look_at_mask(self, out: Float32, look_px: int, mask: MaskFile) -> None:
        rows, cols = (
            np.minimum(np.arange(count) * look_px + look_px // 2, side - 1)
            for count, side in zip(out.shape, self.grid_shape, strict=True)
        )
        for line, row in zip(out, rows.tolist(), strict=True):
            line[:] = self._of_clouds(mask, Window(row, 0, 1, self.grid_shape[1]))[0, cols]

    def depths(self, squares: Window, look_px: int) -> Float32:
        """`ChangeRule.depths` at the centres of squares of ``look_px`` scene pixels.

        The user's area does not matter. Squares beyond the scene have what its edge has.
        """
        return self._at_squares(squares, look_px, self._depths)

    def _at_squares(
        self, squares: Window, look_px: int, cells: Callable[[Window, int], tuple[Window, Float32]]
    ) -> Float32:
        """What cells hold, interpolated to the centres of squares; those may be single pixels."""
        pixels = squares.scaled(look_px).clipped(Window(0, 0, *self.grid_shape))
        origin, coarse = cells(pixels, 1)
        k, first = self.survey.k / look_px, (squares.row, squares.col)
        return upsampled(coarse, (origin.row, origin.col), k, first, squares.shape)

    def cell_weights(self, cells: Window) -> Float32:
        """Weights of cells of the survey, within the user's area or not."""
        return self._coarse(cells.scaled(self.survey.k), 0)[1]

    def touched(
        self, rows: NDArray[np.int64], cols: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which of some windows have data, and which of these are to be restored, (n, m) bool each.

        A window has data when a pixel in it is valid. It is then restored when a cell in or next to
        it may be changed. The user's area does not matter: see `inside`.

        Parameters
        ----------
        rows, cols
            (n, 2) and (m, 2), first pixel and stop along each axis: every two make a window.
        """
        k = self.survey.k
        whole = Window(int(rows.min()), int(cols.min()), int(np.ptp(rows)), int(np.ptp(cols)))
        origin, coarse = self._coarse(whole, 1)
        corner, shape = (origin.row, origin.col), origin.shape
        own = [np.stack([x[:, 0] // k, -(-x[:, 1] // k)], axis=1) for x in (rows, cols)]
        own = [x - first for x, first in zip(own, corner, strict=True)]
        near = [(x + np.array([-1, 1])).clip(0, size) for x, size in zip(own, shape, strict=True)]
        valid = _any_in(self.survey.stored[origin.slices()] != INVALID, *own)
        return valid, valid & _any_in(coarse > 0, *near)

    def inside(self, window: Window) -> bool:
        """Whether a pixel of a window lies in the user's area."""
        return self.aoi is None or bool(self.aoi.mask(window).any())

    def _coarse(self, window: Window, border: int) -> tuple[Window, Float32]:
        """The cells under a window and a border of them, and their exact weights."""
        return self._by_cell(window, border, ChangeRule.weights)

    def _depths(self, window: Window, border: int) -> tuple[Window, Float32]:
        """The cells under a window and a border of them, and how deep in clouds they lie."""
        return self._by_cell(window, border, ChangeRule.depths)

    def _by_cell(
        self, window: Window, border: int, found: Callable[[ChangeRule, NDArray[np.uint8]], Float32]
    ) -> tuple[Window, Float32]:
        every = Window(0, 0, *self.survey.stored.shape)
        wanted = window.coarsened(self.survey.k).expand(border, every)
        if self.rule is None:
            return wanted, np.ones(wanted.shape, np.float32)
        wide = wanted.expand(self.rule.reach_cells, every)
        stored = np.asarray(self.survey.stored[wide.slices()])
        return wanted, found(self.rule, stored)[wanted.slices(wide)]


def _any_in(
    marked: NDArray[np.bool_], rows: NDArray[np.int64], cols: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether a cell is marked in each window of `ChangeMap.touched`: (n, m) bool."""
    sums = np.zeros((marked.shape[0] + 1, marked.shape[1] + 1), np.int64)
    sums[1:, 1:] = marked.cumsum(axis=0).cumsum(axis=1)
    bands = sums[rows[:, 1]] - sums[rows[:, 0]]
    return np.asarray(bands[:, cols[:, 1]] > bands[:, cols[:, 0]])
