"""Windows and pixel grids: where pixels are, as values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.windows import Window as RasterioWindow
from shapely import polygons
from shapely.geometry import Polygon

from decr.errors import ConfigError, GridMismatchError
from decr.geo.metres import metres_per_unit


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of whole pixels.

    Attributes
    ----------
    row, col
        Top left pixel, >= 0.
    height, width
        Size in pixels, > 0.

    Raises
    ------
    ConfigError
        If a number is negative or the window has no area.
    """

    row: int
    col: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if min(self.row, self.col) < 0 or min(self.height, self.width) <= 0:
            raise ConfigError(
                f"no such window: row {self.row}, col {self.col}, {self.height} x {self.width} px; "
                "row and col must be at least 0, height and width at least 1"
            )

    @property
    def row_stop(self) -> int:
        """First row below the window."""
        return self.row + self.height

    @property
    def col_stop(self) -> int:
        """First column right of the window."""
        return self.col + self.width

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    def intersection(self, other: Window) -> Window | None:
        """Pixels in both windows; None if there are none."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        height = min(self.row_stop, other.row_stop) - row
        width = min(self.col_stop, other.col_stop) - col
        return Window(row, col, height, width) if height > 0 and width > 0 else None

    def union(self, other: Window) -> Window:
        """Return the smallest window that holds both."""
        row, col = min(self.row, other.row), min(self.col, other.col)
        row_stop, col_stop = max(self.row_stop, other.row_stop), max(self.col_stop, other.col_stop)
        return Window(row, col, row_stop - row, col_stop - col)

    def contains(self, other: Window) -> bool:
        """Whether every pixel of the other window is in this one."""
        return (
            self.row <= other.row
            and self.col <= other.col
            and other.row_stop <= self.row_stop
            and other.col_stop <= self.col_stop
        )

    def shift(self, drow: int, dcol: int) -> Window:
        """Move the window; negative numbers go up and left."""
        return Window(self.row + drow, self.col + dcol, self.height, self.width)

    def slices(self, relative_to: Window | None = None) -> tuple[slice, slice]:
        """Row and column slices, into the scene or into an array that covers another window.

        Raises
        ------
        GridMismatchError
            If this window is not inside `relative_to`: negative slices would silently wrap.

        Examples
        --------
        >>> Window(5, 7, 2, 3).slices(Window(4, 4, 10, 10))
        (slice(1, 3, None), slice(3, 6, None))
        """
        if relative_to is None:
            return slice(self.row, self.row_stop), slice(self.col, self.col_stop)
        if not relative_to.contains(self):
            raise GridMismatchError(f"{self} is not inside {relative_to}")
        row, col = self.row - relative_to.row, self.col - relative_to.col
        return slice(row, row + self.height), slice(col, col + self.width)

    def expand(self, px: int, within: Window) -> Window:
        """Grow by `px` pixels on every side, clipped to `within`.

        Raises
        ------
        GridMismatchError
            If nothing is left inside `within`.
        """
        row, col = max(self.row - px, within.row), max(self.col - px, within.col)
        height = min(self.row_stop + px, within.row_stop) - row
        width = min(self.col_stop + px, within.col_stop) - col
        if height <= 0 or width <= 0:
            raise GridMismatchError(f"{self} grown by {px} px does not touch {within}")
        return Window(row, col, height, width)

    def clipped(self, within: Window) -> Window:
        """The part inside another window.

        Raises
        ------
        GridMismatchError
            If there is none.
        """
        inside = self.intersection(within)
        if inside is None:
            raise GridMismatchError(f"{self} does not touch {within}")
        return inside

    def scaled(self, k: int) -> Window:
        """Return the same rectangle on a grid with k times smaller pixels."""
        return Window(self.row * k, self.col * k, self.height * k, self.width * k)

    def coarsened(self, k: int) -> Window:
        """Return the smallest window on a k times coarser grid that covers this one.

        Examples
        --------
        >>> Window(3, 4, 2, 4).coarsened(4)
        Window(row=0, col=1, height=2, width=1)
        """
        row, col = self.row // k, self.col // k
        return Window(row, col, -(-self.row_stop // k) - row, -(-self.col_stop // k) - col)

    def to_rasterio(self) -> RasterioWindow:
        """Return the same window as rasterio writes it."""
        return RasterioWindow(self.col, self.row, self.width, self.height)


@dataclass(frozen=True, slots=True)
class GroundPoint:
    """A ground control point: pixel position (row, col) seen at (x, y) of the points' CRS."""

    row: float
    col: float
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class PixelGrid:
    """The pixels of a scene and where they lie on the ground.

    Attributes
    ----------
    height, width
        Size in pixels.
    transform
        From (col, row) of pixel *corners* to the CRS; the identity if the scene has none.
    crs
        Of the transform; None if unknown.
    gcps, gcp_crs
        Ground control points and their CRS, for scenes that have these instead of a transform.
    """

    height: int
    width: int
    transform: Affine
    crs: CRS | None = None
    gcps: tuple[GroundPoint, ...] | None = None
    gcp_crs: CRS | None = None

    @property
    def window(self) -> Window:
        """The whole grid."""
        return Window(0, 0, self.height, self.width)

    @property
    def has_transform(self) -> bool:
        """Whether the pixels are tied to the ground by a transform."""
        return not self.transform.is_identity

    def window_transform(self, window: Window) -> Affine:
        """Return the transform of an array that covers the window."""
        t = self.transform
        return Affine(
            t.a, t.b, t.c + window.col * t.a + window.row * t.b,
            t.d, t.e, t.f + window.col * t.d + window.row * t.e,
        )  # fmt: skip

    def footprint(self, window: Window | None = None) -> Polygon | None:
        """Outline of a window (default: all) in the scene's CRS; None without a transform.

        Rotated grids give rotated polygons. Scenes placed by control points or RPCs only have
        no straight outline, hence None.
        """
        return self.footprints([self.window if window is None else window])[0]

    def footprints(self, windows: Sequence[Window]) -> list[Polygon | None]:
        """`footprint` of each of many windows, in much less time than one by one."""
        if not self.has_transform:
            return [None] * len(windows)
        t = self.transform
        rows = np.array([(w.row, w.row, w.row_stop, w.row_stop) for w in windows]).reshape(-1, 4)
        cols = np.array([(w.col, w.col_stop, w.col_stop, w.col) for w in windows]).reshape(-1, 4)
        corners = t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f
        outlines: list[Polygon | None] = polygons(np.stack(corners, axis=-1)).tolist()
        return outlines

    def shrunk_to(self, side: int) -> tuple[int, int]:
        """(height, width) of a view at most ``side`` long, of the same proportions."""
        scale = max(1.0, max(self.height, self.width) / side)
        return max(1, round(self.height / scale)), max(1, round(self.width / scale))

    def picked(self, side: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows and columns of the pixels that make a view at most ``side`` long: those GDAL picks.

        They hold the middles of the view's pixels; whole numbers, so that none is off by rounding.

        Examples
        --------
        >>> PixelGrid(4, 6, Affine.identity()).picked(3)
        (array([1, 3]), array([1, 3, 5]))
        """
        sides = zip(self.shrunk_to(side), (self.height, self.width), strict=True)
        rows, cols = ((2 * np.arange(n, dtype=np.int64) + 1) * size // (2 * n) for n, size in sides)
        return rows, cols

    def coarsened(self, k: int) -> PixelGrid:
        """Return the grid with k times larger pixels from the same corner; edge cells stick out."""
        return self._of_pixels(-(-self.height // k), -(-self.width // k), k, k)

    def resized(self, height: int, width: int) -> PixelGrid:
        """Return the grid of so many pixels over the same ground."""
        return self._of_pixels(height, width, self.height / height, self.width / width)

    def _of_pixels(self, height: int, width: int, down: float, across: float) -> PixelGrid:
        """The grid of so many pixels, each so many times larger, from the same corner."""
        points = self.gcps and tuple(
            GroundPoint(p.row / down, p.col / across, p.x, p.y) for p in self.gcps
        )
        t = self.transform
        # An unplaced grid stays unplaced: a scaled identity would look like a transform.
        if self.has_transform:
            t = Affine(t.a * across, t.b * down, t.c, t.d * across, t.e * down, t.f)
        return PixelGrid(height, width, t, self.crs, points, self.gcp_crs)

    @property
    def gsd_m(self) -> float | None:
        """Ground sampling distance in metres, the mean of `pixel_m`; None if it is unknown."""
        sides = self.pixel_m
        return None if sides is None else (sides[0] + sides[1]) / 2

    @property
    def pixel_m(self) -> tuple[float, float] | None:
        """Metres along a pixel's columns and rows; None if that is unknown.

        Notes
        -----
        Geographic coordinates are measured by local metres on the CRS's own ellipsoid at the
        centre of the scene; maps by their true scale there where that is off by 3 % or more, such
        as those of the world. Control points are fitted with an affine transform first.
        """
        crs, transform = self.crs, self.transform
        if not self.has_transform:
            if not self.gcps:
                return None
            fitted = _affine_from(self.gcps)
            if fitted is None:
                return None
            crs, transform = self.gcp_crs, fitted
        if crs is None:
            return None
        row, col = self.height / 2, self.width / 2
        y = transform.d * col + transform.e * row + transform.f
        x = transform.a * col + transform.b * row + transform.c
        scale = metres_per_unit(crs, x, y)
        if scale is None:
            return None
        along_cols = math.hypot(transform.a * scale[0], transform.d * scale[1])
        along_rows = math.hypot(transform.b * scale[0], transform.e * scale[1])
        return along_cols, along_rows


def _affine_from(points: tuple[GroundPoint, ...]) -> Affine | None:
    """Least squares (col, row) -> (x, y); None if the points do not span the image."""
    pixels = np.array([(p.col, p.row, 1.0) for p in points])
    ground = np.array([(p.x, p.y) for p in points])
    solution, _, rank, _ = np.linalg.lstsq(pixels, ground, rcond=1e-9)
    if rank < 3:
        return None
    (a, d), (b, e), (c, f) = solution.tolist()
    return Affine(a, b, c, d, e, f)
