"""Byte rasters on a scene's grid: right place, right values, whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.rpc import RPC

from decr.errors import OutputError
from decr.geo.grid import PixelGrid, Window
from decr.geo.layers import Layer, layer_writer, rpcs_of
from decr.geo.scene import open_scene, overview_of
from tests.geo.scene_files import write

GRID = PixelGrid(700, 1100, Affine(0.5, 0, 500000, 0, -0.5, 4400000), CRS.from_epsg(32650))
LAYER = Layer(["cloudy", "thin"], 0.004, {"DEFINITION": "what it is"})


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 700, 1100)).astype(np.uint8)
    out = tmp_path / "mask.tif"
    with layer_writer(out, GRID, LAYER) as writer:
        for row in range(0, 700, 512):
            for col in range(0, 1100, 600):
                window = Window(row, col, min(512, 700 - row), min(600, 1100 - col))
                writer.write(window, pixels[(slice(None), *window.slices())])
        assert not out.exists()
    with rasterio.open(out) as file:
        np.testing.assert_array_equal(file.read(), pixels)
        assert (file.crs, file.transform) == (GRID.crs, GRID.transform)
        assert (file.nodata, file.dtypes) == (255, ("uint8", "uint8"))
        assert file.block_shapes[0] == (512, 512)
        assert file.compression.name.lower() == "deflate"
        assert file.descriptions == ("cloudy", "thin")
        assert file.scales == (0.004, 0.004)
        assert file.tags(ns="DECR")["DEFINITION"] == "what it is"
    assert list(tmp_path.iterdir()) == [out]


def test_rpcs_are_those_of_the_scene_or_of_its_overview(tmp_path: Path) -> None:
    scales = {f"{name}_scale": 200.0 for name in ("height", "lat", "line", "long", "samp")}
    offsets = {"height_off": 50.0, "lat_off": 39.7, "long_off": 117.0}
    lists = ("line_num_coeff", "line_den_coeff", "samp_num_coeff", "samp_den_coeff")
    coefficients = {name: [1.0] * 20 for name in lists}
    rpcs = RPC(line_off=200.0, samp_off=210.0, **offsets, **scales, **coefficients)
    profile = {"driver": "GTiff", "count": 1, "height": 400, "width": 420, "dtype": "uint8"}
    with rasterio.open(tmp_path / "scene.tif", "w", **profile) as file:
        file.write(np.ones((1, 400, 420), np.uint8))
        file.rpcs = rpcs
        file.build_overviews([4])
    scene = open_scene(tmp_path / "scene.tif", "p")
    assert rpcs_of(open_scene(write(tmp_path / "none.tif", np.ones((3, 9, 9), np.uint8)))) == {}
    for number, seen in enumerate((scene, overview_of(scene, 0))):
        out = tmp_path / f"mask{number}.tif"
        with layer_writer(out, seen.grid, replace(LAYER, rpcs=rpcs_of(seen))):
            pass
        with rasterio.open(out) as file:
            scale = file.height / 400
            assert file.rpcs.line_off == pytest.approx(200 * scale, abs=0.5)
            assert file.rpcs.samp_scale == pytest.approx(200 * scale)
            assert file.rpcs.lat_off == 39.7


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="cannot be written"),
        layer_writer(tmp_path / "mask.tif", GRID, LAYER) as writer,
    ):
        writer.write(Window(0, 0, 700, 2000), np.zeros((2, 700, 2000), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_ours_is_replaced_and_another_file_is_not(tmp_path: Path) -> None:
    out = tmp_path / "mask.tif"
    for _ in range(2):
        with layer_writer(out, GRID, LAYER):
            pass
    profile = {"driver": "GTiff", "count": 1, "height": 4, "width": 4, "dtype": "uint8"}
    for name in ("other.tif", "text.tif"):
        with rasterio.open(tmp_path / "other.tif", "w", **profile) as file:
            file.write(np.ones((1, 4, 4), np.uint8))
        (tmp_path / "text.tif").write_text("mine")
        before = (tmp_path / name).read_bytes()
        with (
            pytest.raises(OutputError, match="not made by decr"),
            layer_writer(tmp_path / name, GRID, LAYER),
        ):
            pass
        assert (tmp_path / name).read_bytes() == before


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="cannot be written"),
        layer_writer(tmp_path / "no" / "mask.tif", GRID, LAYER),
    ):
        pass


def test_a_grid_without_place_stays_without(tmp_path: Path) -> None:
    grid = PixelGrid(20, 30, Affine.identity())
    with layer_writer(tmp_path / "mask.tif", grid, LAYER) as writer:
        writer.write(grid.window, np.ones((2, 20, 30), np.uint8))
    with rasterio.open(tmp_path / "mask.tif") as file:
        assert file.crs is None
        assert file.transform.is_identity
        assert file.read().all()
