"""Levels of clear ground: what plots say, how far tiles move, and what whole runs make of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from decr.config import DecloudConfig
from decr.geo.grid import Window
from decr.pipeline.declouds import declouds
from decr.pipeline.ground import Ground, shift_towards
from decr.predictor import Restorer
from tests.pipeline.scenes import write_scene

TILE = Window(256, 256, 256, 256)


def plots(level: float, spread: float = 0.05, share: float = 1.0, seed: int = 0) -> Ground:
    """12 x 12 plots of 64 px, two bands alike, of a level and a spread about it."""
    rng = np.random.default_rng(seed)
    found = np.full((3, 12, 12), level, np.float32)
    found[:2] += rng.normal(0, spread, (12, 12)).astype(np.float32)
    found[2] = share
    return Ground(64, found)


def shifted(ground: Ground, level: float, depth: float = 1.0) -> float:
    """By how much a tile moves whose model made it of one level, half of it by changing it."""
    half = np.full((2, 16, 16), level / 2, np.float32)
    shift = shift_towards(ground, TILE, half, half, np.full((16, 16), depth, np.float32))
    assert shift.shape == (2, 16, 16)
    assert np.ptp(shift) < 1e-12
    return float(shift[0, 0, 0])


def test_a_level_that_no_ground_has_is_drawn_to_it() -> None:
    assert -0.25 < shifted(plots(-0.5), -0.25) < -0.15


def test_a_level_beyond_all_guessing_may_be_other_ground() -> None:
    assert abs(shifted(plots(-0.5), 0.5)) < 0.25


def test_a_level_such_as_ground_has_is_hardly_moved() -> None:
    ground = plots(-0.5, 0.2)
    mean, variance = ground.around(TILE) or (np.zeros(2), np.zeros(2))
    near = float(mean[0] + 0.5 * np.sqrt(variance[0]))
    assert abs(shifted(ground, near)) < 0.2 * abs(near - mean[0])


@given(st.floats(-0.9, 0.9), st.floats(-0.9, 0.9), st.floats(0.0, 0.5), st.floats(0.0, 1.0))
@settings(max_examples=60, deadline=None)
def test_a_tile_moves_towards_the_ground_and_never_past_it(
    level: float, made: float, spread: float, share: float
) -> None:
    ground = plots(level, spread, share)
    around = ground.around(TILE)
    if around is None:
        assert shifted(ground, made) == 0.0
        return
    way = float(around[0][0]) - made
    shift = shifted(ground, made)
    assert abs(shift) <= abs(way) + 1e-6
    assert shift * way >= -1e-12


def test_ground_that_differs_much_counts_less() -> None:
    assert abs(shifted(plots(0.0, 0.4), 0.3)) < 0.5 * abs(shifted(plots(0.0, 0.02), 0.3))


def test_nothing_moves_outside_clouds_or_without_ground() -> None:
    assert shifted(plots(-0.5), 0.5, depth=0.0) == 0.0
    assert shifted(plots(-0.5, share=0.0), 0.5) == 0.0
    one = plots(-0.5, share=0.0)
    one.levels[2, 5, 5] = 1.0  # a single plot tells nothing of how far plots differ
    assert shifted(one, 0.5) == 0.0


def test_a_tile_that_the_model_left_as_it_was_stays() -> None:
    bright, none = np.full((2, 16, 16), 0.9, np.float32), np.zeros((2, 16, 16), np.float32)
    deep = np.ones((16, 16), np.float32)
    assert not shift_towards(plots(-0.5), TILE, bright, none, deep).any()


def test_near_ground_counts_more() -> None:
    ground = plots(0.0, 0.0)
    ground.levels[:2, :, :6] = -0.4
    left, right = (ground.around(Window(256, col, 256, 256)) for col in (0, 512))
    assert left is not None
    assert right is not None
    assert left[0][0] < -0.25
    assert right[0][0] > -0.15


def grey(value: float) -> Restorer:
    """A model that makes every pixel of one level, whatever it is shown."""
    return Restorer(
        "grey", "0", ("red", "nir"), None, {}, {}, lambda tiles, corners: np.full_like(tiles, value)
    )


def scene(folder: Path, side: int = 1000) -> tuple[Path, Path]:
    """Ground of DN 200 +- 10 with a cloud of DN 900 in its middle, and the cloud's mask."""
    rng = np.random.default_rng(4)
    pixels = rng.normal(200, 10, (2, side, side))
    mask = np.zeros((1, side, side), np.uint8)
    mask[:, 300:700, 300:700] = 1
    pixels[:, mask[0] > 0] = 900
    cloudy = write_scene(folder / "s.tif", pixels.astype(np.uint16), names=("red", "nir"))
    return cloudy, write_scene(folder / "m.tif", mask, names=None)


def run(folder: Path, out: str, **options: object) -> np.ndarray:
    cloudy, mask = folder / "s.tif", folder / "m.tif"
    config = DecloudConfig(dn_range=(0, 1000), cloud_mask=mask, tile_px=128, overlap_px=32)
    declouds(cloudy, folder / out, replace(config, **options), restorer=grey(-0.3), overwrite=True)  # type: ignore[arg-type]
    with rasterio.open(folder / out) as file:
        found: np.ndarray = file.read(1)
    return found


def test_a_guess_under_a_wide_cloud_becomes_the_level_of_the_ground(tmp_path: Path) -> None:
    scene(tmp_path)
    without, ground = run(tmp_path, "a.tif", ground=False), run(tmp_path, "b.tif")
    inner = np.s_[400:600, 400:600]
    assert np.all(without[inner] == 350)
    assert 195 < ground[inner].mean() < 270
    untouched = np.ones(ground.shape, bool)
    untouched[200:800, 200:800] = False
    assert np.array_equal(ground[untouched], without[untouched])
    with rasterio.open(tmp_path / "b.tif") as file:
        assert file.tags(ns="DECR")["GROUND"] == "clear ground nearby, if any"
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.tags(ns="DECR")["GROUND"] == "not used"


def test_an_area_changes_no_pixel_in_it(tmp_path: Path) -> None:
    scene(tmp_path)
    aoi = tmp_path / "a.geojson"
    with rasterio.open(tmp_path / "s.tif") as file:
        west, north = file.xy(350, 350, offset="ul")
        east, south = file.xy(560, 500, offset="ul")
        crs = file.crs.to_string()
    ring = [[west, north], [east, north], [east, south], [west, south], [west, north]]
    area = {"type": "Polygon", "coordinates": [ring]}
    aoi.write_text(json.dumps(area | {"crs": {"type": "name", "properties": {"name": crs}}}))
    whole, part = run(tmp_path, "w.tif"), run(tmp_path, "p.tif", aoi=aoi)
    assert np.array_equal(whole[350:560, 350:500], part[350:560, 350:500])
    assert part[600, 600] == 900


def test_coarse_work_uses_ground_too(tmp_path: Path) -> None:
    scene(tmp_path)
    model = replace(grey(-0.3), gsd_m=1.0)
    config = DecloudConfig(
        dn_range=(0, 1000), cloud_mask=tmp_path / "m.tif", tile_px=64, overlap_px=16, gsd="model"
    )
    declouds(tmp_path / "s.tif", tmp_path / "c.tif", config, restorer=model)
    with rasterio.open(tmp_path / "c.tif") as file:
        assert 195 < file.read(1)[400:600, 400:600].mean() < 270
