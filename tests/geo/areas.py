"""Areas of interest as GeoJSON, and the grid that they lie on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform_geom
from shapely.geometry import MultiPolygon, Polygon, mapping

from decr.geo.grid import PixelGrid

UTM = CRS.from_epsg(32650)
WGS84 = CRS.from_epsg(4326)
NORTH_UP = Affine(0.5, 0, 500000, 0, -0.5, 4400000)
GRID = PixelGrid(200, 300, NORTH_UP, UTM)


def ground(polygon: Polygon | MultiPolygon, grid: PixelGrid = GRID) -> dict[str, Any]:
    """Bring a polygon from pixels to the grid's CRS, as GeoJSON geometry."""
    t = grid.transform

    def forward(xy: np.ndarray) -> np.ndarray:
        col, row = xy.T
        return np.stack([t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f], axis=1)

    return dict(mapping(shapely.transform(polygon, forward)))


def save(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def lonlat(geometry: dict[str, Any]) -> dict[str, Any]:
    return dict(transform_geom(UTM, WGS84, geometry))
