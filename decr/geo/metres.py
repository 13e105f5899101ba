"""How long on the ground are the units of a CRS at a place, in metres."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform as transform_points

from decr.geo.gdal import lonlat

_SPHEROID = re.compile(r'(?:SPHEROID|ELLIPSOID)\["[^"]*",\s*([0-9.eE+]+),\s*([0-9.eE+]+)')
_WGS84 = (6378137.0, 298.257223563)
_SCALE_STEP_M = 100.0
"""Over how long a way a map's scale is measured."""


def metres_per_unit(crs: Any, x: float, y: float) -> tuple[float, float] | None:
    """Metres per CRS unit along x and y at a place; None if the CRS cannot say."""
    try:
        if crs.is_geographic:
            return _metres_per_angle(crs, y)
        scale = float(crs.linear_units_factor[1])
        if crs.to_epsg() == 3857:
            # Nominal metres of web Mercator, a sphere's, are true at the equator only.
            scale /= math.cosh(y / _WGS84[0])
            return scale, scale
        across, up = _true_scale(crs.to_wkt(), x, y)
    except CRSError:
        return None
    return scale * across, scale * up


@lru_cache(maxsize=64)
def _true_scale(wkt: str, x: float, y: float) -> tuple[float, float]:
    """Metres on the ground for a metre of a map at a place, along x and y; 1 where about that."""
    crs, world = CRS.from_wkt(wkt), lonlat()
    step = _SCALE_STEP_M / float(crs.linear_units_factor[1])
    try:
        lons, lats = transform_points(crs, world, [x, x + step, x], [y, y, y + step])
    except (CPLE_BaseError, RasterioError):
        return 1.0, 1.0
    if not np.isfinite((lons, lats)).all():
        return 1.0, 1.0
    # Straight ways through space: longitudes jump at the date line, and mean nothing at a pole.
    places = on_earth(np.column_stack([lons, lats]))
    found = (np.linalg.norm(places[1:] - places[0], axis=1) / _SCALE_STEP_M).tolist()
    # Grids such as UTM's mean their metres, and give the pixels' size in them.
    near_one = all(0.97 < value < 1.03 for value in found)
    return (1.0, 1.0) if near_one else (found[0], found[1])


def on_earth(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, 3) metres from the middle of the earth, of (K, 2) degrees on the WGS 84 ellipsoid."""
    lon, lat = np.radians(lonlat).T
    flattening = 1 / _WGS84[1]
    e2 = flattening * (2 - flattening)
    normal = _WGS84[0] / np.sqrt(1 - e2 * np.sin(lat) ** 2)
    out = normal * np.cos(lat)
    return np.stack([out * np.cos(lon), out * np.sin(lon), normal * (1 - e2) * np.sin(lat)], 1)


def metres_per_degree(latitude: float) -> tuple[float, float]:
    """Metres per degree of longitude and latitude on the WGS 84 ellipsoid."""
    return _metres_on(*_WGS84, math.radians(1.0), latitude)


def _metres_per_angle(crs: Any, latitude: float) -> tuple[float, float]:
    """Metres per angular unit of longitude and latitude on the CRS's ellipsoid."""
    found = _SPHEROID.search(crs.to_wkt())
    major, inverse = (float(found[1]), float(found[2])) if found else _WGS84
    return _metres_on(major, inverse, float(crs.units_factor[1]), latitude)


def _metres_on(
    major: float, inverse: float, radians: float, latitude: float
) -> tuple[float, float]:
    """The same for an ellipsoid and an angular unit of so many radians."""
    flattening = 1 / inverse if inverse else 0.0
    e2 = flattening * (2 - flattening)
    phi = latitude * radians
    w = math.sqrt(1 - e2 * math.sin(phi) ** 2)
    east = major / w * math.cos(phi) * radians
    north = major * (1 - e2) / w**3 * radians
    return east, north
