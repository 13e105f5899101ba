"""CCP from overviews: which one is read, and what must not be lost with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import Resampling

from decr.errors import DecrWarning
from tests.coverage.looked_at import found
from tests.pipeline.scenes import GRID, cloudy_pixels, write_scene


def test_fast_reads_the_coarsest_overview_that_is_fine_enough(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(1024, 1280), nodata=0)
    whole = found(scene, detector="threshold")
    with pytest.warns(DecrWarning, match="no overview"):
        same = found(scene, detector="threshold", fast=True)
    assert same.coverage == whole.coverage
    assert "want of overviews" in same.facts["read"]
    with rasterio.open(scene, "r+") as file:
        file.build_overviews([2, 4, 8, 16], Resampling.average)
    got = found(scene, tmp_path / "o", detector="threshold", fast=True)
    assert got.facts["read"].startswith("overview 1:8 ")
    assert (got.grid.height, got.grid.width) == (128, 160)
    assert got.coverage.valid_px == 128 * 160
    assert got.ccp == pytest.approx(whole.ccp, abs=0.01)
    with rasterio.open(tmp_path / "o" / "scene_mask.tif") as file:
        assert file.shape == (128, 160)
        assert file.transform.almost_equals(GRID @ Affine.scale(8))
        assert file.crs.to_epsg() == 32650


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("mask_first", [True, False])
def test_fast_never_loses_a_mask_that_was_made_after_the_overviews(
    tmp_path: Path, inside: bool, mask_first: bool
) -> None:
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(512, 640))
    mask = np.full((512, 640), 255, np.uint8)
    mask[:, :320] = 0

    def overviews() -> None:
        with rasterio.open(scene, "r+") as file:
            file.build_overviews([2, 4, 8], Resampling.average)

    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=inside):
        if not mask_first:
            overviews()
        with rasterio.open(scene, "r+") as file:
            file.write_mask(mask)
        if mask_first:
            overviews()
    whole = found(scene, detector="threshold")
    assert whole.coverage.valid_px == 512 * 320
    if mask_first:
        got = found(scene, detector="threshold", fast=True)
        assert got.coverage.valid_px == 64 * 40
        return
    with pytest.warns(DecrWarning, match="does not say which pixels its mask leaves out"):
        got = found(scene, detector="threshold", fast=True)
    assert got.coverage == whole.coverage
    assert "want of a mask" in got.facts["read"]


@pytest.mark.parametrize("dark", [True, False])
def test_fast_counts_clouds_that_are_black_in_near_infrared_called_alpha(
    tmp_path: Path, dark: bool
) -> None:
    pixels = np.full((4, 512, 640), 60, np.uint8)
    pixels[:, :256] = 240
    pixels[3, :256, :320] = 0 if dark else 240
    scene = write_scene(tmp_path / "s.tif", pixels, names=None)
    with rasterio.open(scene, "r+") as file:
        file.build_overviews([2, 4, 8], Resampling.average)
    options: dict[str, Any] = {"detector": "threshold", "bands": "r,g,b,n"}
    whole = found(scene, **options)
    assert whole.ccp == 0.5
    if not dark:
        got = found(scene, **options, fast=True)
        assert (got.ccp, got.coverage.valid_px) == (0.5, 64 * 80)
        return
    with pytest.warns(DecrWarning, match=r"s\.tif: its overview may be black where near infrared"):
        got = found(scene, **options, fast=True)
    assert got.coverage == whole.coverage
    assert "overview may lack" in got.facts["read"]


@pytest.mark.parametrize("points", [True, False])
def test_fast_knows_the_place_and_size_of_scenes_without_a_transform(
    tmp_path: Path, points: bool
) -> None:
    corners = [(0, 0), (0, 1280), (1024, 0), (1024, 1280)]
    gcps = [GroundControlPoint(r, c, 5e5 + 0.5 * c, 4e6 - 0.5 * r) for r, c in corners]
    placed = {"transform": None, "gcps": gcps} if points else {"transform": None, "crs": None}
    scene = write_scene(tmp_path / "s.tif", cloudy_pixels(1024, 1280), nodata=0, **placed)
    with rasterio.open(scene, "r+") as file:
        file.build_overviews([2, 4, 8], Resampling.average)
    got = found(
        scene, tmp_path / "o", detector="threshold", fast=True, gsd_m=None if points else 0.5,
        min_object_m2=20_000.0,
    )  # fmt: skip
    assert (got.facts["GSD"], got.facts["cell"]) == ("4 m", "1 x 1 pixels")
    # Of clouds of 341 x 320 and 256 x 256 pixels of 0.5 m, the first is large enough.
    assert got.ccp == pytest.approx(341 * 320 / (1024 * 1280), abs=0.005)
    assert got.grid.footprint() is None
    with rasterio.open(tmp_path / "o" / "scene_mask.tif") as file:
        assert file.transform.is_identity
        wanted = [(r / 8, c / 8, x.x, x.y) for (r, c), x in zip(corners, gcps, strict=True)]
        assert [(p.row, p.col, p.x, p.y) for p in file.gcps[0]] == (wanted if points else [])
