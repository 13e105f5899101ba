"""Where windows lie on the earth."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from decr.geo.align import KERNEL_PX, corners_lonlat, covered
from decr.geo.grid import PixelGrid, Window


@pytest.mark.parametrize("epsg", [32601, 32660, 3832])
def test_a_window_across_the_date_line_has_four_corners(epsg: int) -> None:
    left = {32601: 166000.0, 32660: 833500.0, 3832: 3339000.0}[epsg]
    grid = PixelGrid(200, 200, Affine(10.0, 0, left, 0, -10.0, 1000.0), CRS.from_epsg(epsg))
    corners = corners_lonlat(grid, Window(0, 0, 200, 200))
    assert corners.shape == (4, 2)
    assert sorted(np.sign(corners[:, 0])) == [-1, -1, 1, 1]
    np.testing.assert_allclose(np.abs(corners[:, 0]), 180.0, atol=0.02)
    np.testing.assert_allclose(np.abs(corners[:, 1]), 0.0, atol=0.02)


@pytest.mark.parametrize("place", [(0.0, 0.0), (5.004, -7.0)])
def test_only_what_is_resampled_loses_its_border(place: tuple[float, float]) -> None:
    like = PixelGrid(512, 512, Affine(0.3, 0, 500000.1, 0, -0.3, 4400000.7), CRS.from_epsg(32650))
    grid = PixelGrid(512, 512, like.transform @ Affine.translation(*place), like.crs)
    col, row = (round(value) for value in place)
    assert covered(grid, like, (0.0, 0.0)).bounds == (col, row, col + 512, row + 512)
    moved = covered(grid, like, (1.0, 0.0)).bounds
    assert moved[3] - moved[1] == pytest.approx(512 - 2 * KERNEL_PX)
