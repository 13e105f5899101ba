"""A model that changes nothing must give back the very pixels, whatever the scene."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from decr.config import DecloudConfig
from decr.errors import SceneError
from decr.pipeline.declouds import declouds
from tests.pipeline.scenes import read, same, write_scene

DTYPES = ("uint8", "uint16", "int16", "float32", "float64")


def _pixels(rng: np.random.Generator, dtype: str, height: int, width: int) -> np.ndarray:
    if dtype.startswith("float"):
        return rng.normal(0.2, 0.5, (4, height, width)).astype(dtype)
    limits = np.iinfo(dtype)
    # 11 bits in 16, as the product's own scenes have, or the whole type.
    high = 2047 if dtype != "uint8" and rng.random() < 0.5 else limits.max
    low = limits.min if rng.random() < 0.5 else 0
    return rng.integers(low, high, (4, height, width), endpoint=True).astype(dtype)


@st.composite
def scenes(draw: st.DrawFn) -> dict[str, Any]:
    tile = draw(st.sampled_from([32, 48, 64, 128, 256]))
    side = st.one_of(st.integers(1, 40), st.integers(41, 400))
    return {
        "dtype": draw(st.sampled_from(DTYPES)),
        "height": draw(side),
        "width": draw(side),
        "tile": tile,
        "overlap": draw(st.integers(0, tile // 2)),
        "missing": draw(st.sampled_from(["none", "nodata", "nan", "mask", "alpha"])),
        "seed": draw(st.integers(0, 2**31)),
        "batch": draw(st.integers(1, 5)),
    }


def check_identity(folder: Path, case: dict[str, Any]) -> None:
    rng = np.random.default_rng(case["seed"])
    height, width, dtype = case["height"], case["width"], case["dtype"]
    pixels = _pixels(rng, dtype, height, width)
    missing = case["missing"] if height * width > 1 else "none"
    if missing == "nan" and not dtype.startswith("float"):
        missing = "nodata"
    hole = rng.random((height, width)) < 0.3
    hole[0, 0], hole[-1, -1] = False, True
    names = ["blue", "green", "red", "nir"]
    nodata = None
    if missing == "nodata":
        nodata = 0 if dtype != "int16" else -32768
        pixels[pixels == nodata] = 1
        pixels[:, hole] = nodata
    elif missing == "nan":
        nodata = np.nan
        pixels[:, hole] = np.nan
    elif missing == "alpha":
        top = 1 if dtype.startswith("float") else np.iinfo(dtype).max
        pixels = np.concatenate([pixels, np.where(hole, 0, top)[None].astype(dtype)])
        names.append("alpha")
    path, out = folder / "in.tif", folder / "out.tif"
    write_scene(path, pixels, names=names, nodata=nodata)
    if missing == "alpha":
        with rasterio.open(path, "r+") as file:
            kinds = list(file.colorinterp)
            kinds[-1] = rasterio.enums.ColorInterp.alpha
            file.colorinterp = kinds
    if missing == "mask":
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
            file.write_mask(~hole)
    config = DecloudConfig(
        detector="threshold",
        full=True,
        tile_px=case["tile"],
        overlap_px=case["overlap"],
        batch=case["batch"],
    )
    result = declouds(path, out, config, restorer=same())
    assert result.changed_px == 0
    np.testing.assert_array_equal(read(out), read(path))
    with rasterio.open(path) as a, rasterio.open(out) as b:
        np.testing.assert_array_equal(a.dataset_mask(), b.dataset_mask())
        assert a.dtypes == b.dtypes
        assert a.transform == b.transform


@given(case=scenes())
@settings(max_examples=40, deadline=None)
def test_identity_for_any_scene(case: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder:
        check_identity(Path(folder), case)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 1000), (1000, 1), (999, 257)])
def test_identity_at_extreme_sizes(tmp_path: Path, height: int, width: int) -> None:
    check_identity(
        tmp_path,
        {
            "dtype": "uint16",
            "height": height,
            "width": width,
            "tile": 256,
            "overlap": 64,
            "missing": "nodata",
            "seed": 3,
            "batch": 4,
        },
    )


@given(
    pixels=hnp.arrays("float32", (3, 20, 33), elements=st.floats(-(2.0**100), 2.0**100, width=32)),
)
@settings(max_examples=15, deadline=None)
def test_identity_for_any_float(pixels: np.ndarray) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_scene(folder / "in.tif", pixels, names=["red", "green", "blue"])
        config = DecloudConfig(detector="threshold", full=True, tile_px=32, overlap_px=8)
        declouds(
            folder / "in.tif", folder / "out.tif", config, restorer=same(("red", "green", "blue"))
        )
        np.testing.assert_array_equal(read(folder / "out.tif"), pixels)


def test_all_nodata_is_one_clear_error(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "in.tif", np.zeros((4, 50, 60), "uint16"), nodata=0)
    with pytest.raises(SceneError, match="nodata"):
        declouds(path, tmp_path / "out.tif", DecloudConfig(detector="threshold"), restorer=same())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tif"]
