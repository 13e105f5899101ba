"""A cloud mask in degrees lies on its scene, however the longitudes of either are counted."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.warp import transform

from decr.errors import GridMismatchError
from decr.geo.grid import PixelGrid
from decr.geo.mask_file import MaskClasses, open_mask, turns
from tests.geo.scene_files import write

WGS84 = CRS.from_epsg(4326)
STEP = 0.05  # degrees of a mask's pixels
degrees = st.floats(-400, 400).map(lambda d: round(d, 2))
widths = st.floats(0.01, 360).map(lambda d: round(d, 2))


def numbers(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, (1, height, width), np.uint8)


def mask_at(path: Path, west: float, east: float, south: float, north: float) -> Path:
    """A mask of random clouds between these longitudes and latitudes."""
    cloud = numbers(round((north - south) / STEP), round((east - west) / STEP))
    return write(path, cloud, crs=WGS84, transform=Affine(STEP, 0, west, 0, -STEP, north))


def scene_at(epsg: int, lon: float, lat: float, px: float, side: int = 90) -> PixelGrid:
    """A scene around a place; in degrees its longitudes are written as the place's."""
    crs = CRS.from_epsg(epsg)
    x, y = ([lon], [lat]) if crs.is_geographic else transform(WGS84, crs, [lon], [lat])
    # No centre of a pixel on an edge of the mask's: either side would be right.
    corner = Affine.translation(x[0] + px / 7, y[0] + px / 7)
    return PixelGrid(side, side, corner @ Affine(px, 0, -side / 2 * px, 0, -px, side / 2 * px), crs)


def places(grid: PixelGrid) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude of all pixels."""
    cols, rows = np.meshgrid(np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5)
    xs, ys = grid.transform @ (cols.ravel(), rows.ravel())
    assert grid.crs is not None
    lon, lat = (xs, ys) if grid.crs.is_geographic else transform(grid.crs, WGS84, xs, ys)
    return np.reshape(lon, cols.shape), np.reshape(lat, cols.shape)


def cloudy(path: Path, grid: PixelGrid) -> np.ndarray:
    with open_mask(path, grid, MaskClasses()) as mask:
        return mask.cloudy(grid.window)


@pytest.mark.parametrize(
    ("west", "east"), [(-180, 180), (0, 360), (-180.25, 180.25), (170, 190), (-190, -170)]
)
@pytest.mark.parametrize(
    ("epsg", "lon", "lat", "px"),
    [
        (32610, -123, 40, 500),  # west of Greenwich
        (32650, 117, 40, 500),
        (32630, 0, 50, 500),  # over Greenwich
        (32660, 180, 20, 500),  # over the date line
        (32701, -180, -60, 500),
        (3857, -123, 40, 500),
        (3857, 179.95, 40, 500),
        (3413, 180, 80, 500),
        (3413, 0, 89.95, 500),  # over the pole
        (4326, -123, 40, 0.005),
        (4326, 0, 40, 0.005),
        (4326, 180, 40, 0.005),  # written 179.8 to 180.2
        (4326, -180, 40, 0.005),
        (4326, 237, 40, 0.005),
        (4326, 360, 40, 0.005),
        (4258, 180, 40, 0.005),
    ],
)
def test_a_mask_in_degrees_lies_where_its_ground_is(
    tmp_path: Path, west: float, east: float, epsg: int, lon: float, lat: float, px: float
) -> None:
    grid = scene_at(epsg, lon, lat, px)
    lons, lats = places(grid)
    south, north = max(-90, math.floor(lats.min()) - 1), min(90, math.ceil(lats.max()) + 1)
    path = mask_at(tmp_path / "m.tif", west, east, south, north)
    cols, rows = np.floor((lons - west) % 360 / STEP), np.floor((north - lats) / STEP)
    cloud = numbers(round((north - south) / STEP), round((east - west) / STEP))[0]
    inside = cols < cloud.shape[1]
    if not inside.any():
        with pytest.raises(GridMismatchError, match="does not touch the scene"):
            cloudy(path, grid)
        return
    wanted = np.zeros(inside.shape, bool)
    wanted[inside] = cloud[rows[inside].astype(int), cols[inside].astype(int)]
    if east - west > 360:  # the same ground twice: either column counts
        seam = (lons - west) % 360 < east - west - 360
        inside, wanted = inside & ~seam, wanted & ~seam
    found = cloudy(path, grid)
    np.testing.assert_array_equal(found[inside], wanted[inside])
    assert found.any()
    assert not found[cols >= cloud.shape[1]].any()


@pytest.mark.parametrize(
    ("mask", "scene", "words"),
    [
        ((0, 20), (32610, -123, 40, 500), r"x 0 to 20, .* in the mask's CRS, the scene x -123"),
        ((238, 240), (32610, -123.5, 40, 500), r"x 238 to 240, .* the scene x -123"),
        ((179, 179.5), (32660, 180, 40, 500), r"x 179 to 179\.5, .* the scene x 179\.7"),
        ((180.5, 181), (4326, 180, 40, 0.005), r"x 180\.5 to 181, .* the scene x 179\.7"),
        ((-20, 20), (3857, 179.95, 40, 500), r"x -20 to 20"),
        ((-20, 20), (4326, 237, 40, 0.005), r"x -20 to 20, .* the scene x 236"),
        ((0, 360), (4326, -123, 55, 0.005), r"y 38 to 42 .* the scene x .* y 54\.7"),
    ],
)
def test_a_mask_in_degrees_that_lies_elsewhere_is_refused(
    tmp_path: Path,
    mask: tuple[float, float],
    scene: tuple[int, float, float, float],
    words: str,
) -> None:
    path = mask_at(tmp_path / "m.tif", *mask, 38, 42)
    with pytest.raises(GridMismatchError, match=rf"m\.tif: the mask does not touch .*{words}"):
        cloudy(path, scene_at(*scene))


@pytest.mark.parametrize("lon", [180, -180])
def test_a_mask_in_metres_lies_on_a_scene_over_the_date_line(tmp_path: Path, lon: float) -> None:
    there = scene_at(32601, -179.85, 40, 500, 40)  # wholly east of it
    path = write(
        tmp_path / "m.tif", np.ones((1, 40, 40), np.uint8), crs=there.crs, transform=there.transform
    )
    grid = scene_at(4326, lon, 40, 0.005)
    lons, _ = places(grid)
    found = cloudy(path, grid)
    assert 0.1 < found.mean() < 0.5
    assert ((lons[found] - lon) > 0).all()


@given(west=degrees, width=widths, left=degrees, span=widths)
def test_turns_meet_whatever_can_be_met(
    west: float, width: float, left: float, span: float
) -> None:
    moves = turns((west, west + width), [(left, left + span)])
    assert all(move % 360 == 0 for move in moves)
    ground = np.linspace(left, left + span, 99)[1:-1]
    offset = (ground - west) % 360
    clear = np.minimum(abs(offset - width), np.minimum(offset, 360 - offset)) > 1e-6
    met = np.zeros(ground.shape, bool)
    for move in moves:
        met |= (west + move < ground) & (ground < west + width + move)
    np.testing.assert_array_equal(met[clear], (offset < width)[clear])


@given(west=degrees, width=widths, within=st.floats(0, 1), n=st.integers(-2, 2))
def test_one_turn_is_enough_for_what_lies_within(
    west: float, width: float, within: float, n: int
) -> None:
    left = west + 360 * n + within * width / 2
    assert len(turns((west - 1e-6, west + width), [(left, left + width / 2 - 1e-6)])) == 1
