"""A user's mask without margin and feather: exactly its valid pixels change, however it is done."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.warp import transform_geom

from decr.calibration import ErrorTable
from decr.cloud.change import rule_in_cells
from decr.config import DecloudConfig
from decr.errors import SceneError
from decr.geo.aoi import read_aoi
from decr.geo.cells import cell_sums
from decr.geo.grid import Window
from decr.geo.mask_file import MaskFile
from decr.geo.scene import open_scene
from decr.pipeline.change_map import ChangeMap
from decr.pipeline.cluster import open_engine
from decr.pipeline.declouds import DecloudResult, declouds
from decr.pipeline.error_map import error_map_path
from decr.pipeline.survey import Survey
from decr.predictor import Restorer
from decr.report.document import DEFINITION
from decr.report.restoration import restoration_page
from decr.report.values import RestorationReport
from tests.pipeline.scenes import GRID, RGBN, cloudy_pixels, read, write_scene
from tests.tiny import tiny_bundle

SIDES = (520, 607)
"""Cells of 8 px do not divide the width."""
EXACT: dict[str, Any] = {
    "detector": "threshold",
    "dn_range": (0, 2000),
    "margin_m": 0,
    "feather_m": 0,
    "ground": False,
}


def lower(gsd_m: float | None = None) -> Restorer:
    """A model that changes every pixel."""
    table = ErrorTable((-1.0, 1.0), (0.1, 0.2), {}, "a test")
    return Restorer("lower", "0", RGBN, gsd_m, {}, {}, lambda tiles, _: tiles - 0.1, errors=table)


def shapes() -> NDArray[np.bool_]:
    """Single pixels, at corners too, gaps and lines of one pixel, a frame, a slope, and noise."""
    marked = np.zeros(SIDES, bool)
    marked[[0, 0, -1, -1, 203, 64, 127], [0, -1, 0, -1, 77, 64, 599]] = True
    marked[30:90, 120:260] = True
    marked[60, 120:260] = marked[30:90, 200] = marked[41, 133] = False
    marked[300, 20:400] = marked[310:480, 451] = True
    marked[330:400, 40:140] = True
    marked[333:397, 43:137] = False
    marked[420:500, 200:300] = np.tri(80, 100, dtype=bool)
    marked[150:250, 300:420] = np.random.default_rng(1).random((100, 120)) < 0.1
    return marked


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """With a hole in a marked rectangle."""
    pixels = cloudy_pixels(*SIDES)
    pixels[:, 35:50, 140:150] = 0
    return write_scene(tmp_path / "scene.tif", pixels, nodata=0)


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "mask.tif", shapes()[None].astype(np.uint8), names=None)


def wanted(scene: Path) -> NDArray[np.bool_]:
    return np.asarray(shapes() & (read(scene) != 0).all(axis=0))


def differing(scene: Path, out: Path) -> NDArray[np.bool_]:
    return np.asarray((read(scene) != read(out)).any(axis=0))


@pytest.mark.parametrize(("tile_px", "overlap_px"), [(64, 16), (128, 32), (256, 64)])
@pytest.mark.parametrize("threshold", [0.01, 1.0])
def test_marked_pixels_change_and_no_others(
    scene: Path, mask: Path, tmp_path: Path, tile_px: int, overlap_px: int, threshold: float
) -> None:
    out = tmp_path / "out.tif"
    config = DecloudConfig(
        **EXACT, cloud_mask=mask, tile_px=tile_px, overlap_px=overlap_px, threshold=threshold
    )
    result = declouds(scene, out, config, restorer=lower())
    np.testing.assert_array_equal(differing(scene, out), wanted(scene))
    # By as much as the model says, at edges too: a tenth of half the range.
    change = read(scene)[:, wanted(scene)].astype(int) - read(out)[:, wanted(scene)]
    np.testing.assert_array_equal(change, 100)
    assert result.changed_px == wanted(scene).sum()


def test_an_area_takes_its_part_of_the_mask(scene: Path, mask: Path, tmp_path: Path) -> None:
    corners = [GRID @ point for point in ((50, 20), (380, 45), (430, 440), (35, 470), (50, 20))]
    area = {"type": "Polygon", "coordinates": [[list(c) for c in corners]]}
    geojson = tmp_path / "aoi.geojson"
    geojson.write_text(json.dumps(transform_geom("EPSG:32650", "EPSG:4326", area, precision=12)))
    out, grid = tmp_path / "out.tif", open_scene(scene).grid
    config = DecloudConfig(**EXACT, cloud_mask=mask, tile_px=64, overlap_px=16, aoi=geojson)
    declouds(scene, out, config, restorer=lower())
    inside = read_aoi(geojson, grid).mask(grid.window)
    assert (wanted(scene) & ~inside).any()
    np.testing.assert_array_equal(differing(scene, out), wanted(scene) & inside)


def test_workers_change_the_same_pixels(scene: Path, mask: Path, tmp_path: Path) -> None:
    options = {**EXACT, "cloud_mask": mask, "tile_px": 64, "overlap_px": 16, "device": "cpu"}
    config = DecloudConfig(**options, model=str(tiny_bundle(tmp_path, 4)), steps=1)
    one, two = tmp_path / "one.tif", tmp_path / "two.tif"
    declouds(scene, one, config)
    with open_engine(2, device="cpu") as engine:
        declouds(scene, two, config, engine=engine)
    assert two.read_bytes() == one.read_bytes()
    np.testing.assert_array_equal(differing(scene, two), wanted(scene))


def test_an_interrupted_run_changes_the_same_pixels(
    scene: Path, mask: Path, tmp_path: Path
) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if stage == "restore" and done > total // 2:
            raise KeyboardInterrupt

    out, whole = tmp_path / "out.tif", tmp_path / "whole.tif"
    config = DecloudConfig(**EXACT, cloud_mask=mask, tile_px=64, overlap_px=16)
    with pytest.raises(KeyboardInterrupt):
        declouds(scene, out, config, restorer=lower(), on_progress=stop)
    assert declouds(scene, out, config, restorer=lower()).resumed
    declouds(scene, whole, config, restorer=lower())
    assert out.read_bytes() == whole.read_bytes()
    np.testing.assert_array_equal(differing(scene, out), wanted(scene))


def test_a_coarser_mask_and_work_grid(scene: Path, tmp_path: Path) -> None:
    """A mask of 1.5 m that ends within the scene, and a model of 1 m."""
    marked = np.random.default_rng(2).random((1, 150, 180)) < 0.02
    coarse = GRID @ Affine.scale(3)
    mask = write_scene(tmp_path / "mask.tif", marked.astype(np.uint8), names=None, transform=coarse)
    fine = np.zeros(SIDES, bool)
    fine[:450, :540] = np.kron(marked[0], np.ones((3, 3), bool))
    out = tmp_path / "out.tif"
    config = DecloudConfig(**EXACT, cloud_mask=mask, tile_px=64, overlap_px=16, gsd="model")
    declouds(scene, out, config, restorer=lower(gsd_m=1.0))
    fine &= (read(scene) != 0).all(axis=0)
    np.testing.assert_array_equal(differing(scene, out), fine)


def test_page_and_errors_have_what_changed(scene: Path, mask: Path, tmp_path: Path) -> None:
    kept: list[RestorationReport] = []

    def keep(_: DecloudResult, report: RestorationReport) -> None:
        kept.append(report)

    out, marked = tmp_path / "out.tif", wanted(scene)
    config = DecloudConfig(**EXACT, cloud_mask=mask, error_map=True)
    declouds(scene, out, config, restorer=lower(), on_report=keep)
    np.testing.assert_array_equal(kept[0].weight, 255 * marked)
    assert kept[0].facts["CCP"] == "valid pixels that the mask marks / valid pixels; 1 = all cloud"
    assert DEFINITION not in restoration_page(kept[0])
    np.testing.assert_array_equal(np.nan_to_num(read(error_map_path(out))[0]) > 0, marked)


@pytest.mark.parametrize("option", ["margin_m", "feather_m"])
def test_with_margin_or_feather_cells_of_marked_pixels_count(
    scene: Path, mask: Path, tmp_path: Path, option: str
) -> None:
    out = tmp_path / "out.tif"
    config = DecloudConfig(**{**EXACT, option: 8.0}, cloud_mask=mask, tile_px=64, overlap_px=16)
    declouds(scene, out, config, restorer=lower())
    differ = differing(scene, out)
    assert differ[wanted(scene)].all()
    assert (differ & ~shapes()).any()


@pytest.mark.parametrize("becomes", ["gone", "another"])
def test_a_mask_that_changes_in_the_run_is_told(
    scene: Path, mask: Path, tmp_path: Path, becomes: str
) -> None:
    def change(_: object) -> None:
        with rasterio.open(mask) as file:
            profile, shape = file.profile, file.shape
        mask.unlink()
        if becomes == "another":
            noise = np.random.default_rng(0).integers(0, 2, shape, np.uint8)
            with rasterio.open(mask, "w", **profile) as file:
                file.write(noise, 1)

    with pytest.raises(SceneError, match=r"mask\.tif.* where the run began.*start again"):
        declouds(
            scene,
            tmp_path / "o.tif",
            DecloudConfig(**EXACT, cloud_mask=mask),
            restorer=lower(),
            on_plan=change,
        )
    assert not (tmp_path / "o.tif").exists()


@settings(max_examples=60, deadline=None)
@given(data=st.data(), k=st.integers(1, 9), look_px=st.integers(1, 7))
def test_weights_are_the_marks_in_any_window(data: st.DataObject, k: int, look_px: int) -> None:
    height, width = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    marks = rng.random((height, width)) < data.draw(st.sampled_from([0.0, 0.01, 0.3]))
    stored = np.where(cell_sums(marks, k) > 0, 250, 0).astype(np.uint8)
    asked: list[Window] = []

    class Marks:
        def cloudy(self, window: Window) -> NDArray[np.bool_]:
            asked.append(window)
            return np.asarray(marks[window.slices()])

    change = ChangeMap(
        marks.shape,
        Survey(k, stored, 0, 1),
        rule_in_cells(1.0, 0, 0, 0.5, k),
        None,
        lambda: nullcontext(cast("MaskFile", Marks())),
    )
    row, col = (data.draw(st.integers(0, side - 1)) for side in marks.shape)
    window = Window(
        row,
        col,
        data.draw(st.integers(1, height - row)),
        data.draw(st.integers(1, width - col)),
    )
    np.testing.assert_array_equal(change.weights(window), marks[window.slices()])
    assert bool(asked) == bool((stored[window.coarsened(k).slices()] > 0).any())
    rows, cols = (
        [min(first + look_px // 2, side - 1) for first in range(0, side, look_px)]
        for side in marks.shape
    )
    np.testing.assert_array_equal(change.quicklook(look_px), marks[np.ix_(rows, cols)])
