"""Cloud coverage of scenes: exact counts, the same for any window, and rasters that agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.shutil import copy as gdal_copy
from scipy import ndimage

import decr
from decr.cloud.coverage import Coverage
from decr.config import CcpConfig, DecloudConfig
from decr.coverage import ccp as coverage_ccp
from decr.coverage import cells as coverage_cells
from decr.coverage import count as coverage_count
from decr.coverage.ccp import looking, scene_ccp
from decr.coverage.report_files import as_json
from decr.coverage.sources import Source
from decr.errors import BandError, ConfigError, DecrWarning, OutputError, SceneError
from decr.files import sole_worker
from decr.geo.grid import Window
from decr.geo.quicklook import NO_DATA_GREY
from decr.pipeline import survey as pipeline_survey
from decr.pipeline.engine import local_engine
from decr.pipeline.first_pass import plan_scene
from tests.coverage.looked_at import found
from tests.pipeline.scenes import cloudy_pixels, read, write_scene

NODATA = 0


def masked_scene(
    folder: Path, height: int, width: int, seed: int = 0
) -> tuple[Path, Path, NDArray[np.uint8], NDArray[np.bool_]]:
    """A scene with holes, a mask of classes 0, 64, 192 (thin), 255, and both as arrays."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1, 900, (4, height, width)).astype("uint16")
    valid = ndimage.gaussian_filter(rng.random((height, width)), 3) < 0.52
    pixels[:, ~valid] = NODATA
    noise = ndimage.gaussian_filter(rng.random((height, width)), 4)
    bins = np.quantile(noise, (0.4, 0.6, 0.8))
    classes = np.array([0, 64, 192, 255], np.uint8)[np.digitize(noise, bins)]
    scene = write_scene(folder / "s.tif", pixels, nodata=NODATA)
    mask = write_scene(folder / "m.tif", classes[None], names=None)
    return scene, mask, classes, valid


def test_rasters_on_disk_do_not_stay_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, mask, _, _ = masked_scene(tmp_path, 1300, 700)
    gone: list[tuple[str, NDArray[np.uint8]]] = []
    for module in (pipeline_survey, coverage_cells):
        name = module.__name__.rsplit(".", 1)[-1]
        monkeypatch.setattr(module, "let_go", lambda a, name=name: gone.append((name, a)))
    found(
        scene, tmp_path / "out", detector=f"file:{mask}", cloudy=(192, 255), thin=(192,),
        min_object_m2=4.0,
    )  # fmt: skip
    # After each block of the survey, and each window that is counted, every raster there is.
    files = {"survey": 2, "cells": 3}
    for name, count in files.items():
        rasters = [id(raster) for module, raster in gone if module == name]
        assert len(set(rasters)) == count, (name, rasters)
        assert len(rasters) >= 2 * count, (name, rasters)
    assert all(isinstance(raster, np.memmap) for _, raster in gone)
    assert not list(tmp_path.rglob("*.npy"))


@pytest.mark.parametrize(("least", "kept"), [(160.0, 10), (161.0, 0)])
def test_small_clouds_are_told_by_the_area_of_oblong_pixels(
    tmp_path: Path, least: float, kept: int
) -> None:
    oblong = Affine(8, 0, 500_000, 0, -2, 4_000_000)
    scene = write_scene(tmp_path / "s.tif", np.full((4, 64, 80), 100, "uint8"), transform=oblong)
    cloud = np.zeros((1, 64, 80), "uint8")
    cloud[0, 10:12, 20:25] = 1  # 10 pixels of 16 square metres
    mask = write_scene(tmp_path / "m.tif", cloud, names=None, transform=oblong)
    got = found(scene, detector=f"file:{mask}", min_object_m2=least)
    assert got.coverage.cloudy_px == kept


@pytest.mark.parametrize(("height", "width", "tile_px"), [(300, 700, 128), (77, 600, 512)])
def test_a_mask_gives_exact_counts(tmp_path: Path, height: int, width: int, tile_px: int) -> None:
    scene, mask, classes, valid = masked_scene(tmp_path, height, width)
    got = found(
        scene, tmp_path / "out", detector=f"file:{mask}", cloudy=(192, 255), thin=(192,),
        tile_px=tile_px,
    )  # fmt: skip
    cloudy, thin = (classes >= 192) & valid, (classes == 192) & valid
    assert got.coverage == Coverage(int(cloudy.sum()), int(valid.sum()), int(thin.sum()))
    assert got.ccp == cloudy.sum() / valid.sum()
    total = Coverage(thin_px=0)
    for window, counts in got.tiles.windows(got.grid):
        cut = window.slices()
        own = int(cloudy[cut].sum()), int(valid[cut].sum()), int(thin[cut].sum())
        assert counts == Coverage(*own)
        total += counts
    assert total == got.coverage
    written = read(tmp_path / "out" / "scene_mask.tif")
    np.testing.assert_array_equal(written[0], np.where(valid, cloudy, 255))
    np.testing.assert_array_equal(written[1], np.where(valid, thin, 255))
    probability = read(tmp_path / "out" / "scene_probability.tif")[0]
    np.testing.assert_array_equal(probability, np.where(valid, 250 * cloudy, 255))


@settings(
    max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 50), st.integers(0, 9))
def test_scene_is_the_sum_of_its_tiles(
    tmp_path: Path, height: int, width: int, tile_px: int, seed: int
) -> None:
    scene, mask, classes, valid = masked_scene(tmp_path, height, width, seed)
    if not valid.any():
        with pytest.raises(SceneError, match="nodata"):
            found(scene, detector=f"file:{mask}", tile_px=tile_px)
        return
    got = found(scene, detector=f"file:{mask}", tile_px=tile_px)
    parts = [counts for _, counts in got.tiles.windows(got.grid)]
    assert sum(part.cloudy_px for part in parts) == ((classes > 0) & valid).sum()
    assert sum(part.valid_px for part in parts) == valid.sum()


def test_windows_and_order_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, mask, *_ = masked_scene(tmp_path, 400, 900)
    options: dict[str, Any] = {
        "detector": f"file:{mask}", "cloudy": (192, 255), "thin": (192,), "margin_m": 4.0,
        "feather_m": 5.0, "min_object_m2": 60.0, "tile_px": 100,
    }  # fmt: skip
    whole = found(scene, tmp_path / "a", 64, **options)
    pieces = [Window(r, c, min(130, 400 - r), min(170, 900 - c))
              for r in range(0, 400, 130) for c in range(0, 900, 170)]  # fmt: skip
    monkeypatch.setattr(coverage_ccp, "_chunks", lambda grid: pieces[::-1])
    monkeypatch.setattr("decr.coverage.cells._STRIP_CELLS", 7 * 900)
    cut = found(scene, tmp_path / "b", 64, **options)
    assert cut.coverage == whole.coverage
    np.testing.assert_array_equal(cut.tiles.cloudy, whole.tiles.cloudy)
    np.testing.assert_array_equal(cut.overlay, whole.overlay)
    for name in ("mask", "probability", "weight"):
        one, other = (read(tmp_path / side / f"scene_{name}.tif") for side in "ab")
        np.testing.assert_array_equal(one, other)


def test_small_clouds_are_left_out_and_others_grow(tmp_path: Path) -> None:
    scene, mask, classes, valid = masked_scene(tmp_path, 200, 260, 3)
    got = found(
        scene, tmp_path / "o", detector=f"file:{mask}", min_object_m2=50.0, margin_m=3.0,
        feather_m=4.0,
    )  # fmt: skip
    # Cells of the survey are cloudy where they are valid: what is missing is no cloud.
    labels, _ = ndimage.label((classes > 0) & valid, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    assert (sizes[1:] < 200).any()  # 50 m2 at 0.5 m
    distance = ndimage.distance_transform_edt(sizes[labels] < 200)
    cloudy = (distance <= 6) & valid
    assert got.coverage == Coverage(int(cloudy.sum()), int(valid.sum()))
    weight = read(tmp_path / "o" / "scene_weight.tif")[0]
    wanted = np.rint(250 * np.clip((14 - distance) / 8, 0, 1))
    np.testing.assert_array_equal(weight, np.where(valid, wanted, 255))
    assert "50 m2" in got.facts["definition"]
    assert "3 m" in got.facts["definition"]


@pytest.mark.parametrize("detector", ["threshold", "compact"])
def test_coverage_is_what_declouds_and_plan_say(tmp_path: Path, detector: str) -> None:
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(600, 500))
    got = found(scene, tmp_path / "o", detector=detector)
    plan = plan_scene(str(scene), DecloudConfig(detector=detector))
    assert got.ccp == plan.ccp
    assert 0.05 < got.ccp < 0.3
    mask = read(tmp_path / "o" / "scene_mask.tif")
    assert mask.shape == (1, 600, 500)
    assert int((mask == 1).sum()) == got.coverage.cloudy_px
    probability = read(tmp_path / "o" / "scene_probability.tif")
    np.testing.assert_array_equal(probability >= 125, mask == 1)
    with rasterio.open(tmp_path / "o" / "scene_mask.tif") as file, rasterio.open(scene) as source:
        assert (file.crs, file.transform) == (source.crs, source.transform)
        tags = file.tags(ns="DECR")
    assert tags["POLARITY"].startswith("1 = all cloud")
    assert "valid pixels" in tags["DENOMINATOR"]
    assert tags["DEFINITION"] == got.facts["definition"]


def test_counts_of_several_scenes_are_in_pixels_of_their_files(tmp_path: Path) -> None:
    """Also where an overview does not divide the file: its pixels are not whole blocks of it."""
    one = write_scene(tmp_path / "one.tif", cloudy_pixels(1001, 1003))
    other = write_scene(tmp_path / "other.tif", cloudy_pixels(1024, 1280))
    with rasterio.open(one, "r+") as file:
        file.build_overviews([2, 4, 8], Resampling.average)
    fast = found(one, detector="threshold", fast=True)
    assert fast.coverage.valid_px == 126 * 126
    assert as_json([fast])["groups"]["all"]["valid_px"] == 126 * 126
    together = as_json([fast, found(other, detector="threshold")])
    assert together["groups"]["all"]["valid_px"] == 1001 * 1003 + 1024 * 1280
    assert together["groups_are_in"].startswith("pixels of the files")


@pytest.mark.parametrize("scene", [np.zeros((3, 8, 8)), xr.Dataset(), None])
def test_what_is_no_scene_is_told(scene: Any) -> None:
    with pytest.raises(BandError, match="wanted a DataArray"):
        decr.ccp(scene)


def test_too_many_tiles_are_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coverage_count, "MOST_TILES", 100)
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(90, 90))
    message = r"s\.tif: --tile 3 makes 900 tiles, more than 100; give --tile 12$"
    with pytest.raises(ConfigError, match=message):
        found(scene, tmp_path / "o", detector="threshold", tile_px=3)
    assert not (tmp_path / "o").exists()
    assert len(found(scene, detector="threshold", tile_px=12).tiles.rows) == 8


def test_what_a_killed_run_left_is_cleared_and_a_run_beside_is_not_broken(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(300, 300))
    out = tmp_path / "out"
    work = out / ".scene.decr-ccp"
    work.mkdir(parents=True)
    (work / "clouds.npy").write_text("of a run that was killed")
    with sole_worker(work, out), pytest.raises(OutputError, match="another decr is writing"):
        found(scene, out, detector="threshold")
    assert (work / "clouds.npy").exists()
    found(scene, out, detector="threshold")
    assert {f.name for f in out.iterdir()} == {"scene_mask.tif", "scene_probability.tif"}


def test_quicklook_and_overlay_show_the_same_ground(tmp_path: Path) -> None:
    scene, mask, classes, valid = masked_scene(tmp_path, 300, 600)
    got = found(scene, px=150, detector=f"file:{mask}", cloudy=(192, 255), thin=(192,))
    assert got.quicklook is not None
    assert got.overlay is not None
    assert got.quicklook.shape == (75, 150, 3)
    assert got.overlay.shape == (75, 150)
    at = np.ix_(np.arange(75) * 4 + 2, np.arange(150) * 4 + 2)
    wanted = np.select([~valid, classes == 192, classes == 255], [2, 3, 1], 0)
    np.testing.assert_array_equal(got.overlay, wanted[at])
    assert (got.quicklook[got.overlay == 2] == NO_DATA_GREY).mean() > 0.95


@pytest.mark.parametrize("option", ["min_object_m2", "margin_m", "feather_m"])
def test_metres_need_a_pixel_size(tmp_path: Path, option: str) -> None:
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(90, 90), transform=None, crs=None)
    named = pytest.raises(ConfigError, match=r"s\.tif: sizes .*--gsd")
    with pytest.warns(DecrWarning, match="--gsd"), named:
        found(scene, detector="threshold", **{option: 5.0})
    assert found(scene, detector="threshold", gsd_m=0.5, **{option: 5.0}).ccp > 0


@pytest.mark.parametrize("option", ["min_object_m2", "margin_m", "feather_m"])
def test_metres_of_pixels_without_a_size_are_refused(tmp_path: Path, option: str) -> None:
    flat = Affine(0, 0, 500_000, 0, 0, 4_000_000)
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(90, 90), transform=flat)
    with pytest.raises(SceneError, match=r"s\.tif: its transform says .* no size; mend it"):
        found(scene, detector="threshold", **{option: 5.0})


def test_a_scene_far_from_the_detectors_gsd_is_told(tmp_path: Path) -> None:
    far = Affine(60.0, 0, 500_000, 0, -60.0, 4_000_000)
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(256, 256), transform=far)
    with pytest.warns(DecrWarning, match=r"pixels of 60 m, but was made for 2.4 to 30 m"):
        found(scene, detector="compact")


def test_nothing_valid_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    scene, mask, *_ = masked_scene(tmp_path, 40, 40)
    write_scene(scene, np.zeros((4, 40, 40), "uint16"), nodata=0)
    (tmp_path / "o").mkdir()
    with pytest.raises(SceneError, match="nodata"):
        found(scene, tmp_path / "o", detector=f"file:{mask}")
    assert list((tmp_path / "o").iterdir()) == []


def test_masks_without_one_of_their_parts_are_refused(tmp_path: Path) -> None:
    scene, mask, *_ = masked_scene(tmp_path, 40, 40)
    gdal_copy(mask, tmp_path / "m.vrt", driver="VRT")
    mask.unlink()
    with pytest.raises(SceneError, match=r"m\.vrt: .*m\.tif, which it is made of, is not there"):
        found(scene, detector=f"file:{tmp_path / 'm.vrt'}")


def test_arrays_keep_their_grid_and_coordinates(tmp_path: Path) -> None:
    import rioxarray

    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(300, 400), nodata=0)
    array = rioxarray.open_rasterio(scene)
    assert isinstance(array, xr.DataArray)
    config = CcpConfig(detector="threshold", bands="b,g,r,n")
    mask = decr.cloud_mask(array, config)
    assert mask.dtype == bool
    assert mask.dims == ("y", "x")
    np.testing.assert_array_equal(mask.x, array.x)
    np.testing.assert_array_equal(mask.y, array.y)
    assert mask.rio.crs == array.rio.crs
    assert mask.rio.transform() == array.rio.transform()
    by_path = decr.ccp(scene, config)
    assert (
        int(mask.sum()) == by_path.coverage.cloudy_px == decr.ccp(array, config).coverage.cloudy_px
    )
    assert mask.attrs["definition"] == by_path.facts["definition"]
    with pytest.raises(decr.DecrError, match="three dimensions"):
        decr.cloud_mask(array[0], config)


@pytest.mark.parametrize("which", ["s.tif", "m.tif"])
@pytest.mark.parametrize("step", ["survey", "count"])
def test_a_scene_or_mask_that_is_replaced_while_it_is_read_is_told(
    tmp_path: Path, which: str, step: str
) -> None:
    scene, mask, _, _ = masked_scene(tmp_path, 600, 700)
    others = tmp_path / "others"
    others.mkdir()
    masked_scene(others, 600, 700, seed=1)

    def replace(told: str, done: int, total: int) -> None:
        if told == step and (others / which).exists():
            (others / which).replace(tmp_path / which)

    source, config = Source("scene", str(scene)), CcpConfig(detector=f"file:{mask}")
    told = pytest.raises(SceneError, match="it was changed since")
    with local_engine() as engine, told:
        scene_ccp(source, looking(config, engine), tmp_path / "out", 100, replace)
    assert not [file for file in (tmp_path / "out").iterdir() if file.is_file()]
