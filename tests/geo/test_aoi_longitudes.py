"""Areas of interest whose longitudes pass 180 degrees, or that are as wide as the world."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform
from shapely.geometry import MultiPolygon, mapping

from decr.geo.aoi import read_aoi
from decr.geo.features import read_features, read_vectors
from decr.geo.grid import PixelGrid
from tests.geo.areas import GRID, WGS84, save


@pytest.mark.parametrize("lat", [90, 89.9, 85])
def test_an_area_as_wide_as_the_world_holds_the_scene(tmp_path: Path, lat: float) -> None:
    path = save(tmp_path / "a.json", mapping(shapely.box(-180, -lat, 180, lat)))
    assert read_aoi(path, GRID).mask(GRID.window).all()
    half = save(tmp_path / "b.json", mapping(shapely.box(0, -10, 179, 75)))
    assert read_aoi(half, GRID).mask(GRID.window).all()
    assert read_features(read_vectors(half), GRID)[0].area is not None


def test_an_area_beyond_the_date_line_is_found_on_a_scene_across_it(tmp_path: Path) -> None:
    grid = PixelGrid(100, 700, Affine(5e-6, 0, 179.9985, 0, -5e-6, 10), WGS84)
    west, east = shapely.box(179.99, 9, 180, 11), shapely.box(-180, 9, -179.99, 11)
    both = save(tmp_path / "a.json", mapping(MultiPolygon([west, east])))
    assert read_aoi(both, grid).mask(grid.window).all()
    found = read_aoi(save(tmp_path / "b.json", mapping(east)), grid).mask(grid.window)
    np.testing.assert_array_equal(found.any(axis=0), np.arange(700) >= 300)


@pytest.mark.parametrize("box", [(-180, -90, 180, 90), (-180, -60, 180, 60), (-180, -20, -100, 20)])
def test_an_area_as_wide_as_the_world_on_a_map_across_the_date_line(
    tmp_path: Path, box: tuple[int, int, int, int]
) -> None:
    utm = CRS.from_epsg(32660)
    (x,), (y,) = transform("EPSG:4326", utm, [180.0], [10.0])
    grid = PixelGrid(40, 400, Affine(0.5, 0, x - 100, 0, -0.5, y), utm)
    mask = read_aoi(save(tmp_path / "a.json", mapping(shapely.box(*box))), grid).mask(grid.window)
    assert mask[:, 210:].all()
    assert mask[:, :190].all() == (box[2] == 180)


@pytest.mark.parametrize("turn", [-360, 0])
@pytest.mark.parametrize("crs", [CRS.from_epsg(32660), WGS84, CRS.from_epsg(4269)])
def test_longitudes_beyond_180_are_the_same_ground(tmp_path: Path, turn: int, crs: CRS) -> None:
    (x,), (y,) = transform(WGS84, crs, [179.99], [-10.0])
    pixel = 1e-4 if crs.is_geographic else 10
    grid = PixelGrid(200, 200, Affine(pixel, 0, x, 0, -pixel, y), crs)
    box = shapely.box(179.98 + turn, -10.03, 180.03 + turn, -9.99)
    assert read_aoi(save(tmp_path / "a.json", mapping(box)), grid).mask(grid.window).all()


@pytest.mark.parametrize("crs", [WGS84, CRS.from_epsg(4269)])
@pytest.mark.parametrize(("west", "turn"), [(-100.0, 360), (116.0, 360), (116.0, -360)])
def test_areas_beyond_180_are_found_on_scenes_far_from_the_date_line(
    tmp_path: Path, west: float, turn: int, crs: CRS
) -> None:
    grid = PixelGrid(200, 200, Affine(1e-4, 0, west, 0, -1e-4, 40), crs)
    box = shapely.box(west + turn - 1, 39, west + turn + 0.01, 41)
    path = save(tmp_path / "a.json", mapping(box))
    mask = read_aoi(path, grid).mask(grid.window)
    np.testing.assert_array_equal(mask, np.broadcast_to(np.arange(200) < 100, (200, 200)))
    assert read_features(read_vectors(path), grid)[0].area is not None
