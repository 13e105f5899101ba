"""Tests of the mean W of a scene: exact means, nothing else changed, nothing half known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decr.config import DecloudConfig
from decr.geo.grid import Window
from decr.pipeline.allocation import add, cells_under, empty
from decr.pipeline.declouds import DecloudResult, declouds
from decr.predictor import load_restorer
from decr.report.values import RestorationReport
from tests.pipeline.scenes import cloudy_pixels, darker, write_scene
from tests.tiny import tiny_bundle

FAST = DecloudConfig(detector="threshold", tile_px=64, overlap_px=16, precision="float32")


@given(
    st.integers(0, 40), st.integers(0, 40), st.integers(1, 30), st.integers(1, 30),
    st.integers(1, 3), st.integers(1, 50),
)  # fmt: skip
def test_sums_are_those_of_single_pixels(
    row: int, col: int, height: int, width: int, factor: int, px: int
) -> None:
    tile = Window(row, col, height, width)
    weight = np.random.default_rng(0).random((height, width)).astype(np.float32)
    found = empty(cells_under(tile, factor, px))
    add(found, tile, factor, px, weight)
    assert found.count.sum() == tile.area * factor**2
    assert found.total.sum() == pytest.approx(weight.sum() * factor**2, rel=1e-5)
    # The first cell, pixel by pixel.
    first = found.window
    values = [
        weight[y // factor - row, x // factor - col]
        for y in range(row * factor, (row + height) * factor)
        for x in range(col * factor, (col + width) * factor)
        if (y // px, x // px) == (first.row, first.col)
    ]
    assert found.count[0, 0] == len(values)
    assert found.total[0, 0] == pytest.approx(sum(values), rel=1e-5)


def test_what_lies_beyond_is_left_out() -> None:
    found = empty(Window(0, 0, 2, 2))
    add(found, Window(0, 0, 12, 12), 1, 4, np.ones((12, 12), np.float32))
    assert (found.count == 16).all()
    add(found, Window(40, 40, 4, 4), 1, 4, np.ones((4, 4), np.float32))
    assert found.count.sum() == 64


def test_weighed_tiles_have_the_same_bits(tmp_path: Path) -> None:
    restorer = load_restorer(tiny_bundle(tmp_path, 4), device="cpu", precision="float32")
    tiles = np.random.default_rng(0).uniform(-1, 1, (3, 4, 64, 64)).astype(np.float32)
    corners = [(0, 0), (0, 48), (48, 0)]
    assert restorer.restore_weighed is not None
    clear, weight = restorer.restore_weighed(tiles, corners)
    assert (clear == restorer.restore(tiles, corners)).all()
    assert weight.shape == (3, 64, 64)
    assert (weight >= 0.4).all()  # the card's prior floor
    assert (weight <= 1).all()
    assert weight.std() > 0
    one = restorer.restore_weighed(tiles[1:2], corners[1:2])
    assert (one[1][0] == weight[1]).all()


def test_models_without_w_have_none(tmp_path: Path) -> None:
    from tests.tiny import PARTS

    alone = {"reference": PARTS["reference"]}
    assert load_restorer(tiny_bundle(tmp_path, 4, alone), device="cpu").restore_weighed is None


def report_of(scene: Path, out: Path, **more: object) -> tuple[DecloudResult, RestorationReport]:
    kept: list[tuple[DecloudResult, RestorationReport]] = []
    declouds(scene, out, FAST, on_report=lambda *pair: kept.append(pair), **more)  # type: ignore[arg-type]
    ((result, report),) = kept
    return result, report


def test_a_report_holds_w_and_changes_no_byte(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", cloudy_pixels(240, 420))
    restorer = load_restorer(tiny_bundle(tmp_path, 4), device="cpu", precision="float32")
    plain, shown = tmp_path / "plain.tif", tmp_path / "shown.tif"
    declouds(scene, plain, FAST, restorer=restorer)
    _, report = report_of(scene, shown, restorer=restorer)
    assert plain.read_bytes() == shown.read_bytes()
    assert report.allocation is not None
    assert report.allocation.shape == (240, 420)
    assert (report.allocation[report.weight > 0] >= round(0.4 * 255)).all()
    assert (report.allocation == 0).any()  # tiles that were copied
    assert not (tmp_path / "shown.tif.decr-work").exists()


def test_without_w_the_report_says_nothing_of_it(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", cloudy_pixels(240, 420))
    _, report = report_of(scene, tmp_path / "o.tif", restorer=darker())
    assert report.allocation is None


def test_blocks_of_an_earlier_run_without_w_leave_it_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from decr.pipeline import declouds as module

    scene = write_scene(tmp_path / "scene.tif", cloudy_pixels(240, 420))
    restorer = load_restorer(tiny_bundle(tmp_path, 4), device="cpu", precision="float32")

    def killed(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_cog", killed)
        with pytest.raises(KeyboardInterrupt):
            declouds(scene, tmp_path / "o.tif", FAST, restorer=restorer)
    result, report = report_of(scene, tmp_path / "o.tif", restorer=restorer)
    assert result.resumed
    assert report.allocation is None


def test_w_of_a_scene_smaller_than_a_tile_is_that_of_its_pixels(tmp_path: Path) -> None:
    """What is mirrored up to a tile's size is not counted."""
    scene = write_scene(tmp_path / "small.tif", cloudy_pixels(50, 40))

    def half(tiles: np.ndarray, corners: object) -> tuple[np.ndarray, np.ndarray]:
        weight = np.full((len(tiles), *tiles.shape[2:]), 1.0, np.float32)
        weight[:, :50, :40] = 0.5
        return tiles, weight

    restorer = replace(darker(), restore_weighed=half)
    _, report = report_of(scene, tmp_path / "o.tif", restorer=restorer)
    assert report.allocation is not None
    assert set(np.unique(report.allocation)) == {128}
