"""The second pass of cloud coverage: pixels counted by tile and feature, rasters, a small view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from decr.cloud.coverage import Coverage, cell_counts, coverage
from decr.coverage.cells import CloudCells
from decr.errors import ConfigError
from decr.geo.aoi import Aoi
from decr.geo.features import Feature
from decr.geo.grid import PixelGrid, Window
from decr.geo.layers import NODATA, LayerWriter
from decr.geo.missing import blank
from decr.geo.quicklook import shown_bands, stretched
from decr.geo.reader import SceneReader

Bool = NDArray[np.bool_]
Bytes = NDArray[np.uint8]
T = TypeVar("T", bound=np.generic)
FULL_BYTE = 250
"""What stands for 1 in rasters of probability and weight, as in the survey."""
MOST_TILES = 1_000_000
"""Tiles that a scene may be told in: each takes about 1.5 kB in tables and pages."""


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """Counts by tile; tiles partition the scene, so they sum to its counts exactly.

    Attributes
    ----------
    rows, cols
        First row and column of each tile.
    cloudy, valid, thin
        (len(rows), len(cols)) int64 pixels; ``thin`` is None where nobody could tell.
    """

    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    cloudy: NDArray[np.int64]
    valid: NDArray[np.int64]
    thin: NDArray[np.int64] | None

    def windows(self, grid: PixelGrid) -> Iterator[tuple[Window, Coverage]]:
        """Each tile's window and counts, row by row."""
        row_stops, col_stops = [*self.rows[1:], grid.height], [*self.cols[1:], grid.width]
        for i, (row, row_stop) in enumerate(zip(self.rows, row_stops, strict=True)):
            for j, (col, col_stop) in enumerate(zip(self.cols, col_stops, strict=True)):
                thin = None if self.thin is None else int(self.thin[i, j])
                counts = Coverage(int(self.cloudy[i, j]), int(self.valid[i, j]), thin)
                window = Window(int(row), int(col), int(row_stop - row), int(col_stop - col))
                yield window, counts

    @property
    def total(self) -> Coverage:
        """Counts of the scene."""
        thin = None if self.thin is None else int(self.thin.sum())
        return Coverage(int(self.cloudy.sum()), int(self.valid.sum()), thin)


def check_tiles(path: str, grid: PixelGrid, tile_px: int) -> None:
    """Refuse tiles so small that memory would not hold what is told of each.

    Raises
    ------
    ConfigError
        Naming a size that will do.
    """

    def tiles(side: int) -> int:
        return -(-grid.height // side) * -(-grid.width // side)

    enough = tile_px
    while tiles(enough) > MOST_TILES:
        enough *= 2
    if enough > tile_px:
        raise ConfigError(
            f"{path}: --tile {tile_px} makes {tiles(tile_px):,} tiles, more than {MOST_TILES:,}; "
            f"give --tile {enough}"
        )


class _Areas:
    """The areas of features, to be asked for those under a window."""

    def __init__(self, features: Sequence[Feature]) -> None:
        bounded = [
            (number, feature.area, bounds)
            for number, feature in enumerate(features)
            if feature.area is not None and (bounds := feature.area.bounds_window) is not None
        ]
        self._bounded = bounded
        corners = [(b.row, b.col, b.row_stop, b.col_stop) for _, _, b in bounded]
        self._corners = np.array(corners, np.int64).reshape(-1, 4).T

    def under(self, window: Window) -> Iterator[tuple[int, Aoi, Window]]:
        """The number of each feature, its area, and the part of the window under its bounds."""
        top, left, bottom, right = self._corners
        rows = (top < window.row_stop) & (bottom > window.row)
        for at in np.flatnonzero(rows & (left < window.col_stop) & (right > window.col)):
            number, area, bounds = self._bounded[at]
            shared = bounds.intersection(window)
            assert shared is not None
            yield number, area, shared


class Count:
    """What is counted of a scene, window by window; windows partition it, in any order."""

    def __init__(
        self,
        source: SceneReader,
        cells: CloudCells,
        tile_px: int,
        features: Sequence[Feature],
        layers: Sequence[tuple[str, LayerWriter]],
        overlay_px: int | None,
    ) -> None:
        grid = source.scene.grid
        self._source, self._cells, self._layers = source, cells, layers
        self._areas = _Areas(features)
        thin_px = 0 if cells.tells_thin else None
        self.features = [Coverage(thin_px=thin_px) for _ in features]
        rows, cols = (np.arange(0, n, tile_px) for n in (grid.height, grid.width))
        zeros = [np.zeros((len(rows), len(cols)), np.int64) for _ in range(3)]
        self.tiles = Tiles(rows, cols, zeros[0], zeros[1], zeros[2] if cells.tells_thin else None)
        self.overlay: Bytes | None = None
        if overlay_px is not None:
            self._sampled = grid.picked(overlay_px)
            self.overlay = np.empty([len(axis) for axis in self._sampled], np.uint8)

    def add(self, window: Window) -> None:
        """Count the pixels of a window, and write its part of the rasters."""
        valid = self._source.valid(window)
        cells = window.coarsened(self._cells.survey.k)
        cloudy = self._fine(self._cells.cloudy(cells), cells, window) & valid
        thin = None
        if self._cells.tells_thin:
            thin = self._fine(self._cells.thin(cells), cells, window) & valid
        self._count_tiles(window, cloudy, valid, thin)
        self._count_features(window, cloudy, valid, thin)
        for kind, layer in self._layers:
            layer.write(window, self._raster(kind, window, cells, cloudy, valid, thin))
        if self.overlay is not None:
            self._sample(window, cloudy, valid, thin)
        self._cells.let_go()

    def _fine(self, values: NDArray[T], cells: Window, window: Window) -> NDArray[T]:
        """Values of cells at the pixels of a window: each pixel is as its cell."""
        k = self._cells.survey.k
        if k == 1:
            return values
        rows = np.arange(window.row, window.row_stop) // k - cells.row
        cols = np.arange(window.col, window.col_stop) // k - cells.col
        fine: NDArray[T] = values[:, cols][rows]
        return fine

    def _count_tiles(self, window: Window, cloudy: Bool, valid: Bool, thin: Bool | None) -> None:
        tiles = self.tiles
        rows, row_starts = _parts(tiles.rows, window.row, window.row_stop)
        cols, col_starts = _parts(tiles.cols, window.col, window.col_stop)
        for total, mask in ((tiles.cloudy, cloudy), (tiles.valid, valid), (tiles.thin, thin)):
            if total is not None and mask is not None:
                total[rows, cols] += cell_counts(mask, row_starts, col_starts)

    def _count_features(self, window: Window, cloudy: Bool, valid: Bool, thin: Bool | None) -> None:
        for number, area, shared in self._areas.under(window):
            cut = shared.slices(window)
            inside = area.mask(shared) & valid[cut]
            some = None if thin is None else thin[cut]
            self.features[number] += coverage(cloudy[cut], inside, some)

    def _raster(
        self, kind: str, window: Window, cells: Window, cloudy: Bool, valid: Bool, thin: Bool | None
    ) -> Bytes:
        """(C, H, W) uint8 of one kind under a window."""
        planes: list[NDArray[Any]] = [cloudy]
        if kind == "mask" and thin is not None:
            planes.append(thin)
        elif kind == "probability":
            planes = [
                self._fine(np.asarray(self._cells.survey.stored[cells.slices()]), cells, window)
            ]
        elif kind == "weight":
            assert self._cells.soft is not None
            planes = [np.rint(self._cells.soft.weights(window) * np.float32(FULL_BYTE))]
        stack = np.stack(planes).astype(np.uint8)
        blank(stack, valid, NODATA)
        return stack

    def _sample(self, window: Window, cloudy: Bool, valid: Bool, thin: Bool | None) -> None:
        """Fill the window's part of the small view: 0 clear, 1 cloudy, 2 no data, 3 thin."""
        assert self.overlay is not None
        rows, cols = self._sampled
        down = slice(*np.searchsorted(rows, (window.row, window.row_stop)))
        across = slice(*np.searchsorted(cols, (window.col, window.col_stop)))
        at = np.ix_(rows[down] - window.row, cols[across] - window.col)
        view = cloudy[at].astype(np.uint8)
        if thin is not None:
            view[thin[at]] = 3
        view[~valid[at]] = 2
        self.overlay[down, across] = view


def _parts(starts: NDArray[np.int64], first: int, stop: int) -> tuple[slice, NDArray[np.int64]]:
    """Which parts of a partition an interval touches, and where they begin in it."""
    low = int(np.searchsorted(starts, first, side="right")) - 1
    high = int(np.searchsorted(starts, stop, side="left"))
    return slice(low, high), np.maximum(starts[low:high] - first, 0)


def picture(source: SceneReader, side: int, overlay: Bytes) -> Bytes:
    """(h, w, 3) uint8 RGB for people, stretched so that the ground between clouds is seen.

    A scene without red, green and blue is shown in grey, by its first band.

    Parameters
    ----------
    overlay
        (h, w), 1 where cloudy, 3 where thin: other pixels, if there are any, say what is black
        and white.
    """
    shown = shown_bands(source.scene.bands)
    read = sorted({*shown})
    dn, valid = source.thumbnail(side, read)
    colours = dn[[read.index(band) for band in shown]].astype(np.float32)
    return stretched((colours, valid), cloudy=np.isin(overlay, (1, 3)))[0]
