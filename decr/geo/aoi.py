"""Polygons of GeoJSON in a scene's CRS and pixels, and an area of interest as a mask of them.

Polygons of other vector files go the same way: see `decr.geo.features`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds, transform_geom
from shapely.errors import ShapelyError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from decr.errors import ConfigError
from decr.files import is_elsewhere, of_pipe
from decr.forks import fork_lock
from decr.geo.gdal import lonlat
from decr.geo.grid import PixelGrid, Window
from decr.geo.opening import first_line, unlinked

_LEAF_PX = 32
"""Windows up to this side are tested pixel by pixel."""

_PIECES = 256
"""Parts of an area's longest side; edges are cut to them before reprojection bends them."""

_NUDGE_PX = (1e-6, 1.6180339887e-6)
"""How far right and down of its centre a pixel is tested: one that lies on an edge is then on one
side of it. More than coordinates are rounded by, and along no edge between corners of a grid."""

_GEOS = fork_lock()

_POLYGONS = ("Polygon", "MultiPolygon")
_MEMBERS = {
    "FeatureCollection": "features",
    "GeometryCollection": "geometries",
    "Feature": "geometry",
}
_OTHERS = ("Point", "MultiPoint", "LineString", "MultiLineString")
_KINDS = (*_POLYGONS, *_MEMBERS, *_OTHERS)
_BROKEN = (KeyError, TypeError, ValueError, AttributeError, IndexError, ShapelyError)


@dataclass(frozen=True, slots=True)
class Aoi:
    """Polygons in pixel coordinates of a scene.

    Attributes
    ----------
    area
        Polygon or multipolygon; x is the column, y the row, whole numbers are pixel corners.
    height, width
        Size of the scene in pixels.
    """

    area: BaseGeometry
    height: int
    width: int
    _parts: shapely.STRtree = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # A cadastre has many thousands of parts, and few of them lie near a window.
        object.__setattr__(self, "_parts", shapely.STRtree(shapely.get_parts(self.area)))

    @property
    def bounds_window(self) -> Window | None:
        """Smallest window that holds every pixel whose centre may be inside; None if none may."""
        return _centres_in(self.area, Window(0, 0, self.height, self.width))

    def coarsened(self, k: int) -> Aoi:
        """The area on the grid of k times larger pixels from the same corner."""
        area = shapely.transform(self.area, lambda xy: xy / k)
        return Aoi(area, -(-self.height // k), -(-self.width // k))

    def mask(self, window: Window) -> NDArray[np.bool_]:
        """Tell which pixel centres of a window lie inside the area, (height, width) bool.

        A centre that lies exactly on an edge counts to what is right of it, or below a level one:
        of areas that share an edge to one of them.

        Notes
        -----
        Each centre is tested in scene coordinates, so a pixel's answer never depends on the
        window. (Rasterising with a window's transform would round differently per window.)
        """
        mask = np.zeros(window.shape, dtype=np.bool_)
        near = self._parts.query(_outline(window))
        # GEOS indexes a prepared part when first asked of it, and not for two threads at once.
        with _GEOS:
            for part in self._parts.geometries[near]:
                inside = _centres_in(part, window)
                if inside is not None:
                    shapely.prepare(part)
                    _fill(mask, window, part, inside)
        return mask


def _centres_in(area: BaseGeometry, window: Window) -> Window | None:
    """Pixels of a window whose centres lie within the bounds of an area; None without any."""
    left, top, right, bottom = area.bounds
    x, y = (0.5 + by for by in _NUDGE_PX)
    row, col = max(window.row, math.ceil(top - y)), max(window.col, math.ceil(left - x))
    height = min(window.row_stop, math.floor(bottom - y) + 1) - row
    width = min(window.col_stop, math.floor(right - x) + 1) - col
    return Window(row, col, height, width) if height > 0 and width > 0 else None


def _fill(mask: NDArray[np.bool_], origin: Window, area: BaseGeometry, part: Window) -> None:
    """Add an area to a part of the window, at once if no edge crosses it, else by quarters."""
    if max(part.shape) > _LEAF_PX:
        outline = _outline(part)
        if not area.intersects(outline):
            return
        if area.contains_properly(outline):
            mask[part.slices(origin)] = True
            return
        for quarter in _quarters(part):
            _fill(mask, origin, area, quarter)
        return
    right, down = (0.5 + by for by in _NUDGE_PX)
    cols, rows = np.arange(part.col, part.col_stop), np.arange(part.row, part.row_stop)
    x, y = np.meshgrid(cols + right, rows + down)
    mask[part.slices(origin)] |= shapely.contains_xy(area, x, y)


def _outline(window: Window) -> BaseGeometry:
    return shapely.box(window.col, window.row, window.col_stop, window.row_stop)


def read_aoi(path: str | os.PathLike[str], grid: PixelGrid) -> Aoi:
    """Read the polygons of a GeoJSON file and place them on a scene.

    Parameters
    ----------
    path
        Feature, FeatureCollection or geometry; longitude and latitude (RFC 7946), or in the
        coordinates of an old-style "crs" member.
    grid
        Of the scene; it needs a transform and a CRS.

    Raises
    ------
    ConfigError
        If the file is not GeoJSON, holds no polygon, or misses the scene; or the scene is not
        placed on the map.
    """
    name = os.fspath(path)
    if grid.crs is None or not grid.has_transform:
        raise unplaced(name)
    if pipe := of_pipe(name):
        raise ConfigError(pipe)
    document = loaded(name)
    polygons = list(polygons_in(document, name))
    if not polygons:
        raise ConfigError(f"{name} holds no polygon; draw the area of interest as one")
    area, crs = shapely.union_all(polygons), crs_of(document, name)
    placed = projected(area, crs, grid, surroundings(grid, crs), name)
    aoi = Aoi(in_pixels(placed, grid.transform), grid.height, grid.width)
    scene = shapely.box(0, 0, grid.width, grid.height)
    if aoi.area.is_empty or aoi.bounds_window is None or not aoi.area.intersects(scene):
        raise ConfigError(missed(area, crs, grid, name))
    return aoi


def missed(area: BaseGeometry, crs: CRS, grid: PixelGrid, name: str) -> str:
    """What to say of a file's area, in its own coordinates, that lies nowhere on the scene."""
    assert grid.crs is not None
    return (
        f"the area in {name} does not touch the scene; area {_bounds(area)} in "
        f"{crs.to_string()[:60]}, scene {_bounds(grid.footprint())} in "
        f"{grid.crs.to_string()[:60]}; GeoJSON has longitude first"
    )


def unplaced(name: str) -> ConfigError:
    """What to say of a vector file for a scene without map coordinates."""
    return ConfigError(
        f"the scene has no map coordinates, so {name} cannot be placed on it; "
        "work on the whole scene, or georeference it first (gdalwarp)"
    )


def _quarters(window: Window) -> Iterator[Window]:
    """Cut a window in two along each side that is longer than a leaf."""
    row = window.row + (window.height + 1) // 2
    col = window.col + (window.width + 1) // 2
    for top, bottom in ((window.row, row), (row, window.row_stop)):
        for left, right in ((window.col, col), (col, window.col_stop)):
            if bottom > top and right > left:
                yield Window(top, left, bottom - top, right - left)


def loaded(name: str) -> dict[str, Any]:
    """Parse the file as one JSON object."""
    if is_elsewhere(name):
        raise ConfigError(f"{name}: areas are read from files of this machine; download it first")
    try:
        document = json.loads(Path(name).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{name} is not GeoJSON: {error}; export the area as GeoJSON") from error
    if not isinstance(document, dict):
        raise ConfigError(
            f"{name} is not GeoJSON: it is a {type(document).__name__}, not an object"
        )
    return document


def polygons_in(document: Any, name: str) -> Iterator[BaseGeometry]:
    """Yield the polygons of a GeoJSON object and all it contains, made valid."""
    kind = document.get("type") if isinstance(document, dict) else None
    if kind not in _KINDS:
        raise ConfigError(f"{name} is not GeoJSON: it has an object of type {kind!r}")
    try:
        if kind in _POLYGONS:
            yield from valid_parts(shape(document))
        members = document[_MEMBERS[kind]] if kind in _MEMBERS else []
        children = members if isinstance(members, list) else [members]
    except _BROKEN as error:
        raise ConfigError(f"{name} is not GeoJSON: broken {kind} ({error!r})") from error
    for child in children:
        # A feature may have no geometry at all.
        if child is not None:
            yield from polygons_in(child, name)


def valid_parts(geometry: BaseGeometry) -> Iterator[BaseGeometry]:
    """Yield the flat, valid polygons that possibly self-crossing ones enclose.

    Each for itself: what several cover would be a hole in all of them together.
    """
    valid = shapely.make_valid(shapely.get_parts(shapely.force_2d(geometry)))
    for part in shapely.get_parts(valid):
        if part.geom_type in _POLYGONS and not part.is_empty:
            yield part


def crs_of(document: dict[str, Any], name: str) -> CRS:
    """Return the CRS of the coordinates: RFC 7946 knows one only, its predecessor named it."""
    member = document.get("crs")
    if member is None:
        return lonlat()
    try:
        return CRS.from_user_input(member["properties"]["name"])
    except (RasterioError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f'{name} has a "crs" member that cannot be understood: {json.dumps(member)[:120]}; '
            "export the area in EPSG:4326"
        ) from unlinked(error)


def projected(
    area: BaseGeometry, source: CRS, grid: PixelGrid, near: BaseGeometry | None, name: str
) -> BaseGeometry:
    """Bring the area to the CRS of a scene, which has one; long edges bend as the ground does.

    What lies outside ``near``, the scene's `surroundings`, is cut off, so that nothing may be left:
    the scene's CRS may not be able to show it.
    """
    target = grid.crs
    assert target is not None
    if source != target:
        area = _warped(_cut(area, source, near), source, target, name)
    return _on_its_side(area, grid) if target.is_geographic else area


def _warped(area: BaseGeometry, source: CRS, target: CRS, name: str) -> BaseGeometry:
    """The area in another CRS."""
    if area.is_empty:
        return area
    left, top, right, bottom = area.bounds
    dense = shapely.segmentize(area, max(right - left, bottom - top) / _PIECES)
    try:
        try:
            moved = shape(transform_geom(source, target, shapely.geometry.mapping(dense)))
        except CPLE_BaseError as bare:  # which no other process can unpickle
            raise RasterioError(str(bare)) from bare
    except (RasterioError, ShapelyError, SystemError, ValueError) as error:
        raise ConfigError(
            f"the area in {name} cannot be brought to the scene's coordinates: "
            f"{first_line(error)}; GeoJSON has longitude first, in degrees"
        ) from unlinked(error)
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise ConfigError(
            f"the area in {name} lies outside what {target.to_string()[:60]} can show; area "
            f"{_bounds(area)} in {source.to_string()}; GeoJSON has longitude first, in degrees"
        )
    return shapely.union_all(list(valid_parts(moved)))


def _on_its_side(area: BaseGeometry, grid: PixelGrid) -> BaseGeometry:
    """The area with the longitudes of the scene, where either has some beyond 180 degrees."""
    footprint = grid.footprint()
    assert footprint is not None
    left, _, right, _ = footprint.bounds
    west, _, east, _ = area.bounds
    if min(left, west) >= -180.0 and max(right, east) <= 180.0:
        return area
    return _turned_into(area, shapely.box(left - 90.0, -90.0, right + 90.0, 90.0))


def _turned_into(area: BaseGeometry, box: BaseGeometry) -> BaseGeometry:
    """What of an area in degrees lies in a box, whatever longitudes either is written with."""
    parts = [shapely.intersection(part, box) for part in in_every_turn(area)]
    return shapely.union_all([valid for part in parts for valid in valid_parts(part)])


def in_every_turn(area: BaseGeometry) -> list[BaseGeometry]:
    """An area in degrees with its longitudes as they are written one turn less, as is, and more.

    Beyond the date line, others count in whole turns, too: `decr.geo.mask_file.turns` (rasters),
    `decr.dataset.splits.unwrapped` (outlines) and `decr.dataset.stac` (boxes).
    """
    return [
        shapely.transform(area, lambda xy, by=by: xy + np.array((by, 0.0)))
        for by in (-360.0, 0.0, 360.0)
    ]


def surroundings(grid: PixelGrid, source: CRS) -> BaseGeometry | None:
    """Three times the bounds of a placed scene in another CRS, longitudes from -180 to 180.

    None if they cannot be told in it.
    """
    footprint = grid.footprint()
    assert footprint is not None
    try:
        left, bottom, right, top = transform_bounds(grid.crs, source, *footprint.bounds)
    except (CPLE_BaseError, RasterioError, ValueError):
        return None
    across = source.is_geographic and left > right  # longitudes of a scene over the date line
    width, height = right - left + 360.0 * across, top - bottom
    if not np.isfinite((left, bottom, right, top)).all() or width <= 0 or height <= 0:
        return None
    box = shapely.box(left - width, bottom - height, left + 2 * width, top + height)
    if source.is_geographic:
        return _turned_into(box, shapely.box(-180.0, bottom - height, 180.0, top + height))
    return box


def _cut(area: BaseGeometry, source: CRS, near: BaseGeometry | None) -> BaseGeometry:
    """The part of an area that lies in a scene's surroundings, if these are known."""
    if near is None or near.contains(area):
        return area
    if source.is_geographic:
        return _turned_into(area, near)
    return shapely.union_all(list(valid_parts(shapely.intersection(area, near))))


def in_pixels(area: BaseGeometry, t: Affine) -> BaseGeometry:
    """Apply the inverse of the grid's transform."""
    determinant = t.a * t.e - t.b * t.d

    def inverse(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = xy[:, 0] - t.c, xy[:, 1] - t.f
        pixels = np.stack([t.e * x - t.b * y, t.a * y - t.d * x], axis=1) / determinant
        return np.asarray(pixels, dtype=np.float64)

    return shapely.transform(area, inverse)


def _bounds(area: BaseGeometry | None) -> str:
    """Write the bounds of an area."""
    if area is None:
        return "unknown"
    left, bottom, right, top = (f"{value:.6g}" for value in area.bounds)
    return f"x {left} to {right}, y {bottom} to {top}"
