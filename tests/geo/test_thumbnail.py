"""Thumbnails of scenes: the pixels that GDAL would pick, each block of the file decoded once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling

from decr.geo import pieces
from decr.geo.reader import reader
from decr.geo.scene import open_scene
from tests.geo.scene_files import coded, write

LAYOUTS = {
    "tiles": {"tiled": True, "blockxsize": 32, "blockysize": 16},
    "strips": {"blockysize": 3},
    "one strip": {"blockysize": 203},
    "tiles by band": {"tiled": True, "blockxsize": 64, "blockysize": 64, "interleave": "band"},
}


@pytest.mark.parametrize("side", [1, 7, 50, 171, 400])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_pixels_and_masks_are_those_that_gdal_picks(
    tmp_path: Path, layout: str, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small pieces, so that several make up a block or a row of blocks.
    monkeypatch.setattr(pieces, "_BYTES", 20_000)
    array = coded(4, 203, 171)
    array[:, 40:90, 20:100] = 0
    path = write(tmp_path / "a.tif", array, nodata=0, compress="deflate", **LAYOUTS[layout])
    scene = open_scene(path)
    with reader(scene) as source:
        dn, valid = source.thumbnail(side, [2, 0])
    shape = scene.grid.shrunk_to(side)
    with rasterio.open(path) as file:
        wanted = file.read([3, 1], out_shape=(2, *shape))
        masks = file.read_masks([3, 1], out_shape=(2, *shape))
    np.testing.assert_array_equal(dn, wanted)
    np.testing.assert_array_equal(valid, (masks != 0).all(axis=0))


def test_no_pixel_is_off_by_rounding(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", coded(4, 26, 30))
    for side in range(1, 31):
        with reader(open_scene(path)) as source:
            dn, _ = source.thumbnail(side, [0])
            rows, cols = source.scene.grid.picked(side)
        with rasterio.open(path) as file:
            np.testing.assert_array_equal(dn, file.read([1], out_shape=dn.shape))
            np.testing.assert_array_equal(dn[0], file.read(1)[np.ix_(rows, cols)])


def test_a_mask_inside_the_file_counts(tmp_path: Path) -> None:
    mask = np.full((80, 90), 255, np.uint8)
    mask[20:60, 30:] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write(tmp_path / "a.tif", coded(4, 80, 90), mask=mask)
    with reader(open_scene(path)) as source:
        _, valid = source.thumbnail(90, [0])
    np.testing.assert_array_equal(valid, mask != 0)


class Counting:
    """A dataset that adds up the pixels it is asked for."""

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.pixels = dataset, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dataset, name)

    def read(self, indexes: list[int], window: Any) -> Any:
        self.pixels += window.width * window.height
        return self.dataset.read(indexes, window=window)


def test_no_pixel_is_read_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "_BYTES", 40_000)
    path = write(tmp_path / "a.tif", coded(4, 300, 200), **LAYOUTS["tiles"])
    with reader(open_scene(path)) as source:
        counting = Counting(source._dataset)
        monkeypatch.setattr(source, "_dataset", counting)
        source.thumbnail(100, [0, 1, 2])
    assert 0 < counting.pixels <= 300 * 200


def test_overviews_are_used_where_there_are_some(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", coded(4, 256, 256), **LAYOUTS["tiles"])
    with rasterio.open(path, "r+") as file:
        file.build_overviews([4], Resampling.average)
    with reader(open_scene(path)) as source:
        dn, _ = source.thumbnail(64, [1])
    with rasterio.open(path, overview_level=0) as file:
        np.testing.assert_array_equal(dn[0], file.read(2))
