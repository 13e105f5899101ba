"""`decr.declouds_array`: an array in, an array out, from whatever kind of file it was read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rioxarray
import xarray as xr

import decr
from tests.pipeline.scenes import cloudy_pixels, same, write_scene


@pytest.mark.parametrize("tiled", [False, True])
def test_an_array_read_from_strips_or_blocks(tmp_path: Path, tiled: bool) -> None:
    blocks = {"tiled": True, "blockxsize": 128, "blockysize": 128} if tiled else {}
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(200, 300), **blocks)
    array = rioxarray.open_rasterio(scene)
    assert isinstance(array, xr.DataArray)
    config = decr.DecloudConfig(detector="threshold", bands="b,g,r,n")
    out = decr.declouds_array(array, config, restorer=same())
    np.testing.assert_array_equal(out.values, array.values)
    assert out.rio.transform() == array.rio.transform()
