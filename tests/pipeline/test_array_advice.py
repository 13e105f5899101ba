"""Advice on what is no array (band, y, x): followed, it makes the scene that it was."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import rioxarray
import xarray as xr

import decr
from decr.errors import BandError
from decr.geo.scene import open_scene
from decr.pipeline.stored_array import stored
from tests.pipeline.scenes import cloudy_pixels, darker, write_scene

NAMES = ("blue", "green", "red", "nir")
CONFIG = decr.CcpConfig(detector="threshold")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A scene of 8 bits, nowhere white, with rows that are missing."""
    pixels = (cloudy_pixels(90, 120) // 10).astype("uint8")
    pixels[:, :20] = 0
    return write_scene(tmp_path / "s.tif", pixels, nodata=0)


def followed(given: Any, rounds: int = 3) -> xr.DataArray:
    """What becomes of something by the code that calls advise."""
    for _ in range(rounds):
        with pytest.raises(BandError) as caught:
            decr.ccp(given, CONFIG)
        assert len(str(caught.value)) < 400
        code = re.search(
            r"; give (?:one .*?: )?(.*?)(?:, and name its bands.*)?$", str(caught.value)
        )
        assert code is not None
        names = dict.fromkeys(("dataset", "array", "arrays", "pixels"), given)
        given = eval(code[1], {"xarray": xr, "numpy": np, **names})
        if isinstance(given, xr.DataArray) and given.ndim == 3 and given.dims[0] == "band":
            return given
    raise AssertionError("advice without end")


def parts(array: xr.DataArray) -> xr.Dataset:
    """A dataset of its bands, as rioxarray makes it by ``band_as_variable``."""
    bands = {
        name: array.isel(band=n, drop=True).assign_attrs(long_name=name)
        for n, name in enumerate(NAMES)
    }
    return xr.Dataset(bands)


def with_flags(array: xr.DataArray) -> xr.Dataset:
    flags = xr.zeros_like(array[0], "uint8").drop_attrs(deep=False).drop_encoding()
    return xr.Dataset({"flags": flags.drop_vars("band"), **parts(array)})


def dated(array: xr.DataArray) -> xr.Dataset:
    return parts(array).expand_dims(time=np.array(["2023-01-01", "2023-02-01"], "datetime64[ns]"))


OTHERS: dict[str, Callable[[xr.DataArray], Any]] = {
    "bands": parts,
    "numbered bands": lambda array: parts(array).rename(dict(zip(NAMES, "jklm", strict=True))),
    "bands of NetCDF": lambda array: parts(array).reset_coords("spatial_ref"),
    "one of NetCDF": lambda array: array.to_dataset(name="a").reset_coords("spatial_ref"),
    "one": lambda array: array.to_dataset(name="a"),
    "flags first": with_flags,
    "dates": dated,
    "bands of one each": lambda array: xr.Dataset(
        {name: array[n : n + 1].drop_vars("band") for n, name in enumerate(NAMES)}
    ),
    "stack": lambda array: array.expand_dims("time"),
    "list": lambda array: [array[n : n + 1] for n in range(4)],
}


@pytest.mark.parametrize("how", [{}, {"masked": True}])
@pytest.mark.parametrize("other", OTHERS)
def test_advice_keeps_grid_nodata_names_and_range(
    path: Path, other: str, how: dict[str, bool]
) -> None:
    plain, array = decr.ccp(path, CONFIG), rioxarray.open_rasterio(path, **how)
    assert isinstance(array, xr.DataArray)
    made = followed(OTHERS[other](array))
    found = decr.ccp(made, CONFIG)
    assert open_scene(stored(made, path.parent)).bands.roles[:4] == NAMES
    assert found.coverage == plain.coverage
    assert found.coverage.valid_px == 70 * 120
    assert found.facts["DN range"] == plain.facts["DN range"] == "0 to 255 (dtype)"
    assert made.rio.crs == array.rio.crs
    assert made.rio.transform() == array.rio.transform()


@pytest.mark.parametrize("how", [{}, {"masked": True}])
def test_advice_on_one_band_keeps_nodata_and_range(path: Path, how: dict[str, bool]) -> None:
    array = rioxarray.open_rasterio(path, **how)
    assert isinstance(array, xr.DataArray)
    config = decr.CcpConfig(detector="threshold", bands="p")
    plain = decr.ccp(array[:1], config)
    date = xr.DataArray(np.datetime64("2023-01-01", "ns"))
    for other in (
        array[0],
        array[0].assign_coords(time=date).expand_dims("time"),
        array[0].to_dataset(name="a"),
    ):
        found = decr.ccp(followed(other), config)
        assert found.coverage == plain.coverage
        assert found.facts["DN range"] == plain.facts["DN range"] == "0 to 255 (dtype)"


def test_pixels_without_data_stay_where_advice_is_followed(path: Path) -> None:
    dataset = rioxarray.open_rasterio(path, band_as_variable=True)
    array, config = followed(dataset), decr.DecloudConfig(detector="threshold")
    clear = decr.declouds_array(array, config, restorer=darker())
    assert (clear != array).any()
    assert not (clear != array)[:, :20].any()


@pytest.mark.parametrize(
    "other",
    [
        lambda pixels: pixels,
        lambda pixels: np.moveaxis(pixels, 0, -1),
        lambda pixels: pixels[None],
        lambda pixels: pixels[None, None],
        dask.array.from_array,
        list,
        lambda pixels: np.ma.masked_less(pixels, 0),
    ],
)
def test_pixels_alone_become_the_array_that_they_were(other: Callable[[Any], Any]) -> None:
    pixels = cloudy_pixels(50, 60)
    made = followed(other(pixels))
    assert made.shape == (4, 50, 60)
    np.testing.assert_array_equal(made, pixels)
    one = followed(pixels[0])
    np.testing.assert_array_equal(one, pixels[:1])
    assert decr.ccp(one, CONFIG).coverage.valid_px == 3000


@pytest.mark.parametrize("given", [xr.Dataset(), xr.Dataset({"a": 1}), np.zeros(3), [], [1, 2]])
def test_what_holds_no_image_has_no_advice(given: Any) -> None:
    with pytest.raises(BandError, match=r"wanted a DataArray .*'>$"):
        decr.ccp(given, CONFIG)


def test_what_is_said_of_hundreds_of_bands_is_short() -> None:
    array = xr.DataArray(np.ones((500, 60, 3), "uint8"), dims=("band", "y", "x"))
    for bands in (None, "r,g,b"):
        with pytest.raises(BandError, match=r'example bands="b,g,r,n,-,\.\.\."') as caught:
            decr.ccp(array, decr.CcpConfig(bands=bands))
        assert len(str(caught.value)) < 600
