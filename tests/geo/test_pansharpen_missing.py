"""What is missing in either image is missing where they are fused, and spoils nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from scipy import ndimage

from decr.geo.pansharpen import RESAMPLING, PansharpenOptions, pansharpen
from decr.geo.reader import reader
from decr.geo.scene import open_scene
from tests.geo.scene_files import BGRN, write
from tests.geo.two_images import MS_GRID, images


def missing(pan: Path, ms: Path, how: str) -> np.ndarray:
    """Take rows and columns out of one image, or of both; True where pixels are left."""
    with rasterio.open(pan) as one, rasterio.open(ms) as many:
        fine, coarse = one.read(), many.read()
        placed = {"crs": one.crs, "transform": one.transform}
        placed_ms = {"crs": many.crs, "transform": many.transform}
    left = np.ones(fine.shape[1:], np.bool_)
    if how != "ms alpha":
        left[40:120] = False
    if "pan" not in how:
        left[:, 80:180] = False
    gone, gone_ms = ~left, ~left[::4, ::4]
    shown, shown_ms = (255 * v[None].astype(np.uint16) for v in (left, left[::4, ::4]))
    options, options_ms = {}, {}
    colours, colours_ms = ["gray"], ["undefined"] * 4
    if how == "both nodata":
        fine[:, gone], coarse[:, gone_ms] = 0, 0
        options, options_ms = {"nodata": 0}, {"nodata": 0}
    elif how == "pan nodata":
        fine[:, gone] = 65535
        options = {"nodata": 65535}
    elif how == "pan mask":
        options = {"mask": shown[0].astype(np.uint8)}
    elif how == "pan alpha":
        fine, colours = np.concatenate([fine, shown]), ["gray", "alpha"]
    elif how == "ms alpha":
        coarse, colours_ms = np.concatenate([coarse, shown_ms]), [*colours_ms, "alpha"]
        options_ms = {"descriptions": (*BGRN, "alpha")}
    else:
        fine, coarse = fine.astype(np.float32), coarse.astype(np.float32)
        fine[:, gone] = np.nan
    write(pan, fine, **({"descriptions": None} | placed | options), colours=colours)
    write(ms, coarse, **(placed_ms | options_ms), colours=colours_ms)
    return left


def fused_with_gaps(
    folder: Path, how: str, placed: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pixels made of images with gaps, which are valid, those of whole images, and what is left."""
    nowhere = {} if placed else {"crs": None, "transform": Affine.identity()}
    pan, ms = images(folder, 600, 240, **nowhere)
    pansharpen(pan, ms, folder / "whole.tif")
    left = missing(pan, ms, how)
    pansharpen(pan, ms, folder / "out.tif")
    found = open_scene(folder / "out.tif")
    with reader(found) as out, rasterio.open(folder / "whole.tif") as file:
        dn, valid = out.read(found.grid.window)
        assert [flag.name for flag in file.mask_flag_enums[0]] == ["all_valid"]
        return dn.astype(float), valid, file.read(), left


@pytest.mark.parametrize("how", ["both nodata", "pan nodata", "pan mask", "pan alpha", "pan nan"])
@pytest.mark.parametrize("placed", [True, False])
def test_what_is_missing_in_either_image_is_missing(tmp_path: Path, how: str, placed: bool) -> None:
    dn, valid, whole, left = fused_with_gaps(tmp_path, how, placed)
    np.testing.assert_array_equal(valid, left)
    # Away from the hole, where interpolation does not reach it, pixels are those of whole images.
    sure = ndimage.binary_erosion(left, np.ones((25, 25)), border_value=1)
    assert sure.any()
    assert np.abs(dn[:, sure] - whole[:, sure]).max() < 2


@pytest.mark.parametrize("placed", [True, False])
def test_what_alpha_hides_in_the_colours_is_missing_as_far_as_cubic_means_reach(
    tmp_path: Path, placed: bool
) -> None:
    dn, valid, whole, left = fused_with_gaps(tmp_path, "ms alpha", placed)
    # They reach two of its pixels, of 4 x 4 each.
    left = ndimage.binary_erosion(left, np.ones((17, 17)), border_value=1)
    assert left.any()
    np.testing.assert_array_equal(valid, left)
    np.testing.assert_array_equal(dn[:, left], whole[:, left])


Keywords = dict[str, Any]
GAPS: dict[str, tuple[Any, float, Keywords, Callable[[np.ndarray], Keywords]]] = {
    "nodata": (np.uint16, 65535, {}, lambda hole: {"nodata": 65535}),
    "mask": (np.uint16, 65535, {}, lambda hole: {"mask": (~hole * 255).astype(np.uint8)}),
    "nan": (np.float32, np.nan, {}, lambda hole: {}),
    "both nan": (np.float32, np.nan, {"nodata": np.nan}, lambda hole: {}),
}
"""Type and DN of a gap in the colours, what both images say, and what the colours say of it."""


@pytest.mark.parametrize("how", GAPS)
@pytest.mark.parametrize("resampling", RESAMPLING)
def test_what_is_missing_in_the_colours_does_not_spoil_valid_pixels(
    tmp_path: Path, how: str, resampling: str
) -> None:
    dtype, gone, always, said = GAPS[how]
    pan, ms = images(tmp_path, 200, 240)
    with rasterio.open(pan) as one, rasterio.open(ms) as many:
        fine, coarse = one.read().astype(dtype), many.read().astype(dtype)
    placed: Keywords = {"transform": MS_GRID, "descriptions": BGRN, **always}
    write(pan, fine, descriptions=None, **always)
    write(ms, coarse, **placed)
    options = PansharpenOptions(resampling=resampling)
    whole, out = tmp_path / "whole.tif", tmp_path / "out.tif"
    pansharpen(pan, ms, whole, options)
    hole = np.zeros(coarse.shape[1:], np.bool_)
    hole[20:25, 30:33] = True
    coarse[:, hole] = gone
    write(ms, coarse, **placed, **said(hole))
    pansharpen(pan, ms, out, options)
    found = open_scene(out)
    with reader(found) as fused, rasterio.open(whole) as file:
        dn, valid = fused.read(found.grid.window)
        expected = file.read()
    assert not valid[80:100, 120:132].any()
    assert valid[:60].all()
    np.testing.assert_array_equal(dn[:, valid], expected[:, valid])


def test_a_hole_lies_where_it_lay_when_only_a_part_is_covered(tmp_path: Path) -> None:
    pan, ms = images(tmp_path, 600, 240)
    left = missing(pan, ms, "both nodata")
    with rasterio.open(ms, "r+") as file:
        file.transform = MS_GRID @ Affine.translation(10, 5)
    pansharpen(pan, ms, tmp_path / "out.tif")
    found = open_scene(tmp_path / "out.tif")
    with reader(found) as out:
        valid = out.valid(found.grid.window)
    fine = np.ones_like(left)
    fine[40:120] = fine[:, 80:180] = False
    np.testing.assert_array_equal(valid, fine[20:, 40:] & left[:580, :200])
