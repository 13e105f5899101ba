"""Files of 8 bits that are read as floats: what white is stays known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import decr
from decr.geo.scene import open_scene
from decr.pipeline.range import radiometry_of
from decr.pipeline.stored_array import stored
from tests.pipeline.scenes import cloudy_pixels, darker, write_scene


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A scene of 8 bits, nowhere white, with rows that are missing."""
    pixels = (cloudy_pixels(200, 300) // 10).astype("uint8")
    pixels[:, :20] = 0
    return write_scene(tmp_path / "s.tif", pixels, nodata=0)


def opened(path: Path, **how: Any) -> xr.DataArray:
    array = rioxarray.open_rasterio(path, **how)
    assert isinstance(array, xr.DataArray)
    return array


def found_range(array: xr.DataArray, folder: Path) -> tuple[str, float, float]:
    found = radiometry_of(open_scene(stored(array, folder)), None, {})
    return found.source, found.low[0], found.high[0]


@pytest.mark.parametrize("detector", ["threshold", "compact"])
@pytest.mark.parametrize("how", [{"masked": True}, {"mask_and_scale": True}])
def test_the_same_clouds_are_found_in_bytes_and_in_floats_of_them(
    path: Path, detector: str, how: dict[str, bool]
) -> None:
    config = decr.CcpConfig(detector=detector)
    plain, floats = decr.ccp(opened(path), config), decr.ccp(opened(path, **how), config)
    assert floats.coverage == plain.coverage
    assert floats.facts["DN range"] == plain.facts["DN range"] == "0 to 255 (dtype)"
    masks = [decr.cloud_mask(opened(path, **more), config) for more in ({}, how)]
    np.testing.assert_array_equal(*masks)


def test_bytes_and_floats_of_them_are_restored_alike(path: Path) -> None:
    config = decr.DecloudConfig(detector="threshold")
    floats = opened(path, masked=True, chunks={"x": 90, "y": 70})
    plain = decr.declouds_array(opened(path), config, restorer=darker())
    clear = decr.declouds_array(floats, config, restorer=darker())
    assert clear.dtype == "float32"
    np.testing.assert_array_equal(clear.isnull(), floats.isnull())
    off = np.abs(clear.fillna(0) - plain)
    assert off.max() <= 0.5 + 1e-3  # bytes are these floats, rounded
    assert (plain != opened(path)).any()


def test_a_range_that_is_given_comes_before_that_of_bytes(path: Path) -> None:
    config = decr.CcpConfig(detector="threshold", dn_range=(0, 190))
    found = decr.ccp(opened(path, masked=True), config)
    assert found.facts["DN range"] == "0 to 190 (given)"


def test_what_was_made_of_bytes_is_bytes_no_more(path: Path, tmp_path: Path) -> None:
    array = opened(path, masked=True)
    bytes_range = ("dtype", 0, 255)
    assert found_range(array, tmp_path) == bytes_range
    assert found_range(array.copy(data=array.values * 0.99), tmp_path) == bytes_range  # resampled
    for other in (array / 255, array.copy(data=array / 255), array.copy(data=array * 2)):
        assert found_range(other, tmp_path)[0] == "estimated"
    assert found_range(array.copy(data=array - 30), tmp_path)[0] == "estimated"
    nothing = array.copy(data=np.full_like(array, np.nan))
    with rasterio.open(stored(nothing, tmp_path)) as written:
        assert "DECR_RANGE_DTYPE" not in written.tags()


def test_numbers_that_were_scaled_are_bytes_no_more(path: Path, tmp_path: Path) -> None:
    for scales in ((0.5,) * 4, (1.0, 0.5, 1.0, 1.0)):
        with rasterio.open(path, "r+") as file:
            file.scales = scales
        assert found_range(opened(path, mask_and_scale=True), tmp_path)[0] == "estimated"
    assert found_range(opened(path, masked=True), tmp_path) == ("dtype", 0, 255)  # not applied


@given(
    st.lists(st.one_of(st.integers(0, 255), st.none()), min_size=1, max_size=12).filter(any),
    st.sampled_from(["float32", "float64", ">f4"]),
    st.sampled_from(["uint8", np.uint8, np.dtype("uint8")]),
)
@settings(max_examples=40, deadline=None)
def test_whole_numbers_of_8_bits_are_bytes_whatever_is_missing(
    tmp_path_factory: pytest.TempPathFactory,
    numbers: list[int | None],
    dtype: str,
    kind: object,
) -> None:
    pixels = np.array([[[np.nan if n is None else n for n in numbers]]], dtype)
    array = xr.DataArray(pixels, dims=("band", "y", "x"))
    folder = tmp_path_factory.mktemp("bytes")
    assert found_range(array, folder)[0] == "estimated"
    array.encoding = {"dtype": kind}
    assert found_range(array, folder) == ("dtype", 0, 255)
