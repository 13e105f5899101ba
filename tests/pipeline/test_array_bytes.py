"""Files of whole numbers that are read as floats: what white is stays known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling

import decr
from decr.geo.scene import open_scene
from decr.pipeline.range import radiometry_of
from decr.pipeline.stored_array import stored
from decr.radiometry import estimated
from decr.zoo.bundle import read_card, save_with_card
from decr.zoo.embedded import embedded_path
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


@pytest.mark.parametrize("resampling", [Resampling.cubic, Resampling.lanczos])
def test_resampling_that_overshoots_leaves_bytes(tmp_path: Path, resampling: Resampling) -> None:
    pixels = np.clip(cloudy_pixels(200, 300) // 7, 1, 255).astype("uint8")
    pixels[:, :20] = 0
    array = opened(write_scene(tmp_path / "s.tif", pixels, nodata=0), masked=True)
    finer = array.rio.reproject(array.rio.crs, resolution=0.4, resampling=resampling)
    assert finer.max() > 270
    assert found_range(finer, tmp_path) == ("dtype", 0, 255)


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
@pytest.mark.parametrize("declared", [None, 2047.0, 20000.0])
def test_the_same_clouds_are_found_in_16_bits_and_in_floats_of_them(
    tmp_path: Path, dtype: str, declared: float | None
) -> None:
    pixels = np.clip(cloudy_pixels(200, 300), 1, 1900).astype(dtype)
    pixels[:, :20] = 0
    path = write_scene(tmp_path / "s.tif", pixels, nodata=0)
    detector = "compact"
    if declared is not None:
        own, detector = embedded_path("embedded-detector"), str(tmp_path / "d.safetensors")
        card = replace(read_card(own), ranges={dtype: (0.0, declared)})
        save_with_card(own, Path(detector), card)
    config = decr.CcpConfig(detector=detector)
    plain, floats = (decr.ccp(opened(path, masked=masked), config) for masked in (False, True))
    assert floats.coverage == plain.coverage
    assert floats.facts["DN range"] == plain.facts["DN range"]
    assert ("model" in plain.facts["DN range"]) == (declared is not None)
    restored = [
        decr.declouds_array(
            opened(path, masked=masked), decr.DecloudConfig(detector=detector), restorer=darker()
        ).fillna(0)
        for masked in (False, True)
    ]
    assert np.abs(restored[1] - restored[0]).max() <= 0.5 + 1e-3


@given(st.sampled_from([8, 11, 16]), st.floats(0, 0.04), st.floats(0, 0.3))
@settings(max_examples=30, deadline=None)
def test_ranges_of_whole_numbers_hold_what_overshoots(bits: int, share: float, over: float) -> None:
    top = 2.0**bits - 1
    samples = np.linspace(0, top, 1000)[None]
    samples[:, : int(1000 * share)] = top * (1 + over)
    found = estimated(samples, "uint16")
    assert found.low[0] == 0
    assert top * 0.9 <= found.high[0] <= 65535


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
