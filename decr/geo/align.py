"""One image on another's grid, moved by a part of a pixel: read window by window."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform, transform_geom
from shapely import affinity
from shapely.geometry import Polygon, mapping, shape

from decr.errors import GridMismatchError, SceneError
from decr.geo.bands import Bands
from decr.geo.grid import PixelGrid, Window
from decr.geo.opening import REFUSALS, first_line, opened, read_explained, unlinked

LEAST_SHIFT_PX = 0.1
"""Smaller shifts are left: resampling would cost more than it mends."""

KERNEL_PX = 3
"""Cubic resampling looks no farther."""

_LONLAT = "OGC:CRS84"


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """An open image on another grid. Made by `aligned`."""

    path: str
    dataset: Any

    def read(self, window: Window, bands: Sequence[int]) -> NDArray[Any]:
        """(C, H, W) numbers of 0-based bands under a window of the grid, of the file's dtype.

        Outside the image they are the ``nodata`` that `aligned` was given, or 0 if that is None.

        Raises
        ------
        SceneError
            If the file is damaged there.
        """
        indexes = [band + 1 for band in bands]
        with read_explained(f"{self.path} cannot be read"):
            found: NDArray[Any] = self.dataset.read(indexes, window=window.to_rasterio())
        return found


@contextmanager
def aligned(
    path: str,
    grid: PixelGrid,
    shift: tuple[float, float],
    smooth: bool,
    nodata: float | None,
    bands: Bands | None = None,
) -> Iterator[Aligned]:
    """Open an image as if it had been stored on a grid.

    Parameters
    ----------
    shift
        (rows, cols): what belongs to pixel (r, c) of the grid is read from (r + rows, c + cols).
    smooth
        Cubic convolution; else the nearest pixel.
    nodata
        What means "nothing" in the file, and is read where the file ends.
    bands
        What the file's bands are: where it calls one alpha that is none, that is no mask.

    Raises
    ------
    SceneError
        If it cannot be opened or warped.
    """
    t = grid.transform
    moved = Affine(
        t.a, t.b, t.c + shift[1] * t.a + shift[0] * t.b,
        t.d, t.e, t.f + shift[1] * t.d + shift[0] * t.e,
    )  # fmt: skip
    with opened(path) as dataset:
        # GDAL looks for alpha where it is told of none (0), but not where there is no such band.
        called = ColorInterp.alpha in dataset.colorinterp
        falsely = called and bands is not None and bands.alpha_index is None
        try:
            warped = WarpedVRT(
                dataset,
                crs=grid.crs,
                transform=moved,
                width=grid.width,
                height=grid.height,
                resampling=Resampling.cubic if smooth else Resampling.nearest,
                src_nodata=nodata,
                src_alpha=-1 if falsely else 0,
                nodata=nodata,
                tolerance=1e-6,  # rasterio cannot do without one
            )
        except REFUSALS as error:
            raise SceneError(f"{path} cannot be warped: {first_line(error)}") from unlinked(error)
        with warped:
            yield Aligned(path, warped)


def check_alike(path: str, grid: PixelGrid, other: str, like: PixelGrid) -> None:
    """Refuse grids that differ in more than where they begin.

    Raises
    ------
    GridMismatchError
        If CRS, pixel size or rotation differ, or one has no map coordinates.
    """
    for name, one in ((path, grid), (other, like)):
        if not one.has_transform or one.crs is None:
            raise GridMismatchError(
                f"{name} has no map coordinates; give it a CRS and a transform with gdalwarp first"
            )
    if grid.crs != like.crs:
        raise GridMismatchError(
            f"{path} is in {_short(grid.crs)} and {other} in {_short(like.crs)}; pass --resample "
            f"to warp the clear image to the cloudy one's grid"
        )
    ours, theirs = (np.array([g.transform[i] for i in (0, 1, 3, 4)]) for g in (grid, like))
    size = max(abs(theirs))
    if np.abs(ours - theirs).max() * max(like.height, like.width) > 0.1 * size:
        raise GridMismatchError(
            f"{path} has pixels of {_size(grid):g} and {other} of {_size(like):g} units, or they "
            f"are turned; pass --resample to warp the clear image to the cloudy one's grid"
        )


def is_resampled(grid: PixelGrid, like: PixelGrid, shift: tuple[float, float]) -> bool:
    """Whether a grid that is aligned with another needs new numbers, not only another place."""
    return shift != (0.0, 0.0) or not _on_whole_pixels(grid, like)


def _on_whole_pixels(grid: PixelGrid, like: PixelGrid) -> bool:
    """Whether the pixels of two grids that are alike lie on one another."""
    if grid.crs != like.crs:
        return False
    ours, theirs = grid.transform, like.transform
    if max(abs(ours[i] - theirs[i]) for i in (0, 1, 3, 4)) > 1e-9 * _size(like):
        return False
    col, row = ~theirs @ (ours.c, ours.f)
    return bool(abs(col - round(col)) < 0.01 and abs(row - round(row)) < 0.01)


def covered(grid: PixelGrid, like: PixelGrid, shift: tuple[float, float]) -> Polygon:
    """Where a grid has pixels once it is aligned, in (col, row) of the other; empty if nowhere.

    It is less the border that resampling needs, if there is any.
    """
    outline = grid.footprint()
    assert outline is not None
    if grid.crs != like.crs:
        outline = shape(transform_geom(grid.crs, like.crs, mapping(outline.segmentize(
            max(outline.length / 400, 1e-12)))))  # fmt: skip
    t = ~like.transform
    pixels = affinity.affine_transform(outline, (t.a, t.b, t.d, t.e, t.c, t.f))
    if not is_resampled(grid, like, shift):
        return shapely.transform(pixels, np.round)
    moved = affinity.translate(pixels, -shift[1], -shift[0])
    return moved.buffer(-KERNEL_PX, join_style="mitre")


def corners_lonlat(grid: PixelGrid, window: Window) -> NDArray[np.float64]:
    """(4, 2) longitude and latitude of a window's corners, each for itself.

    Beyond the date line longitudes begin anew: corners of one window may be 360 degrees apart.
    """
    outline = grid.footprint(window)
    assert outline is not None
    xs, ys = np.asarray(outline.exterior.coords)[:4].T
    return np.stack(transform(grid.crs, _LONLAT, xs, ys), axis=1)


def outline_lonlat(grid: PixelGrid, window: Window) -> NDArray[np.float64] | None:
    """As `corners_lonlat`; None where the image does not say, or not on the earth."""
    if grid.crs is None or not grid.has_transform:
        return None
    try:
        corners = corners_lonlat(grid, window)
    except REFUSALS:  # a map of its own, or a place beyond its map
        return None
    return corners if np.isfinite(corners).all() else None


def _short(crs: Any) -> str:
    return str(crs.to_string())[:60]


def _size(grid: PixelGrid) -> float:
    return math.hypot(grid.transform.a, grid.transform.d)
