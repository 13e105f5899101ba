"""Where windows lie on the earth."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from decr.geo.align import corners_lonlat
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
