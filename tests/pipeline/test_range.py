"""The range of digital numbers of a scene: who says it, and what an estimate must not miss."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio

from decr.errors import DecrWarning
from decr.geo.grid import Window
from decr.geo.pieces import spread_windows
from decr.geo.scene import open_scene
from decr.pipeline.range import radiometry_of
from tests.pipeline.scenes import GRID, write_scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark ground with bright clouds that repeat, all of them between windows on a 12 x 12 grid."""
    side, cloud_px = 1500, 40
    step = (side - 64) // 11
    pixels = np.full((4, side, side), 300, np.uint16)
    for row in range(75, side - cloud_px, step):
        for col in range(75, side - cloud_px, step):
            pixels[:, row : row + cloud_px, col : col + cloud_px] = 1900
    return write_scene(tmp_path_factory.mktemp("range") / "s.tif", pixels)


def test_clouds_that_repeat_are_not_missed(scene: Path) -> None:
    found = radiometry_of(open_scene(str(scene)), None, {})
    assert found.source == "estimated"
    assert found.low[0] <= 300
    assert found.high[0] >= 1900


def test_the_user_comes_before_the_card_and_the_card_before_an_estimate(scene: Path) -> None:
    opened = open_scene(str(scene))
    given = radiometry_of(opened, (5, 50), {"uint16": (0.0, 1023.0)})
    assert (given.low, given.high, given.source) == ((5.0,) * 4, (50.0,) * 4, "given")
    declared = radiometry_of(opened, None, {"uint16": (0.0, 1023.0)})
    assert (declared.low[0], declared.high[0], declared.source) == (0.0, 1023.0, "model")


@pytest.mark.parametrize(
    ("given", "said"),
    [((0, 1), "100% .* range 0,1 .* from 300 to 1900"), ((5000, 9000), "100% "), ((0, 2047), None)],
)
def test_a_range_that_most_of_the_scene_lies_outside_of_is_told(
    scene: Path, given: tuple[float, float], said: str | None
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DecrWarning)
        assert radiometry_of(open_scene(str(scene)), given, {}).source == "given"
    told = [str(w.message) for w in caught if issubclass(w.category, DecrWarning)]
    assert len(told) == (said is not None)
    assert said is None or re.search(rf"s\.tif: {said}.*--range", told[0])


def test_one_small_cloud_in_a_wide_scene_is_not_missed(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(300, 700, (4, 2048, 3072)).astype(np.uint16)
    pixels[:, 1301:1361, 2001:2061] = 1900
    path = write_scene(tmp_path / "s.tif", pixels, tiled=True, blockxsize=512, blockysize=512)
    found = radiometry_of(open_scene(str(path)), None, {})
    # 0.06 % of the scene: not the whole way up to the cloud, but well above the ground.
    assert found.high[0] > 1000


def test_a_glint_does_not_darken_a_scene(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(300, 700, (4, 2048, 2048)).astype(np.uint16)
    pixels[:, 800, 800] = 60_000
    path = write_scene(tmp_path / "s.tif", pixels, tiled=True, blockxsize=512, blockysize=512)
    found = radiometry_of(open_scene(str(path)), None, {})
    assert found.high[0] < 1200


@pytest.mark.parametrize("block", [(512, 512), (256, 256), (2, 512)])
@pytest.mark.parametrize("side", [256, 512])
def test_clouds_at_the_top_of_a_small_scene_are_not_missed(
    tmp_path: Path, side: int, block: tuple[int, int]
) -> None:
    pixels = np.full((4, side, side), 300, np.uint16)
    pixels[:, : side // 2] = 1900
    blocks = {"tiled": block[0] > 2, "blockysize": block[0]}
    if block[0] > 2:
        blocks["blockxsize"] = block[1]
    path = write_scene(tmp_path / "s.tif", pixels, **blocks)
    found = radiometry_of(open_scene(str(path)), None, {})
    assert found.low[0] <= 300
    assert found.high[0] >= 1900


@pytest.mark.parametrize("seen", [False, True])
def test_the_little_that_a_nearly_empty_scene_holds_gives_its_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: bool
) -> None:
    height, width, block = 512, 200_000, 256
    looked_at = spread_windows(Window(0, 0, height, width), (block, block), 24)
    free = next(
        col for col in range(0, width, block)
        if all(abs(col - seen.col) > seen.width for seen in looked_at)
    )  # fmt: skip
    pixels = np.full((4, 64, 64), 300, np.uint16)
    pixels[:, ::8, ::16] = 1900
    path = tmp_path / "s.tif"
    profile = {"driver": "GTiff", "count": 4, "height": height, "width": width, "dtype": "uint16"}
    profile |= {"tiled": True, "blockxsize": block, "blockysize": block, "SPARSE_OK": True}
    with rasterio.open(path, "w", nodata=0, crs="EPSG:32650", transform=GRID, **profile) as file:
        file.write(pixels, window=((64, 128), (free, free + 64)))
        if seen:  # ground alone
            col = looked_at[3].col
            file.write(np.full((4, 32, 32), 300, np.uint16), window=((0, 32), (col, col + 32)))
        file.descriptions = ("blue", "green", "red", "nir")
    monkeypatch.setattr("decr.pipeline.range._LONG_PX", height * width - 1)
    with pytest.warns(DecrWarning, match="nodata nearly everywhere.* --range LOW,HIGH"):
        found = radiometry_of(open_scene(str(path)), None, {})
    assert found.low[0] <= 300
    assert found.high[0] >= 1900
